//! Tests `liveoak up` with fifty real programs and injected faults.
//!
//! Processes are killed and suspended, a small file system and the pipes fill up, and file descriptors and processes
//! run out. At the end all programs must run again, the log must agree with what was done, and after the stop no
//! process may be left.
//!
//! - [`plan`]: which fault comes when, computed from the seed
//! - [`faults`]: injects the faults
//! - [`programs`] and [`sandbox`]: the fifty programs, and the folder in which they run
//! - [`log`] and [`output`]: observe the log, and the output of the programs
//! - [`verify`]: watches the processes, and compares all observations with the injected faults
//! - [`run`]: the order of steps
//!
//! It signals only processes that carry the mark of this run and guardians of this run, and changes only limits of
//! `liveoak up` and its programs. Run by `cargo xtask chaos`. For tests of one behaviour at a time see the tests of `liveoak-cli`.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for people")]

mod faults;
mod log;
mod output;
mod plan;
mod programs;
mod run;
mod sandbox;
mod verify;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const USAGE: &str = "usage: liveoak-chaos LIVEOAK [--for SECONDS] [--seed NUMBER] [--plan STEPS]";

/// The command line.
struct Options {
    liveoak: PathBuf,
    time: Duration,
    seed: u64,
    /// If set, this many steps of the plan are printed, and nothing is run.
    plan: Option<u64>,
}

fn parse_options(mut arguments: impl Iterator<Item = String>) -> Option<Options> {
    let liveoak = PathBuf::from(arguments.next()?);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut options =
        Options { liveoak, time: Duration::from_secs(120), seed: now.subsec_nanos().into(), plan: None };
    while let Some(option) = arguments.next() {
        let number = arguments.next()?.parse().ok()?;
        match option.as_str() {
            "--for" => options.time = Duration::from_secs(number),
            "--seed" => options.seed = number,
            "--plan" => options.plan = Some(number),
            _ => return None,
        }
    }
    Some(options)
}

fn main() -> ExitCode {
    let Some(Options { liveoak, time, seed, plan }) = parse_options(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    if let Some(steps) = plan {
        (0..steps).for_each(|number| println!("{number}: {}", plan::step(seed, 0, number)));
        return ExitCode::SUCCESS;
    }
    println!(
        "chaos for {} s; to repeat: cargo xtask chaos --for {} --seed {seed}",
        time.as_secs(),
        time.as_secs()
    );
    match run::all(&liveoak, time, seed) {
        Ok(()) => {
            println!(
                "passed: no output was lost unnoticed, no process is left, and the log and the report are true"
            );
            ExitCode::SUCCESS
        }
        Err(what) => {
            eprintln!("chaos (seed {seed}): {what}");
            ExitCode::FAILURE
        }
    }
}
