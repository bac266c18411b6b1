//! A program as a child of a supervision tree.
//!
//! One attempt is one process group. It is ready when its probe succeeds or, without a probe, as soon as it is started.
//! It has ended when no process of the group is alive. When the leader ends by itself, the other processes of the group
//! are stopped as well. The tree decides about restarts, backoff and deadlines.

use crate::checks::{refuse_without_effect, with_checks};
use crate::command::{Argv, CommandLine, Stdin};
use crate::environment::{Environment, Identity};
use crate::exit_watch::Status;
use crate::jobs::WhenGone;
use crate::joined_lines::JoinedLines;
use crate::log::{log, log_text};
use crate::output::{Backpressure, OutputLine};
use crate::probe::{Probe, ProbeFailure, ProbeRun};
use crate::process::{Process, SignalError};
use crate::quick_ends::QuickEnds;
use crate::signal::Signal;
use crate::spawn_error::SpawnError;
use crate::spawn_failed::{cannot_check, start_failed};
use crate::suspension::{Suspension, changed, until_continued};
use crate::value::ProgramValue;
use liveoak_runtime::internal::{Either, race};
use liveoak_runtime::{
    BodyKind, Child, ChildSpec, Ctx, DeclaredAt, Exit, Health, OutputPiece, Path, Restart, Survivors,
    common_settings,
};
use std::convert::Infallible;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The longest time of the check before a start. The check finds out whether something else already answers the probe; a
/// refused local connection takes microseconds.
const EARLY_CHECK_TIMEOUT: Duration = Duration::from_millis(100);

/// Receives the output of programs, line by line, with the path of the child that wrote it. Must not block.
pub type OutputSink = Arc<dyn Fn(&Path, OutputLine<'_>) + Send + Sync>;

/// A child that runs a program: the builder that [`ProcessChild::command`] returns.
///
/// Defaults: those of [`CommandLine`]; ready as soon as it was started; output goes to the log of the current process
/// (`tracing`, target `liveoak::output`).
///
/// Three variables tell the program which attempt it is: `LIVEOAK_PATH` (the child's path, such as `/shop/pool.2`),
/// `LIVEOAK_REPLICA` (see [`replica`](Program::replica)) and `LIVEOAK_ATTEMPT` (1 for the first). They override
/// variables of the command line. The command of a probe gets the same variables as the program.
pub struct Program {
    name: String,
    command: CommandLine,
    replica: u32,
    probe: Option<Probe>,
    /// The probe of each check of `spec`.
    pub(crate) checks: Vec<Probe>,
    sink: Option<OutputSink>,
    backpressure: Option<Backpressure>,
    pub(crate) spec: ChildSpec,
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program")
            .field("name", &self.name)
            .field("command", &self.command)
            .field("replica", &self.replica)
            .field("probe", &self.probe)
            .field("spec", &self.spec)
            .finish_non_exhaustive()
    }
}

/// Gives [`Child`] its constructors for programs. In the prelude.
pub trait ProcessChild {
    /// Returns a child that runs a program with arguments, without a shell.
    #[track_caller]
    fn command(name: impl Into<String>, argv: impl Argv) -> Program {
        Program::new(name, CommandLine::argv(argv))
    }

    /// Returns a child that runs a line with `/bin/sh -c`.
    #[track_caller]
    fn shell(name: impl Into<String>, line: impl Into<OsString>) -> Program {
        Program::new(name, CommandLine::shell(line))
    }
}

impl ProcessChild for Child {}

impl Program {
    /// Returns a child called `name` that runs `command`.
    #[must_use]
    #[track_caller]
    pub fn new(name: impl Into<String>, command: CommandLine) -> Self {
        // The errors of a program are values of Liveoak, so keeping them runs no code of the user.
        let declared_at = DeclaredAt::caller();
        let spec = ChildSpec { keep_error: true, declared_at, ..ChildSpec::default() };
        let (name, replica, checks) = (name.into(), 1, Vec::new());
        Self { name, command, replica, probe: None, checks, sink: None, backpressure: None, spec }
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

    /// Sets the working directory of the program. Relative paths of its probe start there, and so does a relative path
    /// of the program that has a slash.
    #[must_use]
    pub fn cwd(self, folder: impl Into<PathBuf>) -> Self {
        self.with(|command| command.cwd(folder))
    }

    /// Sets where the standard input of the program comes from. Default: empty.
    #[must_use]
    pub fn stdin(self, input: Stdin) -> Self {
        self.with(|command| command.stdin(input))
    }

    /// Makes the child ready when `probe` succeeds. Default: as soon as it is started.
    #[must_use]
    pub fn ready(mut self, probe: Probe) -> Self {
        self.probe = Some(probe);
        self
    }

    /// Sets the number that the program finds in `LIVEOAK_REPLICA`, for one of several children that run the same program.
    /// Default: 1.
    #[must_use]
    pub const fn replica(mut self, number: u32) -> Self {
        self.replica = number;
        self
    }

    /// Sets how long an attempt may take to become ready. If it takes longer, the attempt has failed. Default: 30 s.
    /// Refused without a probe and without an `after` sibling, because nothing could take long then.
    #[must_use]
    pub const fn start_within(mut self, within: Duration) -> Self {
        self.spec.set_start_within(within);
        self
    }

    /// Replaces the spec. Its `ready` and its `checks` are ignored: a program always reports its readiness, and its checks
    /// are those that were added with their probes.
    #[must_use]
    pub fn with_spec(mut self, spec: ChildSpec) -> Self {
        let declared_at = spec.declared_at.clone().or(self.spec.declared_at);
        let checks = self.spec.checks.take();
        self.spec = ChildSpec { declared_at, checks, ..spec };
        self
    }

    /// Sets the sink for the captured output.
    #[must_use]
    pub fn output(mut self, sink: OutputSink) -> Self {
        self.sink = Some(sink);
        self
    }

    /// Slows the reading of the output down while the sink can take no more. Without it, output is always read as fast as
    /// possible.
    #[must_use]
    pub fn backpressure(mut self, backpressure: Backpressure) -> Self {
        self.backpressure = Some(backpressure);
        self
    }

    /// Gives the program one pipe for both outputs. Their lines keep the order in which they were written, and all come
    /// from [`Stdout`](crate::Stream::Stdout).
    #[must_use]
    pub fn merge_output(self) -> Self {
        self.with(CommandLine::merge_output)
    }
}

common_settings!(Program, spec);

impl From<Program> for Child {
    fn from(program: Program) -> Self {
        let mut spec = program.spec;
        spec.ready = liveoak_runtime::Ready::Reported;
        spec.body = BodyKind::Program;
        refuse_without_effect(&mut spec, program.probe.as_ref(), &program.checks);
        // The errors of programs are small values of this crate.
        spec.keep_error = true;
        // A command line holds no values that must be dropped early, so a program can always be started again.
        spec.keep = true;
        let mut restart_codes = Vec::new();
        if let Some(asks) = &mut spec.restart_codes {
            asks.success.clone_from(&program.command.success);
            restart_codes.clone_from(&asks.codes);
        }
        let folder = program.command.cwd.clone();
        let relative = |probe: Probe| match &folder {
            Some(folder) => probe.relative_to(folder),
            None => probe,
        };
        let probe = program.probe.map(relative);
        let checks = spec.checks.take();
        let runner = Arc::new(ProgramRunner {
            command: Arc::new(program.command),
            replica: program.replica,
            probe,
            sink: program.sink.unwrap_or_else(|| Arc::new(log_output)),
            quick_ends: (spec.restart == Restart::Permanent).then(QuickEnds::default),
            backpressure: program.backpressure,
            said_early: AtomicBool::new(false),
            restart_codes,
        });
        let probes: Vec<Probe> = program.checks.into_iter().map(relative).collect();
        let value = ProgramValue {
            command: Arc::clone(&runner.command),
            replica: runner.replica,
            ready: runner.probe.clone(),
            checks: probes.clone(),
        };
        let attempts = Arc::clone(&runner);
        let child =
            Self::task_with_kill(program.name, move |ctx| Arc::clone(&attempts).run(ctx)).with_spec(spec);
        let environment = move |ctx: &Ctx| runner.environment(ctx);
        let checks = checks.as_deref().unwrap_or_default();
        with_checks(child, checks, probes.into_iter(), Arc::new(environment)).made_of(Arc::new(value))
    }
}

/// Writes a line to the log. This is the default sink.
fn log_output(path: &Path, line: OutputLine<'_>) {
    // The last piece of a line may be empty: it only marks the end of the line.
    if line.continues && line.text.is_empty() {
        return;
    }
    let (path, stream, text) = (path.clone(), line.stream.as_str(), line.text.to_owned());
    log_text(text.len(), move || tracing::info!(target: "liveoak::output", path = %path, stream, "{text}"));
}

/// Runs the attempts of one child. All attempts share it.
struct ProgramRunner {
    command: Arc<CommandLine>,
    replica: u32,
    probe: Option<Probe>,
    sink: OutputSink,
    /// `None` if the child is not permanent: then it may end without failure.
    quick_ends: Option<QuickEnds>,
    backpressure: Option<Backpressure>,
    /// `true` once the log has said that the probe succeeded before the program was started.
    said_early: AtomicBool,
    /// The exit codes with which the program asks for its restart.
    restart_codes: Vec<i32>,
}

/// The reason why the wait for a running program ended.
enum RunEnd {
    /// The leader exited.
    Exited,
    /// The attempt was asked to stop.
    Stopping,
    /// The command of the probe cannot be run.
    CannotCheck(SpawnError),
}

impl ProgramRunner {
    /// Runs one attempt, from the start of the program to the end of its process group and of its output.
    async fn run(self: Arc<Self>, ctx: Ctx) -> Exit {
        ctx.runs_outside();
        self.log_warning(&ctx);
        let environment = self.environment(&ctx);
        let probe = self.probe.as_ref().map(|probe| probe.start_in(environment.clone()));
        let deliver = self.delivery(&ctx, probe.clone());
        if let Some(probe) = &probe {
            // Look before the program starts: otherwise the result would depend on what the program does first.
            if let Some(Err(error)) = ctx.unless_stopping(probe.look_up()).await {
                return cannot_check(error);
            }
            self.warn_if_probe_already_succeeds(&ctx, probe).await;
        }
        if ctx.is_stopping() {
            return Exit::Stopped;
        }
        // The look-up of the program may take long, and nothing runs yet.
        let prepared = match ctx.unless_stopping(Process::prepare(&self.command, environment)).await {
            Some(Ok(prepared)) => prepared,
            Some(Err(error)) => return start_failed(error),
            None => return Exit::Stopped,
        };
        let (command, backpressure) = (Arc::clone(&self.command), self.backpressure.clone());
        let when_gone = WhenGone::new(ctx.processes_gone());
        let spawned =
            Process::spawn_with_backpressure(command, prepared, when_gone, backpressure, deliver).await;
        let mut process = match spawned {
            Ok(process) => process,
            Err(error) => return start_failed(error),
        };
        let started = Instant::now();
        ctx.runs_as_process(process.id());
        // If the attempt is abandoned from now on, the next one starts only when the last process is gone.
        ctx.may_survive(Survivors { pids: vec![process.id()], refused: None });
        let mut suspension = process.suspension();
        let end = match self.until_ready(&ctx, &mut process, &mut suspension, probe).await {
            Some(end) => end,
            None => {
                ctx.ready();
                exited_or_stopping(&ctx, &mut process, &mut suspension).await
            }
        };
        let mut failure = None;
        match end {
            RunEnd::Exited => {
                self.count_quick_end(&ctx, &mut process, started.elapsed()).await;
                self.stop_remaining_group(&ctx, &mut process).await;
            }
            RunEnd::Stopping => stop(&ctx, &mut process).await,
            RunEnd::CannotCheck(error) => {
                let exit = failure.insert(cannot_check(error));
                if !ctx.is_stopping() {
                    // From now on the stop deadline of the child counts.
                    ctx.report_exit(exit.clone());
                }
                stop(&ctx, &mut process).await;
            }
        }
        // The process group has ended or was killed above, so `finish` usually only reaps the leader.
        let status = process.finish(Duration::ZERO).await.status;
        process.output_end().await;
        failure.unwrap_or_else(|| self.exit(status))
    }

    /// Logs what is probably a mistake in the command line, once.
    fn log_warning(&self, ctx: &Ctx) {
        if let Some(warning) = self.command.warning().filter(|_| ctx.attempt().0 == 1) {
            let path = ctx.path();
            log(
                move || tracing::warn!(target: "liveoak", path = %path, event = "command-warning", "{path}: {warning}"),
            );
        }
    }

    /// Warns if the probe succeeds before the program was started, because something else may also answer it after the start. Each
    /// child is warned of once.
    async fn warn_if_probe_already_succeeds(&self, ctx: &Ctx, run: &ProbeRun) {
        if !run.probe().can_be_answered_by_others() || self.said_early.load(Ordering::Relaxed) {
            return;
        }
        let answer = ctx.unless_stopping(tokio::time::timeout(EARLY_CHECK_TIMEOUT, run.check())).await;
        if let Some(Ok(Ok(()))) = answer {
            self.said_early.store(true, Ordering::Relaxed);
            let (path, probe) = (ctx.path(), run.probe().to_string());
            log(
                move || tracing::warn!(target: "liveoak", path = %path, event = "answered-early", "{path}: the ready check ({probe}) succeeded before the program was started; another program or an old file may have answered it. The child will count as ready at once. This is said once."),
            );
        }
    }

    /// Returns the function that gets each line of output and passes it to the probe and the sink.
    fn delivery(&self, ctx: &Ctx, probe: Option<ProbeRun>) -> impl FnMut(OutputLine<'_>) + Send + 'static {
        let (path, sink, ctx) = (ctx.path(), Arc::clone(&self.sink), ctx.clone());
        let mut joined = JoinedLines::default();
        move |line| {
            if let Some(probe) = &probe {
                joined.with_line(line, |so_far| probe.observe(so_far));
            }
            ctx.wrote(&path, |path, attempt| {
                let OutputLine { stream, text, continued, continues } = line;
                OutputPiece { path, attempt, stream: stream.as_str(), text, continued, continues }
            });
            sink(&path, line);
        }
    }

    /// Returns the environment of this attempt, for the program and for the commands of its probe.
    fn environment(&self, ctx: &Ctx) -> Environment {
        let (path, attempt) = (ctx.path().to_string(), ctx.attempt().0);
        Environment::of_attempt(&self.command, Identity { path, replica: self.replica, attempt })
    }

    /// Waits until the program is ready, and returns `None`. If the wait ends earlier, returns the reason.
    async fn until_ready(
        &self,
        ctx: &Ctx,
        process: &mut Process,
        suspension: &mut Option<Suspension>,
        probe: Option<ProbeRun>,
    ) -> Option<RunEnd> {
        let probe = probe?;
        let state = suspension.as_ref().map(Suspension::state);
        let ready = async {
            let checked = probe.wait_until_ready().await;
            // A suspended program is not ready, whatever the probe says.
            if let (Ok(()), Some(state)) = (&checked, state) {
                until_continued(state).await;
            }
            checked
        };
        match race(ready, exited_or_stopping(ctx, process, suspension)).await {
            Either::Left(Err(ProbeFailure::Spawn { source, .. })) => Some(RunEnd::CannotCheck(source)),
            Either::Left(_) => {
                // Report in the log that the program was continued before the log reports it ready.
                if let Some(suspension) = suspension {
                    report_suspension(ctx, process.id(), suspension);
                }
                None
            }
            Either::Right(end) => {
                if matches!(end, RunEnd::Stopping) {
                    log_not_ready(ctx, &probe, suspension.as_ref().and_then(Suspension::signal));
                }
                Some(end)
            }
        }
    }

    /// Counts an attempt that ended by itself, if the child is permanent.
    async fn count_quick_end(&self, ctx: &Ctx, process: &mut Process, ran_for: Duration) {
        if let Some(quick_ends) = &self.quick_ends {
            let succeeded = self.command.succeeded(process.exited().await);
            quick_ends.count_and_log(&ctx.path(), &self.command, succeeded, ran_for);
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
        if race(process.stop_and_wait(|process, error| not_asked(ctx, process, &error)), ctx.killed()).await
            == Either::Right(())
        {
            kill(ctx, process);
        }
    }

    fn exit(&self, status: Status) -> Exit {
        match status {
            status if self.command.succeeded(status) => Exit::Completed,
            Status::Code(code) if self.restart_codes.contains(&code) => {
                Exit::restart_requested(format!("exit code {code}"))
            }
            Status::Code(code) => Exit::Code(code),
            Status::Signal { signal, core_dumped } => Exit::Signal { signal: signal.number(), core_dumped },
            Status::Lost => Exit::failed(status.to_string()),
        }
    }
}

/// Logs why the child is not ready yet, when it is stopped before it was ready.
fn log_not_ready(ctx: &Ctx, run: &ProbeRun, suspended_by: Option<Signal>) {
    let path = ctx.path();
    let reason = match run.latest_failure() {
        _ if let Some(signal) = suspended_by => format!("it is suspended by {signal}"),
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

/// Waits for the exit of the leader or for the order to stop. Meanwhile, reports when the leader is suspended.
async fn exited_or_stopping(ctx: &Ctx, process: &mut Process, suspension: &mut Option<Suspension>) -> RunEnd {
    let pid = process.id();
    let end = async {
        match race(process.exited(), ctx.stopping()).await {
            Either::Left(_) => RunEnd::Exited,
            Either::Right(()) => RunEnd::Stopping,
        }
    };
    match race(end, report_suspensions(ctx, pid, suspension)).await {
        Either::Left(end) => end,
        Either::Right(never) => match never {},
    }
}

/// Reports each time when the leader is suspended or continued: in the log, and as the health of the child.
async fn report_suspensions(ctx: &Ctx, pid: u32, suspension: &mut Option<Suspension>) -> Infallible {
    let Some(suspension) = suspension else { return std::future::pending().await };
    let mut state = suspension.state();
    state.mark_changed();
    loop {
        changed(&mut state).await;
        report_suspension(ctx, pid, suspension);
    }
}

/// Reports the state of the leader if it has changed since the last report.
fn report_suspension(ctx: &Ctx, pid: u32, suspension: &mut Suspension) {
    let signal = suspension.signal();
    if std::mem::replace(&mut suspension.reported, signal) == signal {
        return;
    }
    let path = ctx.path();
    match signal {
        Some(signal) => {
            log(
                move || tracing::warn!(target: "liveoak", path = %path, event = "suspended", pid, "{path}: process {pid} was suspended by {signal} and does nothing before it gets SIGCONT (kill -CONT {pid})"),
            );
            ctx.health(Health::Unhealthy, "a signal has suspended it");
        }
        None => {
            log(
                move || tracing::info!(target: "liveoak", path = %path, event = "continued", pid, "{path}: process {pid} was continued"),
            );
            ctx.health(Health::Unknown, "");
        }
    }
}

/// Asks the process group to stop, and kills it when the tree orders a kill. The caller waits for its end.
async fn stop(ctx: &Ctx, process: &mut Process) {
    // If the kill was ordered already, the group is not asked first.
    if race(ctx.killed(), std::future::ready(())).await == Either::Right(()) {
        let asked = process.stop_and_wait(|process, error| not_asked(ctx, process, &error));
        if race(asked, ctx.killed()).await == Either::Left(()) {
            return;
        }
    }
    kill(ctx, process);
}

/// Logs that the stop signal was not sent. If the system refused the signal, it will refuse the kill as well, so this
/// also tells the tree which processes may survive.
fn not_asked(ctx: &Ctx, process: &Process, error: &SignalError) {
    let (path, text) = (ctx.path(), error.to_string());
    if !matches!(error, SignalError::NotPermitted { .. }) {
        return log(move || tracing::debug!(target: "liveoak", path = %path, "{path}: could not {text}"));
    }
    let Some(survivors) = process.unkillable() else { return };
    let reason = survivors.refused.clone().unwrap_or_default();
    log(
        move || tracing::warn!(target: "liveoak", path = %path, event = "not-asked", reason, "{path}: the system refused to send the stop signal: {reason}"),
    );
    ctx.may_survive(survivors);
}

/// Kills the process group. A signal to a group succeeds if one member could be signalled, so the members that the
/// system refuses to kill are looked up. If there are such members, the tree abandons the attempt and drops the future
/// of this call.
fn kill(ctx: &Ctx, process: &Process) {
    let _already_ended = process.kill();
    let Some(survivors) = process.unkillable() else { return };
    let (path, reason) = (ctx.path(), survivors.refused.clone().unwrap_or_default());
    log(
        move || tracing::error!(target: "liveoak", path = %path, event = "kill-refused", reason, "{path}: the system refused to kill {reason}; it runs on, and the child does not start again before it has ended"),
    );
    ctx.may_survive(survivors);
}
