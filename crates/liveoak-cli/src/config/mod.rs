//! `liveoak.toml` as typed data: [`load`] reads a file whole and gives either a [`Config`] in which every check has
//! passed, or a [`Report`] with all that is wrong.
//!
//! - [`defaults`]: every default and bound
//! - [`keys`]: which keys which table has
//! - [`syntax`], [`table`], [`read`], [`child`], [`process`], [`ready`], [`edges`]: from text to [`Config`]
//! - [`values`], [`env_file`]: the small values and the second file format
//! - [`diagnostic`], [`render`]: errors as data, and how they look
//!
//! A [`Config`] is plain data and knows nothing of the library that runs it.

mod child;
pub(crate) mod defaults;
pub(crate) mod diagnostic;
mod edges;
mod env_file;
mod expand;
mod file;
pub(crate) mod keys;
mod process;
mod read;
mod ready;
pub(crate) mod render;
mod syntax;
mod table;
pub(crate) mod values;

use std::path::PathBuf;
use std::time::Duration;

pub(crate) use file::{Unreadable, load, text_of};
pub(crate) use values::{AutoShutdown, Condition, GiveUp, Order, Restart, Signal, Strategy};

use values::{Endpoint, HttpUrl};

#[cfg(test)]
pub(crate) use read::read_text;
pub(crate) use read::read_text_with;
#[cfg(test)]
mod fuzz_tests;
#[cfg(test)]
mod tests;

/// A whole file, checked.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Config {
    /// The file as the user named it.
    pub(crate) file: PathBuf,
    /// The absolute folder of the file, against which its relative paths were resolved.
    pub(crate) folder: PathBuf,
    /// The tree's name, the first part of every path.
    pub(crate) name: String,
    /// The root supervisor.
    pub(crate) root: Supervisor,
    /// The budget for the stop of the whole tree.
    pub(crate) stop_within: Duration,
}

/// A supervisor and its children.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Supervisor {
    /// Which siblings a failure restarts.
    pub(crate) strategy: Strategy,
    /// The limit of all children together; `None` leaves each child to a limit of its own.
    pub(crate) intensity: Option<Limit>,
    /// In which order children start.
    pub(crate) order: Order,
    /// Whether significant children end the supervisor.
    pub(crate) auto_shutdown: AutoShutdown,
    /// In declared order; names are unique.
    pub(crate) children: Vec<Child>,
}

/// One child: a program or a supervisor.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Child {
    /// Unique among its siblings.
    pub(crate) name: String,
    /// The line of the file that declares it, counted from 1.
    pub(crate) line: usize,
    /// When it is started again.
    pub(crate) restart: Restart,
    /// The waits between restarts; `None` restarts at once.
    pub(crate) backoff: Option<Backoff>,
    /// A limit of this child alone.
    pub(crate) limit: Option<Limit>,
    /// What must hold before it starts; the names are siblings.
    pub(crate) after: Vec<Edge>,
    /// Whether its end counts for `auto_shutdown`.
    pub(crate) significant: bool,
    /// What it is.
    pub(crate) kind: Kind,
}

/// What a child is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    /// A program that is run as a process.
    Process(Box<Process>),
    /// A nested supervisor.
    Supervisor {
        /// The supervisor itself.
        supervisor: Supervisor,
        /// The budget for its own stop; `None` leaves it to the budgets around it.
        stop_within: Option<Duration>,
    },
}

/// How a program is run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Process {
    /// What is run.
    pub(crate) command: Command,
    /// The absolute folder it is run in.
    pub(crate) cwd: PathBuf,
    /// Variables beside the inherited ones, `env_file` already merged in; names are unique.
    pub(crate) env: Vec<(String, String)>,
    /// When an attempt counts as ready.
    pub(crate) ready: Ready,
    /// The signal that asks it to stop.
    pub(crate) stop_signal: Signal,
    /// How long it may take to stop before it is killed; `None` waits for ever. Zero kills at once.
    pub(crate) stop_within: Option<Duration>,
    /// Exit codes that are no failure; never empty.
    pub(crate) success: Vec<u8>,
    /// How many of it run, at least 1. Above 1 they are named `NAME.1`, `NAME.2`, ...
    pub(crate) replicas: u16,
}

/// What a process runs.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Command {
    /// A program with its arguments; no shell is involved.
    Argv {
        /// Absolute when it was written with a slash, else a name to be looked up in `PATH`.
        program: PathBuf,
        /// The arguments after the program's own name.
        args: Vec<String>,
    },
    /// A script for `sh -c`.
    Shell(String),
}

/// When an attempt counts as ready, and how long that may take.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Ready {
    /// What is asked.
    pub(crate) probe: Probe,
    /// The deadline of the start.
    pub(crate) within: Duration,
}

/// What tells that a program is ready.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Probe {
    /// It runs.
    Running,
    /// It has run for so long.
    Delay(Duration),
    /// A line of its output matches this regular expression.
    Log(String),
    /// A TCP connection succeeds.
    Tcp(Endpoint),
    /// A connection to this unix socket succeeds.
    Unix(PathBuf),
    /// This file exists.
    File(PathBuf),
    /// This command exits with 0; run in the child's folder.
    Command(Command),
    /// A GET is answered with 2xx or 3xx.
    Http(HttpUrl),
}

/// The waits between restarts.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Backoff {
    /// The first wait.
    pub(crate) from: Duration,
    /// The longest wait; never below `from`.
    pub(crate) to: Duration,
    /// A run of at least this length makes the next wait the first one again.
    pub(crate) reset_after: Duration,
}

/// How many restarts are too many.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Limit {
    /// The count and its window.
    pub(crate) window: Window,
    /// What happens above it.
    pub(crate) give_up: GiveUp,
}

/// The count of a limit.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Window {
    /// No number is too many.
    Unlimited,
    /// More than `restarts` within `period` are too many.
    AtMost {
        /// 0 makes the first failure one too many.
        restarts: u32,
        /// Never zero.
        period: Duration,
    },
}

/// "Start after that sibling".
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Edge {
    /// The sibling's name; of a replica set, the set's.
    pub(crate) name: String,
    /// What it must have reached.
    pub(crate) condition: Condition,
}
