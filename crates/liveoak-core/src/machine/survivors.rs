//! Processes that may live on after their attempt was abandoned.
//!
//! An attempt that runs processes says so while it is live ([`Input::MaySurvive`](super::Input::MaySurvive)). If the
//! attempt is abandoned, the child has survivors until the driver reports that the last process is gone
//! ([`Input::Gone`](super::Input::Gone)). While a child has survivors:
//!
//! * no attempt of it starts, because two copies of a program would run at the same time;
//! * where it would start otherwise, it is quarantined instead, so that siblings and restart sets continue without
//!   it;
//! * a command to start it is refused with the process ids.
//!
//! When the survivors are gone, a child that was quarantined because of them starts.

use super::state::{Index, Phase};
use super::{Command, Machine, Outcome, Refusal};
use crate::{EventKind, IdleReason, Survivors};
use std::sync::Arc;

impl Machine {
    /// Returns the processes that the last attempt of a child has left behind, or that its live attempt may leave behind.
    pub(super) fn survivors_of(&self, child: Index) -> Option<&Arc<Survivors>> {
        self.arena[child].record.as_ref()?.survivors.as_ref().map(|(_, survivors)| survivors)
    }

    /// Returns `true` if the system has refused to kill processes of a child.
    pub(super) fn is_kill_refused(&self, child: Index) -> bool {
        self.survivors_of(child).is_some_and(|survivors| survivors.refused.is_some())
    }

    /// Quarantines a child that would start now, if processes of its last attempt are still alive. Returns `true` if so.
    #[inline]
    pub(super) fn quarantine_if_survived(&mut self, child: Index) -> bool {
        let has_survivors = self.survivors_of(child).is_some();
        if has_survivors {
            self.quarantine_because_of_survivors(child);
        }
        has_survivors
    }

    fn quarantine_because_of_survivors(&mut self, child: Index) {
        let Some(survivors) = &self.survivors_of(child).cloned() else { return };
        self.emit(child, || EventKind::StillRuns(Arc::clone(survivors)));
        self.arena[child].flags.start_requested = false;
        self.set_phase(child, Phase::Idle(IdleReason::Quarantined));
        let report = self.close_log(child);
        self.answer(child, |command| match command {
            Command::Stop => Some(Ok(Outcome::Stopped(report.clone()))),
            Command::Remove => None,
            _ => Some(Err(Refusal::StillRuns(Arc::clone(survivors)))),
        });
        let parent = self.arena[child].parent;
        self.mark_to_evaluate(parent);
    }
}
