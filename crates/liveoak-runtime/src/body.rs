//! What a child runs, as the driver sees it.

use crate::cell::Cell;
use liveoak_core::Exit;
use std::convert::Infallible;
use std::sync::Arc;
use tokio::runtime::Handle;

/// Any error.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What a body may return: `()`, a `Result` with any error, or an [`Exit`].
pub trait IntoExit {
    /// The exit that this outcome is.
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

/// Begins attempts. Called by the driver only, outside its lock. How they are ended is the same for all: through
/// their [`Cell`].
pub(crate) trait Body: Send + Sync + 'static {
    /// Begins the attempt of `cell` on the runtime of `handle`. Must not run the user's code itself.
    fn start(self: Arc<Self>, cell: Arc<Cell>, handle: &Handle);
}
