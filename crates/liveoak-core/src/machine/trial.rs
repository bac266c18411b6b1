//! Trial attempts of quarantined children.
//!
//! If the limit that a child exceeded has a `retry_after`, the child makes one trial attempt that long after it was
//! quarantined:
//!
//! * A stable run or a success of the trial ends the quarantine. Then the ordinary rules apply again.
//! * Any other end of the trial puts the child back into quarantine, and the next trial is made after the same time. It
//!   counts against no limit, and takes no sibling down.
//! * A restart set stops the trial and puts the child back. A command to restart the child ends the quarantine.
//! * Until the quarantine is over, siblings treat the child as a quarantined one: those that come `after` it wait, later
//!   ones do not wait for it, and auto shutdown counts it as ended. Its health is unhealthy.
//! * While the child is paused, there is no trial. `retry_after` begins when it is resumed.
//! * While processes of its last attempt are alive, there is no trial. `retry_after` begins when they are gone.
//!
//! The quarantine of a leaf or a group ends at the moment at which the trial is stable. A supervisor is stable because
//! of its children, so its trial is judged every `reset_after`.

use super::Machine;
use super::state::{Index, Intent, Phase, Purpose};
use crate::{EventKind, IdleReason};

impl Machine {
    /// Sets the time of the next trial of a child that is quarantined, if its limit has a `retry_after`.
    pub(super) fn schedule_trial(&mut self, child: Index) {
        let record = self.arena[child].record.as_ref();
        let retry_after = record.and_then(|record| record.gave_up.as_ref()?.retry_after);
        let state = &self.arena[child];
        let unwanted = state.intent == Intent::Unwanted;
        let makes_none = self.survivors_of(child).is_some() || state.flags.paused || unwanted;
        if let Some(retry_after) = retry_after.filter(|_| !makes_none) {
            self.set_timer_in(child, Purpose::Phase, retry_after);
        }
    }

    /// Begins the trial of a quarantined child, if its supervisor runs.
    pub(super) fn begin_trial(&mut self, child: Index) {
        if self.has_live_supervisor(child) {
            self.arena.record_or_new(child).trial = true;
            let flags = &mut self.arena[child].flags;
            flags.restarts_next = !flags.stopped_by_others;
            self.request_start(child);
        }
    }

    /// Puts a child whose trial has ended or was cancelled back into quarantine.
    pub(super) fn end_trial(&mut self, child: Index) {
        if self.quarantine_if_survived(child) {
            return;
        }
        let gave_up = self.arena[child].record.as_ref().and_then(|record| record.gave_up.clone());
        if let Some(exceeded) = gave_up {
            self.emit(child, || EventKind::Quarantined(exceeded));
        }
        self.set_phase(child, Phase::Idle(IdleReason::Quarantined));
        self.schedule_trial(child);
        self.mark_to_evaluate(self.arena[child].parent);
    }

    /// Ends the quarantine of a child during its trial. From now on the trial is an ordinary attempt.
    pub(super) fn end_quarantine(&mut self, child: Index) {
        let record = self.arena.record_or_new(child);
        record.trial = false;
        record.gave_up = None;
        if self.arena[child].phase == Phase::Running {
            self.set_timer(child, Purpose::Phase, crate::Time::NEVER);
        }
        self.emit(child, || EventKind::Released);
        self.refresh_health(child);
        let parent = self.arena[child].parent;
        self.mark_to_evaluate(parent);
        self.mark_watching_supervisors(parent);
    }

    /// Sets the time at which a ready trial is judged: the earliest time at which it can be stable.
    pub(super) fn schedule_judgement(&mut self, child: Index) {
        let state = &self.arena[child];
        let reset_after = state.spec.reset_after();
        let stable_at = state.since.max(self.last_jump).after(reset_after);
        let at = if stable_at > self.now { stable_at } else { self.now.after(reset_after) };
        self.set_timer(child, Purpose::Phase, at);
    }

    /// Ends the quarantine of a child whose trial is stable by now. Otherwise sets the time of the next judgement.
    pub(super) fn judge_trial(&mut self, child: Index) {
        if self.is_stable(child) {
            self.end_quarantine(child);
        } else {
            self.schedule_judgement(child);
        }
    }
}
