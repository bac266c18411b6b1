//! The stop of a child and of all children below it. Each child is asked, killed and abandoned by its own deadlines, and
//! one budget bounds the whole stop.
//!
//! The stages of the stop of one attempt:
//!
//! | stage | when | how long until the next stage |
//! |---|---|---|
//! | not ready | the stop of a ready child with an `unready_for` begins, and others stop it | `unready_for`, at most until the plan's `ask_all` |
//! | asked | the stop begins (a deadline of zero skips this stage) | `stop_within`, at most until the plan's `kill` |
//! | killed | the time of *asked* is over | `kill_wait`, at most until the plan's `abandon` |
//! | abandoned | the time of *killed* is over | this is the last stage: nothing waits for the attempt any more |
//!
//! A supervisor divides its budget by a [`StopPlan`], which never ends later than the plan of the supervisor above it.
//! A dynamic group asks all its members together under one deadline. A dedicated runtime is closed last, by the same
//! stages: [`KILL_WAIT`] from the request to the kill, and the `kill_wait` of its supervisor after it. An attempt is always killed before it is abandoned, however late the
//! driver gives a tick.
//!
//! A command may say the time of the stop, instead of the declared `stop_within`. Children below a supervisor keep their own
//! times within its budget.
//!
//! This file gives the orders to ask and to kill. `stop_progress.rs` continues a stop.

use super::driver_queue::{Walk, WalkAct};
use super::plan::StopPlan;
use super::stability::LATE;
use super::state::{Children, Index, Phase, Purpose, SupervisorPhase};
use super::{Effect, Machine};
use crate::{EventKind, Exit, KILL_WAIT, StopStage, Time};
use std::time::Duration;

impl Machine {
    /// Says within which time the next [`Input::Stop`](super::Input::Stop), or the next command to stop a child, stops: for a
    /// leaf the time from the request to the kill, for a supervisor the budget of its whole stop. The time applies instead
    /// of the declared one. It prolongs neither a stop that has begun nor that of a supervisor above. Other inputs ignore it.
    pub const fn set_stop_budget(&mut self, within: Option<Duration>) {
        self.stop_budget = within;
    }

    /// Begins the stop of a child in any phase. Does nothing if the child is stopping or down.
    pub(super) fn begin_stop(&mut self, child: Index) {
        self.begin_stop_within(child, None);
    }

    /// Begins the stop of a child like [`begin_stop`](Self::begin_stop). If the command says a time, this time applies
    /// instead of the declared one, and shortens a stop that has begun.
    pub(super) fn begin_stop_within(&mut self, child: Index, said: Option<Duration>) {
        if child == self.root {
            self.open_log(child);
        }
        match self.arena[child].phase {
            Phase::Idle(_) => {}
            Phase::Stopping { .. } if self.arena[child].sup.is_some() => self.tighten_plan(child, said),
            Phase::Stopping { .. } => {
                if let Some(said) = said {
                    self.tighten_leaf(child, said);
                }
                if self.arena[child].asked_at().is_some() && self.now >= self.plan_above(child).ask_all {
                    self.ask_after_drain(child);
                }
            }
            Phase::Waiting | Phase::BackingOff => {
                self.log_stop(child, Duration::ZERO, StopStage::Cancelled, None);
                self.after_stop_by_others(child, StopStage::Cancelled, None);
            }
            Phase::Starting | Phase::Running => {
                let drained_at = self.end_of_drain(child, said);
                self.set_phase(child, Phase::Stopping { killed: false });
                let (id, attempt) = self.arena.attempt_of(child);
                self.emit(child, || EventKind::Stopping { attempt });
                if self.arena[child].sup.is_some() {
                    self.begin_stop_of_supervisor(child, said);
                    return;
                }
                let within = said.unwrap_or(self.arena[child].spec.stop_within);
                let plan = self.plan_above(child);
                // There is no time to react to a request.
                if within.is_zero() || self.now >= plan.kill {
                    self.kill(child);
                } else if let Some(at) = drained_at {
                    let killed_at = said.map(|said| self.now.after(said));
                    let record = self.arena.record_or_new(child);
                    (record.asked_at, record.killed_at) = (Some(at), killed_at);
                    // Nothing bounds the time of an open try any more, and its answer would not count.
                    let open = record.checks.as_mut().map(|checks| checks.end_open()).unwrap_or_default();
                    for index in open {
                        self.push(Effect::EndCheck(id, attempt, index));
                    }
                    self.set_timer(child, Purpose::Phase, at);
                } else {
                    self.push(Effect::Ask(id, attempt));
                    // The group has one timer for all its members.
                    if !self.shares_deadline(child) {
                        let at = self.now.after(within).min(plan.kill);
                        self.set_timer(child, Purpose::Phase, at);
                    }
                }
            }
        }
    }

    /// Returns when a child whose stop begins now is asked, if it is to be unready before. A child that is not ready yet, or
    /// that has failed, has nothing to turn others away from. At least half of a time that the command says is left after it.
    #[inline]
    fn end_of_drain(&self, child: Index, said: Option<Duration>) -> Option<Time> {
        let state = &self.arena[child];
        // Most children are ready until they are asked.
        if state.spec.unready_for.is_zero() {
            return None;
        }
        let for_others = state.record.as_ref().is_none_or(|record| record.cause.is_none());
        let drains = state.phase == Phase::Running && for_others;
        let in_order = self.now < self.plan_above(child).ask_all;
        let longest = said.map_or(Duration::MAX, |said| said / 2);
        (drains && in_order).then(|| self.now.after(state.spec.unready_for.min(longest)))
    }

    /// Asks a child to stop at the end of its drain. It has the rest of the time for its stop. If this moment is seen so
    /// late that there is no rest, the child has one further wait.
    pub(super) fn ask_after_drain(&mut self, child: Index) {
        self.arena.record_or_new(child).asked_at = None;
        let (plan, state) = (self.plan_above(child), &self.arena[child]);
        if self.now >= plan.kill {
            return self.kill(child);
        }
        let within = state.spec.stop_within;
        let deadline = self.end_of_request(child);
        let is_late = deadline <= self.now;
        let deadline = if is_late { self.now.after(within.min(LATE)) } else { deadline };
        let (id, attempt) = self.arena.attempt_of(child);
        self.push(Effect::Ask(id, attempt));
        self.set_timer(child, Purpose::Phase, deadline.min(plan.kill));
        self.arena.record_or_new(child).phase_prolonged = is_late;
    }

    /// Ends a supervisor that nothing above it stops. Begins its stop, if the stop has not begun. `cause` becomes its exit.
    pub(super) fn end_supervisor(&mut self, sup: Index, cause: Exit) {
        if !self.arena[sup].phase.is_stopping() {
            self.arena.record_or_new(sup).cause = Some(cause);
            // The forced stops below may belong to the report of the tree's end.
            self.open_log(sup);
            self.begin_stop(sup);
        }
    }

    /// Returns when a leaf whose stop has begun with a drain is killed.
    fn end_of_request(&self, child: Index) -> Time {
        let state = &self.arena[child];
        let said = state.record.as_ref().and_then(|record| record.killed_at);
        said.unwrap_or_else(|| state.since.after(state.spec.stop_within))
    }

    /// Shortens the stop of a leaf that has begun to the time that a later command says.
    fn tighten_leaf(&mut self, child: Index, said: Duration) {
        let (now, state) = (self.now, &self.arena[child]);
        if state.phase == (Phase::Stopping { killed: true }) {
            return;
        }
        if said.is_zero() {
            self.kill(child);
        } else if let Some(asked_at) = state.asked_at() {
            let asked_at = asked_at.min(now.after(said / 2));
            let killed_at = self.end_of_request(child).min(now.after(said));
            let record = self.arena.record_or_new(child);
            (record.asked_at, record.killed_at) = (Some(asked_at), Some(killed_at));
            self.set_timer(child, Purpose::Phase, asked_at);
        } else if !self.shares_deadline(child) {
            let at = state.phase_deadline.min(now.after(said));
            self.set_timer(child, Purpose::Phase, at);
        }
    }

    /// Shortens the stop of a supervisor that has begun: to the plan of the supervisor above, and to the budget that a later
    /// command says.
    fn tighten_plan(&mut self, child: Index, said: Option<Duration>) {
        if said.is_some_and(|said| said.is_zero()) {
            return self.kill(child);
        }
        let state = &self.arena[child];
        let Some(sup) = &state.sup else { return };
        let said =
            said.map_or(StopPlan::UNBOUNDED, |said| StopPlan::new(self.now, said, state.spec.kill_wait));
        let above = self.plan_above(child).min(said);
        let mut plan = sup.plan.min(above);
        if let Children::Group { count, .. } = sup.children {
            plan = sup.plan.min(above.for_members(self.now, count));
            plan.ask_all = Time::NEVER;
        }
        if plan != sup.plan {
            let at = state.phase_deadline.min(plan.next_point(self.now));
            let sup = self.arena.sup_mut(child);
            sup.plan = plan;
            // The new plan applies to its children as well, so they are asked once more.
            sup.all_asked = false;
            self.set_timer(child, Purpose::Phase, at);
            self.mark_to_evaluate(Some(child));
        }
    }

    fn begin_stop_of_supervisor(&mut self, sup: Index, said: Option<Duration>) {
        let spec = &self.arena[sup].spec;
        let within = said.unwrap_or(spec.stop_within);
        let mut plan = StopPlan::new(self.now, within, spec.kill_wait).min(self.plan_above(sup));
        if let Children::Group { template, head, count, .. } = &self.arena.sup(sup).children {
            // The stop deadline of the members bounds the plan, because members have no timers.
            let members = self.now.after(template.stop_within);
            if members != Time::NEVER {
                plan.kill = plan.kill.min(members);
                plan.abandon = plan.abandon.min(plan.kill.after(template.kill_wait));
            }
            plan = plan.for_members(self.now, *count);
            // The members are asked together now, not one after another.
            plan.ask_all = Time::NEVER;
            let cursor = *head;
            self.driver_queue.walks.push_back(Walk { cursor, act: WalkAct::Ask });
        }
        let state = self.arena.sup_mut(sup);
        let opening = state.phase == SupervisorPhase::OpeningRuntime;
        state.phase = SupervisorPhase::Stopping;
        state.plan = plan;
        state.prolonged = StopPlan::UNBOUNDED;
        state.all_asked = false;
        state.stop_cursor = state.ordered().len();
        self.set_timer(sup, Purpose::Phase, plan.next_point(self.now));
        // Children without an attempt are cancelled immediately, before their turn.
        for child in self.arena.sup(sup).ordered().to_vec() {
            if self.arena[child].phase.is_pending() {
                self.begin_stop(child);
            } else if self.arena[child].phase.is_idle() {
                // A quarantined child makes no trial any more.
                self.set_timer(child, Purpose::Phase, Time::NEVER);
            }
        }
        // No child has started, so only the runtime must be closed.
        if opening {
            self.close_runtime(sup);
        }
        self.mark_to_evaluate(Some(sup));
        // A budget of zero leaves no time to ask.
        if self.now >= plan.kill {
            self.kill(sup);
        }
    }

    /// Kills a child. A supervisor is killed with all children below it.
    pub(super) fn kill(&mut self, child: Index) {
        if self.arena[child].sup.is_some() {
            return self.kill_supervisor(child);
        }
        if let Some(record) = &mut self.arena[child].record {
            (record.asked_at, record.killed_at) = (None, None);
        }
        match self.arena[child].phase {
            Phase::Idle(_) | Phase::Stopping { killed: true } => {}
            Phase::Waiting | Phase::BackingOff => self.begin_stop(child),
            phase @ (Phase::Starting | Phase::Running | Phase::Stopping { .. })
                if self.is_kill_refused(child) =>
            {
                // It is abandoned at the next tick. No event says that it was killed.
                if !phase.is_stopping() {
                    self.set_phase(child, Phase::Stopping { killed: false });
                    let (_, attempt) = self.arena.attempt_of(child);
                    self.emit(child, || EventKind::Stopping { attempt });
                }
                self.set_timer(child, Purpose::Phase, self.now);
            }
            Phase::Starting | Phase::Running | Phase::Stopping { killed: false } => {
                self.order_kill(child);
                if !self.shares_deadline(child) {
                    let wait = self.arena[child].spec.kill_wait;
                    let at = self.now.after(wait).min(self.plan_above(child).abandon);
                    self.set_timer(child, Purpose::Phase, at);
                }
            }
        }
    }

    fn order_kill(&mut self, child: Index) {
        self.set_phase(child, Phase::Stopping { killed: true });
        let (id, attempt) = self.arena.attempt_of(child);
        self.emit(child, || EventKind::Killed { attempt });
        self.push(Effect::Kill(id, attempt));
    }

    fn kill_supervisor(&mut self, sup: Index) {
        if !self.arena[sup].phase.is_live() {
            return self.begin_stop(sup);
        }
        let now = self.now;
        // Not later than the supervisor above abandons, because that supervisor does not wait longer either.
        let abandon = now.after(self.arena[sup].spec.kill_wait).min(self.plan_above(sup).abandon);
        let mut wait = StopPlan { ask_all: now, kill: now, abandon };
        if let Children::Group { count, .. } = self.arena.sup(sup).children {
            wait = wait.for_members(now, count);
        }
        if !self.arena[sup].phase.is_stopping() {
            self.begin_stop(sup);
        }
        let plan = &mut self.arena.sup_mut(sup).plan;
        *plan = plan.min(wait);
        let abandon = plan.abandon;
        self.set_timer(sup, Purpose::Phase, abandon);
        if self.arena.sup(sup).is_group() {
            let cursor = self.arena.first_member(sup);
            self.driver_queue.walks.push_back(Walk { cursor, act: WalkAct::Kill });
        }
        for child in self.arena.sup(sup).ordered().to_vec() {
            self.kill(child);
        }
        if self.arena.sup(sup).phase == SupervisorPhase::ClosingRuntime {
            self.kill_runtime(sup);
        }
        self.mark_to_evaluate(Some(sup));
    }

    /// Kills the dedicated runtime of a supervisor. The deadline of the plan still applies.
    pub(super) fn kill_runtime(&mut self, sup: Index) {
        let state = &self.arena[sup];
        if state.phase != (Phase::Stopping { killed: true }) {
            // A change of phase cancels the deadline, but this deadline belongs to the plan, so it is set again.
            let deadline = state.phase_deadline;
            self.order_kill(sup);
            self.set_timer(sup, Purpose::Phase, deadline);
        }
    }

    /// Begins to close the dedicated runtime of a supervisor whose children have ended.
    pub(super) fn close_runtime(&mut self, sup: Index) {
        let (id, attempt) = self.arena.attempt_of(sup);
        self.arena.sup_mut(sup).phase = SupervisorPhase::ClosingRuntime;
        self.push(Effect::Ask(id, attempt));
        let (now, kill_wait) = (self.now, self.arena[sup].spec.kill_wait);
        let plan = &mut self.arena.sup_mut(sup).plan;
        plan.ask_all = plan.ask_all.min(now);
        // Both stages are within the budget.
        plan.kill = plan.kill.min(now.after(KILL_WAIT));
        plan.abandon = plan.abandon.min(plan.kill.max(now).after(kill_wait));
        let at = plan.next_point(now).min(plan.abandon);
        self.set_timer(sup, Purpose::Phase, at);
    }

    /// Returns the plan of a child's supervisor, if the supervisor is stopping.
    #[inline]
    pub(super) fn plan_above(&self, child: Index) -> StopPlan {
        match self.arena.parent_of(child) {
            Some(sup) if sup.phase == SupervisorPhase::Stopping => sup.plan,
            Some(_) | None => StopPlan::UNBOUNDED,
        }
    }

    /// Returns `true` if a child stops as a member of its group, under the group's deadline.
    #[inline]
    fn shares_deadline(&self, child: Index) -> bool {
        self.arena
            .parent_of(child)
            .is_some_and(|sup| sup.is_group() && sup.phase == SupervisorPhase::Stopping)
    }
}
