//! The `liveoak` program: see `liveoak --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    liveoak_cli::run()
}
