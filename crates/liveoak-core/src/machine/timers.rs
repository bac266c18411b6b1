//! The deadlines of all children: at most one for each child and purpose, exactly cancelled.

use super::Machine;
use super::state::Index;
use crate::Time;
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Purpose {
    /// The end of its phase: the start deadline, the end of the backoff, or the next stage of a stop.
    Phase,
    /// The next check of the heartbeat, while it runs.
    Heartbeat,
    /// The end of a wait for failing siblings, while it waits.
    Dependency,
}

impl Machine {
    /// Returns the deadline that a child has for this purpose, or [`Time::NEVER`].
    pub(super) fn deadline_of(&self, child: Index, purpose: Purpose) -> Time {
        let (state, record) = (&self.arena[child], &self.arena[child].record);
        let in_record = match purpose {
            Purpose::Phase => return state.phase_deadline,
            Purpose::Heartbeat => record.as_ref().and_then(|record| record.heartbeat_check),
            Purpose::Dependency => record.as_ref().and_then(|record| record.dependency_deadline),
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
            Purpose::Phase => self.arena[child].phase_deadline = at,
            Purpose::Heartbeat => self.arena.record(child).heartbeat_check = in_record,
            Purpose::Dependency => self.arena.record(child).dependency_deadline = in_record,
        }
    }

    pub(super) fn set_timer_in(&mut self, child: Index, purpose: Purpose, duration: Duration) {
        self.set_timer(child, purpose, self.now.after(duration));
    }
}
