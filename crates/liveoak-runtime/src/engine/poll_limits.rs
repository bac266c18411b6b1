//! How many attempts live with each poll limit: the shortest limit of them says how often polls are looked at.

use std::time::Duration;

/// The number of different limits that are counted. An attempt keeps the number of its limit in one byte.
const MAX_COUNTED: usize = 254;

/// The number of a limit that is not counted, because there are too many different ones.
pub(crate) const UNCOUNTED: u8 = u8::MAX;

/// The limits of the live attempts. The limit with the number *n* is at *n* - 1.
#[derive(Debug, Default)]
pub(crate) struct PollLimits {
    counted: Vec<(Duration, usize)>,
    /// The shortest limit that is not counted. It counts for ever.
    uncounted: Option<Duration>,
}

impl PollLimits {
    /// Counts an attempt with this limit. Returns the number of the limit.
    pub(crate) fn begin(&mut self, longest: Duration) -> u8 {
        let same = self.counted.iter().position(|(limit, _)| *limit == longest);
        let unused = || self.counted.iter().position(|(_, attempts)| *attempts == 0);
        let at = same.or_else(unused).unwrap_or(self.counted.len());
        if at == MAX_COUNTED {
            self.uncounted = Some(self.uncounted.map_or(longest, |limit| limit.min(longest)));
            return UNCOUNTED;
        }
        if at == self.counted.len() {
            self.counted.push((longest, 0));
        }
        self.counted[at].0 = longest;
        self.counted[at].1 += 1;
        u8::try_from(at + 1).unwrap_or(UNCOUNTED)
    }

    /// Counts an attempt no longer. Takes the number that [`begin`](Self::begin) has returned.
    pub(crate) fn end(&mut self, number: u8) {
        let at = usize::from(number).checked_sub(1).and_then(|at| self.counted.get_mut(at));
        if let Some((_, attempts)) = at {
            *attempts = attempts.saturating_sub(1);
        }
    }

    /// Returns the shortest limit of the attempts that live.
    pub(crate) fn shortest(&self) -> Option<Duration> {
        let live = self.counted.iter().filter(|(_, attempts)| *attempts > 0).map(|(limit, _)| *limit);
        live.chain(self.uncounted).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn the_shortest_limit_is_that_of_an_attempt_that_lives() {
        let mut limits = PollLimits::default();
        assert_eq!(limits.shortest(), None);
        let [long, short, again] = [ms(900), ms(20), ms(20)].map(|limit| limits.begin(limit));
        assert_eq!(short, again);
        limits.end(short);
        assert_eq!(limits.shortest(), Some(ms(20)), "one of two has ended");
        limits.end(again);
        assert_eq!(limits.shortest(), Some(ms(900)));
        limits.end(long);
        assert_eq!(limits.shortest(), None);
    }

    #[test]
    fn the_number_of_a_limit_that_no_attempt_has_is_used_again() {
        let mut limits = PollLimits::default();
        for n in 1..2_000 {
            let number = limits.begin(ms(n));
            assert_eq!((number, limits.shortest()), (1, Some(ms(n))));
            limits.end(number);
        }
    }

    #[test]
    fn more_different_limits_than_can_be_counted_count_for_ever() {
        let mut limits = PollLimits::default();
        let numbers: Vec<u8> = (0..300).map(|n| limits.begin(ms(1_000 - n))).collect();
        assert_eq!(numbers.iter().filter(|number| **number == UNCOUNTED).count(), 300 - MAX_COUNTED);
        numbers.iter().for_each(|number| limits.end(*number));
        assert_eq!(limits.shortest(), Some(ms(701)));
    }
}
