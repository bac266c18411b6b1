//! What follows from the answers of checks.
//!
//! | check | fails: `failures` tries in a row have failed | passes (again): `successes` tries in a row have passed |
//! |---|---|---|
//! | startup | the start has failed: the attempt is stopped | the child is ready, if all its startup checks pass |
//! | readiness | the child is not ready, and degraded | the child is ready again, if all its readiness checks pass |
//! | liveness | the attempt is stopped, as a failure | |
//!
//! A stop because of a check is an ordinary stop: the child is asked, then killed. Its exit is
//! [`Exit::Unhealthy`]. A child that is not ready any more continues to run. Siblings that come `after` it, and are not
//! started yet, wait until it is ready again. The time since the last passed try does not make the attempt stable.

use super::check_run::{Answer, Change, Due};
use super::state::Index;
use super::time_jump::TimeJump;
use super::{Effect, Machine};
use crate::{CheckKind, EventKind, Exit, Unhealthy};
use std::sync::Arc;

impl Machine {
    /// Handles the answer to a try. A late or repeated answer changes nothing.
    pub(super) fn reported_check(&mut self, child: Index, index: u32, number: u64, answer: Answer) {
        if self.running_checks(child).is_some_and(|checks| checks.is_open(index, number)) {
            self.close_try(child, index, answer);
            self.schedule_checks(child);
        }
    }

    /// Begins the due tries of a child, and fails the tries that had no answer in time.
    pub(super) fn checks_due(&mut self, child: Index, jump: &mut TimeJump) {
        self.prolong_late_checks(child, jump);
        while let Some(due) = self.take_due_check(child) {
            let (id, attempt) = self.arena.attempt_of(child);
            match due {
                Due::Begun { index, number } => self.push(Effect::Check(id, attempt, index, number)),
                Due::Late { index } => {
                    self.push(Effect::EndCheck(id, attempt, index));
                    let timeout = self
                        .running_checks(child)
                        .and_then(|checks| checks.spec(index))
                        .map(|spec| spec.timeout);
                    let answer = format!("no answer within {:?}", timeout.unwrap_or_default());
                    self.close_try(child, index, Err(answer.into()));
                }
            }
        }
        self.schedule_checks(child);
    }

    /// Ends an open try, and does what follows.
    fn close_try(&mut self, child: Index, index: u32, answer: Answer) {
        let now = self.now;
        let stable = self.is_stable(child);
        let Some(checks) = self.running_checks(child) else { return };
        let was_unready = checks.is_unready();
        let reason = answer.clone().err().unwrap_or_default();
        let change = checks.close(index, now, answer);
        let (is_unready, has_started) = (checks.is_unready(), checks.has_started());
        let Some(spec) = checks.spec(index) else { return };
        let (kind, check) = (spec.kind, spec.name.clone());
        // An attempt that is stable once remains stable.
        checks.was_stable |= stable && change == Change::Passes;
        match (kind, change) {
            (_, Change::Nothing) | (CheckKind::Liveness, Change::Passes) => {}
            (CheckKind::Startup, Change::Passes) if has_started => self.mark_ready(child),
            (CheckKind::Startup, Change::Passes) => {}
            (CheckKind::Startup | CheckKind::Liveness, Change::Fails) => {
                let exit = Exit::Unhealthy(Arc::new(Unhealthy { check, reason }));
                self.arena.record_or_new(child).cause = Some(exit);
                self.begin_stop(child);
            }
            (CheckKind::Readiness, Change::Fails | Change::Passes) if was_unready == is_unready => {}
            (CheckKind::Readiness, Change::Fails | Change::Passes) => {
                let event =
                    if is_unready { EventKind::Unready { check, reason } } else { EventKind::ReadyAgain };
                self.emit(child, || event);
                self.refresh_health(child);
                self.mark_watching_supervisors(self.arena[child].parent);
            }
        }
    }
}
