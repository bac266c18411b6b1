//! The exit of an attempt whose program, or the command of its probe, could not be started.

use crate::spawn_error::SpawnError;
use liveoak_runtime::Exit;
use std::fmt;

/// The error with which an attempt [fails](Exit::Failed) if its program could not be started.
#[derive(Debug)]
pub struct SpawnFailed(pub SpawnError);

impl fmt::Display for SpawnFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "could not {}", self.0)
    }
}

impl std::error::Error for SpawnFailed {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

/// Returns the exit of an attempt whose program could not be started. If a later attempt would fail as well, for
/// example because the program is missing, a first start is not retried.
pub(crate) fn start_failed(error: SpawnError) -> Exit {
    match error.is_retryable() {
        true => Exit::failed(SpawnFailed(error)),
        false => Exit::failed_not_retryable(SpawnFailed(error)),
    }
}

/// Returns the exit of an attempt whose probe command cannot be run.
pub(crate) fn cannot_check(error: SpawnError) -> Exit {
    Exit::failed_not_retryable(SpawnFailed(SpawnError::ReadyCheck { source: Box::new(error) }))
}
