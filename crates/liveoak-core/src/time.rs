//! Time as the machine sees it: nanoseconds since its tree began.
//!
//! A monotonic number handed in by the driver; eight bytes, totally ordered, and as good as a clock in tests.

use std::time::Duration;

/// A moment, in nanoseconds since the tree began. It lasts for 584 years and saturates after.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(u64);

impl Time {
    /// The tree's beginning.
    pub const ZERO: Self = Self(0);
    /// Later than every deadline: a timer set to it never fires.
    pub const NEVER: Self = Self(u64::MAX);

    /// The moment `nanos` nanoseconds after the tree's beginning.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the tree's beginning.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// This moment plus `duration`; [`Time::NEVER`] when that is beyond what can be counted.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// How long before this moment `earlier` was; zero if it was not.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_beyond_counting_is_never() {
        assert_eq!(Time::from_nanos(7).after(Duration::MAX), Time::NEVER);
        assert_eq!(Time::NEVER.after(Duration::from_secs(1)), Time::NEVER);
        assert_eq!(Time::ZERO.after(Duration::ZERO), Time::ZERO);
    }

    #[test]
    fn an_earlier_moment_is_never_a_negative_time_ago() {
        assert_eq!(Time::from_nanos(3).since(Time::from_nanos(9)), Duration::ZERO);
        assert_eq!(Time::from_nanos(9).since(Time::from_nanos(3)), Duration::from_nanos(6));
    }
}
