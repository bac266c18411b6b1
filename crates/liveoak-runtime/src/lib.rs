//! Liveoak's supervision machine, driven on Tokio.
//!
//! The machine of `liveoak-core` stands behind one short lock (`driver.rs`). Whoever has news (a task that ended,
//! a thread that is ready, a person with a command) feeds it in directly; whoever finds effects to be done does them,
//! outside the lock, one thread at a time. One task per tree keeps its deadlines. No supervisor has a task of its
//! own, so nothing can be orphaned by the death of one.
//!
//! Users depend on the `liveoak` crate, which re-exports everything here.

mod body;
mod cell;
mod child;
mod clock;
mod ctx;
mod dedicated_runtime;
mod driver;
mod error;
mod events;
mod failures;
mod group;
mod latch;
mod life;
mod outbox;
mod pages;
mod panic;
mod race;
mod service;
mod supervisor;
mod sync;
mod table;
mod task;
#[cfg(feature = "testing")]
pub mod testing;
mod thread;
mod tree;
mod watchdog;

pub use body::{BoxError, IntoExit};
pub use child::{Child, edge};
pub use ctx::{Ctx, Subtask, SubtaskError, current, spawn};
pub use dedicated_runtime::DedicatedRuntime;
pub use error::{Error, SpawnChildError, StartError};
pub use events::{EventOrLost, Events};
pub use group::{Group, GroupHandle};
pub use panic::capture_panics;
pub use race::{Either, race};
pub use service::{Init, Service};
pub use supervisor::Supervisor;
pub use tree::{Ended, Tree, TreeHandle};

pub use liveoak_core::{
    Attempt, AutoShutdown, Backoff, ChildId, ChildSpec, ChildState, ChildView, Command, Condition, Edge,
    Event, EventKind, Exit, Failure, GiveUp, Health, IdleReason, KILL_WAIT, Limit, LimitExceeded,
    MAX_CHILDREN, Name, NameError, Order, Outcome, Panic, Path, Ready, Refusal, Restart, Severity, Snapshot,
    SpecError, SpecErrors, SpecProblem, StartFailure, StopEntry, StopReport, StopStage, Strategy, Time,
    WaitingFor,
};
