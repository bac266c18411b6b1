//! `cargo xtask asan`: the tests of processes, and with them the one module with `unsafe`, under AddressSanitizer. Needs a
//! nightly toolchain.

use crate::Failure;
use crate::run::{answers, root, step};
use crate::task::no_arguments;

pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    no_arguments("asan", arguments)?;
    if !answers("rustup run nightly cargo --version") {
        let what = "AddressSanitizer needs a nightly toolchain: `rustup toolchain install nightly`";
        return Err(Failure::Repository(what.to_owned()));
    }
    // Naming the target keeps build scripts and macros out of it.
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let folder = root().join("target/asan").display().to_string();
    let env = [("RUSTFLAGS", "-Zsanitizer=address"), ("CARGO_TARGET_DIR", folder.as_str())];
    step(
        &format!("rustup run nightly cargo test --locked -p liveoak-process --target {target} --lib --tests"),
        &env,
    )
}
