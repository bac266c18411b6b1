//! Which numbers a reader of a history has seen: each entry once, and every gap with its exact count.

use crate::past::PastBegin;
use liveoak_journal::RecordId;

/// How far a reader is in a history whose numbers begin anew with each run and have no gaps within one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sequence {
    run: u64,
    /// The number that comes next in the run. Unknown before the first number, at the begin of what is kept.
    next: Option<u64>,
}

/// How an entry follows those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Follows {
    /// It was seen before.
    Again,
    /// This many numbers are missing before it.
    After(u64),
}

impl Sequence {
    /// Returns the sequence of a reader that has seen everything up to `id`.
    pub(crate) fn after(id: RecordId) -> Self {
        Self { run: id.run, next: Some(id.n.saturating_add(1)) }
    }

    /// Returns the sequence of a reader that begins there. What is not kept before is not missed.
    pub(crate) fn of(begin: PastBegin) -> Self {
        match begin {
            PastBegin::After(id) => Self::after(id),
            PastBegin::Oldest | PastBegin::From(_) => Self::default(),
        }
    }

    /// Notes an entry.
    pub(crate) fn entry(&mut self, id: RecordId) -> Follows {
        self.enter(id.run);
        let next = self.next.unwrap_or(id.n);
        if id.run < self.run || id.n < next {
            return Follows::Again;
        }
        self.next = Some(id.n + 1);
        Follows::After(id.n - next)
    }

    /// Notes that entries up to `id` were lost. Returns how many were not seen.
    pub(crate) fn lost(&mut self, id: RecordId) -> u64 {
        self.enter(id.run);
        let Some(next) = self.next.filter(|next| id.run == self.run && *next <= id.n) else { return 0 };
        self.next = Some(id.n + 1);
        id.n + 1 - next
    }

    /// Notes a checkpoint: the history of a run may begin after it.
    pub(crate) fn checkpoint(&mut self, id: RecordId) {
        let is_first = id.run > self.run || (id.run == self.run && self.next.is_none());
        if is_first {
            *self = Self::after(id);
        }
    }

    /// Goes over to a later run, whose numbers begin with 1.
    fn enter(&mut self, run: u64) {
        if run > self.run {
            *self = Self { run, next: (self.run > 0).then_some(1) };
        }
    }

    /// Returns the number that comes next in a run, if something of it was seen.
    pub(crate) fn next_of(&self, run: u64) -> Option<u64> {
        self.next.filter(|_| self.run == run)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(run: u64, n: u64) -> RecordId {
        RecordId { run, n }
    }

    #[test]
    fn each_entry_counts_once_and_each_gap_has_its_exact_count() {
        let mut seen = Sequence::default();
        assert_eq!(seen.entry(id(2, 7)), Follows::After(0), "what is kept begins anywhere");
        assert_eq!(seen.entry(id(2, 7)), Follows::Again);
        assert_eq!(seen.entry(id(2, 10)), Follows::After(2));
        assert_eq!((seen.lost(id(2, 15)), seen.lost(id(2, 15)), seen.lost(id(2, 9))), (5, 0, 0));
        assert_eq!(seen.entry(id(2, 16)), Follows::After(0));
        assert_eq!(seen.entry(id(1, 99)), Follows::Again, "a run does not come back");
        assert_eq!(seen.next_of(2), Some(17));
        assert_eq!(seen.entry(id(3, 2)), Follows::After(1), "a later run begins with 1");
        assert_eq!(seen.next_of(2), None);
    }

    #[test]
    fn a_run_that_is_recorded_from_its_middle_on_begins_after_its_first_checkpoint() {
        let mut seen = Sequence::after(id(1, 5));
        assert_eq!(seen.lost(id(1, 8)), 3);
        seen.checkpoint(id(2, 40));
        assert_eq!(seen.entry(id(2, 41)), Follows::After(0));
        seen.checkpoint(id(2, 90));
        assert_eq!(seen.entry(id(2, 42)), Follows::After(0), "a later checkpoint may be ahead");
    }
}
