//! `cargo xtask test`: runs all tests. It is README's test command, so it needs only the Rust toolchain.
//! `cargo xtask bless`: lets the same tests rewrite their golden transcripts.

#![expect(clippy::print_stderr, reason = "a program for people")]

use crate::Failure;
use crate::failure::no_arguments;
use crate::run::{step, succeeds_quietly};

/// The targets to build. They are the same for tests and for examples, so that dependencies are built once. Tests in
/// examples run too, benchmarks do not.
pub(crate) const TARGETS: &str = "--workspace --all-features --lib --bins --tests --examples";

pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    no_arguments("test", arguments)?;
    all(&[])
}

/// Rewrites the golden transcripts of the tests (error pages, reports, plans) to what the code prints now. Use it only
/// after a wanted change of a text: afterwards the tests accept whatever the code prints.
pub(crate) fn bless(arguments: &[String]) -> Result<(), Failure> {
    no_arguments("bless", arguments)?;
    all(&[("UPDATE_EXPECT", "1")])?;
    eprintln!(
        "\nThe transcripts now contain what the code prints. Read `git diff` as a user would before you commit it."
    );
    Ok(())
}

/// Runs every test with `env` set: with nextest if it is installed (it shows slow tests and stops hanging ones), then
/// the doc tests, which nextest does not run.
fn all(env: &[(&str, &str)]) -> Result<(), Failure> {
    let nextest = succeeds_quietly("cargo nextest --version");
    let runner = if nextest { "cargo nextest run" } else { "cargo test --no-fail-fast" };
    step(&format!("{runner} {TARGETS}"), env)?;
    step("cargo test --doc --workspace --all-features", env)
}
