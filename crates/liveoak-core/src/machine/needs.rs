//! Needs: dependencies that hold while a child runs.
//!
//! Each evaluation of a supervisor compares the needs of its children with their siblings. A need that does not hold is
//! lost from this moment on, until it holds again. When it has been lost for its whole grace, the child is stopped. Each
//! need counts for itself: a loss and a return within the grace change nothing. The child that is stopped is no longer
//! ready, so from then on the grace of the children that need *it* runs.
//!
//! Nothing is judged while the supervisor stops, and while a restart set is about to stop the child.
//!
//! Such a stop is not a failure. It counts neither in a window nor in the row, and takes no sibling down. The child then
//! waits for its own backoff, whose step grows with each such stop and begins anew after a stable run, and starts when its
//! dependencies are satisfied (`stopped.rs`).

use super::Machine;
use super::state::{Index, Phase, Purpose};
use crate::{EventKind, Name, Time};
use std::sync::Arc;

impl Machine {
    /// Compares the needs of all running children of a supervisor with their siblings.
    pub(super) fn check_needs(&mut self, sup: Index) {
        for position in 0..self.arena.sup(sup).ordered().len() {
            let child = self.arena.sup(sup).ordered()[position];
            if !self.arena[child].spec.needs.is_empty() {
                self.check_needs_of(sup, child);
            }
        }
    }

    fn check_needs_of(&mut self, sup: Index, child: Index) {
        let state = &self.arena[child];
        if !matches!(state.phase, Phase::Starting | Phase::Running) || state.flags.in_restart_set {
            return self.forget_lost_needs(child);
        }
        let (now, spec) = (self.now, Arc::clone(&state.spec));
        let holds: Vec<bool> = spec.needs.iter().map(|need| self.need_holds(sup, need)).collect();
        if holds.iter().all(|holds| *holds) {
            return self.forget_lost_needs(child);
        }
        let mut lost = std::mem::take(&mut self.arena.record_or_new(child).lost_needs);
        lost.resize(holds.len(), None);
        let mut until = Time::NEVER;
        for ((need, holds), lost) in spec.needs.iter().zip(holds).zip(&mut lost) {
            if holds {
                *lost = None;
                continue;
            }
            if lost.is_none() {
                self.emit(child, || EventKind::NeedLost { need: need.child.clone(), grace: need.grace });
            }
            until = until.min(lost.get_or_insert(now).after(need.grace));
        }
        self.arena.record_or_new(child).lost_needs = lost;
        if until > now {
            self.set_timer(child, Purpose::Need, until);
        } else if self.deadline_of(child, Purpose::Need) == Time::NEVER {
            self.grace_is_over(child);
        }
    }

    /// Stops a child that has run without one of its needs for the whole grace.
    pub(super) fn grace_is_over(&mut self, child: Index) {
        let state = &self.arena[child];
        let is_ending = self.arena.parent_of(child).is_some_and(|sup| sup.is_ending());
        if is_ending || state.flags.in_restart_set {
            return;
        }
        if let Some(need) = self.overdue_need(child) {
            self.arena.record_or_new(child).stopped_for_need = true;
            self.emit(child, || EventKind::StoppedForNeed { need });
            self.begin_stop(child);
        }
    }

    /// Returns the first need of a child that has been lost for its whole grace.
    fn overdue_need(&self, child: Index) -> Option<Name> {
        let state = &self.arena[child];
        let lost = &state.record.as_ref()?.lost_needs;
        let mut needs = state.spec.needs.iter().zip(lost);
        let overdue = needs.find(|(need, lost)| lost.is_some_and(|lost| lost.after(need.grace) <= self.now));
        overdue.map(|(need, _)| need.child.clone())
    }
}
