//! `cargo xtask fuzz`: the config reader under libFuzzer. Needs a nightly toolchain and `cargo install cargo-fuzz`.

use crate::Failure;
use crate::run::{answers, root, step};
use std::fs;

/// Where the texts that begin it come from, and where those that it finds are kept.
const BEGINNINGS: [&str; 2] = ["crates/liveoak-cli/tests/good", "crates/liveoak-cli/tests/bad"];
const CORPUS: &str = "target/fuzz/corpus/config";

/// Fuzzes for a minute, or for `--for SECONDS`.
pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    let seconds: u64 = match arguments {
        [] => 60,
        [option, seconds] if option == "--for" => {
            seconds.parse().map_err(|_| Failure::Usage(format!("`{seconds}` is no number of seconds")))?
        }
        _ => return Err(Failure::Usage("`fuzz` takes `--for SECONDS`".to_owned())),
    };
    if !answers("rustup run nightly cargo fuzz --version") {
        let what = "fuzzing needs a nightly toolchain and cargo-fuzz: \
                    `rustup toolchain install nightly` and `cargo install cargo-fuzz`";
        return Err(Failure::Repository(what.to_owned()));
    }
    begin().map_err(|source| Failure::Io { what: CORPUS.to_owned(), source })?;
    let target = root().join("target/fuzz").display().to_string();
    let line = format!(
        "rustup run nightly cargo fuzz run --fuzz-dir fuzz config {CORPUS} -- -max_total_time={seconds} -timeout=10 -max_len=8192"
    );
    step(&line, &[("CARGO_TARGET_DIR", &target)])
}

/// Copies the texts of the tests to where the fuzzer begins.
fn begin() -> std::io::Result<()> {
    let corpus = root().join(CORPUS);
    fs::create_dir_all(&corpus)?;
    for folder in BEGINNINGS {
        for entry in fs::read_dir(root().join(folder))? {
            let entry = entry?;
            if entry.path().extension().is_some_and(|extension| extension == "toml") {
                fs::copy(entry.path(), corpus.join(entry.file_name()))?;
            }
        }
    }
    Ok(())
}
