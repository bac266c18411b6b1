//! `cargo xtask bench`: Liveoak beside what one writes by hand, built for release.

use crate::Failure;
use crate::run::step;

/// Builds and runs the benchmark; arguments are its own.
pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    step(&format!("cargo run --release -p liveoak-bench -- {}", arguments.join(" ")), &[])
}
