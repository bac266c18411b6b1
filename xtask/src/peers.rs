//! `cargo xtask peers`: the same failures, done to Liveoak and to other supervisors; writes `docs/comparison.md`.

use crate::Failure;
use crate::run::step;
use crate::task::no_arguments;

/// Builds and runs the comparison, a workspace of its own: nobody else has to build what the others bring along.
pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    no_arguments("peers", arguments)?;
    step("cargo run --locked --release --manifest-path peers/Cargo.toml", &[])
}
