//! The program `cargo xtask TASK`: runs one of [`xtask::TASKS`]. The exit code is 2 for wrong arguments, and 1 for a
//! failed task.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for people")]

use std::process::ExitCode;
use xtask::{Failure, dispatch, usage};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if matches!(arguments.first().map(String::as_str), Some("help" | "-h" | "--help")) {
        print!("{}", usage());
        return ExitCode::SUCCESS;
    }
    match dispatch(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure @ Failure::Usage(_)) => {
            eprint!("xtask: {failure}\n\n{}", usage());
            ExitCode::from(2)
        }
        Err(failure) => {
            eprintln!("xtask: {failure}");
            ExitCode::FAILURE
        }
    }
}
