//! The progress of a tree. Whenever something changed below a supervisor, [`advance`](Machine::advance) takes the next
//! steps that are due. This file also handles deadlines that have come, and reported health.

use super::condition::DependencyState;
use super::state::{Index, Intent, Phase, Purpose, Readiness, SupervisorPhase};
use super::{Effect, Machine};
use crate::{
    Attempt, AutoShutdownFailure, ChildId, EventKind, Exit, Health, IdleReason, Order, Path, StartFailure,
    Time,
};
use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

impl Machine {
    /// Evaluates every supervisor that was marked, the deepest first, until nothing is due.
    #[inline(always)]
    pub(super) fn settle(&mut self) {
        // Most inputs mark no supervisor.
        if !self.to_evaluate.is_empty() || !self.driver_queue.touched.is_empty() {
            self.evaluate_marked();
        }
    }

    fn evaluate_marked(&mut self) {
        while let Some((_, Reverse(sup))) = self.to_evaluate.pop() {
            // The supervisor may have left the tree since it was marked.
            if let Some(state) = self.arena.sup_if_any(sup) {
                state.queued = false;
                self.advance(sup);
            }
        }
        if !self.driver_queue.touched.is_empty() {
            self.judge_watches();
        }
    }

    /// Takes the next steps that are due for a supervisor. The states of its children decide these steps.
    fn advance(&mut self, sup: Index) {
        match self.arena.sup(sup).phase {
            SupervisorPhase::Down | SupervisorPhase::OpeningRuntime | SupervisorPhase::ClosingRuntime => {}
            SupervisorPhase::Stopping => self.continue_stop(sup),
            SupervisorPhase::Starting | SupervisorPhase::Up => {
                if self.arena.some_needs {
                    self.check_needs(sup);
                }
                if self.arena.some_unwanted && !self.applies {
                    self.stop_unneeded(sup);
                }
                // No child of a restart set starts before all children of the set have stopped.
                if self.arena.sup(sup).to_restart > 0 {
                    self.stop_next(sup);
                }
                if self.arena.sup(sup).waiting > 0 && self.start_next(sup) {
                    // The failed start has marked the supervisor again.
                    return;
                }
                if self.arena.sup(sup).phase == SupervisorPhase::Starting {
                    self.finish_start(sup);
                }
                if self.arena.sup(sup).phase == SupervisorPhase::Up && self.arena.sup(sup).rules.end_when_done
                {
                    self.end_if_done(sup);
                }
            }
        }
    }

    /// Starts every waiting child that may start. Returns `true` if a start failed; the caller must then evaluate the
    /// supervisor again.
    fn start_next(&mut self, sup: Index) -> bool {
        if self.arena.sup(sup).is_group() {
            self.start_members(sup);
            return false;
        }
        let mut due = Vec::new();
        let failed = match self.arena.sup(sup).rules.order {
            Order::Declared => self.start_in_turn(sup, &mut due),
            Order::Edges => self.start_side_by_side(sup, &mut due),
        };
        if failed {
            return true;
        }
        // The one that has waited longest first, so that a child that fails again and again does not keep the places.
        due.sort_by_key(|child| self.arena[*child].turn());
        for child in due {
            if self.has_place(sup, child) {
                self.begin_attempt(child);
            } else if self.is_answer_due(child) {
                self.answer_as_waiting(child);
            }
        }
        false
    }

    /// Starts the waiting children that may start, in declared order. Returns `true` if a start failed.
    fn start_in_turn(&mut self, sup: Index, due: &mut Vec<Index>) -> bool {
        let mut blocker = self.blocker_of_all(sup);
        let mut place = 0..0;
        while place.end < self.arena.sup(sup).ordered().len() {
            place = self.place(sup, place.end);
            for position in place.clone() {
                let child = self.arena.sup(sup).ordered()[position];
                if self.arena[child].phase == Phase::Waiting
                    && self.try_to_start(sup, child, self.has_its_turn(child, blocker), due)
                {
                    return true;
                }
            }
            let mut children = self.arena.sup(sup).ordered()[place.clone()].iter();
            blocker = blocker.or_else(|| children.find_map(|child| self.blocker_of_later(sup, *child)));
        }
        false
    }

    /// Starts the waiting children that may start, of a supervisor whose children do not wait for their turn. Returns `true`
    /// if a start failed.
    fn start_side_by_side(&mut self, sup: Index, due: &mut Vec<Index>) -> bool {
        let blocker = self.blocker_of_all(sup);
        let state = self.arena.sup(sup);
        // Looks at the last children first, and no further than necessary: a child that was added is the last one, and mostly
        // no other waits.
        let last_first = state.ordered().iter().rev().copied();
        let waiting = last_first.filter(|child| self.arena[*child].phase == Phase::Waiting);
        let waiting: Vec<Index> = waiting.take(state.waiting as usize).collect();
        let mut in_order = waiting.into_iter().rev();
        in_order.any(|child| self.try_to_start(sup, child, self.has_its_turn(child, blocker), due))
    }

    /// Starts the members of a group that have waited longest for a place, as far as there are places.
    fn start_members(&mut self, group: Index) {
        while self.arena.sup(group).has_free_place()
            && let Some(&(_, member)) = self.arena.sup(group).queue.first()
        {
            self.begin_attempt(member);
        }
    }

    /// Starts a waiting child if it may start; if starts side by side are bounded, adds it to those that are `due`. Returns
    /// `true` if its wait has failed the first start of its supervisor.
    ///
    /// The header of `condition.rs` states the whole rule.
    fn try_to_start(&mut self, sup: Index, child: Index, has_its_turn: bool, due: &mut Vec<Index>) -> bool {
        let state = self.dependencies_of(sup, child);
        let may_fail = self.may_fail_first_start(sup, child);
        let held = self.is_held_by(sup, child, state);
        self.arena[child].flags.held = held;
        let counts = state == DependencyState::Unmet && may_fail && has_its_turn;
        if !counts {
            self.pause_wait(child);
        }
        let fails = match state {
            DependencyState::Satisfied | DependencyState::Pending | DependencyState::Held => false,
            DependencyState::Unmet => counts && self.is_wait_over(child),
            DependencyState::Unreachable => may_fail && has_its_turn,
        };
        if fails {
            self.fail_first_start(sup, child, state);
        } else if state == DependencyState::Satisfied && has_its_turn {
            if self.arena.sup(sup).rules.max_starting.is_some() {
                due.push(child);
            } else {
                self.begin_attempt(child);
            }
        } else if held || self.is_answer_due(child) {
            self.answer_as_waiting(child);
        }
        fails
    }

    /// Returns `true` if a child has used up its time for unmet dependencies. Otherwise starts the timer for the time
    /// that is left.
    ///
    /// The time is the start deadline of the child. All such waits since the child began to wait count together. The time
    /// is over when its timer fires, not during an evaluation, so that earlier timers are handled first.
    fn is_wait_over(&mut self, child: Index) -> bool {
        let within = self.longest_wait(child);
        if within == Duration::MAX {
            return false;
        }
        let left = *self.arena.record_or_new(child).wait_left.get_or_insert(within);
        if !left.is_zero() && self.deadline_of(child, Purpose::Wait) == Time::NEVER {
            self.set_timer_in(child, Purpose::Wait, left);
        }
        left.is_zero()
    }

    /// Fails a supervisor because the wait of a child failed while the supervisor was starting. The child has not
    /// failed, because it had no attempt.
    fn fail_first_start(&mut self, sup: Index, child: Index, state: DependencyState) {
        let exit = Exit::failed(self.unmet_dependency(sup, child, state));
        let failure = Arc::new(StartFailure { path: self.arena.path_of(child), exit });
        self.emit(sup, || EventKind::StartFailed(Arc::clone(&failure)));
        self.end_supervisor(sup, Exit::StartFailed(failure));
    }

    /// Marks a supervisor ready when each declared child was ready once or is skipped. Added children do not count.
    fn finish_start(&mut self, sup: Index) {
        let done = |child: &Index| {
            let child = &self.arena[*child];
            child.readiness != Readiness::Never || child.is_skipped() || child.flags.added
        };
        if self.arena.sup(sup).ordered().iter().all(done) {
            // This comes before `mark_ready`, so that a running supervisor is always `Up`.
            self.arena.sup_mut(sup).phase = SupervisorPhase::Up;
            self.mark_ready(sup);
        }
    }

    /// Ends a supervisor if all children below it are finished, ignored or quarantined. The exit of the supervisor says
    /// whether all of them ended without failure, including temporary children that were added and have left the tree.
    fn end_if_done(&mut self, sup: Index) {
        if !self.is_done(sup) {
            return;
        }
        let ended = |path: &Path, exit: &Exit| Exit::failed(format!("{path} ended for good: {exit}"));
        // The supervisor itself may make a trial.
        let mut below = self.arena.sup(sup).ordered().iter();
        let exit = match below.find_map(|child| self.first_failed_child(*child)) {
            Some(child) => {
                let record = self.arena[child].record.as_ref();
                record.and_then(|record| record.gave_up.clone()).map(Exit::GaveUp).unwrap_or_else(|| {
                    ended(&self.arena.path_of(child), self.arena[child].last_exit().unwrap_or(&Exit::Killed))
                })
            }
            None => self.failed_job(sup).map_or(Exit::Completed, |job| ended(&job.path, &job.exit)),
        };
        self.end_supervisor(sup, exit);
    }

    /// Returns the first failure of an added temporary child that has left the tree, below a supervisor that runs.
    fn failed_job(&self, sup: Index) -> Option<&AutoShutdownFailure> {
        let state = self.arena[sup].sup.as_ref().filter(|_| self.arena[sup].phase == Phase::Running)?;
        let below = || state.ordered().iter().find_map(|child| self.failed_job(*child));
        state.failed_job.as_deref().or_else(below)
    }

    /// Returns `true` if no child at or below `child` runs, and only a command can start one of them. A group is
    /// never done, because members may be added. A child that was stopped or quarantined by command, or is paused, is not
    /// done, because a command may start it again.
    pub(super) fn is_done(&self, child: Index) -> bool {
        let state = &self.arena[child];
        match state.phase {
            // A child that is not wanted is done, unless a change to a mode is about to start it.
            Phase::Idle(IdleReason::NotWanted) => state.intent != Intent::Run,
            // A manual child is down unless it is asked for.
            Phase::Idle(_) => state.spec.manual || !state.is_down_by_command(),
            Phase::Running => state
                .sup
                .as_ref()
                .is_some_and(|sup| !sup.is_group() && sup.ordered().iter().all(|child| self.is_done(*child))),
            // A held child counts as done. A sibling that was stopped by command is itself not done.
            Phase::Waiting => state.flags.held,
            Phase::Starting | Phase::BackingOff | Phase::Stopping { .. } => false,
        }
    }

    fn first_failed_child(&self, child: Index) -> Option<Index> {
        let state = &self.arena[child];
        let ended_badly = || state.flags.stopped_by_others || state.last_exit().is_some_and(Exit::is_failure);
        match state.phase {
            _ if state.is_given_up_on() => Some(child),
            Phase::Idle(IdleReason::Finished) if ended_badly() => Some(child),
            _ => state.sup.as_ref()?.ordered().iter().find_map(|child| self.first_failed_child(*child)),
        }
    }

    /// Handles every deadline that has come, the earliest first.
    pub(super) fn tick(&mut self) {
        let mut jump = self.prolong_late_deadlines();
        while let Some((at, child, purpose)) = self.timers.first().copied()
            && at <= self.now
        {
            // The deadline is cancelled first, because its handling may set it again.
            self.set_timer(child, purpose, Time::NEVER);
            match purpose {
                Purpose::Phase => self.phase_deadline(child),
                Purpose::Heartbeat => {
                    self.prolong_heartbeat(child, at, &mut jump);
                    self.schedule_heartbeat_check(child);
                    let (id, attempt) = self.arena.attempt_of(child);
                    self.push(Effect::CheckHeartbeat(id, attempt));
                }
                Purpose::Check => self.checks_due(child, &mut jump),
                // If the child still waits at the next evaluation, this evaluation answers, or fails the first start.
                Purpose::Answer if self.arena.is_member(child) => self.answer_as_waiting(child),
                Purpose::Answer => {
                    self.arena.record_or_new(child).answer_due = true;
                    self.mark_to_evaluate(self.arena[child].parent);
                }
                Purpose::Wait => {
                    self.arena.record_or_new(child).wait_left = Some(Duration::ZERO);
                    self.mark_to_evaluate(self.arena[child].parent);
                }
                Purpose::Run => self.run_is_over(child),
                Purpose::Need => self.grace_is_over(child),
            }
        }
        self.report_time_jump(&jump);
    }

    /// Stops an attempt that has run for as long as it may.
    fn run_is_over(&mut self, child: Index) {
        if let Some(within) = self.arena[child].spec.run_within {
            self.arena.record_or_new(child).cause = Some(Exit::RunTimeout(within));
            self.begin_stop(child);
        }
    }

    fn phase_deadline(&mut self, child: Index) {
        let phase = self.arena[child].phase;
        match phase {
            Phase::BackingOff if self.park_if_paused(child) => {}
            Phase::BackingOff => self.request_start(child),
            Phase::Starting => {
                let within = self.arena[child].spec.start_within;
                self.arena.record_or_new(child).cause = Some(Exit::StartTimeout(within));
                self.begin_stop(child);
            }
            Phase::Stopping { .. } if self.arena[child].sup.is_some() => self.next_point_of_plan(child),
            Phase::Stopping { killed: false } if self.is_kill_refused(child) => self.abandon(child),
            Phase::Stopping { killed: false } if self.arena[child].asked_at().is_some() => {
                self.ask_after_drain(child);
            }
            Phase::Stopping { killed: false } => self.kill(child),
            Phase::Stopping { killed: true } => self.abandon(child),
            Phase::Idle(IdleReason::Quarantined) => self.begin_trial(child),
            Phase::Running if self.arena[child].is_trial() => self.judge_trial(child),
            Phase::Idle(_) | Phase::Waiting | Phase::Running => {}
        }
    }

    /// Handles the answer to a heartbeat check. A stuck child would not notice a request to stop, so it is killed.
    pub(super) fn reported_heartbeat(&mut self, child: Index, beaten: bool) {
        let (now, state) = (self.now, &self.arena[child]);
        let Some(period) = state.spec.heartbeat.filter(|_| state.phase == Phase::Running) else { return };
        let record = self.arena.record_or_new(child);
        let is_judged = record.judged_from.is_none_or(|from| from <= now);
        if beaten {
            record.last_beat = now;
            record.judged_from = None;
        } else if now.since(record.last_beat) >= period && is_judged {
            record.cause = Some(Exit::HeartbeatTimeout(period));
            self.kill(child);
        }
    }

    /// Handles the report that the last process of an attempt is gone. If the child was quarantined because of it, the child
    /// starts. If the child was given up on, the time until its next trial begins.
    pub(super) fn reported_gone(&mut self, id: ChildId, attempt: Attempt) {
        let Some(child) = self.arena.index_of(id).filter(|_| !self.ended) else { return };
        let Some(record) = &mut self.arena[child].record else { return };
        if record.survivors.take_if(|(of, _)| *of == attempt).is_none() {
            return;
        }
        let was_given_up_on = record.gave_up.is_some();
        let state = &self.arena[child];
        let is_quarantined = state.phase == Phase::Idle(IdleReason::Quarantined);
        if is_quarantined && state.intent == Intent::Unwanted {
            if !was_given_up_on {
                self.set_down_unwanted(child);
            }
            return;
        }
        let waited = state.phase == Phase::Idle(IdleReason::Quarantined) && !state.is_down_by_command();
        if !waited || !self.has_live_supervisor(child) {
            return;
        }
        if was_given_up_on {
            self.schedule_trial(child);
        } else if !self.park_if_paused(child) {
            self.request_start(child);
        }
    }

    /// Notes the health that a child reports.
    pub(super) fn reported_health(&mut self, child: Index, health: Health, reason: Option<Arc<str>>) {
        let record = self.arena.record_or_new(child);
        if (record.health, &record.health_reason) != (health, &reason) {
            (record.health, record.health_reason) = (health, reason.clone());
            self.emit(child, || EventKind::Health { health, reason });
            self.refresh_health(child);
        }
    }
}
