//! What is wrong with a probe, and why a program is not ready.

use crate::exit::Status;
use crate::spawn_error::SpawnError;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// A probe that cannot be run, whatever the program does.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ProbeError {
    /// The log probe's pattern is no regular expression.
    Pattern {
        /// As given.
        pattern: String,
        /// What is wrong with it.
        source: regex_lite::Error,
    },
    /// Not `host:port` or `:port`.
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
            ProbeError::Pattern { pattern, .. } => write!(f, "read the pattern {pattern:?}"),
            ProbeError::Address { address, .. } => {
                write!(f, "read the address {address:?}: {}", self.reason())
            }
            ProbeError::Url { url, .. } => write!(f, "read the URL {url:?}: {}", self.reason()),
            ProbeError::Https { url } => write!(f, "probe {url:?}: {}", self.reason()),
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

/// Why one check failed: a phrase that follows "not ready:".
#[derive(Debug)]
#[non_exhaustive]
pub enum ProbeFailure {
    /// The delay is not over.
    TooEarly {
        /// The rest of the delay.
        remaining: Duration,
    },
    /// No line matched yet.
    NoMatch {
        /// The log probe's pattern.
        pattern: String,
    },
    /// The connection failed.
    Connect {
        /// The address or path.
        target: String,
        /// The error of the system.
        source: io::Error,
    },
    /// There is nothing at the path.
    Missing {
        /// The file probe's path.
        path: PathBuf,
    },
    /// The path cannot be looked at.
    Look {
        /// The file probe's path.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// The probing command did not succeed.
    Command {
        /// The command, as a shell would read it.
        command: String,
        /// How it ended.
        status: Status,
    },
    /// The probing command did not even start.
    Spawn {
        /// The command, as a shell would read it.
        command: String,
        /// Why it did not start.
        source: SpawnError,
    },
    /// The server answered with neither a success nor a redirection.
    HttpStatus {
        /// The URL that was asked.
        url: String,
        /// The status code.
        code: u16,
    },
    /// The answer is not HTTP/1, or the connection broke.
    HttpAnswer {
        /// The URL that was asked.
        url: String,
        /// What is wrong.
        source: io::Error,
    },
    /// The check took longer than it may.
    TimedOut {
        /// What the probe waits for.
        waited_for: String,
        /// How long a check may take.
        limit: Duration,
    },
}

impl fmt::Display for ProbeFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProbeFailure::TooEarly { remaining } => write!(f, "{remaining:.1?} of its delay remain"),
            ProbeFailure::NoMatch { pattern } => write!(f, "no line matched /{pattern}/ yet"),
            ProbeFailure::Connect { target, source } => write!(f, "{} at {target}", phrase(source)),
            ProbeFailure::Missing { path } => write!(f, "{} does not exist", path.display()),
            ProbeFailure::Look { path, source } => write!(f, "{} at {}", phrase(source), path.display()),
            ProbeFailure::Command { command, status } => write!(f, "`{command}` {status}"),
            ProbeFailure::Spawn { command, .. } => write!(f, "`{command}` did not start"),
            ProbeFailure::HttpStatus { url, code } => write!(f, "status {code} from {url}"),
            ProbeFailure::HttpAnswer { url, source } => write!(f, "{} from {url}", phrase(source)),
            ProbeFailure::TimedOut { waited_for, limit } => {
                write!(f, "waited {limit:?} in vain for {waited_for}")
            }
        }
    }
}

/// Returns the text of a system error without its number: "connection refused".
fn phrase(error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::NotFound {
        return "nothing there".to_owned();
    }
    let known = error.raw_os_error().is_some() && error.kind().to_string() != "uncategorized error";
    if known { error.kind().to_string() } else { error.to_string() }
}

impl std::error::Error for ProbeFailure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            // The others with an io::Error say in their own words what it says.
            ProbeFailure::Spawn { source, .. } => Some(source),
            _ => None,
        }
    }
}
