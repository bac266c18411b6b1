//! The end of a tree: what happens when its runtime shuts down under it, and when its user's values are dropped.

use crate::engine::driver::{LiveAttempt, TreeInner};
use crate::engine::ended::Ended;
use liveoak_core::{Exit, StopEntry, StopReport, StopStage};
use std::sync::Arc;
use std::time::Duration;

impl TreeInner {
    /// Ends the tree at once, because its runtime is shutting down. Nothing can be waited for any more, so every attempt
    /// is killed and abandoned, and nothing starts again. A second call does nothing.
    pub(crate) fn runtime_lost(self: &Arc<Self>) {
        let Some(live) = self.kill_for_good() else { return };
        let entry = |cell: &Arc<LiveAttempt>| StopEntry {
            path: cell.path(),
            took: Duration::ZERO,
            stage: StopStage::Killed,
            exit: Some(Exit::Killed),
        };
        let entries = live.iter().map(entry).collect();
        for cell in live {
            cell.orders.kill();
            cell.abandon();
        }
        self.drop_user_values();
        let report = Arc::new(StopReport { entries, ..StopReport::default() });
        self.set_ended(Ended { exit: Exit::Killed, report });
    }

    /// Drops what the user gave to the tree, although handles of the tree may live on. Callers that still wait for an
    /// answer get [`Refusal::TreeEnded`](liveoak_core::Refusal::TreeEnded).
    pub(crate) fn drop_user_values(&self) {
        let values = self.state().take_user_values();
        self.events.close();
        drop(values);
    }
}
