//! What happens when a deadline has come, and what a child reports of its own health.

use super::state::{Index, Phase};
use super::timers::Purpose;
use super::{Effect, Machine};
use crate::{EventKind, Exit, Health, Time};
use std::time::Duration;

impl Machine {
    /// Handles every deadline that has come, the earliest first.
    pub(super) fn tick(&mut self) {
        while let Some((at, child, purpose)) = self.timers.earliest()
            && at <= self.now
        {
            // Cancelled first: what follows may set it anew.
            self.set_timer(child, purpose, Time::NEVER);
            match purpose {
                Purpose::Phase => self.phase_deadline(child),
                Purpose::Heartbeat => self.check_heartbeat(child),
                Purpose::Dependency => self.dependency_timeout(child),
            }
        }
    }

    fn phase_deadline(&mut self, child: Index) {
        match self.arena[child].phase {
            Phase::BackingOff => self.request_start(child),
            Phase::Starting => {
                let within = self.arena[child].spec.start_within;
                self.arena.record(child).cause = Some(Exit::StartTimeout(within));
                self.begin_stop(child);
            }
            Phase::Stopping { .. } if self.arena[child].sup.is_some() => self.next_point_of_plan(child),
            Phase::Stopping { killed: false } => self.kill(child),
            Phase::Stopping { killed: true } => self.abandon(child),
            Phase::Idle(_) | Phase::Waiting | Phase::Running => {}
        }
    }

    fn dependency_timeout(&mut self, child: Index) {
        self.arena.record(child).dependency_time_left = Some(Duration::ZERO);
        self.mark_to_evaluate(self.arena[child].parent);
    }

    fn check_heartbeat(&mut self, child: Index) {
        self.schedule_heartbeat_check(child);
        let (id, attempt) = self.arena.attempt_of(child);
        self.push(Effect::CheckHeartbeat(id, attempt));
    }

    /// Handles the answer to a check. A child without a heartbeat for its whole period is stuck: it would not notice that
    /// it is asked to stop, so it is killed at once.
    pub(super) fn reported_heartbeat(&mut self, child: Index, beaten: bool) {
        let now = self.now;
        let Some(period) = self.arena[child].spec.heartbeat else { return };
        if self.arena[child].phase != Phase::Running {
            return;
        }
        let record = self.arena.record(child);
        if beaten {
            record.last_beat = now;
        } else if now.since(record.last_beat) >= period {
            record.cause = Some(Exit::HeartbeatTimeout(period));
            self.kill(child);
        }
    }

    /// Notes the health that a child reports. Siblings of any supervisor above may wait for it.
    pub(super) fn reported_health(&mut self, child: Index, health: Health) {
        if std::mem::replace(&mut self.arena.record(child).health, health) != health {
            self.emit(child, || EventKind::Health(health));
            // Each supervisor above may have a child that waits for the health of this subtree.
            let mut above = self.arena[child].parent;
            while let Some(sup) = above {
                self.mark_to_evaluate(above);
                above = self.arena[sup].parent;
            }
        }
    }
}
