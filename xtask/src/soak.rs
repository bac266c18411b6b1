//! `cargo xtask soak`: runs the randomized tests of the core for millions of steps.
//!
//! The machine is compared with its reference model, and random trees get random events. A short form of both is part
//! of the ordinary tests.

#![expect(clippy::print_stderr, reason = "a program for people")]

use crate::Failure;
use crate::run::step;
use std::time::{SystemTime, UNIX_EPOCH};

/// The default number of steps of the comparison with the model.
const STEPS: u64 = 5_000_000;

/// Turns overflow checks on in the release build, as in the tests.
const CHECKED: (&str, &str) = ("CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS", "true");

/// Runs with `--steps NUMBER` and `--seed NUMBER`. Without a seed it takes one from the clock, so each run tries other
/// cases.
pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let (mut steps, mut seed) = (STEPS, now * 1_000);
    for pair in arguments.chunks(2) {
        let number = pair.get(1).and_then(|text| text.parse().ok());
        match (pair[0].as_str(), number) {
            ("--steps", Some(number)) => steps = number,
            ("--seed", Some(number)) => seed = number,
            _ => return Err(Failure::Usage("`soak` takes `--steps NUMBER` and `--seed NUMBER`".to_owned())),
        }
    }
    eprintln!("to repeat this run: cargo xtask soak --steps {steps} --seed {seed}");
    let (steps, first) = (steps.to_string(), seed.to_string());
    let model =
        [CHECKED, ("LIVEOAK_MODEL_STEPS", steps.as_str()), ("LIVEOAK_MODEL_FIRST_SEED", first.as_str())];
    step("cargo test --release -p liveoak-core --test model", &model)?;
    // One seed runs a hundred cases of about twenty steps each.
    let seeds = (steps.parse().unwrap_or(STEPS) / 2_000).max(1).to_string();
    let property = [
        CHECKED,
        ("LIVEOAK_PROPERTY_SEEDS", seeds.as_str()),
        ("LIVEOAK_PROPERTY_FIRST_SEED", first.as_str()),
    ];
    step("cargo test --release -p liveoak-core --lib property", &property)
}
