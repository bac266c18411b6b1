//! Reading the journal: from a record or a time on, by path and kind, forward or the last ones.
//!
//! A reader takes no lock and needs no writer. It reads while the tree writes, and after the tree has ended.

use crate::error::ReadError;
use crate::files::{self, OpenDir};
use crate::journal::KIND;
use crate::range::Range;
use crate::record::{Record, RecordId, RecordKind, RecordView};
use crate::store::millis;
use crate::walk::{Damage, Listing, Walk};
use std::path::Path;
use std::time::SystemTime;
use std::{fmt, io};

/// The most records that [`JournalReader::last`] returns.
pub const MAX_LAST: usize = 10_000;
/// The most bytes that [`JournalReader::last`] returns. Then there are fewer records.
pub const MAX_LAST_BYTES: usize = 32 * 1024 * 1024;

/// Decides whether a path is wanted.
pub(crate) type PathFilter<'a> = Box<dyn Fn(&str) -> bool + Send + 'a>;

/// Which records are wanted. Without a condition: all.
#[derive(Default)]
pub struct RecordFilter<'a> {
    range: Range,
    kinds: Vec<String>,
    records: Vec<fn(RecordKind) -> bool>,
    path: Option<PathFilter<'a>>,
}

impl fmt::Debug for RecordFilter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("RecordFilter");
        debug.field("range", &self.range).field("kinds", &self.kinds);
        debug.field("has_path", &self.path.is_some()).finish_non_exhaustive()
    }
}

impl<'a> RecordFilter<'a> {
    /// Returns a filter that wants all records.
    #[must_use]
    pub fn new() -> RecordFilter<'a> {
        RecordFilter::default()
    }

    /// Wants the records after this one: those with a larger number in its run, and those of later runs.
    #[must_use]
    pub fn after(mut self, id: RecordId) -> RecordFilter<'a> {
        self.range.after = Some(id);
        self
    }

    /// Wants the records at and after this time.
    #[must_use]
    pub fn since(mut self, time: SystemTime) -> RecordFilter<'a> {
        self.range.since = Some(time);
        self
    }

    /// Wants the records at and before this time.
    #[must_use]
    pub fn until(mut self, time: SystemTime) -> RecordFilter<'a> {
        self.range.until = Some(time);
        self
    }

    /// Wants this kind of event or verb. Several calls want several kinds. Losses are always wanted.
    #[must_use]
    pub fn kind(mut self, kind: impl Into<String>) -> RecordFilter<'a> {
        self.kinds.push(kind.into());
        self
    }

    /// Wants events, and losses.
    #[must_use]
    pub fn events(self) -> RecordFilter<'a> {
        self.records(|record| matches!(record, RecordKind::Event | RecordKind::Loss { .. }))
    }

    /// Wants the records for which `wanted` returns `true`.
    #[must_use]
    pub fn records(mut self, wanted: fn(RecordKind) -> bool) -> RecordFilter<'a> {
        self.records.push(wanted);
        self
    }

    /// Wants the paths for which `wanted` returns `true`. Losses are always wanted.
    #[must_use]
    pub fn path(self, wanted: impl Fn(&str) -> bool + Send + 'a) -> RecordFilter<'a> {
        RecordFilter { path: Some(Box::new(wanted)), ..self }
    }

    fn wants(&self, view: &RecordView<'_>) -> bool {
        let RecordView { stamp, record, kind, path, .. } = view;
        let is_loss = matches!(record, RecordKind::Loss { .. });
        self.range.contains(*stamp)
            && self.records.iter().all(|wanted| wanted(*record))
            && (is_loss || self.kinds.is_empty() || self.kinds.iter().any(|wanted| wanted == kind))
            && (is_loss || self.path.as_ref().is_none_or(|wanted| wanted(path)))
    }
}

/// A record with the run that wrote it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct JournalEntry {
    /// The run, from 1.
    pub run: u64,
    /// What was appended.
    pub record: Record,
}

impl JournalEntry {
    /// Returns the id of the record.
    #[must_use]
    pub fn id(&self) -> RecordId {
        RecordId { run: self.run, n: self.record.n }
    }
}

/// Reads a journal.
#[derive(Clone, Debug)]
pub struct JournalReader {
    dir: OpenDir,
}

impl JournalReader {
    /// Opens the journal in a folder for reading.
    ///
    /// # Errors
    ///
    /// If there is no such folder, or it cannot be read.
    pub fn open(folder: impl AsRef<Path>) -> Result<JournalReader, ReadError> {
        Ok(JournalReader::at_dir(files::open_to_read(folder.as_ref())?))
    }

    pub(crate) fn at_dir(dir: OpenDir) -> JournalReader {
        JournalReader { dir }
    }

    pub(crate) fn dir(&self) -> &OpenDir {
        &self.dir
    }

    /// Returns the wanted records in the order in which they were appended.
    ///
    /// After the last record the iterator returns `None`. Later calls return the records that were written since.
    ///
    /// # Errors
    ///
    /// If the folder cannot be listed. A file that cannot be read is counted in [`JournalEntries::damage`].
    pub fn entries<'a>(&self, filter: RecordFilter<'a>) -> io::Result<JournalEntries<'a>> {
        let walk = Walk::new(&self.dir, KIND, |summary| filter.range.skips(summary))?;
        Ok(JournalEntries { walk, filter, begin: None })
    }

    /// Returns the wanted records like [`entries`](Self::entries), from the first record at or after `begin` on: also later
    /// ones with an earlier time, if the clock was set back.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn entries_from<'a>(
        &self,
        begin: SystemTime,
        filter: RecordFilter<'a>,
    ) -> io::Result<JournalEntries<'a>> {
        let walk = Walk::new(&self.dir, KIND, filter.range.skips_from(begin))?;
        Ok(JournalEntries { walk, filter, begin: Some(millis(begin)) })
    }

    /// Returns the last wanted records, oldest first: `count` at most, and at most [`MAX_LAST`].
    ///
    /// # Errors
    ///
    /// If the folder cannot be listed.
    pub fn last(&self, filter: RecordFilter<'_>, count: usize) -> io::Result<Vec<JournalEntry>> {
        let mut listing = Listing::new(&self.dir, KIND)?;
        listing.skip(|summary| filter.range.skips(summary));
        Ok(listing.last(count.min(MAX_LAST), MAX_LAST_BYTES, |payload| {
            let view = RecordView::read(payload).filter(|view| filter.wants(view))?;
            Some(JournalEntry { run: view.stamp.run, record: view.to_record() })
        }))
    }

    /// Returns the number of the oldest event that is kept. Everything before was removed, or was never written.
    ///
    /// # Errors
    ///
    /// If the folder cannot be listed.
    pub fn first_kept(&self) -> io::Result<Option<RecordId>> {
        let events = RecordFilter::new().records(|record| record == RecordKind::Event);
        Ok(self.entries(events)?.next().map(|entry| entry.id()))
    }
}

/// The wanted records of a journal, in the order in which they were appended.
#[derive(Debug)]
pub struct JournalEntries<'a> {
    walk: Walk,
    filter: RecordFilter<'a>,
    /// The time before which all is left out, until a record at or after it was found.
    begin: Option<u64>,
}

impl JournalEntries<'_> {
    /// Returns what could not be read so far.
    #[must_use]
    pub fn damage(&self) -> Damage {
        self.walk.damage()
    }
}

impl Iterator for JournalEntries<'_> {
    type Item = JournalEntry;

    fn next(&mut self) -> Option<JournalEntry> {
        loop {
            let stamp = self.walk.advance()?;
            if self.begin.is_some_and(|begin| stamp.at < begin) {
                continue;
            }
            self.begin = None;
            let view = RecordView::read(self.walk.payload());
            if let Some(view) = view.filter(|view| self.filter.wants(view)) {
                return Some(JournalEntry { run: view.stamp.run, record: view.to_record() });
            }
        }
    }
}
