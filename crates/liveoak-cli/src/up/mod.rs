//! `liveoak up`: runs the children that a file declares.
//!
//! - [`build`]: creates the library's tree from the file's data
//! - [`lines`]: the output of the children, on stdout
//! - [`log`]: the log of events about children, on stderr
//! - [`status`]: messages about the run itself, on stderr
//! - [`report`]: the report at the end
//! - [`writer`]: writes to both streams without blocking
//!
//! This file has the order of steps: read the file, start the tree, wait, stop it, report. It decides the exit code. No
//! child is started, restarted or stopped here; that is the library's work.

pub(crate) mod build;
mod lines;
mod log;
mod report;
mod status;
mod writer;

use std::fs::File;
use std::io::{self, Seek as _, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use liveoak::internal::{Either, race};
use liveoak::{Ended, Exit, Tree};
use liveoak_config::{Config, load};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::Level;

use crate::args::{LogFormat, UpArgs};
use crate::{EXIT_FAILED, EXIT_FORCED, EXIT_USAGE, check, output};
use log::NotReadyReasons;
use report::RunReport;
use status::StatusLog;
use writer::StreamWriter;

/// Runs the command.
///
/// # Errors
/// When stdout cannot be written.
pub(crate) fn run(args: &UpArgs) -> io::Result<ExitCode> {
    let (began, colour) = (Instant::now(), output::colour_on_stderr());
    let status = StatusLog::new(args.log_format, began, colour);
    let config = match load(&args.file) {
        Ok(config) => config.expanded(),
        Err(problems) if args.log_format == LogFormat::Json && !args.json => {
            status.document(Level::ERROR, "config", &problems.headline(), "", &problems.json());
            status.stderr().finish();
            return Ok(ExitCode::from(EXIT_USAGE));
        }
        Err(problems) => return check::print_errors(&problems, args.json),
    };
    let stdout = StreamWriter::stdout();
    let code = match args.report.as_deref().map(ReportFile::open).transpose() {
        Ok(file) => {
            let reasons = log::init(args.log_format, args.log_level, status.stderr().clone(), began, colour);
            let up = Up { args, config: &config, stdout: &stdout, status: &status, reasons };
            up.run(file).unwrap_or_else(|error| {
                status.error(error);
                EXIT_FAILED
            })
        }
        Err(error) => {
            status.error(format_args!("{error}; nothing was started"));
            EXIT_USAGE
        }
    };
    stdout.finish();
    status.stderr().finish();
    Ok(ExitCode::from(code))
}

/// The inputs and outputs of a run.
struct Up<'a> {
    args: &'a UpArgs,
    config: &'a Config,
    /// Gets the output of the children.
    stdout: &'a StreamWriter,
    /// Gets the messages about the run.
    status: &'a StatusLog,
    /// Why children were not ready when they were stopped.
    reasons: Arc<NotReadyReasons>,
}

impl Up<'_> {
    /// Runs the tree from start to end, and returns the exit code, or why nothing was started.
    fn run(&self, file: Option<ReportFile<'_>>) -> Result<u8, String> {
        liveoak::process::raise_file_limit();
        liveoak::capture_panics();
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let runtime = runtime
            .map_err(|error| format!("cannot start the Tokio runtime: {error}; nothing was started"))?;
        let code = runtime.block_on(self.run_tree(file));
        // Tasks that are left on the runtime belong to children that the report names as abandoned.
        runtime.shutdown_timeout(Duration::from_millis(100));
        code
    }

    async fn run_tree(&self, file: Option<ReportFile<'_>>) -> Result<u8, String> {
        let mut signals = Signals::listen()
            .map_err(|error| format!("cannot listen for signals: {error}; nothing was started"))?;
        let sink = lines::sink(self.config, self.stdout.clone());
        let tree = build::tree(self.config, &sink).begin().map_err(|error| error.to_string())?;
        let ended = self.until_ended(&tree, &mut signals).await;
        let report = RunReport::new(self.config, &ended, &tree.snapshot(), &self.reasons);
        let code = exit_code(&ended);
        let level = if code == 0 { Level::INFO } else { Level::ERROR };
        let more = serde_json::json!({ "code": code, "report": &report });
        self.status.document(level, "stop-report", &report.headline(), &report.text(), &more);
        if let Some(Err(error)) = file.map(|file| file.write(&report.json())) {
            self.status.error(error);
            return Ok(code.max(EXIT_FAILED));
        }
        Ok(code)
    }

    /// Waits for the end of the tree. The first signal, or the end of `--for`, stops the tree. The next signal kills it.
    async fn until_ended(&self, tree: &Tree, signals: &mut Signals) -> Ended {
        let limit = async {
            match self.args.run_for {
                Some(limit) => tokio::time::sleep(limit).await,
                None => std::future::pending().await,
            }
        };
        let asked = match race(tree.join(), race(signals.next(), limit)).await {
            Either::Left(ended) => return ended,
            Either::Right(Either::Left(name)) => {
                format!("{name}: stopping all children; a second signal kills them at once")
            }
            Either::Right(Either::Right(())) => {
                "the time of --for is over: stopping all children; a signal kills them at once".to_owned()
            }
        };
        self.status.message(Level::INFO, "stop-asked", &asked);
        tree.begin_stop();
        match race(tree.join(), signals.next()).await {
            Either::Left(ended) => ended,
            Either::Right(name) => {
                self.status.message(Level::WARN, "kill-asked", &format!("{name}: killing all children"));
                tree.begin_kill();
                tree.join().await
            }
        }
    }
}

/// The file of `--report`. It is opened before any child starts, so that a wrong path is an error at once and not at
/// the end.
struct ReportFile<'a> {
    path: &'a Path,
    file: File,
}

impl<'a> ReportFile<'a> {
    fn open(path: &'a Path) -> Result<Self, String> {
        match File::options().write(true).create(true).truncate(false).open(path) {
            Ok(file) => Ok(Self { path, file }),
            Err(error) => Err(Self::refused(path, &error)),
        }
    }

    fn write(mut self, text: &str) -> Result<(), String> {
        // This fails for pipes and terminals, which cannot be truncated; writing to them works anyway.
        let _ = self.file.set_len(0).and_then(|()| self.file.rewind());
        self.file.write_all(text.as_bytes()).map_err(|error| Self::refused(self.path, &error))
    }

    fn refused(path: &Path, error: &io::Error) -> String {
        format!("cannot write the report to {}: {error}", path.display())
    }
}

/// Returns the exit code for the end of a tree: failed, forced, or 0. A kill that the user asked for counts as forced.
fn exit_code(ended: &Ended) -> u8 {
    match &ended.exit {
        exit if exit.is_failure() && !matches!(exit, Exit::Killed) => EXIT_FAILED,
        _ if !ended.report.is_clean() => EXIT_FORCED,
        _ => 0,
    }
}

/// The signals that stop the tree.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// `None` if this program was started with SIGHUP ignored.
    hangup: Option<Signal>,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: if ignores_hangup() { None } else { Some(signal(SignalKind::hangup())?) },
        })
    }

    /// Waits for the next signal and returns its name. Cancel safe.
    async fn next(&mut self) -> &'static str {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        match race(self.interrupt.recv(), race(self.terminate.recv(), hangup)).await {
            Either::Left(_) => "SIGINT",
            Either::Right(Either::Left(_)) => "SIGTERM",
            Either::Right(Either::Right(_)) => "SIGHUP",
        }
    }
}

/// Returns `true` if this program was started with SIGHUP ignored. `nohup` does so for programs that outlive their
/// terminal. Signal 1 is bit 0 of `SigIgn` (`proc_pid_status(5)`).
fn ignores_hangup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}
