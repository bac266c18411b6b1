//! Errors: one enum per operation.

use crate::api::subtask::SubtaskError;
use crate::engine::ended::Ended;
use liveoak_core::{Exit, Refusal, SpecErrors, StartFailure, StopReport};
use std::fmt;
use std::sync::Arc;

/// Why a tree did not start.
///
/// `{:?}` shows the same sentence as `{}`, because a `main` that returns the error prints its `{:?}`.
#[derive(Clone)]
#[non_exhaustive]
pub enum StartError {
    /// The caller is outside of every Tokio runtime.
    NoRuntime,
    /// The Tokio runtime has no timers, so the tree could keep no deadline.
    NoTimers,
    /// One or more specs are wrong; nothing was started.
    Spec(SpecErrors),
    /// A child failed its first start. The children that were started before it have been stopped in reverse.
    Failed {
        /// The child, and how its start failed.
        failure: Arc<StartFailure>,
        /// How the other children were stopped.
        report: Arc<StopReport>,
    },
    /// The tree ended before it was ready, for another reason: for example a stop or an exceeded limit.
    Ended(Box<Ended>),
    /// The caller is an attempt that can have no more subtasks. The tree would belong to this attempt.
    Refused(SubtaskError),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRuntime => {
                f.write_str("a tree must be started inside a Tokio runtime, for example under #[tokio::main]")
            }
            Self::NoTimers => f.write_str(
                "a tree needs the timers of its Tokio runtime: build that with enable_time() or enable_all()",
            ),
            Self::Spec(errors) => errors.fmt(f),
            Self::Failed { failure, report } => {
                failure.fmt(f)?;
                match report.entries.len() {
                    0 => Ok(()),
                    1 => f.write_str(" (one other child was stopped)"),
                    n => write!(f, " ({n} other children were stopped)"),
                }
            }
            Self::Ended(ended) => write!(f, "the tree ended before it was ready: {}", ended.exit),
            Self::Refused(SubtaskError::TooMany) => {
                f.write_str("the attempt that starts this tree has 65,536 subtasks already")
            }
            Self::Refused(_) => f.write_str("the attempt that starts this tree has ended or was abandoned"),
        }
    }
}

impl fmt::Debug for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for StartError {}

/// Why [`Supervisor::run`](crate::Supervisor::run) returned an error.
///
/// `{:?}` shows the same sentence as `{}`, because a `main` that returns the error prints its `{:?}`.
#[derive(Clone)]
#[non_exhaustive]
pub enum Error {
    /// The tree did not start.
    Start(StartError),
    /// The tree failed.
    Failed(Box<Ended>),
    /// The tree stopped, but a child was killed or abandoned.
    Forced(Arc<StopReport>),
    /// The process cannot listen for signals.
    Signals(Arc<std::io::Error>),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(error) => error.fmt(f),
            // "error: failed: ..." would say it twice.
            Self::Failed(ended) => match &ended.exit {
                Exit::Failed(failure) => f.write_str(failure.text()),
                exit => exit.fmt(f),
            },
            Self::Forced(report) => {
                f.write_str("stopped, but by force:")?;
                report.forced().try_for_each(|entry| write!(f, " {} ({})", entry.path, entry.stage.as_str()))
            }
            Self::Signals(_) => f.write_str("cannot listen for signals"),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)?;
        match self {
            Self::Signals(error) => write!(f, ": {error}"),
            Self::Start(_) | Self::Failed(_) | Self::Forced(_) => Ok(()),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Signals(error) => Some(&**error),
            Self::Start(_) | Self::Failed(_) | Self::Forced(_) => None,
        }
    }
}

impl From<StartError> for Error {
    fn from(error: StartError) -> Self {
        Self::Start(error)
    }
}

/// The reason why [`spawn`](crate::spawn) added no child.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum SpawnChildError {
    /// The caller does not run inside a child of any tree.
    NotInATree,
    /// The supervisor refused.
    Refused(Refusal),
}

impl fmt::Display for SpawnChildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotInATree => f.write_str("this code does not run inside a supervised child"),
            Self::Refused(refusal) => refusal.fmt(f),
        }
    }
}

impl std::error::Error for SpawnChildError {}
