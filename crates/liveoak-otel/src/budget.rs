//! How much may be sent: a burst, and then so many a second.

use crate::limits::{A_SECOND, BURST};
use std::time::{Duration, Instant};

/// Room for a burst, which comes back with time.
#[derive(Debug)]
pub(crate) struct Budget {
    room: f64,
    at: Instant,
}

impl Budget {
    /// Returns a budget that is whole.
    pub(crate) fn new(now: Instant) -> Self {
        Self { room: f64::from(BURST), at: now }
    }

    /// Takes one, or returns `false` if there is no room now.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.at).min(Duration::from_secs(60));
        self.at = now;
        self.room = (self.room + passed.as_secs_f64() * f64::from(A_SECOND)).min(f64::from(BURST));
        let has_room = self.room >= 1.0;
        if has_room {
            self.room -= 1.0;
        }
        has_room
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_sends_one_burst_and_then_so_many_a_second() {
        let begin = Instant::now();
        let mut budget = Budget::new(begin);
        let mut sent_at = |now| (0..100_000).filter(|_| budget.take(now)).count();
        assert_eq!(sent_at(begin), 1000);
        assert_eq!(sent_at(begin), 0);
        assert_eq!(sent_at(begin + Duration::from_secs(2)), 200);
        assert_eq!(sent_at(begin + Duration::from_secs(3600)), 1000);
    }
}
