//! The state of one child: its phase, its intent, its record, and the part that only a supervisor has.
//!
//! The legal combinations, checked by `Machine::audit` in tests:
//!
//! | phase | intent | `attempt_ready` | `in_restart_set` | `held` | phase as a supervisor |
//! |---|---|---|---|---|---|
//! | idle | run, stop, quarantine, unwanted | either | no | no | down |
//! | waiting | run | either | no | either | down |
//! | backing off | run | either | no | no | down |
//! | starting | run | no | either | no | opening runtime, starting |
//! | running | run | yes | either | no | up |
//! | stopping | any | either | either | no | stopping, closing runtime |
//!
//! Further invariants:
//! 1. The set of timers contains exactly the current deadlines of each child, each with its purpose. Each phase has the
//!    deadlines that [`Purpose`] names, and no others.
//! 2. A supervisor's `live`, `waiting`, `to_restart`, `degraded` and `unhealthy` count exactly its children in those
//!    states. So does `starting`, if `max_starting` bounds it; otherwise it stays 0.
//! 3. Only a live child has an attempt. A child ceases to be live only in `on_attempt_ended`.

use super::Command;
use super::check_run::RunningChecks;
pub(super) use super::child_name::ChildName;
use super::plan::StopPlan;
use crate::window::FailureRow;
use crate::{
    Attempt, AutoShutdownFailure, ChildForm, ChildSpec, CommandRecord, Exit, ExitRecord, GroupSpec, Health,
    IdleReason, LimitExceeded, Name, Order, RequestId, Restart, StopReport, StuckPoll, SupervisorSpec,
    Survivors, Time, Window,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

/// The position of a child in the arena. It is stored plus one, so that an `Option<Index>` needs no more memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Index(NonZeroU32);

impl Index {
    /// Returns the index of a slot. A tree has fewer than 2^32 - 1 children: they would need more than 300 GiB.
    pub(super) const fn of_slot(slot: u32) -> Self {
        Self(NonZeroU32::MIN.saturating_add(slot))
    }

    pub(super) const fn slot(self) -> u32 {
        self.0.get() - 1
    }
}

/// What a child is doing, as in [`ChildState`](crate::ChildState).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Down, for this reason.
    Idle(IdleReason),
    /// Without an attempt, until its start condition is met.
    Waiting,
    /// With an attempt that is not ready yet.
    Starting,
    /// With an attempt that is ready.
    Running,
    /// Without an attempt, until the delay before its restart is over.
    BackingOff,
    /// With an attempt that was asked to end or (`killed`) is killed.
    Stopping { killed: bool },
}

impl Phase {
    pub(super) const fn is_live(self) -> bool {
        matches!(self, Self::Starting | Self::Running | Self::Stopping { .. })
    }

    /// Returns `true` if the child has no attempt and is about to start.
    pub(super) const fn is_pending(self) -> bool {
        matches!(self, Self::Waiting | Self::BackingOff)
    }

    pub(super) const fn is_stopping(self) -> bool {
        matches!(self, Self::Stopping { .. })
    }

    pub(super) const fn is_idle(self) -> bool {
        matches!(self, Self::Idle(_))
    }
}

/// What a deadline of a child is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Purpose {
    /// The end of its phase: the start deadline, the end of the backoff, or the next stage of a stop. While it is
    /// quarantined, the time of its next trial. While a trial is ready, the time at which the trial is judged.
    Phase,
    /// The next check of the heartbeat, while it runs.
    Heartbeat,
    /// The earliest of what its checks wait for: the next try, or the end of the time for an answer.
    Check,
    /// The answer to commands that asked for its start, while it waits.
    Answer,
    /// The end of a wait for unmet dependencies in a first start.
    Wait,
    /// The end of its longest run, while it runs.
    Run,
    /// The end of the grace of a need that does not hold, while it has an attempt that is not stopping.
    Need,
}

/// What is to become of a child. The intent decides what follows when the attempt is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Intent {
    /// It runs, by the rules of its spec.
    Run,
    /// A command restarts it: it stops, and starts again without backoff.
    Restart,
    /// It stays down until a command starts it.
    Stop,
    /// As [`Stop`](Self::Stop), and it is quarantined: a command said that something is wrong with it.
    Quarantine,
    /// It stays down until a mode or a command wants it.
    Unwanted,
    /// It leaves the tree as soon as it is down.
    Remove,
}

impl Intent {
    /// Returns `true` if the child should run now, or again after its stop.
    pub(super) const fn is_to_run(self) -> bool {
        matches!(self, Self::Run | Self::Restart)
    }
}

/// Since when a child has been ready. An *ordered start* is the start of its supervisor, or of a restart set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Readiness {
    /// It has not been ready since its supervisor was started.
    #[default]
    Never,
    /// It was ready before, but has not been ready since its restart set began.
    BeforeRestart,
    /// It has been ready since the last ordered start that it is part of.
    Reached,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Flags {
    /// It is stopped, or about to be, because it is part of a restart set.
    pub(super) in_restart_set: bool,
    /// Its next attempt is a restart: the last one ended by itself.
    pub(super) restarts_next: bool,
    pub(super) attempt_ready: bool,
    /// A command asked for its start, and it is not ready yet. If the start fails, the failure is the answer.
    pub(super) start_requested: bool,
    /// Its last attempt was stopped by others, whatever the exit was.
    pub(super) stopped_by_others: bool,
    /// It waits for a held or unreachable sibling, so it does not delay other children.
    pub(super) held: bool,
    /// It was added while the tree ran, and leaves the tree when its supervisor ends.
    pub(super) added: bool,
    /// Its attempt was stable when its stop began.
    pub(super) attempt_stable: bool,
    /// It had a stable run or a success since its supervisor was started.
    pub(super) had_stable_run: bool,
    /// Only a command starts it (`pause.rs`).
    pub(super) paused: bool,
}

/// The steps of a child's backoff: how many restarts there were in a row. A success resets the number of restarts
/// after failures. Only a stable run resets the number of restarts after successes, so that a loop of quick successes
/// is slowed down even if some attempts fail.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct BackoffSteps {
    /// Restarts after a failure, since the last stable run or success.
    pub(super) failures: u32,
    /// Restarts after an end that was not a failure, since the last stable run.
    pub(super) ends: u32,
    /// Restarts after a stop for a need, since the last stable run.
    pub(super) stops: u32,
}

/// The part of a child's state that only a child with a history needs. A child that was only started has no record.
#[derive(Debug, Default)]
pub(super) struct ChildRecord {
    pub(super) backoff: BackoffSteps,
    /// The failures in a row, with neither a stable run nor a success between them.
    pub(super) failures: FailureRow,
    /// The number of restarts after attempts that ended by themselves.
    pub(super) restarts: u64,
    /// The restarts that count against its own limit.
    pub(super) window: Window,
    /// The restarts of the last minute that the child asked for.
    pub(super) restart_requests: Option<Box<Window>>,
    pub(super) last_exit: Option<Exit>,
    /// The `last_exit` before the last attempt was abandoned. The code of that attempt may still run, and ask for it.
    pub(super) exit_before: Option<Exit>,
    /// The exit to report when the machine stops the child because the child missed a deadline or its body ended. `None`
    /// if others stop the child.
    pub(super) cause: Option<Exit>,
    pub(super) gave_up: Option<Arc<LimitExceeded>>,
    /// Its body, or the body of a child below it, was let go, so it never starts again.
    pub(super) let_go: bool,
    /// Its start was requested by a change to a mode. If the start fails, the child is not wanted any more.
    pub(super) wanted_if_it_starts: bool,
    /// It is manual, and a command has started it: it stays wanted when nothing that comes after it is wanted.
    pub(super) asked_for: bool,
    /// It is wanted only because a sibling that comes after it is (`brought.rs`).
    pub(super) brought_along: bool,
    /// It waits for the start of a trial attempt, or its live attempt is a trial (`trial.rs`). Never set while it is idle.
    pub(super) trial: bool,
    /// The processes of the live attempt, or of an abandoned last attempt until they are gone.
    pub(super) survivors: Option<(Attempt, Arc<Survivors>)>,
    /// The commands that wait for an answer. At most [`MAX_WAITERS`](super::MAX_WAITERS).
    pub(super) waiters: Vec<(RequestId, Command)>,
    /// The health that the live attempt has reported.
    pub(super) health: Health,
    /// Why, if it said so.
    pub(super) health_reason: Option<Arc<str>>,
    /// The last poll that exceeded its limit, until it is over. It may be of an earlier attempt ([`Child::stuck_poll`]).
    pub(super) stuck: Option<Arc<StuckPoll>>,
    /// The checks of the live attempt, once they run.
    pub(super) checks: Option<Box<RunningChecks>>,
    /// When the commands that asked for the start are answered although the child still waits.
    pub(super) answer_deadline: Option<Time>,
    /// The next evaluation of its supervisor answers these commands, if the child still waits then.
    pub(super) answer_due: bool,
    /// The deadline of its phase was prolonged once, because the deadline was seen late.
    pub(super) phase_prolonged: bool,
    /// Its wait in a first start was prolonged once, because the deadline was seen late. A pause does not change this.
    pub(super) wait_prolonged: bool,
    /// The time that is left for waits for unmet dependencies in a first start, once such a wait has begun.
    pub(super) wait_left: Option<Duration>,
    /// The moment at which this time is over; `None` while the time does not run.
    pub(super) wait_deadline: Option<Time>,
    /// When the attempt has run for as long as it may.
    pub(super) run_deadline: Option<Time>,
    /// This deadline was prolonged once, because it was seen late.
    pub(super) run_prolonged: bool,
    /// Since when each need of the live attempt does not hold. Empty while all of them hold.
    pub(super) lost_needs: Vec<Option<Time>>,
    /// When the first grace of these needs is over.
    pub(super) need_deadline: Option<Time>,
    /// This deadline was prolonged once, because it was seen late.
    pub(super) need_prolonged: bool,
    /// The last attempt was stopped because a need did not hold.
    pub(super) stopped_for_need: bool,
    pub(super) heartbeat_check: Option<Time>,
    pub(super) check_due: Option<Time>,
    pub(super) last_beat: Time,
    /// No heartbeat counts as missed before this moment, because a check came late.
    pub(super) judged_from: Option<Time>,
    /// When the child is asked to stop, while it is not ready any more but was not asked yet (`unready_for`).
    pub(super) asked_at: Option<Time>,
    /// When its stop kills it, if the command to stop said so.
    pub(super) killed_at: Option<Time>,
    pub(super) log: Option<Box<StopLog>>,
    /// The last exits, as text, from the first failure on. Shared with snapshots.
    pub(super) exits: Option<Arc<VecDeque<ExitRecord>>>,
    /// The last command that was carried out on the child.
    pub(super) command: Option<Arc<CommandRecord>>,
    /// The last command has not taken effect yet.
    pub(super) command_open: bool,
    /// The forced stops below the child when it ended by itself, at most
    /// [`MAX_KEPT_FORCED`](crate::MAX_KEPT_FORCED). Kept while it is down.
    pub(super) forced: Option<Box<StopReport>>,
}

#[derive(Debug)]
pub(super) struct StopLog {
    pub(super) began: Time,
    /// The number of starts that were ordered in the tree before the earliest entry of the report.
    pub(super) starts: u64,
    pub(super) report: StopReport,
    /// How many entries of the report are members of groups.
    pub(super) members: usize,
}

/// What a supervisor is doing, in addition to its `Phase`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SupervisorPhase {
    Down,
    /// Its dedicated runtime is being made.
    OpeningRuntime,
    /// Its children start for the first time in this attempt.
    Starting,
    Up,
    Stopping,
    /// Its dedicated runtime is being closed.
    ClosingRuntime,
}

#[derive(Clone, Debug)]
pub(super) enum Children {
    /// Declared and added children, in the order of their start.
    Ordered(Vec<Index>),
    /// Members of a group, linked by their `prev` and `next` in the order of their addition.
    Group { template: Arc<ChildSpec>, head: Option<Index>, tail: Option<Index>, count: u32, max: u32 },
}

/// The part of the state that only a supervisor has.
#[derive(Debug)]
pub(super) struct SupervisorState {
    /// How it treats its children: its spec, without the declared children.
    pub(super) rules: SupervisorSpec,
    pub(super) children: Children,
    /// The children with a given name, by that name.
    pub(super) names: BTreeMap<Name, Index>,
    /// How many `after` edges of its children lead to each name.
    pub(super) edges_to: BTreeMap<Name, u32>,
    pub(super) phase: SupervisorPhase,
    /// The restarts of all its children that count against its intensity.
    pub(super) window: Window,
    /// The number of children with an attempt.
    pub(super) live: u32,
    /// The number of children that wait for their start.
    pub(super) waiting: u32,
    /// The number of children that are starting, counted only if `max_starting` bounds it.
    pub(super) starting: u32,
    /// The members of a group that wait for a place, each with [`Child::turn`].
    pub(super) queue: BTreeSet<((Time, u64), Index)>,
    /// The number of children that still have to stop for a restart set.
    pub(super) to_restart: u32,
    /// The number of children that are degraded.
    pub(super) degraded: u32,
    /// The number of children that are unhealthy.
    pub(super) unhealthy: u32,
    pub(super) plan: StopPlan,
    /// The moments of the plan that were prolonged, as they were afterwards. Each is prolonged once in a stop.
    pub(super) prolonged: StopPlan,
    /// All children were asked, because the plan has reached `ask_all`.
    pub(super) all_asked: bool,
    /// The stop cursor: no child at this position in the start order, or after it, still has to be asked to stop.
    pub(super) stop_cursor: usize,
    /// The first failure, in this attempt, of a significant child that left the tree at its end.
    pub(super) left_with_failure: Option<Arc<AutoShutdownFailure>>,
    /// The first failure, in this attempt, of any added child that left the tree at its end.
    pub(super) failed_job: Option<Arc<AutoShutdownFailure>>,
    /// Its dedicated runtime ended by itself: there is nothing to close.
    pub(super) runtime_lost: bool,
    /// It is in the queue of supervisors to evaluate.
    pub(super) queued: bool,
    pub(super) depth: u32,
}

impl SupervisorState {
    /// Returns the state of a supervisor that is down, without its children; `None` for a leaf.
    pub(super) fn of_form(form: &ChildForm, depth: u32) -> Option<Box<Self>> {
        let (rules, children) = match form {
            ChildForm::Leaf => return None,
            ChildForm::Supervisor(spec) => {
                let children = Children::Ordered(Vec::with_capacity(spec.children.len()));
                let defaults = spec.defaults.clone();
                (SupervisorSpec { children: Vec::new(), defaults, ..*spec }, children)
            }
            ChildForm::Group(GroupSpec {
                template,
                intensity,
                max_members,
                max_starting,
                dedicated_runtime,
            }) => {
                let (intensity, dedicated_runtime, order) = (*intensity, *dedicated_runtime, Order::Edges);
                let rules = SupervisorSpec {
                    order,
                    intensity,
                    max_starting: *max_starting,
                    dedicated_runtime,
                    ..SupervisorSpec::default()
                };
                let (template, max) = (Arc::new(template.clone()), *max_members);
                (rules, Children::Group { template, head: None, tail: None, count: 0, max })
            }
        };
        Some(Box::new(Self {
            rules,
            children,
            names: BTreeMap::new(),
            edges_to: BTreeMap::new(),
            phase: SupervisorPhase::Down,
            window: Window::default(),
            live: 0,
            waiting: 0,
            starting: 0,
            queue: BTreeSet::new(),
            to_restart: 0,
            degraded: 0,
            unhealthy: 0,
            plan: StopPlan::UNBOUNDED,
            prolonged: StopPlan::UNBOUNDED,
            all_asked: false,
            stop_cursor: 0,
            left_with_failure: None,
            failed_job: None,
            runtime_lost: false,
            queued: false,
            depth,
        }))
    }

    /// Returns a copy for a snapshot. The copy lacks the names, which are entered later, and the fields that only a stop
    /// needs.
    fn frozen(&self) -> Self {
        Self {
            rules: SupervisorSpec { children: Vec::new(), defaults: None, ..self.rules },
            children: self.children.clone(),
            names: BTreeMap::new(),
            edges_to: BTreeMap::new(),
            queue: BTreeSet::new(),
            window: self.window.clone(),
            left_with_failure: None,
            failed_job: None,
            ..*self
        }
    }

    pub(super) const fn is_group(&self) -> bool {
        matches!(self.children, Children::Group { .. })
    }

    /// Returns the spec of the members, if this is a group.
    pub(super) const fn template(&self) -> Option<&Arc<ChildSpec>> {
        match &self.children {
            Children::Group { template, .. } => Some(template),
            Children::Ordered(_) => None,
        }
    }

    /// Returns the declared and added children in the order of their start. A group has none.
    pub(super) fn ordered(&self) -> &[Index] {
        match &self.children {
            Children::Ordered(children) => children,
            Children::Group { .. } => &[],
        }
    }

    pub(super) const fn is_ending(&self) -> bool {
        matches!(
            self.phase,
            SupervisorPhase::Down | SupervisorPhase::Stopping | SupervisorPhase::ClosingRuntime
        )
    }
}

#[derive(Debug)]
pub(super) struct Child {
    /// How often its slot was used before. This number makes its id unique.
    pub(super) serial: u32,
    /// Its supervisor; `None` for the root.
    pub(super) parent: Option<Index>,
    /// The members of the same group that were added before and after it.
    pub(super) prev: Option<Index>,
    pub(super) next: Option<Index>,
    pub(super) spec: Arc<ChildSpec>,
    pub(super) name: ChildName,
    /// Its restart rule, as in `spec`. A snapshot reads it here, because the spec is in other memory.
    pub(super) restart: Restart,
    pub(super) attempt: u64,
    pub(super) phase: Phase,
    pub(super) intent: Intent,
    pub(super) readiness: Readiness,
    /// Its health, as its supervisor counts it.
    pub(super) health: Health,
    pub(super) flags: Flags,
    /// When it entered this phase.
    pub(super) since: Time,
    /// When the last attempt was begun.
    pub(super) started: Time,
    pub(super) phase_deadline: Time,
    pub(super) record: Option<Box<ChildRecord>>,
    pub(super) sup: Option<Box<SupervisorState>>,
}

impl Child {
    pub(super) fn new(spec: Arc<ChildSpec>, name: ChildName, since: Time) -> Self {
        Self {
            serial: 0,
            parent: None,
            prev: None,
            next: None,
            restart: spec.restart,
            spec,
            name,
            attempt: 0,
            phase: Phase::Idle(IdleReason::SupervisorDown),
            intent: Intent::Run,
            readiness: Readiness::Never,
            health: Health::Degraded,
            flags: Flags::default(),
            since,
            started: Time::ZERO,
            phase_deadline: Time::NEVER,
            record: None,
            sup: None,
        }
    }

    /// Returns a copy of the fields that a snapshot needs. The members of a group, of which there may be very many, have the
    /// spec of their group, so they get `any_spec`.
    pub(super) fn frozen(&self, any_spec: &Arc<ChildSpec>) -> Self {
        let is_member =
            matches!(self.name, ChildName::Automatic) || self.prev.is_some() || self.next.is_some();
        let spec = if is_member { any_spec } else { &self.spec };
        let frozen = |record: &ChildRecord| ChildRecord {
            restarts: record.restarts,
            last_exit: record.last_exit.clone(),
            let_go: record.let_go,
            trial: record.trial,
            health: record.health,
            health_reason: record.health_reason.clone(),
            stuck: record.stuck.clone(),
            checks: record.checks.clone(),
            wait_deadline: record.wait_deadline,
            stopped_for_need: record.stopped_for_need,
            asked_at: record.asked_at,
            backoff: record.backoff,
            failures: record.failures,
            window: record.window.clone(),
            gave_up: record.gave_up.clone(),
            exits: record.exits.clone(),
            command: record.command.clone(),
            ..ChildRecord::default()
        };
        Self {
            spec: Arc::clone(spec),
            name: self.name.clone(),
            record: self.record.as_ref().map(|record| Box::new(frozen(record))),
            sup: self.sup.as_ref().map(|sup| Box::new(sup.frozen())),
            ..*self
        }
    }

    /// Returns `true` if the child waits for the start of a trial attempt, or its live attempt is a trial.
    pub(super) fn is_trial(&self) -> bool {
        self.record.as_ref().is_some_and(|record| record.trial)
    }

    /// Returns `true` if the child is down because a command wants it so: it counts neither as done nor as given up on.
    pub(super) fn is_down_by_command(&self) -> bool {
        match self.phase {
            Phase::Idle(IdleReason::StoppedByCommand | IdleReason::Paused) => true,
            Phase::Idle(IdleReason::Quarantined) => self.intent == Intent::Quarantine,
            _ => false,
        }
    }

    /// Returns `true` if the child was given up on: it is quarantined, though not by a command, or makes a trial.
    pub(super) fn is_given_up_on(&self) -> bool {
        let quarantined = self.phase == Phase::Idle(IdleReason::Quarantined);
        quarantined && !self.is_down_by_command() || self.is_trial()
    }

    /// Returns `true` if an ordered start skips the child: it is down, waits for a held sibling, or makes a trial.
    pub(super) fn is_skipped(&self) -> bool {
        self.phase.is_idle() || self.phase == Phase::Waiting && self.flags.held || self.is_trial()
    }

    /// Returns `true` if an ordered start continues with the children after this child.
    pub(super) fn lets_later_start(&self) -> bool {
        matches!(self.readiness, Readiness::Reached) || self.is_skipped()
    }

    /// Returns `true` if its last attempt was stopped because a need did not hold.
    pub(super) fn is_stopped_for_need(&self) -> bool {
        self.record.as_ref().is_some_and(|record| record.stopped_for_need)
    }

    /// Returns `true` if the child is wanted only because a sibling that comes after it is.
    pub(super) fn is_brought_along(&self) -> bool {
        self.record.as_ref().is_some_and(|record| record.brought_along)
    }

    /// Returns `true` if the child can have no more attempts.
    pub(super) fn is_used_up(&self) -> bool {
        self.spec.once && self.attempt > 0 || self.is_let_go()
    }

    /// Returns `true` if the body of the child, or of a child below it, was let go.
    pub(super) fn is_let_go(&self) -> bool {
        self.record.as_ref().is_some_and(|record| record.let_go)
    }

    /// Notes that the child is part of a restart set: it starts in its turn.
    pub(super) fn begin_ordered_start(&mut self) {
        if self.readiness == Readiness::Reached {
            self.readiness = Readiness::BeforeRestart;
        }
    }

    /// Returns when the child is asked to stop, if its stop has begun but it was not asked yet.
    pub(super) fn asked_at(&self) -> Option<Time> {
        let record = self.record.as_ref().filter(|_| self.phase == Phase::Stopping { killed: false })?;
        record.asked_at
    }

    /// Returns `true` if its last attempt failed by itself.
    pub(super) fn has_failed(&self) -> bool {
        !self.flags.stopped_by_others && self.last_exit().is_some_and(Exit::is_failure)
    }

    pub(super) fn last_exit(&self) -> Option<&Exit> {
        self.record.as_ref()?.last_exit.as_ref()
    }
}
