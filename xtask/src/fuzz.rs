//! `cargo xtask fuzz`: runs the config reader under libFuzzer.
//!
//! Needs a nightly toolchain and `cargo install cargo-fuzz`. A short fuzz test with stable Rust is part of the ordinary
//! tests.

use crate::Failure;
use crate::run::{need, root, step};
use std::fs;

/// The folders with the texts that the fuzzer starts from.
const SEED_FOLDERS: [&str; 2] = ["crates/liveoak-cli/tests/good", "crates/liveoak-cli/tests/bad"];

/// The folder with the fuzzer's own texts.
const CORPUS: &str = "target/fuzz/corpus/config";

/// Fuzzes for a minute, or for `--for SECONDS`.
pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    let seconds: u64 = match arguments {
        [] => 60,
        [option, seconds] if option == "--for" => {
            seconds.parse().map_err(|_| Failure::Usage(format!("`{seconds}` is not a number of seconds")))?
        }
        _ => return Err(Failure::Usage("`fuzz` takes `--for SECONDS`".to_owned())),
    };
    need(
        "rustup run nightly cargo fuzz --version",
        "fuzzing needs a nightly toolchain and cargo-fuzz: `rustup toolchain install nightly` and `cargo install cargo-fuzz`",
    )?;
    copy_seeds().map_err(Failure::io(CORPUS))?;
    let target = root().join("target/fuzz").display().to_string();
    let line = format!(
        "rustup run nightly cargo fuzz run --fuzz-dir fuzz config {CORPUS} -- -max_total_time={seconds} -timeout=10 -max_len=8192"
    );
    step(&line, &[("CARGO_TARGET_DIR", &target)])
}

/// Copies the config files of the tests into the corpus.
fn copy_seeds() -> std::io::Result<()> {
    let corpus = root().join(CORPUS);
    fs::create_dir_all(&corpus)?;
    for folder in SEED_FOLDERS {
        for entry in fs::read_dir(root().join(folder))? {
            let entry = entry?;
            if entry.path().extension().is_some_and(|extension| extension == "toml") {
                fs::copy(entry.path(), corpus.join(entry.file_name()))?;
            }
        }
    }
    Ok(())
}
