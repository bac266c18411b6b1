//! Why a child that does not start with its supervisor is wanted: it was asked for, or it was brought along.
//!
//! A child is not wanted if it is declared [`manual`](crate::ChildSpec::manual), or if the mode of the tree does not want
//! it. It then has the intent [`Unwanted`](super::state::Intent::Unwanted). Two things make it wanted:
//!
//! * It is *asked for*: a command starts it, or a mode names it. It stays wanted, also when its supervisor restarts, until a
//!   command or a mode stops it.
//! * It is *brought along*: a sibling that comes after it waits for its start (`brought.rs`). It stays wanted for as long as
//!   such a sibling wants it, and is stopped then (`unneeded.rs`).
//!
//! A sibling wants it while it has an attempt, or is to have one by itself. A quarantined sibling wants it only if it
//! will make a trial, or waits for the end of its last processes.

use super::Machine;
use super::state::{Index, Phase, Purpose};
use crate::{IdleReason, Time};

impl Machine {
    /// Returns the siblings that a child comes after.
    pub(super) fn siblings_before(&self, child: Index) -> Vec<Index> {
        let Some(sup) = self.arena.parent_of(child) else { return Vec::new() };
        let after = self.arena[child].spec.after.iter();
        after.filter_map(|edge| sup.names.get(&edge.child).copied()).collect()
    }

    /// Notes that a command asks for a child: it stays wanted when nothing that comes after it is wanted.
    pub(super) fn ask_for(&mut self, child: Index) {
        if self.arena[child].spec.manual {
            self.arena.record_or_new(child).asked_for = true;
        }
        if let Some(record) = &mut self.arena[child].record {
            record.brought_along = false;
        }
    }

    /// Forgets why a child is wanted, because it is not wanted any more.
    pub(super) fn forget_wish(&mut self, child: Index) {
        if let Some(record) = &mut self.arena[child].record {
            (record.asked_for, record.brought_along) = (false, false);
        }
    }

    /// Returns the first sibling that comes after a child and is wanted.
    pub(super) fn wanted_by(&self, sup: Index, child: Index) -> Option<Index> {
        let comes_after = |other: &Index| self.siblings_before(*other).contains(&child);
        self.arena.sup(sup).ordered().iter().copied().find(|other| self.wants(*other) && comes_after(other))
    }

    /// Returns `true` if a child has an attempt, or is to have one without a command.
    fn wants(&self, child: Index) -> bool {
        let state = &self.arena[child];
        match state.phase {
            Phase::Idle(IdleReason::Quarantined) => {
                let tries = self.deadline_of(child, Purpose::Phase) != Time::NEVER;
                let has_survivors = state.record.as_ref().is_some_and(|record| record.survivors.is_some());
                state.intent.is_to_run() && (tries || has_survivors)
            }
            Phase::Idle(IdleReason::Finished | IdleReason::Ignored) => false,
            Phase::Idle(_) => state.intent.is_to_run(),
            Phase::Waiting | Phase::Starting | Phase::Running | Phase::BackingOff => true,
            Phase::Stopping { .. } => true,
        }
    }
}
