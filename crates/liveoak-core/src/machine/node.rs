//! The state of each child, and the arena that keeps it.
//!
//! Invariants, checked by [`Machine::audit`](super::Machine::audit) in tests:
//! 1. A node's timer stands in the timer set exactly when it is not [`Time::NEVER`].
//! 2. A supervisor's `live`, `waiting` and `sweeping` count exactly its children in those states.
//! 3. Only a live child has an attempt; a phase leaves "live" only through `gone`.

use crate::{
    AutoShutdown, ChildSpec, Exit, Health, IdleReason, Limit, LimitExceeded, Name, Order, RequestId,
    StopEntry, Strategy, Time, Window,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// "No slot", where an index is optional.
pub(super) const NONE: u32 = u32::MAX;

/// What a child is doing; the one machine of law 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Idle(IdleReason),
    Waiting,
    Starting,
    Running,
    BackingOff,
    Stopping { killed: bool },
}

impl Phase {
    /// Whether an attempt lives.
    pub(super) const fn is_live(self) -> bool {
        matches!(self, Self::Starting | Self::Running | Self::Stopping { .. })
    }

    /// Whether it will start without anybody asking.
    pub(super) const fn is_pending(self) -> bool {
        matches!(self, Self::Waiting | Self::BackingOff)
    }

    pub(super) const fn is_stopping(self) -> bool {
        matches!(self, Self::Stopping { .. })
    }
}

/// Facts about a child that are true or not.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Flags {
    /// It should run; false after somebody asked for its stop.
    pub(super) wanted: bool,
    /// It leaves the tree as soon as it is down.
    pub(super) removing: bool,
    /// It is being stopped as a member of a group restart.
    pub(super) sweep: bool,
    /// It starts again as soon as it is down, by request.
    pub(super) again: bool,
    /// Its next attempt is a restart: it ended by itself.
    pub(super) restarting: bool,
    /// It was ready since its supervisor was started.
    pub(super) ever_ready: bool,
    /// It was ready since the last ordered start it is part of (its supervisor's, or a group restart).
    pub(super) was_ready: bool,
    /// This attempt was ready.
    pub(super) attempt_ready: bool,
    /// Its start was asked for by a command and has not succeeded yet: a failure is the command's answer.
    pub(super) on_trial: bool,
    /// Its last attempt ended because others stopped it, whatever it said of itself then.
    pub(super) cut_short: bool,
    /// It waits for one that rests by wish.
    pub(super) resting: bool,
    /// It was added while the tree ran, and is gone with its supervisor.
    pub(super) added: bool,
}

/// The name of a child: declared, given with a member, or made from its slot.
#[derive(Clone, Debug)]
pub(super) enum Label {
    Auto,
    Named(Name),
}

/// What only children with a history need; a child that just runs has none.
#[derive(Debug, Default)]
pub(super) struct Book {
    /// Early exits in a row.
    pub(super) streak: u32,
    /// Restarts after ending by itself, ever.
    pub(super) restarts: u64,
    /// The window of its own limit.
    pub(super) window: Window,
    /// How its last finished attempt ended.
    pub(super) last_exit: Option<Exit>,
    /// Why it is being stopped, if that is a failure (or end) of its own.
    pub(super) cause: Option<Exit>,
    /// Why it was given up on.
    pub(super) gave_up: Option<Arc<LimitExceeded>>,
    /// Who waits for an answer about it. At most [`MAX_WAITERS`](super::MAX_WAITERS).
    pub(super) waiters: Vec<(RequestId, super::Command)>,
    /// What it says of itself.
    pub(super) health: Health,
    /// How much longer it waits for ailing siblings, once it has begun to; while it does, its timer says until when.
    pub(super) patience: Option<Duration>,
    /// When it last gave a heartbeat.
    pub(super) last_beat: Time,
    /// The report of a stop that began here.
    pub(super) log: Option<Box<StopLog>>,
}

/// A report in the making.
#[derive(Debug)]
pub(super) struct StopLog {
    pub(super) began: Time,
    pub(super) entries: Vec<StopEntry>,
    /// How many of them are members of groups.
    pub(super) members: usize,
    pub(super) unlisted: u64,
}

/// Where a supervisor is in its own life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Down,
    /// Its place is being made.
    Opening,
    /// Its first children start.
    Starting,
    Up,
    Stopping,
    /// Its place is being closed.
    Closing,
}

/// The moments at which the stop of a subtree gets rougher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StopPlan {
    /// From here on nobody waits for a turn.
    pub(super) hurry: Time,
    /// Whoever is left is killed.
    pub(super) kill: Time,
    /// Whoever is left is written off.
    pub(super) abandon: Time,
}

impl StopPlan {
    pub(super) const UNBOUNDED: Self = Self { hurry: Time::NEVER, kill: Time::NEVER, abandon: Time::NEVER };

    /// All of it now.
    pub(super) const fn at_once(now: Time) -> Self {
        Self { hurry: now, kill: now, abandon: now }
    }

    pub(super) fn min(self, other: Self) -> Self {
        Self {
            hurry: self.hurry.min(other.hurry),
            kill: self.kill.min(other.kill),
            abandon: self.abandon.min(other.abandon),
        }
    }
}

/// How a supervisor treats its children.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) strategy: Strategy,
    pub(super) order: Order,
    pub(super) auto_shutdown: AutoShutdown,
    pub(super) intensity: Option<Limit>,
    pub(super) end_when_done: bool,
    pub(super) dedicated_runtime: bool,
}

/// The children of a supervisor.
#[derive(Debug)]
pub(super) enum Kids {
    /// Declared children, in the order of their start.
    Ordered(Vec<u32>),
    /// Members of a group, linked through their nodes in the order of their addition.
    Group { template: Arc<ChildSpec>, head: u32, tail: u32, count: u32, max: u32 },
}

/// What only supervisors have.
#[derive(Debug)]
pub(super) struct Sup {
    pub(super) rules: Rules,
    pub(super) kids: Kids,
    /// Named children by name.
    pub(super) names: BTreeMap<Name, u32>,
    pub(super) mode: Mode,
    /// The restarts of its children, all together.
    pub(super) window: Window,
    /// How many children have an attempt.
    pub(super) live: u32,
    /// How many children are in [`Phase::Waiting`].
    pub(super) waiting: u32,
    /// How many children are being stopped, or about to be, for a group restart.
    pub(super) sweeping: u32,
    /// When stopping: how long for what.
    pub(super) plan: StopPlan,
    /// Whether all children were asked because the plan is in a hurry.
    pub(super) hurried: bool,
    /// None of the children from this one on is still to be asked by a stop in order, or by a group restart.
    pub(super) asked_from: usize,
    /// Its place ended by itself: there is nothing to close.
    pub(super) runtime_lost: bool,
    /// Whether it stands in the queue of supervisors to advance.
    pub(super) queued: bool,
    /// Levels above it, the root's being 0.
    pub(super) depth: u32,
}

impl Sup {
    pub(super) const fn is_group(&self) -> bool {
        matches!(self.kids, Kids::Group { .. })
    }

    /// The ordered children; none for a group.
    pub(super) fn ordered(&self) -> &[u32] {
        match &self.kids {
            Kids::Ordered(kids) => kids,
            Kids::Group { .. } => &[],
        }
    }

    pub(super) const fn is_ending(&self) -> bool {
        matches!(self.mode, Mode::Down | Mode::Stopping | Mode::Closing)
    }
}

impl Node {
    /// Whether it is down, or waits for one that is by wish: nobody has to wait for it.
    pub(super) const fn is_at_rest(&self) -> bool {
        matches!(self.phase, Phase::Idle(_)) || matches!(self.phase, Phase::Waiting) && self.flags.resting
    }
}

/// One child.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) serial: u32,
    /// The slot of its supervisor; [`NONE`] for the root.
    pub(super) parent: u32,
    /// Neighbours in a group.
    pub(super) prev: u32,
    pub(super) next: u32,
    pub(super) spec: Arc<ChildSpec>,
    pub(super) label: Label,
    /// The number of the last attempt.
    pub(super) attempt: u64,
    pub(super) phase: Phase,
    pub(super) flags: Flags,
    /// Since when it has been in this phase.
    pub(super) since: Time,
    /// When the last attempt was begun.
    pub(super) started: Time,
    /// The one deadline it has now.
    pub(super) timer: Time,
    pub(super) book: Option<Box<Book>>,
    pub(super) sup: Option<Box<Sup>>,
}

/// A place in the arena. A vacant one remembers how often it was used, so that no old handle fits again.
#[derive(Debug)]
pub(super) enum Slot {
    Vacant { serial: u32, next: u32 },
    Used(Node),
}
