//! How a tree ended, and how the values that the user gave to it are dropped.

use crate::attempt::panic::catch;
use liveoak_core::{Exit, StopReport};
use std::sync::Arc;

/// How a tree ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// How its root ended.
    pub exit: Exit,
    /// How each child was stopped.
    pub report: Arc<StopReport>,
}

/// Drops a value that the user gave. Its destructor is user code and may panic; the panic is caught.
pub(crate) fn drop_catching_panics<T>(value: T) {
    let _ = catch(Some("destructor"), || drop(value));
}
