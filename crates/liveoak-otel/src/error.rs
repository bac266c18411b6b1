//! Why nothing can be sent.

use std::fmt;
use std::io;

/// Why the telemetry of a tree did not start.
#[derive(Debug)]
#[non_exhaustive]
pub enum OtelError {
    /// A setting, of the program or of a variable: one sentence that names it and says what it may be.
    Setting(String),
    /// The exporter refused its settings.
    Exporter(String),
    /// The thread of the observer.
    Thread(io::Error),
}

impl fmt::Display for OtelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Setting(problem) | Self::Exporter(problem) => f.write_str(problem),
            Self::Thread(error) => write!(f, "the thread of the observer did not start: {error}"),
        }
    }
}

impl std::error::Error for OtelError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Setting(_) | Self::Exporter(_) => None,
            Self::Thread(error) => Some(error),
        }
    }
}
