//! The snapshot of the whole tree, and questions about one child.

use super::Machine;
use super::driver_queue::DriverQueue;
use super::state::{Children, Index, Phase, Purpose};
use super::watch::Watches;
use crate::{
    Attempt, ChildId, ChildSpec, ChildState, ChildView, Condition, Exit, Health, Path, Snapshot, StopStage,
    Time, WaitingFor,
};
use std::collections::{BTreeSet, BinaryHeap};
use std::sync::Arc;

/// The memory for the text of paths. Most paths are shorter.
const PATH_CAPACITY: usize = 128;

/// A copy of a tree as it was at one moment: see [`Machine::begin_copy`].
#[derive(Debug)]
pub struct TreeCopy {
    /// The number of the copy.
    number: u64,
    /// A machine whose arena is the copy. It handles no inputs.
    machine: Box<Machine>,
}

impl TreeCopy {
    /// Returns the number of the last event that the copy includes.
    #[must_use]
    pub fn last_event(&self) -> u64 {
        self.machine.last_event()
    }

    /// Returns the snapshot. The copy must be complete.
    #[must_use]
    pub fn into_snapshot(mut self) -> Snapshot {
        self.machine.arena.enter_names();
        let now = self.machine.now;
        self.machine.snapshot(now)
    }
}

impl Machine {
    /// Returns the id of the root.
    #[must_use]
    pub fn root(&self) -> ChildId {
        self.arena.id_of(self.root)
    }

    /// Returns the id of the child at `path`, or `None` if there is no such child.
    #[must_use]
    pub fn find(&self, path: &Path) -> Option<ChildId> {
        let mut names = path.names();
        if names.next()? != self.arena.name_text(self.root) {
            return None;
        }
        let child = names.try_fold(self.root, |child, name| self.arena.child_called(child, name))?;
        Some(self.arena.id_of(child))
    }

    /// Returns the path of a child, or `None` if it is no longer part of the tree.
    #[must_use]
    pub fn path(&self, id: ChildId) -> Option<Path> {
        self.arena.index_of(id).map(|child| self.arena.path_of(child))
    }

    /// Returns the exit of a child's last finished attempt.
    #[must_use]
    pub fn last_exit(&self, id: ChildId) -> Option<&Exit> {
        self.arena[self.arena.index_of(id)?].last_exit()
    }

    /// Returns what is declared of a child, or `None` if it is no longer part of the tree.
    #[inline]
    #[must_use]
    pub fn spec(&self, id: ChildId) -> Option<&ChildSpec> {
        Some(&self.arena[self.arena.index_of(id)?].spec)
    }

    /// Returns the exit of the attempt before `attempt`. This exit is known for the live attempt, and for the attempt that
    /// ended last.
    #[must_use]
    pub fn exit_before(&self, id: ChildId, attempt: Attempt) -> Option<&Exit> {
        let state = &self.arena[self.arena.index_of(id)?];
        match (state.attempt.checked_sub(attempt.0)?, state.phase.is_live()) {
            (0, true) => state.last_exit(),
            (0, false) | (1, true) => state.record.as_ref()?.exit_before.as_ref(),
            _ => None,
        }
    }

    /// Returns when an attempt that is starting must be ready, or when the current stage of its stop ends.
    #[must_use]
    pub fn deadline_of_attempt(&self, id: ChildId, attempt: Attempt) -> Option<Time> {
        let state = &self.arena[self.arena.index_of(id)?];
        // Nothing outside has to happen while the child was not asked yet.
        let waits =
            matches!(state.phase, Phase::Starting | Phase::Stopping { .. }) && state.asked_at().is_none();
        (waits && state.attempt == attempt.0).then_some(state.phase_deadline)
    }

    /// Returns the state of the root, when it entered this state, and the health of the tree.
    #[must_use]
    pub fn root_state(&self) -> (ChildState, Time, Health) {
        let root = &self.arena[self.root];
        (self.state_of(self.root), root.since, root.health)
    }

    /// Returns the path of the root.
    #[must_use]
    pub fn root_path(&self) -> Path {
        self.arena.path_of(self.root)
    }

    /// Returns the supervisor of a child, or `None` for the root.
    #[must_use]
    pub fn parent(&self, id: ChildId) -> Option<ChildId> {
        let parent = self.arena[self.arena.index_of(id)?].parent?;
        Some(self.arena.id_of(parent))
    }

    /// Returns `Some(true)` for a group, `Some(false)` for another supervisor, and `None` for a leaf.
    #[must_use]
    pub fn is_group(&self, id: ChildId) -> Option<bool> {
        let state = &self.arena[self.arena.index_of(id)?];
        state.sup.as_ref().map(|sup| sup.is_group())
    }

    /// Returns how many members a group may have; `None` for any other child.
    #[must_use]
    pub fn max_members(&self, id: ChildId) -> Option<u32> {
        match &self.arena[self.arena.index_of(id)?].sup.as_ref()?.children {
            Children::Group { max, .. } => Some(*max),
            Children::Ordered(_) => None,
        }
    }

    /// Returns the whole tree as it is after the last input. `now` becomes the `at` of the snapshot, and the time of the
    /// machine.
    pub fn snapshot(&mut self, now: Time) -> Snapshot {
        self.now = self.now.max(now);
        let root = self.view(self.root, &mut String::with_capacity(PATH_CAPACITY));
        let commands = self.history.commands.iter().cloned().collect();
        Snapshot { number: self.driver_queue.last_event, at: self.now, root, commands }
    }

    /// Begins a copy of the tree as it is after the last input. A snapshot is made from the copy later. `now` becomes the
    /// `at` of this snapshot, and the time of the machine. Unlike [`snapshot`](Self::snapshot), a copy can be taken a few
    /// children at a time. Inputs between these steps do not change the copy.
    pub fn begin_copy(&mut self, now: Time) -> TreeCopy {
        #[cfg(feature = "testing")]
        self.panic_if_due(super::PanicAt::Snapshot);
        self.now = self.now.max(now);
        let (number, arena) = self.arena.begin_copy();
        let driver_queue = DriverQueue { last_event: self.driver_queue.last_event, ..DriverQueue::default() };
        let machine = Self {
            arena,
            root: self.root,
            now: self.now,
            random: 0,
            driver_queue,
            to_evaluate: BinaryHeap::new(),
            timers: BTreeSet::new(),
            last_jump: Time::ZERO,
            watches: Watches::default(),
            starts: 0,
            origin: None,
            stop_budget: None,
            history: self.history.clone(),
            applies: false,
            ended: self.ended,
            #[cfg(feature = "testing")]
            panics_at: None,
        };
        TreeCopy { number, machine: Box::new(machine) }
    }

    /// Copies the next children, at most `children`. Returns `true` when the copy is complete. A copy that was begun must
    /// be completed, because until then each child that changes is copied first.
    pub fn go_on_copying(&mut self, copy: &mut TreeCopy, children: usize) -> bool {
        self.arena.go_on_copying(copy.number, children, &mut copy.machine.arena)
    }

    /// Returns a child as it is after the last input, without the children below it. Returns `None` if it is no longer part
    /// of the tree. `now` becomes the time of the machine.
    pub fn look_at(&mut self, now: Time, id: ChildId) -> Option<ChildView> {
        self.now = self.now.max(now);
        let child = self.arena.index_of(id)?;
        Some(self.own_view(child, self.arena.path_of(child), Vec::new()))
    }

    /// Returns the view of a child and of all children below it. `path` is the text of the path of its supervisor. All
    /// children of a snapshot use the same text, because there may be a million of them.
    fn view(&self, child: Index, path: &mut String) -> ChildView {
        let above = path.len();
        path.push('/');
        self.arena.write_name(child, path);
        let mut children = Vec::with_capacity(self.arena.child_count(child));
        children.extend(self.arena.children(child).map(|below| self.view(below, path)));
        let own = Path::new(path);
        path.truncate(above);
        self.own_view(child, own, children)
    }

    fn own_view(&self, child: Index, path: Path, children: Vec<ChildView>) -> ChildView {
        let state = &self.arena[child];
        let ready_below = children.iter().all(|below| below.ready || below.state != ChildState::Running);
        let checks = state.record.as_ref().and_then(|record| record.checks.as_deref());
        ChildView {
            path,
            id: self.arena.id_of(child),
            restart: state.restart,
            strategy: state.sup.as_ref().map(|sup| sup.rules.strategy),
            state: self.state_of(child),
            since: state.since,
            started: state.phase.is_live().then_some(state.started),
            attempt: Attempt(state.attempt),
            retry_in: (state.phase.is_idle() && state.phase_deadline != Time::NEVER)
                .then(|| state.phase_deadline.since(self.now)),
            asked_in: state.asked_at().map(|at| at.since(self.now)),
            trial: state.is_trial(),
            paused: state.flags.paused,
            restarts: state.record.as_ref().map_or(0, |record| record.restarts),
            last_exit: state.last_exit().cloned(),
            health: state.health,
            spec: Arc::clone(self.spec_of(child)),
            history: self.history_of(child),
            health_reason: state.health_reason(),
            ready: state.phase == Phase::Running && !state.is_unready() && ready_below,
            stuck: state.stuck_poll().filter(|_| state.phase.is_live()).cloned(),
            checks: checks.filter(|_| state.phase.is_live()).map(|checks| checks.views()).unwrap_or_default(),
            children,
        }
    }

    pub(super) fn state_of(&self, child: Index) -> ChildState {
        let state = &self.arena[child];
        let until = |at: Time| (at != Time::NEVER).then(|| at.since(self.now));
        let remaining = until(state.phase_deadline);
        match (state.phase, state.parent) {
            (Phase::Idle(reason), _) => ChildState::Idle(reason),
            (Phase::Waiting, Some(sup)) => {
                let what = self.waiting_for(sup, child);
                let remaining = until(self.end_of_wait(sup, child, &what));
                ChildState::Waiting { what, remaining }
            }
            (Phase::Waiting, None) => unreachable!("the root waits for nothing"),
            (Phase::Starting, _) => ChildState::Starting { remaining },
            (Phase::Running, _) => ChildState::Running,
            (Phase::BackingOff, _) => ChildState::BackingOff { remaining: remaining.unwrap_or_default() },
            (Phase::Stopping { killed }, _) => {
                let stage = if killed { StopStage::Killed } else { StopStage::Asked };
                ChildState::Stopping { stage, remaining }
            }
        }
    }

    /// Returns when a child's wait for `what` ends at the latest, or [`Time::NEVER`] if this is not known.
    pub(super) fn end_of_wait(&self, sup: Index, child: Index, what: &WaitingFor) -> Time {
        let own = self.deadline_of(child, Purpose::Wait);
        let (sibling, is_backoff) = match what {
            WaitingFor::Edge(..) if own != Time::NEVER => return own,
            WaitingFor::Edge(_, Condition::Completed) | WaitingFor::RestartStop | WaitingFor::Nothing => {
                return Time::NEVER;
            }
            // The first of the siblings that have the places must be ready or have failed by then.
            WaitingFor::Place => {
                let starting = self.arena.sup(sup).ordered().iter().copied();
                let starting = starting.filter(|at| self.arena[*at].phase == Phase::Starting);
                let ends = starting.map(|at| self.deadline_of(at, Purpose::Phase));
                return ends.min().unwrap_or(Time::NEVER);
            }
            WaitingFor::Turn(sibling) | WaitingFor::Edge(sibling, _) => (sibling, false),
            WaitingFor::RestartBackoff(sibling) => (sibling, true),
        };
        // If the wait has no deadline, the deadline of the sibling bounds it.
        let Some(&sibling) = self.arena.sup(sup).names.get(sibling) else { return Time::NEVER };
        match self.arena[sibling].phase {
            Phase::Starting => self.deadline_of(sibling, Purpose::Phase),
            Phase::Waiting => self.deadline_of(sibling, Purpose::Wait),
            Phase::BackingOff if is_backoff => self.deadline_of(sibling, Purpose::Phase),
            Phase::BackingOff | Phase::Idle(_) | Phase::Running | Phase::Stopping { .. } => Time::NEVER,
        }
    }
}
