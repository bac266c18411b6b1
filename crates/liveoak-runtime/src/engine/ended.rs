//! How a tree ended, and how it is while it runs.

use liveoak_core::{ChildId, CommandRecord, Exit, FirstFailure, Health, StopReport, Time};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::SystemTime;

/// How a tree ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// How its root ended.
    pub exit: Exit,
    /// How the children were stopped.
    pub report: Arc<StopReport>,
}

/// What a whole tree is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TreePhase {
    /// Its children start for the first time.
    Starting,
    /// It was ready, and goes on.
    Alive,
    /// It stops, because of a command or by itself.
    Stopping,
    /// It has ended, and its exit is no failure.
    Completed,
    /// It has ended with a failure.
    Failed,
}

impl TreePhase {
    /// Returns the phase as one word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Alive => "alive",
            Self::Stopping => "stopping",
            Self::Completed => "completed",
            Self::Failed => "failed",
        }
    }

    /// Returns `true` if the tree has ended.
    #[must_use]
    pub const fn has_ended(self) -> bool {
        matches!(self, Self::Completed | Self::Failed)
    }
}

/// How a whole tree is, as one value.
#[derive(Clone, Debug)]
pub struct TreeHealth {
    /// What the tree is doing.
    pub state: TreePhase,
    /// When it entered this state.
    pub since: Time,
    /// The moment to which this value belongs.
    pub observed: Time,
    /// `true` if the tree is alive: each declared child was ready, and nothing stops the tree.
    pub ready: bool,
    /// The health of the worst child.
    pub health: Health,
    /// Why the tree failed; `None` if it did not.
    pub failure: Option<TreeFailure>,
}

/// Why a tree failed.
#[derive(Clone, Debug)]
pub struct TreeFailure {
    /// What the tree was doing when it failed: [`Starting`](TreePhase::Starting), [`Alive`](TreePhase::Alive), or
    /// [`Stopping`](TreePhase::Stopping) if it failed after a command to stop.
    pub phase: TreePhase,
    /// The exit of the root as text, which names the child that caused it.
    pub reason: String,
    /// `true` if the cause was a panic.
    pub panicked: bool,
    /// `false` if the tree will fail in the same way again, unless files or the configuration are changed: a program is
    /// missing, for example.
    pub recoverable: bool,
}

/// The whole story of a tree that has ended. It is made once: every caller gets the same value.
#[derive(Clone, Debug)]
pub struct FinalReport {
    /// [`Completed`](TreePhase::Completed) or [`Failed`](TreePhase::Failed).
    pub state: TreePhase,
    /// The exit of the root.
    pub exit: Exit,
    /// When the tree began.
    pub began: SystemTime,
    /// When it had ended, with all destructors for which the end waits.
    pub ended: SystemTime,
    /// The command that began the end: who gave it, when and why. `None` if the tree began to end by itself.
    pub asked: Option<Arc<CommandRecord>>,
    /// The first failure of any child, in the whole life of the tree.
    pub first_failure: Option<Arc<FirstFailure>>,
    /// Why the tree failed; `None` if it did not.
    pub failure: Option<TreeFailure>,
    /// How each child was stopped.
    pub stop: Arc<StopReport>,
}

impl FinalReport {
    pub(crate) fn new(
        ended: &Ended,
        (began, end): (SystemTime, SystemTime),
        asked: Option<Arc<CommandRecord>>,
        first_failure: Option<Arc<FirstFailure>>,
        was_ready: bool,
    ) -> Self {
        let Ended { exit, report } = ended;
        let phase = match (&asked, was_ready) {
            (Some(_), _) => TreePhase::Stopping,
            (None, true) => TreePhase::Alive,
            (None, false) => TreePhase::Starting,
        };
        let failure = exit.is_failure().then(|| TreeFailure {
            phase,
            reason: exit.to_string(),
            panicked: matches!(cause(exit), Exit::Panicked(_)),
            recoverable: cause(exit).is_retryable(),
        });
        Self {
            state: if failure.is_some() { TreePhase::Failed } else { TreePhase::Completed },
            exit: exit.clone(),
            began,
            ended: end,
            asked,
            first_failure,
            failure,
            stop: Arc::clone(report),
        }
    }
}

/// The attempts that ran when the tree failed, and the exits of those that have ended since.
pub(crate) struct LastExits {
    /// The leaves that have not ended.
    pub(crate) leaves: usize,
    /// The dedicated runtimes that have not ended.
    pub(crate) runtimes: HashSet<ChildId>,
    /// How and when these attempts have ended.
    pub(crate) exits: HashMap<ChildId, (Exit, Time)>,
}

/// Returns the exit of the child because of which supervisors failed one after another.
fn cause(exit: &Exit) -> &Exit {
    match exit {
        Exit::StartFailed(failure) => cause(&failure.exit),
        Exit::GaveUp(gave_up) => cause(&gave_up.exit),
        Exit::AutoShutdownFailed(failure) => cause(&failure.exit),
        exit => exit,
    }
}
