//! The whole tree at one moment, consistent with an event number.

use crate::{
    Attempt, CheckKind, ChildHistory, ChildId, ChildSpec, CommandRecord, Condition, Criticality, Exit, Name,
    Path, Restart, Role, StopStage, Strategy, StuckPoll, Time,
};
use std::sync::Arc;
use std::time::Duration;

/// The health of a child. The greater of two is the worse; an unknown one says nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    /// Nothing says how healthy the child is: it runs, has no readiness or liveness check, and reports no health. Show it as
    /// "running", not as "healthy".
    #[default]
    Unknown,
    /// The child does its work.
    Healthy,
    /// The child works badly, is not ready any more, waits, starts or stops, was stopped by command or with its supervisor, or has finished
    /// with a failure.
    Degraded,
    /// The child does not do its work.
    Unhealthy,
}

/// A tree at one moment. The events from `number + 1` on say what has changed since then.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The number of the last event that the snapshot includes.
    pub number: u64,
    /// The moment of the snapshot.
    pub at: Time,
    /// The root, with all other children below it.
    pub root: ChildView,
    /// The last commands of the tree, the earliest first; at most [`MAX_KEPT_COMMANDS`](crate::MAX_KEPT_COMMANDS).
    pub commands: Vec<Arc<CommandRecord>>,
}

impl Snapshot {
    /// Returns all children of the tree, supervisors before their children.
    pub fn nodes(&self) -> impl Iterator<Item = &ChildView> {
        let mut stack = vec![&self.root];
        std::iter::from_fn(move || {
            let node = stack.pop()?;
            stack.extend(node.children.iter().rev());
            Some(node)
        })
    }

    /// Returns the child at `path`.
    #[must_use]
    pub fn get(&self, path: impl Into<Path>) -> Option<&ChildView> {
        let path = path.into();
        self.nodes().find(|node| node.path == path)
    }
}

/// One child at one moment.
#[derive(Clone, Debug)]
pub struct ChildView {
    /// The path of the child.
    pub path: Path,
    /// The id of the child.
    pub id: ChildId,
    /// Its restart rule.
    pub restart: Restart,
    /// For supervisors, their strategy.
    pub strategy: Option<Strategy>,
    /// The state of the child.
    pub state: ChildState,
    /// When the child entered this state.
    pub since: Time,
    /// When its live attempt was begun; `None` if the child has no attempt.
    pub started: Option<Time>,
    /// The number of its last attempt; 0 if none was begun.
    pub attempt: Attempt,
    /// The time until it is asked to stop, during its drain: its stop has begun, but so far it is only not ready any more
    /// ([`ChildSpec::unready_for`]).
    pub asked_in: Option<Duration>,
    /// The time until its trial attempt, if it is quarantined and its limit has a `retry_after`.
    pub retry_in: Option<Duration>,
    /// `true` while it makes a trial attempt, or waits for the start of it: the child is still quarantined for its siblings.
    pub trial: bool,
    /// `true` if only a command starts it: what runs goes on running, and what ends is not started again until it is
    /// resumed. A child that has ended meanwhile is in the state [`IdleReason::Paused`].
    pub paused: bool,
    /// The number of restarts after attempts that ended by themselves.
    pub restarts: u64,
    /// The exit of its last finished attempt.
    pub last_exit: Option<Exit>,
    /// The health of the child: the worse of what it reports and of what its checks say. A running supervisor has the
    /// health of its worst child; children of unknown health do not count.
    pub health: Health,
    /// What is declared of the child, and where.
    pub spec: Arc<ChildSpec>,
    /// What happened to the child before. `None` if it has neither failed nor been given a command.
    pub history: Option<Box<ChildHistory>>,
    /// Why the child has this health, if a check or the child itself says so.
    pub health_reason: Option<Arc<str>>,
    /// `true` if the child runs and no readiness check fails. A supervisor is ready if it runs and every running child
    /// below it is ready.
    pub ready: bool,
    /// The poll of the live attempt that exceeds its limit; `None` if there is none, or polls have no limit.
    pub stuck: Option<Arc<StuckPoll>>,
    /// The checks of the live attempt.
    pub checks: Vec<CheckView>,
    /// Its children in the order of their start; members of a group in the order of their addition.
    pub children: Vec<Self>,
}

impl ChildView {
    /// Returns the title: the name for people.
    #[must_use]
    pub fn title(&self) -> Option<&str> {
        self.spec.description.as_ref()?.title.as_deref()
    }

    /// Returns the tags.
    #[must_use]
    pub fn tags(&self) -> &[Arc<str>] {
        self.spec.description.as_ref().map_or(&[], |description| &description.tags)
    }

    /// Returns the role, if the child has one.
    #[must_use]
    pub fn role(&self) -> Option<Role> {
        self.spec.description.as_ref()?.role
    }

    /// Returns the criticality, if the child has one.
    #[must_use]
    pub fn criticality(&self) -> Option<Criticality> {
        self.spec.criticality()
    }
}

/// One check of a live attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckView {
    /// The name of the check.
    pub name: Name,
    /// What follows from the check.
    pub kind: CheckKind,
    /// `true` if the check failed as often in a row as it may, and has not passed again.
    pub failing: bool,
    /// The number of tries that began in this attempt.
    pub tries: u64,
    /// The number of tries in a row that failed.
    pub failures: u32,
    /// When the last try was over, and its answer; `None` before the first.
    pub last: Option<(Time, Result<(), Arc<str>>)>,
}

impl Health {
    /// Returns the health as one word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// The state of a child. Every state that waits says what it waits for, and how long it still takes at most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChildState {
    /// The child is down. The reason says what starts it again.
    Idle(IdleReason),
    /// The child starts when its wait is over.
    Waiting {
        /// What the child waits for.
        what: WaitingFor,
        /// The longest time that the wait can still take; `None` if it has no deadline, or no deadline yet.
        remaining: Option<Duration>,
    },
    /// The attempt of the child is not ready yet.
    Starting {
        /// The time until its start deadline; `None` if it has none.
        remaining: Option<Duration>,
    },
    /// The attempt of the child is ready.
    Running,
    /// The child waits for the delay before its restart.
    BackingOff {
        /// The time until its restart.
        remaining: Duration,
    },
    /// The child is being stopped.
    Stopping {
        /// The stage that its stop has reached.
        stage: StopStage,
        /// The time until the next stage; `None` if there is no deadline.
        remaining: Option<Duration>,
    },
}

impl ChildState {
    /// Returns the state as one word.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Idle(why) => why.as_str(),
            Self::Waiting { .. } => "waiting",
            Self::Starting { .. } => "starting",
            Self::Running => "running",
            Self::BackingOff { .. } => "backing-off",
            Self::Stopping { .. } => "stopping",
        }
    }
}

/// Why a child is down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdleReason {
    /// The supervisor of the child is down or stopping. The root has this reason before its start and after a failure.
    SupervisorDown,
    /// A command stopped the child, and only a command starts it again.
    StoppedByCommand,
    /// The child ended, or was about to start, while it was paused. It starts again when it is resumed.
    Paused,
    /// The child is not wanted: it is [manual](ChildSpec::manual), or the mode of the tree does not name it, and nothing that
    /// is wanted comes after it. A change of the mode, a command, or a sibling that comes after it starts it.
    NotWanted,
    /// The child has ended and is not restarted. A command or the start of its supervisor starts it again, unless it
    /// can run only once. A restart set also starts it, unless it is temporary.
    Finished,
    /// The child reported that it is not needed here.
    Ignored,
    /// The child was given up on, a command quarantined it, or processes of its abandoned attempt are still alive. A command
    /// starts it again; unless a command quarantined it, also the start of its supervisor. In the last case, the end of the
    /// last process also starts it.
    Quarantined,
}

impl IdleReason {
    /// Returns the reason as one word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SupervisorDown => "down",
            Self::StoppedByCommand => "stopped",
            Self::Paused => "paused",
            Self::NotWanted => "not-wanted",
            Self::Finished => "finished",
            Self::Ignored => "ignored",
            Self::Quarantined => "quarantined",
        }
    }
}

/// What a child waits for before it starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WaitingFor {
    /// Nothing: the child is about to start.
    Nothing,
    /// An earlier sibling, which must be ready first.
    Turn(Name),
    /// A sibling that the child comes `after`.
    Edge(Name, Condition),
    /// Children of its restart set that are still being stopped.
    RestartStop,
    /// The backoff of the sibling whose exit caused the restart of its restart set.
    RestartBackoff(Name),
    /// A place: as many siblings are starting as the supervisor allows (`max_starting`).
    Place,
}
