//! `liveoak schema`: prints the JSON Schema of `liveoak.toml`.

use std::io;
use std::process::ExitCode;

use crate::output;

/// Runs the command.
///
/// # Errors
/// When stdout cannot be written.
pub(crate) fn run() -> io::Result<ExitCode> {
    output::stdout(&format!("{:#}\n", liveoak_config::schema()))?;
    Ok(ExitCode::SUCCESS)
}
