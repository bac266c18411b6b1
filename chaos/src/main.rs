//! `liveoak up` with fifty real programs, while their processes are killed and suspended, a small file system and the
//! pipes fill up, and file descriptors and processes run out; and at the end everything must be there again, all that
//! was told must be so, and then all must be gone without a trace.
//!
//! - [`plan`]: what is done when, from the seed
//! - [`faults`]: doing it
//! - [`programs`] and [`place`]: the fifty, and where they run
//! - [`log`], [`output`] and [`eyes`]: what `liveoak` says, what its programs say, and what is there
//! - [`truth`]: whether these agree
//! - [`run`]: the order of things
//!
//! Only processes that carry the mark of this run are touched, and only limits of `liveoak up` and its programs are
//! changed. Run by `cargo xtask chaos`.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for people")]

mod eyes;
mod faults;
mod log;
mod output;
mod place;
mod plan;
mod programs;
mod run;
mod truth;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const USAGE: &str = "usage: liveoak-chaos LIVEOAK [--for SECONDS] [--seed NUMBER] [--plan STEPS]";

/// What is to be done.
struct Task {
    liveoak: PathBuf,
    time: Duration,
    seed: u64,
    /// So many steps of the plan are only shown.
    plan: Option<u64>,
}

fn task(mut arguments: impl Iterator<Item = String>) -> Option<Task> {
    let liveoak = PathBuf::from(arguments.next()?);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut task =
        Task { liveoak, time: Duration::from_secs(120), seed: now.subsec_nanos().into(), plan: None };
    while let Some(option) = arguments.next() {
        let number = arguments.next()?.parse().ok()?;
        match option.as_str() {
            "--for" => task.time = Duration::from_secs(number),
            "--seed" => task.seed = number,
            "--plan" => task.plan = Some(number),
            _ => return None,
        }
    }
    Some(task)
}

fn main() -> ExitCode {
    let Some(Task { liveoak, time, seed, plan }) = task(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    if let Some(steps) = plan {
        (0..steps).for_each(|number| println!("{number}: {}", plan::step(seed, 0, number)));
        return ExitCode::SUCCESS;
    }
    println!(
        "chaos for {} s; again: cargo xtask chaos --for {} --seed {seed}",
        time.as_secs(),
        time.as_secs()
    );
    match run::all(&liveoak, time, seed) {
        Ok(()) => {
            println!("nothing was lost, nothing is left over, and all that was said was true");
            ExitCode::SUCCESS
        }
        Err(what) => {
            eprintln!("chaos (seed {seed}): {what}");
            ExitCode::FAILURE
        }
    }
}
