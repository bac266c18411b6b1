//! The events of a tree: one typed event for each transition.

use crate::{
    Attempt, AutoShutdownFailure, ChildId, Exit, Health, IdleReason, LimitExceeded, Name, Origin, Path,
    Restart, StartFailure, StopStage, Strategy, StuckPoll, Survivors, Time,
};
use std::sync::Arc;
use std::time::Duration;

/// One transition of a child. The events of a tree are numbered without gaps.
#[derive(Clone, Debug)]
pub struct Event {
    /// The number of the event: 1, 2, 3 … within the tree.
    pub number: u64,
    /// When it happened.
    pub at: Time,
    /// The path of the child.
    pub path: Path,
    /// The id of the child, which is never used for another child.
    pub id: ChildId,
    /// What happened.
    pub kind: EventKind,
    /// Who gave the command from which the event follows, and why. The events of a child, and of the children below it, have
    /// the origin of the command until the command has taken effect. `None` if there is no such command, or the caller gave
    /// neither an actor nor a reason.
    pub origin: Option<Arc<Origin>>,
}

/// How much attention an event needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// An ordinary step.
    Debug,
    /// Worth a line in a log.
    Info,
    /// A failure with which the tree deals without help.
    Warn,
    /// A failure that the tree could not deal with: a child was given up on, abandoned, or did not start.
    Error,
}

/// What happened to a child.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum EventKind {
    /// The child was added to a running tree, as the last child of its supervisor. An event for each child below it
    /// follows.
    Added {
        /// Its restart rule.
        restart: Restart,
        /// For supervisors, their strategy.
        strategy: Option<Strategy>,
    },
    /// The child is no longer part of the tree.
    Removed,
    /// The child waits for its start.
    Waiting,
    /// An attempt was begun.
    Starting {
        /// The attempt number.
        attempt: Attempt,
        /// `true` for a restart: the attempt before it ended by itself.
        restart: bool,
    },
    /// The attempt is ready.
    Ready {
        /// The attempt number.
        attempt: Attempt,
        /// The time since the attempt was begun.
        took: Duration,
    },
    /// The attempt has ended. The child is down until another event says what follows. For the root this is the last
    /// event when the tree ends: the exit then says whether the root failed, stopped or finished.
    Exited {
        /// The attempt number.
        attempt: Attempt,
        /// The exit of the attempt.
        exit: Exit,
        /// The time since the attempt was begun.
        ran: Duration,
        /// `true` if a command, a restart set or the supervisor stopped the child. `false` if the child ended by
        /// itself, or was stopped because of a start timeout, a missed heartbeat, or a body that ended before its
        /// subtasks.
        stopped_by_others: bool,
    },
    /// The child is restarted after a delay.
    BackingOff {
        /// The delay.
        delay: Duration,
        /// The number of restarts in a row, including this one; 0 for a child without backoff.
        nth: u32,
    },
    /// The stop of the child has begun.
    Stopping {
        /// The attempt number.
        attempt: Attempt,
    },
    /// The child is killed.
    Killed {
        /// The attempt number.
        attempt: Attempt,
    },
    /// The child could not be killed and is abandoned: nothing waits for it any more.
    Abandoned {
        /// The attempt number.
        attempt: Attempt,
    },
    /// The child is down and stays down: it was stopped, or a start by command failed.
    Stopped {
        /// The stage that the stop reached.
        stage: StopStage,
        /// [`IdleReason::StoppedByCommand`] after a command to stop, and after a start by command that failed;
        /// [`IdleReason::SupervisorDown`] if the child stopped with its supervisor.
        why: IdleReason,
    },
    /// The child has ended, and its restart rule does not start it again.
    Finished,
    /// The child reported that it is not needed here.
    Ignored,
    /// The child was given up on, or a trial attempt has failed; its siblings are not affected. If the value has a
    /// `retry_after`, the child makes a trial attempt after that time.
    Quarantined(Arc<LimitExceeded>),
    /// The quarantine of the child is over: a trial attempt was stable or succeeded, or a command ended the quarantine.
    Released,
    /// The child is quarantined until these processes of its abandoned attempt are gone; its siblings are not affected.
    StillRuns(Arc<Survivors>),
    /// A supervisor gave up and is stopping its children.
    GaveUp(Arc<LimitExceeded>),
    /// A supervisor failed while it was starting, and stops the children that it has started.
    StartFailed(Arc<StartFailure>),
    /// A supervisor ends because its significant children have ended.
    AutoShutdown,
    /// A supervisor ends because its significant children have ended, and the named child has failed.
    AutoShutdownFailed(Arc<AutoShutdownFailure>),
    /// A supervisor restarts a restart set of several children.
    RestartSet {
        /// The number of children that start again, including the child that ended.
        children: usize,
    },
    /// The child reported its health.
    Health {
        /// The reported health.
        health: Health,
        /// Why, if the child says so.
        reason: Option<Arc<str>>,
    },
    /// The child runs but is not ready any more, because a readiness check fails.
    Unready {
        /// The check.
        check: Name,
        /// The answer of its last try.
        reason: Arc<str>,
    },
    /// All readiness checks of the child pass again.
    ReadyAgain,
    /// The child is stuck: one of its polls takes longer than its [`PollLimit`](crate::PollLimit).
    Stuck(Arc<StuckPoll>),
    /// The child is not stuck any more: the poll is over.
    Unstuck {
        /// The attempt number.
        attempt: Attempt,
        /// How long the poll took.
        after: Duration,
    },
    /// The tree saw deadlines much too late, because the whole process did not run: a signal had suspended it, or its
    /// machine slept. Each of these deadlines was prolonged once, by its original length, but by at most 1 s.
    /// Only the root has this event.
    TimeJump {
        /// The longest time by which one of these deadlines was seen late.
        late: Duration,
        /// The number of deadlines that were prolonged.
        deadlines: u64,
    },
}

impl EventKind {
    /// Returns how much attention the event needs.
    #[must_use]
    pub fn severity(&self) -> Severity {
        match self {
            // The events `GaveUp`, `StartFailed` and `AutoShutdownFailed` came before, as errors.
            Self::Exited {
                exit: Exit::GaveUp(_) | Exit::StartFailed(_) | Exit::AutoShutdownFailed(_),
                ..
            } => Severity::Debug,
            Self::Exited { exit, stopped_by_others, .. } if exit.is_failure() && !stopped_by_others => {
                Severity::Warn
            }
            Self::Added { .. } | Self::Removed | Self::Waiting => Severity::Debug,
            Self::Starting { .. } | Self::Stopping { .. } | Self::Exited { .. } => Severity::Debug,
            Self::Ready { .. } | Self::BackingOff { .. } | Self::RestartSet { .. } => Severity::Info,
            Self::Released => Severity::Info,
            Self::Stopped { .. } | Self::Finished | Self::Ignored | Self::AutoShutdown => Severity::Info,
            Self::Health { health: Health::Unknown | Health::Healthy, .. } => Severity::Info,
            Self::ReadyAgain | Self::Unstuck { .. } => Severity::Info,
            Self::Unready { .. } | Self::Stuck(_) => Severity::Warn,
            Self::TimeJump { .. } => Severity::Warn,
            Self::Killed { .. } | Self::Health { health: Health::Degraded | Health::Unhealthy, .. } => {
                Severity::Warn
            }
            Self::Abandoned { .. } | Self::Quarantined(_) | Self::StillRuns(_) => Severity::Error,
            Self::GaveUp(_) | Self::StartFailed(_) | Self::AutoShutdownFailed(_) => Severity::Error,
        }
    }

    /// Returns the kind as one word, stable for logs and scripts.
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
            Self::Released => "released",
            Self::StillRuns(_) => "still-runs",
            Self::GaveUp(_) => "gave-up",
            Self::StartFailed(_) => "start-failed",
            Self::AutoShutdown => "auto-shutdown",
            Self::AutoShutdownFailed(_) => "auto-shutdown-failed",
            Self::RestartSet { .. } => "restart-set",
            Self::Health { .. } => "health",
            Self::Unready { .. } => "unready",
            Self::ReadyAgain => "ready-again",
            Self::Stuck(_) => "stuck",
            Self::Unstuck { .. } => "unstuck",
            Self::TimeJump { .. } => "time-jump",
        }
    }
}
