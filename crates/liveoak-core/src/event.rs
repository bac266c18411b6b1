//! The events of a tree: one typed event for each transition.

use crate::{
    Attempt, AutoShutdownFailure, ChildId, Criticality, Description, Exit, Health, IdleReason, LimitExceeded,
    Name, Origin, Path, Restart, StartFailure, StopStage, Strategy, StuckPoll, Survivors, Time,
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
    /// How much attention the event needs: the severity of its [kind](EventKind::severity), changed by what the child is
    /// ([`EventKind::severity_of`]).
    pub severity: Severity,
    /// The title, the tags, the role and the criticality of the child, if it has any of them.
    pub description: Option<Arc<Description>>,
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

/// Where in its tree a child stands, as far as the severity of its events depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is the root: its start and its end are worth a line in a log.
    Root,
    /// It is neither the root nor a member.
    Child,
    /// It is a member of a group. There may be a million of them, so what is information about other children is a detail
    /// about a member.
    Member,
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
        /// `true` if a command, a change of the mode, a restart set, a lost need or the supervisor stopped the child.
        /// `false` if the child ended by itself, or was stopped because of a start timeout, the end of its longest run, a
        /// failed check, a missed heartbeat, or a body that ended before its subtasks.
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
    /// The child is abandoned: it did not end in time after a kill, or it is stuck and its poll limit says so. Nothing waits
    /// for it any more.
    Abandoned {
        /// The attempt number.
        attempt: Attempt,
    },
    /// The child is down and stays down: it was stopped, it is paused, or a start by command failed.
    Stopped {
        /// The stage that the stop reached.
        stage: StopStage,
        /// [`IdleReason::StoppedByCommand`] after a command to stop, and after a start by command that failed;
        /// [`IdleReason::NotWanted`] if the mode of the tree does not want the child;
        /// [`IdleReason::SupervisorDown`] if the child stopped with its supervisor; [`IdleReason::Quarantined`] after a
        /// command to quarantine it; [`IdleReason::Paused`] if it would start now and is paused.
        why: IdleReason,
    },
    /// The child has ended, and its restart rule does not start it again.
    Finished,
    /// A sibling that the child needs is no longer ready. If that does not change within the grace, the child is stopped.
    NeedLost {
        /// The sibling.
        need: Name,
        /// The grace.
        grace: Duration,
    },
    /// The child is stopped because it ran without a sibling that it needs for longer than the grace. This is no failure: the
    /// child starts again when the sibling is back.
    StoppedForNeed {
        /// The sibling.
        need: Name,
    },
    /// The child reported that it is not needed here.
    Ignored,
    /// The child was given up on, or a trial attempt has failed; its siblings are not affected. If the value has a
    /// `retry_after`, the child makes a trial attempt after that time.
    Quarantined(Arc<LimitExceeded>),
    /// The quarantine of the child is over: a trial attempt was stable or succeeded, or a command ended the quarantine.
    Released,
    /// The child is paused: what ends is not started again. Its state has not changed.
    Paused,
    /// The child is not paused any more. Its state has not changed.
    Resumed,
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
    /// Returns how much attention the event of a child needs.
    ///
    /// | criticality | failures with which the tree deals | failures with which it does not | other interruptions |
    /// |---|---|---|---|
    /// | low | info | warn | info |
    /// | normal, or none | warn | error | info |
    /// | high | error | error | info |
    /// | critical | error | error | warn |
    ///
    /// Other interruptions are a delay before a restart, a stop by command, and an end for good. Ordinary steps stay what they
    /// are. For members of groups, `info` is `debug`. The start and the end of the root are `info` at least.
    #[must_use]
    pub fn severity_of(&self, criticality: Option<Criticality>, standing: Standing) -> Severity {
        let severity = match (self.severity(), criticality.unwrap_or_default()) {
            (Severity::Error, Criticality::Low) => Severity::Warn,
            (Severity::Warn, Criticality::Low) => Severity::Info,
            (Severity::Warn, Criticality::High | Criticality::Critical) => Severity::Error,
            (Severity::Info, Criticality::Critical) if self.interrupts() => Severity::Warn,
            (severity, _) => severity,
        };
        match (standing, self) {
            (Standing::Root, Self::Starting { .. } | Self::Exited { .. }) => severity.max(Severity::Info),
            (Standing::Member, _) if severity == Severity::Info => Severity::Debug,
            _ => severity,
        }
    }

    /// Returns `true` if the child does not work after the event, although it did not fail.
    const fn interrupts(&self) -> bool {
        match self {
            Self::BackingOff { .. } | Self::Finished | Self::Ignored | Self::AutoShutdown => true,
            Self::Stopped { why, .. } => !matches!(why, IdleReason::SupervisorDown),
            _ => false,
        }
    }

    /// Returns how much attention the event of a child of normal criticality needs.
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
            // Nothing was stopped: a new child, for example, is down until a step starts it.
            Self::Stopped { stage: StopStage::Cancelled, why: IdleReason::NotWanted } => Severity::Debug,
            Self::Starting { .. } | Self::Stopping { .. } | Self::Exited { .. } => Severity::Debug,
            Self::Ready { .. } | Self::BackingOff { .. } | Self::RestartSet { .. } => Severity::Info,
            Self::Released | Self::Paused | Self::Resumed => Severity::Info,
            Self::Stopped { .. } | Self::Finished | Self::Ignored | Self::AutoShutdown => Severity::Info,
            Self::Health { health: Health::Unknown | Health::Healthy, .. } => Severity::Info,
            Self::ReadyAgain | Self::Unstuck { .. } => Severity::Info,
            Self::Unready { .. } | Self::Stuck(_) => Severity::Warn,
            Self::TimeJump { .. } | Self::NeedLost { .. } | Self::StoppedForNeed { .. } => Severity::Warn,
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
            Self::NeedLost { .. } => "need-lost",
            Self::StoppedForNeed { .. } => "stopped-for-need",
            Self::Quarantined(_) => "quarantined",
            Self::Released => "released",
            Self::Paused => "paused",
            Self::Resumed => "resumed",
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
