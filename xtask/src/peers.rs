//! `cargo xtask peers`: compares Liveoak with other supervisors under the same failures, and writes
//! `docs/comparison.md`.
//!
//! Run it before a release or after a change of the scenarios. `ci` does not run it: it builds all other supervisors.

use crate::Failure;
use crate::failure::no_arguments;
use crate::run::step;

/// Builds and runs the comparison. It is a workspace of its own, so that no other task builds the other supervisors.
pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    no_arguments("peers", arguments)?;
    step("cargo run --locked --release --manifest-path peers/Cargo.toml", &[])
}
