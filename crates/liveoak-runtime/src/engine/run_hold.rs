//! What a run waits for after the end of its tree: observers that have something to finish.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How long a run waits for its holds at most.
const HOLD_WITHIN: Duration = Duration::from_secs(3);

/// The number of holds of one tree.
pub(crate) struct RunHolds(Arc<watch::Sender<usize>>);

impl Default for RunHolds {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(0)))
    }
}

impl RunHolds {
    pub(crate) fn hold(&self) -> RunHold {
        self.0.send_modify(|holds| *holds += 1);
        RunHold(Arc::clone(&self.0))
    }

    /// Waits until there is no hold, for a bounded time.
    pub(crate) async fn wait(&self) {
        let mut holds = self.0.subscribe();
        if *holds.borrow() > 0 {
            let _ = tokio::time::timeout(HOLD_WITHIN, holds.wait_for(|holds| *holds == 0)).await;
        }
    }
}

/// Keeps [`Supervisor::run`](crate::Supervisor::run) from returning although the tree has ended, until this value is dropped, at most
/// for three seconds.
/// An observer of a tree takes one if it has something to finish then: an answer, a last batch of metrics, a file.
pub struct RunHold(Arc<watch::Sender<usize>>);

impl Drop for RunHold {
    fn drop(&mut self) {
        self.0.send_modify(|holds| *holds -= 1);
    }
}

impl fmt::Debug for RunHold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunHold").finish_non_exhaustive()
    }
}
