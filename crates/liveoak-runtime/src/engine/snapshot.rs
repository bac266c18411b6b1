//! Snapshots of a running tree, which never hold its lock for long.
//!
//! The tree is copied a few children at a time. A child that changes during this is copied before the change, so the copy
//! is exact. The snapshot is made from the copy, outside the lock.

use crate::engine::driver::TreeInner;
use crate::engine::events::Events;
use liveoak_core::{Snapshot, TreeCopy};

/// How many children are copied while the lock is held: about ten microseconds of work.
const CHILDREN_AT_A_TIME: usize = 1024;

impl TreeInner {
    /// Returns the whole tree as it is now.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let now = self.clock.now();
        let copy = self.state().machine.begin_copy(now);
        self.complete(copy)
    }

    /// Returns the whole tree as it is now, and the events that follow.
    pub(crate) fn watch(&self) -> (Snapshot, Events) {
        let now = self.clock.now();
        let mut state = self.state();
        let copy = state.machine.begin_copy(now);
        let events = self.events.subscribe(copy.last_event());
        // The reader also gets the events of earlier inputs whose effects were not taken yet.
        state.machine.set_interest(self.events.interest());
        drop(state);
        (self.complete(copy), events)
    }

    fn complete(&self, mut copy: TreeCopy) -> Snapshot {
        while !self.state().machine.go_on_copying(&mut copy, CHILDREN_AT_A_TIME) {
            // A thread that waits for the lock gets it now.
            std::thread::yield_now();
        }
        copy.into_snapshot()
    }
}
