//! `cargo xtask test`: README's test command. Needs the Rust toolchain and nothing else.

use crate::Failure;
use crate::run::{answers, step};
use crate::task::no_arguments;

/// What is built for tests and examples alike, so that neither builds the other's dependencies again. Tests that
/// stand in examples run too; benchmarks do not.
pub(crate) const TARGETS: &str = "--workspace --all-features --lib --bins --tests --examples";

/// Every test, by nextest where it is installed (it shows slow tests and stops hanging ones), then the doc tests,
/// which nextest does not run.
pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    no_arguments("test", arguments)?;
    all(&[])
}

/// Every test, with `env` set.
pub(crate) fn all(env: &[(&str, &str)]) -> Result<(), Failure> {
    if answers("cargo nextest --version") {
        step(&format!("cargo nextest run {TARGETS}"), env)?;
    } else {
        step(&format!("cargo test --no-fail-fast {TARGETS}"), env)?;
    }
    step("cargo test --doc --workspace --all-features", env)
}
