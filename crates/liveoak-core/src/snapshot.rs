//! The whole tree at one moment, consistent with an event number.

use crate::{Attempt, ChildId, Condition, Exit, Name, Path, Restart, StopStage, Strategy, Time};
use std::time::Duration;

/// How well a child does its work. Ordered from well to ill.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    /// It does its work.
    #[default]
    Healthy,
    /// It works, but not as it should; or it is not there yet, or no longer by wish.
    Degraded,
    /// It does not do its work.
    Unhealthy,
}

/// A tree at one moment. With the events numbered from `number + 1` it stays the truth.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The number of the last event that is contained.
    pub number: u64,
    /// When.
    pub at: Time,
    /// The root and, below it, everything.
    pub root: ChildView,
}

impl Snapshot {
    /// All nodes, parents before children.
    pub fn nodes(&self) -> impl Iterator<Item = &ChildView> {
        let mut stack = vec![&self.root];
        std::iter::from_fn(move || {
            let node = stack.pop()?;
            stack.extend(node.children.iter().rev());
            Some(node)
        })
    }

    /// The node at `path`.
    #[must_use]
    pub fn get(&self, path: impl Into<Path>) -> Option<&ChildView> {
        let path = path.into();
        self.nodes().find(|node| node.path == path)
    }
}

/// One child at one moment.
#[derive(Clone, Debug)]
pub struct ChildView {
    /// Where it stands.
    pub path: Path,
    /// Its handle.
    pub id: ChildId,
    /// Its restart rule.
    pub restart: Restart,
    /// For supervisors, their strategy.
    pub strategy: Option<Strategy>,
    /// What it is doing.
    pub state: ChildState,
    /// Since when it has been doing that.
    pub since: Time,
    /// When its attempt was begun, if one lives.
    pub started: Option<Time>,
    /// The number of its last attempt; 0 if none was begun.
    pub attempt: Attempt,
    /// How often it was restarted after ending by itself.
    pub restarts: u64,
    /// How its last finished attempt ended.
    pub last_exit: Option<Exit>,
    /// How it is; for supervisors, the worst of its children.
    pub health: Health,
    /// Its children in the order of their start; members of a group by slot.
    pub children: Vec<Self>,
}

/// What a child is doing. Every state that waits says for what and how long still.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChildState {
    /// It is down and nothing will start it by itself.
    Idle(IdleReason),
    /// It is to be started.
    Waiting {
        /// What has to happen first.
        what: WaitingFor,
        /// How long that takes at most; none: there is no deadline for it, or none yet.
        remaining: Option<Duration>,
    },
    /// Its attempt is not ready yet.
    Starting {
        /// How long it may still take; none: as long as it likes.
        remaining: Option<Duration>,
    },
    /// Its attempt is ready.
    Running,
    /// It will be restarted.
    BackingOff {
        /// How long it still waits.
        remaining: Duration,
    },
    /// It is being stopped.
    Stopping {
        /// How far that has gone.
        stage: StopStage,
        /// How long until the next stage; none: there is no deadline.
        remaining: Option<Duration>,
    },
}

impl ChildState {
    /// The state as one word.
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
    /// Its supervisor is down.
    SupervisorDown,
    /// Somebody asked for it; it starts when somebody asks for that.
    StoppedByRequest,
    /// It ended by itself, for good.
    Finished,
    /// It said that it is not needed here.
    Ignored,
    /// It was given up on; `start` or `restart` gives it another chance.
    Quarantined,
}

impl IdleReason {
    /// The reason as one word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SupervisorDown => "down",
            Self::StoppedByRequest => "stopped",
            Self::Finished => "finished",
            Self::Ignored => "ignored",
            Self::Quarantined => "quarantined",
        }
    }
}

/// What a child waits for before it starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WaitingFor {
    /// Nothing: it starts at once.
    Nothing,
    /// An earlier sibling, which must be ready first.
    Turn(Name),
    /// A sibling that it comes `after`.
    Edge(Name, Condition),
    /// Members of its group restart that are still being stopped.
    GroupStop,
    /// The delay of the group restart that this sibling caused.
    GroupBackoff(Name),
}
