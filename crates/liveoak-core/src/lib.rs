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
mod explanation;
mod failure;
mod glob;
mod history;
mod ids;
mod machine;
mod origin;
mod report;
mod snapshot;
mod spec;
mod stuck;
mod survivors;
mod text;
mod time;
mod window;

pub use backoff::{Backoff, jitter};
pub use decide::{Verdict, decide};
pub use event::{Event, EventKind, Severity, Standing};
pub use exit::{
    AutoShutdownFailure, Exit, LimitExceeded, MAX_BACKTRACE_BYTES, MAX_PANIC_BYTES, MAX_REASON_BYTES, Panic,
    RestartRequest, StartFailure, Unhealthy,
};
pub use explanation::{BackoffUse, Explanation, MAX_WAITS, Wait};
pub use failure::{Failure, FailureError, MAX_FAILURE_BYTES};
pub use glob::{Glob, GlobError};
pub use history::{
    ChildHistory, CommandRecord, ExitRecord, FirstFailure, LimitUse, MAX_EXIT_TEXT_BYTES, MAX_HISTORY,
    MAX_KEPT_COMMANDS, Span,
};
pub use ids::{Attempt, ChildId, Name, NameError, Path, RequestId};
#[cfg(feature = "testing")]
pub use machine::PanicAt;
pub use machine::{
    Asker, Awaited, Command, Effect, Input, MAX_QUEUED_EFFECTS, MAX_WAITERS, Machine, ModeStep, Moment,
    OrderPlace, Outcome, Refusal, TreeCopy, Wanted,
};
pub use origin::{DeclaredAt, Origin, Text};
pub use report::{MAX_KEPT_FORCED, MAX_LISTED, MAX_LISTED_MEMBERS, StopEntry, StopReport, StopStage};
pub use snapshot::{CheckView, ChildState, ChildView, Health, IdleReason, Snapshot, WaitingFor};
pub use spec::{
    Above, AutoShutdown, BodyDifference, BodyKind, CheckKind, CheckSources, CheckSpec, ChildDeclaration,
    ChildForm, ChildSpec, Condition, Criticality, Defaults, Description, Edge, FirstStart, GiveUp, GroupSpec,
    Jitter, KILL_WAIT, Limit, MAX_CHECKS, MAX_CHILDREN, MAX_DEPTH, MAX_TAG_BYTES, MAX_TAGS, MAX_TITLE_BYTES,
    Mode, Need, Order, PlanAction, PlanStep, PollLimit, Preset, Ready, Restart, RestartCodes, Role, Source,
    Sources, SpecError, SpecErrors, SpecProblem, SpecWarning, Strategy, SupervisorSpec, WhenStuck, Written,
    plan, start_order, tag_problem, title_problem,
};
pub use stuck::StuckPoll;
pub use survivors::Survivors;
pub use text::{bounded_text, error_text};
pub use time::Time;
pub use window::{LimitCheck, Window};
