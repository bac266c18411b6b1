//! The `liveoak` program; `liveoak --help` describes it.

use std::process::ExitCode;

fn main() -> ExitCode {
    liveoak_cli::run()
}
