//! One supervision tree for Rust: tasks, threads, Tokio runtimes and operating system processes, started in order,
//! watched, restarted by Erlang/OTP's rules, and stopped within a known time.
//!
//! # Something crashes, and comes back
//!
//! Here is a shop with two children. `orders` takes orders; `mailer` sends mail about them, and depends on a server that
//! is away for a while.
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
//! // A second later the mailer has failed twice, each time waited a little, and runs:
//! let now = tree.snapshot();
//! let mailer = now.get("/shop/mailer").unwrap();
//! assert_eq!(mailer.state.as_str(), "running");
//! assert_eq!(mailer.attempt.0, 3);
//! assert_eq!(mailer.last_exit.as_ref().unwrap().to_string(), "panicked: half a reply");
//! // … and nobody else noticed:
//! assert_eq!(now.get("/shop/orders").unwrap().attempt.0, 1);
//!
//! // A stop goes in reverse order, is bounded, and says what it did.
//! let report = tree.stop().await;
//! assert!(report.is_clean());
//! assert_eq!(report.entries[0].path.as_str(), "/shop/mailer");
//! # Ok::<(), liveoak::StartError>(())
//! # }).unwrap();
//! # }
//! ```
//!
//! In a program, end the builder with [`.run().await`](Supervisor::run) instead: it runs the tree until SIGTERM, Ctrl-C
//! or the tree's own end, and is all that `main` needs.
//!
//! # What can be a child
//!
//! | | ready | when it does not stop in time |
//! |---|---|---|
//! | [`Child::task`] – an async closure | at once, or when it says so | dropped at an await point |
//! | [`Child::service`] – a value with `init`, `run` and `stop` ([`Service`]) | when `init` returned | dropped, after its `stop` hook had its time |
//! | [`Child::thread`] – a blocking closure | at once, or when it says so | abandoned, and reported so: a thread cannot be killed |
//! | `Child::command` – a program ([`process`]) | when started, or when a probe says so | SIGKILL to its whole group |
//! | [`Supervisor`] – more children, perhaps on a runtime of their own ([`DedicatedRuntime`]) | when its children are | each by its own rule, all within one budget |
//! | [`Group`] – any number of members from one template, added as the program runs | at once | all asked together, under one deadline |
//!
//! Every child gets a [`Ctx`]: its path and attempt, the request to stop, readiness, heartbeat, health, subtasks.
//!
//! # Who is restarted, and when it is given up
//!
//! A child is [permanent, transient or temporary](Restart); its supervisor restarts [it alone, all its children, or it and
//! those behind it](Strategy). Before a restart there is a delay that doubles ([`Backoff`]). A child may be restarted so
//! often within so long, and no more ([`Limit`]): then its supervisor stops all its children and fails itself, so that
//! the next one up can try with more, or, if you say so, the child alone is put in [quarantine](GiveUp) where everyone
//! sees it.
//!
//! The arithmetic, for those who tune it: with a limit of *n* restarts in a period *p*, a child is given up on when it
//! fails for the (*n* + 1)th time within *p*. With the default backoff (ceilings of 100 ms, 200 ms, 400 ms … 30 s, of which
//! each delay is a random part) a child that fails at once has failed four times after about 0.35 s, seven times after
//! about 3 s, and eleven times after about 40 s. The defaults, ten restarts in a minute for each child,
//! mean: what cannot be mended within that time is not mended by restarting it. A limit over all children together, as
//! in OTP, is [`Supervisor::intensity`]; choose it at least as large as the number of children that one cause
//! can take down at once.
//!
//! # When not to use it
//!
//! For actors with mailboxes, use an actor framework. For a handful of tasks that should all end when one does,
//! `tokio::task::JoinSet` is enough. To isolate programs from each other, use containers.
//!
//! # Features
//!
//! - `process` (default): programs as children. Linux.
//! - `testing`: [`testing`], a kit for testing trees: one controllable child, paused time, leak checks.

pub use liveoak_runtime::*;

/// Programs as children: commands, signals, probes and their output.
#[cfg(feature = "process")]
pub mod process {
    pub use liveoak_process::*;
}

/// What `main` returns when it runs a tree: `async fn main() -> liveoak::Result`.
pub type Result<T = (), E = Error> = std::result::Result<T, E>;

/// Everything that a program with a tree needs by name.
pub mod prelude {
    #[cfg(feature = "process")]
    pub use liveoak_process::{Probe, ProcessChild};
    pub use liveoak_runtime::{
        AutoShutdown, Backoff, Child, Condition, Ctx, DedicatedRuntime, Exit, GiveUp, Group, GroupHandle,
        Health, Init, Limit, Order, Restart, Service, Strategy, Supervisor, Tree, TreeHandle,
    };
}
