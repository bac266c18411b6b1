//! Errors of probes, and the reasons why a program is not ready.

use crate::spawn_error::SpawnError;
use std::fmt;
use std::io;
use std::time::Duration;

/// The reason why the text of a probe is invalid.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ProbeError {
    /// The log probe's pattern is not a regular expression.
    Pattern {
        /// As given.
        pattern: String,
        /// What is wrong with it.
        source: regex_lite::Error,
    },
    /// Not `host:port`, `:port` or `[v6]:port`.
    Address {
        /// As given.
        address: String,
        /// What is wrong with it, as a clause: "it has no port".
        reason: &'static str,
    },
    /// Not `http://host:port/path`.
    Url {
        /// As given.
        url: String,
        /// What is wrong with it, as a clause: "it has no port".
        reason: &'static str,
    },
    /// `https`, which would need a TLS library. Probe a plain port, or use a command (`curl`).
    Https {
        /// As given.
        url: String,
    },
}

impl ProbeError {
    /// Returns what is wrong with the value, as a clause for a message that shows the value itself.
    pub fn reason(&self) -> String {
        match self {
            ProbeError::Pattern { source, .. } => source.to_string(),
            ProbeError::Address { reason, .. } | ProbeError::Url { reason, .. } => (*reason).to_owned(),
            ProbeError::Https { .. } => {
                "https is not supported, use a plain http port or a command probe".to_owned()
            }
        }
    }
}

impl fmt::Display for ProbeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProbeError::Pattern { pattern, .. } => write!(f, "could not read the pattern {pattern:?}"),
            ProbeError::Address { address, .. } => {
                write!(f, "could not read the address {address:?}: {}", self.reason())
            }
            ProbeError::Url { url, .. } => write!(f, "could not read the URL {url:?}: {}", self.reason()),
            ProbeError::Https { url } => write!(f, "could not probe {url:?}: {}", self.reason()),
        }
    }
}

impl std::error::Error for ProbeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ProbeError::Pattern { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// The reason why one check failed: a phrase that follows "not ready:".
#[derive(Debug)]
#[non_exhaustive]
pub enum ProbeFailure {
    /// The program did not give the answer that the probe waits for.
    NotYet {
        /// What was found instead: "connection refused at 127.0.0.1:7000".
        found: String,
    },
    /// The command of the probe could not be started.
    Spawn {
        /// The command, as a shell would read it.
        command: String,
        /// Why it did not start.
        source: SpawnError,
    },
    /// The check took longer than it may.
    TimedOut {
        /// What the probe waits for.
        waited_for: String,
        /// How long a check may take.
        limit: Duration,
    },
}

impl ProbeFailure {
    /// Returns `true` if a later check may succeed. A command that cannot be run (no such file, not executable, a missing
    /// folder) stays so until files or the configuration are changed.
    pub fn is_retryable(&self) -> bool {
        match self {
            ProbeFailure::Spawn { source, .. } => source.is_retryable(),
            ProbeFailure::NotYet { .. } | ProbeFailure::TimedOut { .. } => true,
        }
    }

    pub(super) fn refused(error: &io::Error, by: impl fmt::Display) -> ProbeFailure {
        ProbeFailure::NotYet { found: format!("{} {by}", phrase(error)) }
    }
}

impl fmt::Display for ProbeFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProbeFailure::NotYet { found } => f.write_str(found),
            ProbeFailure::Spawn { command, .. } => write!(f, "`{command}` did not start"),
            ProbeFailure::TimedOut { waited_for, limit } => {
                write!(f, "waited {limit:?} without success for {waited_for}")
            }
        }
    }
}

/// Returns the text of a system error without its number: "connection refused".
fn phrase(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => return "nothing there".to_owned(),
        // A connection to a unix socket does not wait for a place in the queue of the server.
        io::ErrorKind::WouldBlock => return "too many connections wait to be accepted".to_owned(),
        _ => {}
    }
    if error.raw_os_error() == Some(rustix::io::Errno::PROTOTYPE.raw_os_error()) {
        return "a socket without connections (datagrams, for example)".to_owned();
    }
    let known = error.raw_os_error().is_some() && error.kind().to_string() != "uncategorized error";
    if known { error.kind().to_string() } else { error.to_string() }
}

impl std::error::Error for ProbeFailure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ProbeFailure::Spawn { source, .. } => Some(source),
            _ => None,
        }
    }
}
