//! Reading the history on disk for a stream, piece by piece, on a thread that may wait for the disk.

use crate::limits::{PAST_BYTES, PAST_RECORDS};
use crate::sequence::{Follows, Sequence};
use crate::source::Source;
use liveoak_api::Timestamp;
use liveoak_journal::{
    JournalEntries, LineStream, OutputEntry, OutputLine, OutputLines, Record, RecordId, RecordKind,
};
use std::fmt::Write as _;
use std::time::SystemTime;

/// Where a reader of the history on disk begins.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum PastBegin {
    /// With the oldest that is kept.
    Oldest,
    /// After this record.
    After(RecordId),
    /// With the first record at or after this moment.
    From(SystemTime),
}

/// Something in the history on disk.
#[derive(Debug)]
pub(crate) enum PastValue {
    Event(Record),
    Line(OutputLine),
    Lost,
    Checkpoint,
}

/// The records of a log on disk, in their order.
#[derive(Debug)]
pub(crate) enum PastWalk {
    Events(JournalEntries<'static>),
    Lines(OutputLines<'static>),
}

impl Iterator for PastWalk {
    type Item = (RecordId, PastValue);

    fn next(&mut self) -> Option<Self::Item> {
        Some(match self {
            Self::Events(entries) => {
                let entry = entries.find(|entry| entry.record.record != RecordKind::Command)?;
                let id = entry.id();
                let value = match entry.record.record {
                    RecordKind::Checkpoint => PastValue::Checkpoint,
                    RecordKind::Loss { .. } => PastValue::Lost,
                    RecordKind::Event | RecordKind::Command => PastValue::Event(entry.record),
                };
                (id, value)
            }
            Self::Lines(lines) => {
                let entry = lines.next()?;
                let id = entry.id();
                let value = match entry {
                    OutputEntry::Line(line) => PastValue::Line(line),
                    OutputEntry::Lost { .. } => PastValue::Lost,
                };
                (id, value)
            }
        })
    }
}

/// Returns a line of the disk as it is on the wire.
pub(crate) fn wire_line(id: RecordId, line: &OutputLine) -> liveoak_api::OutputLine {
    liveoak_api::OutputLine {
        run: id.run,
        n: id.n,
        at: Timestamp(line.at),
        path: Some(line.path.clone()),
        attempt: Some(line.attempt),
        stream: match line.stream {
            LineStream::Stdout => "stdout".to_owned(),
            LineStream::Stderr => "stderr".to_owned(),
        },
        line: String::from_utf8_lossy(&line.line).into_owned(),
        count: None,
    }
}

/// Returns the object that stands for `count` lost lines, of which the last has the id `last`.
pub(crate) fn lost_line(last: RecordId, count: u64) -> liveoak_api::OutputLine {
    liveoak_api::OutputLine {
        run: last.run,
        n: last.n,
        at: Timestamp(SystemTime::now()),
        path: None,
        attempt: None,
        stream: "lost".to_owned(),
        line: format!("{count} lines were lost here"),
        count: Some(count),
    }
}

/// A reader of the history on disk.
pub(crate) struct PastReader {
    walk: PastWalk,
    /// What it has read.
    pub(crate) seen: Sequence,
    /// The first record that it was not allowed to read yet.
    held: Option<(RecordId, PastValue)>,
}

/// What a reader has read at once.
#[derive(Debug)]
pub(crate) struct Piece {
    /// Server-sent events.
    pub(crate) text: String,
    /// There is nothing further to read now.
    pub(crate) is_at_end: bool,
}

impl PastReader {
    /// Makes a reader of these records, which begin at `begin`.
    pub(crate) fn new(walk: PastWalk, begin: PastBegin) -> Self {
        Self { walk, seen: Sequence::of(begin), held: None }
    }

    /// Reads a piece of the records before `end`.
    pub(crate) fn read(&mut self, source: &impl Source, end: RecordId) -> Piece {
        let mut text = String::new();
        for _ in 0..PAST_RECORDS {
            if text.len() >= PAST_BYTES {
                break;
            }
            let next = self.held.take().or_else(|| self.walk.next());
            match next {
                None => return Piece { text, is_at_end: true },
                Some((id, value)) if id >= end && !matches!(value, PastValue::Checkpoint) => {
                    self.held = Some((id, value));
                    return Piece { text, is_at_end: true };
                }
                Some((id, value)) => self.write(source, id, &value, &mut text),
            }
        }
        Piece { text, is_at_end: false }
    }

    fn write(&mut self, source: &impl Source, id: RecordId, value: &PastValue, out: &mut String) {
        match value {
            PastValue::Checkpoint => self.seen.checkpoint(id),
            PastValue::Lost => {
                let missed = self.seen.lost(id);
                if missed > 0 {
                    source.gap(id, missed, out);
                }
            }
            PastValue::Event(_) | PastValue::Line(_) => {
                let Follows::After(missed) = self.seen.entry(id) else { return };
                if missed > 0 {
                    source.gap(RecordId { n: id.n - 1, ..id }, missed, out);
                }
                if source.wants_past(value) {
                    // Writing to a string does not fail.
                    let _ = write!(out, "id: {id}\ndata: ");
                    source.write_past(id, value, out);
                    out.push_str("\n\n");
                }
            }
        }
    }
}
