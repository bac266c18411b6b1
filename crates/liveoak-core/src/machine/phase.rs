//! Phases and deadlines: what changes along with a child's phase, and which supervisors must be evaluated then. The set
//! of all deadlines has at most one deadline for each child and purpose. A deadline that is not needed any more is
//! removed from the set.

use super::Machine;
use super::state::{Child, Children, Index, Phase, Purpose, SupervisorPhase, SupervisorState};
use crate::Time;
use std::cmp::Reverse;
use std::time::Duration;

/// How long a supervisor without a start deadline waits for its dependencies: the default start deadline of a leaf.
const LONGEST_WAIT_OF_A_SUPERVISOR: Duration = Duration::from_secs(30);

impl Machine {
    /// Changes the phase of a child. Cancels the deadlines of the child, updates the counts of its supervisor, and
    /// sets `since` to now (a stop that becomes more forceful keeps its `since`). Marks the supervisors further above
    /// that may have a step to take. The caller marks the child's supervisor.
    pub(super) fn set_phase(&mut self, child: Index, phase: Phase) {
        self.change_phase(child, phase);
        self.refresh_health(child);
        self.mark_watching_supervisors(self.arena[child].parent);
    }

    /// Changes the phase like [`set_phase`](Self::set_phase), but leaves the health of the child as it is and marks no supervisor.
    fn change_phase(&mut self, child: Index, phase: Phase) {
        let state = &self.arena[child];
        let (before, has_timers) = (state.phase, state.has_timers_of_phase());
        // If the attempt has ended, it was judged before.
        if before == Phase::Running && phase.is_stopping() {
            self.arena[child].flags.attempt_stable = self.is_stable(child);
        }
        if has_timers {
            self.set_timer(child, Purpose::Phase, Time::NEVER);
            self.set_timer(child, Purpose::Heartbeat, Time::NEVER);
            self.set_timer(child, Purpose::Check, Time::NEVER);
            self.set_timer(child, Purpose::Run, Time::NEVER);
        }
        if !matches!(phase, Phase::Starting | Phase::Running) {
            self.forget_lost_needs(child);
        }
        if phase.is_idle()
            && let Some(record) = self.arena[child].record.as_mut().filter(|record| record.trial)
        {
            record.trial = false;
        }
        if before == Phase::Waiting {
            self.leave_wait(child, phase);
        }
        let (was_live, live) = (before.is_live(), phase.is_live());
        let (was_waiting, waiting) = (before == Phase::Waiting, phase == Phase::Waiting);
        if (before == Phase::Starting) != (phase == Phase::Starting) {
            self.count_starting(child, phase == Phase::Starting);
        }
        let now = self.now;
        let state = &mut self.arena[child];
        if (phase.is_idle() || phase == Phase::BackingOff)
            && let Some(record) = &mut state.record
        {
            record.command_open = false;
        }
        let turn_before = state.turn();
        state.phase = phase;
        if !(before.is_stopping() && phase.is_stopping()) {
            state.since = now;
        }
        if live == was_live && waiting == was_waiting {
            return;
        }
        // A child leaves its restart set when its attempt has ended.
        let left_restart_set = was_live && !live && std::mem::take(&mut state.flags.in_restart_set);
        let turn = state.turn();
        if let Some(parent) = state.parent {
            let sup = self.arena.sup_mut(parent);
            sup.live = sup.live + u32::from(live) - u32::from(was_live);
            sup.waiting = sup.waiting + u32::from(waiting) - u32::from(was_waiting);
            sup.to_restart -= u32::from(left_restart_set);
            if was_waiting != waiting && sup.is_group() {
                if waiting {
                    sup.queue.insert((turn, child));
                } else {
                    sup.queue.remove(&(turn_before, child));
                }
            }
        }
    }

    /// Counts a child that is starting now, or no longer.
    fn count_starting(&mut self, child: Index, is: bool) {
        if let Some(parent) = self.arena[child].parent {
            let sup = self.arena.sup_mut(parent);
            sup.starting = if is { sup.starting + 1 } else { sup.starting - 1 };
        }
    }

    /// Pauses the timer of the wait of a child that was waiting. If the child no longer waits, forgets the time that
    /// is left.
    fn leave_wait(&mut self, child: Index, phase: Phase) {
        self.pause_wait(child);
        if phase == Phase::Waiting {
            return;
        }
        self.set_timer(child, Purpose::Answer, Time::NEVER);
        let state = &mut self.arena[child];
        state.flags.held = false;
        if let Some(record) = &mut state.record {
            (record.answer_due, record.wait_left, record.wait_prolonged) = (false, None, false);
        }
    }

    /// Forgets since when the needs of a child do not hold, and cancels the end of their grace.
    #[inline]
    pub(super) fn forget_lost_needs(&mut self, child: Index) {
        if self.arena[child].record.as_ref().is_some_and(|record| !record.lost_needs.is_empty()) {
            self.set_timer(child, Purpose::Need, Time::NEVER);
            self.arena.record_or_new(child).lost_needs = Vec::new();
        }
    }

    /// Brings the health of a child up to date, and the health of the supervisors above as far as it changes. Marks the
    /// supervisors with waiting children, because these children may wait for a health.
    pub(super) fn refresh_health(&mut self, child: Index) {
        let mut at = child;
        loop {
            let state = &self.arena[at];
            let (before, health, parent) = (state.health, state.health_now(), state.parent);
            if before == health {
                return;
            }
            self.arena[at].health = health;
            let Some(parent) = parent else { return };
            let sup = self.arena.sup_mut(parent);
            sup.count_health(before, false);
            sup.count_health(health, true);
            if sup.waiting > 0 {
                self.mark_to_evaluate(Some(parent));
            }
            at = parent;
        }
    }

    /// Pauses the timer of a child's wait for unmet dependencies, and keeps the time that is left.
    pub(super) fn pause_wait(&mut self, child: Index) {
        let deadline = self.deadline_of(child, Purpose::Wait);
        if deadline != Time::NEVER {
            // At least 1 ns is left, so that the timer ends the wait, after all earlier timers.
            let left = deadline.since(self.now).max(Duration::from_nanos(1));
            self.arena.record_or_new(child).wait_left = Some(left);
            self.set_timer(child, Purpose::Wait, Time::NEVER);
        }
    }

    /// Returns how long a child may wait for its dependencies before the wait fails a first start, or a command to start
    /// the child is answered.
    pub(super) fn longest_wait(&self, child: Index) -> Duration {
        match self.arena[child].spec.start_within {
            Duration::MAX if self.arena[child].sup.is_some() => LONGEST_WAIT_OF_A_SUPERVISOR,
            within => within,
        }
    }

    /// Marks a live child as a part of a restart set until its attempt has ended. The child is stopped because of it.
    pub(super) fn mark_in_restart_set(&mut self, child: Index) {
        let state = &mut self.arena[child];
        if !std::mem::replace(&mut state.flags.in_restart_set, true)
            && let Some(parent) = state.parent
        {
            self.arena.sup_mut(parent).to_restart += 1;
        }
    }

    /// Returns `true` if a child has a supervisor that starts its children.
    pub(super) fn has_live_supervisor(&self, child: Index) -> bool {
        let sup = self.arena.parent_of(child);
        sup.is_some_and(|sup| matches!(sup.phase, SupervisorPhase::Starting | SupervisorPhase::Up))
    }

    /// Queues a supervisor to be evaluated when the current input has been handled.
    pub(super) fn mark_to_evaluate(&mut self, sup: Option<Index>) {
        let Some(sup) = sup else { return };
        let state = self.arena.sup_mut(sup);
        // A group has two steps: a member that waits for a place starts; and it ends when it is stopping and its last member
        // has left.
        let nothing_to_do = state.waiting == 0
            && matches!(
                &state.children,
                Children::Group { count, .. } if *count > 0 || state.phase != SupervisorPhase::Stopping
            );
        if !nothing_to_do && !std::mem::replace(&mut state.queued, true) {
            self.to_evaluate.push((state.depth, Reverse(sup)));
        }
    }

    /// Marks `sup` if it has waiting children, because they may wait for the child that has changed. Also marks each
    /// supervisor from `sup` upwards that ends when all its children are done.
    #[inline]
    pub(super) fn mark_watching_supervisors(&mut self, sup: Option<Index>) {
        if sup.is_some_and(|sup| self.arena.sup(sup).waiting > 0) {
            self.mark_to_evaluate(sup);
        }
        // Most trees have no needs. A supervisor is needed by its siblings, so the supervisor above it is evaluated too.
        if self.arena.some_needs {
            self.mark_to_evaluate(sup);
            self.mark_to_evaluate(sup.and_then(|sup| self.arena[sup].parent));
        }
        // Most trees have no such supervisor.
        if self.arena.some_end_when_done {
            self.mark_ending_supervisors(sup);
        }
    }

    fn mark_ending_supervisors(&mut self, mut sup: Option<Index>) {
        while let Some(at) = sup {
            if self.arena.sup(at).rules.end_when_done {
                self.mark_to_evaluate(sup);
            }
            sup = self.arena[at].parent;
        }
    }

    /// Returns the deadline that a child has for this purpose, or [`Time::NEVER`].
    pub(super) fn deadline_of(&self, child: Index, purpose: Purpose) -> Time {
        let (state, record) = (&self.arena[child], &self.arena[child].record);
        let in_record = match purpose {
            Purpose::Phase => return state.phase_deadline,
            Purpose::Heartbeat => record.as_ref().and_then(|record| record.heartbeat_check),
            Purpose::Check => record.as_ref().and_then(|record| record.check_due),
            Purpose::Answer => record.as_ref().and_then(|record| record.answer_deadline),
            Purpose::Wait => record.as_ref().and_then(|record| record.wait_deadline),
            Purpose::Run => record.as_ref().and_then(|record| record.run_deadline),
            Purpose::Need => record.as_ref().and_then(|record| record.need_deadline),
        };
        in_record.unwrap_or(Time::NEVER)
    }

    /// Sets or, with [`Time::NEVER`], cancels a deadline of a child.
    pub(super) fn set_timer(&mut self, child: Index, purpose: Purpose, at: Time) {
        let before = self.deadline_of(child, purpose);
        if before == at {
            return;
        }
        if before != Time::NEVER {
            self.timers.remove(&(before, child, purpose));
        }
        if at != Time::NEVER {
            self.timers.insert((at, child, purpose));
        }
        let in_record = (at != Time::NEVER).then_some(at);
        match purpose {
            Purpose::Phase => {
                let state = &mut self.arena[child];
                state.phase_deadline = at;
                if let Some(record) = &mut state.record {
                    record.phase_prolonged = false;
                }
            }
            Purpose::Heartbeat => self.arena.record_or_new(child).heartbeat_check = in_record,
            Purpose::Check => self.arena.record_or_new(child).check_due = in_record,
            Purpose::Answer => self.arena.record_or_new(child).answer_deadline = in_record,
            Purpose::Wait => self.arena.record_or_new(child).wait_deadline = in_record,
            Purpose::Run => {
                let record = self.arena.record_or_new(child);
                (record.run_deadline, record.run_prolonged) = (in_record, false);
            }
            Purpose::Need => {
                let record = self.arena.record_or_new(child);
                (record.need_deadline, record.need_prolonged) = (in_record, false);
            }
        }
    }

    pub(super) fn set_timer_in(&mut self, child: Index, purpose: Purpose, duration: Duration) {
        self.set_timer(child, purpose, self.now.after(duration));
    }
}

impl SupervisorState {
    /// Returns `true` if one more child may be starting.
    pub(super) const fn has_free_place(&self) -> bool {
        match self.rules.max_starting {
            Some(max) => self.starting < max,
            None => true,
        }
    }

    /// Returns `true` if a member may start now: members that have waited for a place come first.
    pub(super) const fn may_start_member(&self) -> bool {
        self.rules.max_starting.is_none() || self.waiting == 0 && self.has_free_place()
    }
}

impl Child {
    /// Orders the children that wait for a place: the one first that has waited longest, and of several that which had fewer
    /// attempts.
    pub(super) const fn turn(&self) -> (Time, u64) {
        (self.since, self.attempt)
    }
}
