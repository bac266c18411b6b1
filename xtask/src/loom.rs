//! `cargo xtask loom`: what is written by hand with atomics, in every order in which threads may come.

use crate::Failure;
use crate::run::{root, step};
use crate::task::no_arguments;

/// How often a thread may be interrupted in favour of another. Faults show with two; without a bound it takes hours.
const PREEMPTIONS: &str = "3";

pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    no_arguments("loom", arguments)?;
    let target = root().join("target/loom").display().to_string();
    let env = [("CARGO_TARGET_DIR", target.as_str()), ("LOOM_MAX_PREEMPTIONS", PREEMPTIONS)];
    step("cargo test --locked --release --manifest-path loom/Cargo.toml -- --test-threads=1", &env)
}
