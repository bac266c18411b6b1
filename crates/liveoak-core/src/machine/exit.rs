//! The end of an attempt, and what follows the exit: a restart, the end of the child, or a failed start.

use super::state::{Index, Intent, Phase, Readiness, SupervisorPhase};
use super::{Machine, Outcome};
use crate::decide::{Verdict, decide};
use crate::{AutoShutdownFailure, EventKind, Exit, Health, IdleReason, Restart, StartFailure, StopStage};
use std::sync::Arc;
use std::time::Duration;

impl Machine {
    /// Handles the report that an attempt has ended. From a supervisor, such a report means that its dedicated runtime has ended.
    pub(super) fn reported_exit(&mut self, child: Index, exit: Exit) {
        let Some(sup) = &mut self.arena[child].sup else {
            return self.on_attempt_ended(child, exit, StopStage::Asked);
        };
        match sup.phase {
            // Either the runtime could not be made and no child has started, or it was closed after the last child
            // ended.
            phase @ (SupervisorPhase::OpeningRuntime | SupervisorPhase::ClosingRuntime) => {
                sup.phase = SupervisorPhase::Down;
                let closed = phase == SupervisorPhase::ClosingRuntime && !exit.is_failure();
                self.on_attempt_ended(child, if closed { Exit::Stopped } else { exit }, StopStage::Asked);
            }
            SupervisorPhase::Down
            | SupervisorPhase::Starting
            | SupervisorPhase::Up
            | SupervisorPhase::Stopping => {
                // The runtime ended by itself: there is nothing to close after the children have ended.
                sup.runtime_lost = true;
                self.end_supervisor(child, exit);
            }
        }
    }

    /// Handles the report that the body of a leaf has ended, but that other parts of the attempt still run. These
    /// subtasks are stopped within the stop deadline. A stop that has already begun is not changed.
    pub(super) fn reported_ending(&mut self, child: Index, exit: Exit) {
        let state = &self.arena[child];
        if state.sup.is_none() && matches!(state.phase, Phase::Starting | Phase::Running) {
            self.arena.record_or_new(child).cause = Some(exit);
            self.begin_stop(child);
        }
    }

    /// Ends an attempt. Every attempt that began ends here.
    ///
    /// If others stopped the child, the reason of that stop decides what follows. Otherwise the exit decides: either the
    /// reported exit, or the `cause` for which the machine stopped the child (a start timeout, the end of its longest run, a
    /// failed check, a missed heartbeat, a body that ended before its subtasks, the failure of a supervisor's child).
    pub(super) fn on_attempt_ended(&mut self, child: Index, exit: Exit, stage: StopStage) {
        let state = &self.arena[child];
        let parent = state.parent;
        let sup = parent.map(|parent| self.arena.sup(parent));
        let is_member = sup.is_some_and(|sup| sup.is_group());
        // A command, a restart set or the stop of the supervisor may have decided already what follows.
        let overruled = state.intent != Intent::Run
            || state.flags.in_restart_set
            || sup.is_some_and(|sup| sup.is_ending());
        let was_stopping = state.phase.is_stopping();
        let killed = state.phase == (Phase::Stopping { killed: true });
        // A child that ends between its kill and its abandonment was killed.
        let stage = if killed { stage.max(StopStage::Killed) } else { stage };
        let (ran, took) = (self.now.since(state.started), self.now.since(state.since));
        let (id, attempt) = self.arena.attempt_of(child);
        let (mut cause, mut was_trial) = (None, false);
        let state = &mut self.arena[child];
        if let Some(record) = &mut state.record {
            // A reported health applies only to the attempt that reported it.
            (record.health, record.health_reason) = (Health::Unknown, None);
            cause = record.cause.take();
            (record.asked_at, record.killed_at) = (None, None);
            was_trial = record.trial;
            if stage == StopStage::Abandoned {
                // Only an abandoned attempt still runs code that can ask for the exit before it.
                record.exit_before.clone_from(&record.last_exit);
            } else {
                record.exit_before = None;
                // Only processes that outlive an abandoned attempt prevent a restart.
                record.survivors = None;
            }
        }
        let stopped_by_others = was_stopping && cause.is_none();
        state.flags.stopped_by_others = stopped_by_others;
        let exit = match cause {
            // Processes that are still alive matter more than the reason of the stop.
            Some(_) if matches!(exit, Exit::StillRuns(_)) => exit,
            // The body succeeded, but the rest of the attempt failed.
            Some(cause) if exit.is_failure() && !cause.is_failure() => exit,
            Some(cause) => cause,
            None => exit,
        };
        // A child that was stopped before it was done has not succeeded, whatever its exit is.
        self.judge_attempt(child, exit.is_success() && !stopped_by_others);
        self.record_exit(child, is_member, ran, &exit, stopped_by_others);
        self.emit(child, || EventKind::Exited { attempt, exit: exit.clone(), ran, stopped_by_others });
        self.tell_exit(id, attempt, &exit);
        if was_trial && (self.is_stable(child) || exit.is_success() && !stopped_by_others) {
            self.end_quarantine(child);
        }
        if overruled || stopped_by_others {
            // A child that ended by itself while other children stop was not asked, so its stop took no time.
            let took = if was_stopping { took } else { Duration::ZERO };
            self.log_stop(child, took, stage, Some(&exit));
            self.after_stop_by_others(child, stage, Some(exit));
        } else {
            let forced = self.take_forced(child);
            self.on_own_exit(child, exit);
            if forced.is_some() {
                self.keep_forced(parent, child, id, forced);
            }
        }
    }

    /// Decides what follows an attempt that ended by itself. A trial that has not ended the quarantine goes back into it. If a command asked for the start, a failed start is its
    /// answer. A failed start in a first start fails the supervisor, unless the supervisor retries first starts and a
    /// later attempt may succeed. Otherwise the table restart × exit decides.
    pub(super) fn on_own_exit(&mut self, child: Index, exit: Exit) {
        let state = &mut self.arena[child];
        let (flags, restart) = (state.flags, state.restart);
        let record = state.record.get_or_insert_default();
        record.last_exit = Some(exit.clone());
        let is_trial = record.trial;
        let Some(sup) = state.parent else { return self.tree_ended(exit) };
        if is_trial {
            return self.end_trial(child);
        }
        if !flags.attempt_ready && is_failed_start(restart, &exit) {
            if flags.start_requested {
                return self.requested_start_failed(child, &exit);
            }
            // Only a declared child that was never ready fails its starting supervisor. Later failures lead to restarts.
            let fails = !flags.paused && (self.may_fail_first_start(sup, child) || !exit.is_retryable());
            if fails && self.is_first_start(sup, child) {
                return self.first_start_failed(sup, child, exit);
            }
        }
        match decide(restart, &exit) {
            Verdict::Restart if flags.paused => self.end_while_paused(child, &exit),
            Verdict::Restart => self.restart(sup, child, exit),
            Verdict::Finish => self.finish(sup, child, &exit),
            Verdict::Ignored => self.set_ignored(sup, child),
        }
    }

    /// Ends a failed start that a command or a change to a mode asked for. The child stays down. If it was added and never ready, it leaves the
    /// tree (C10, C13).
    fn requested_start_failed(&mut self, child: Index, exit: &Exit) {
        let parent = self.arena[child].parent;
        self.refuse_starts(child, exit);
        let of_mode = self.arena[child].record.as_ref().is_some_and(|record| record.wanted_if_it_starts);
        // A manual child can be tried again by what needs it.
        let (intent, why) = match of_mode || self.arena[child].spec.manual {
            true => (Intent::Unwanted, IdleReason::NotWanted),
            false => (Intent::Stop, IdleReason::StoppedByCommand),
        };
        let stage = StopStage::Cancelled;
        self.emit(child, || EventKind::Stopped { stage, why });
        self.forget_wish(child);
        let state = &mut self.arena[child];
        let leaves = state.flags.added && state.readiness == Readiness::Never;
        state.flags.start_requested = false;
        state.intent = intent;
        self.set_idle(child, why, leaves);
        self.mark_to_evaluate(parent);
    }

    /// Fails a supervisor because a child failed while the supervisor was starting. The children that were started are
    /// stopped.
    fn first_start_failed(&mut self, sup: Index, child: Index, exit: Exit) {
        self.set_phase(child, Phase::Idle(IdleReason::SupervisorDown));
        self.let_go_if_over(child);
        self.refuse_starts(child, &exit);
        let failure = match exit {
            Exit::StartFailed(failure) => failure,
            exit => Arc::new(StartFailure { path: self.arena.path_of(child), exit }),
        };
        self.emit(sup, || EventKind::StartFailed(Arc::clone(&failure)));
        self.end_supervisor(sup, Exit::StartFailed(failure));
    }

    /// Sets a child idle because it is not needed; it counts as started (C5 and C36).
    fn set_ignored(&mut self, sup: Index, child: Index) {
        self.arena[child].flags.start_requested = false;
        self.emit(child, || EventKind::Ignored);
        self.answer_starts(child, || Ok(Outcome::Ignored));
        self.set_idle(child, IdleReason::Ignored, self.leaves_at_end(child));
        self.mark_to_evaluate(Some(sup));
    }

    /// Sets a child idle because it ended for good. The end of a significant child may end its supervisor (C45 to C47).
    fn finish(&mut self, sup: Index, child: Index, exit: &Exit) {
        let significant = self.arena[child].spec.significant;
        let leaves = self.leaves_at_end(child);
        let leaves_with_failure = leaves && exit.is_failure() && !self.arena.is_member(child);
        let failure = (significant && exit.is_failure() || leaves_with_failure)
            .then(|| Arc::new(AutoShutdownFailure { path: self.arena.path_of(child), exit: exit.clone() }));
        self.arena[child].flags.start_requested = false;
        self.emit(child, || EventKind::Finished);
        if exit.is_failure() {
            self.refuse_starts(child, exit);
        } else {
            self.answer_starts(child, || Ok(Outcome::Finished { exit: exit.clone() }));
        }
        let held = self.held_significant(sup);
        self.set_idle(child, IdleReason::Finished, leaves);
        if leaves_with_failure {
            let left = self.arena.sup_mut(sup);
            left.failed_job = left.failed_job.take().or_else(|| failure.clone());
            if significant {
                left.left_with_failure = left.left_with_failure.take().or_else(|| failure.clone());
            }
        }
        let failure = failure.filter(|_| significant);
        if self.ends_a_significant_child(sup, significant, held) && self.ends_by_auto_shutdown(sup) {
            self.end_by_auto_shutdown(sup, failure);
        }
        self.mark_to_evaluate(Some(sup));
    }

    /// Returns `true` if a child leaves the tree when it has ended for good.
    fn leaves_at_end(&self, child: Index) -> bool {
        let state = &self.arena[child];
        self.arena.is_member(child) || state.flags.added && state.spec.restart == Restart::Temporary
    }
}

/// Returns `true` if an exit before readiness is a failed start. A request for a restart is one, because the child is
/// not ready although its start is over. A transient or temporary child that succeeds before
/// it is ready has finished. A permanent child was expected to continue to run.
fn is_failed_start(restart: Restart, exit: &Exit) -> bool {
    exit.is_failure()
        || exit.is_restart_request()
        || restart == Restart::Permanent && !matches!(exit, Exit::Ignored)
}
