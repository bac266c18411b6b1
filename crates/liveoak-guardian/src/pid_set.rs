//! A set of process ids, as a bit map in memory that does not come from the allocator.

use crate::memory::Table;
use std::io;

/// The largest process id of Linux on 64 bits, plus one (`PID_MAX_LIMIT`).
const PID_LIMIT: usize = 4 * 1024 * 1024;

/// A set of process ids. Memory is used only for the ranges that ever had a member.
pub(crate) struct PidSet {
    /// Never written beyond the largest id that was inserted.
    words: Table<u64>,
}

impl PidSet {
    /// Creates an empty set.
    ///
    /// # Errors
    /// When the system has no address space left.
    pub(crate) fn new() -> io::Result<PidSet> {
        Ok(PidSet { words: Table::new(PID_LIMIT / 64)? })
    }

    /// Returns the place of an id: the word and the bit.
    fn place(pid: u32) -> (usize, u64) {
        (pid as usize / 64, 1 << (pid % 64))
    }

    /// Adds an id. An id that no process can have is ignored.
    pub(crate) fn insert(&mut self, pid: u32) {
        let (word, bit) = Self::place(pid);
        while self.words.len() <= word && self.words.push(0) {}
        if let Some(word) = self.words.get_mut(word) {
            *word |= bit;
        }
    }

    /// Removes an id.
    pub(crate) fn remove(&mut self, pid: u32) {
        let (word, bit) = Self::place(pid);
        if let Some(word) = self.words.get_mut(word) {
            *word &= !bit;
        }
    }

    /// Returns `true` if the id is a member.
    pub(crate) fn contains(&self, pid: u32) -> bool {
        let (word, bit) = Self::place(pid);
        self.words.get(word).is_some_and(|word| word & bit != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_exactly_the_ids_that_were_inserted_and_not_removed() {
        let mut set = PidSet::new().unwrap();
        for pid in [1, 63, 64, 4_194_303] {
            set.insert(pid);
        }
        set.insert(u32::MAX);
        set.remove(64);
        set.remove(70_000);
        let members: Vec<u32> = (0..4_194_304).filter(|pid| set.contains(*pid)).collect();
        assert_eq!(members, [1, 63, 4_194_303]);
        assert!(!set.contains(u32::MAX));
    }
}
