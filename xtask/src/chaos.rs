//! `cargo xtask chaos`: injects faults into real programs under `liveoak up`.
//!
//! The faults and the checks are in the crate `liveoak-chaos`; this file builds both programs and limits the time.

use crate::Failure;
use crate::run::{program_within, step};
use std::process::Command;
use std::time::Duration;

/// How much longer than `--for` the whole run may take.
const EXTRA_TIME: Duration = Duration::from_secs(300);

/// Builds `liveoak` and `liveoak-chaos`, runs the latter, and passes the arguments on to it.
pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    step("cargo build --locked -p liveoak-cli -p liveoak-chaos", &[])?;
    let here = std::env::current_exe().map_err(Failure::io("the programs"))?;
    let mut chaos = Command::new(here.with_file_name("liveoak-chaos"));
    chaos.arg(here.with_file_name("liveoak")).args(arguments);
    let seconds = arguments.iter().skip_while(|argument| *argument != "--for").nth(1);
    let seconds = seconds.and_then(|text| text.parse().ok()).unwrap_or(120);
    let line = format!("liveoak-chaos liveoak {}", arguments.join(" "));
    program_within(chaos, &line, Duration::from_secs(seconds) + EXTRA_TIME)
}
