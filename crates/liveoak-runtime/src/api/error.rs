//! Errors: one enum per operation.

use crate::api::subtask::SubtaskError;
use crate::engine::ended::Ended;
use crate::util::lock::ignore_poison;
use liveoak_core::{Exit, Refusal, SpecErrors, StartFailure, StopReport};
use std::fmt;
use std::sync::{Arc, Mutex};

/// Why a tree did not start.
///
/// `{:?}` shows the same sentence as `{}`, because a `main` that returns the error prints its `{:?}`.
#[derive(Clone)]
#[non_exhaustive]
pub enum StartError {
    /// The caller is outside of every Tokio runtime.
    NoRuntime,
    /// The Tokio runtime has no timers, so the tree could not keep its deadlines.
    NoTimers,
    /// One or more specs are wrong; nothing was started.
    Spec(SpecErrors),
    /// A child failed its first start. The children that were started before it have been stopped in reverse order.
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
            // No prefix "failed: ", because a caller usually prints "error: " before the message.
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

/// A refusal that gives the refused value back: the argument of a member of a group, or a child.
///
/// It converts into the plain [`Refusal`], so `?` works in functions that return either.
///
/// ```
/// # use liveoak_runtime::{Group, Refusal, Refused};
/// # use std::net::TcpStream;
/// fn accept(members: &liveoak_runtime::GroupHandle<TcpStream>, socket: TcpStream) -> Result<(), Refusal> {
///     match members.spawn(socket) {
///         Ok(_) => Ok(()),
///         // The socket is still there, for example to send an answer.
///         Err(refused) if matches!(refused.refusal(), Refusal::Full { .. }) => {
///             let _socket: Option<TcpStream> = refused.into_value();
///             Ok(())
///         }
///         Err(refused) => Err(refused.into()),
///     }
/// }
/// ```
pub struct Refused<T> {
    refusal: Refusal,
    /// In a mutex only so that the error is `Sync` although the value may not be.
    value: Option<Box<Mutex<T>>>,
}

impl<T> Refused<T> {
    pub(crate) fn new(refusal: Refusal, value: T) -> Self {
        Self { refusal, value: Some(Box::new(Mutex::new(value))) }
    }

    /// Returns the reason.
    #[must_use]
    pub const fn refusal(&self) -> &Refusal {
        &self.refusal
    }

    /// Returns the refused value. Returns `None` if the value was accepted and is used up: for example, if the first start
    /// of an added child failed.
    #[must_use]
    pub fn into_value(self) -> Option<T> {
        self.value.map(|value| ignore_poison(value.into_inner()))
    }
}

/// The refusal of something that had no value, or whose value is used up.
impl<T> From<Refusal> for Refused<T> {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, value: None }
    }
}

impl<T> From<Refused<T>> for Refusal {
    fn from(refused: Refused<T>) -> Self {
        refused.refusal
    }
}

impl<T> fmt::Debug for Refused<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.refusal.fmt(f)
    }
}

impl<T> fmt::Display for Refused<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.refusal, f)
    }
}

impl<T> std::error::Error for Refused<T> {}
