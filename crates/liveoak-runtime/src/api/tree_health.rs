//! The tree's own state, health and final report.

use crate::api::tree::TreeHandle;
use crate::engine::ended::{FinalReport, TreeHealth, TreePhase};
use liveoak_core::{ChildState, IdleReason};
use std::sync::Arc;

impl TreeHandle {
    /// Returns what the tree is doing.
    #[must_use]
    pub fn state(&self) -> TreePhase {
        self.health().state
    }

    /// Returns `true` if the tree has been ready, and nothing stops it.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.state() == TreePhase::Alive
    }

    /// Waits until the runtime of the tree has run a new task. While code blocks every thread of the runtime, this does not
    /// return, and no command that begins an attempt has an effect. Call it from another runtime, with a timeout.
    ///
    /// # Errors
    /// When the runtime has shut down.
    pub async fn runtime_answers(&self) -> Result<(), RuntimeEnded> {
        self.inner.clock.handle.spawn(async {}).await.map_err(|_| RuntimeEnded)
    }

    /// Returns how the whole tree is: its state and since when, its readiness and its health, and why it failed.
    #[must_use]
    pub fn health(&self) -> TreeHealth {
        let (observed, ended) = (self.inner.clock.now(), self.inner.final_report.get());
        let ((root, since, health), failed) = {
            let state = self.inner.state();
            (state.machine.root_state(), state.failed.is_some())
        };
        let state = match (ended, root) {
            (Some(report), _) => report.state,
            (None, ChildState::Running) => TreePhase::Alive,
            (None, ChildState::Idle(IdleReason::SupervisorDown) | ChildState::Starting { .. })
                if !self.inner.is_ready() && !failed =>
            {
                TreePhase::Starting
            }
            // The root has ended, but the end of the tree still waits for destructors.
            (None, _) => TreePhase::Stopping,
        };
        let failure = ended.and_then(|report| report.failure.clone());
        TreeHealth { state, since, observed, ready: state == TreePhase::Alive, health, failure }
    }

    /// Returns the report of a tree that has ended: its exit, when it began and ended, who asked for the end and why, what
    /// failed first, and how each child was stopped. `None` while the tree goes on. Every call returns the same value.
    #[must_use]
    pub fn final_report(&self) -> Option<Arc<FinalReport>> {
        self.inner.final_report.get().cloned()
    }
}

/// The runtime of a tree has shut down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuntimeEnded;

impl std::fmt::Display for RuntimeEnded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the runtime of the tree has shut down")
    }
}

impl std::error::Error for RuntimeEnded {}
