//! One deadline per child, exactly cancelled.

use super::node::Phase;
use super::{Effect, Machine};
use crate::{Exit, IdleReason, Time};
use std::time::Duration;

/// How often within its period a heartbeat is looked for: a stuck child is caught at most a quarter late.
const HEARTBEAT_CHECKS: u32 = 4;

impl Machine {
    /// Sets or, with [`Time::NEVER`], takes off the timer of a child.
    pub(super) fn set_timer(&mut self, i: u32, at: Time) {
        let before = std::mem::replace(&mut self.node_mut(i).timer, at);
        if before != at {
            if before != Time::NEVER {
                self.timers.remove(&(before, i));
            }
            if at != Time::NEVER {
                self.timers.insert((at, i));
            }
        }
    }

    pub(super) fn set_timer_in(&mut self, i: u32, duration: Duration) {
        let at = self.now.after(duration);
        self.set_timer(i, at);
    }

    /// Fires everything that is due.
    pub(super) fn tick(&mut self) {
        while let Some(&(at, i)) = self.timers.first() {
            if at > self.now {
                break;
            }
            self.set_timer(i, Time::NEVER);
            self.fire(i);
        }
    }

    fn fire(&mut self, i: u32) {
        match self.node(i).phase {
            Phase::BackingOff => self.ready_to_start(i),
            Phase::Starting => {
                let within = self.node(i).spec.start_within;
                self.book(i).cause = Some(Exit::StartTimeout(within));
                self.begin_stop(i);
            }
            Phase::Running => self.check_heartbeat(i),
            Phase::Stopping { .. } if self.node(i).sup.is_some() => self.next_point_of_plan(i),
            Phase::Stopping { killed: false } => self.kill(i),
            Phase::Stopping { killed: true } => self.abandon(i),
            Phase::Waiting => {
                self.book(i).patience = Some(Duration::ZERO);
                let parent = self.node(i).parent;
                self.mark_dirty(parent);
            }
            Phase::Idle(
                IdleReason::SupervisorDown
                | IdleReason::StoppedByRequest
                | IdleReason::Finished
                | IdleReason::Ignored
                | IdleReason::Quarantined,
            ) => {}
        }
    }

    /// Begins to watch the heartbeat of a child that became ready, if it promised one.
    pub(super) fn watch_heartbeat(&mut self, i: u32) {
        if let Some(period) = self.node(i).spec.heartbeat {
            let now = self.now;
            self.book(i).last_beat = now;
            self.set_timer_in(i, heartbeat_check(period));
        }
    }

    fn check_heartbeat(&mut self, i: u32) {
        if let Some(period) = self.node(i).spec.heartbeat {
            self.set_timer_in(i, heartbeat_check(period));
            let (id, attempt) = self.attempt_of(i);
            self.push(Effect::CheckHeartbeat { id, attempt });
        }
    }

    pub(super) fn reported_heartbeat(&mut self, i: u32, beaten: bool) {
        let (now, node) = (self.now, self.node(i));
        let Some(period) = node.spec.heartbeat else { return };
        if node.phase != Phase::Running {
            return;
        }
        if beaten {
            self.book(i).last_beat = now;
        } else if now.since(self.book(i).last_beat) >= period {
            // A stuck child does not hear that it should stop: it is killed at once.
            self.book(i).cause = Some(Exit::HeartbeatTimeout(period));
            self.kill(i);
        }
    }
}

fn heartbeat_check(period: Duration) -> Duration {
    (period / HEARTBEAT_CHECKS).max(Duration::from_millis(1))
}
