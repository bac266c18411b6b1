//! `liveoak up`: runs what a file declares.
//!
//! - [`build`]: from the file's data to the library's tree
//! - [`lines`]: the programs' output, on stdout
//! - [`log`]: Liveoak's own log, on stderr
//! - [`report`]: what the stop did
//!
//! This file is the order of things: read, start, wait, stop, tell.

mod build;
mod lines;
mod log;
mod pump;
mod report;

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use liveoak::{Either, Ended, Exit, Tree, race};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::args::UpArgs;
use crate::config::{Config, load};
use crate::{EXIT_FAILED, EXIT_FORCED, check};

/// Runs the command.
///
/// # Errors
/// When stdout cannot be written.
pub(crate) fn run(args: &UpArgs) -> io::Result<ExitCode> {
    let config = match load(&args.file) {
        Ok(config) => config.expanded(),
        Err(report) => return check::refuse(&report, args.json),
    };
    more_files();
    let stderr = pump::Pump::stderr();
    let stdout = pump::Pump::stdout();
    log::init(args.log_format, args.log_level, stderr.clone());
    liveoak::capture_panics();
    let code = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => {
            let code = runtime.block_on(live(args, &config, &stdout, &stderr));
            // Whatever is left there was written off in the report.
            runtime.shutdown_timeout(Duration::from_millis(100));
            code
        }
        Err(error) => {
            stderr.line(&format!("error: cannot make a runtime: {error}"));
            EXIT_FAILED
        }
    };
    stdout.finish();
    stderr.finish();
    Ok(ExitCode::from(code))
}

async fn live(args: &UpArgs, config: &Config, stdout: &pump::Pump, stderr: &pump::Pump) -> u8 {
    let mut signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(error) => {
            stderr.line(&format!("error: cannot listen for signals: {error}"));
            return EXIT_FAILED;
        }
    };
    let tree =
        match build::tree(config, lines::sink(config, stdout.clone())).and_then(|tree| Ok(tree.begin()?)) {
            Ok(tree) => tree,
            Err(error) => {
                stderr.line(&format!("error: {error}"));
                return EXIT_FAILED;
            }
        };
    let ended = until_ended(args, &tree, &mut signals, stderr).await;
    stderr.line(&report::text(config, &ended));
    let mut code = exit_code(&ended);
    if let Some(file) = &args.report
        && let Err(error) = std::fs::write(file, report::json(config, &ended))
    {
        stderr.line(&format!("error: cannot write the report to {}: {error}", file.display()));
        code = code.max(EXIT_FAILED);
    }
    code
}

/// Waits for the end of the tree; the first signal, or the end of `--for`, stops it, a second signal kills it.
async fn until_ended(args: &UpArgs, tree: &Tree, signals: &mut Signals, stderr: &pump::Pump) -> Ended {
    let limit = async {
        match args.run_for {
            Some(limit) => tokio::time::sleep(limit).await,
            None => std::future::pending().await,
        }
    };
    let asked = match race(tree.join(), race(signals.next(), limit)).await {
        Either::Left(ended) => return ended,
        Either::Right(Either::Left(name)) => format!("{name}: stopping; once more kills everything at once"),
        Either::Right(Either::Right(())) => "the time is over: stopping".to_owned(),
    };
    stderr.line(&asked);
    tree.begin_stop();
    match race(tree.join(), signals.next()).await {
        Either::Left(ended) => ended,
        Either::Right(name) => {
            stderr.line(&format!("{name} again: killing everything"));
            tree.begin_kill();
            tree.join().await
        }
    }
}

fn exit_code(ended: &Ended) -> u8 {
    match &ended.exit {
        exit if exit.is_failure() && !matches!(exit, Exit::Killed) => EXIT_FAILED,
        _ if !ended.report.is_clean() => EXIT_FORCED,
        _ => 0,
    }
}

/// The signals that ask for the end.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        match race(self.interrupt.recv(), race(self.terminate.recv(), self.hangup.recv())).await {
            Either::Left(_) => "SIGINT",
            Either::Right(Either::Left(_)) => "SIGTERM",
            Either::Right(Either::Right(_)) => "SIGHUP",
        }
    }
}

/// Each program needs a handful of descriptors here; the usual soft limit of 1024 is for programs that use
/// `select(2)`, so it is raised as far as it may be. If that fails, starts that need more will say so.
fn more_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}
