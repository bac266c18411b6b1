//! The `liveoak` program, as a library of two functions: what `main` calls, and what fuzzing calls.
//!
//! - `args`: the command line
//! - `check`, `schema`, `up`: the commands
//! - `config`: `liveoak.toml`, from text to checked data
//! - `oracle`: what must hold of whatever is read, for fuzzing
//! - `output`: the only place that writes to stdout and stderr

mod args;
mod check;
mod config;
mod oracle;
mod output;
mod schema;
mod up;

use std::process::ExitCode;

use clap::Parser as _;

/// The tree failed: it gave up, or did not start.
const EXIT_FAILED: u8 = 1;
/// Usage or config: the caller has to change something before it can work.
const EXIT_USAGE: u8 = 2;
/// The tree stopped, but something had to be forced.
const EXIT_FORCED: u8 = 3;

/// The whole program: reads its command line, does what it says, and gives the exit code.
#[must_use]
pub fn run() -> ExitCode {
    let cli = match args::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come this way too, with code 0. A closed stdout is nobody's error.
            let _ = error.print();
            return if error.exit_code() == 0 { ExitCode::SUCCESS } else { ExitCode::from(EXIT_USAGE) };
        }
    };
    let written = match cli.command {
        args::Command::Check(args) => check::run(&args),
        args::Command::Schema => schema::run(),
        args::Command::Up(args) => up::run(&args),
    };
    written.unwrap_or_else(|error| {
        output::stderr(&format!("error: cannot write the output: {error}\n"));
        ExitCode::FAILURE
    })
}

/// Reads `bytes` as if they were a `liveoak.toml`, without looking at any file, and holds what comes of them to what a file
/// must keep. For fuzzing. Whether they were a good file.
///
/// # Panics
/// When what comes of them is wrong.
#[doc(hidden)]
#[must_use]
pub fn read_bytes(bytes: &[u8]) -> bool {
    oracle::read_bytes(bytes)
}
