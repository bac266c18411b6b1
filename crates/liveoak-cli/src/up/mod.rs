//! `liveoak up`: runs what a file declares.
//!
//! - [`build`]: from the file's data to the library's tree
//! - [`lines`]: the programs' output, on stdout
//! - [`log`]: Liveoak's own log, on stderr
//! - [`voice`]: what this program says there beside the log
//! - [`report`]: what the stop did
//! - [`pump`]: writing to both without ever waiting
//!
//! This file is the order of things: read, start, wait, stop, tell.

pub(crate) mod build;
mod lines;
mod log;
mod pump;
mod report;
mod voice;

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

use crate::args::{LogFormat, UpArgs};
use crate::{EXIT_FAILED, EXIT_FORCED, EXIT_USAGE, check, output};
use log::Reasons;
use pump::Pump;
use report::Report;
use voice::{Voice, Weight};

/// Runs the command.
///
/// # Errors
/// When stdout cannot be written.
pub(crate) fn run(args: &UpArgs) -> io::Result<ExitCode> {
    let (began, colour) = (Instant::now(), output::colour_on_stderr());
    let voice = Voice::new(args.log_format, began, colour);
    let config = match load(&args.file) {
        Ok(config) => config.expanded(),
        Err(problems) if args.log_format == LogFormat::Json && !args.json => {
            voice.document(Weight::Error, "config", &problems.headline(), "", &problems.json());
            voice.stderr().finish();
            return Ok(ExitCode::from(EXIT_USAGE));
        }
        Err(problems) => return check::refuse(&problems, args.json),
    };
    let stdout = Pump::stdout();
    let code = match args.report.as_deref().map(ReportFile::open).transpose() {
        Ok(file) => {
            let reasons = log::init(args.log_format, args.log_level, voice.stderr().clone(), began, colour);
            Up { args, config: &config, stdout: &stdout, voice: &voice, reasons }.run(file)
        }
        Err(error) => {
            voice.error(format_args!("{error}; nothing was started"));
            EXIT_USAGE
        }
    };
    stdout.finish();
    voice.stderr().finish();
    Ok(ExitCode::from(code))
}

/// What a run needs.
struct Up<'a> {
    args: &'a UpArgs,
    config: &'a Config,
    /// For the output of the programs.
    stdout: &'a Pump,
    /// For our own words.
    voice: &'a Voice,
    /// What the programs said about not being ready.
    reasons: Arc<Reasons>,
}

impl Up<'_> {
    /// The whole life of the tree; the exit code.
    fn run(&self, file: Option<ReportFile<'_>>) -> u8 {
        liveoak::process::raise_file_limit();
        liveoak::capture_panics();
        match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
            Ok(runtime) => {
                let code = runtime.block_on(self.live(file));
                // Whatever is left there was written off in the report.
                runtime.shutdown_timeout(Duration::from_millis(100));
                code
            }
            Err(error) => {
                self.voice.error(format_args!("cannot make a runtime: {error}"));
                EXIT_FAILED
            }
        }
    }

    async fn live(&self, file: Option<ReportFile<'_>>) -> u8 {
        let mut signals = match Signals::listen() {
            Ok(signals) => signals,
            Err(error) => {
                self.voice.error(format_args!("cannot listen for signals: {error}"));
                return EXIT_FAILED;
            }
        };
        let sink = lines::sink(self.config, self.stdout.clone());
        let tree = match build::tree(self.config, &sink).begin() {
            Ok(tree) => tree,
            Err(error) => {
                self.voice.error(error);
                return EXIT_FAILED;
            }
        };
        let ended = self.until_ended(&tree, &mut signals).await;
        let report = Report::new(self.config, &ended, &tree.snapshot(), &self.reasons);
        let code = exit_code(&ended);
        let weight = if code == 0 { Weight::Info } else { Weight::Error };
        let more = serde_json::json!({ "code": code, "report": &report });
        self.voice.document(weight, "stop-report", &report.headline(), &report.text(), &more);
        match file.map(|file| file.write(&report.json())) {
            Some(Err(error)) => {
                self.voice.error(error);
                code.max(EXIT_FAILED)
            }
            Some(Ok(())) | None => code,
        }
    }

    /// Waits for the end of the tree; the first signal, or the end of `--for`, stops it, a second signal kills it.
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
                format!("{name}: stopping; once more kills everything at once")
            }
            Either::Right(Either::Right(())) => "the time is over: stopping".to_owned(),
        };
        self.voice.say(Weight::Info, "stop-asked", &asked);
        tree.begin_stop();
        match race(tree.join(), signals.next()).await {
            Either::Left(ended) => ended,
            Either::Right(name) => {
                self.voice.say(Weight::Warn, "kill-asked", &format!("{name} again: killing everything"));
                tree.begin_kill();
                tree.join().await
            }
        }
    }
}

/// The file of `--report`, opened before anything starts: who asks for a report must not learn at the end that there
/// is none.
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
        // Pipes and terminals have neither a length nor a beginning.
        let _ = self.file.set_len(0).and_then(|()| self.file.rewind());
        self.file.write_all(text.as_bytes()).map_err(|error| Self::refused(self.path, &error))
    }

    fn refused(path: &Path, error: &io::Error) -> String {
        format!("cannot write the report to {}: {error}", path.display())
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
    /// None under `nohup`.
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

/// Whether this program was started with SIGHUP ignored, as `nohup` does for programs that outlive their terminal.
/// `proc_pid_status(5)`: bit 0 of `SigIgn` is signal 1.
fn ignores_hangup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}
