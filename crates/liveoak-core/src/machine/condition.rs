//! The start condition: whether a waiting child may start, and what it waits for.
//!
//! An *ordered start* is the start of a supervisor or of a restart set. A child that is part of one (its
//! [`Readiness`] is not `Reached`) has its turn when
//!
//! 1. all children of the restart set have stopped,
//! 2. the backoff of the restart set is over, and
//! 3. with [`Order::Declared`], each child of an earlier *place* was ready, is down, or is held. The replicas of one set are
//!    one place; any other child is a place of its own.
//!
//! A child that is restarted alone needs no turn. In both cases all dependencies must be satisfied. `try_to_start` in
//! `advance.rs` then starts the child. If the supervisor bounds how many children may be starting at a time
//! (`max_starting`), each child that is starting has a *place*: it keeps the place until it is ready, is asked to stop, or has
//! ended. While no place is free, a child waits for one, in the order of the waits.
//!
//! A wait never fails the child, and never counts against its limits. These rules bound a wait, and say what the wait
//! delays:
//!
//! * In a *first start* (the supervisor has not been ready in this attempt, and the child is declared and was not ready
//!   either) with [`FirstStart::Fail`], the supervisor fails when a dependency is unreachable, or when unmet dependencies kept the child waiting
//!   for longer than its `start_within` (30 s if the child is a supervisor without a start deadline). The time during
//!   which a sibling waits, starts or stops does not count, because the deadlines of the sibling bound it.
//! * In any other start, and in a first start with [`FirstStart::Retry`], the wait has no limit. A child that waits for a held or unreachable sibling is *held*: later
//!   children and the readiness of the supervisor do not wait for it. (In a first start with `Fail`, a child is held only
//!   if the sibling is held.)
//! * A command that asked for the start is answered [`Refusal::WaitsFor`](super::Refusal::WaitsFor) after the same
//!   time, and immediately if the child is held. The child continues to wait.

use super::Machine;
use super::state::{Index, Phase, Readiness, SupervisorPhase};
use crate::{Condition, Edge, Exit, FirstStart, Health, IdleReason, Need, Order, Path, Strategy, WaitingFor};
use std::ops::Range;

/// The state of an `after` edge, given the state of the sibling. If a child has several edges, the greatest state counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum DependencyState {
    /// The sibling meets the condition of the edge.
    Satisfied,
    /// The sibling runs and is not healthy or has not completed, or it failed and waits for its restart. In a first
    /// start that can fail, the start deadline of the child bounds all such waits together.
    Unmet,
    /// The sibling waits, starts or stops. The deadlines of the sibling bound the wait.
    Pending,
    /// The sibling was stopped by command, is not wanted, is quarantined or paused, makes a trial, or is held itself. Only a command, or a trial
    /// that is stable, ends the wait. If the sibling is
    /// quarantined because processes of it are still alive, the end of the last process also ends the wait.
    Held,
    /// The sibling has ended for good without meeting the condition. Only a command or a restart set ends the wait.
    Unreachable,
}

/// What an ordered start waits for before a child has its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blocker {
    /// Children of the restart set are stopping.
    RestartStop,
    /// The failed child of the restart set backs off.
    RestartBackoff(Index),
    /// An earlier child is starting.
    Earlier(Index),
}

impl Machine {
    /// Returns the siblings that a restart of `failed` takes down and starts again in order. Returns `None` if `failed`
    /// restarts alone. No other code decides which children belong to a restart set.
    #[inline]
    pub(super) fn restart_set(&self, sup: Index, failed: Index) -> Option<Vec<Index>> {
        match self.arena.sup(sup).rules.strategy {
            Strategy::OneForOne => None,
            Strategy::OneForAll => Some(self.siblings_behind(sup, failed, 0)),
            Strategy::RestForOne => {
                let children = self.arena.sup(sup).ordered();
                let position = children.iter().position(|child| *child == failed);
                let later = position.map_or(usize::MAX, |position| self.place(sup, position).end);
                Some(self.siblings_behind(sup, failed, later))
            }
        }
    }

    /// Returns the siblings of `child` from this position of the start order on.
    fn siblings_behind(&self, sup: Index, child: Index, position: usize) -> Vec<Index> {
        let behind = self.arena.sup(sup).ordered().iter().copied().skip(position);
        behind.filter(|sibling| *sibling != child).collect()
    }

    /// Returns the positions of the start order that are one place with this position: those of its replica set, or only
    /// this position. The children of one place start side by side and stop side by side.
    pub(super) fn place(&self, sup: Index, position: usize) -> Range<usize> {
        let children = self.arena.sup(sup).ordered();
        let set = |child: &Index| self.arena[*child].spec.replica_of.as_ref();
        let Some(own) = children.get(position).and_then(set) else { return position..position + 1 };
        let same = |child: &&Index| set(child) == Some(own);
        let before = children[..position].iter().rev().take_while(same).count();
        let behind = children[position..].iter().take_while(same).count();
        position - before..position + behind
    }

    /// Returns the reason why no child of an ordered start has its turn.
    pub(super) fn blocker_of_all(&self, sup: Index) -> Option<Blocker> {
        let state = self.arena.sup(sup);
        if state.to_restart > 0 {
            return Some(Blocker::RestartStop);
        }
        // Without restart sets no child delays its siblings.
        if state.rules.strategy == Strategy::OneForOne {
            return None;
        }
        // The whole restart set waits with this child. A child that restarts alone delays no other.
        let delays_its_set = |child: &Index| {
            let state = &self.arena[*child];
            // A child that was stopped for a need has no restart set.
            let failed = state.phase == Phase::BackingOff && !state.is_stopped_for_need();
            failed && self.restart_set(sup, *child).is_some()
        };
        state.ordered().iter().copied().find(delays_its_set).map(Blocker::RestartBackoff)
    }

    /// Returns `child` as a blocker if the later children of an ordered start must wait for it.
    pub(super) fn blocker_of_later(&self, sup: Index, child: Index) -> Option<Blocker> {
        let declared = self.arena.sup(sup).rules.order == Order::Declared;
        (declared && !self.arena[child].lets_later_start()).then_some(Blocker::Earlier(child))
    }

    /// Returns `true` if a waiting child has its turn, or needs none. `blocker` is what delays an ordered start at its place.
    pub(super) fn has_its_turn(&self, child: Index, blocker: Option<Blocker>) -> bool {
        blocker.is_none() || self.arena[child].readiness == Readiness::Reached
    }

    /// Returns what a waiting child must wait for before it has its turn. Returns `None` if it has its turn or needs none.
    pub(super) fn blocker_of(&self, sup: Index, child: Index) -> Option<Blocker> {
        if self.arena[child].readiness == Readiness::Reached {
            return None;
        }
        let children = self.arena.sup(sup).ordered();
        let position = children.iter().position(|other| *other == child).unwrap_or_default();
        let mut earlier = children[..self.place(sup, position).start].iter();
        let blocker = self.blocker_of_all(sup);
        blocker.or_else(|| earlier.find_map(|other| self.blocker_of_later(sup, *other)))
    }

    /// Returns `true` if a child may start as far as `max_starting` of its supervisor is concerned. A child that is ready as
    /// soon as it runs takes no place.
    pub(super) fn has_place(&self, sup: Index, child: Index) -> bool {
        let state = &self.arena[child];
        self.arena.sup(sup).has_free_place() || state.sup.is_none() && state.spec.is_ready_at_once()
    }

    /// Returns what a waiting child waits for, for the snapshot.
    pub(super) fn waiting_for(&self, sup: Index, child: Index) -> WaitingFor {
        // No other wait delays a member.
        if self.arena.sup(sup).is_group() {
            return WaitingFor::Place;
        }
        match self.blocker_of(sup, child) {
            Some(Blocker::RestartStop) => return WaitingFor::RestartStop,
            Some(Blocker::RestartBackoff(failed)) => {
                return WaitingFor::RestartBackoff(self.arena.name_of(failed));
            }
            Some(Blocker::Earlier(earlier)) => return WaitingFor::Turn(self.arena.name_of(earlier)),
            None => {}
        }
        match self.dependencies_of(sup, child) {
            DependencyState::Satisfied if !self.has_place(sup, child) => WaitingFor::Place,
            DependencyState::Satisfied => WaitingFor::Nothing,
            state => self
                .dependency_in(sup, child, state)
                .map_or(WaitingFor::Nothing, |edge| WaitingFor::Edge(edge.child.clone(), edge.condition)),
        }
    }

    /// Returns the state of all dependencies of `child` together: the greatest state counts.
    pub(super) fn dependencies_of(&self, sup: Index, child: Index) -> DependencyState {
        let edges = self.arena[child].spec.after.iter();
        edges.map(|edge| self.edge_state(sup, child, edge)).max().unwrap_or(DependencyState::Satisfied)
    }

    /// Returns the first dependency of `child` in this state.
    pub(super) fn dependency_in(&self, sup: Index, child: Index, state: DependencyState) -> Option<&Edge> {
        self.arena[child].spec.after.iter().find(|edge| self.edge_state(sup, child, edge) == state)
    }

    /// Returns the state of an edge of `child`. If the child also needs the sibling, a ready sibling is not enough while the
    /// need does not hold.
    pub(super) fn edge_state(&self, sup: Index, child: Index, edge: &Edge) -> DependencyState {
        let state = self.dependency_state(sup, edge);
        let mut needs = self.arena[child].spec.needs.iter();
        let lost = needs.any(|need| need.child == edge.child && !self.need_holds(sup, need));
        if lost { state.max(DependencyState::Unmet) } else { state }
    }

    /// Returns `true` if a need holds now: its sibling (for a replica set, one of the replicas) is ready, has finished with
    /// success, or is not needed here.
    pub(super) fn need_holds(&self, sup: Index, need: &Need) -> bool {
        let state = self.arena.sup(sup);
        let Some(&sibling) = state.names.get(&need.child) else { return false };
        let holds = |child: Index| match self.arena[child].phase {
            Phase::Running => self.is_ready_now(child),
            _ => {
                let edge = Edge { child: self.arena.name_of(child), condition: Condition::Ready };
                self.dependency_state(sup, &edge) == DependencyState::Satisfied
            }
        };
        let set = self.arena[sibling].spec.replica_of.as_ref();
        let mut others = state.ordered().iter().copied();
        holds(sibling)
            || set.is_some() && others.any(|at| self.arena[at].spec.replica_of.as_ref() == set && holds(at))
    }

    /// Returns `true` if a child is ready now. A supervisor is ready while each of its direct children that is to run is
    /// ready or finished; a group is ready while it runs.
    pub(super) fn is_ready_now(&self, child: Index) -> bool {
        let up = |child: Index| {
            let state = &self.arena[child];
            state.phase == Phase::Running && !state.is_unready() && !state.is_trial()
        };
        let is_up = |below: &Index| {
            let state = &self.arena[*below];
            let finished = matches!(state.phase, Phase::Idle(IdleReason::Finished | IdleReason::Ignored));
            !state.intent.is_to_run() || state.is_down_by_command() || finished || up(*below)
        };
        let below = self.arena[child].sup.as_ref().map_or(&[][..], |sup| sup.ordered());
        up(child) && below.iter().all(is_up)
    }

    pub(super) fn dependency_state(&self, sup: Index, edge: &Edge) -> DependencyState {
        use DependencyState::{Held, Pending, Satisfied, Unmet, Unreachable};
        let Some(&sibling) = self.arena.sup(sup).names.get(&edge.child) else { return Unreachable };
        let state = &self.arena[sibling];
        if state.is_trial() {
            return Held;
        }
        let succeeded = state.has_succeeded();
        match (state.phase, edge.condition) {
            (Phase::Idle(IdleReason::Ignored), _) => Satisfied,
            (Phase::Idle(IdleReason::Finished), _) if succeeded => Satisfied,
            (Phase::Idle(IdleReason::Finished), _) => Unreachable,
            (
                Phase::Idle(
                    IdleReason::StoppedByCommand
                    | IdleReason::NotWanted
                    | IdleReason::Paused
                    | IdleReason::Quarantined,
                ),
                _,
            ) => Held,
            (Phase::Waiting, _) if state.flags.held => Held,
            (Phase::Starting | Phase::Running, Condition::Started) => Satisfied,
            (Phase::Running, Condition::Ready) if !state.is_unready() => Satisfied,
            (Phase::Running, Condition::Healthy) if state.health == Health::Healthy => Satisfied,
            (Phase::Running | Phase::BackingOff, _) => Unmet,
            (Phase::Idle(IdleReason::SupervisorDown) | Phase::Waiting, _) => Pending,
            (Phase::Starting | Phase::Stopping { .. }, _) => Pending,
        }
    }

    /// Returns `true` if `child` is part of the first start of its supervisor.
    pub(super) fn is_first_start(&self, sup: Index, child: Index) -> bool {
        let state = &self.arena[child];
        self.arena.sup(sup).phase == SupervisorPhase::Starting
            && state.readiness == Readiness::Never
            && !state.flags.added
    }

    /// Returns `true` if a waiting child with dependencies in this state is held. Later children do not wait for a held
    /// child, and children that come `after` it are held too.
    pub(super) fn is_held_by(&self, sup: Index, child: Index, state: DependencyState) -> bool {
        match state {
            DependencyState::Held => true,
            DependencyState::Unreachable => !self.may_fail_first_start(sup, child),
            DependencyState::Satisfied | DependencyState::Unmet | DependencyState::Pending => false,
        }
    }

    /// Brings `held` up to date for all waiting children, before the next evaluation does so. A child comes `after` earlier
    /// children only, so one pass in start order is enough.
    pub(super) fn refresh_held(&mut self, sup: Index) {
        for position in 0..self.arena.sup(sup).ordered().len() {
            let child = self.arena.sup(sup).ordered()[position];
            if self.arena[child].phase == Phase::Waiting {
                let held = self.is_held_by(sup, child, self.dependencies_of(sup, child));
                self.arena[child].flags.held = held;
            }
        }
    }

    /// Returns `true` if a failure of `child`, or a wait that is too long, fails the first start of its supervisor.
    pub(super) fn may_fail_first_start(&self, sup: Index, child: Index) -> bool {
        self.is_first_start(sup, child)
            && self.arena.sup(sup).rules.first_start == FirstStart::Fail
            && !self.arena[child].is_trial()
    }

    /// Returns the path of the sibling that a waiting child waits for, or the path of the supervisor if there is no such
    /// sibling.
    pub(super) fn path_waited_for(&self, sup: Index, child: Index) -> Path {
        let above = self.arena.path_of(sup);
        match self.waiting_for(sup, child) {
            WaitingFor::Turn(name) | WaitingFor::Edge(name, _) | WaitingFor::RestartBackoff(name) => {
                above.join(name.as_str())
            }
            WaitingFor::RestartStop => {
                let mut stopping = self.arena.sup(sup).ordered().iter();
                let stopping = stopping.find(|child| self.arena[**child].flags.in_restart_set);
                stopping.map_or(above, |child| self.arena.path_of(*child))
            }
            WaitingFor::Nothing | WaitingFor::Place => above,
        }
    }

    /// Returns the reason why a first start fails because of the dependencies of `child`, as the text of an exit.
    pub(super) fn unmet_dependency(&self, sup: Index, child: Index, state: DependencyState) -> String {
        let Some(edge) = self.dependency_in(sup, child, state) else { return String::new() };
        let (name, condition) = (&edge.child, edge.condition.as_str());
        let sibling = self.arena.sup(sup).names.get(name).map(|sibling| &self.arena[*sibling]);
        let phase = sibling.map(|sibling| sibling.phase);
        let what = match (phase, edge.condition) {
            (Some(Phase::Running), Condition::Completed) => "was not done in time",
            (Some(Phase::Running), Condition::Ready) => "runs but was not ready again in time",
            (Some(Phase::Running), _) => "is ready but was not healthy in time",
            (Some(Phase::BackingOff), _) if sibling.is_some_and(|sibling| sibling.is_stopped_for_need()) => {
                "was stopped because a sibling that it needs was lost"
            }
            (Some(Phase::BackingOff), _) => "keeps failing",
            _ if sibling.is_some_and(|sibling| sibling.flags.stopped_by_others) => {
                "was stopped before it was done"
            }
            _ => "has ended for good",
        };
        let exit = sibling.and_then(|sibling| sibling.last_exit());
        match exit.filter(|_| phase != Some(Phase::Running)) {
            Some(exit) => format!("it comes after {name} ({condition}), which {what}: {}", shortened(exit)),
            None => format!("it comes after {name} ({condition}), which {what}"),
        }
    }
}

/// Returns an exit as text, shortened for use inside the text of another exit.
fn shortened(exit: &Exit) -> String {
    const MOST: usize = 200;
    let text = exit.to_string();
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{} …", &text[..end]),
        None => text,
    }
}
