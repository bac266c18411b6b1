//! Chance that a seed tells all of.

use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

/// How long one seed may run: none needs more than a few seconds.
const PATIENCE: Duration = Duration::from_secs(60);

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

fn again(test: &str, seed: u64) -> String {
    format!("again: LIVEOAK_SEED={seed} cargo test -p liveoak-runtime --test {test}")
}

/// Runs the seeds in turn; at the first that fails, panics with the command that repeats it. One that does not come to
/// an end cannot be unwound: the command is printed, and the program aborted.
#[track_caller]
pub(crate) fn run_seeds(test: &'static str, seeds: impl IntoIterator<Item = u64>, run: impl Fn(u64)) {
    let (begun, told) = channel();
    let watch = std::thread::spawn(move || watch(test, &told));
    let fails = |seed: &u64| {
        // The watch ends last.
        let _ = begun.send(*seed);
        catch_unwind(AssertUnwindSafe(|| run(*seed))).is_err()
    };
    let failed = seeds.into_iter().find(fails);
    drop(begun);
    let _ = watch.join();
    if let Some(seed) = failed {
        panic!("{}", again(test, seed));
    }
}

fn watch(test: &str, told: &Receiver<u64>) {
    let mut running = None;
    loop {
        match told.recv_timeout(PATIENCE) {
            Ok(seed) => running = Some(seed),
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {
                let line = running.map(|seed| again(test, seed)).unwrap_or_default();
                let _ = writeln!(std::io::stderr(), "no end after {PATIENCE:?}; {line}");
                std::process::abort();
            }
        }
    }
}
