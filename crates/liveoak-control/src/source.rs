//! What a stream shows: the events of the tree, or the output of its programs; and how one of them is written.

use crate::history::{History, Past};
use crate::past::{PastBegin, PastValue, PastWalk, lost_line, wire_line};
use crate::recorder::{KeptEvent, KeptLine};
use crate::ring::Ring;
use crate::server::Server;
use liveoak_api::Event;
use liveoak_journal::{OutputEntry, OutputFilter, RecordFilter, RecordId, RecordKind};
use liveoak_runtime::{Glob, Path};
use serde_core::Serialize;
use std::fmt::Write as _;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// A source of entries, of which memory has the last ones, and the disk all if there is a history.
pub(crate) trait Source: Send + Sync + 'static {
    type Value: Send + Sync + 'static;

    fn server(&self) -> &Server;

    /// Returns what is kept in memory.
    fn ring(&self) -> &Ring<Self::Value>;
    fn wanted(&self, value: &Self::Value) -> bool;
    fn at(&self, value: &Self::Value) -> SystemTime;
    /// Writes an entry as JSON on one line.
    fn json(&self, number: u64, value: &Self::Value, out: &mut String);

    /// Opens what is kept on disk.
    fn walk(&self, past: &Past, begin: PastBegin) -> io::Result<PastWalk>;
    fn wants_past(&self, value: &PastValue) -> bool;
    /// Writes an entry of the disk as JSON on one line.
    fn write_past(&self, id: RecordId, value: &PastValue, out: &mut String);
    /// Returns the last `count` wanted entries on disk since a moment, oldest first.
    fn last(&self, past: &Past, count: usize, since: Option<SystemTime>) -> io::Result<Vec<RecordId>>;
    /// Waits until what was added can be read from the disk.
    fn flush(&self, history: &History, within: Duration) -> bool;

    /// Writes a gap of `count` entries that ends with the entry `last`.
    fn gap(&self, last: RecordId, count: u64, out: &mut String);
}

/// The events of the tree.
pub(crate) struct EventSource {
    pub(crate) server: Arc<Server>,
    pub(crate) paths: Option<Glob>,
    /// Empty for all.
    pub(crate) kinds: Vec<&'static str>,
}

impl EventSource {
    fn wants(&self, kind: &str, path: &Path) -> bool {
        (self.kinds.is_empty() || self.kinds.contains(&kind))
            && self.paths.as_ref().is_none_or(|paths| paths.matches(path))
    }
}

impl Source for EventSource {
    type Value = KeptEvent;

    fn server(&self) -> &Server {
        &self.server
    }

    fn ring(&self) -> &Ring<KeptEvent> {
        &self.server.recorder.events
    }

    fn wanted(&self, value: &KeptEvent) -> bool {
        self.wants(value.event.kind.name(), &value.event.path)
    }

    fn at(&self, value: &KeptEvent) -> SystemTime {
        self.server.tree.to_system_time(value.event.at)
    }

    fn json(&self, _: u64, value: &KeptEvent, out: &mut String) {
        out.push_str(value.json(&self.server.tree, self.server.recorder.run));
    }

    fn walk(&self, past: &Past, begin: PastBegin) -> io::Result<PastWalk> {
        // Also unwanted ones: what is missing is seen in the numbers.
        let all = RecordFilter::new();
        Ok(PastWalk::Events(match begin {
            PastBegin::Oldest => past.journal.entries(all)?,
            PastBegin::After(id) => past.journal.entries(all.after(id))?,
            PastBegin::From(time) => past.journal.entries_from(time, all)?,
        }))
    }

    fn wants_past(&self, value: &PastValue) -> bool {
        matches!(value, PastValue::Event(record) if self.wants(&record.kind, &Path::new(&record.path)))
    }

    fn write_past(&self, _: RecordId, value: &PastValue, out: &mut String) {
        if let PastValue::Event(record) = value {
            out.push_str(&record.body);
        }
    }

    fn last(&self, past: &Past, count: usize, since: Option<SystemTime>) -> io::Result<Vec<RecordId>> {
        let mut wanted = RecordFilter::new().records(|record| record == RecordKind::Event);
        wanted = self.kinds.iter().fold(wanted, |wanted, kind| wanted.kind(*kind));
        if let Some(since) = since {
            wanted = wanted.since(since);
        }
        if let Some(paths) = &self.paths {
            wanted = wanted.path(|path| paths.matches(&Path::new(path)));
        }
        Ok(past.journal.last(wanted, count)?.iter().map(liveoak_journal::JournalEntry::id).collect())
    }

    fn flush(&self, history: &History, within: Duration) -> bool {
        history.flush_journal(within)
    }

    fn gap(&self, last: RecordId, count: u64, out: &mut String) {
        write_gap(last, &Event::lost(last.run, last.n + 1, count), out);
    }
}

/// The output of the programs.
pub(crate) struct LineSource {
    pub(crate) server: Arc<Server>,
    pub(crate) paths: Option<Glob>,
}

impl LineSource {
    fn wants(&self, path: &Path) -> bool {
        self.paths.as_ref().is_none_or(|paths| paths.matches(path))
    }
}

impl Source for LineSource {
    type Value = KeptLine;

    fn server(&self) -> &Server {
        &self.server
    }

    fn ring(&self) -> &Ring<KeptLine> {
        &self.server.recorder.lines
    }

    fn wanted(&self, value: &KeptLine) -> bool {
        self.wants(&value.path)
    }

    fn at(&self, value: &KeptLine) -> SystemTime {
        value.at
    }

    fn json(&self, number: u64, value: &KeptLine, out: &mut String) {
        write_json(&value.to_wire(self.server.recorder.run, number), out);
    }

    fn walk(&self, past: &Past, begin: PastBegin) -> io::Result<PastWalk> {
        let all = OutputFilter::new();
        Ok(PastWalk::Lines(match begin {
            PastBegin::Oldest => past.output.lines(all)?,
            PastBegin::After(id) => past.output.lines(all.after(id))?,
            PastBegin::From(time) => past.output.lines_from(time, all)?,
        }))
    }

    fn wants_past(&self, value: &PastValue) -> bool {
        matches!(value, PastValue::Line(line) if self.wants(&Path::new(&line.path)))
    }

    fn write_past(&self, id: RecordId, value: &PastValue, out: &mut String) {
        if let PastValue::Line(line) = value {
            write_json(&wire_line(id, line), out);
        }
    }

    fn last(&self, past: &Past, count: usize, since: Option<SystemTime>) -> io::Result<Vec<RecordId>> {
        let mut wanted = OutputFilter::new();
        if let Some(since) = since {
            wanted = wanted.since(since);
        }
        if let Some(paths) = &self.paths {
            wanted = wanted.path(|path| paths.matches(&Path::new(path)));
        }
        let found = past.output.last(wanted, count)?;
        let lines = found.iter().filter(|entry| matches!(entry, OutputEntry::Line(_)));
        Ok(lines.map(OutputEntry::id).collect())
    }

    fn flush(&self, history: &History, within: Duration) -> bool {
        history.flush_output(within)
    }

    fn gap(&self, last: RecordId, count: u64, out: &mut String) {
        write_gap(last, &lost_line(last, count), out);
    }
}

fn write_json(value: &impl Serialize, out: &mut String) {
    out.push_str(&serde_json::to_string(value).unwrap_or_default());
}

fn write_gap(last: RecordId, gap: &impl Serialize, out: &mut String) {
    let _ = write!(out, "id: {last}\ndata: ");
    write_json(gap, out);
    out.push_str("\n\n");
}
