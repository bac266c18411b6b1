//! The reference model, part 1: the state of one child, and the moments of a supervisor's stop.

use crate::needs::Needs;
use liveoak_core::{ChildSpec, Command, Exit, GroupSpec, Health, IdleReason, SupervisorSpec};
use std::time::Duration;

/// The kind of an exit, as `Exit::kind` returns it; or `not-retryable`, until it is judged.
pub(crate) type Kind = &'static str;

/// Returns `true` if the command asks for an attempt.
pub(crate) const fn is_start(command: Command) -> bool {
    matches!(command, Command::Start | Command::Restart | Command::Resume | Command::Release)
}

/// The path of a child, beginning with `/t`.
pub(crate) type Path = String;

pub(crate) const fn is_failure(exit: Kind) -> bool {
    !matches!(
        exit.as_bytes(),
        b"completed" | b"ignored" | b"stopped" | b"auto-shutdown" | b"restart-requested"
    )
}

pub(crate) const fn is_success(exit: Kind) -> bool {
    matches!(exit.as_bytes(), b"completed" | b"ignored" | b"auto-shutdown")
}

/// Returns an exit of this kind, as it is reported to the machine.
pub(crate) fn exit_of(kind: Kind) -> Exit {
    match kind {
        "completed" => Exit::Completed,
        "ignored" => Exit::Ignored,
        "stopped" => Exit::Stopped,
        "code" => Exit::Code(3),
        "killed" => Exit::Killed,
        "restart-requested" => Exit::restart_requested("new settings"),
        "not-retryable" => Exit::failed_not_retryable("no such program"),
        _ => Exit::failed("boom"),
    }
}

/// The state of a child. A supervisor also has a [`Mode`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Idle(IdleReason),
    Waiting,
    Starting,
    Running,
    BackingOff,
    Stopping { killed: bool },
}

/// What a supervisor does with its children. Always `Down` for a leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Down,
    /// Its dedicated runtime is being created.
    Opening,
    Starting,
    Up,
    Stopping,
    /// Its children have ended, and its dedicated runtime is being shut down.
    Closing,
}

/// The moments of a supervisor's stop: from `ask_all` on children are no longer asked in order, at `kill` all are killed,
/// at `abandon` all are abandoned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) ask_all: u64,
    pub(crate) kill: u64,
    pub(crate) abandon: u64,
}

pub(crate) const NEVER: u64 = u64::MAX;
pub(crate) const NO_PLAN: Plan = Plan { ask_all: NEVER, kill: NEVER, abandon: NEVER };

pub(crate) fn later(now: u64, by: Duration) -> u64 {
    now.saturating_add(u64::try_from(by.as_nanos()).unwrap_or(NEVER))
}

impl Plan {
    pub(crate) fn new(now: u64, budget: Duration, kill_wait: Duration) -> Self {
        match budget {
            Duration::MAX => NO_PLAN,
            Duration::ZERO => Self { ask_all: now, kill: now, abandon: later(now, kill_wait) },
            budget => Self {
                ask_all: later(now, budget / 2),
                kill: later(now, budget / 10 * 9),
                abandon: later(now, budget),
            },
        }
    }

    pub(crate) fn within(self, other: Self) -> Self {
        Self {
            ask_all: self.ask_all.min(other.ask_all),
            kill: self.kill.min(other.kill),
            abandon: self.abandon.min(other.abandon),
        }
    }

    pub(crate) fn next(self, now: u64) -> u64 {
        [self.ask_all, self.kill, self.abandon].into_iter().filter(|at| *at > now).min().unwrap_or(NEVER)
    }
}

/// The form of a child.
#[derive(Clone, Debug)]
pub(crate) enum Body {
    Leaf,
    Supervisor(Box<SupervisorSpec>),
    Group(Box<GroupSpec>),
}

/// The state of one child.
#[derive(Clone, Debug)]
pub(crate) struct Child {
    pub(crate) spec: ChildSpec,
    pub(crate) body: Body,
    pub(crate) phase: Phase,
    /// When its state began.
    pub(crate) since: u64,
    /// When its last attempt began.
    pub(crate) started: u64,
    /// The deadline of its phase.
    pub(crate) timer: u64,
    /// The deadline that was prolonged once because it was seen late.
    pub(crate) prolonged: u64,
    /// The points of a supervisor's plan that were prolonged once.
    pub(crate) prolonged_plan: Plan,
    /// Its wait in a first start was prolonged once.
    pub(crate) wait_prolonged: bool,
    /// When commands that asked for its start are answered although it waits.
    pub(crate) answer_timer: u64,
    /// That moment has come.
    pub(crate) answer_due: bool,
    /// The end of its longest run, and that end if it was prolonged once because it was seen late.
    pub(crate) run_timer: u64,
    pub(crate) run_prolonged: u64,
    /// Its stop has begun, and `timer` is the moment at which it is asked.
    pub(crate) drains: bool,
    pub(crate) attempt: u64,
    /// `true` if it is intended to run: `false` after a stop command, until a start command.
    pub(crate) wanted: bool,
    /// It is not `wanted` because it is manual, and nothing asks for it.
    pub(crate) unwanted: bool,
    /// It is `wanted` only because a sibling that comes after it is.
    pub(crate) brought_along: bool,
    /// Only a command starts it.
    pub(crate) paused: bool,
    /// A command quarantined it. Then it is not `wanted`.
    pub(crate) by_command: bool,
    /// A remove command waits for its end.
    pub(crate) removing: bool,
    /// It has to be stopped because its restart set restarts.
    pub(crate) in_restart_set: bool,
    /// Its last attempt ended because it was stopped, not because of something that it did.
    pub(crate) stopped_by_others: bool,
    /// A start or restart command waits until it is down.
    pub(crate) start_when_down: bool,
    /// It ended by itself and will be restarted.
    pub(crate) restarting: bool,
    /// It was ready at least once since its supervisor started.
    pub(crate) ever_ready: bool,
    /// It was ready at least once since its supervisor or its restart set started.
    pub(crate) was_ready: bool,
    /// Its current attempt was ready.
    pub(crate) attempt_ready: bool,
    /// Its start was requested by a command.
    pub(crate) start_by_command: bool,
    /// It was added while the tree ran, so it is not part of its supervisor's declaration.
    pub(crate) added: bool,
    /// The failures in a row, for its own limit.
    pub(crate) failures_in_a_row: u32,
    /// The number of restarts in a row after failures, and of those after other ends. They set the backoff.
    pub(crate) failure_steps: u32,
    pub(crate) end_steps: u32,
    /// When its last attempt became ready.
    pub(crate) ready_since: u64,
    /// Its last attempt was stable when it ceased to be ready.
    pub(crate) stable: bool,
    /// It had a stable run or a success since its supervisor started.
    pub(crate) had_stable_run: bool,
    /// Failures in a row that were too far apart for the period exceeded its own limit.
    pub(crate) row_exceeded: bool,
    /// A failed significant child was removed from it when that ended.
    pub(crate) failure_left: bool,
    /// An added temporary child failed and left it.
    pub(crate) job_failed: bool,
    /// Its start failed because of an exit that is not retryable.
    pub(crate) start_not_retryable: bool,
    /// Its body, or a body below it, was let go.
    pub(crate) let_go: bool,
    /// The state of its needs.
    pub(crate) needs: Needs,
    /// The number of all restarts.
    pub(crate) restarts: u64,
    /// When it was restarted, for its own limit.
    pub(crate) restart_times: Vec<u64>,
    /// When it asked for its restart.
    pub(crate) request_times: Vec<u64>,
    pub(crate) last_exit: Option<Kind>,
    /// The failure for which the machine itself stops the current attempt.
    pub(crate) cause: Option<Kind>,
    /// Its limit was exceeded.
    pub(crate) gave_up: bool,
    /// Processes of its last attempt, which may outlive it: `true` if the system has refused to kill some of them.
    pub(crate) survivors: Option<bool>,
    /// The time between its quarantine and a trial attempt.
    pub(crate) retry_after: Option<Duration>,
    /// It makes a trial attempt, or waits for the start of it.
    pub(crate) trial: bool,
    /// When its next trial begins, or when its ready trial is judged.
    pub(crate) trial_timer: u64,
    /// A trial of it has ended its quarantine, or has failed.
    pub(crate) trial_held: bool,
    pub(crate) trial_failed: bool,
    /// The health that it last reported.
    pub(crate) health: Health,
    pub(crate) last_beat: u64,
    /// No missed heartbeat is judged before this time, once a check came late.
    pub(crate) judged_from: Option<u64>,
    /// The time that is left of a wait in a first start, once it has begun.
    pub(crate) wait_left: Option<u64>,
    /// Requests that wait for this child, with their commands.
    pub(crate) waiters: Vec<(u64, Command)>,
    /// The children's names in start order. This field and all below are for supervisors only.
    pub(crate) kids: Vec<String>,
    /// When children were restarted, for the supervisor's intensity.
    pub(crate) intensity_times: Vec<u64>,
    pub(crate) mode: Mode,
    pub(crate) plan: Plan,
    /// Its dedicated runtime ended by itself.
    pub(crate) runtime_lost: bool,
}

impl Child {
    /// Returns its next deadline.
    pub(crate) fn next_deadline(&self) -> u64 {
        self.timer.min(self.answer_timer).min(self.trial_timer).min(self.run_timer).min(self.needs.timer)
    }

    /// Returns how long it may wait for others.
    pub(crate) fn longest_wait(&self) -> Duration {
        match self.spec.start_within {
            Duration::MAX if !self.is_leaf() => Duration::from_secs(30),
            within => within,
        }
    }

    /// Returns how long it must be ready to be stable.
    pub(crate) fn reset_after(&self) -> Duration {
        self.spec.backoff.map_or(Duration::from_secs(10), |backoff| backoff.reset_after)
    }

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
        self.needs.stopped = false;
        self.started = now;
        (self.attempt_ready, self.stopped_by_others, self.stable) = (false, false, false);
    }

    /// Returns `true` for a supervisor with a dedicated runtime. The runtime is reported to the machine like an attempt.
    pub(crate) fn has_runtime(&self) -> bool {
        match &self.body {
            Body::Leaf => false,
            Body::Supervisor(rules) => rules.dedicated_runtime,
            Body::Group(group) => group.dedicated_runtime,
        }
    }

    /// Returns `true` if an attempt lives that the driver has to end: a leaf's attempt, or a dedicated runtime.
    pub(crate) fn has_own_attempt(&self) -> bool {
        self.lives() && (self.is_leaf() || self.has_runtime() && !self.runtime_lost)
    }

    /// Returns `true` if the driver was told to ask or kill that attempt.
    pub(crate) fn asked(&self) -> bool {
        self.has_own_attempt()
            && self.stopping()
            && !self.drains
            && (self.is_leaf() || self.mode == Mode::Closing)
    }

    /// Returns `true` if it was given up on: it is quarantined, though not by a command, or makes a trial.
    pub(crate) fn is_given_up_on(&self) -> bool {
        self.trial || self.phase == Phase::Idle(IdleReason::Quarantined) && !self.by_command
    }

    pub(crate) fn is_kill_refused(&self) -> bool {
        self.survivors == Some(true)
    }

    pub(crate) fn rules(&self) -> Option<&SupervisorSpec> {
        match &self.body {
            Body::Supervisor(rules) => Some(rules),
            Body::Leaf | Body::Group(_) => None,
        }
    }
}
