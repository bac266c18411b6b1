//! The plan of a stop: the moments at which the stop of a subtree becomes more forceful.
//!
//! A supervisor with a budget B asks its children in order until B/2. At B/2 all remaining children are asked together.
//! At 9B/10 the remaining children are killed, and at B they are abandoned. A budget of zero kills immediately. A group
//! of very many members is killed earlier, because it takes longer than B/10 until all of them have ended. Its members
//! are also abandoned earlier, so that the last one is abandoned at B.

use crate::Time;
use std::time::Duration;

/// The time that the kill and the end of one member take. Measured: 1 to 2 µs on one core.
const TIME_TO_KILL: Duration = Duration::from_micros(2);

/// The time that it takes to abandon one member, while killed members still end. Measured: 1 to 2 µs on two cores.
const TIME_TO_ABANDON: Duration = Duration::from_micros(2);

/// The number of members from which on a group is killed earlier. Fewer members end within a few milliseconds.
const MANY_MEMBERS: u32 = 4096;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StopPlan {
    /// When all children that still live are asked.
    pub(super) ask_all: Time,
    /// When all children that still live are killed.
    pub(super) kill: Time,
    /// When all children that still live are abandoned.
    pub(super) abandon: Time,
}

impl StopPlan {
    pub(super) const UNBOUNDED: Self = Self { ask_all: Time::NEVER, kill: Time::NEVER, abandon: Time::NEVER };

    /// Returns the plan for a budget. `kill_wait` is the time between kill and abandonment if the budget is zero.
    pub(super) fn new(now: Time, budget: Duration, kill_wait: Duration) -> Self {
        let (ask_all, kill, abandon) = match budget {
            Duration::MAX => return Self::UNBOUNDED,
            Duration::ZERO => (now, now, now.after(kill_wait)),
            _ => (now.after(budget / 2), now.after(budget / 10 * 9), now.after(budget)),
        };
        Self { ask_all, kill, abandon }
    }

    /// Returns the plan for a group of `members` from `now` on. Between kill and abandonment it has enough time for all
    /// members to end, but at most half of the remaining budget. The abandonment begins early enough to be over at the
    /// end of the budget, but never in the first two thirds of the remaining budget.
    pub(super) fn for_members(self, now: Time, members: u32) -> Self {
        if self.abandon == Time::NEVER || members < MANY_MEMBERS {
            return self;
        }
        let left = self.abandon.since(now);
        let to_abandon = left - (TIME_TO_ABANDON * members).min(left / 3);
        let to_kill = to_abandon - (TIME_TO_KILL * members).min(left / 2);
        Self { kill: self.kill.min(now.after(to_kill)), abandon: now.after(to_abandon), ..self }
    }

    pub(super) const fn at_once(now: Time) -> Self {
        Self { ask_all: now, kill: now, abandon: now }
    }

    /// Returns the plan that has, for each of the three moments, the earlier moment of the two plans.
    pub(super) fn min(self, other: Self) -> Self {
        Self {
            ask_all: self.ask_all.min(other.ask_all),
            kill: self.kill.min(other.kill),
            abandon: self.abandon.min(other.abandon),
        }
    }

    /// Returns the first moment of the plan that is not before `at`.
    pub(super) fn first_point_from(&self, at: Time) -> Time {
        let points = [self.ask_all, self.kill, self.abandon];
        points.into_iter().filter(|point| *point >= at).min().unwrap_or(Time::NEVER)
    }

    /// Returns this plan with the moments of `further` in place of those that lie from `at` to `now` and were not
    /// `prolonged` before.
    pub(super) fn prolong(self, at: Time, now: Time, prolonged: Self, further: Self) -> Self {
        let moved = |point: Time, prolonged: Time, to: Time| {
            if point >= at && point <= now && point != prolonged { to } else { point }
        };
        let abandon = moved(self.abandon, prolonged.abandon, further.abandon);
        let kill = moved(self.kill, prolonged.kill, further.kill).min(abandon);
        let ask_all = moved(self.ask_all, prolonged.ask_all, further.ask_all);
        Self { ask_all: ask_all.min(kill.max(self.ask_all)), kill, abandon }
    }

    /// Returns the moments of the plan `after` that differ from this plan, and those of `prolonged` for the others.
    pub(super) fn prolonged_to(self, after: Self, prolonged: Self) -> Self {
        let moved = |before: Time, after: Time, prolonged| if after == before { prolonged } else { after };
        Self {
            ask_all: moved(self.ask_all, after.ask_all, prolonged.ask_all),
            kill: moved(self.kill, after.kill, prolonged.kill),
            abandon: moved(self.abandon, after.abandon, prolonged.abandon),
        }
    }

    pub(super) fn next_point(&self, now: Time) -> Time {
        let points = [self.ask_all, self.kill, self.abandon];
        points.into_iter().filter(|point| *point > now).min().unwrap_or(Time::NEVER)
    }
}
