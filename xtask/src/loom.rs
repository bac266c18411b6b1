//! `cargo xtask loom`: tests the code that uses atomics in every possible order of its threads' steps.
//!
//! The tests are in the workspace `loom/`. They cover only that code; the rest is tested with real threads.

use crate::Failure;
use crate::failure::no_arguments;
use crate::run::{root, step};

/// How often threads may be preempted. Known faults appear with two preemptions; without a bound the tests take hours.
const PREEMPTIONS: &str = "3";

pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    no_arguments("loom", arguments)?;
    let target = root().join("target/loom").display().to_string();
    let env = [("CARGO_TARGET_DIR", target.as_str()), ("LOOM_MAX_PREEMPTIONS", PREEMPTIONS)];
    step("cargo test --locked --release --manifest-path loom/Cargo.toml -- --test-threads=1", &env)
}
