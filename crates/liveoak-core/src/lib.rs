//! The supervision machine: it decides what to start, restart, stop and give up on, and leaves the work to a driver.
//!
//! This crate uses no executor, no clock and no source of randomness. A driver tells the [`Machine`] what happened
//! ([`Input`]) and when ([`Time`]), and gives it a random number. The machine returns work for the driver ([`Effect`])
//! and the time of its next deadline ([`Machine::poll_deadline`]). So tests run hours of behaviour in milliseconds, and
//! every rule has one place:
//!
//! * [`decide()`] – the table restart × exit;
//! * [`Window`] – the restart window; [`Backoff`] – the delay before a restart;
//! * [`ChildDeclaration::check`] – all rules about specs, before anything starts;
//! * [`Machine`] – the life of every child of one tree.
//!
//! Users of Liveoak depend on the `liveoak` crate, which re-exports what they need from here.

mod backoff;
mod decide;
mod event;
mod exit;
mod failure;
mod ids;
mod machine;
mod report;
mod snapshot;
mod spec;
mod survivors;
mod text;
mod time;
mod window;

pub use backoff::{Backoff, jitter};
pub use decide::{Verdict, decide};
pub use event::{Event, EventKind, Severity};
pub use exit::{
    AutoShutdownFailure, Exit, LimitExceeded, MAX_BACKTRACE_BYTES, MAX_PANIC_BYTES, MAX_REASON_BYTES, Panic,
    RestartRequest, StartFailure,
};
pub use failure::{Failure, FailureError, MAX_FAILURE_BYTES};
pub use ids::{Attempt, ChildId, Name, NameError, Path, RequestId};
pub use machine::{
    Asker, Awaited, Command, Effect, Input, KILL_WAIT, MAX_QUEUED_EFFECTS, MAX_WAITERS, Machine, Outcome,
    Refusal, TreeCopy,
};
pub use report::{MAX_KEPT_FORCED, MAX_LISTED, MAX_LISTED_MEMBERS, StopEntry, StopReport, StopStage};
pub use snapshot::{ChildState, ChildView, Health, IdleReason, Snapshot, WaitingFor};
pub use spec::{
    AutoShutdown, ChildDeclaration, ChildForm, ChildSpec, Condition, Edge, FirstStart, GiveUp, GroupSpec,
    Limit, MAX_CHILDREN, MAX_DEPTH, Need, Order, Ready, Restart, RestartCodes, SpecError, SpecErrors,
    SpecProblem, SpecWarning, Strategy, SupervisorSpec, start_order,
};
pub use survivors::Survivors;
pub use text::{bounded_text, error_text};
pub use time::Time;
pub use window::{LimitCheck, Window};
