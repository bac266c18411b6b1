//! The `liveoak` program.
//!
//! - [`args`]: the command line
//! - [`check`], [`schema`]: the commands
//! - [`config`]: `liveoak.toml`, from text to checked data
//! - [`output`]: the only place that writes to stdout and stderr

mod args;
mod check;
mod config;
mod output;
mod schema;

use std::process::ExitCode;

use clap::Parser as _;

/// Usage or config: the caller has to change something before it can work.
const EXIT_USAGE: u8 = 2;

fn main() -> ExitCode {
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
    };
    written.unwrap_or_else(|error| {
        output::stderr(&format!("error: cannot write the output: {error}\n"));
        ExitCode::FAILURE
    })
}
