//! Copies of the arena as it was at one moment, taken a few slots at a time while the machine continues.
//!
//! If a slot changes before it was copied, it is copied before the change. So a copy is exact, however long it takes.

use super::state::{Child, Index};
use crate::ChildSpec;
use std::collections::BTreeMap;
use std::sync::Arc;

/// One slot. A vacant slot remembers how often it was used, so that no old id refers to the next child in the slot.
#[derive(Debug)]
pub(super) enum Slot {
    Vacant { serial: u32, next: Option<Index> },
    Used(Child),
}

impl Slot {
    /// Returns a copy of the slot with the fields that a snapshot needs.
    fn frozen(&self, any_spec: &Arc<ChildSpec>) -> Self {
        match self {
            Self::Vacant { .. } => Self::Vacant { serial: 0, next: None },
            Self::Used(child) => Self::Used(child.frozen(any_spec)),
        }
    }
}

/// A copy that is not complete yet.
#[derive(Debug)]
pub(super) struct PendingCopy {
    pub(super) number: u64,
    /// The number of slots when the copy was begun. Later slots are not part of the copy.
    len: usize,
    /// The next slot to copy.
    next: usize,
    /// The slots from `next` on that have changed since the copy was begun, as they were before the change.
    changed: BTreeMap<usize, Slot>,
    /// A spec for children whose own spec the snapshot does not need.
    any_spec: Arc<ChildSpec>,
}

impl PendingCopy {
    pub(super) fn new(number: u64, len: usize) -> Self {
        Self { number, len, next: 0, changed: BTreeMap::new(), any_spec: Arc::default() }
    }

    /// Copies a slot that is about to change, unless it was already copied.
    pub(super) fn preserve(&mut self, slot: usize, content: &Slot) {
        if slot >= self.next && slot < self.len {
            self.changed.entry(slot).or_insert_with(|| content.frozen(&self.any_spec));
        }
    }

    /// Adds the next slots to `copied`, at most `most`. Returns `true` if the copy is complete.
    pub(super) fn go_on(&mut self, slots: &[Slot], most: usize, copied: &mut Vec<Slot>) -> bool {
        let end = self.len.min(self.next.saturating_add(most));
        for (slot, content) in slots.iter().enumerate().take(end).skip(self.next) {
            // Mostly nothing has changed.
            let changed = if self.changed.is_empty() { None } else { self.changed.remove(&slot) };
            copied.push(changed.unwrap_or_else(|| content.frozen(&self.any_spec)));
        }
        self.next = end;
        end == self.len
    }
}
