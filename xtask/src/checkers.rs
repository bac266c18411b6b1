//! `cargo xtask loom` and `cargo xtask asan`: run tests under a checker that sees more than the tests do.

use crate::Failure;
use crate::failure::no_arguments;
use crate::run::{need, root, step};

/// How often threads may be preempted. Known faults appear with two preemptions; without a bound the tests take hours.
const PREEMPTIONS: &str = "3";

/// Tests the code that uses atomics in all orders of its threads' steps with up to three preemptions. The tests are in
/// the workspace `loom/`. They cover only that code; the rest is tested with real threads.
pub(crate) fn loom(arguments: &[String]) -> Result<(), Failure> {
    no_arguments("loom", arguments)?;
    let target = root().join("target/loom").display().to_string();
    let env = [("CARGO_TARGET_DIR", target.as_str()), ("LOOM_MAX_PREEMPTIONS", PREEMPTIONS)];
    step("cargo test --locked --release --manifest-path loom/Cargo.toml -- --test-threads=1", &env)
}

/// Runs the tests of `liveoak-process` under AddressSanitizer, because it has the only module with `unsafe`. `ci` does
/// not run it, because it needs a nightly toolchain.
pub(crate) fn asan(arguments: &[String]) -> Result<(), Failure> {
    no_arguments("asan", arguments)?;
    need(
        "rustup run nightly cargo --version",
        "AddressSanitizer needs a nightly toolchain: `rustup toolchain install nightly`",
    )?;
    // With `--target`, the flags do not apply to build scripts and macros.
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let folder = root().join("target/asan").display().to_string();
    let env = [("RUSTFLAGS", "-Zsanitizer=address"), ("CARGO_TARGET_DIR", folder.as_str())];
    step(
        &format!("rustup run nightly cargo test --locked -p liveoak-process --target {target} --lib --tests"),
        &env,
    )
}
