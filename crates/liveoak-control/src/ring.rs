//! The last entries of a numbered stream, for any number of readers, each at its own pace.
//!
//! A reader holds nothing but the number that it wants next. So a slow reader costs no memory, and learns exactly how many
//! entries it has missed.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// How many entries a search looks at before others may run.
const SEARCHED: usize = 1024;

/// One entry: the numbers `first` to `last` of the stream. A gap is one entry for all numbers in it.
#[derive(Debug)]
pub(crate) struct Entry<T> {
    pub(crate) first: u64,
    pub(crate) last: u64,
    /// `None` for a gap.
    pub(crate) value: Option<T>,
    bytes: usize,
}

/// A bounded stream of entries.
#[derive(Debug)]
pub(crate) struct Ring<T> {
    kept: Mutex<Kept<T>>,
    /// The number after the last entry, and whether the stream has ended. Wakes readers.
    end: watch::Sender<(u64, bool)>,
    /// The number of the first entry that was ever added.
    begin: u64,
    max_entries: usize,
    max_bytes: usize,
}

#[derive(Debug)]
struct Kept<T> {
    entries: VecDeque<Arc<Entry<T>>>,
    bytes: usize,
    /// The number that comes next.
    next: u64,
    /// How many values were lost before they came here.
    lost: u64,
}

/// What a reader gets.
#[derive(Debug)]
pub(crate) struct Batch<T> {
    /// How many numbers the reader has missed before these entries.
    pub(crate) missed: u64,
    pub(crate) entries: Vec<Arc<Entry<T>>>,
    /// The number that the reader wants next.
    pub(crate) next: u64,
}

impl<T> Ring<T> {
    /// Makes a ring whose first number is `first`.
    pub(crate) fn new(first: u64, max_entries: usize, max_bytes: usize) -> Self {
        let kept = Kept { entries: VecDeque::new(), bytes: 0, next: first, lost: 0 };
        let end = watch::Sender::new((first, false));
        Self { kept: Mutex::new(kept), end, begin: first, max_entries, max_bytes }
    }

    fn kept(&self) -> MutexGuard<'_, Kept<T>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a value with the next number. `make` returns the value for its number.
    pub(crate) fn push(&self, bytes: usize, make: impl FnOnce(u64) -> T) {
        let mut kept = self.kept();
        let number = kept.next;
        self.add(&mut kept, Entry { first: number, last: number, value: Some(make(number)), bytes });
    }

    /// Notes that `count` values were lost before they came here. Returns the number of the last of them.
    pub(crate) fn lose(&self, count: u64) -> u64 {
        let mut kept = self.kept();
        if count == 0 {
            return kept.next - 1;
        }
        kept.lost += count;
        let first = kept.next;
        let last = first + count - 1;
        self.add(&mut kept, Entry { first, last, value: None, bytes: 0 });
        last
    }

    fn add(&self, kept: &mut Kept<T>, entry: Entry<T>) {
        kept.next = entry.last + 1;
        kept.bytes += entry.bytes;
        kept.entries.push_back(Arc::new(entry));
        while kept.entries.len() > self.max_entries || kept.bytes > self.max_bytes {
            let Some(oldest) = kept.entries.pop_front() else { break };
            kept.bytes -= oldest.bytes;
        }
        let next = kept.next;
        self.end.send_modify(|(end, _)| *end = next);
    }

    /// Ends the stream: readers that have read everything end.
    pub(crate) fn close(&self) {
        self.end.send_modify(|(_, ended)| *ended = true);
    }

    /// Returns how many values were lost before they came here.
    pub(crate) fn lost(&self) -> u64 {
        self.kept().lost
    }

    /// Returns the number that comes next.
    pub(crate) fn next(&self) -> u64 {
        self.kept().next
    }

    /// Returns the number of the first entry that was ever added.
    pub(crate) const fn begin(&self) -> u64 {
        self.begin
    }

    /// Returns the number of the first entry that is kept; the next number if none is.
    pub(crate) fn first(&self) -> u64 {
        let kept = self.kept();
        kept.entries.front().map_or(kept.next, |entry| entry.first)
    }

    /// Returns at most `max` entries from the number `from` on.
    pub(crate) fn read(&self, from: u64, max: usize) -> Batch<T> {
        let kept = self.kept();
        let first = kept.entries.front().map_or(kept.next, |entry| entry.first);
        // The numbers grow, so a binary search finds the place.
        let at = kept.entries.partition_point(|entry| entry.last < from);
        let entries: Vec<_> = kept.entries.iter().skip(at).take(max).map(Arc::clone).collect();
        let next = entries.last().map_or(kept.next.max(from), |entry| entry.last + 1);
        Batch { missed: first.saturating_sub(from), entries, next }
    }

    /// Returns at most `max` entries before the number `end`, the last ones, in their order.
    fn read_before(&self, end: u64, max: usize) -> Vec<Arc<Entry<T>>> {
        let kept = self.kept();
        let at = kept.entries.partition_point(|entry| entry.first < end);
        kept.entries.range(at.saturating_sub(max)..at).map(Arc::clone).collect()
    }

    /// Returns `true` if a kept entry is `wanted`. It is asked outside of the lock, and others may run in between.
    pub(crate) async fn has(&self, wanted: impl Fn(&T) -> bool) -> bool {
        self.find(wanted).await.is_ok()
    }

    /// Returns the first number whose entry is `wanted`, or the next number if there is none. `wanted` holds from some entry
    /// on. It is asked outside of the lock, and others may run in between.
    pub(crate) async fn first_where(&self, wanted: impl Fn(&T) -> bool) -> u64 {
        let (Ok(number) | Err(number)) = self.find(wanted).await;
        number
    }

    /// Returns the first number whose entry is `wanted`; as the error, the next number.
    async fn find(&self, wanted: impl Fn(&T) -> bool) -> Result<u64, u64> {
        let mut from = 0;
        loop {
            let Batch { entries, next, .. } = self.read(from, SEARCHED);
            let mut all = entries.iter();
            if let Some(found) = all.find(|entry| entry.value.as_ref().is_some_and(&wanted)) {
                return Ok(found.first);
            }
            if entries.is_empty() {
                return Err(next);
            }
            from = next;
            tokio::task::yield_now().await;
        }
    }

    /// Returns the number from which on `count` entries are `wanted`. If there are fewer, the inner number is the oldest.
    /// `wanted` is asked outside of the lock, and others may run in between.
    pub(crate) async fn last_where(&self, count: usize, wanted: impl Fn(&T) -> bool) -> Result<u64, u64> {
        let next = self.next();
        let (mut end, mut left) = (next, count);
        if count == 0 {
            return Ok(next);
        }
        loop {
            let entries = self.read_before(end, SEARCHED);
            let Some(oldest) = entries.first() else {
                return Err(if left < count { end } else { next });
            };
            for entry in entries.iter().rev().filter(|entry| entry.value.as_ref().is_some_and(&wanted)) {
                left -= 1;
                if left == 0 {
                    return Ok(entry.first);
                }
            }
            end = oldest.first;
            tokio::task::yield_now().await;
        }
    }

    /// Returns a receiver that is woken by each new entry and by the end.
    pub(crate) fn changes(&self) -> watch::Receiver<(u64, bool)> {
        self.end.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(ring: &Ring<u64>, from: u64) -> (u64, Vec<u64>, u64) {
        let Batch { missed, entries, next } = ring.read(from, 100);
        (missed, entries.iter().filter_map(|entry| entry.value).collect(), next)
    }

    #[test]
    fn a_reader_gets_what_is_kept_and_learns_how_much_it_has_missed() {
        let ring = Ring::new(1, 3, 1000);
        (1..=5).for_each(|_| ring.push(1, |number| number));
        assert_eq!(numbers(&ring, 1), (2, vec![3, 4, 5], 6));
        assert_eq!(numbers(&ring, 4), (0, vec![4, 5], 6));
        assert_eq!(numbers(&ring, 6), (0, vec![], 6));
        assert_eq!(ring.read(3, 2).next, 5, "a batch is bounded");
    }

    #[test]
    fn the_bytes_of_the_kept_entries_are_bounded_too() {
        let ring = Ring::new(1, 100, 10);
        (1..=5).for_each(|_| ring.push(4, |number| number));
        assert_eq!(numbers(&ring, 1), (3, vec![4, 5], 6));
        ring.push(11, |number| number);
        assert_eq!(numbers(&ring, 1), (6, vec![], 7), "an entry beyond the bound is not kept");
    }

    #[test]
    fn what_was_lost_before_is_one_entry_of_many_numbers() {
        let ring = Ring::new(1, 100, 100);
        ring.push(0, |number| number);
        ring.lose(7);
        ring.lose(0);
        ring.push(0, |number| number);
        let Batch { missed, entries, next } = ring.read(1, 100);
        let seen: Vec<_> = entries.iter().map(|entry| (entry.first, entry.last, entry.value)).collect();
        assert_eq!((missed, next, ring.lost()), (0, 10, 7));
        assert_eq!(seen, [(1, 1, Some(1)), (2, 8, None), (9, 9, Some(9))]);
        assert_eq!(ring.read(5, 1).entries[0].first, 2, "a reader inside a gap gets the gap");
    }

    #[tokio::test]
    async fn the_start_of_a_reader_is_found_by_a_condition_or_by_a_count() {
        let ring = Ring::new(1, 4, 100);
        (1..=6).for_each(|_| ring.push(0, |number| number));
        assert_eq!(ring.first_where(|number| *number >= 5).await, 5);
        assert_eq!(ring.first_where(|number| *number >= 9).await, 7);
        assert_eq!(ring.last_where(2, |number| number % 2 == 0).await, Ok(4));
        assert_eq!(ring.last_where(9, |_| true).await, Err(3));
        assert_eq!(ring.last_where(0, |_| true).await, Ok(7));
        assert_eq!(ring.last_where(3, |_| false).await, Err(7));
        assert_eq!((ring.begin(), ring.first(), ring.next()), (1, 3, 7));
        assert!(ring.has(|number| *number == 3).await && !ring.has(|number| *number == 2).await);
        let long = Ring::new(1, 10_000, 100);
        (1..=5000).for_each(|_| long.push(0, |number| number));
        assert_eq!(long.first_where(|number| *number > 4000).await, 4001);
        assert_eq!(long.last_where(3000, |_| true).await, Ok(2001));
        assert_eq!(long.last_where(2, |number| *number < 100).await, Ok(98));
    }

    #[tokio::test]
    async fn a_condition_is_asked_outside_of_the_lock() {
        let ring = Ring::new(1, 10, 100);
        (1..=3).for_each(|_| ring.push(0, |number| number));
        assert_eq!(ring.first_where(|number| ring.next() == 4 && *number > 1).await, 2);
        assert_eq!(ring.last_where(2, |_| ring.next() == 4).await, Ok(2));
    }
}
