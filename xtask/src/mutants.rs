//! `cargo xtask mutants`: every line of the core is broken in every way that cargo-mutants knows, and a test must notice.
//! `cargo xtask coverage`: which lines of the core the tests run through.

use crate::Failure;
use crate::run::{answers, step, step_with};
use crate::task::no_arguments;

/// Steps beside the reference model: fewer, since it is run for each break.
const STEPS: (&str, &str) = ("LIVEOAK_MODEL_STEPS", "20000");

/// cargo-mutants ends so when all were noticed, some of them because they ran for ever.
const TIMEOUTS: i32 = 3;

/// Takes the arguments of cargo-mutants, such as `--shard 0/8`. What may survive stands in `.cargo/mutants.toml`.
pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    need("cargo mutants --version", "cargo-mutants")?;
    step_with(
        "cargo mutants -p liveoak-core -o target --timeout 60 --no-shuffle",
        arguments,
        &[STEPS],
        &[TIMEOUTS],
    )
}

/// Fails below 95 percent of the core's lines.
pub(crate) fn coverage(arguments: &[String]) -> Result<(), Failure> {
    no_arguments("coverage", arguments)?;
    need("cargo tarpaulin --version", "cargo-tarpaulin")?;
    let line = "cargo tarpaulin -p liveoak-core --lib --tests --engine ptrace --include-files crates/liveoak-core/src/* \
                --exclude-files crates/liveoak-core/src/machine/tests/* --out Stdout --fail-under 95 \
                --target-dir target/tarpaulin --skip-clean";
    step(line, &[STEPS, ("LIVEOAK_PROPERTY_SEEDS", "1")])
}

fn need(version: &str, tool: &str) -> Result<(), Failure> {
    if answers(version) {
        return Ok(());
    }
    Err(Failure::Repository(format!("this needs {tool}: `cargo install {tool} --locked`")))
}
