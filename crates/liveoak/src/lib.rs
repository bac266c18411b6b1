//! One supervision tree for Rust: tasks, threads, Tokio runtimes and operating system processes, started in order,
//! watched, restarted by Erlang/OTP's rules, and stopped within a known time.
//!
//! # A child crashes and is restarted
//!
//! Here is a shop with two children. `orders` takes orders; `mailer` sends mail about them, and depends on a server
//! that is unreachable for a while.
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
//! In a program, end the builder with [`.run().await`](Supervisor::run) instead. It runs the tree until SIGTERM, Ctrl-C
//! or the end of the tree, and `main` needs nothing else.
//!
//! # What can be a child
//!
//! | child | ready | if it does not stop in time |
//! |---|---|---|
//! | [`Child::task`] – an async closure | at once, or when it reports so | dropped at an await point |
//! | [`Child::service`] – a value with `init`, `run` and `stop` ([`Service`]) | when `init` has returned | dropped, after its `stop` hook has had its time |
//! | [`Child::thread`] – a blocking closure | at once, or when it reports so | abandoned and reported: a thread cannot be killed |
//! | `Child::command` – a program ([`process`]) | when started, or when a probe succeeds | SIGKILL to its whole process group |
//! | [`Supervisor`] – more children, perhaps on a runtime of their own ([`DedicatedRuntime`]) | when its children are | each child by its own rule, all within one budget |
//! | [`Group`] – any number of members from one template, added while the program runs | at once | members left at the deadline are killed |
//!
//! The code of a task, service, thread or member gets a [`Ctx`]: its path and attempt, the request to stop, readiness,
//! heartbeat, health, subtasks.
//!
//! What an attempt starts through its [`Ctx`] belongs to it: tasks ([`Ctx::spawn`], [`Ctx::spawn_checked`]), blocking
//! calls ([`Ctx::spawn_blocking`]), and trees of its own. The attempt ends when they have ended, or is abandoned and
//! reported. What it starts by other means (`tokio::spawn`, `std::thread::spawn`) is not known to the tree.
//!
//! A child may command itself, its supervisors and the whole tree ([`Ctx::tree`]). It cannot wait for an answer that
//! comes only after its own end: such a wait is refused at once ([`Refusal::WouldWaitForItself`]).
//!
//! # When a child is restarted, and when it is given up
//!
//! A child is [permanent, transient or temporary](Restart). Its supervisor restarts [the child alone, all its children,
//! or the child and those started after it](Strategy). Before a restart there is a random delay, whose upper bound
//! doubles from restart to restart ([`Backoff`]).
//!
//! A [`Limit`] says how many restarts are allowed within a period. When a child exceeds its limit, its supervisor stops
//! all its children and fails, so that the supervisor above can restart it with all its children. With
//! [`GiveUp::Quarantine`] the child alone is put into quarantine instead: it stays idle, and snapshots show why.
//!
//! Panics are caught, so they need `panic = "unwind"`, Rust's default. In a program that is built with
//! `panic = "abort"`, the first panic ends the program; the log says so when a tree starts.
//!
//! How to choose a limit: with *n* restarts in a period *p*, a child is given up when it fails for the (*n* + 1)th time
//! within *p*. With the default backoff (the delay is random, up to 100 ms, 200 ms, 400 ms … 30 s) a child that fails
//! at once has failed four times after about 0.35 s, seven times after about 3 s, and eleven times after about 40 s.
//! The default of ten restarts in a minute for each child means: a fault that lasts longer than about 40 s is not
//! repaired by restarting. [`Supervisor::intensity`] limits the restarts of all children together, as in OTP. Choose it
//! at least as large as the number of children that one cause can take down at once.
//!
//! # When not to use it
//!
//! For actors with mailboxes, use an actor framework. For a handful of tasks that should all end when one does,
//! `tokio::task::JoinSet` is enough. To isolate programs from each other, use containers.
//!
//! # Features
//!
//! - `process` (default): programs as children. Linux.
//! - `testing`: [`testing`], a kit for testing trees: a controllable child, paused time, leak checks.

// What users build a tree from.
pub use liveoak_runtime::{
    AutoShutdown, Backoff, Child, Condition, DedicatedRuntime, GiveUp, Group, GroupHandle, Init, Limit,
    Order, Restart, Service, Strategy, Supervisor,
};

// What the code of a child uses.
pub use liveoak_runtime::{
    Attempt, BoxError, CheckedSubtask, Ctx, Exit, Failure, Health, IntoExit, KILL_WAIT, Panic, Subtask,
    SubtaskError, capture_panics, current, spawn,
};

// A running tree: commands, events, snapshots, the report of its stop.
pub use liveoak_runtime::{
    ChildId, ChildState, ChildView, Command, Ended, Event, EventKind, EventOrLost, Events, IdleReason,
    LimitExceeded, Outcome, Path, Severity, Snapshot, StopEntry, StopReport, StopStage, Time, Tree,
    TreeHandle, WaitingFor,
};

// What can go wrong.
pub use liveoak_runtime::{
    Error, NameError, NotReady, Refusal, SpawnChildError, SpecError, SpecErrors, StartError, StartFailure,
};

// For builders in other crates that make children of a kind of their own.
pub use liveoak_runtime::{ChildSpec, Edge, MAX_CHILDREN, Name, Ready};

#[cfg(feature = "testing")]
pub use liveoak_runtime::testing;

// For the `liveoak` program. Not part of the public API.
#[doc(hidden)]
pub use liveoak_runtime::internal;

/// Programs as children: command lines, signals, probes and output.
#[cfg(feature = "process")]
pub mod process {
    pub use liveoak_process::*;
}

/// The result of a `main` that runs a tree: `async fn main() -> liveoak::Result`.
pub type Result<T = (), E = Error> = std::result::Result<T, E>;

/// The names that a program with a tree usually needs.
pub mod prelude {
    #[cfg(feature = "process")]
    pub use liveoak_process::{Probe, ProcessChild};
    pub use liveoak_runtime::{
        AutoShutdown, Backoff, Child, Condition, Ctx, DedicatedRuntime, Exit, GiveUp, Group, GroupHandle,
        Health, Init, Limit, Order, Restart, Service, Strategy, Supervisor, Tree, TreeHandle,
    };
}
