//! A program as a child of a supervision tree.
//!
//! One attempt is one process group. It is ready when its probe says so (without one: as soon as it was started);
//! it is asked to stop by its stop signal, killed by `SIGKILL`, and gone when nobody of the group is alive any more.
//! A leader that ends while others of its group live on takes them with it.

use crate::command::CommandLine;
use crate::output::{OutputLine, Stream};
use crate::probe::{Probe, ProbeRun};
use crate::process::Process;
use crate::spawn_error::SpawnError;
use crate::status::Status;
use liveoak_runtime::internal::{Either, race};
use liveoak_runtime::{Child, ChildSpec, Ctx, Exit, Path, supervised};
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How long a start is held up to see whether the probe is answered by somebody else. On this machine the answer to a
/// port where nobody listens takes microseconds.
const LOOK_AROUND: Duration = Duration::from_millis(100);

/// Takes the output of programs, line by line, with the path of the child that wrote it. Must not block.
pub type OutputSink = Arc<dyn Fn(&Path, OutputLine<'_>) + Send + Sync>;

/// A program to be run as a child: the builder that [`ProcessChild::command`] begins.
///
/// Defaults: those of [`CommandLine`]; ready as soon as it was started; output goes to the program's log (`tracing`,
/// target `liveoak::output`).
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
    /// A program and its arguments, run without a shell.
    fn command<S: Into<OsString>>(name: impl Into<String>, argv: impl IntoIterator<Item = S>) -> Program {
        Program::new(name, CommandLine::argv(argv))
    }

    /// A line for `/bin/sh -c`.
    fn shell(name: impl Into<String>, line: impl Into<OsString>) -> Program {
        Program::new(name, CommandLine::shell(line))
    }
}

impl ProcessChild for Child {}

impl Program {
    /// A child called `name` that runs `command`.
    #[must_use]
    pub fn new(name: impl Into<String>, command: CommandLine) -> Self {
        Self { name: name.into(), command, probe: None, sink: None, spec: ChildSpec::default() }
    }

    /// Changes the command: its variables, folder, stop signal, successful exit codes.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(CommandLine) -> CommandLine) -> Self {
        self.command = change(self.command);
        self
    }

    /// Sets a variable of its environment.
    #[must_use]
    pub fn env(self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.with(|command| command.env(name, value))
    }

    /// The folder it runs in. A relative program with a slash, and relative paths of its probe, start there.
    #[must_use]
    pub fn cwd(self, folder: impl Into<PathBuf>) -> Self {
        self.with(|command| command.cwd(folder))
    }

    /// It is ready when `probe` says so, not as soon as it was started.
    #[must_use]
    pub fn ready(mut self, probe: Probe) -> Self {
        self.probe = Some(probe);
        self
    }

    /// How long it may take to become ready. Missing that is a failure. Default: 30 s.
    #[must_use]
    pub const fn start_within(mut self, within: Duration) -> Self {
        self.spec.start_within = within;
        self
    }

    /// How long its group may take to end after the stop signal, before it is killed. Zero kills at once,
    /// [`Duration::MAX`] never. Default: 5 s.
    #[must_use]
    pub const fn stop_within(mut self, within: Duration) -> Self {
        self.spec.stop_within = within;
        self
    }

    /// Replaces everything that was said about how it is supervised.
    #[must_use]
    pub fn with_spec(mut self, spec: ChildSpec) -> Self {
        self.spec = spec;
        self
    }

    /// Where its captured output goes.
    #[must_use]
    pub fn output(mut self, sink: OutputSink) -> Self {
        self.sink = Some(sink);
        self
    }
}

supervised!(Program, spec);

impl From<Program> for Child {
    fn from(program: Program) -> Self {
        let mut spec = program.spec;
        spec.ready = liveoak_runtime::Ready::Reported;
        let folder = program.command.directory().map(std::path::Path::to_owned);
        let probe = match (program.probe, folder) {
            (Some(probe), Some(folder)) => Some(probe.relative_to(&folder)),
            (probe, _) => probe,
        };
        let attempts = Arc::new(Attempts {
            command: Arc::new(program.command),
            probe,
            sink: program.sink.unwrap_or_else(|| Arc::new(log)),
        });
        Self::task_with_kill(program.name, move |ctx| Arc::clone(&attempts).run(ctx)).with_spec(spec)
    }
}

/// The sink of programs that were given none.
fn log(path: &Path, line: OutputLine<'_>) {
    let stream = match line.stream {
        Stream::Stdout => "stdout",
        Stream::Stderr => "stderr",
    };
    tracing::info!(target: "liveoak::output", path = %path, stream, "{}", line.text);
}

/// A program could not be started: how an attempt of it then [fails](Exit::Failed).
#[derive(Debug)]
pub struct NotStarted(pub SpawnError);

impl fmt::Display for NotStarted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "could not {}", self.0)
    }
}

impl std::error::Error for NotStarted {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

/// What all attempts of one child share.
struct Attempts {
    command: Arc<CommandLine>,
    probe: Option<Probe>,
    sink: OutputSink,
}

/// What came first while a program ran.
enum News {
    Exited,
    Stopping,
}

impl Attempts {
    async fn run(self: Arc<Self>, ctx: Ctx) -> Exit {
        let armed = self.probe.as_ref().map(Probe::start);
        let (path, sink, watched) = (ctx.path(), Arc::clone(&self.sink), armed.clone());
        let deliver = move |line: OutputLine<'_>| {
            if let Some(probe) = &watched {
                probe.observe(line.text);
            }
            sink(&path, line);
        };
        if let Some(armed) = &armed {
            look_around(&ctx, armed).await;
        }
        if ctx.is_stopping() {
            return Exit::Stopped;
        }
        let mut process = match Process::spawn_shared(Arc::clone(&self.command), deliver).await {
            Ok(process) => process,
            Err(error) => return Exit::failed(NotStarted(error)),
        };
        let news = match self.until_ready(&ctx, &mut process, armed).await {
            Some(news) => news,
            None => {
                ctx.ready();
                watch(&ctx, &mut process).await
            }
        };
        match news {
            News::Exited => self.take_leftovers(&ctx, &mut process).await,
            News::Stopping => stop(&ctx, &mut process).await,
        }
        let status = process.finish(Duration::ZERO).await.status;
        process.output_end().await;
        self.exit(status)
    }

    /// What came before it was ready; none if it is.
    async fn until_ready(&self, ctx: &Ctx, process: &mut Process, armed: Option<ProbeRun>) -> Option<News> {
        let armed = armed?;
        match race(armed.wait_until_ready(), watch(ctx, process)).await {
            Either::Left(()) => None,
            Either::Right(news) => {
                if matches!(news, News::Stopping) {
                    not_ready(ctx, &armed);
                }
                Some(news)
            }
        }
    }

    /// The leader ended by itself. Whoever of its group lives on, or may live on unseen, is asked to stop, then killed.
    async fn take_leftovers(&self, ctx: &Ctx, process: &mut Process) {
        let status = process.exited().await;
        let (path, alive) = (ctx.path(), process.group_seen_alive());
        match alive {
            Some(false) => return,
            Some(true) => {
                tracing::info!(target: "liveoak", path = %path, event = "leftovers", "{path}: has ended, but not all that it started; stopping the rest");
            }
            None => {
                tracing::debug!(target: "liveoak", path = %path, "{path}: has ended, and nobody can see whether all that it started has");
            }
        }
        if !ctx.is_stopping() {
            // The ladder goes on to the group, within the child's time.
            ctx.report_exit(self.exit(status));
        }
        let _gone_meanwhile = process.stop();
        race(process.group_gone(), ctx.killed()).await;
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

/// Warns when the probe is answered before the program was started: whoever answers then will also answer when it was,
/// and readiness will mean nothing.
async fn look_around(ctx: &Ctx, armed: &ProbeRun) {
    if !armed.probe().can_be_answered_by_others() {
        return;
    }
    let answer = ctx.unless_stopping(tokio::time::timeout(LOOK_AROUND, armed.check())).await;
    if let Some(Ok(Ok(()))) = answer {
        let (path, probe) = (ctx.path(), armed.probe());
        tracing::warn!(target: "liveoak", path = %path, event = "answered-early", "{path}: waits for {probe}, which is there before it was started: is it another program's, or of an earlier run?");
    }
}

/// It is being stopped before it was ready: says what it was waiting for.
fn not_ready(ctx: &Ctx, armed: &ProbeRun) {
    let path = ctx.path();
    let reason = match armed.latest_failure() {
        Some(failure) => failure.to_string(),
        None => format!("it was still waiting for {}", armed.probe()),
    };
    tracing::warn!(target: "liveoak", path = %path, event = "not-ready", reason, "{path}: was not ready: {reason}");
}

async fn watch(ctx: &Ctx, process: &mut Process) -> News {
    match race(process.exited(), ctx.stopping()).await {
        Either::Left(_) => News::Exited,
        Either::Right(()) => News::Stopping,
    }
}

/// Asks the whole group to stop, then kills it when that is ordered. Its end is awaited elsewhere.
async fn stop(ctx: &Ctx, process: &mut Process) {
    // One that is to be killed at once is not asked first.
    if race(ctx.killed(), std::future::ready(())).await == Either::Right(()) {
        if let Err(error) = process.stop() {
            tracing::debug!(target: "liveoak", path = %ctx.path(), "failed to {error}");
        }
        if race(process.group_gone(), ctx.killed()).await == Either::Left(()) {
            return;
        }
    }
    let _gone_meanwhile = process.kill();
}
