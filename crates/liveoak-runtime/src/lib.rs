//! Liveoak's supervision machine, driven on Tokio.
//!
//! The machine of `liveoak-core` decides. This crate gives it inputs and performs its effects. Each tree has one short
//! lock around its machine, and any thread with an input takes this lock. One Tokio task per tree keeps the deadlines.
//! Supervisors have no tasks, so the death of a task can orphan no child.
//!
//! The crate has three storeys, each in a folder. A file uses its own storey and lower ones:
//!
//! * `api` – what users see: builders, bodies, contexts, handles, errors.
//! * `engine` – one running tree: the lock, the driver, timers, events, the end. Begin reading at `engine/driver.rs`.
//! * `attempt` – one attempt of one child: its orders, its subtasks, its end.
//!
//! Below them, `util` holds helpers that know nothing of supervision. Above them, `testing` is the testing kit.
//!
//! Users depend on the `liveoak` crate, which re-exports what they need.

mod api;
mod attempt;
mod engine;
#[cfg(feature = "testing")]
pub mod testing;
mod util;

pub use api::apply::{ApplyError, ApplyPlan, ApplyReport};
pub use api::check::Check;
pub use api::check_now::CheckAnswer;
pub use api::child::Child;
pub use api::child_handle::{Added, ChildHandle, Exited};
pub use api::command_plan::{CommandPlan, PlannedStep, Step, StepResult};
pub use api::ctx::{Ctx, current};
pub use api::declared_modes::UnknownMode;
pub use api::error::{Error, Refused, StartError};
pub use api::group::{Group, GroupHandle};
pub use api::main::{Main, main};
pub use api::mode::ModePlan;
pub use api::mode_report::{FailedStep, ModeEnd, ModeReport, OnFailure};
pub use api::pending_tree::{NotBegun, PendingTree};
pub use api::scale::ScalePlan;
pub use api::scope::Scoped;
pub use api::service::{Init, Service};
pub use api::stop::Stop;
pub use api::subtask::{CheckedSubtask, Subtask, SubtaskError, spawn};
pub use api::supervisor::Supervisor;
pub use api::tree::{NotReady, Tree, TreeHandle};
pub use api::tree_health::RuntimeEnded;
pub use attempt::body::{BodyValue, BoxError, IntoExit};
pub use attempt::dedicated_runtime::DedicatedRuntime;
pub use attempt::panic::capture_panics;
pub use engine::ended::{Ended, FinalReport, TreeFailure, TreeHealth, TreePhase};
pub use engine::event_filter::EventFilter;
pub use engine::events::{EventOrLost, Events};
pub use engine::output::{OutputPiece, OutputWatched};
pub use engine::run_hold::RunHold;

pub use liveoak_core::{
    Attempt, AutoShutdown, AutoShutdownFailure, Backoff, BackoffUse, BodyDifference, BodyKind, CheckKind,
    CheckSources, CheckSpec, CheckView, ChildHistory, ChildId, ChildSpec, ChildState, ChildView, Command,
    CommandRecord, Condition, Criticality, DeclaredAt, Defaults, Description, Edge, Event, EventKind, Exit,
    ExitRecord, Explanation, Failure, FirstFailure, FirstStart, GiveUp, Glob, GlobError, Health, IdleReason,
    Jitter, KILL_WAIT, Limit, LimitExceeded, LimitUse, MAX_CHECKS, MAX_CHILDREN, MAX_HISTORY,
    MAX_KEPT_COMMANDS, MAX_REASON_BYTES, MAX_TAG_BYTES, MAX_TAGS, MAX_TITLE_BYTES, Name, NameError, Need,
    Order, Origin, Outcome, Panic, Path, PlanAction, PlanStep, PollLimit, Preset, Ready, Refusal, Restart,
    RestartCodes, RestartRequest, Role, Severity, Snapshot, Source, Sources, SpecError, SpecErrors,
    SpecProblem, SpecWarning, Standing, StartFailure, StopEntry, StopReport, StopStage, Strategy, StuckPoll,
    Survivors, Text, Time, Unhealthy, Wait, WaitingFor, WhenStuck, Written,
};

/// Items for the other crates of Liveoak. Not part of the public API.
#[doc(hidden)]
pub mod internal {
    pub use crate::api::child::{add_need, edge};
    pub use crate::engine::event_line::event_text;
    pub use crate::util::limits::{THREADS_OF_A_TREE, check_resources, create_runtime, shortage};
    pub use crate::util::log::{flush_log, log, log_text};
    pub use crate::util::signals::{HangupRequests, StateRequests, StopSignal, StopSignals, Wish};
    pub use crate::util::{Either, race};
    pub use liveoak_core::Span;
}
