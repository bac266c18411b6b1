//! Chance that a seed tells all of.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// A small generator of random numbers (SplitMix64).
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % sides
    }
}

/// Runs the seeds in turn; at the first that fails, panics with the command that repeats it.
#[track_caller]
pub(crate) fn run_seeds(test: &str, seeds: impl IntoIterator<Item = u64>, run: impl Fn(u64)) {
    let fails = |seed: &u64| catch_unwind(AssertUnwindSafe(|| run(*seed))).is_err();
    if let Some(seed) = seeds.into_iter().find(fails) {
        panic!("again: LIVEOAK_SEED={seed} cargo test -p liveoak-runtime --test {test}");
    }
}
