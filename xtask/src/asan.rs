//! `cargo xtask asan`: runs the tests of `liveoak-process` under AddressSanitizer, because it has the only module with
//! `unsafe`.
//!
//! Needs a nightly toolchain. `ci` does not run it.

use crate::Failure;
use crate::failure::no_arguments;
use crate::run::{answers, root, step};

pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    no_arguments("asan", arguments)?;
    if !answers("rustup run nightly cargo --version") {
        let what = "AddressSanitizer needs a nightly toolchain: `rustup toolchain install nightly`";
        return Err(Failure::Repository(what.to_owned()));
    }
    // With `--target`, the flags do not apply to build scripts and macros.
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let folder = root().join("target/asan").display().to_string();
    let env = [("RUSTFLAGS", "-Zsanitizer=address"), ("CARGO_TARGET_DIR", folder.as_str())];
    step(
        &format!("rustup run nightly cargo test --locked -p liveoak-process --target {target} --lib --tests"),
        &env,
    )
}
