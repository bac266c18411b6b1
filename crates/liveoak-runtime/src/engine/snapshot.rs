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
        let begin = || self.state().machine.begin_copy(now);
        // If the machine panics, the tree has failed, and the copy is one of its root alone.
        let copy = self.guarded(begin).unwrap_or_else(begin);
        self.complete(copy)
    }

    /// Returns the whole tree as it is now, and the events that follow.
    pub(crate) fn watch(&self) -> (Snapshot, Events) {
        let now = self.clock.now();
        let begin = || {
            let mut state = self.state();
            let copy = state.machine.begin_copy(now);
            let events = self.events.subscribe(copy.last_event());
            // The reader also gets the events of earlier inputs whose effects were not taken yet.
            state.machine.set_interest(self.events.interest());
            (copy, events)
        };
        let (copy, events) = self.guarded(begin).unwrap_or_else(begin);
        (self.complete(copy), events)
    }

    fn complete(&self, copy: TreeCopy) -> Snapshot {
        self.guarded(|| self.complete_copy(copy))
            .unwrap_or_else(|| self.state().machine.snapshot(self.clock.now()))
    }

    fn complete_copy(&self, mut copy: TreeCopy) -> Snapshot {
        loop {
            let mut state = self.state();
            if state.failed.is_some() {
                // The rest of the copied tree is not known any more.
                return state.machine.snapshot(self.clock.now());
            }
            if state.machine.go_on_copying(&mut copy, CHILDREN_AT_A_TIME) {
                break;
            }
            drop(state);
            // A thread that waits for the lock gets it now.
            std::thread::yield_now();
        }
        copy.into_snapshot()
    }
}
