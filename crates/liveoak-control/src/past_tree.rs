//! The history of a tree that need not run: read from its folder, without a lock and without a server.

use crate::moment::tree_at;
use crate::past::{PastBegin, PastValue, PastWalk, lost_line, wire_line};
use crate::sequence::{Follows, Sequence};
use crate::state::described;
use liveoak_api::{Crash, Crashes, Event, OutputLine, Tree};
use liveoak_journal::{
    JournalReader, OutputFilter, OutputReader, ReadError, RecordFilter, RecordId, RecordKind,
};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// A tree of this user that has a history on disk. It may run, or be gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastTree {
    name: String,
    file: Option<String>,
    folder: PathBuf,
}

impl PastTree {
    /// Returns all trees of this user that have a history, by name.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let tree = |(folder, name, file)| Self { name, file, folder };
        let mut all: Vec<Self> = described().into_iter().map(tree).collect();
        all.sort_by(|a, b| (&a.name, &a.folder).cmp(&(&b.name, &b.folder)));
        all
    }

    /// Returns the name of the tree.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the file that declares it, or the program that contains it.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref().map(Path::new)
    }

    /// Returns the folder of its history.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn journal(&self) -> Result<JournalReader, PastError> {
        Ok(JournalReader::open(&self.folder)?)
    }

    /// Returns its events, those of all runs, oldest first; with `since`, from the first at or after that moment on. Events that
    /// are missing are counted ([`Event::lost`]).
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn events(
        &self,
        since: Option<SystemTime>,
    ) -> Result<impl Iterator<Item = Event> + use<>, PastError> {
        let (reader, all) = (self.journal()?, RecordFilter::new());
        let entries = match since {
            Some(since) => reader.entries_from(since, all)?,
            None => reader.entries(all)?,
        };
        let lost = |last: RecordId, count| Event::lost(last.run, last.n + 1, count);
        let event = |_, value: &PastValue| match value {
            PastValue::Event(record) => serde_json::from_str(&record.body).ok(),
            _ => None,
        };
        Ok(PastItems::new(PastWalk::Events(entries), event, lost))
    }

    /// Returns the output of its programs, that of all runs, oldest first; with `since`, from the first line at or after that
    /// moment on. Lines that are missing are counted.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn lines(
        &self,
        since: Option<SystemTime>,
    ) -> Result<impl Iterator<Item = OutputLine> + use<>, PastError> {
        let (reader, all) = (OutputReader::open(&self.folder)?, OutputFilter::new());
        let lines = match since {
            Some(since) => reader.lines_from(since, all)?,
            None => reader.lines(all)?,
        };
        let line = |id, value: &PastValue| match value {
            PastValue::Line(line) => Some(wire_line(id, line)),
            _ => None,
        };
        Ok(PastItems::new(PastWalk::Lines(lines), line, lost_line))
    }

    /// Returns the last `most` crashes of the children that are `wanted`, oldest first.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn crashes(
        &self,
        most: usize,
        since: Option<SystemTime>,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<Vec<Crash>, PastError> {
        let mut crashes = Crashes::new(most);
        for event in self.events(since)? {
            let is_late = since.is_none_or(|since| event.at.is_some_and(|at| at.0 >= since));
            crashes.event(&event, |path| is_late && wanted(path));
        }
        Ok(crashes.into_vec())
    }

    /// Returns the tree as it was at a moment; `None` if the journal does not know it.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn at(&self, moment: SystemTime) -> Result<Option<Tree>, PastError> {
        Ok(tree_at(&self.journal()?, moment)?)
    }

    /// Returns the last whole tree that was recorded.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn last_tree(&self) -> Result<Option<Tree>, PastError> {
        let checkpoints = RecordFilter::new().records(|record| record == RecordKind::Checkpoint);
        let last = self.journal()?.last(checkpoints, 1)?;
        Ok(last.first().and_then(|entry| serde_json::from_str(&entry.record.body).ok()))
    }
}

/// Why a history cannot be read: one sentence.
#[derive(Debug)]
pub struct PastError(String);

impl fmt::Display for PastError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for PastError {}

impl From<ReadError> for PastError {
    fn from(error: ReadError) -> Self {
        Self(format!("the history cannot be read: {error}"))
    }
}

impl From<io::Error> for PastError {
    fn from(error: io::Error) -> Self {
        Self(format!("the history cannot be read: {error}"))
    }
}

/// The entries of a log on disk as they are on the wire, each once, with every gap.
struct PastItems<T> {
    walk: PastWalk,
    seen: Sequence,
    /// What follows a gap that was returned.
    next: Option<T>,
    entry: fn(RecordId, &PastValue) -> Option<T>,
    lost: fn(RecordId, u64) -> T,
}

impl<T> PastItems<T> {
    fn new(
        walk: PastWalk,
        entry: fn(RecordId, &PastValue) -> Option<T>,
        lost: fn(RecordId, u64) -> T,
    ) -> Self {
        // What was removed because of its age is not missed.
        let begin = PastBegin::Oldest;
        Self { walk, seen: Sequence::of(begin), next: None, entry, lost }
    }
}

impl<T> Iterator for PastItems<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        loop {
            if let Some(next) = self.next.take() {
                return Some(next);
            }
            let (id, value) = self.walk.next()?;
            match value {
                PastValue::Checkpoint => self.seen.checkpoint(id),
                PastValue::Lost => match self.seen.lost(id) {
                    0 => {}
                    missed => return Some((self.lost)(id, missed)),
                },
                PastValue::Event(_) | PastValue::Line(_) => {
                    let Follows::After(missed) = self.seen.entry(id) else { continue };
                    self.next = (self.entry)(id, &value);
                    if missed > 0 {
                        return Some((self.lost)(RecordId { n: id.n - 1, ..id }, missed));
                    }
                }
            }
        }
    }
}
