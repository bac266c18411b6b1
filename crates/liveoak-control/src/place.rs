//! Where a stream begins: in memory, which has the last entries of this run, or on disk, which has the earlier ones too.

use crate::limits::{FEW_LAST, SETTLE_WITHIN};
use crate::past::PastBegin;
use crate::source::Source;
use liveoak_journal::RecordId;
use std::collections::VecDeque;
use std::io;
use std::time::SystemTime;

/// What the caller of a stream asks for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wish {
    pub(crate) follow: bool,
    /// The last entry that the caller has seen.
    pub(crate) after: Option<RecordId>,
    pub(crate) since: Option<SystemTime>,
    pub(crate) last: Option<usize>,
}

impl Wish {
    /// Returns `true` if only what is yet to come is wanted.
    pub(crate) const fn is_from_now(&self) -> bool {
        self.follow && self.after.is_none() && self.since.is_none() && self.last.is_none()
    }
}

/// A place in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InMemory {
    /// The number of the first entry that is wanted.
    pub(crate) from: u64,
    /// Entries that are not kept any more count as missed.
    pub(crate) counts_missed: bool,
    /// The disk was read up to `from`, and has no more.
    pub(crate) is_after_disk: bool,
}

/// A place in the history of a tree.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Place {
    Memory(InMemory),
    Disk(PastBegin),
    /// At the last entries, which must be looked for on disk.
    Last {
        count: usize,
        since: Option<SystemTime>,
    },
}

impl Place {
    const fn memory(from: u64, counts_missed: bool) -> Self {
        Self::Memory(InMemory { from, counts_missed, is_after_disk: false })
    }

    /// Returns the place where the stream begins that a caller asks for.
    pub(crate) async fn new<S: Source>(source: &S, wish: Wish) -> Self {
        let (ring, recorder) = (source.ring(), &source.server().recorder);
        let has_past = recorder.past.is_some();
        match wish {
            Wish { after: Some(id), .. } => {
                // An id of another run than those that are known leads to the begin of this one, and an id that is yet to come
                // to what comes next.
                let is_past = has_past && id.run < recorder.run;
                let from = match id.run == recorder.run {
                    true => id.n.saturating_add(1).min(ring.next()),
                    false => ring.begin(),
                };
                match is_past {
                    true => Self::Disk(PastBegin::After(id)),
                    false => Self::memory(from, true),
                }
            }
            wish if wish.is_from_now() => Self::memory(ring.next(), false),
            Wish { since: None, last: None, .. } if has_past => Self::Disk(PastBegin::Oldest),
            Wish { since: None, last: None, .. } => Self::memory(ring.begin(), true),
            Wish { since: Some(since), last: None, .. } => {
                let is_all_kept = ring.has(|value| source.at(value) < since).await;
                match has_past && !is_all_kept {
                    true => Self::Disk(PastBegin::From(since)),
                    false => Self::memory(ring.first_where(|value| source.at(value) >= since).await, false),
                }
            }
            Wish { since, last: Some(count), .. } => match kept_last(source, count, since).await {
                Err(_) if has_past => Self::Last { count, since },
                Ok(from) | Err(from) => Self::memory(from, false),
            },
        }
    }
}

/// Returns where the last entries begin in memory; as the error, if there are fewer.
async fn kept_last<S: Source>(source: &S, count: usize, since: Option<SystemTime>) -> Result<u64, u64> {
    let is_late = |value: &S::Value| since.is_none_or(|since| source.at(value) >= since);
    source.ring().last_where(count, |value| source.wanted(value) && is_late(value)).await
}

/// Returns the place of the last entries that memory has.
pub(crate) async fn last_in_memory<S: Source>(source: &S, count: usize, since: Option<SystemTime>) -> Place {
    let (Ok(from) | Err(from)) = kept_last(source, count, since).await;
    Place::memory(from, false)
}

/// Returns the place of the last entries, or `None` if the disk has none. Reads the disk.
pub(crate) fn last_on_disk<S: Source>(source: &S, count: usize, since: Option<SystemTime>) -> Option<Place> {
    let recorder = &source.server().recorder;
    // After its end, everything is written.
    let is_written = recorder.history().is_none_or(|history| source.flush(&history, SETTLE_WITHIN));
    let first = if is_written { first_of_last(source, count, since).unwrap_or_default() } else { None };
    first.map(|id| match id.run == recorder.run && id.n >= source.ring().first() {
        true => Place::memory(id.n, true),
        false => Place::Disk(PastBegin::After(RecordId { n: id.n.saturating_sub(1), ..id })),
    })
}

/// Returns the first of the last `count` entries on disk.
fn first_of_last<S: Source>(
    source: &S,
    count: usize,
    since: Option<SystemTime>,
) -> io::Result<Option<RecordId>> {
    let Some(past) = &source.server().recorder.past else { return Ok(None) };
    if count <= FEW_LAST {
        return Ok(source.last(past, count, since)?.first().copied());
    }
    let begin = since.map_or(PastBegin::Oldest, PastBegin::From);
    let mut ids = VecDeque::new();
    for (id, value) in source.walk(past, begin)? {
        if source.wants_past(&value) {
            if ids.len() == count {
                ids.pop_front();
            }
            ids.push_back(id);
        }
    }
    Ok(ids.front().copied())
}
