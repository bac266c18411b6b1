//! A whole program that runs one tree: its runtime, its signals, its messages and its exit code.
//!
//! The order of steps: build the runtime, listen for signals, run the tree, shut the runtime down within a bound, print
//! the failure. The former signal actions are restored only after the last step. So a repeated signal (for example from
//! `timeout` and from the shell) does not kill a process that has just stopped.
//!
//! This is the only file of the library that prints. A separate thread prints, because the reader of stderr may be
//! stuck.

use crate::api::error::{Error, StartError};
use crate::api::supervisor::Supervisor;
use crate::util::limits::{THREADS_OF_A_TREE, check_resources, create_runtime};
use crate::util::log::flush_log;
use crate::util::signals::StopSignals;
use liveoak_core::error_text;
use std::convert::Infallible;
use std::future::{Future, pending};
use std::io::{self, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::ExitCode;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

/// How long tasks and blocking calls that do not belong to the tree may still take after the end of the tree. Nothing
/// waits for them longer. Tasks and calls that belong to the tree are in its report if they did not end.
const RUNTIME_END: Duration = Duration::from_millis(500);

/// How long the log may take for lines that came after the end of the tree. The lines before it were already awaited when the
/// tree ended.
const LAST_LINES: Duration = Duration::from_millis(100);

/// How long the program's end waits for the reader of stderr.
const PRINT_WITHIN: Duration = Duration::from_secs(1);

/// The most bytes of an error that are printed. A thousand errors in specs take less.
const MAX_PRINTED: usize = 1 << 20;

/// The tree failed or did not start, or no runtime could be made.
const FAILED: u8 = 1;
/// The specs are wrong; nothing was started.
const USAGE: u8 = 2;
/// The tree stopped, but a child was killed or abandoned.
const FORCED: u8 = 3;

/// Runs a tree as a whole program, and returns the exit code: `fn main() -> ExitCode { liveoak::main(tree()) }`.
///
/// Makes a Tokio runtime with several threads, runs the tree on it as [`Supervisor::run`] does, and shuts the runtime down
/// within half a second, even if blocking calls (`spawn_blocking`, a read of `tokio::io::stdin()`) or abandoned tasks
/// still run. [`Main`] has options.
///
/// | exit code | what happened |
/// |---|---|
/// | 0 | the tree stopped or ended cleanly |
/// | 1 | the tree failed or did not start; the error was printed to stderr with all its sources |
/// | 2 | the specs are wrong; all errors were printed, and nothing was started |
/// | 3 | the tree stopped, but a child had to be killed or was abandoned |
///
/// Only failures that end the program are printed. Restarts and everything else are logged with `tracing`.
///
/// Inside of a Tokio runtime, as under `#[tokio::main]`, it starts nothing, prints an error and returns 1. Use
/// [`Supervisor::run`] there.
pub fn main(supervisor: Supervisor) -> ExitCode {
    Main::new().run(supervisor)
}

/// A program that runs one tree: [`main`](fn@main) with options.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Main {
    worker_threads: Option<usize>,
}

impl Main {
    /// Makes a `Main` with the defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the number of the runtime's worker threads, at least one. Default: one for each core.
    pub fn worker_threads(mut self, number: usize) -> Self {
        self.worker_threads = Some(number);
        self
    }

    /// Runs the tree; see [`main`](fn@main).
    pub fn run(self, supervisor: Supervisor) -> ExitCode {
        self.run_with(async { Ok::<_, Infallible>(supervisor) })
    }

    /// Runs the tree that `set_up` returns. `set_up` runs on the runtime, so it can bind sockets and open connections.
    /// If `set_up` fails, its error is printed and the exit code is 1. Until `set_up` has returned, signals keep their
    /// former actions.
    ///
    /// # Panics
    /// Panics if `set_up` panics.
    pub fn run_with<E>(self, set_up: impl Future<Output = Result<Supervisor, E>>) -> ExitCode
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let created = check_resources(self.worker_threads, THREADS_OF_A_TREE)
            .and_then(|()| create_runtime(self.worker_threads));
        let runtime = match created {
            Ok(runtime) => runtime,
            Err(error) => {
                // There may be no thread left for the printer.
                let _closed = io::stderr().write_all(format!("error: {error}\n").as_bytes());
                return ExitCode::from(FAILED);
            }
        };
        let printer = Printer::start();
        let mut signals = None;
        // Dropping the runtime waits without a limit, so a panic must not drop it.
        let ended =
            catch_unwind(AssertUnwindSafe(|| runtime.block_on(run_tree(set_up, &mut signals, &printer))));
        runtime.shutdown_timeout(RUNTIME_END);
        flush_log(LAST_LINES);
        match ended {
            Ok(outcome) => printer.end(outcome),
            Err(panic) => resume_unwind(panic),
        }
    }
}

/// Runs the tree, and returns the exit code and the text of a failure. The caller keeps `signals` until the end.
async fn run_tree<E>(
    set_up: impl Future<Output = Result<Supervisor, E>>,
    signals: &mut Option<StopSignals>,
    printer: &Printer,
) -> Result<(), (u8, String)>
where
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let supervisor = set_up.await.map_err(|error| (FAILED, with_sources(&*error.into())))?;
    let listening = StopSignals::listen().map_err(|error| Error::Signals(Arc::new(error)));
    let outcome = match listening {
        Ok(listening) => {
            supervisor
                .run_with_signals(signals.insert(listening), |line| printer.print(line), pending::<()>())
                .await
        }
        Err(error) => Err(error),
    };
    outcome.map_err(|error| (exit_code(&error), with_sources(&error)))
}

fn exit_code(error: &Error) -> u8 {
    match error {
        Error::Start(StartError::Spec(_)) => USAGE,
        Error::Forced(_) => FORCED,
        Error::Start(_) | Error::Failed(_) | Error::Signals(_) => FAILED,
    }
}

/// Returns the texts of an error and of its sources, without repetitions. Catches panics, because the error comes from
/// the user's `set_up`.
fn with_sources(error: &(dyn std::error::Error + 'static)) -> String {
    error_text(error, MAX_PRINTED)
}

/// Prints lines to stderr on a thread of its own.
struct Printer {
    lines: mpsc::Sender<String>,
    /// Gets a message when all lines are printed.
    printed: mpsc::Receiver<()>,
}

impl Printer {
    fn start() -> Self {
        let ((lines, waiting), (done, printed)) = (mpsc::channel::<String>(), mpsc::channel());
        let print = move || {
            // A closed stderr is not an error, because there is no other place for the lines.
            waiting.iter().for_each(|line| drop(io::stderr().write_all(format!("{line}\n").as_bytes())));
            let _ = done.send(());
        };
        // Without a thread the lines are lost.
        let _ = thread::Builder::new().name("liveoak-print".into()).spawn(print);
        Self { lines, printed }
    }

    fn print(&self, line: &str) {
        let _ = self.lines.send(line.to_owned());
    }

    /// Prints the error, waits until all lines are printed, and returns the exit code. If the reader is stuck, the wait
    /// ends after a bounded time.
    fn end(self, outcome: Result<(), (u8, String)>) -> ExitCode {
        let code = match outcome {
            Ok(()) => ExitCode::SUCCESS,
            Err((code, text)) => {
                self.print(&format!("error: {text}"));
                ExitCode::from(code)
            }
        };
        drop(self.lines);
        let _stuck = self.printed.recv_timeout(PRINT_WITHIN);
        code
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::error::Error as StdError;
    use std::fmt;

    #[derive(Debug)]
    struct Layer(&'static str, Option<Box<Layer>>);

    impl fmt::Display for Layer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            assert!(self.0 != "panics", "meant by the test");
            f.write_str(self.0)
        }
    }

    impl StdError for Layer {
        fn source(&self) -> Option<&(dyn StdError + 'static)> {
            self.1.as_deref().map(|layer| layer as _)
        }
    }

    #[test]
    fn an_error_is_printed_with_all_its_sources_and_without_repetitions() {
        let source = |text, more| Some(Box::new(Layer(text, more)));
        let error = Layer("cannot connect: refused", source("refused", source("port 7 is closed", None)));
        assert_eq!(with_sources(&error), "cannot connect: refused: port 7 is closed");
        let error = Layer("cannot open the reported file", source("port", None));
        assert_eq!(
            with_sources(&error),
            "cannot open the reported file: port",
            "a part of a word is not a repetition"
        );
    }

    #[test]
    fn an_error_whose_text_panics_is_printed_up_to_the_panic() {
        let error = Layer("cannot connect", Some(Box::new(Layer("panics", None))));
        assert_eq!(with_sources(&error), "cannot connect (the error panicked while its text was made)");
    }
}
