//! Auto shutdown: the end of a supervisor because its significant children have ended (C45 to C48).

use super::Machine;
use super::state::{Index, Phase};
use crate::{AutoShutdown, AutoShutdownFailure, EventKind, Exit, IdleReason};
use std::sync::Arc;

impl Machine {
    /// Returns how many significant children are held, or 0 if their number cannot end the supervisor.
    pub(super) fn held_significant(&mut self, sup: Index) -> usize {
        if self.arena.sup(sup).rules.auto_shutdown != AutoShutdown::AllSignificant {
            return 0;
        }
        self.refresh_held(sup);
        let held = |child: &&Index| {
            let state = &self.arena[**child];
            state.spec.significant && state.phase == Phase::Waiting && state.flags.held
        };
        self.arena.sup(sup).ordered().iter().filter(held).count()
    }

    /// Returns `true` if a significant child has ended for good: the child itself (`own`), or a sibling that is held
    /// from now on. A sibling that is held from now on counts as ended only if a
    /// significant child has ended by itself or was given up on. `held_before` is
    /// [`held_significant`](Self::held_significant) before the end.
    pub(super) fn ends_a_significant_child(&mut self, sup: Index, own: bool, held_before: usize) -> bool {
        own || self.held_significant(sup) > held_before && {
            let state = self.arena.sup(sup);
            let has_ended = |child: &Index| {
                let state = &self.arena[*child];
                let by_itself =
                    state.phase == Phase::Idle(IdleReason::Finished) && !state.flags.stopped_by_others;
                state.spec.significant && (by_itself || state.is_given_up_on())
            };
            state.left_with_failure.is_some() || state.ordered().iter().any(has_ended)
        }
    }

    /// Returns `true` if the end of a significant child ends its supervisor.
    pub(super) fn ends_by_auto_shutdown(&mut self, sup: Index) -> bool {
        match self.arena.sup(sup).rules.auto_shutdown {
            AutoShutdown::Never => false,
            AutoShutdown::AnySignificant => true,
            AutoShutdown::AllSignificant => {
                // Siblings may have waited for the child that has ended.
                self.refresh_held(sup);
                !self.arena.sup(sup).ordered().iter().any(|child| {
                    let state = &self.arena[*child];
                    // A held child may wait without limit, so its supervisor does not wait for its end.
                    let will_run = state.phase.is_pending() && !state.is_skipped();
                    state.spec.significant && (state.phase.is_live() && !state.is_trial() || will_run)
                })
            }
        }
    }

    /// Ends a supervisor because its significant children have ended. The end is a failure if one of them has failed.
    /// `failure` is the failure of the child that ended last, if it failed.
    pub(super) fn end_by_auto_shutdown(&mut self, sup: Index, failure: Option<Arc<AutoShutdownFailure>>) {
        match failure.or_else(|| self.failure_of_significant(sup)) {
            None => {
                self.emit(sup, || EventKind::AutoShutdown);
                self.end_supervisor(sup, Exit::AutoShutdown);
            }
            Some(failure) => {
                self.emit(sup, || EventKind::AutoShutdownFailed(Arc::clone(&failure)));
                self.end_supervisor(sup, Exit::AutoShutdownFailed(failure));
            }
        }
    }

    /// Returns the failure of the first significant child that failed for good or was given up on.
    fn failure_of_significant(&self, sup: Index) -> Option<Arc<AutoShutdownFailure>> {
        let failed = |child: &&Index| {
            let state = &self.arena[**child];
            state.spec.significant
                && match state.phase {
                    _ if state.is_given_up_on() => true,
                    Phase::Idle(IdleReason::Finished) => {
                        !state.flags.stopped_by_others && state.last_exit().is_some_and(Exit::is_failure)
                    }
                    _ => false,
                }
        };
        let state = self.arena.sup(sup);
        let child = state.ordered().iter().find(failed).and_then(|&child| {
            let exit = self.arena[child].last_exit()?.clone();
            Some(Arc::new(AutoShutdownFailure { path: self.arena.path_of(child), exit }))
        });
        child.or_else(|| state.left_with_failure.clone())
    }
}
