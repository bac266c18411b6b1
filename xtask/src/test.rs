//! `cargo xtask test`: runs all tests. It is README's test command, so it needs nothing but the Rust toolchain.

use crate::Failure;
use crate::failure::no_arguments;
use crate::run::{answers, step};

/// The targets to build. They are the same for tests and for examples, so that dependencies are built once. Tests in
/// examples run too, benchmarks do not.
pub(crate) const TARGETS: &str = "--workspace --all-features --lib --bins --tests --examples";

/// Runs every test.
pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    no_arguments("test", arguments)?;
    all(&[])
}

/// Runs every test with `env` set: with nextest if it is installed (it shows slow tests and stops hanging ones), then
/// the doc tests, which nextest does not run.
pub(crate) fn all(env: &[(&str, &str)]) -> Result<(), Failure> {
    if answers("cargo nextest --version") {
        step(&format!("cargo nextest run {TARGETS}"), env)?;
    } else {
        step(&format!("cargo test --no-fail-fast {TARGETS}"), env)?;
    }
    step("cargo test --doc --workspace --all-features", env)
}
