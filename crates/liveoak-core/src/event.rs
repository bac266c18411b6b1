//! Every transition of a tree, as one typed event.

use crate::{
    Attempt, ChildId, Exit, Health, IdleReason, LimitExceeded, Path, Restart, StartFailure, StopStage,
    Strategy, Time,
};
use std::sync::Arc;
use std::time::Duration;

/// One transition. Numbered without gaps per tree.
#[derive(Clone, Debug)]
pub struct Event {
    /// 1, 2, 3 … within the tree.
    pub number: u64,
    /// When.
    pub at: Time,
    /// Whose.
    pub path: Path,
    /// Whose, as a handle that never means another child.
    pub id: ChildId,
    /// What.
    pub kind: EventKind,
}

/// How much attention an event asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Part of ordinary life.
    Debug,
    /// Worth a line in a log.
    Info,
    /// A failure that is being dealt with.
    Warn,
    /// Something was given up.
    Error,
}

/// What happened to a child.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum EventKind {
    /// It was added to a running tree, behind the children that its supervisor has; what is below it follows.
    Added {
        /// Its restart rule.
        restart: Restart,
        /// For supervisors, their strategy.
        strategy: Option<Strategy>,
    },
    /// It is no longer part of the tree.
    Removed,
    /// It is to be started as soon as what it waits for is there.
    Waiting,
    /// An attempt was begun.
    Starting {
        /// Which.
        attempt: Attempt,
        /// Whether this is a restart: the attempt before it ended by itself.
        restart: bool,
    },
    /// The attempt is ready.
    Ready {
        /// Which.
        attempt: Attempt,
        /// From its start.
        took: Duration,
    },
    /// The attempt is gone; its child is down until another event says what comes of it.
    Exited {
        /// Which.
        attempt: Attempt,
        /// How it ended.
        exit: Exit,
        /// From its start.
        ran: Duration,
        /// Whether it was stopped by others; else it ended by itself, or for what it did: a start that took too long,
        /// a heartbeat that did not come, a body that ended while something of it lived on.
        stopping: bool,
    },
    /// It will be restarted after a delay.
    BackingOff {
        /// The delay.
        delay: Duration,
        /// The number of restarts in a row, this one included.
        nth: u32,
    },
    /// It was asked to stop.
    Stopping {
        /// Which attempt.
        attempt: Attempt,
    },
    /// It is being ended by force.
    Killed {
        /// Which attempt.
        attempt: Attempt,
    },
    /// It could not be ended and is written off; nothing waits for it any more.
    Abandoned {
        /// Which attempt.
        attempt: Attempt,
    },
    /// It rests.
    Stopped {
        /// How far the stop had to go.
        stage: StopStage,
        /// [`IdleReason::StoppedByRequest`] if somebody asked for it (or for a start that failed), [`IdleReason::SupervisorDown`] if it rests with
        /// its supervisor.
        why: IdleReason,
    },
    /// It has ended for good, by itself.
    Finished,
    /// It said that it is not needed here.
    Ignored,
    /// It was given up on; the others go on.
    Quarantined(Arc<LimitExceeded>),
    /// A supervisor gave up and is stopping its children.
    GaveUp(Arc<LimitExceeded>),
    /// A supervisor's first start failed and it is stopping what was started.
    StartFailed(Arc<StartFailure>),
    /// A supervisor ends because its significant children have.
    AutoShutdown,
    /// A supervisor restarts several children together.
    GroupRestart {
        /// How many, the failed one included.
        children: usize,
    },
    /// It said how it is.
    Health(Health),
}

impl EventKind {
    /// How much attention it asks for.
    #[must_use]
    pub fn severity(&self) -> Severity {
        match self {
            // An event of its own has told of these, as an error.
            Self::Exited { exit: Exit::GaveUp(_) | Exit::StartFailed(_), .. } => Severity::Debug,
            Self::Exited { exit, stopping, .. } if exit.is_failure() && !stopping => Severity::Warn,
            Self::Added { .. }
            | Self::Removed
            | Self::Waiting
            | Self::Starting { .. }
            | Self::Stopping { .. }
            | Self::Exited { .. } => Severity::Debug,
            Self::Ready { .. }
            | Self::BackingOff { .. }
            | Self::Stopped { .. }
            | Self::Finished
            | Self::Ignored
            | Self::AutoShutdown
            | Self::GroupRestart { .. } => Severity::Info,
            Self::Health(Health::Healthy) => Severity::Info,
            Self::Killed { .. } | Self::Health(Health::Degraded | Health::Unhealthy) => Severity::Warn,
            Self::Abandoned { .. } | Self::Quarantined(_) | Self::GaveUp(_) | Self::StartFailed(_) => {
                Severity::Error
            }
        }
    }

    /// One word for the kind, stable for logs and scripts.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Added { .. } => "added",
            Self::Removed => "removed",
            Self::Waiting => "waiting",
            Self::Starting { .. } => "starting",
            Self::Ready { .. } => "ready",
            Self::Exited { .. } => "exited",
            Self::BackingOff { .. } => "backing-off",
            Self::Stopping { .. } => "stopping",
            Self::Killed { .. } => "killed",
            Self::Abandoned { .. } => "abandoned",
            Self::Stopped { .. } => "stopped",
            Self::Finished => "finished",
            Self::Ignored => "ignored",
            Self::Quarantined(_) => "quarantined",
            Self::GaveUp(_) => "gave-up",
            Self::StartFailed(_) => "start-failed",
            Self::AutoShutdown => "auto-shutdown",
            Self::GroupRestart { .. } => "group-restart",
            Self::Health(_) => "health",
        }
    }
}
