//! `cargo xtask bench` and `cargo xtask peers`: compare Liveoak with a hand-written `TaskTracker` program, and with other
//! supervisors.
//!
//! The measuring itself is in `bench/` and `peers/`. `ci` runs neither: figures need a quiet machine, and `peers` is a
//! workspace of its own, so that no other task builds the other supervisors.

use crate::Failure;
use crate::failure::no_arguments;
use crate::run::step;

/// Builds the benchmark for release, runs it, and passes the arguments on to it.
pub(crate) fn bench(arguments: &[String]) -> Result<(), Failure> {
    // The comparison is built as most programs are: without control.
    let features = if arguments.iter().any(|word| word == "storm") { "--features control " } else { "" };
    step(&format!("cargo run --release -p liveoak-bench {features}-- {}", arguments.join(" ")), &[])
}

/// Runs all supervisors under the same failures, and writes `docs/comparison.md`. For a release, or after a change of the
/// scenarios.
pub(crate) fn peers(arguments: &[String]) -> Result<(), Failure> {
    no_arguments("peers", arguments)?;
    step("cargo run --locked --release --manifest-path peers/Cargo.toml", &[])
}
