//! Deadlines that are seen late, because the whole process could not run: a signal had suspended it, its machine slept,
//! or a debugger had stopped it.
//!
//! A deadline that is first seen more than a second late is prolonged by its original length, but by at most a
//! second, so that the awaited step can still happen. Each deadline is prolonged at most once. The rule needs only
//! the time of the tick, no other clock and no additional wake-up. A stop takes its budget and at most one such
//! prolongation, which is divided like the budget. The end of a backoff is not prolonged, because a late end does not
//! harm the child.
//!
//! Time during which the process did not run does not make an attempt stable. It is not known when this time began,
//! so the time before the late deadline does not count at all.

use super::Machine;
use super::plan::StopPlan;
use super::stability::LATE;
use super::state::{Index, Phase, Purpose};
use crate::{EventKind, Time};
use std::time::Duration;

/// The longest time by which a deadline is prolonged.
const FURTHER_WAIT: Duration = Duration::from_secs(1);

/// The deadlines that one tick has prolonged.
#[derive(Debug, Default)]
pub(super) struct TimeJump {
    late: Duration,
    deadlines: u64,
}

impl TimeJump {
    fn count(&mut self, late: Duration) {
        self.late = self.late.max(late);
        self.deadlines += 1;
    }
}

impl Machine {
    /// Prolongs each deadline that is first seen now and is late. Deadlines of heartbeats are not prolonged here, because
    /// a heartbeat is judged when the driver has answered.
    pub(super) fn prolong_late_deadlines(&mut self) -> TimeJump {
        let mut jump = TimeJump::default();
        let now = self.now;
        if self.is_late() {
            self.last_jump = now;
        }
        let late = self.timers.iter().take_while(|(at, ..)| now.since(*at) > LATE);
        let mut late: Vec<(u32, Time, Index, Purpose)> = late
            .filter(|(_, child, purpose)| self.can_be_prolonged(*child, *purpose))
            .map(|(at, child, purpose)| (self.arena.depth_of(*child), *at, *child, *purpose))
            .collect();
        // From the root downwards: the plan of a supervisor bounds the stops below it.
        late.sort_unstable();
        for (_, at, child, purpose) in late {
            let length = at.since(self.arena[child].since).min(FURTHER_WAIT);
            match purpose {
                Purpose::Phase
                    if self.arena[child].phase.is_stopping() && self.arena[child].sup.is_some() =>
                {
                    if !self.prolong_plan(child, at, length) {
                        continue;
                    }
                }
                Purpose::Phase | Purpose::Wait | Purpose::Run | Purpose::Need => {
                    let until = now.after(length).min(self.end_of_stage_above(child));
                    self.set_timer(child, purpose, until);
                }
                Purpose::Heartbeat | Purpose::Check | Purpose::Answer => {}
            }
            jump.count(now.since(at));
            let record = self.arena.record_or_new(child);
            match purpose {
                Purpose::Wait => record.wait_prolonged = true,
                Purpose::Run => record.run_prolonged = true,
                Purpose::Need => record.need_prolonged = true,
                Purpose::Phase | Purpose::Heartbeat | Purpose::Check | Purpose::Answer => {
                    record.phase_prolonged = true;
                }
            }
        }
        jump
    }

    fn can_be_prolonged(&self, child: Index, purpose: Purpose) -> bool {
        let state = &self.arena[child];
        let record = state.record.as_ref();
        match (purpose, &state.sup) {
            // Each point of a plan is prolonged once, even if a kill or the close of a runtime lies between.
            (Purpose::Phase, Some(_)) if state.phase.is_stopping() => true,
            // The judgement of a running trial harms nothing if it comes late.
            (Purpose::Phase, _) => {
                // A late end of the time before the request to stop harms nothing.
                state.phase.is_live()
                    && state.asked_at().is_none()
                    && state.phase != Phase::Running
                    && record.is_none_or(|record| !record.phase_prolonged)
            }
            (Purpose::Wait, _) => record.is_none_or(|record| !record.wait_prolonged),
            (Purpose::Run, _) => record.is_none_or(|record| !record.run_prolonged),
            (Purpose::Need, _) => record.is_none_or(|record| !record.need_prolonged),
            // A late answer to a command does not harm the child.
            (Purpose::Heartbeat | Purpose::Check | Purpose::Answer, _) => false,
        }
    }

    /// Returns when the plan of the supervisor above ends the current stage of a leaf's stop.
    fn end_of_stage_above(&self, child: Index) -> Time {
        let plan = self.plan_above(child);
        match self.arena[child].phase {
            Phase::Stopping { killed: true } => plan.abandon,
            Phase::Stopping { killed: false } => plan.kill,
            Phase::Idle(_) | Phase::Waiting | Phase::Starting | Phase::Running | Phase::BackingOff => {
                Time::NEVER
            }
        }
    }

    /// Prolongs the points of a plan that are at or after `at` and have passed, by a further budget of `length`. A point that
    /// was prolonged before stays, so it is overdue. Returns `false` if no point was prolonged.
    fn prolong_plan(&mut self, sup: Index, at: Time, length: Duration) -> bool {
        let now = self.now;
        let further =
            if length.is_zero() { StopPlan::at_once(now) } else { StopPlan::new(now, length, length) };
        let (before, prolonged) = (self.arena.sup(sup).plan, self.arena.sup(sup).prolonged);
        let mut plan = before.prolong(at, now, prolonged, further).min(self.plan_above(sup));
        if self.arena.sup(sup).is_group() {
            plan.ask_all = Time::NEVER;
        }
        let state = self.arena.sup_mut(sup);
        state.prolonged = before.prolonged_to(plan, prolonged);
        state.plan = plan;
        self.set_timer(sup, Purpose::Phase, plan.first_point_from(at).min(plan.abandon));
        // The plan above may have reached its next point in the meantime.
        self.mark_to_evaluate(Some(sup));
        plan != before
    }

    /// Defers the judgement of a missed heartbeat if its check comes late: by more than the time between two checks,
    /// or by more than a second.
    pub(super) fn prolong_heartbeat(&mut self, child: Index, at: Time, jump: &mut TimeJump) {
        let (now, late) = (self.now, self.now.since(at));
        let Some(period) = self.arena[child].spec.heartbeat else { return };
        let record = self.arena.record_or_new(child);
        if late > LATE.min(period / super::start::HEARTBEAT_CHECKS) && record.judged_from.is_none() {
            record.judged_from = Some(now.after(period.min(FURTHER_WAIT)));
            jump.count(late);
        }
    }

    /// Prolongs the open tries of checks whose deadlines are seen late.
    pub(super) fn prolong_late_checks(&mut self, child: Index, jump: &mut TimeJump) {
        let (count, late) = self.prolong_checks(child, LATE, FURTHER_WAIT);
        jump.late = jump.late.max(late);
        jump.deadlines += count;
    }

    /// Emits one event for all deadlines that a tick has prolonged.
    pub(super) fn report_time_jump(&mut self, jump: &TimeJump) {
        let TimeJump { late, deadlines } = *jump;
        if deadlines > 0 {
            self.emit(self.root, || EventKind::TimeJump { late, deadlines });
        }
    }
}
