//! One supervision tree for Rust: tasks, threads, Tokio runtimes and operating system processes, started in order,
//! watched, restarted by Erlang/OTP's rules, and stopped within a bounded time.
//!
//! # A child crashes and is restarted
//!
//! This example is a shop with two children. `orders` takes orders. `mailer` sends mail about the orders, and depends
//! on a server that is unreachable for a while.
//!
//! ```
//! use liveoak::prelude::*;
//!
//! async fn orders(ctx: Ctx) {
//!     ctx.stopping().await; // Stands for the loop that takes orders until the shop closes.
//! }
//!
//! async fn mailer(ctx: Ctx) -> Result<(), String> {
//!     match ctx.attempt().0 {
//!         1 => Err("connection refused".into()),
//!         2 => panic!("half a reply"),
//!         _ => Ok(ctx.stopping().await),
//!     }
//! }
//!
//! # fn main() {
//! # liveoak::testing::paused(async {
//! let tree = Supervisor::new("shop")
//!     .child(Child::task("orders", orders))
//!     .child(Child::task("mailer", mailer))
//!     .start()
//!     .await?;
//! # use std::time::Duration;
//! # tokio::time::sleep(Duration::from_secs(1)).await; // The clock of this example is paused: no time is spent.
//!
//! // A second later the mailer has failed twice and runs again. It waited a little before each restart.
//! let now = tree.snapshot();
//! let mailer = now.get("/shop/mailer").unwrap();
//! assert_eq!(mailer.state.as_str(), "running");
//! assert_eq!(mailer.attempt.0, 3);
//! assert_eq!(mailer.last_exit.as_ref().unwrap().to_string(), "panicked: half a reply");
//! // The other child was not restarted:
//! assert_eq!(now.get("/shop/orders").unwrap().attempt.0, 1);
//!
//! // A stop goes in reverse order, takes a bounded time, and returns a report.
//! let report = tree.stop().await;
//! assert!(report.is_clean());
//! assert_eq!(report.entries[0].path.as_str(), "/shop/mailer");
//! # Ok::<(), liveoak::StartError>(())
//! # }).unwrap();
//! # }
//! ```
//!
//! # A whole program
//!
//! [`main`](fn@main) creates the runtime and runs the tree until the tree ends or a signal stops it. Then it shuts the
//! runtime down within a bound, prints a failure, and returns the exit code:
//!
//! ```no_run
//! use liveoak::prelude::*;
//!
//! # async fn orders(ctx: Ctx) { ctx.stopping().await; }
//! fn main() -> std::process::ExitCode {
//!     liveoak::main(Supervisor::new("shop").child(Child::task("orders", orders)))
//! }
//! ```
//!
//! Liveoak logs what it does, and the output of programs that it runs, with `tracing`. Without a subscriber, none of that is
//! shown. A program without one of its own calls `liveoak::log::init` (feature `log`) at the beginning of `main`. What the
//! code of a child logs carries the path of the child and the number of the attempt: the code runs inside a span.
//!
//! [`Main`] has options: the number of worker threads, and a tree that async code makes. If a Tokio runtime already
//! exists, [`Supervisor::run`] runs a tree until a signal stops it:
//!
//! ```no_run
//! # use liveoak::prelude::*;
//! # async fn orders(ctx: Ctx) { ctx.stopping().await; }
//! #[tokio::main]
//! async fn main() -> liveoak::Result {
//!     Supervisor::new("shop").child(Child::task("orders", orders)).run().await
//! }
//! ```
//!
//! `run` cannot end the runtime. The end of a `#[tokio::main]` runtime waits for every blocking call that still runs
//! (`spawn_blocking`, a read of `tokio::io::stdin()`), and for every task that does not yield, however long they take. A
//! Ctrl-C during this wait ends the process, because `run` has restored the signal handling of before.
//!
//! If the profile of the crate has `panic = "abort"`, a panic ends the process. The panic cannot become an
//! [exit](Exit::Panicked), no child is restarted after it, and nothing is stopped in order. (Programs as children are
//! killed even then.)
//!
//! # What can be a child
//!
//! | child | ready | if it does not stop in time |
//! |---|---|---|
//! | [`Child::task`] – an async closure | immediately, or when it reports readiness | dropped at an await point |
//! | [`Child::local`] – an async closure whose future is not `Send` | as a task | as a task |
//! | [`Child::service`] – a value with `init`, `run` and `stop` ([`Service`]) | when `init` has returned | dropped, after its `stop` hook has had its time |
//! | [`Child::thread`] – a blocking closure | immediately, or when it reports readiness | abandoned and reported: a thread cannot be killed |
//! | `Child::command` – a program ([`process`]) | when started, or when a probe succeeds | SIGKILL to its whole process group |
//! | [`Supervisor`] – more children, perhaps on a runtime of their own ([`DedicatedRuntime`]) | when its children are ready | each child by its own rule, all within one budget |
//! | [`Group`] – any number of members from one template, added while the tree runs | immediately | members that still run at the deadline are killed |
//!
//! The code of a task, service, thread or member gets a [`Ctx`]: its path and attempt, the request to stop, readiness,
//! heartbeat, health, subtasks.
//!
//! A child may have checks, which are tried on an interval: [`Child::readiness`] makes a child unready while the check fails,
//! [`Child::liveness`] restarts it, and [`Child::startup`] decides when it is ready. [`TreeHandle::check_now`] asks all checks once.
//! A child that reports its health itself ([`Ctx::health`]) declares it ([`Child::reports_health`]).
//!
//! [`Supervisor::watch_polls`] and [`Child::watch_polls`] name a child whose code blocks its thread, while it does, and also if
//! all threads of the runtime are blocked. [`WhenStuck`] says what follows. No heartbeat is needed. With the feature `stacks`,
//! [`StuckPoll::stack`] is the stack of that thread at that moment.
//!
//! Some work belongs to the attempt that starts it: subtasks ([`Ctx::spawn`], [`Ctx::spawn_checked`]), blocking
//! calls ([`Ctx::spawn_blocking`]), and trees that the code of the attempt starts. The attempt ends when all of them have
//! ended, or is abandoned and reported. The tree does not know tasks and threads that are started by other means
//! (`tokio::spawn`, `std::thread::spawn`).
//!
//! # Commands and waits
//!
//! A [`TreeHandle`] commands and observes a running tree: from [`Tree::handle`], inside a child from [`Ctx::tree`], and
//! before the start from [`Supervisor::handle`], which reaches a tree that [`run`](Supervisor::run) or
//! [`main`](fn@main) runs. A [`ChildHandle`] does so for one child.
//!
//! | task | call |
//! |---|---|
//! | start, stop, restart or remove a child by its path | [`TreeHandle::restart_child`] and the like |
//! | choose how long a killed child is waited for | [`Child::kill_wait`] |
//! | get a value back that was refused | [`Refused::into_value`] |
//! | stop within a time that is said at the call | [`TreeHandle::stop_with`], [`ChildHandle::stop_with`] with a [`Stop`] |
//! | let no end of a child be followed by a restart, until further notice | [`TreeHandle::pause_child`], [`TreeHandle::resume_child`] |
//! | take a child out of service, and put it back | [`TreeHandle::quarantine_child`], [`TreeHandle::release_child`] |
//! | get the handle of a child | [`TreeHandle::child`], [`TreeHandle::add_child`], [`spawn`], [`GroupHandle::spawn`] |
//! | wait for the exit of an attempt, or for readiness | [`ChildHandle::exited`], [`ChildHandle::ready`] |
//! | add a member and get its exit | [`GroupHandle::run`] |
//! | list the members of a group | [`GroupHandle::members`] |
//! | change the number of members, after a look at what would be done | [`GroupHandle::scale`], [`GroupHandle::plan_scale`] |
//! | command many children, after a look at what would be done | [`TreeHandle::plan`] with a [`Glob`] |
//! | change to another set of children that shall run, after a look at the difference | [`Supervisor::mode`], [`TreeHandle::plan_mode`] |
//! | list a child, and start it only when it is asked for | [`Child::manual`], [`TreeHandle::start_child`] |
//! | put another declaration in the place of the running one, after a look at the difference | [`TreeHandle::apply`], [`Child::version`] |
//! | let `liveoak apply` change a program with a tree in it | `Control::reload` (feature `control`) |
//! | wait for any state of a child | [`TreeHandle::wait_for`] |
//! | read events of some children, kinds or severities | [`TreeHandle::events_where`] with an [`EventFilter`] |
//! | bound how many children start side by side, also after a common failure | [`Supervisor::max_starting`], [`Group::max_starting`] |
//! | let others turn away from a child before it is asked to stop | [`Child::unready_for`] |
//! | run a tree until a future is done | [`Supervisor::run_until`] |
//! | run foreign code as code of a child, or let it spawn children | [`Ctx::scope`], [`TreeHandle::scope`], [`ChildHandle::scope`] |
//! | give a library a cancellation token | `Ctx::cancellation_token` (feature `tokio-util`) |
//! | run a child on a runtime that exists already | [`Child::on_runtime`] |
//! | run a child that is not `Send` | [`Child::local`] on a [`DedicatedRuntime::one_thread`] |
//! | leave a value to the next attempt | [`Ctx::carry`], [`Ctx::carried`] |
//!
//! ```
//! use liveoak::prelude::*;
//! use liveoak::{ChildState, Command, Glob};
//!
//! # async fn idle(ctx: Ctx) { ctx.stopping().await; }
//! # liveoak::testing::paused(async {
//! # let ingest = Supervisor::new("ingest").child(Child::task("kafka", idle)).child(Child::task("files", idle));
//! # let tree = Supervisor::new("shop").child(ingest).start().await.unwrap();
//! let kafka = tree.child("/shop/ingest/kafka")?;
//! kafka.restart().await?; // Returns when the new attempt is ready.
//!
//! let plan = tree.plan(Command::Stop, &Glob::new("/shop/ingest/*")?);
//! println!("{plan}"); // stop /shop/ingest/files (running) …
//! plan.run().await;
//! assert!(matches!(kafka.view().unwrap().state, ChildState::Idle(_)));
//!
//! kafka.begin_start()?;
//! tree.wait_for("/shop/ingest/kafka", |child| child.state == ChildState::Running).await?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```
//!
//! A child may command itself, its supervisors and the whole tree ([`Ctx::tree`]). It cannot wait for an answer that
//! comes only after the child itself has ended or become ready. Such a wait is refused immediately
//! ([`Refusal::WouldWaitForItself`]); the command is carried out.
//!
//! # What a child is
//!
//! A child may have a [title](Child::title), [tags](Child::tags), a [role](Role) and a [criticality](Criticality). They are in
//! snapshots, events, explanations and the log. A role (service, worker, job, sidecar, supervisor) presets the restart
//! rule, the backoff, the limit and the times of checks ([`Role::preset`] has the table). The criticality decides how severe
//! the failures of the child are, and whether it is quarantined or its supervisor fails when it exceeds its limit. What the
//! child sets itself overrides both. [`Supervisor::defaults`] sets what all children below inherit ([`Defaults`]).
//!
//! ```
//! use liveoak::prelude::*;
//! use liveoak::Source;
//!
//! # async fn idle(ctx: Ctx) { ctx.stopping().await; }
//! # liveoak::testing::paused(async {
//! let report = Child::task("report", idle).title("Daily report").role(Role::Job).criticality(Criticality::Low).tag("eu");
//! let tree = Supervisor::new("shop")
//!     .defaults(Defaults::new().stop_within(std::time::Duration::from_secs(2)))
//!     .child(report)
//!     .start()
//!     .await?;
//! let report = tree.child("/shop/report")?.view().unwrap();
//! assert_eq!(report.spec.restart, Restart::Transient);
//! assert_eq!((report.spec.sources.restart, report.spec.sources.stop_within), (Source::Role, Source::Defaults));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```
//!
//! # What a child waits for, and what it needs
//!
//! Children start in declared order, each when the one before it is ready, or side by side with
//! [`Order::Edges`](Supervisor::order). A child may come [after](Child::after) a sibling: it then starts only when the sibling is
//! ready, or, with [`Child::after_when`], started, healthy or completed. A child may also [need](Child::needs) a sibling for as
//! long as it runs: it is stopped when the sibling was lost for longer than a grace ([`Child::needs_within`]), waits, and starts
//! again when the sibling is back. A wait counts against no limit, and the snapshot shows what a child waits for.
//!
//! # When a child is restarted, and when it is given up on
//!
//! A child is [permanent, transient or temporary](Restart). Its supervisor restarts [the child alone, all children of
//! the supervisor, or the child and its siblings that start after it](Strategy). Before a restart there is a random delay, whose upper
//! bound doubles from restart to restart ([`Backoff`]). [`Jitter`] says how much of it is random, and
//! [`Backoff::constant`] makes all delays equal.
//!
//! A [`Limit`] says how many restarts are allowed within a period, and how many failures in a row. When a child exceeds
//! its limit, the supervisor stops all its children and fails, so that the supervisor above can restart this supervisor
//! with all its children. With [`GiveUp::Quarantine`] the child alone is put into quarantine instead: it stays idle, and
//! snapshots show why. With a `retry_after`, one trial attempt is made after that time; if it is stable or succeeds, the
//! quarantine is over.
//!
//! Failures are in a row if there is neither a success nor a *stable run* between them. A stable run is an attempt that
//! was ready for ten seconds without a break (`reset_after` of its [`Backoff`]). An attempt of a supervisor is stable
//! once each of its declared children had a stable run or a success in it (see [`Backoff`] for the exceptions). So with a limit of
//! *n*, a child that never has a stable run is given up on after exactly *n* + 1 failures, however slowly it fails. A
//! stable run or a success, or a command that starts a child that was down, also resets the delay after a failure.
//!
//! A child asks for its own restart with [`Ctx::restart_me`], and a program with one of its
//! [restart codes](process::Program::restart_codes). This is no failure and counts against no limit. The longest run of
//! an attempt can be bounded ([`run_within`](Child::run_within)).
//!
//! The default limit is ten restarts within a minute, or ten failures in a row. This table shows how long it takes until
//! the tree ends because one child always fails immediately, with the default backoff everywhere:
//!
//! | supervisors above it | failures until the tree ends | at most | on average |
//! |---|---|---|---|
//! | 1 | 11 | 81 s | half of that |
//! | 2 | 121 | 53 min | half of that |
//! | 3 | 1,331 | 11 h | half of that |
//!
//! With nested supervisors the numbers multiply. Eleven failures have ten delays between them:
//!
//! ```
//! # use liveoak::Backoff;
//! # use std::time::Duration;
//! let backoff = Backoff::default();
//! let longest: Duration = (0..10).map(|restarts| backoff.ceiling(restarts)).sum();
//! assert_eq!(longest, Duration::from_millis(81_100)); // 100 ms, 200 ms, 400 ms … 25.6 s, 30 s
//! ```
//!
//! To give up sooner, give the child of the inner supervisor a smaller limit, for example
//! [`Limit::new(2, ..)`](Limit::new). [`Supervisor::intensity`] limits the restarts of all children together within a
//! period, as in OTP; failures in a row do not count against an intensity. Choose an intensity at least as large as the
//! number of children that one cause can take down together. The start refuses an intensity that can never be exceeded
//! because of the backoffs of the children.
//!
//! If a [significant](AutoShutdown) child ends its supervisor by a failure, the supervisor has failed too
//! ([`Exit::AutoShutdownFailed`]). If that supervisor is the root, `run` returns an error.
//!
//! Panics are caught, which needs `panic = "unwind"`, Rust's default. In a binary that is built with
//! `panic = "abort"`, the first panic ends the process; the log says so when a tree starts.
//!
//! # Kinds, and a tree from a file
//!
//! With the feature `config`, a program takes the same file as `liveoak up`. Its children are programs, supervisors, or
//! *kinds*: factories to which the program gives a name. What the file writes in `args` is a value of a type of yours:
//!
//! ```
//! # #[cfg(feature = "config")]
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use liveoak::prelude::*;
//!
//! #[derive(serde::Deserialize)]
//! #[serde(deny_unknown_fields)]
//! struct CameraArgs {
//!     device: String,
//!     #[serde(default)]
//!     fps: u8,
//! }
//!
//! async fn camera(args: CameraArgs, ctx: Ctx) {
//!     println!("{} at {} frames per second", args.device, args.fps);
//!     ctx.stopping().await;
//! }
//!
//! let kinds = Kinds::new().add("camera", camera);
//! # let folder = std::env::temp_dir().join(format!("liveoak-front-page-{}", std::process::id()));
//! # std::fs::create_dir_all(&folder)?;
//! # std::env::set_current_dir(&folder)?;
//! std::fs::write(
//!     "robot.toml",
//!     r#"
//!     [child.front]
//!     kind = "camera"
//!     args = { device = "/dev/video0", fps = 30 }
//!     "#,
//! )?;
//! let tree = Supervisor::from_file("robot.toml", &kinds)?;
//! # std::fs::remove_dir_all(&folder)?;
//! # liveoak::testing::paused(async {
//! let tree = tree.start().await?;
//! // A kind is launched any number of times, under any name:
//! let root = tree.snapshot().nodes().next().unwrap().path.clone();
//! kinds.launch(&tree, root.join("rear"), "camera", serde_json::json!({ "device": "/dev/video1" })).await?;
//! // What is wrong is found before anything starts, with its place:
//! let refused = kinds.launch(&tree, root.join("side"), "camra", ()).await.unwrap_err();
//! assert_eq!(refused.to_string(), "there is no kind \"camra\"; did you mean `camera`?");
//! # tree.stop().await;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })
//! # }
//! # #[cfg(not(feature = "config"))]
//! # fn main() {}
//! ```
//!
//! The page `docs/liveoak-toml.md` describes each key of the file.
//!
//! # What a child does, and why
//!
//! [`TreeHandle::explain`] answers this for one child: its state and the reason, what it waits for, how much of its limit
//! is used up, its last exits and commands, and where it was declared. The value prints as one screen. A child keeps its
//! last eight exits from its first failure on ([`Child::history`]); a tree keeps its last commands.
//!
//! A command can say [who](TreeHandle::by) gives it and [why](TreeHandle::because):
//! `tree.by("ci").because("deploy").restart_child("/shop/api")`. Both are in the events that follow, in the snapshot, and
//! in the report of the tree's end.
//!
//! The tree itself has a [state](TreeHandle::state) ([`is_alive`](TreeHandle::is_alive) sums it up), a [health](TreeHandle::health) and, when it has ended, a
//! [final report](TreeHandle::final_report): when it began and ended, who asked for the end, what failed first, and how each
//! child was stopped.
//!
//! # See and steer it from outside
//!
//! With the feature `control`, one line opens a control socket: `supervisor.control(Control::default())`. The program `liveoak`
//! then shows and commands the tree (`liveoak ps`, `explain`, `events -f`, `restart`), and so does any HTTP client. The page
//! `docs/control.md` lists the routes. The feature `serde` alone has the same values as types ([`mod@api`]), for a program with an
//! interface of its own.
//!
//! With the feature `otel`, `supervisor.otel(Otel::default())` sends a span of each attempt, the metrics, and the events as log
//! records to a receiver of OpenTelemetry. The page `docs/opentelemetry.md` says what is sent.
//!
//! # When not to use it
//!
//! For actors with mailboxes, use an actor framework. For a few tasks that should all end when one of them ends,
//! `tokio::task::JoinSet` is enough. To isolate programs from each other, use containers.
//!
//! # Features
//!
//! - `process` (default): programs as children. Linux.
//! - `config`: [`Kinds`] and `Supervisor::from_file`; [`config`](mod@config).
//! - `control`: [`mod@control`], a control socket. It includes `serde`: [`mod@api`].
//! - `log`: `liveoak::log`, a log of the program on stderr.
//! - `otel`: [`mod@otel`], spans, metrics and log records of the tree over OTLP/HTTP.
//! - `stacks`: the stack of a thread whose poll takes too long, in the event, the snapshot, `explain` and the log. Linux.
//!   The first stuck poll takes a real-time signal of the program, whose action was the default, and keeps it. System
//!   calls that Linux does not restart after a signal (`signal(7)`) may return `EINTR` in such a poll. Files, lines and inlined
//!   functions need debug information (`debug = "line-tables-only"` in the profile).
//! - `testing`: [`testing`], a kit for testing trees: a controllable child, paused time, leak checks.
//! - `tokio-util`: `Ctx::cancellation_token`, for libraries that want a `CancellationToken` of tokio-util.

// What users build a tree from.
pub use liveoak_runtime::{
    AutoShutdown, Backoff, BodyKind, Check, CheckKind, CheckSpec, Child, Condition, Criticality,
    DedicatedRuntime, Defaults, FirstStart, GiveUp, Group, GroupHandle, Init, Jitter, Limit, NotBegun, Order,
    PendingTree, PollLimit, Preset, Restart, Role, Service, Strategy, Supervisor, WhenStuck,
};

// Another declaration for a running tree.
pub use liveoak_runtime::{ApplyError, ApplyPlan, ApplyReport, BodyDifference, BodyValue};

// Modes: named sets of children that shall run.
pub use liveoak_runtime::{
    FailedStep, ModeEnd, ModePlan, ModeReport, OnFailure, PlanAction, PlanStep, UnknownMode,
};

// What the code of a child uses.
pub use liveoak_runtime::{
    Attempt, BoxError, CheckedSubtask, Ctx, Exit, Failure, Health, IntoExit, KILL_WAIT, Panic, Scoped,
    Subtask, SubtaskError, capture_panics, current, spawn,
};

// A program that runs one tree.
pub use liveoak_runtime::{Main, main};

// A running tree: commands, events, snapshots, the report of its stop.
pub use liveoak_runtime::{
    Added, AutoShutdownFailure, BackoffUse, CheckAnswer, CheckView, ChildHandle, ChildHistory, ChildId,
    ChildState, ChildView, Command, CommandPlan, CommandRecord, DeclaredAt, Description, Ended, Event,
    EventFilter, EventKind, EventOrLost, Events, ExitRecord, Exited, Explanation, FinalReport, FirstFailure,
    Glob, GlobError, IdleReason, LimitExceeded, LimitUse, Origin, Outcome, OutputPiece, OutputWatched, Path,
    PlannedStep, RunHold, RuntimeEnded, ScalePlan, Severity, Snapshot, Source, Sources, Standing, Step,
    StepResult, Stop, StopEntry, StopReport, StopStage, StuckPoll, Survivors, Text, Time, Tree, TreeFailure,
    TreeHandle, TreeHealth, TreePhase, Unhealthy, Wait, WaitingFor,
};

// What can go wrong.
pub use liveoak_runtime::{
    Error, NameError, NotReady, Refusal, Refused, SpecError, SpecErrors, SpecWarning, StartError,
    StartFailure,
};

// For builders in other crates that make another kind of child.
pub use liveoak_runtime::{
    CheckSources, ChildSpec, Edge, MAX_CHECKS, MAX_CHILDREN, MAX_HISTORY, MAX_KEPT_COMMANDS,
    MAX_REASON_BYTES, MAX_TAG_BYTES, MAX_TAGS, MAX_TITLE_BYTES, Name, Need, Ready, RestartCodes,
    RestartRequest, Written,
};

#[cfg(feature = "testing")]
pub use liveoak_runtime::testing;

#[cfg(feature = "log")]
pub mod log;

// For the `liveoak` program. Not part of the public API.
#[doc(hidden)]
pub use liveoak_runtime::internal;

/// Programs as children: command lines, signals, probes and output.
#[cfg(feature = "process")]
pub mod process {
    pub use liveoak_process::*;
}

// A tree from a file, and named factories of children.
#[cfg(feature = "config")]
pub use liveoak_config::{FromFile, Kinds, LaunchError};

/// The file `liveoak.toml` as data: what it declares, and what is wrong with it.
#[cfg(feature = "config")]
pub mod config {
    pub use liveoak_config::{
        Args, ChildConfig, Config, Diagnostics, Form, FromFile, Kind, KindConfig, Kinds, LaunchError, Mode,
        PlanAction, PlanStep, ProgramConfig, ReplicaConfig, SupervisorConfig, load_with, plan,
    };
}

/// The values of a running tree as JSON: the wire types of the control interface, and the [`Converter`](api::convert::Converter)
/// that makes them of snapshots, events, exits, explanations and reports.
#[cfg(feature = "serde")]
pub mod api {
    pub use liveoak_api::*;
}

/// See and steer a running tree from outside, over HTTP on a unix socket.
#[cfg(feature = "control")]
pub mod control {
    pub use liveoak_control::*;
}

/// Spans, metrics and log records of a tree, over OTLP/HTTP.
#[cfg(feature = "otel")]
pub mod otel {
    pub use liveoak_otel::*;
}

/// The result of a `main` that runs a tree: `async fn main() -> liveoak::Result`.
pub type Result<T = (), E = Error> = std::result::Result<T, E>;

/// The names that a program with a tree usually needs.
pub mod prelude {
    #[cfg(feature = "config")]
    pub use liveoak_config::{FromFile, Kinds};
    #[cfg(feature = "control")]
    pub use liveoak_control::{Control, Controlled};
    #[cfg(feature = "otel")]
    pub use liveoak_otel::{Otel, WithOtel};
    #[cfg(feature = "process")]
    pub use liveoak_process::{Probe, ProcessChild};
    pub use liveoak_runtime::{
        AutoShutdown, Backoff, Check, Child, ChildHandle, Condition, Criticality, Ctx, DedicatedRuntime,
        Defaults, Exit, FirstStart, GiveUp, Group, GroupHandle, Health, Init, Limit, Order, Restart, Role,
        Service, Strategy, Supervisor, Tree, TreeHandle,
    };
}
