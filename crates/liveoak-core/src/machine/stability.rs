//! Which attempts are stable, and when the backoff and the row of failures begin anew: after a stable run, after a
//! success (only for restarts after failures), and when a command starts a child that was down (`forget_failures`).
//! Giving up on a child resets its row as well (`restart.rs`).
//!
//! The attempt of a leaf or of a group is stable after it has been ready for `reset_after` (of its backoff; 10 s
//! without one). The time between a request to stop and the end does not count. If a child missed a heartbeat, the time
//! since its last heartbeat does not count either. If a check fails, the time since it last passed does not count, and
//! when a child is ready again, its time begins anew. If the process was suspended, as late deadlines show, the time
//! before that does not count (`time_jump.rs`).
//!
//! The attempt of any other supervisor is stable once each of its declared children, in this attempt, had a stable
//! run or a success, or was stopped by command or paused, or is *held* (`condition.rs`). Added children do not count. A child
//! that runs only once, and ran in an earlier attempt, does not count either. If no child has run at all, the
//! supervisor is stable like a group.
//!
//! Stability is judged when the stop of an attempt begins, or else when the attempt has ended. The result is used when
//! the attempt has ended.

use super::Machine;
use super::state::{BackoffSteps, Index, Phase, Readiness, SupervisorState};
use crate::{Exit, Time};
use std::time::Duration;

/// A deadline that is seen later than this shows that the process did not run for a while.
pub(super) const LATE: Duration = Duration::from_secs(1);

impl Machine {
    /// Returns `true` if a deadline has passed for so long that the process did not run for a while.
    pub(super) fn is_late(&self) -> bool {
        self.timers.first().is_some_and(|(at, ..)| self.now.since(*at) > LATE)
    }

    /// Returns the moment since which the process has run, as far as the deadlines show.
    fn has_run_since(&self) -> Time {
        if self.is_late() { self.now } else { self.last_jump }
    }

    /// Returns `true` if the last attempt of a child is stable.
    #[inline(always)]
    pub(super) fn is_stable(&self, child: Index) -> bool {
        let state = &self.arena[child];
        // It was judged when its stop began.
        let is_judged = state.phase != Phase::Running || state.flags.attempt_stable;
        if is_judged { state.flags.attempt_stable } else { self.is_stable_so_far(child) }
    }

    fn is_stable_so_far(&self, child: Index) -> bool {
        let state = &self.arena[child];
        let checks = state.record.as_ref().and_then(|record| record.checks.as_deref());
        if checks.is_some_and(|checks| checks.was_stable) {
            return true;
        }
        match &state.sup {
            Some(sup) if !sup.is_group() => self.is_stable_supervisor(child, sup),
            _ => self.was_ready_long_enough(child),
        }
    }

    fn is_stable_supervisor(&self, child: Index, sup: &SupervisorState) -> bool {
        let mut any_ran = false;
        for &below in sup.ordered().iter().filter(|below| self.is_part_of_the_attempt(**below)) {
            let state = &self.arena[below];
            if state.flags.had_stable_run || self.is_stable(below) {
                any_ran = true;
            } else if state.intent.is_to_run()
                && !state.is_down_by_command()
                && !(state.phase == Phase::Waiting && state.flags.held)
            {
                return false;
            }
        }
        any_ran || self.was_ready_long_enough(child)
    }

    /// Returns `true` if a running child has been ready for `reset_after` without a break, as far as the deadlines and the
    /// heartbeats show.
    #[inline(always)]
    fn was_ready_long_enough(&self, child: Index) -> bool {
        let state = &self.arena[child];
        let enough = state.spec.reset_after();
        // Most attempts that fail end early, so the rest need not be looked up for them.
        self.now.since(state.since) >= enough && self.was_ready_without_break(child, enough)
    }

    fn was_ready_without_break(&self, child: Index, enough: Duration) -> bool {
        let state = &self.arena[child];
        let checks = state.record.as_ref().and_then(|record| record.checks.as_deref());
        let checked_since = checks.map_or(Time::ZERO, |checks| checks.ready_span().0);
        let ready_since = state.since.max(checked_since).max(self.has_run_since());
        self.ready_until(child).since(ready_since) >= enough
    }

    /// Returns `true` if a child could run in the present attempt of its supervisor, and was declared.
    fn is_part_of_the_attempt(&self, child: Index) -> bool {
        let state = &self.arena[child];
        // A child without further attempts that was not ready in this attempt of its supervisor has either succeeded
        // before it was ready, or ran in an earlier attempt.
        let ran_earlier =
            state.is_used_up() && state.readiness == Readiness::Never && !state.flags.had_stable_run;
        !state.flags.added && !ran_earlier
    }

    /// Returns the last moment at which a running child is known to have been ready.
    fn ready_until(&self, child: Index) -> Time {
        match &self.arena[child].record {
            Some(record) if matches!(record.cause, Some(Exit::HeartbeatTimeout(_))) => record.last_beat,
            Some(record) => {
                let failing = record.checks.as_ref().and_then(|checks| checks.ready_span().1);
                failing.unwrap_or(self.now)
            }
            None => self.now,
        }
    }

    /// Resets the row and the backoff of a child if its attempt was a stable run or a `success`. Called when the attempt
    /// has ended.
    #[inline]
    pub(super) fn judge_attempt(&mut self, child: Index, success: bool) {
        let stable = self.is_stable(child);
        if stable || success {
            self.note_good_attempt(child, stable);
        }
    }

    fn note_good_attempt(&mut self, child: Index, stable: bool) {
        let state = &mut self.arena[child];
        state.flags.had_stable_run = true;
        if let Some(record) = &mut state.record {
            record.failures.clear();
            record.backoff.failures = 0;
            // A loop of quick successes is slowed down too.
            if stable {
                (record.backoff.ends, record.backoff.stops) = (0, 0);
            }
        }
    }

    /// Forgets the failures of all children below a child, because a command starts it. Members of groups keep theirs: they
    /// leave the tree with their group, so the command does not start them, and there may be very many of them.
    pub(super) fn forget_failures_below(&mut self, child: Index) {
        for below in self.arena[child].sup.as_ref().map(|sup| sup.ordered().to_vec()).unwrap_or_default() {
            self.forget_failures(below);
        }
    }

    /// Forgets the failures of a child and of all children below it.
    pub(super) fn forget_failures(&mut self, child: Index) {
        if let Some(record) = &mut self.arena[child].record {
            record.failures.clear();
            record.backoff = BackoffSteps::default();
            record.window.clear();
            record.restart_requests = None;
        }
        self.forget_failures_below(child);
    }
}
