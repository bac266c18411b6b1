//! When a limit is exceeded: by too many restarts within a period (the window), or by too many consecutive failures
//! (the row).
//!
//! A backoff spreads failures over a longer time, so a window alone may never be exceeded. Therefore the limit of a
//! child also bounds its failures in a row. An intensity is a window only.
//!
//! The clock is an argument. Source: the OTP rows C25 and C26 of docs/conformance.md, with exact time.

use crate::{Limit, Time};
use std::collections::VecDeque;

/// The result of counting one restart in a [`Window`], or one failure in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitCheck {
    /// The restart is allowed.
    Allowed,
    /// The restart exceeds the limit. The value is the number of restarts within the period, or of failures in a row,
    /// including this one.
    Exceeded(u32),
}

/// The restarts of the last period. Holds at most `restarts + 1` moments of eight bytes each, and never more than
/// [`Limit::MAX_RESTARTS`] + 1; a limit of [`Limit::UNLIMITED`] stores nothing.
#[derive(Clone, Debug, Default)]
pub struct Window(VecDeque<Time>);

impl Window {
    /// Adds a restart at `now`, forgets restarts older than the period, and compares their number with the limit.
    pub fn record(&mut self, limit: &Limit, now: Time) -> LimitCheck {
        if limit.restarts == Limit::UNLIMITED {
            return LimitCheck::Allowed;
        }
        while self.0.front().is_some_and(|then| now.since(*then) > limit.period) {
            self.0.pop_front();
        }
        if self.0.len() > limit.restarts as usize {
            self.0.pop_front();
        }
        self.0.push_back(now);
        let count = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        if count > limit.restarts { LimitCheck::Exceeded(count) } else { LimitCheck::Allowed }
    }

    /// Returns the number of restarts within the period that ends now.
    #[must_use]
    pub fn used(&self, limit: &Limit, now: Time) -> u32 {
        let old = self.0.partition_point(|then| now.since(*then) > limit.period);
        u32::try_from(self.0.len() - old).unwrap_or(u32::MAX)
    }

    /// Forgets all restarts.
    pub fn clear(&mut self) {
        self.0 = VecDeque::new();
    }

    /// Returns the number of restarts that are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns `true` if no restart is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The failures of a child in a row, with neither a stable run nor a success between them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FailureRow(u32);

impl FailureRow {
    /// Adds a failure, and compares their number with the limit.
    pub(crate) const fn record(&mut self, limit: &Limit) -> LimitCheck {
        self.0 = self.0.saturating_add(1);
        let exceeded = limit.restarts != Limit::UNLIMITED && self.0 > limit.restarts;
        if exceeded { LimitCheck::Exceeded(self.0) } else { LimitCheck::Allowed }
    }

    /// Returns the number of failures in a row.
    pub(crate) const fn count(self) -> u32 {
        self.0
    }

    /// Sets the number of failures in a row to zero.
    pub(crate) const fn clear(&mut self) {
        self.0 = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(millis: u64) -> Time {
        Time::from_nanos(millis * 1_000_000)
    }

    fn limit(restarts: u32, millis: u64) -> Limit {
        Limit::new(restarts, Duration::from_millis(millis))
    }

    #[test]
    fn only_a_restart_beyond_the_limit_exceeds_it() {
        let mut window = Window::default();
        for n in 0..100_000 {
            // Three restarts take slightly more than 1,000 ms, so four never fall within one period.
            assert_eq!(window.record(&limit(3, 1000), at(n * 334)), LimitCheck::Allowed, "restart {n}");
        }
        let mut window = Window::default();
        let verdicts: Vec<_> = (0..4).map(|n| window.record(&limit(3, 1002), at(n * 334))).collect();
        assert_eq!(
            verdicts,
            [LimitCheck::Allowed, LimitCheck::Allowed, LimitCheck::Allowed, LimitCheck::Exceeded(4)]
        );
    }

    #[test]
    fn a_restart_exactly_one_period_old_still_counts() {
        let mut window = Window::default();
        assert_eq!(window.record(&limit(1, 1000), at(0)), LimitCheck::Allowed);
        assert_eq!(window.record(&limit(1, 1000), at(1000)), LimitCheck::Exceeded(2));
        let mut window = Window::default();
        assert_eq!(window.record(&limit(1, 1000), at(0)), LimitCheck::Allowed);
        assert_eq!(window.record(&limit(1, 1000), Time::from_nanos(1_000_000_001)), LimitCheck::Allowed);
    }

    #[test]
    fn intensity_0_allows_nothing_and_intensity_u32_max_everything() {
        let mut window = Window::default();
        assert_eq!(window.record(&limit(0, 1), at(5)), LimitCheck::Exceeded(1));
        let mut window = Window::default();
        for n in 0..10_000 {
            assert_eq!(window.record(&limit(u32::MAX, u64::MAX / 2_000_000), at(n)), LimitCheck::Allowed);
        }
        assert!(window.is_empty(), "no limit, nothing to remember");
    }

    #[test]
    fn the_use_of_a_window_counts_a_restart_exactly_one_period_old() {
        let mut window = Window::default();
        window.record(&limit(3, 1000), at(0));
        assert_eq!(window.used(&limit(3, 1000), at(1000)), 1);
        assert_eq!(window.used(&limit(3, 1000), Time::from_nanos(1_000_000_001)), 0);
    }

    #[test]
    fn a_row_counts_no_further_than_its_type_and_never_begins_anew_by_itself() {
        let mut row = FailureRow(u32::MAX);
        assert_eq!(row.record(&limit(5, 1)), LimitCheck::Exceeded(u32::MAX));
        assert_eq!(row.record(&Limit::unlimited()), LimitCheck::Allowed);
    }

    #[test]
    fn a_window_never_holds_more_than_its_limit_and_one() {
        let mut window = Window::default();
        for n in 0..1_000 {
            window.record(&limit(5, 1_000_000), at(n));
            assert!(window.len() <= 6 && !window.is_empty());
        }
        assert_eq!(window.record(&limit(5, 1_000_000), at(1_001)), LimitCheck::Exceeded(6));
    }
}
