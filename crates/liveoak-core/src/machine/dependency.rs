//! Dependencies: the table from an `after` edge and the state of the sibling it points at to a [`DependencyState`].

use super::Machine;
use super::state::{Index, Phase};
use crate::{Condition, Edge, Exit, Health, IdleReason};

/// What a dependency means for the start of the child that has it. The variants are ordered by precedence: with several
/// dependencies, the greatest counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum DependencyState {
    /// The sibling has done what is asked for.
    Satisfied,
    /// The sibling runs and is not healthy, or it failed and waits for its restart. Such waits end: a child spends at
    /// most its own start deadline on them, all of them together, and then its start fails.
    Failing,
    /// The sibling is on its way and has a deadline of its own, or it does its work, which has none.
    Pending,
    /// The sibling was stopped on request or quarantined, or waits for such a sibling. The wait has no end, but the
    /// waiting child does not delay other children.
    Held,
    /// The sibling has ended for good without doing what is asked for: the start fails at once.
    Unreachable,
}

impl Machine {
    /// Returns what all dependencies of `child` say together.
    pub(super) fn dependencies_of(&self, sup: Index, child: Index) -> DependencyState {
        let edges = self.arena[child].spec.after.iter();
        edges.map(|edge| self.dependency_state(sup, edge)).max().unwrap_or(DependencyState::Satisfied)
    }

    /// Returns the first dependency of `child` in this state.
    pub(super) fn dependency_in(&self, sup: Index, child: Index, state: DependencyState) -> Option<&Edge> {
        self.arena[child].spec.after.iter().find(|edge| self.dependency_state(sup, edge) == state)
    }

    fn dependency_state(&self, sup: Index, edge: &Edge) -> DependencyState {
        let Some(&sibling) = self.arena.sup(sup).names.get(&edge.child) else {
            return DependencyState::Unreachable;
        };
        let state = &self.arena[sibling];
        let succeeded = || {
            let exit = state.last_exit();
            let well = exit.is_none_or(|exit| !exit.is_failure() && !matches!(exit, Exit::Stopped));
            // A child that was stopped by others before it was done has not succeeded, even if its exit says so.
            well && !state.flags.stopped_by_others
        };
        match (state.phase, edge.condition) {
            (Phase::Idle(IdleReason::Ignored), _) => DependencyState::Satisfied,
            (Phase::Idle(IdleReason::Finished), _) if succeeded() => DependencyState::Satisfied,
            (Phase::Idle(IdleReason::Finished), _) => DependencyState::Unreachable,
            (Phase::Idle(IdleReason::StoppedByRequest | IdleReason::Quarantined), _) => DependencyState::Held,
            (Phase::Waiting, _) if state.flags.held => DependencyState::Held,
            (Phase::Starting | Phase::Running, Condition::Started) => DependencyState::Satisfied,
            (Phase::Running, Condition::Ready) => DependencyState::Satisfied,
            (Phase::Running, Condition::Healthy) if self.health_of(sibling) == Health::Healthy => {
                DependencyState::Satisfied
            }
            (Phase::Running, Condition::Healthy) => DependencyState::Failing,
            (Phase::BackingOff, Condition::Started | Condition::Ready | Condition::Healthy) => {
                DependencyState::Failing
            }
            (Phase::Running | Phase::BackingOff, Condition::Completed) => DependencyState::Pending,
            (
                Phase::Idle(IdleReason::SupervisorDown)
                | Phase::Waiting
                | Phase::Starting
                | Phase::Stopping { .. },
                Condition::Started | Condition::Ready | Condition::Healthy | Condition::Completed,
            ) => DependencyState::Pending,
        }
    }

    /// Returns why a start fails on its dependencies, as the text of its exit.
    pub(super) fn unmet_dependency(&self, sup: Index, child: Index, state: DependencyState) -> String {
        let Some(edge) = self.dependency_in(sup, child, state) else { return String::new() };
        let (name, condition) = (&edge.child, edge.condition.as_str());
        let sibling = self.arena.sup(sup).names.get(name).map(|sibling| &self.arena[*sibling]);
        let phase = sibling.map(|sibling| sibling.phase);
        let what = match (state, phase) {
            (DependencyState::Failing, Some(Phase::Running)) => {
                "is ready but was not healthy in time".to_owned()
            }
            (DependencyState::Failing, _) => "keeps failing".to_owned(),
            (DependencyState::Held, Some(Phase::Idle(reason))) => format!("is {}", reason.as_str()),
            (DependencyState::Held, _) => "waits for one that is stopped or quarantined".to_owned(),
            _ if sibling.is_some_and(|sibling| sibling.flags.stopped_by_others) => {
                "was stopped before it was done".to_owned()
            }
            _ => "has ended for good".to_owned(),
        };
        let exit = sibling.and_then(|sibling| sibling.last_exit());
        match exit.filter(|_| phase != Some(Phase::Running) && state != DependencyState::Held) {
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
