//! `liveoak up`: runs the children that a file declares.
//!
//! - [`build`]: creates the library's tree from the file's data
//! - [`control`]: the control socket
//! - [`telemetry`]: OpenTelemetry, with the feature `otel`
//! - [`lines`]: the output of the children, on stdout
//! - [`log`]: the log of events about children, on stderr
//! - [`reload`]: the file, read again and applied while the tree runs
//! - [`progress`]: messages about children that hold up a start or a stop; [`holders`] finds these children
//! - [`status`]: messages about the run itself, on stderr
//! - [`state`]: the state of all children, on stderr at SIGQUIT
//! - [`stdin`]: checks that a child can get the terminal, and restores the settings of the terminal at the end
//! - [`report`]: the report at the end
//! - [`report_file`]: the file of `--report`
//! - [`outputs`]: stdout and stderr, each with its [`writer`], which never blocks, to a [`descriptor`]
//! - [`finish`]: delivers the rest of both outputs at the end
//!
//! This file contains the order of the steps: read the file, start the tree, wait, stop it, report. It decides the exit
//! code. The library starts, restarts and stops the children.

pub(crate) mod build;
mod control;
mod descriptor;
mod finish;
mod holders;
mod lines;
mod log;
mod outputs;
mod progress;
mod reload;
mod report;
mod report_file;
mod state;
mod status;
mod stdin;
mod telemetry;
mod writer;

use std::convert::Infallible;
use std::io;
use std::path::Path;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use liveoak::internal::{Either, StateRequests, StopSignals, Wish, race, shortage};
use liveoak::{Ended, Exit, Tree, TreePhase};
use liveoak_config::{Config, Diagnostics, load_and_tell};
use tracing::Level;

use crate::args::{LogFormat, LogLevel, UpArgs};
use crate::{EXIT_FAILED, EXIT_FORCED, EXIT_USAGE, check, output};
use build::ProgramOutput;
use control::UpControl;
pub(crate) use control::socket;
use log::NotReadyReasons;
use outputs::Outputs;
use reload::TreeFile;
use report::RunReport;
use report_file::ReportFile;
pub(crate) use report_file::{named_in, remove_stale};
use status::StatusLog;
pub(crate) use status::json_line;
use telemetry::Telemetry;
use writer::StreamWriter;

/// The threads in addition to those of the runtime: those of a tree, and nine more (the second writer of output, the control server, two that
/// start programs, one that notices suspended programs, one for look-ups, two that write the history, and one that reads it).
const OTHER_THREADS: usize = liveoak::internal::THREADS_OF_A_TREE + 9 + telemetry::THREADS;

/// Runs the command.
///
/// # Errors
/// Returns an error if stdout cannot be written.
pub(crate) fn run(args: &UpArgs) -> io::Result<ExitCode> {
    if args.in_background {
        // The terminal of the caller is not that of the tree. This fails only for the leader of a session.
        let _ = rustix::process::setsid();
    }
    if let Err(error) = liveoak::internal::check_resources(None, OTHER_THREADS) {
        if let Some(report) = &args.report {
            remove_stale(report);
        }
        // Writes directly, because the writer may not get a thread.
        output::stderr(&status::error_text(args.log_format, &format!("{error}{NOTHING_STARTED}")));
        return Ok(ExitCode::from(EXIT_FAILED));
    }
    let (began, colour) = (Instant::now(), output::colour_on_stderr());
    let outputs = Outputs::of_process(status::loss_note(args.log_format));
    let status = StatusLog::new(args.log_format, began, colour, outputs.stderr.clone());
    outputs.tell_each_other(&status);
    // Done before the file is read, so that no report of an earlier run stays even if the file has errors.
    let file = args.report.as_deref().map(|path| ReportFile::open(path, &outputs, &args.file)).transpose();
    let tell = |text: &str| status.message(Level::INFO, "input-waits", text);
    let config = match load_and_tell(&args.file, &tell).and_then(|config| with_mode(config, args)) {
        Ok(config) => config.expanded(),
        Err(problems) if args.log_format == LogFormat::Json && !args.json => {
            let headline = format!("{}{NOTHING_STARTED}", problems.headline());
            status.document(Level::ERROR, "config", &headline, "", &problems.json());
            finish::finish(&outputs, &status, None);
            return Ok(ExitCode::from(EXIT_USAGE));
        }
        Err(problems) => return check::print_errors(&problems, args.json, NOTHING_STARTED),
    };
    let _terminal = match stdin::hand_over(&config) {
        Ok(terminal) => terminal,
        Err(error) => {
            status.error(error);
            finish::finish(&outputs, &status, None);
            return Ok(ExitCode::from(EXIT_USAGE));
        }
    };
    // The former signal actions are restored only at the very end, so that a repeated signal cannot cut off the report.
    let mut signals = None;
    let mut reported_to = None;
    let code = match file {
        Ok(file) => {
            reported_to = file.as_ref().and_then(ReportFile::stream).cloned();
            let reasons = log::init(args.log_format, args.log_level, outputs.stderr.clone(), began, colour);
            let up = Up { args, config: &config, stdout: &outputs.stdout, status: &status, reasons };
            up.run(file, &mut signals).unwrap_or_else(|error| {
                status.error(error);
                EXIT_FAILED
            })
        }
        Err(error) => {
            status.error(format_args!("{error}{NOTHING_STARTED}"));
            EXIT_USAGE
        }
    };
    // Flush the log lines that were written after the tree ended. The log never waits for a reader.
    liveoak::internal::flush_log(FLUSH_LOG);
    let (stop_signals, _requests) = signals.unzip();
    let complete = finish::finish(&outputs, &status, stop_signals);
    let unreported = reported_to.is_some_and(|stream| stream.progress().ended.is_some());
    Ok(ExitCode::from(if complete && !unreported { code } else { code.max(EXIT_FAILED) }))
}

/// Returns the config, if it has the mode that the arguments name.
fn with_mode(config: Config, args: &UpArgs) -> Result<Config, Diagnostics> {
    if let Some(mode) = &args.mode {
        config.mode(mode)?;
    }
    Ok(config)
}

/// The listener for signals, kept until the end of the run.
type Signals = (StopSignals, StateRequests);

/// What follows the errors that were found before the start.
const NOTHING_STARTED: &str = "; nothing was started";

/// What is said if SIGHUP cannot apply the file.
const HANGUP_IGNORED: &str = "--reload-on-hup has no effect, because SIGHUP was ignored at the start, as under nohup; \
    `liveoak apply` applies the file";

/// How long the end of the run waits for the thread of the log. This thread only formats lines.
const FLUSH_LOG: Duration = Duration::from_secs(5);

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
    /// Runs the tree from start to end. Returns the exit code, or the reason why nothing was started.
    fn run(&self, file: Option<ReportFile>, signals: &mut Option<Signals>) -> Result<u8, String> {
        liveoak::process::raise_file_limit();
        liveoak::process::reap_orphans();
        liveoak::capture_panics();
        let runtime =
            liveoak::internal::create_runtime(None).map_err(|error| format!("{error}{NOTHING_STARTED}"))?;
        let output = ProgramOutput {
            sink: lines::sink(self.config, self.stdout.clone()),
            backpressure: lines::backpressure(self.stdout.clone()),
        };
        let tree_file = TreeFile::new(self.args, self.config, output);
        let mut control = UpControl::open(self.args, self.config, &tree_file, self.status)
            .map_err(|error| format!("{error}{NOTHING_STARTED}"))?;
        let telemetry = Telemetry::new();
        let code = runtime.block_on(self.run_tree(&tree_file, file, signals, &mut control, &telemetry));
        control.finish();
        telemetry.finish();
        // Tasks that are left on the runtime belong to children that the report names as abandoned.
        runtime.shutdown_timeout(Duration::from_millis(100));
        code
    }

    async fn run_tree(
        &self,
        tree_file: &Arc<TreeFile>,
        file: Option<ReportFile>,
        signals: &mut Option<Signals>,
        control: &mut UpControl,
        telemetry: &Telemetry,
    ) -> Result<u8, String> {
        // Before the signals that stop the tree, of which SIGHUP is one without it.
        let hangups = reload::listen(self.args);
        let listen = || Ok((StopSignals::listen()?, StateRequests::listen()?));
        let listening = listen().map_err(|error: io::Error| {
            format!("cannot listen for signals: {}{NOTHING_STARTED}", shortage(&error))
        })?;
        self.warn_of_values();
        let tree = build::tree(self.config, self.args.mode.as_deref(), tree_file.output());
        let tree = telemetry.begin_with(control.begin_with(tree));
        let tree = tree.begin().map_err(|error| error.to_string())?;
        control.tell_failure(self.status);
        telemetry.tell_failure(self.status);
        let ready = ReadyInBackground::watch(self.args, &tree);
        let (stop_signals, requests) = signals.insert(listening);
        if self.args.reload_on_hup && !stop_signals.hears_hangups() {
            self.status.message(Level::WARN, "no-reload", HANGUP_IGNORED);
        }
        let telling = state::tell_when_asked(&tree, self.config, self.status, requests);
        let until_ended = progress::beside(tree.handle(), self.status, self.until_ended(&tree, stop_signals));
        let reloading = reload::when_asked(&tree, tree_file, self.status, hangups);
        let serving = race(telling, reloading);
        let (Either::Left(ended) | Either::Right(Either::Left(ended) | Either::Right(ended))) =
            race(until_ended, serving).await;
        let report = RunReport::new(self.config, &ended, &tree.snapshot(), &self.reasons);
        let code = match exit_code(&ended) {
            0 if ready.was_missed(&tree).await => {
                let text = "the tree was asked to stop before it was ready";
                self.status.message(Level::WARN, "start-ended", text);
                EXIT_FAILED
            }
            code => code,
        };
        let level = if code == 0 { Level::INFO } else { Level::ERROR };
        let more = serde_json::json!({ "code": code, "report": &report });
        self.status.document(level, "stop-report", &report.headline(), &report.text(), &more);
        let Some(file) = file else { return Ok(code) };
        match self.write_report(file, report.json(), signals).await {
            Ok(()) => Ok(code),
            Err(error) => {
                self.status.error(error);
                Ok(code.max(EXIT_FAILED))
            }
        }
    }

    /// Writes the warnings about values of the file.
    fn warn_of_values(&self) {
        if !matches!(self.args.log_level, LogLevel::Off | LogLevel::Error) {
            for warning in &self.config.value_warnings {
                self.status.message(Level::WARN, "value-warning", &warning.to_string());
            }
        }
    }

    /// Writes the report. A signal ends the wait for its reader.
    async fn write_report(
        &self,
        file: ReportFile,
        json: String,
        signals: &mut Option<Signals>,
    ) -> Result<(), String> {
        if !file.may_wait() {
            return file.write(&json);
        }
        let path = file.path().to_path_buf();
        let written = tokio::task::spawn_blocking(move || file.write(&json));
        let given_up = finish::given_up(signals.as_mut().map(|(stop, _)| stop), Instant::now());
        match race(race(written, given_up), self.say_that_the_report_waits(&path)).await {
            Either::Left(Either::Left(written)) => {
                written.unwrap_or_else(|error| Err(ReportFile::refusal(&path, error)))
            }
            Either::Left(Either::Right(())) => {
                Err(ReportFile::refusal(&path, "a signal ended the wait for its reader"))
            }
            Either::Right(never) => match never {},
        }
    }

    /// Writes a message if the report has waited for its reader for a while.
    async fn say_that_the_report_waits(&self, path: &Path) -> Infallible {
        tokio::time::sleep(finish::SAID_AFTER).await;
        let text = format!(
            "waiting until a reader takes the report from {}, for at most {} s without progress; Ctrl-C drops it",
            path.display(),
            finish::NO_PROGRESS.as_secs()
        );
        self.status.message(Level::INFO, "output-waits", &text);
        std::future::pending().await
    }

    /// Waits for the end of the tree. The first signal, or the end of `--for`, stops the tree. A SIGINT more than a second
    /// after the first signal kills it.
    async fn until_ended(&self, tree: &Tree, signals: &mut StopSignals) -> Ended {
        let mut limit = pin!(after(self.args.run_for));
        let mut stopping = false;
        loop {
            let wish = match race(tree.join(), race(signals.changed(), limit.as_mut())).await {
                Either::Left(ended) => return ended,
                Either::Right(Either::Left(wish)) => wish,
                Either::Right(Either::Right(())) => {
                    limit.set(after(None));
                    if !std::mem::replace(&mut stopping, true) {
                        self.stop(tree, "the time of --for is over: stopping all children");
                    }
                    continue;
                }
            };
            match wish {
                Wish::None => {}
                Wish::Stop(signal) if stopping || tree.state() == TreePhase::Stopping => {
                    let text = format!("{}: all children are being stopped already", signal.name());
                    self.status.message(Level::INFO, "stop-asked", &text);
                }
                Wish::Stop(signal) => {
                    stopping = true;
                    self.stop(tree, &format!("{}: stopping all children", signal.name()));
                }
                Wish::StopOrKill(_) => {
                    stopping = true;
                    tree.begin_stop();
                    self.status.message(Level::INFO, "kill-possible", &how_to_kill(signals));
                }
                Wish::Kill => {
                    self.status.message(Level::WARN, "kill-asked", "SIGINT: killing all children");
                    tree.begin_kill();
                }
            }
        }
    }

    fn stop(&self, tree: &Tree, why: &str) {
        self.status.message(Level::INFO, "stop-asked", why);
        tree.begin_stop();
    }
}

/// Returns the message that says how the user can kill the remaining children.
fn how_to_kill(signals: &StopSignals) -> String {
    if signals.hears_interrupts() {
        return "still stopping; Ctrl-C (SIGINT) kills all remaining children".to_owned();
    }
    // When this process is dead, the guardian kills all children.
    let pid = std::process::id();
    format!(
        "still stopping; SIGINT was ignored at the start, so only `kill -KILL {pid}` kills all remaining children"
    )
}

/// Whether a tree that `up -d` has started became ready. Its caller waits for that, and for nothing else.
struct ReadyInBackground(Option<tokio::task::JoinHandle<bool>>);

impl ReadyInBackground {
    fn watch(args: &UpArgs, tree: &Tree) -> Self {
        let handle = tree.handle();
        let ready = async move { handle.ready().await.is_ok() };
        Self(args.in_background.then(|| tokio::spawn(ready)))
    }

    /// Returns `true` if a tree that has ended was asked to stop before it was ready.
    async fn was_missed(self, tree: &Tree) -> bool {
        let Some(ready) = self.0 else { return false };
        let was_asked = tree.final_report().is_some_and(|report| report.asked.is_some());
        was_asked && !ready.await.unwrap_or(true)
    }
}

/// Waits for `time`, or for ever.
async fn after(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
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
