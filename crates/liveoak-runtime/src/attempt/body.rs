//! What a child runs, and what the user's code may return.

use crate::attempt::cell::AttemptCell;
use liveoak_core::Exit;
use std::convert::Infallible;
use std::sync::Arc;
use tokio::runtime::Handle;

/// Any error.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What a body may return: `()`, a `Result` with any error, or an [`Exit`].
pub trait IntoExit {
    /// Turns the outcome into an exit.
    fn into_exit(self) -> Exit;
}

impl IntoExit for () {
    fn into_exit(self) -> Exit {
        Exit::Completed
    }
}

impl IntoExit for Infallible {
    fn into_exit(self) -> Exit {
        match self {}
    }
}

impl IntoExit for Exit {
    fn into_exit(self) -> Exit {
        self
    }
}

impl<T: IntoExit, E: Into<BoxError>> IntoExit for Result<T, E> {
    fn into_exit(self) -> Exit {
        match self {
            Ok(outcome) => outcome.into_exit(),
            Err(error) => Exit::failed(error),
        }
    }
}

/// Starts the attempts of a child of the tree `T`: each call of `start` begins one attempt, without the tree's lock.
/// All attempts are stopped and killed in the same way, through the [orders](AttemptCell::orders) of the cell.
pub(crate) trait Body<T>: Send + Sync + 'static {
    /// Starts the attempt of `cell` on the runtime of `handle`. Must not run the user's code itself.
    fn start(self: Arc<Self>, cell: Arc<AttemptCell<T>>, handle: &Handle);
}
