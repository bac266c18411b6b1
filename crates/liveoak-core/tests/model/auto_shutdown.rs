//! The reference model: limits, giving up on a child, when a supervisor ends with its significant children, and whether
//! that is a failure.

use crate::child::{Child, Mode, NEVER, Path, Phase, is_failure, later};
use crate::reference::{Model, above};
use liveoak_core::{AutoShutdown, GiveUp, IdleReason, Limit};
use std::time::Duration;

impl Model {
    /// Returns how many significant children are held, or 0 if their number cannot end the supervisor.
    pub(crate) fn held_significant(&self, parent: &str) -> usize {
        let auto = self.at(parent).rules().map_or(AutoShutdown::Never, |rules| rules.auto_shutdown);
        if auto != AutoShutdown::AllSignificant {
            return 0;
        }
        let held = |kid: &&Path| self.at(kid).spec.significant && self.waits_for_held(kid);
        self.kids(parent).iter().filter(held).count()
    }

    /// Returns `true` if a significant child has ended, or is held from now on after another one has ended.
    pub(crate) fn ends_a_significant_child(&self, parent: &str, own: bool, held_before: usize) -> bool {
        let ended = |kid: &Path| {
            let child = self.at(kid);
            let by_itself = child.phase == Phase::Idle(IdleReason::Finished) && !child.stopped_by_others;
            child.spec.significant && (by_itself || child.is_given_up_on())
        };
        let more_held = || self.held_significant(parent) > held_before;
        let any_ended = || self.at(parent).failure_left || self.kids(parent).iter().any(ended);
        own || more_held() && any_ended()
    }

    pub(crate) fn ends_by_auto_shutdown(&self, parent: &str) -> bool {
        let auto = self.at(parent).rules().map_or(AutoShutdown::Never, |rules| rules.auto_shutdown);
        let left = self.kids(parent).iter().any(|kid| {
            let child = self.at(kid);
            child.spec.significant
                && (child.lives() && !child.trial || child.pending() && !self.blocks_no_sibling(kid))
        });
        auto == AutoShutdown::AnySignificant || auto == AutoShutdown::AllSignificant && !left
    }

    pub(crate) fn end_by_auto_shutdown(&mut self, parent: &str, last_failed: bool) {
        let failed = |kid: &Path| {
            let child = self.at(kid);
            let by_itself = child.phase == Phase::Idle(IdleReason::Finished) && !child.stopped_by_others;
            let failed = by_itself && child.last_exit.is_some_and(is_failure);
            child.spec.significant && (failed || child.is_given_up_on())
        };
        let any_failed = last_failed || self.at(parent).failure_left || self.kids(parent).iter().any(failed);
        self.fail_supervisor(parent, if any_failed { "auto-shutdown-failed" } else { "auto-shutdown" });
    }

    pub(crate) fn give_up(&mut self, parent: &str, path: &str, how: GiveUp) {
        self.of(path).gave_up = true;
        self.of(path).retry_after = how.retry_after();
        if !self.at(path).attempt_ready || how != GiveUp::Escalate {
            self.answer_failed_start(path);
        }
        self.of(path).start_by_command = false;
        match how {
            GiveUp::Quarantine { .. } => {
                let held = self.held_significant(parent);
                self.quarantine(path);
                let own = self.at(path).spec.significant;
                if self.ends_a_significant_child(parent, own, held) && self.ends_by_auto_shutdown(parent) {
                    self.end_by_auto_shutdown(parent, own);
                }
            }
            GiveUp::Escalate => {
                self.set(path, Phase::Idle(IdleReason::SupervisorDown));
                self.fail_supervisor(parent, "gave-up");
            }
        }
    }

    // Trials of quarantined children.

    /// Quarantines a child, and sets the time of its next trial.
    fn quarantine(&mut self, path: &str) {
        self.set(path, Phase::Idle(IdleReason::Quarantined));
        self.schedule_trial(path);
    }

    /// Sets the time of the next trial of a child that was given up on. There is none while processes are alive.
    pub(crate) fn schedule_trial(&mut self, path: &str) {
        let now = self.now;
        let child = self.of(path);
        let retry_after =
            child.retry_after.filter(|_| child.survivors.is_none() && !child.paused && !child.unwanted);
        child.trial_timer = retry_after.map_or(NEVER, |retry_after| later(now, retry_after));
    }

    /// Puts a child whose trial has ended or was cancelled back into quarantine.
    pub(crate) fn end_trial(&mut self, path: &str) {
        self.quarantine(path);
        self.of(path).trial_failed = true;
    }

    /// Ends the quarantine of a child during its trial.
    pub(crate) fn end_quarantine(&mut self, path: &str) {
        let child = self.of(path);
        (child.trial, child.gave_up, child.trial_timer, child.trial_held) = (false, false, NEVER, true);
    }

    /// Begins the trial of a quarantined child, or judges a trial that is ready.
    pub(crate) fn fire_trial(&mut self, path: &str) {
        self.of(path).trial_timer = NEVER;
        if self.at(path).phase != Phase::Running {
            let parent = above(path).expect("the root is never quarantined");
            if matches!(self.at(&parent).mode, Mode::Starting | Mode::Up) {
                let child = self.of(path);
                (child.trial, child.restarting) = (true, !child.stopped_by_others);
                self.start_or_wait(path);
            }
        } else if self.is_stable_now(path) {
            self.end_quarantine(path);
        } else {
            let (now, jump) = (self.now, self.last_jump);
            let child = self.of(path);
            let stable_at = later(child.ready_since.max(jump), child.reset_after());
            child.trial_timer = if stable_at > now { stable_at } else { later(now, child.reset_after()) };
        }
    }
}

/// Counts a restart against a child's own limit: within the period, and in a row if it failed.
pub(crate) fn too_many_of_one(child: &mut Child, limit: &Limit, now: u64, failed: bool) -> bool {
    child.failures_in_a_row += u32::from(failed);
    let in_a_row = failed && limit.restarts != Limit::UNLIMITED && child.failures_in_a_row > limit.restarts;
    let within_period = too_many(&mut child.restart_times, limit, now);
    child.row_exceeded = in_a_row && !within_period;
    in_a_row || within_period
}

/// Counts a restart. Returns `true` if there are now more within the period than the limit allows.
pub(crate) fn too_many(restart_times: &mut Vec<u64>, limit: &Limit, now: u64) -> bool {
    restart_times.push(now);
    let recent =
        restart_times.iter().filter(|then| Duration::from_nanos(now - **then) <= limit.period).count();
    limit.restarts != Limit::UNLIMITED && recent > limit.restarts as usize
}
