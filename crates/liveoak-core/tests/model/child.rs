//! The reference: what is remembered of one child, and the moments of a stop.

use liveoak_core::{ChildSpec, Command, Exit, GroupSpec, Health, IdleReason, KILL_WAIT, SupervisorSpec};
use std::time::Duration;

/// An exit, by its kind.
pub(crate) type Kind = &'static str;

/// A path.
pub(crate) type Path = String;

pub(crate) const fn is_failure(exit: Kind) -> bool {
    !matches!(exit.as_bytes(), b"completed" | b"ignored" | b"stopped" | b"auto-shutdown")
}

/// The exit that the machine is told for a kind.
pub(crate) fn exit_of(kind: Kind) -> Exit {
    match kind {
        "completed" => Exit::Completed,
        "ignored" => Exit::Ignored,
        "stopped" => Exit::Stopped,
        "code" => Exit::Code(3),
        "killed" => Exit::Killed,
        _ => Exit::failed("boom"),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Idle(IdleReason),
    Waiting,
    Starting,
    Running,
    BackingOff,
    Stopping { killed: bool },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Down,
    /// Its place is being made.
    Opening,
    Starting,
    Up,
    Stopping,
    /// Its place is being closed.
    Closing,
}

/// The moments of a stop: nobody waits for a turn, all are killed, all are written off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) hurry: u64,
    pub(crate) kill: u64,
    pub(crate) abandon: u64,
}

pub(crate) const NEVER: u64 = u64::MAX;
pub(crate) const NO_PLAN: Plan = Plan { hurry: NEVER, kill: NEVER, abandon: NEVER };

pub(crate) fn later(now: u64, by: Duration) -> u64 {
    now.saturating_add(u64::try_from(by.as_nanos()).unwrap_or(NEVER))
}

impl Plan {
    pub(crate) fn new(now: u64, budget: Duration) -> Self {
        match budget {
            Duration::MAX => NO_PLAN,
            Duration::ZERO => Self { hurry: now, kill: now, abandon: later(now, KILL_WAIT) },
            budget => Self {
                hurry: later(now, budget / 2),
                kill: later(now, budget / 10 * 9),
                abandon: later(now, budget),
            },
        }
    }

    pub(crate) fn within(self, other: Self) -> Self {
        Self {
            hurry: self.hurry.min(other.hurry),
            kill: self.kill.min(other.kill),
            abandon: self.abandon.min(other.abandon),
        }
    }

    pub(crate) fn next(self, now: u64) -> u64 {
        [self.hurry, self.kill, self.abandon].into_iter().filter(|at| *at > now).min().unwrap_or(NEVER)
    }
}

/// What a child is made of.
#[derive(Clone, Debug)]
pub(crate) enum Body {
    Leaf,
    Supervisor(Box<SupervisorSpec>),
    Group(Box<GroupSpec>),
}

#[derive(Clone, Debug)]
pub(crate) struct Child {
    pub(crate) spec: ChildSpec,
    pub(crate) body: Body,
    pub(crate) phase: Phase,
    pub(crate) since: u64,
    pub(crate) started: u64,
    /// Its one deadline.
    pub(crate) timer: u64,
    pub(crate) attempt: u64,
    pub(crate) wanted: bool,
    pub(crate) removing: bool,
    /// To be stopped for a group restart.
    pub(crate) swept: bool,
    /// Its last attempt was stopped by others.
    pub(crate) cut_short: bool,
    /// To be started again when it is down.
    pub(crate) again: bool,
    /// It ended by itself and is to be restarted.
    pub(crate) restarting: bool,
    pub(crate) ever_ready: bool,
    pub(crate) was_ready: bool,
    pub(crate) attempt_ready: bool,
    /// Its start was asked for by a command.
    pub(crate) on_trial: bool,
    pub(crate) added: bool,
    pub(crate) streak: u32,
    pub(crate) restarts: u64,
    pub(crate) charges: Vec<u64>,
    pub(crate) last_exit: Option<Kind>,
    pub(crate) cause: Option<Kind>,
    pub(crate) gave_up: bool,
    pub(crate) health: Health,
    pub(crate) last_beat: u64,
    /// How much longer it waits for those that are ill, once it has begun to.
    pub(crate) patience: Option<u64>,
    pub(crate) waiters: Vec<(u64, Command)>,
    /// Of supervisors: names of the children in the order of their start, restarts of them together, and the stop.
    pub(crate) kids: Vec<String>,
    pub(crate) joint: Vec<u64>,
    pub(crate) mode: Mode,
    pub(crate) plan: Plan,
    /// Its place ended by itself.
    pub(crate) runtime_lost: bool,
}

impl Child {
    pub(crate) fn lives(&self) -> bool {
        matches!(self.phase, Phase::Starting | Phase::Running | Phase::Stopping { .. })
    }

    pub(crate) fn stopping(&self) -> bool {
        matches!(self.phase, Phase::Stopping { .. })
    }

    pub(crate) fn pending(&self) -> bool {
        matches!(self.phase, Phase::Waiting | Phase::BackingOff)
    }

    pub(crate) fn is_leaf(&self) -> bool {
        matches!(self.body, Body::Leaf)
    }

    pub(crate) fn is_group(&self) -> bool {
        matches!(self.body, Body::Group(_))
    }

    pub(crate) fn ending(&self) -> bool {
        matches!(self.mode, Mode::Down | Mode::Stopping | Mode::Closing)
    }

    pub(crate) fn count_attempt(&mut self, now: u64) {
        self.attempt += 1;
        self.restarts += u64::from(std::mem::take(&mut self.restarting));
        self.started = now;
        (self.attempt_ready, self.cut_short) = (false, false);
    }

    /// Whether it has a place: something of its own that lives around its children.
    pub(crate) fn placed(&self) -> bool {
        match &self.body {
            Body::Leaf => false,
            Body::Supervisor(rules) => rules.dedicated_runtime,
            Body::Group(group) => group.dedicated_runtime,
        }
    }

    /// Whether something lives that is not just the lives of others: the attempt of a leaf, or a place.
    pub(crate) fn embodied(&self) -> bool {
        self.lives() && (self.is_leaf() || self.placed() && !self.runtime_lost)
    }

    /// Whether that was asked to end, or killed.
    pub(crate) fn asked(&self) -> bool {
        self.embodied() && self.stopping() && (self.is_leaf() || self.mode == Mode::Closing)
    }

    pub(crate) fn rules(&self) -> Option<&SupervisorSpec> {
        match &self.body {
            Body::Supervisor(rules) => Some(rules),
            Body::Leaf | Body::Group(_) => None,
        }
    }
}
