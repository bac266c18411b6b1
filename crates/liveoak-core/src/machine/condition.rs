//! The start condition: may a waiting child start, and if not, what does it wait for?
//!
//! An *ordered start* is the start of a supervisor or of a restart set. A child that is part of one (its
//! [`Readiness`] is not `Reached`) has its turn when
//!
//! 1. all children of the restart set have stopped,
//! 2. the backoff of the restart set is over, and
//! 3. with [`Order::Declared`], each earlier child was ready, is down, or is held.
//!
//! A child that is restarted alone needs no turn. Both start when their turn has come and all their dependencies
//! are satisfied.

use super::Machine;
use super::dependency::DependencyState;
use super::state::{Index, Phase, Readiness};
use crate::{Name, Order, Strategy, WaitingFor};

/// The children that one restart takes down and starts again.
pub(super) enum RestartSet {
    /// The failed child alone.
    Alone,
    /// The failed child and these siblings: all of them stop, and then start in order.
    With(Vec<Index>),
}

/// What an ordered start does before the turn of a child comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blocker {
    /// Children of the restart set stop.
    RestartStop,
    /// The failed child of the restart set backs off.
    RestartBackoff(Index),
    /// An earlier child starts.
    Earlier(Index),
}

/// The answer to two questions: may a child start, and if not, what does it wait for?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StartCondition {
    /// What comes before its turn; `None` if it has its turn, or needs none.
    pub(super) blocker: Option<Blocker>,
    pub(super) dependencies: DependencyState,
}

impl StartCondition {
    /// Returns `true` if nothing but dependencies can keep the child from starting.
    pub(super) const fn has_its_turn(&self) -> bool {
        self.blocker.is_none()
    }
}

impl Machine {
    /// Returns the children that a restart of `failed` takes down. All else that concerns a restart works on this set.
    pub(super) fn restart_set(&self, sup: Index, failed: Index) -> RestartSet {
        let state = self.arena.sup(sup);
        let children = state.ordered().iter().copied();
        match state.rules.strategy {
            Strategy::OneForOne => RestartSet::Alone,
            Strategy::OneForAll => RestartSet::With(children.filter(|child| *child != failed).collect()),
            Strategy::RestForOne => {
                RestartSet::With(children.skip_while(|child| *child != failed).skip(1).collect())
            }
        }
    }

    /// Returns what keeps all children of an ordered start from their turn.
    pub(super) fn blocker_of_all(&self, sup: Index) -> Option<Blocker> {
        let state = self.arena.sup(sup);
        if state.to_restart > 0 {
            return Some(Blocker::RestartStop);
        }
        let delays_its_set = |child: &Index| {
            let failed = &self.arena[*child];
            failed.phase == Phase::BackingOff
                && failed.readiness != Readiness::Reached
                && matches!(self.restart_set(sup, *child), RestartSet::With(_))
        };
        state.ordered().iter().copied().find(delays_its_set).map(Blocker::RestartBackoff)
    }

    /// Returns `child` as what keeps the later children of an ordered start from their turn, if it does.
    pub(super) fn blocker_of_later(&self, sup: Index, child: Index) -> Option<Blocker> {
        let declared = self.arena.sup(sup).rules.order == Order::Declared;
        (declared && !self.arena[child].had_its_turn()).then_some(Blocker::Earlier(child))
    }

    /// Returns the start condition of a waiting child. `blocker` is what the ordered start does before its turn.
    pub(super) fn start_condition_after(
        &self,
        sup: Index,
        child: Index,
        blocker: Option<Blocker>,
    ) -> StartCondition {
        let blocker = blocker.filter(|_| self.arena[child].readiness != Readiness::Reached);
        StartCondition { blocker, dependencies: self.dependencies_of(sup, child) }
    }

    /// Returns the start condition of a waiting child.
    pub(super) fn start_condition(&self, sup: Index, child: Index) -> StartCondition {
        let earlier = self.arena.sup(sup).ordered().iter().copied().take_while(|other| *other != child);
        let first = || earlier.into_iter().find_map(|other| self.blocker_of_later(sup, other));
        self.start_condition_after(sup, child, self.blocker_of_all(sup).or_else(first))
    }

    /// Returns what a waiting child waits for, for people to read.
    pub(super) fn waiting_for(&self, sup: Index, child: Index) -> WaitingFor {
        let condition = self.start_condition(sup, child);
        let name = |child: Index| -> Name { self.arena.name_of(child) };
        match (condition.blocker, condition.dependencies) {
            (Some(Blocker::RestartStop), _) => WaitingFor::RestartStop,
            (Some(Blocker::RestartBackoff(failed)), _) => WaitingFor::RestartBackoff(name(failed)),
            (Some(Blocker::Earlier(earlier)), _) => WaitingFor::Turn(name(earlier)),
            (None, DependencyState::Satisfied) => WaitingFor::Nothing,
            (None, state) => match self.dependency_in(sup, child, state) {
                Some(edge) => WaitingFor::Edge(edge.child.clone(), edge.condition),
                None => WaitingFor::Nothing,
            },
        }
    }
}
