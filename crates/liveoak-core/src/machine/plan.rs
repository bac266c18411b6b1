//! The plan of a stop: the moments at which the stop of a subtree becomes more forceful.
//!
//! A supervisor with a budget B asks its children in order until B/2; from B/2 on all that are left are asked at
//! once; at 9B/10 all that are left are killed; at B they are abandoned. A budget of zero kills at once. A group of very
//! many members is killed earlier, because it takes longer than B/10 until all of them have ended.

use crate::Time;
use std::time::Duration;

/// How long a killed child may take to end before it is abandoned. Normally it takes milliseconds.
pub const KILL_WAIT: Duration = Duration::from_secs(2);

/// The time that the kill and the end of one member take. Measured: 1 to 2 µs on one core.
const TIME_TO_KILL: Duration = Duration::from_micros(2);

/// From how many members on a group is killed earlier than others. Fewer end within a few milliseconds.
const MANY_MEMBERS: u32 = 4096;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StopPlan {
    /// When all that still live are asked.
    pub(super) ask_all: Time,
    /// When all that still live are killed.
    pub(super) kill: Time,
    /// When all that still live are abandoned.
    pub(super) abandon: Time,
}

impl StopPlan {
    pub(super) const UNBOUNDED: Self = Self { ask_all: Time::NEVER, kill: Time::NEVER, abandon: Time::NEVER };

    pub(super) fn new(now: Time, budget: Duration) -> Self {
        let (ask_all, kill, abandon) = match budget {
            Duration::MAX => return Self::UNBOUNDED,
            Duration::ZERO => (now, now, now.after(KILL_WAIT)),
            _ => (now.after(budget / 2), now.after(budget / 10 * 9), now.after(budget)),
        };
        Self { ask_all, kill, abandon }
    }

    /// Returns the plan for a group of `members` from `now` on: with enough time between kill and abandonment for all of
    /// them to end, but at most half of what is left.
    pub(super) fn for_members(self, now: Time, members: u32) -> Self {
        if self.abandon == Time::NEVER || members < MANY_MEMBERS {
            return self;
        }
        let left = self.abandon.since(now);
        let latest = now.after(left - (TIME_TO_KILL * members).min(left / 2));
        Self { kill: self.kill.min(latest), ..self }
    }

    pub(super) const fn at_once(now: Time) -> Self {
        Self { ask_all: now, kill: now, abandon: now }
    }

    /// Returns the plan with the earlier of both moments, for each of its three moments.
    pub(super) fn min(self, other: Self) -> Self {
        Self {
            ask_all: self.ask_all.min(other.ask_all),
            kill: self.kill.min(other.kill),
            abandon: self.abandon.min(other.abandon),
        }
    }

    pub(super) fn next_point(&self, now: Time) -> Time {
        let points = [self.ask_all, self.kill, self.abandon];
        points.into_iter().filter(|point| *point > now).min().unwrap_or(Time::NEVER)
    }
}
