//! Why a task failed. Every task returns this error; `main.rs` prints it.

use std::fmt;
use std::io;

/// Why a task did not succeed.
#[derive(Debug)]
pub enum Failure {
    /// The arguments are wrong: exit code 2.
    Usage(String),
    /// A command was run and failed, or did not end in time.
    Step {
        /// The command as a person would type it.
        command: String,
        /// How it ended, to follow the command in a sentence.
        outcome: String,
    },
    /// A command could not be started, or a file could not be read.
    Io {
        /// The command or the file.
        what: String,
        /// The error of the system.
        source: io::Error,
    },
    /// The repository or the installed tools are not as they must be.
    Setup(String),
}

impl Failure {
    /// Returns the function that makes a failure of `what` from an error of the system.
    pub(crate) fn io(what: &str) -> impl Fn(io::Error) -> Self + Copy {
        move |source| Failure::Io { what: what.to_owned(), source }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Usage(what) | Failure::Setup(what) => f.write_str(what),
            Failure::Step { command, outcome } => write!(f, "`{command}` {outcome}"),
            Failure::Io { what, source } => write!(f, "{what}: {source}"),
        }
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Failure::Io { source, .. } => Some(source),
            Failure::Usage(_) | Failure::Step { .. } | Failure::Setup(_) => None,
        }
    }
}

/// Returns an error if a task that takes no arguments got one.
pub(crate) fn no_arguments(task: &str, arguments: &[String]) -> Result<(), Failure> {
    match arguments.first() {
        None => Ok(()),
        Some(argument) => Err(Failure::Usage(format!("`{task}` takes no arguments, but got `{argument}`"))),
    }
}
