//! The time of the machine, in nanoseconds since its tree began. The driver supplies it. The time never goes back.

use std::time::Duration;

/// A point in time, in nanoseconds since the tree began. It saturates after 584 years.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(u64);

impl Time {
    /// The time at which the tree began.
    pub const ZERO: Self = Self(0);
    /// No time: a timer set to it never fires.
    pub const NEVER: Self = Self(u64::MAX);

    /// Returns the time `nanos` nanoseconds after the tree began.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Returns the nanoseconds since the tree began.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Returns this time plus `duration`, or [`Time::NEVER`] if that is too late to be represented.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// Returns the time from `earlier` to this one; zero if `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_beyond_the_range_of_the_clock_never_comes() {
        assert_eq!(Time::from_nanos(7).after(Duration::MAX), Time::NEVER);
        assert_eq!(Time::NEVER.after(Duration::from_secs(1)), Time::NEVER);
        assert_eq!(Time::ZERO.after(Duration::ZERO), Time::ZERO);
    }

    #[test]
    fn the_time_since_a_later_moment_is_zero() {
        assert_eq!(Time::from_nanos(3).since(Time::from_nanos(9)), Duration::ZERO);
        assert_eq!(Time::from_nanos(9).since(Time::from_nanos(3)), Duration::from_nanos(6));
    }
}
