//! `cargo xtask bench`: compares Liveoak with a hand-written `TaskTracker` program, both built for release.
//!
//! The measuring itself is in the crate `liveoak-bench`. `ci` does not run it, because its figures need a quiet
//! machine.

use crate::Failure;
use crate::run::step;

/// Builds and runs the benchmark, and passes the arguments on to it.
pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    step(&format!("cargo run --release -p liveoak-bench -- {}", arguments.join(" ")), &[])
}
