//! `cargo xtask ci`: everything that a change must pass. Checks that fail quickly come first. `.ci/run` calls this.
//!
//! These tasks are not part of it, because they take long, or need a quiet machine or more than the stable toolchain:
//! `mutants`, `coverage`, `soak`, `fuzz`, `asan`, `bench`, `peers`.

#![expect(clippy::print_stderr, reason = "a program for people")]

use crate::failure::no_arguments;
use crate::run::{root, step, step_within};
use crate::{Failure, examples, readme};
use std::time::{Duration, Instant};

/// The time limit of README's demonstration: it ends after fifteen seconds; the rest is for building it.
const DEMO_LIMIT: Duration = Duration::from_secs(600);

/// The length of the chaos run in seconds. The whole takes about twice as long.
const CHAOS_FOR: &str = "20";

/// Makes warnings in docs (a dead link, an unclosed tag) errors.
const STRICT_DOCS: (&str, &str) = ("RUSTDOCFLAGS", "-D warnings");

pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    no_arguments("ci", arguments)?;
    let begun = Instant::now();
    let readme = std::fs::read_to_string(root().join("README.md")).map_err(Failure::io("README.md"))?;
    let readme = readme::commands(&readme).map_err(Failure::Setup)?;

    step("cargo fmt --all --check", &[])?;
    for apart in ["fuzz", "loom", "peers"] {
        step(&format!("cargo fmt --manifest-path {apart}/Cargo.toml --check"), &[])?;
    }
    step("cargo clippy --locked --workspace --all-targets --all-features -- -D warnings", &[])?;
    step("cargo doc --locked --workspace --no-deps --lib --all-features", &[STRICT_DOCS])?;
    // With the default features only: builds of the whole workspace always have the features that its tests need.
    step("cargo check --locked -p liveoak", &[])?;
    examples::run()?;
    step_within(&readme.demo, DEMO_LIMIT)?;
    crate::chaos::run(&["--for", CHAOS_FOR, "--seed", "1"].map(str::to_owned))?;
    crate::checkers::loom(&[])?;
    // Last, so that the log ends with the results of the tests.
    step(&readme.test, &[])?;

    eprintln!("\nEverything passed in {} s.", begun.elapsed().as_secs());
    Ok(())
}
