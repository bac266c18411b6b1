//! The commands to pause and to resume a child. Both include all children below it.
//!
//! `resume` starts what is `paused`. A command to start, restart or release a child ends its pause too; a command to stop or
//! to quarantine it does not. A child that is added below a paused supervisor is not paused.

use super::driver_queue::{Walk, WalkAct};
use super::state::{Index, Intent, Phase, Purpose};
use super::{Command, Effect, Machine, Outcome, Refusal};
use crate::{EventKind, IdleReason, RequestId, StopStage, Time};

impl Machine {
    pub(super) fn command_pause(&mut self, child: Index, request: RequestId) -> Result<(), Refusal> {
        if self.arena[child].intent == Intent::Remove {
            return Err(Refusal::SupervisorDown);
        }
        self.with_all_below(child, WalkAct::Pause);
        self.push(Effect::Reply { request, result: Ok(Outcome::Paused) });
        Ok(())
    }

    pub(super) fn command_resume(&mut self, child: Index, request: RequestId) {
        if self.arena[child].phase == Phase::Idle(IdleReason::Paused) && self.has_live_supervisor(child) {
            self.expect_answer(child, Some(request), Command::Resume);
        } else {
            self.push(Effect::Reply { request, result: Ok(Outcome::Resumed) });
        }
        self.with_all_below(child, WalkAct::Resume);
    }

    /// Pauses or resumes a child and all children below it. Members of groups follow one by one, because there may be very
    /// many of them.
    fn with_all_below(&mut self, child: Index, act: WalkAct) {
        self.pause_or_resume(child, act);
        let Some(sup) = &self.arena[child].sup else { return };
        if sup.is_group() {
            let cursor = self.arena.first_member(child);
            self.driver_queue.walks.push_back(Walk { cursor, act });
        }
        for below in self.arena.sup(child).ordered().to_vec() {
            self.with_all_below(below, act);
        }
    }

    /// Pauses or resumes one child.
    pub(super) fn pause_or_resume(&mut self, child: Index, act: WalkAct) {
        if matches!(act, WalkAct::Resume) {
            return self.resume(child);
        }
        self.set_paused(child, true);
        match self.arena[child].phase {
            Phase::Waiting if self.arena[child].is_trial() => self.end_trial(child),
            Phase::Waiting | Phase::BackingOff => drop(self.park_if_paused(child)),
            // It makes no trial now.
            Phase::Idle(IdleReason::Quarantined) => self.set_timer(child, Purpose::Phase, Time::NEVER),
            Phase::Idle(_) | Phase::Starting | Phase::Running | Phase::Stopping { .. } => {}
        }
    }

    fn resume(&mut self, child: Index) {
        if !self.arena[child].flags.paused {
            return;
        }
        self.set_paused(child, false);
        let sup_is_up = self.has_live_supervisor(child);
        match self.arena[child].phase {
            Phase::Idle(IdleReason::Paused) if sup_is_up => self.request_start(child),
            Phase::Idle(IdleReason::Paused) => {
                // It starts with its supervisor.
                let (stage, why) = (StopStage::Cancelled, IdleReason::SupervisorDown);
                self.emit(child, || EventKind::Stopped { stage, why });
                self.set_phase(child, Phase::Idle(why));
            }
            Phase::Idle(IdleReason::Quarantined) if sup_is_up && !self.arena[child].is_down_by_command() => {
                self.schedule_trial(child);
            }
            _ => {}
        }
    }
}
