//! Phases and deadlines: what changes along with a child's phase, and which supervisors must be evaluated then. The set
//! of all deadlines has at most one deadline for each child and purpose. A deadline that is not needed any more is
//! removed from the set.

use super::Machine;
use super::state::{Child, ChildRecord, Children, Index, Phase, Purpose, SupervisorPhase, SupervisorState};
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
        // If the attempt has ended, it was judged before.
        if phase.is_stopping() && self.arena[child].phase == Phase::Running {
            self.arena[child].flags.attempt_stable = self.is_stable(child);
        }
        if self.arena[child].leaves_something_behind() {
            self.leave_phase(child, phase);
        }
        let now = self.now;
        let state = &mut self.arena[child];
        let before = std::mem::replace(&mut state.phase, phase);
        if !(before.is_stopping() && phase.is_stopping()) {
            state.since = now;
        }
        let (was_live, live) = (before.is_live(), phase.is_live());
        let (was_waiting, waiting) = (before == Phase::Waiting, phase == Phase::Waiting);
        // A child leaves its restart set when its attempt has ended.
        let left_restart_set = was_live && !live && std::mem::take(&mut state.flags.in_restart_set);
        let health = state.health_now();
        let health_before = std::mem::replace(&mut state.health, health);
        // The phase of the root concerns no supervisor.
        let Some(parent) = state.parent else { return };
        let sup = self.arena.sup_mut(parent);
        sup.live = sup.live + u32::from(live) - u32::from(was_live);
        sup.waiting = sup.waiting + u32::from(waiting) - u32::from(was_waiting);
        sup.to_restart -= u32::from(left_restart_set);
        let is_other_health = sup.count_other_health(health_before, health);
        // Most supervisors do not bound how many children start side by side.
        if sup.rules.max_starting.is_some() {
            self.change_place(parent, child, before);
        }
        // Most children are healthy before and after. A supervisor has the health of its children only while it runs.
        if is_other_health && self.arena[parent].phase == Phase::Running {
            self.refresh_health(parent);
        }
        self.mark_watching_supervisors(Some(parent));
    }

    /// Ends what belongs to the present phase of a child, before the child enters another phase.
    fn leave_phase(&mut self, child: Index, phase: Phase) {
        let state = &self.arena[child];
        let (before, has_timers) = (state.phase, state.has_timers_of_phase());
        if has_timers {
            self.set_timer(child, Purpose::Phase, Time::NEVER);
            self.set_timer(child, Purpose::Heartbeat, Time::NEVER);
            self.set_timer(child, Purpose::Check, Time::NEVER);
            self.set_timer(child, Purpose::Run, Time::NEVER);
        }
        if !matches!(phase, Phase::Starting | Phase::Running) {
            self.forget_lost_needs(child);
        }
        if before == Phase::Waiting {
            self.leave_wait(child, phase);
        }
        if let Some(record) = &mut self.arena[child].record {
            if phase.is_idle() {
                record.trial = false;
            }
            if phase.is_idle() || phase == Phase::BackingOff {
                record.command_open = false;
            }
        }
    }

    /// Counts a child that is starting now, or no longer, and queues a member that waits for a place from now on. Called
    /// only if the supervisor bounds how many children start side by side: the members of other groups never wait.
    #[cold]
    fn change_place(&mut self, parent: Index, child: Index, before: Phase) {
        let state = &self.arena[child];
        let (phase, turn) = (state.phase, state.turn());
        let sup = self.arena.sup_mut(parent);
        sup.starting =
            sup.starting + u32::from(phase == Phase::Starting) - u32::from(before == Phase::Starting);
        if before != Phase::Waiting && phase == Phase::Waiting && sup.is_group() {
            sup.queue.insert((turn, child));
        }
    }

    /// Pauses the timer of the wait of a child that was waiting. If the child no longer waits, forgets the time that
    /// is left, and takes a member out of the queue for a place.
    fn leave_wait(&mut self, child: Index, phase: Phase) {
        self.pause_wait(child);
        if phase == Phase::Waiting {
            return;
        }
        self.set_timer(child, Purpose::Answer, Time::NEVER);
        let state = &self.arena[child];
        let (parent, turn) = (state.parent, state.turn());
        if let Some(parent) = parent
            && self.arena.sup(parent).is_group()
        {
            self.arena.sup_mut(parent).queue.remove(&(turn, child));
        }
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
            let counts = sup.count_other_health(before, health);
            if sup.waiting > 0 {
                self.mark_to_evaluate(Some(parent));
            }
            if !counts {
                return;
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
    #[inline(always)]
    pub(super) fn mark_watching_supervisors(&mut self, sup: Option<Index>) {
        let is_waited_for = sup.is_some_and(|sup| self.arena.sup(sup).waiting > 0);
        if is_waited_for || self.arena.some_needs || self.arena.some_end_when_done {
            self.mark_those_that_watch(sup, is_waited_for);
        }
    }

    fn mark_those_that_watch(&mut self, sup: Option<Index>, is_waited_for: bool) {
        if is_waited_for {
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
    /// Returns `true` if it has deadlines that end with its phase. Most children have none.
    pub(super) fn has_timers_of_phase(&self) -> bool {
        self.phase_deadline != Time::NEVER || self.record.as_ref().is_some_and(|record| record.has_timers())
    }

    /// Returns `true` if something ends when the child leaves its present phase: a deadline, a wait, the loss of a need,
    /// a trial or a command. Most children leave nothing behind.
    #[inline]
    pub(super) fn leaves_something_behind(&self) -> bool {
        self.phase_deadline != Time::NEVER
            || self.phase == Phase::Waiting
            || self.record.as_ref().is_some_and(|record| {
                record.trial || record.command_open || record.has_timers() || !record.lost_needs.is_empty()
            })
    }

    /// Orders the children that wait for a place: longest wait first; of equal waits, the child first that had fewer
    /// attempts.
    pub(super) const fn turn(&self) -> (Time, u64) {
        (self.since, self.attempt)
    }
}

impl ChildRecord {
    /// Returns `true` if the child has a deadline that ends with its phase, apart from that of the phase itself.
    fn has_timers(&self) -> bool {
        self.heartbeat_check.is_some() || self.check_due.is_some() || self.run_deadline.is_some()
    }
}
