//! `cargo xtask fuzz`: runs the config reader and the control server under libFuzzer.
//!
//! Needs a nightly toolchain and `cargo install cargo-fuzz`. A short fuzz test of the reader with stable Rust is part of the
//! ordinary tests.

use crate::Failure;
use crate::run::{need, root, step};
use std::fs;
use std::path::Path;

/// The targets, each with the seconds of one input after which it counts as hanging.
const TARGETS: [(&str, u32); 3] = [("config", 10), ("request", 10), ("http", 20)];

/// The folders with the texts that the fuzzer of the reader starts from.
const SEED_FOLDERS: [&str; 2] = ["crates/liveoak-cli/tests/good", "crates/liveoak-cli/tests/bad"];

/// The requests that the fuzzers of the server start from. The first character chooses the route, or the listener.
const REQUESTS: [(&str, &str); 7] = [
    ("request", "\u{2}web\npath=ingest/*\nhost:localhost|origin:http://localhost\n"),
    ("request", "\u{7}x\nkind=ready,exited&since=1h30m&last=5&follow=true\nlast-event-id:1-7\n"),
    (
        "request",
        "\u{b}x\n\ncontent-type:application/json\n{\"paths\":[\"web\",\"**\"],\"within_s\":1.5,\"dry_run\":true}",
    ),
    ("http", "0GET /v1/events?since=1h&path=** HTTP/1.1\r\nhost: x\r\nlast-event-id: 1-1\r\n\r\n"),
    (
        "http",
        "0GET /v1/wait/web?for=ready&within_s=1 HTTP/1.1\r\nhost: x\r\n\r\nGET /metrics HTTP/1.1\r\n\r\n",
    ),
    (
        "http",
        "1GET /healthz HTTP/1.1\r\nhost: 127.0.0.1:1\r\norigin: http://127.0.0.1:1\r\ncookie: a=b; c\r\n\r\n",
    ),
    (
        "http",
        "0POST /v1/commands/restart HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n11\r\n{\"paths\":[\"web\"]}\r\n0\r\n\r\n",
    ),
];

/// Fuzzes each target for a minute, or for `--for SECONDS`.
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
    let target = root().join("target/fuzz").display().to_string();
    for (name, timeout) in TARGETS {
        let corpus = format!("target/fuzz/corpus/{name}");
        copy_seeds(name, &root().join(&corpus)).map_err(Failure::io(&corpus))?;
        let line = format!(
            "rustup run nightly cargo fuzz run --fuzz-dir fuzz {name} {corpus} -- -max_total_time={seconds} -timeout={timeout} -max_len=8192"
        );
        step(&line, &[("CARGO_TARGET_DIR", &target)])?;
    }
    Ok(())
}

/// Copies the texts that a target starts from into its corpus.
fn copy_seeds(target: &str, corpus: &Path) -> std::io::Result<()> {
    fs::create_dir_all(corpus)?;
    let requests = REQUESTS.iter().filter(|(of, _)| *of == target);
    for (nth, (_, text)) in requests.enumerate() {
        fs::write(corpus.join(format!("seed-{nth}")), text)?;
    }
    for folder in SEED_FOLDERS.iter().filter(|_| target == "config") {
        for entry in fs::read_dir(root().join(folder))? {
            let entry = entry?;
            if entry.path().extension().is_some_and(|extension| extension == "toml") {
                fs::copy(entry.path(), corpus.join(entry.file_name()))?;
            }
        }
    }
    Ok(())
}
