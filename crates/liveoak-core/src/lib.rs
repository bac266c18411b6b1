//! The supervision machine: what to start, restart, stop and give up on, decided without doing any of it.
//!
//! This crate knows no executor, no clock and no source of randomness. A driver tells the [`Machine`] what
//! happened ([`Input`]), at what [`Time`] and with which random number; the machine answers with what is to be
//! done ([`Effect`]) and when it wants to be woken ([`Machine::poll_deadline`]). Hours of behaviour are
//! tested in milliseconds this way, and every rule has one place:
//!
//! * [`decide`] – the table restart × exit;
//! * [`Window`] – the restart window; [`Backoff`] – the delay before a restart;
//! * [`ChildDeclaration::check`] – all rules about specs, before anything starts;
//! * [`Machine`] – the life of every child of one tree.
//!
//! Users of Liveoak depend on the `liveoak` crate, which re-exports what they need from here.

mod backoff;
mod decide;
mod event;
mod exit;
mod ids;
mod machine;
mod report;
mod snapshot;
mod spec;
mod time;
mod window;

pub use backoff::{Backoff, jitter};
pub use decide::{Verdict, decide};
pub use event::{Event, EventKind, Severity};
pub use exit::{Exit, Failure, LimitExceeded, Panic, StartFailure};
pub use ids::{Attempt, ChildId, Name, NameError, Path, RequestId};
pub use machine::{Command, Effect, Input, KILL_WAIT, MAX_WAITERS, Machine, Outcome, Refusal};
pub use report::{MAX_LISTED, MAX_LISTED_MEMBERS, StopEntry, StopReport, StopStage};
pub use snapshot::{ChildState, ChildView, Health, IdleReason, Snapshot, WaitingFor};
pub use spec::{
    AutoShutdown, ChildDeclaration, ChildForm, ChildSpec, Condition, Edge, GiveUp, GroupSpec, Limit,
    MAX_CHILDREN, Order, Ready, Restart, SpecError, SpecErrors, SpecProblem, Strategy, SupervisorSpec,
    start_order,
};
pub use time::Time;
pub use window::{Charge, Window};
