//! `cargo xtask ci`: all that a change must pass, in the order in which it is cheap to fail. `.ci/run` calls this.

#![expect(clippy::print_stderr, reason = "a program for people")]

use crate::run::{root, step, step_within};
use crate::task::no_arguments;
use crate::{Failure, examples, readme};
use std::time::{Duration, Instant};

/// The demonstration: fifteen seconds of running, the rest for building it.
const DEMO_LIMIT: Duration = Duration::from_secs(600);

/// How long the demonstration runs if README does not say.
const DEMO_FOR: &str = " --for 15s";

/// A short run of it, in seconds; it takes about twice that.
const CHAOS_FOR: &str = "20";

/// Warnings in docs (a dead link, an unclosed tag) are errors.
const STRICT_DOCS: (&str, &str) = ("RUSTDOCFLAGS", "-D warnings");

pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    no_arguments("ci", arguments)?;
    let begun = Instant::now();
    let promised = promised()?;

    step("cargo fmt --all --check", &[])?;
    for apart in ["fuzz", "loom", "peers"] {
        step(&format!("cargo fmt --manifest-path {apart}/Cargo.toml --check"), &[])?;
    }
    step("cargo clippy --locked --workspace --all-targets --all-features -- -D warnings", &[])?;
    step("cargo doc --locked --workspace --no-deps --lib --all-features", &[STRICT_DOCS])?;
    // With the features that most users have: in the workspace's builds, those of its tests are always on.
    step("cargo check --locked -p liveoak", &[])?;
    examples::run()?;
    step_within(&promised.demo, DEMO_LIMIT)?;
    crate::chaos::run(&["--for", CHAOS_FOR, "--seed", "1"].map(str::to_owned))?;
    crate::loom::run(&[])?;
    // Last, so that the tests' closing lines end the log.
    step(&promised.test, &[])?;

    eprintln!("\nEverything passed in {} s.", begun.elapsed().as_secs());
    Ok(())
}

/// README's commands; the demonstration with an end.
fn promised() -> Result<readme::Commands, Failure> {
    let path = root().join("README.md");
    let text = std::fs::read_to_string(path)
        .map_err(|source| Failure::Io { what: "README.md".to_owned(), source })?;
    let mut commands = readme::commands(&text).map_err(Failure::Repository)?;
    if !commands.demo.contains(DEMO_FOR.trim_end_matches("15s")) {
        commands.demo.push_str(DEMO_FOR);
    }
    Ok(commands)
}
