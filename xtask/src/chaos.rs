//! `cargo xtask chaos`: faults on real programs under `liveoak up`.

use crate::Failure;
use crate::run::{program_within, step};
use std::process::Command;
use std::time::Duration;

/// How long it may take beyond the time it was given.
const MORE: Duration = Duration::from_secs(300);

/// Builds both programs and runs the one against the other; arguments are its own.
pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    step("cargo build --locked -p liveoak-cli -p liveoak-chaos", &[])?;
    let here =
        std::env::current_exe().map_err(|source| Failure::Io { what: "the programs".to_owned(), source })?;
    let mut chaos = Command::new(here.with_file_name("liveoak-chaos"));
    chaos.arg(here.with_file_name("liveoak")).args(arguments);
    let seconds = arguments.iter().skip_while(|argument| *argument != "--for").nth(1);
    let seconds = seconds.and_then(|text| text.parse().ok()).unwrap_or(120);
    let line = format!("liveoak-chaos liveoak {}", arguments.join(" "));
    program_within(chaos, &line, Duration::from_secs(seconds) + MORE)
}
