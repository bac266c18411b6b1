//! The health of one child: what it reports, what its checks say, and what its state means.

use super::state::{Child, Phase, SupervisorState};
use crate::{Exit, Health, IdleReason, StuckPoll, WhenStuck};
use std::sync::Arc;

impl Child {
    /// Returns the health of the child: the reported health while it runs, otherwise the health of its state. A running
    /// supervisor has the health of its worst child.
    #[inline]
    pub(super) fn health_now(&self) -> Health {
        // Most children run, and neither they nor a check have said anything.
        let is_silent = self.sup.is_none()
            && self.record.as_ref().is_none_or(|record| {
                !record.trial
                    && record.health == Health::Unknown
                    && record.checks.is_none()
                    && record.stuck.is_none()
            });
        if self.phase == Phase::Running && is_silent { self.least_health() } else { self.health_of_phase() }
    }

    fn health_of_phase(&self) -> Health {
        match self.phase {
            _ if self.is_trial() => Health::Unhealthy,
            Phase::Running => {
                let own = self.own_health();
                self.sup.as_ref().map_or(own, |sup| own.max(sup.worst_child()))
            }
            Phase::Idle(IdleReason::Finished) if self.last_exit().is_some_and(Exit::is_failure) => {
                Health::Degraded
            }
            Phase::Idle(IdleReason::Ignored | IdleReason::Finished | IdleReason::NotWanted) => {
                Health::Healthy
            }
            Phase::Idle(IdleReason::StoppedByCommand | IdleReason::Paused) => Health::Degraded,
            Phase::Waiting | Phase::Starting => Health::Degraded,
            Phase::Stopping { .. } => Health::Degraded,
            // A child that went down with its supervisor has not failed, unless it had failed before.
            Phase::Idle(IdleReason::SupervisorDown) if !self.has_failed() => Health::Degraded,
            Phase::Idle(IdleReason::SupervisorDown | IdleReason::Quarantined) => Health::Unhealthy,
            Phase::BackingOff => Health::Unhealthy,
        }
    }

    /// Returns the health of a running leaf of which nothing is said yet.
    #[inline]
    pub(super) fn least_health(&self) -> Health {
        if self.spec.has_health() { Health::Healthy } else { Health::Unknown }
    }

    /// Returns the health of a running leaf: the worse of what it reports and of what its checks say.
    fn own_health(&self) -> Health {
        let least = self.least_health();
        let Some(record) = &self.record else { return least };
        let checked = record.checks.as_ref().map_or(Health::Unknown, |checks| checks.health());
        let stuck = if self.poll_that_counts().is_some() { Health::Unhealthy } else { Health::Unknown };
        record.health.max(checked).max(stuck).max(least)
    }

    /// Returns why the child has its health, if a check or the child itself says so.
    pub(super) fn health_reason(&self) -> Option<Arc<str>> {
        let record = self.record.as_ref().filter(|_| self.phase == Phase::Running)?;
        let checked = record.checks.as_ref().map_or(Health::Unknown, |checks| checks.health());
        let stuck = || self.poll_that_counts().map(|poll| poll.to_string().into());
        // Of two that are equally bad, what the child itself or a check says comes first.
        if record.health.max(checked) < Health::Unhealthy
            && let Some(reason) = stuck()
        {
            return Some(reason);
        }
        let checks = record.checks.as_ref().filter(|checks| checks.health() > record.health);
        let said = checks.map_or_else(|| record.health_reason.clone(), |checks| checks.reason());
        said.or_else(stuck)
    }

    /// Returns the poll of the last attempt that exceeds its limit, or exceeded it when the attempt ended.
    pub(super) fn stuck_poll(&self) -> Option<&Arc<StuckPoll>> {
        let poll = self.record.as_ref()?.stuck.as_ref()?;
        Some(poll).filter(|poll| poll.attempt.0 == self.attempt)
    }

    /// Returns that poll if it makes the child unhealthy.
    fn poll_that_counts(&self) -> Option<&Arc<StuckPoll>> {
        self.stuck_poll().filter(|poll| poll.limit.when_stuck == WhenStuck::Unhealthy)
    }

    /// Returns `true` unless its last attempt failed, or ended before it was done. A child that was stopped by others before
    /// it was done has not succeeded, even if its exit is a success.
    pub(super) fn has_succeeded(&self) -> bool {
        let done =
            |exit: &Exit| !exit.is_failure() && !matches!(exit, Exit::Stopped | Exit::RestartRequested(_));
        !self.flags.stopped_by_others && self.last_exit().is_none_or(done)
    }

    /// Returns `true` if the child runs and a readiness check fails.
    pub(super) fn is_unready(&self) -> bool {
        let checks = self.record.as_ref().and_then(|record| record.checks.as_ref());
        self.phase == Phase::Running && checks.is_some_and(|checks| checks.is_unready())
    }
}

impl SupervisorState {
    /// Counts a child that now has (`true`) or no longer has (`false`) this health. Children that are well are not counted.
    pub(super) const fn count_health(&mut self, health: Health, is: bool) {
        let count = match health {
            Health::Unknown | Health::Healthy => return,
            Health::Degraded => &mut self.degraded,
            Health::Unhealthy => &mut self.unhealthy,
        };
        *count = if is { *count + 1 } else { *count - 1 };
    }

    /// Returns the health of the worst child.
    pub(super) const fn worst_child(&self) -> Health {
        match (self.unhealthy, self.degraded) {
            (0, 0) => Health::Healthy,
            (0, _) => Health::Degraded,
            _ => Health::Unhealthy,
        }
    }

    /// Counts a child whose health has changed. Returns `true` if the health of this supervisor may have changed too.
    #[inline]
    pub(super) const fn count_other_health(&mut self, before: Health, health: Health) -> bool {
        let is_other = before as u8 != health as u8 && !(is_well(before) && is_well(health));
        if is_other {
            self.count_health(before, false);
            self.count_health(health, true);
        }
        is_other
    }
}

/// Returns `true` if a child of this health does not change the health of its supervisor.
const fn is_well(health: Health) -> bool {
    matches!(health, Health::Unknown | Health::Healthy)
}
