//! The log of a program with a tree in it, for programs that have no log subscriber of their own.
//!
//! ```no_run
//! use liveoak::log::{Format, Level};
//! use liveoak::prelude::*;
//!
//! # async fn orders(ctx: Ctx) { ctx.stopping().await; }
//! fn main() -> std::process::ExitCode {
//!     if let Err(error) = liveoak::log::init(Format::Pretty, Level::Info) {
//!         eprintln!("{error}");
//!     }
//!     liveoak::main(Supervisor::new("shop").child(Child::task("orders", orders)))
//! }
//! ```
//!
//! The lines of Liveoak have the fields `path`, `event` and, if the child has them, `title`, `tags`, `role` and `criticality`.
//! The code of a child runs inside a span `child` with the fields `path` and `attempt`, so its own lines (`tracing::info!`)
//! say which child they come from. Subtasks, threads and checks are included, tasks of `tokio::spawn` are not.
//!
//! | level | lines of Liveoak |
//! |---|---|
//! | error | a child was given up on, abandoned or did not start; failures of children of high criticality |
//! | warn | failures with which the tree deals |
//! | info | the start, the signal and the end of the tree; children that are ready, restart or stop |
//! | debug | every step, also of the members of groups |

use std::fmt;
use std::io::{IsTerminal as _, stderr};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};

/// How the lines of the log look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// One line for people: the time, the level, the child, the text and the fields. In colour if stderr is a terminal and
    /// `NO_COLOR` is not set.
    #[default]
    Pretty,
    /// One shorter line, without the target.
    Compact,
    /// One JSON object a line, for programs.
    Json,
}

/// The least important lines that are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// No lines.
    Off,
    /// Failures that the tree could not deal with.
    Error,
    /// Failures with which the tree dealt, too.
    Warn,
    /// What a person wants to know, too.
    #[default]
    Info,
    /// Every step, too.
    Debug,
    /// Everything.
    Trace,
}

/// Why [`init`] did nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InitError {
    /// The program has a log subscriber already, which gets the lines of Liveoak too.
    SubscriberExists,
}

impl fmt::Display for InitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SubscriberExists => {
                "this program has a log subscriber already; it gets the lines of Liveoak too, so `liveoak::log::init` is not needed"
            }
        })
    }
}

impl std::error::Error for InitError {}

/// Writes the log of the program to stderr: the lines of Liveoak, and all others that use `tracing`. Call it once, at the
/// beginning of `main`. Nothing in Liveoak calls it.
///
/// # Errors
/// When the program has a log subscriber already. Nothing changes then.
pub fn init(format: Format, level: Level) -> Result<(), InitError> {
    let level = match level {
        Level::Off => LevelFilter::OFF,
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    };
    let colour = stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let lines =
        tracing_subscriber::fmt::layer().with_writer(stderr).with_ansi(colour).log_internal_errors(false);
    let lines = match format {
        Format::Pretty => lines.with_filter(level).boxed(),
        Format::Compact => lines.compact().with_target(false).with_filter(level).boxed(),
        Format::Json => lines.json().flatten_event(true).with_span_list(false).with_filter(level).boxed(),
    };
    let subscriber = tracing_subscriber::registry().with(lines);
    tracing::subscriber::set_global_default(subscriber).map_err(|_| InitError::SubscriberExists)
}
