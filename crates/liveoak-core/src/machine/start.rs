//! The start of one attempt, from the request to start a child until the attempt is ready.

use super::state::{Flags, Index, Phase, Purpose, Readiness, SupervisorPhase};
use super::{Effect, Machine, Outcome};
use crate::{Attempt, ChildId, EventKind, IdleReason, Ready};
use std::time::Duration;

/// How often a heartbeat is checked within its period: a stuck child is noticed at most a quarter of the period late.
pub(super) const HEARTBEAT_CHECKS: u32 = 4;

impl Machine {
    /// Starts a group member or the root immediately, if it need not wait for a place. Any other child waits until an evaluation of its supervisor finds
    /// that it may start.
    #[inline(always)]
    pub(super) fn request_start(&mut self, child: Index) {
        if child == self.root
            || self.arena.parent_of(child).is_some_and(|sup| sup.is_group() && sup.may_start_member())
        {
            self.begin_attempt(child);
        } else {
            self.enqueue_start(child);
        }
    }

    /// Begins an attempt now. The driver starts a leaf. A supervisor starts its children; if it has a dedicated runtime,
    /// the driver makes the runtime first.
    pub(super) fn begin_attempt(&mut self, child: Index) {
        self.starts += 1;
        let state = &self.arena[child];
        let (within, ready) = (state.spec.start_within, state.spec.ready);
        if state.sup.is_none() && state.spec.is_ready_at_once() {
            // The child is ready at once, so it is never seen as starting.
            let (id, attempt) = self.count_attempt(child);
            self.push(Effect::Start(id, attempt));
            return self.set_ready(child);
        }
        self.set_phase(child, Phase::Starting);
        let (id, attempt) = self.count_attempt(child);
        let Some(sup) = &mut self.arena[child].sup else {
            self.push(Effect::Start(id, attempt));
            self.set_timer_in(child, Purpose::Phase, within);
            if ready == Ready::AtOnce {
                self.begin_checks(child, true);
            }
            return;
        };
        // Restarts within an earlier attempt of the supervisor do not count against the new attempt.
        sup.window.clear();
        sup.left_with_failure = None;
        sup.failed_job = None;
        sup.runtime_lost = false;
        let opens_runtime = sup.rules.dedicated_runtime;
        self.set_timer_in(child, Purpose::Phase, within);
        if opens_runtime {
            self.arena.sup_mut(child).phase = SupervisorPhase::OpeningRuntime;
            self.push(Effect::Start(id, attempt));
        } else {
            self.start_children(child);
        }
    }

    /// Numbers a new attempt, and resets the state that belonged to the previous attempt only. Returns the attempt.
    #[inline]
    pub(super) fn count_attempt(&mut self, child: Index) -> (ChildId, Attempt) {
        let now = self.now;
        let state = &mut self.arena[child];
        state.attempt += 1;
        state.started = now;
        state.flags.attempt_ready = false;
        state.flags.stopped_by_others = false;
        state.flags.attempt_stable = false;
        // The flag is cleared, so that a later start by command does not count as a restart.
        let restart = std::mem::take(&mut state.flags.restarts_next);
        if restart || state.record.is_some() {
            let record = state.record.get_or_insert_default();
            record.forced = None;
            record.checks = None;
            record.stopped_for_need = false;
            record.restarts += u64::from(restart);
        }
        let (id, attempt) = (ChildId { slot: child.slot(), serial: state.serial }, Attempt(state.attempt));
        self.emit(child, || EventKind::Starting { attempt, restart });
        (id, attempt)
    }

    /// Begins the ordered start of all children of a supervisor, and resets their flags. The failures in a row, the
    /// restarts and the backoffs of the children are not reset (`stability.rs` and `give_up` say what resets each). So a child that never has a stable run is given up on, even if its supervisor is restarted for other reasons.
    fn start_children(&mut self, sup: Index) {
        if self.arena.sup(sup).is_group() {
            self.arena.sup_mut(sup).phase = SupervisorPhase::Up;
            self.mark_ready(sup);
            return;
        }
        self.arena.sup_mut(sup).phase = SupervisorPhase::Starting;
        self.choose_wanted(sup);
        for child in self.arena.sup(sup).ordered().to_vec() {
            let state = &mut self.arena[child];
            state.readiness = Readiness::Never;
            // No child here is `added`, because added children left the tree when the supervisor ended.
            state.flags = Flags {
                stopped_by_others: state.flags.stopped_by_others,
                paused: state.flags.paused,
                ..Flags::default()
            };
            if let Some(record) = &mut state.record {
                record.gave_up = None;
            }
            // The other children were stopped by command, or are not wanted, and stay down.
            if state.intent.is_to_run() {
                match (state.is_used_up(), state.phase) {
                    (false, _) => {
                        if !self.quarantine_if_survived(child) && !self.park_if_paused(child) {
                            self.enqueue_start(child);
                        }
                    }
                    (true, Phase::Idle(IdleReason::Finished)) => {}
                    (true, _) => {
                        self.set_phase(child, Phase::Idle(IdleReason::Finished));
                        self.emit(child, || EventKind::Finished);
                    }
                }
            }
        }
        self.mark_to_evaluate(Some(sup));
    }

    /// Handles the report that a leaf's attempt is ready, or that a supervisor's dedicated runtime was made.
    pub(super) fn reported_ready(&mut self, child: Index) {
        match &self.arena[child].sup {
            Some(sup) if sup.phase == SupervisorPhase::OpeningRuntime => self.start_children(child),
            Some(_) => {}
            None => self.begin_startup_checks(child),
        }
    }

    /// Begins the startup checks of a child that has reported that it is ready. Without them the child is ready.
    fn begin_startup_checks(&mut self, child: Index) {
        let begun = self.arena[child].record.as_ref().is_some_and(|record| record.checks.is_some());
        if self.arena[child].phase == Phase::Starting && !begun && !self.begin_checks(child, true) {
            self.mark_ready(child);
        }
    }

    /// Notes that the attempt is ready. A late or repeated report changes nothing.
    pub(super) fn mark_ready(&mut self, child: Index) {
        if self.arena[child].phase == Phase::Starting {
            self.set_ready(child);
        }
    }

    /// Makes the child ready: its live attempt is starting, or was begun just now.
    fn set_ready(&mut self, child: Index) {
        self.set_phase(child, Phase::Running);
        let now = self.now;
        let state = &mut self.arena[child];
        let first = state.readiness == Readiness::Never;
        state.readiness = Readiness::Reached;
        state.flags.attempt_ready = true;
        state.flags.start_requested = false;
        let (took, parent, has_record) = (now.since(state.started), state.parent, state.record.is_some());
        let (id, attempt) = (ChildId { slot: child.slot(), serial: state.serial }, Attempt(state.attempt));
        let spec = &state.spec;
        let (beats, has_checks, run_within) =
            (spec.heartbeat.is_some(), spec.has_check(false), spec.run_within);
        self.emit(child, || EventKind::Ready { attempt, took });
        if beats {
            let record = self.arena.record_or_new(child);
            (record.last_beat, record.judged_from) = (now, None);
            self.schedule_heartbeat_check(child);
        }
        if has_checks {
            self.begin_checks(child, false);
        }
        // Most children that were never restarted have no record.
        if has_record {
            self.end_start(child, id, attempt);
        }
        if let Some(within) = run_within {
            self.set_timer_in(child, Purpose::Run, within);
        }
        self.tell_ready(id, attempt);
        match parent {
            None if first => self.push(Effect::TreeReady),
            None => {}
            // No sibling waits for the readiness of a member.
            Some(sup) if self.arena.sup(sup).is_group() => {}
            Some(_) => self.mark_to_evaluate(parent),
        }
    }

    /// Ends what waited for the readiness of a child: the commands that start it, and the time until a trial is judged begins.
    fn end_start(&mut self, child: Index, id: ChildId, attempt: Attempt) {
        let Some(record) = &mut self.arena[child].record else { return };
        // Later events do not follow from the last command.
        record.command_open = false;
        if record.trial {
            let stable_at = self.now.after(self.arena[child].spec.reset_after());
            self.set_timer(child, Purpose::Phase, stable_at);
        }
        self.answer_starts(child, || Ok(Outcome::Ready { id, attempt }));
    }

    pub(super) fn schedule_heartbeat_check(&mut self, child: Index) {
        if let Some(period) = self.arena[child].spec.heartbeat {
            let until_check = (period / HEARTBEAT_CHECKS).max(Duration::from_millis(1));
            self.set_timer_in(child, Purpose::Heartbeat, until_check);
        }
    }
}
