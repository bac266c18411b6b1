//! `cargo xtask mutants` and `cargo xtask coverage`: check that the tests of the core notice faults and reach its lines.
//!
//! `mutants` changes the core in every way that cargo-mutants knows; a test must fail for each change. `coverage`
//! counts the lines that the tests run through. Both take long, so `ci` does not run them.

use crate::Failure;
use crate::failure::no_arguments;
use crate::run::{need, step, step_with};

/// The number of steps of the comparison with the reference model. It is low, because the tests run once for each
/// change.
const STEPS: (&str, &str) = ("LIVEOAK_MODEL_STEPS", "20000");

/// The exit code of cargo-mutants if all changes were noticed, some of them because a test did not end.
const TIMEOUTS: i32 = 3;

/// Runs cargo-mutants with the given arguments, such as `--shard 0/8`. `.cargo/mutants.toml` lists the changes that may
/// stay unnoticed.
pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    need("cargo mutants --version", "this needs cargo-mutants: `cargo install cargo-mutants --locked`")?;
    step_with(
        "cargo mutants -p liveoak-core -o target --timeout 60 --no-shuffle",
        arguments,
        &[STEPS],
        &[TIMEOUTS],
    )
}

/// Measures the coverage, and fails below 95 percent of the core's lines.
pub(crate) fn coverage(arguments: &[String]) -> Result<(), Failure> {
    no_arguments("coverage", arguments)?;
    need(
        "cargo tarpaulin --version",
        "this needs cargo-tarpaulin: `cargo install cargo-tarpaulin --locked`",
    )?;
    let line = "cargo tarpaulin -p liveoak-core --lib --tests --engine ptrace --include-files crates/liveoak-core/src/* \
                --exclude-files crates/liveoak-core/src/machine/tests/* --out Stdout --fail-under 95 \
                --target-dir target/tarpaulin --skip-clean";
    step(line, &[STEPS, ("LIVEOAK_PROPERTY_SEEDS", "1")])
}
