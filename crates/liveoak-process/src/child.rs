//! A program as a child of a supervision tree.
//!
//! One attempt is one process group. It is ready when its probe succeeds, or without a probe as soon as it was started.
//! It has ended when no process of the group is alive. When the leader ends by itself, the other processes of the group
//! are stopped as well. The tree decides about restarts, backoff and deadlines.

use crate::command::CommandLine;
use crate::exit_watch::Status;
use crate::log::{log, log_text};
use crate::output::OutputLine;
use crate::probe::{Probe, ProbeRun};
use crate::process::Process;
use crate::spawn_error::SpawnError;
use liveoak_runtime::internal::{Either, race};
use liveoak_runtime::{Child, ChildSpec, Ctx, Exit, Path, common_settings};
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// The longest time of the check before a start. The check finds out whether something else already answers the probe; a
/// refused local connection takes microseconds.
const EARLY_CHECK_TIMEOUT: Duration = Duration::from_millis(100);

/// Receives the output of programs, line by line, with the path of the child that wrote it. Must not block.
pub type OutputSink = Arc<dyn Fn(&Path, OutputLine<'_>) + Send + Sync>;

/// A child that runs a program: the builder that [`ProcessChild::command`] returns.
///
/// Defaults: those of [`CommandLine`]; ready as soon as it was started; output goes to the log of the current process
/// (`tracing`, target `liveoak::output`).
pub struct Program {
    name: String,
    command: CommandLine,
    probe: Option<Probe>,
    sink: Option<OutputSink>,
    spec: ChildSpec,
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program")
            .field("name", &self.name)
            .field("command", &self.command)
            .field("probe", &self.probe)
            .field("spec", &self.spec)
            .finish_non_exhaustive()
    }
}

/// Gives [`Child`] its constructors for programs. In the prelude.
pub trait ProcessChild {
    /// Returns a child that runs a program with arguments, without a shell.
    fn command<S: Into<OsString>>(name: impl Into<String>, argv: impl IntoIterator<Item = S>) -> Program {
        Program::new(name, CommandLine::argv(argv))
    }

    /// Returns a child that runs a line with `/bin/sh -c`.
    fn shell(name: impl Into<String>, line: impl Into<OsString>) -> Program {
        Program::new(name, CommandLine::shell(line))
    }
}

impl ProcessChild for Child {}

impl Program {
    /// Returns a child called `name` that runs `command`.
    #[must_use]
    pub fn new(name: impl Into<String>, command: CommandLine) -> Self {
        // The errors of a program are values of Liveoak, so keeping them runs no code of the user.
        let spec = ChildSpec { keep_error: true, ..ChildSpec::default() };
        Self { name: name.into(), command, probe: None, sink: None, spec }
    }

    /// Changes the command line: its variables, folder, stop signal, successful exit codes.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(CommandLine) -> CommandLine) -> Self {
        self.command = change(self.command);
        self
    }

    /// Sets an environment variable of the program.
    #[must_use]
    pub fn env(self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.with(|command| command.env(name, value))
    }

    /// Sets the folder that the program runs in. If the program has a relative path with a slash, or its probe has a
    /// relative path, that path starts there.
    #[must_use]
    pub fn cwd(self, folder: impl Into<PathBuf>) -> Self {
        self.with(|command| command.cwd(folder))
    }

    /// Makes the child ready when `probe` succeeds, and not as soon as it was started.
    #[must_use]
    pub fn ready(mut self, probe: Probe) -> Self {
        self.probe = Some(probe);
        self
    }

    /// Sets how long an attempt may take to become ready. If it takes longer, the attempt has failed. Default: 30 s.
    #[must_use]
    pub const fn start_within(mut self, within: Duration) -> Self {
        self.spec.start_within = within;
        self
    }

    /// Sets how long the process group may take to end after the stop signal, before it is killed. With zero it is killed
    /// immediately; with [`Duration::MAX`] only the budgets of the supervisors above it count. Default: 5 s.
    #[must_use]
    pub const fn stop_within(mut self, within: Duration) -> Self {
        self.spec.stop_within = within;
        self
    }

    /// Replaces the spec. Its `ready` is ignored: a program always reports its readiness.
    #[must_use]
    pub fn with_spec(mut self, spec: ChildSpec) -> Self {
        self.spec = spec;
        self
    }

    /// Sets the sink for the captured output.
    #[must_use]
    pub fn output(mut self, sink: OutputSink) -> Self {
        self.sink = Some(sink);
        self
    }
}

common_settings!(Program, spec);

impl From<Program> for Child {
    fn from(program: Program) -> Self {
        let mut spec = program.spec;
        spec.ready = liveoak_runtime::Ready::Reported;
        // The errors of programs are small values of this crate.
        spec.keep_error = true;
        // A command line holds no values that must be dropped early, so a program can always be started again.
        spec.keep = true;
        let probe = match (program.probe, &program.command.cwd) {
            (Some(probe), Some(folder)) => Some(probe.relative_to(folder)),
            (probe, _) => probe,
        };
        let runner = Arc::new(ProgramRunner {
            command: Arc::new(program.command),
            probe,
            sink: program.sink.unwrap_or_else(|| Arc::new(log_output)),
        });
        Self::task_with_kill(program.name, move |ctx| Arc::clone(&runner).run(ctx)).with_spec(spec)
    }
}

/// Writes a line to the log. This is the default sink.
fn log_output(path: &Path, line: OutputLine<'_>) {
    let (path, stream, text) = (path.clone(), line.stream.as_str(), line.text.to_owned());
    log_text(text.len(), move || tracing::info!(target: "liveoak::output", path = %path, stream, "{text}"));
}

/// The error with which an attempt [fails](Exit::Failed) if its program could not be started.
#[derive(Debug)]
pub struct SpawnFailed(pub SpawnError);

impl fmt::Display for SpawnFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "could not {}", self.0)
    }
}

impl std::error::Error for SpawnFailed {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

/// Runs the attempts of one child. All attempts share it.
struct ProgramRunner {
    command: Arc<CommandLine>,
    probe: Option<Probe>,
    sink: OutputSink,
}

/// The reason why the wait for a running program ended.
enum RunEnd {
    /// The leader exited.
    Exited,
    /// The attempt was asked to stop.
    Stopping,
}

impl ProgramRunner {
    /// Runs one attempt, from the start of the program to the end of its process group and of its output.
    async fn run(self: Arc<Self>, ctx: Ctx) -> Exit {
        ctx.runs_outside();
        let probe = self.probe.as_ref().map(Probe::start);
        let (path, sink, watching) = (ctx.path(), Arc::clone(&self.sink), probe.clone());
        let deliver = move |line: OutputLine<'_>| {
            if let Some(probe) = &watching {
                probe.observe(line.text);
            }
            sink(&path, line);
        };
        if let Some(probe) = &probe {
            warn_if_probe_already_succeeds(&ctx, probe).await;
        }
        if ctx.is_stopping() {
            return Exit::Stopped;
        }
        // The look-up of the program may take long, and nothing runs yet.
        let prepared = match ctx.unless_stopping(Process::prepare(&self.command)).await {
            Some(Ok(prepared)) => prepared,
            Some(Err(error)) => return Exit::failed(SpawnFailed(error)),
            None => return Exit::Stopped,
        };
        let mut process = match Process::spawn_prepared(Arc::clone(&self.command), prepared, deliver).await {
            Ok(process) => process,
            Err(error) => return Exit::failed(SpawnFailed(error)),
        };
        let end = match self.until_ready(&ctx, &mut process, probe).await {
            Some(end) => end,
            None => {
                ctx.ready();
                exited_or_stopping(&ctx, &mut process).await
            }
        };
        match end {
            RunEnd::Exited => self.stop_remaining_group(&ctx, &mut process).await,
            RunEnd::Stopping => stop(&ctx, &mut process).await,
        }
        // The process group has ended or was killed above, so `finish` usually only reaps the leader.
        let status = process.finish(Duration::ZERO).await.status;
        process.output_end().await;
        self.exit(status)
    }

    /// Waits until the program is ready, and returns `None`. If the wait ends earlier, returns the reason.
    async fn until_ready(&self, ctx: &Ctx, process: &mut Process, probe: Option<ProbeRun>) -> Option<RunEnd> {
        let probe = probe?;
        match race(probe.wait_until_ready(), exited_or_stopping(ctx, process)).await {
            Either::Left(()) => None,
            Either::Right(end) => {
                if matches!(end, RunEnd::Stopping) {
                    log_not_ready(ctx, &probe);
                }
                Some(end)
            }
        }
    }

    /// Asks the remaining processes of the group to stop, when the leader has ended by itself. If they do not end within
    /// the child's `stop_within`, the tree orders the kill, and `finish` kills them.
    async fn stop_remaining_group(&self, ctx: &Ctx, process: &mut Process) {
        let status = process.exited().await;
        let path = ctx.path();
        match process.try_group_alive() {
            Some(false) => return,
            Some(true) => {
                log(move || {
                    tracing::info!(target: "liveoak", path = %path, event = "group-outlives-leader", "{path}: its main process ended, but processes that it started still run; stopping them");
                });
            }
            None => {
                log(move || {
                    tracing::debug!(target: "liveoak", path = %path, "{path}: its main process ended; cannot read /proc to see whether processes that it started still run; stopping them");
                });
            }
        }
        if !ctx.is_stopping() {
            // From now on the stop deadline of the child counts, and the tree keeps this exit for the attempt.
            ctx.report_exit(self.exit(status));
        }
        let _already_ended = process.stop();
        race(process.group_ended(), ctx.killed()).await;
    }

    fn exit(&self, status: Status) -> Exit {
        match status {
            status if self.command.succeeded(status) => Exit::Completed,
            Status::Code(code) => Exit::Code(code),
            Status::Signal { signal, core_dumped } => Exit::Signal { signal: signal.number(), core_dumped },
            Status::Lost => Exit::failed(status.to_string()),
        }
    }
}

/// Warns if the probe succeeds before the program was started, because something else may also answer it after the start.
async fn warn_if_probe_already_succeeds(ctx: &Ctx, run: &ProbeRun) {
    if !run.probe().can_be_answered_by_others() {
        return;
    }
    let answer = ctx.unless_stopping(tokio::time::timeout(EARLY_CHECK_TIMEOUT, run.check())).await;
    if let Some(Ok(Ok(()))) = answer {
        let (path, probe) = (ctx.path(), run.probe().to_string());
        log(
            move || tracing::warn!(target: "liveoak", path = %path, event = "answered-early", "{path}: the ready check ({probe}) already succeeds before the start. Another program or an old file may answer it; the child will count as ready at once."),
        );
    }
}

/// Logs why the child is not ready yet, when it is stopped before it was ready.
fn log_not_ready(ctx: &Ctx, run: &ProbeRun) {
    let path = ctx.path();
    let reason = match run.latest_failure() {
        Some(failure) => {
            let cause = std::error::Error::source(&*failure).map(|cause| format!(": could not {cause}"));
            format!("{failure}{}", cause.unwrap_or_default())
        }
        None => format!("still waiting for {}", run.probe()),
    };
    log(
        move || tracing::warn!(target: "liveoak", path = %path, event = "not-ready", reason, "{path}: was stopped before it was ready: {reason}"),
    );
}

async fn exited_or_stopping(ctx: &Ctx, process: &mut Process) -> RunEnd {
    match race(process.exited(), ctx.stopping()).await {
        Either::Left(_) => RunEnd::Exited,
        Either::Right(()) => RunEnd::Stopping,
    }
}

/// Asks the whole process group to stop, and kills it when the tree orders a kill. The caller waits for its end.
async fn stop(ctx: &Ctx, process: &mut Process) {
    // If the kill was ordered already, the group is not asked first.
    if race(ctx.killed(), std::future::ready(())).await == Either::Right(()) {
        if let Err(error) = process.stop() {
            let path = ctx.path();
            log(move || tracing::debug!(target: "liveoak", path = %path, "{path}: could not {error}"));
        }
        if race(process.group_ended(), ctx.killed()).await == Either::Left(()) {
            return;
        }
    }
    let _already_ended = process.kill();
}
