//! The stop of what was brought along, when nothing wants it any more (`wish.rs`). It stops after the siblings that use it.

use super::Machine;
use super::state::{Index, Intent, Phase, Purpose};
use crate::{IdleReason, Time};

impl Machine {
    /// Stops the children that were brought along and that nothing wants any more.
    pub(super) fn stop_unneeded(&mut self, sup: Index) {
        for child in self.arena.sup(sup).ordered().to_vec().into_iter().rev() {
            let state = &self.arena[child];
            if state.is_brought_along() && state.intent.is_to_run() && self.wanted_by(sup, child).is_none() {
                self.stop_one_unneeded(child);
            }
        }
    }

    fn stop_one_unneeded(&mut self, child: Index) {
        match self.arena[child].phase {
            Phase::Idle(reason) => {
                if reason == IdleReason::Quarantined {
                    // It makes no trial before it is wanted again.
                    self.set_timer(child, Purpose::Phase, Time::NEVER);
                }
                self.set_unwanted(child);
                self.mark_to_evaluate(self.arena[child].parent);
            }
            _ => {
                self.forget_wish(child);
                self.arena[child].intent = Intent::Unwanted;
                self.begin_stop(child);
            }
        }
    }
}
