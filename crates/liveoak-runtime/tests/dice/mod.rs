//! Random numbers from a seed, and a loop over seeds that prints how to repeat the one that fails.

use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

/// The longest time for one seed. None needs more than a few seconds.
const TIME_LIMIT: Duration = Duration::from_secs(60);

/// A small generator of random numbers (SplitMix64).
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    /// Returns a number below `sides`.
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % sides
    }
}

/// Returns the command that repeats a seed.
fn again(test: &str, seed: u64) -> String {
    format!("to repeat it: LIVEOAK_SEED={seed} cargo test -p liveoak-runtime --test {test}")
}

/// Runs the seeds one after another. Panics at the first seed that fails, with the command that repeats it. A seed that
/// does not end cannot be unwound. In this case the command is printed and the program aborts.
#[track_caller]
pub(crate) fn run_seeds(test: &'static str, seeds: impl IntoIterator<Item = u64>, run: impl Fn(u64)) {
    let (begun, seeds_begun) = channel();
    let watch = std::thread::spawn(move || watch(test, &seeds_begun));
    let fails = |seed: &u64| {
        // The watching thread lives longer than this loop.
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

fn watch(test: &str, seeds_begun: &Receiver<u64>) {
    let mut running = None;
    loop {
        match seeds_begun.recv_timeout(TIME_LIMIT) {
            Ok(seed) => running = Some(seed),
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {
                let line = running.map(|seed| again(test, seed)).unwrap_or_default();
                let _ = writeln!(std::io::stderr(), "no end after {TIME_LIMIT:?}; {line}");
                std::process::abort();
            }
        }
    }
}
