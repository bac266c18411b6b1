//! How a tree ended.

use liveoak_core::{Exit, StopReport};
use std::sync::Arc;

/// How a tree ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// How its root ended.
    pub exit: Exit,
    /// How the children were stopped.
    pub report: Arc<StopReport>,
}
