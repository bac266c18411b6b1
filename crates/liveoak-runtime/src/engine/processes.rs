//! Which process the last attempt of each program runs as.
//!
//! The machine knows nothing of processes. The entry of a program that is over stays until the program starts again or, if it
//! has left the tree, until the table is cleared up. So the end of an attempt costs nothing. A reader looks up the live
//! attempt, so it never sees the process of an earlier one.

use crate::util::lock::lock;
use liveoak_core::{Attempt, ChildId};
use std::collections::{HashMap, HashSet};
use std::sync::Mutex;

/// The table is never cleared up while it has fewer entries.
const FEW: usize = 1024;

#[derive(Debug, Default)]
pub(crate) struct Processes(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    pids: HashMap<ChildId, (Attempt, u32)>,
    /// The number of entries that the last clearing left.
    left: usize,
}

impl Processes {
    /// Notes the process of an attempt. If the table has doubled since it was cleared up, forgets the children that are no
    /// longer `in_tree`.
    pub(crate) fn keep(
        &self,
        (id, attempt): (ChildId, Attempt),
        pid: u32,
        in_tree: impl Fn(ChildId) -> bool,
    ) {
        let ids: Vec<ChildId> = {
            let mut table = lock(&self.0);
            table.pids.insert(id, (attempt, pid));
            if table.pids.len() < FEW.max(2 * table.left) {
                return;
            }
            table.pids.keys().copied().collect()
        };
        // The lock of the tree is taken while the table is not locked.
        let gone: HashSet<ChildId> = ids.into_iter().filter(|id| !in_tree(*id)).collect();
        let mut table = lock(&self.0);
        table.pids.retain(|id, _| !gone.contains(id));
        table.left = table.pids.len();
    }

    /// Returns the process of this attempt, if it runs as one.
    pub(crate) fn of(&self, id: ChildId, attempt: Attempt) -> Option<u32> {
        let table = lock(&self.0);
        table.pids.get(&id).filter(|(kept, _)| *kept == attempt).map(|(_, pid)| *pid)
    }

    /// Returns all entries, also those of attempts that are over.
    pub(crate) fn all(&self) -> Vec<(ChildId, Attempt, u32)> {
        lock(&self.0).pids.iter().map(|(id, (attempt, pid))| (*id, *attempt, *pid)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn child(slot: u32) -> ChildId {
        ChildId { slot, serial: 0 }
    }

    #[test]
    fn a_process_is_found_by_its_own_attempt_only() {
        let processes = Processes::default();
        processes.keep((child(1), Attempt(1)), 100, |_| true);
        processes.keep((child(1), Attempt(2)), 200, |_| true);
        assert_eq!(processes.of(child(1), Attempt(2)), Some(200));
        assert_eq!(processes.of(child(1), Attempt(1)), None);
        assert_eq!(processes.of(child(2), Attempt(1)), None);
    }

    #[test]
    fn children_that_left_the_tree_are_forgotten_when_the_table_has_doubled() {
        let processes = Processes::default();
        for slot in 0..100_000 {
            // Only the first hundred and the newest stay in the tree.
            processes.keep((child(slot), Attempt(1)), slot, |id| id.slot < 100 || id.slot == slot);
            assert!(lock(&processes.0).pids.len() <= FEW, "bounded at {slot}");
        }
        assert_eq!(processes.of(child(99), Attempt(1)), Some(99));
        assert_eq!(processes.of(child(500), Attempt(1)), None);
    }
}
