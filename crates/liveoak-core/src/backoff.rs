//! The delay before a restart: exponential and capped, with a choice of jitter, or constant.
//!
//! Full jitter is a random delay between zero and the ceiling. It spreads children that fail together. See
//! "Exponential Backoff and Jitter", M. Brooker, 2015. The random number is an argument.

use crate::Jitter;
use std::time::Duration;

/// The delays before the restarts of a child.
///
/// The step of a restart is the number of restarts in a row before it. At step n, the ceiling is `from` × 2ⁿ, and at
/// most `to`. `jitter` says which part of the ceiling is random. [`Backoff::constant`] makes all delays equal.
///
/// The step is 0 again after a *stable run*: an attempt that was ready for `reset_after` without a break. (An attempt
/// of a supervisor is stable once each of its declared children had a stable run or a success in it, or was stopped
/// by command, or was held.) A success resets the step of failures as well. Restarts after successes have a step of
/// their own, so that a loop of quick successes is slowed down too. When a command starts a child that was down, the
/// step is 0 again. A restart of the supervisor does not reset the step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The ceiling of the first delay. More than zero.
    pub from: Duration,
    /// The ceiling of all delays. Not less than `from`.
    pub to: Duration,
    /// How long an attempt must be ready, without a break, to be stable. After a stable run, the step is 0 again, and
    /// so is the number of failures in a row that counts against a [`Limit`](crate::Limit).
    pub reset_after: Duration,
    /// Which part of each delay is random.
    pub jitter: Jitter,
}

impl Default for Backoff {
    /// Returns a backoff from 100 ms to 30 s with full jitter that is reset after 10 s: ten restarts in a row take
    /// about 40 s on average.
    fn default() -> Self {
        Self {
            from: Duration::from_millis(100),
            to: Duration::from_secs(30),
            reset_after: Self::RESET_AFTER,
            jitter: Jitter::Full,
        }
    }
}

impl Backoff {
    /// The default of `reset_after`. It also applies to a child without a backoff.
    pub const RESET_AFTER: Duration = Duration::from_secs(10);

    /// Creates a backoff in which each delay is exactly `delay`, without jitter. `delay` must be more than zero; a child
    /// without delays has no backoff.
    #[must_use]
    pub const fn constant(delay: Duration) -> Self {
        Self { from: delay, to: delay, reset_after: Self::RESET_AFTER, jitter: Jitter::None }
    }

    /// Returns the longest delay at this step.
    #[must_use]
    pub fn ceiling(&self, step: u32) -> Duration {
        // 2^96 ns is longer than any Duration, so a larger shift would change nothing.
        let factor = 1u128 << step.min(96);
        let nanos = self.from.as_nanos().saturating_mul(factor);
        if nanos >= self.to.as_nanos() { self.to } else { duration_from_nanos(nanos) }
    }

    /// Returns how often a child fails within `period` if each of its attempts fails immediately and each delay is as
    /// long as it may be. With shorter delays the child fails more often.
    #[must_use]
    pub fn failures_within(&self, period: Duration) -> u64 {
        let (mut left, mut failures) = (period, 1);
        for step in 0.. {
            let ceiling = self.ceiling(step);
            // From here on the delays no longer grow.
            if ceiling == self.to && !ceiling.is_zero() {
                let more = left.as_nanos() / ceiling.as_nanos();
                return u64::try_from(more).unwrap_or(u64::MAX).saturating_add(failures);
            }
            match left.checked_sub(ceiling) {
                Some(rest) if !ceiling.is_zero() => left = rest,
                Some(_) => return u64::MAX,
                None => return failures,
            }
            failures += 1;
        }
        failures
    }

    /// Returns the delay at this step: the fixed part, and the random part times `random` / 2⁶⁴.
    #[must_use]
    pub fn delay(&self, step: u32, random: u64) -> Duration {
        let ceiling = self.ceiling(step);
        match self.jitter {
            Jitter::Full => share_of(ceiling, random),
            Jitter::Equal => ceiling - share_of(ceiling / 2, random),
            Jitter::None => ceiling,
        }
    }
}

/// Returns the duration times `random` / 2⁶⁴.
fn share_of(duration: Duration, random: u64) -> Duration {
    let nanos = duration.as_nanos();
    // Computed in two halves, so that no duration overflows: d·r/2^64 = (d>>64)·r + ((d mod 2^64)·r >> 64).
    let random = u128::from(random);
    duration_from_nanos((nanos >> 64) * random + (((nanos & u128::from(u64::MAX)) * random) >> 64))
}

/// Returns the random number of one attempt, computed from the random number of the input. Children that are restarted
/// within one input get different numbers. `names` are the names of the child's path, beginning with the child's name.
/// They are hashed by FNV-1a and mixed by the finalizer of SplitMix64 (G. Steele and others, 2014).
#[must_use]
pub fn jitter<N: AsRef<[u8]>>(random: u64, names: impl IntoIterator<Item = N>, attempt: u64) -> u64 {
    let spread = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
    let add = |hash, name: N| name.as_ref().iter().copied().chain([b'/']).fold(hash, spread);
    let hash = names.into_iter().fold(0xCBF2_9CE4_8422_2325, add);
    let mut z = random ^ hash ^ attempt.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

fn duration_from_nanos(nanos: u128) -> Duration {
    const SECOND: u128 = 1_000_000_000;
    match u64::try_from(nanos / SECOND) {
        Ok(seconds) => Duration::new(seconds, (nanos % SECOND) as u32),
        Err(_) => Duration::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_backoff_does_not_overflow_for_extreme_numbers_and_durations() {
        let backoff = Backoff::default();
        assert_eq!(backoff.ceiling(0), Duration::from_millis(100));
        assert_eq!(backoff.ceiling(1), Duration::from_millis(200));
        assert_eq!(backoff.ceiling(8), Duration::from_millis(25_600));
        for step in [9, 32, 64, 95, 96, 97, 127, 128, 1000, u32::MAX] {
            assert_eq!(backoff.ceiling(step), Duration::from_secs(30), "step {step}");
            assert!(backoff.delay(step, u64::MAX) <= Duration::from_secs(30));
        }
        let widest = Backoff { from: Duration::from_nanos(1), to: Duration::MAX, ..backoff };
        for step in [0, 1, 32, 63, 64, 90, 96, 1000, u32::MAX] {
            assert!(widest.delay(step, u64::MAX) <= widest.ceiling(step));
            assert!(widest.ceiling(step) <= Duration::MAX);
        }
        assert_eq!(widest.ceiling(64), widest.ceiling(63) * 2, "the ceiling doubles beyond 64 bits too");
        let longest = Backoff { from: Duration::MAX, to: Duration::MAX, ..backoff };
        assert_eq!(longest.ceiling(u32::MAX), Duration::MAX);
        assert_eq!(longest.delay(0, 0), Duration::ZERO);
        assert!(longest.delay(0, u64::MAX) > Duration::from_secs(u64::MAX / 2));
        let none = Backoff { from: Duration::ZERO, to: Duration::ZERO, ..backoff };
        assert_eq!(none.delay(7, u64::MAX), Duration::ZERO);
    }

    #[test]
    fn a_backoff_with_equal_from_and_to_has_a_constant_ceiling_and_random_delays() {
        let second = Duration::from_secs(1);
        let backoff = Backoff { from: second, to: second, ..Backoff::default() };
        for step in [0, 1, 2, 64, u32::MAX] {
            assert_eq!(backoff.ceiling(step), second);
            let delays: Vec<Duration> =
                (0..100).map(|attempt| backoff.delay(step, jitter(7, ["a", "t"], attempt))).collect();
            assert!(delays.iter().all(|delay| *delay < second), "{delays:?}");
            assert!(
                delays.iter().any(|delay| *delay < second / 4)
                    && delays.iter().any(|delay| *delay > second * 3 / 4)
            );
        }
    }

    #[test]
    fn the_delay_is_proportional_to_the_random_number() {
        let backoff = Backoff::default();
        assert_eq!(backoff.delay(0, 0), Duration::ZERO);
        assert_eq!(backoff.delay(0, 1 << 63), Duration::from_millis(50));
        assert_eq!(backoff.delay(3, 1 << 62), Duration::from_millis(200));
    }

    #[test]
    fn the_jitter_decides_which_part_of_the_delay_is_random() {
        let ms = Duration::from_millis;
        let delays = |jitter, random| {
            let backoff = Backoff { jitter, ..Backoff::default() };
            [backoff.delay(0, random), backoff.delay(3, random), backoff.delay(u32::MAX, random)]
        };
        let (least, half) = (0, 1 << 63);
        assert_eq!(delays(Jitter::Full, least), [ms(0), ms(0), ms(0)]);
        assert_eq!(delays(Jitter::Full, half), [ms(50), ms(400), ms(15_000)]);
        assert_eq!(delays(Jitter::Equal, least), [ms(100), ms(800), ms(30_000)]);
        assert_eq!(delays(Jitter::Equal, half), [ms(75), ms(600), ms(22_500)]);
        for random in [least, half, u64::MAX] {
            assert_eq!(delays(Jitter::None, random), [ms(100), ms(800), ms(30_000)]);
            assert!(delays(Jitter::Equal, random)[0] >= ms(50));
        }
    }

    #[test]
    fn every_delay_of_a_constant_backoff_is_equal() {
        let delay = Duration::from_millis(1500);
        let backoff = Backoff::constant(delay);
        for (step, random) in [(0, 0), (1, 7), (2, u64::MAX), (64, 1), (u32::MAX, 0)] {
            assert_eq!(backoff.delay(step, random), delay, "step {step}");
        }
        assert_eq!(backoff.reset_after, Backoff::RESET_AFTER);
        assert_eq!(Backoff::constant(Duration::MAX).delay(u32::MAX, 0), Duration::MAX);
    }

    #[test]
    fn failures_within_a_period_are_counted_with_the_longest_delays() {
        let backoff = Backoff::default();
        let (ms, s) = (Duration::from_millis, Duration::from_secs);
        // The failures come after 0, 100, 300, 700, 1500, ... ms.
        let table = [
            (Duration::ZERO, 1),
            (ms(99), 1),
            (ms(100), 2),
            (ms(299), 2),
            (ms(300), 3),
            (s(5), 6),
            (s(60), 10),
            (ms(81_099), 10),
            (ms(81_100), 11),
            (ms(111_100), 12),
        ];
        for (period, failures) in table {
            assert_eq!(backoff.failures_within(period), failures, "within {period:?}");
        }
        assert!(backoff.failures_within(Duration::MAX) > u64::from(u32::MAX));
        let none = Backoff { from: Duration::ZERO, to: Duration::ZERO, ..backoff };
        assert_eq!(none.failures_within(ms(1)), u64::MAX);
        let constant = Backoff { from: s(2), to: s(2), ..backoff };
        assert_eq!(constant.failures_within(s(5)), 3);
    }

    #[test]
    fn jitter_differs_by_name_and_attempt_and_is_repeatable() {
        // Computed independently of this code, from the published algorithms.
        assert_eq!(jitter(0, [""], 0), 0x7FAC_E396_AE05_4C7D);
        assert_eq!(jitter(0x0123_4567_89AB_CDEF, ["db", "t"], 1), 0x36A1_7E8B_81C9_FAA2);
        assert_eq!(jitter(u64::MAX, ["orders", "shop", "t"], 77), 0xE15F_5290_73DC_E3C7);
    }
}
