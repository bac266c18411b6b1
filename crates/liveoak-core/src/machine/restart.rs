//! Restarts. A restart counts against the limits, waits for the backoff, and takes down the restart set. If a limit is
//! exceeded, the supervisor gives up on the child.

use super::Machine;
use super::state::{Index, Phase};
use crate::window::LimitCheck;
use crate::{EventKind, Exit, GiveUp, IdleReason, Limit, LimitExceeded, Restart};
use std::sync::Arc;
use std::time::Duration;

/// What exceeds a limit.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Measure {
    /// The restarts of the child within the period of its own limit.
    OwnWindow,
    /// The failures of the child in a row.
    OwnRow,
    /// The restarts of all children within the period of their supervisor's intensity.
    Intensity,
}

impl Machine {
    /// Restarts a child whose attempt ended by itself with `exit`.
    ///
    /// The restart counts against the limit of the child and against the intensity of its supervisor. If one of them is
    /// exceeded, the supervisor gives up on the child. Otherwise the backoff decides the delay, and the strategy decides
    /// the restart set. A restart that the child asked for counts against nothing and has no delay, as long as
    /// [`is_free_request`](Self::is_free_request) allows it.
    pub(super) fn restart(&mut self, sup: Index, child: Index, exit: Exit) {
        let mut wait = (Duration::ZERO, 0);
        if !(exit.is_restart_request() && self.is_free_request(sup, child)) {
            if let Some((limit, exceeded)) = self.record_restart(sup, child, &exit) {
                return self.give_up(sup, child, limit.give_up, exceeded);
            }
            wait = if counts_as_failure(&exit) {
                self.next_delay(child, |steps| &mut steps.failures)
            } else {
                self.next_delay(child, |steps| &mut steps.ends)
            };
        }
        let (delay, nth) = wait;
        let flags = &mut self.arena[child].flags;
        flags.restarts_next = true;
        // A command waits for this attempt only, not for the restart that follows.
        if !flags.attempt_ready {
            self.refuse_starts(child, &exit);
        }
        if let Some(siblings) = self.restart_set(sup, child) {
            self.take_down(sup, child, &siblings);
        }
        if self.quarantine_if_survived(child) {
            return;
        }
        self.back_off(child, delay, nth);
    }

    /// Counts a restart that a child asked for. Returns `true` if it has no cost. A failed first start, and more requests
    /// than [`Limit::OF_RESTART_REQUESTS`], are ordinary failures.
    fn is_free_request(&mut self, sup: Index, child: Index) -> bool {
        let now = self.now;
        let failed_start = !self.arena[child].flags.attempt_ready && self.is_first_start(sup, child);
        let requests = self.arena.record_or_new(child).restart_requests.get_or_insert_default();
        let check = requests.record(&Limit::OF_RESTART_REQUESTS, now);
        check == LimitCheck::Allowed && !failed_start
    }

    /// Counts a restart against the limit and the intensity. Returns the exceeded one. If both are exceeded, returns
    /// the limit of the child.
    fn record_restart(&mut self, sup: Index, child: Index, exit: &Exit) -> Option<(Limit, LimitExceeded)> {
        let now = self.now;
        let intensity = self.arena.sup(sup).rules.intensity;
        let own = self.arena[child].spec.limit;
        // If the child has no limit and its supervisor has no intensity, the default limit applies.
        let own = own.or_else(|| intensity.is_none().then_some(Limit::DEFAULT_OF_A_CHILD));
        // Each of them counts the restart, even if the first is already exceeded.
        let mut first = None;
        let mut check = |limit, measure, check| {
            if let LimitCheck::Exceeded(count) = check {
                first.get_or_insert((limit, measure, count));
            }
        };
        if let Some(limit) = own {
            let record = self.arena.record_or_new(child);
            check(limit, Measure::OwnWindow, record.window.record(&limit, now));
            if counts_as_failure(exit) {
                check(limit, Measure::OwnRow, record.failures.record(&limit));
            }
        }
        if let Some(limit) = intensity {
            check(limit, Measure::Intensity, self.arena.sup_mut(sup).window.record(&limit, now));
        }
        let (limit, measure, count) = first?;
        let exceeded = LimitExceeded {
            path: self.arena.path_of(child),
            child: self.arena.name_of(child),
            exit: exit.clone(),
            count,
            allowed: limit.restarts,
            period: limit.period,
            retry_after: limit.give_up.retry_after(),
            own_limit: measure != Measure::Intensity,
            in_a_row: measure == Measure::OwnRow,
        };
        Some((limit, exceeded))
    }

    /// Takes the siblings of a restart set down, and lets the whole set start in order. [`advance`](Self::advance)
    /// stops the live children of the set. The other children wait for their turn, except children that were stopped by
    /// command, quarantined (C30, C31) or paused, and temporary children that are down.
    fn take_down(&mut self, sup: Index, failed: Index, siblings: &[Index]) {
        let state = self.arena.sup_mut(sup);
        // Children after the cursor may have to be asked again.
        state.stop_cursor = state.ordered().len();
        let mut count = 1;
        for &child in siblings {
            let state = &self.arena[child];
            let to_run = state.intent.is_to_run();
            let starts_again = match state.phase {
                Phase::Waiting if state.is_trial() => {
                    self.end_trial(child);
                    false
                }
                Phase::Starting | Phase::Running | Phase::Stopping { .. } => {
                    let to_run = to_run && !state.is_trial() && !state.flags.paused;
                    // The restart set also waits for a child that is already stopping, even if the child does not start
                    // again.
                    self.mark_in_restart_set(child);
                    to_run
                }
                Phase::Waiting | Phase::BackingOff => true,
                Phase::Idle(IdleReason::Finished | IdleReason::Ignored) => {
                    to_run && state.spec.restart != Restart::Temporary && !state.flags.paused
                }
                Phase::Idle(
                    IdleReason::SupervisorDown
                    | IdleReason::StoppedByCommand
                    | IdleReason::NotWanted
                    | IdleReason::Paused
                    | IdleReason::Quarantined,
                ) => false,
            };
            if starts_again && !self.arena[child].phase.is_live() {
                self.arena[child].begin_ordered_start();
                self.enqueue_start(child);
            }
            count += usize::from(starts_again);
        }
        self.arena[failed].begin_ordered_start();
        // For a single child, the events of this child are enough.
        if count > 1 {
            self.emit(sup, || EventKind::RestartSet { children: count });
        }
    }

    /// Gives up on a child that exceeded a limit: the child is quarantined, or its supervisor fails.
    fn give_up(&mut self, sup: Index, child: Index, what: GiveUp, exceeded: LimitExceeded) {
        let exceeded = Arc::new(exceeded);
        let record = self.arena.record_or_new(child);
        record.gave_up = Some(Arc::clone(&exceeded));
        if exceeded.own_limit {
            // The counts are reset, so the full number of restarts is allowed after the next start of the supervisor.
            record.failures.clear();
            record.window.clear();
        }
        // Commands are answered before the child is down.
        self.refuse_starts(child, &exceeded.exit);
        self.arena[child].flags.start_requested = false;
        match what {
            GiveUp::Quarantine { .. } => {
                let held = self.held_significant(sup);
                self.emit(child, || EventKind::Quarantined(Arc::clone(&exceeded)));
                self.set_phase(child, Phase::Idle(IdleReason::Quarantined));
                self.schedule_trial(child);
                // A significant child that was given up on has ended, and is not restarted.
                let significant = self.arena[child].spec.significant;
                if self.ends_a_significant_child(sup, significant, held) && self.ends_by_auto_shutdown(sup) {
                    self.end_by_auto_shutdown(sup, None);
                }
                self.mark_to_evaluate(Some(sup));
            }
            GiveUp::Escalate => {
                self.set_phase(child, Phase::Idle(IdleReason::SupervisorDown));
                self.emit(sup, || EventKind::GaveUp(Arc::clone(&exceeded)));
                self.end_supervisor(sup, Exit::GaveUp(exceeded));
            }
        }
    }
}

/// Returns `true` if a restart after this exit counts as one after a failure. Of the requests for a restart, only those that
/// are not free come here.
const fn counts_as_failure(exit: &Exit) -> bool {
    exit.is_failure() || exit.is_restart_request()
}
