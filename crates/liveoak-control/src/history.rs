//! The history of a tree on disk while it runs: its journal and its output log.
//!
//! Nothing here waits for the disk, except [`History::settle`] and [`History::end`], and these only for a bounded time. What
//! the disk refuses waits in memory, and is then lost and counted.

use crate::limits::{CHECKPOINT_AGAIN, SETTLE_WITHIN};
use liveoak_api::Event;
use liveoak_api::convert::Converter;
use liveoak_journal::{
    Durability, Folder, Journal, JournalReader, LineStream, LogLimits, OpenError, OutputLog, OutputReader,
    Record,
};
use liveoak_runtime::{OutputPiece, Snapshot, TreeHandle};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// The journal and the output log of a tree, which this process writes.
#[derive(Debug)]
pub(crate) struct History {
    journal: Journal,
    output: OutputLog,
    /// A checkpoint could not be appended; the tree is not copied again before this.
    not_before: Mutex<Option<Instant>>,
}

/// What reads the history on disk. It needs no lock and no writer.
#[derive(Clone, Debug)]
pub(crate) struct Past {
    pub(crate) journal: JournalReader,
    pub(crate) output: OutputReader,
}

/// A command, as it is recorded when it is given.
#[derive(Debug)]
pub(crate) struct GivenCommand<'a> {
    /// The verb.
    pub(crate) verb: &'a str,
    /// The paths and patterns as the caller wrote them.
    pub(crate) paths: &'a [String],
    /// The body of the request, as JSON.
    pub(crate) body: &'a str,
}

impl History {
    /// Opens the history in a folder, and begins a new run.
    pub(crate) fn open(folder: &Path) -> Result<Self, OpenError> {
        let folder = Folder::open(folder)?;
        let journal = Journal::open(&folder, LogLimits::default())?;
        let output = OutputLog::open(&folder, LogLimits::default())?;
        Ok(Self { journal, output, not_before: Mutex::default() })
    }

    /// Returns the number of this run.
    pub(crate) fn run(&self) -> u64 {
        self.journal.run()
    }

    /// Returns what reads this history.
    pub(crate) fn past(&self) -> Past {
        Past { journal: self.journal.reader(), output: self.output.reader() }
    }

    /// Appends an event, of which `json` is the wire form.
    pub(crate) fn event(&self, event: &Event, json: &str) {
        let at = event.at.map_or_else(SystemTime::now, |at| at.0);
        let record = Record::event(event.n, at, &*event.kind)
            .path(event.path.as_deref().unwrap_or_default())
            .attempt(event.attempt.unwrap_or_default())
            .body(json);
        // What is refused is counted there, and the count becomes a record.
        let _ = self.journal.append(&[record], Durability::Soon);
    }

    /// Appends that `count` events did not come here. The last of them has the number `last`.
    pub(crate) fn lost(&self, last: u64, count: u64) {
        let _ = self.journal.append(&[Record::loss(last, SystemTime::now(), count)], Durability::Soon);
    }

    /// Appends a checkpoint if one is due: the tree that `copy` returns.
    pub(crate) fn checkpoint(&self, tree: &TreeHandle, copy: impl FnOnce() -> Snapshot) {
        let mut not_before = self.not_before.lock().unwrap_or_else(PoisonError::into_inner);
        let rests = not_before.is_some_and(|time| Instant::now() < time);
        // It must be asked before the tree is copied.
        if rests || !self.journal.is_checkpoint_due() {
            return;
        }
        let whole = Converter::new(tree, self.run()).tree(&copy());
        let json = serde_json::to_string(&whole).unwrap_or_default();
        let record = Record::checkpoint(whole.n, whole.at.0, json);
        let is_appended = self.journal.append(&[record], Durability::Soon).is_ok();
        *not_before = (!is_appended).then(|| Instant::now() + CHECKPOINT_AGAIN);
    }

    /// Adds a line of output, and returns its number in this run.
    pub(crate) fn line(&self, at: SystemTime, piece: OutputPiece<'_>) -> u64 {
        let stream = if piece.stream == "stderr" { LineStream::Stderr } else { LineStream::Stdout };
        self.output.add(at, piece.path.as_str(), piece.attempt.0, stream, piece.text.as_bytes())
    }

    /// Appends a command that was given after event `n`.
    ///
    /// # Errors
    /// When there is no room for it. Then it is lost.
    pub(crate) fn command(&self, n: u64, command: &GivenCommand<'_>) -> Result<(), String> {
        let path = match command.paths {
            [only] => only.as_str(),
            _ => "",
        };
        let record = Record::command(n, SystemTime::now(), command.verb).path(path).body(command.body);
        self.journal.append(&[record], Durability::Soon).map_err(|error| error.to_string())
    }

    /// Waits until all that was appended to the journal is on disk, but not longer than [`SETTLE_WITHIN`].
    ///
    /// # Errors
    /// When the disk refuses, or has not answered in time.
    pub(crate) fn settle(&self) -> Result<(), String> {
        let when = Durability::Durable { within: SETTLE_WITHIN };
        self.journal.append(&[], when).map_err(|error| error.to_string())
    }

    /// Waits until all events can be read from the disk, within this time. Returns whether they can.
    pub(crate) fn flush_journal(&self, within: Duration) -> bool {
        self.journal.flush(within).is_ok()
    }

    /// Waits until all lines can be read from the disk, within this time. Returns whether they can.
    pub(crate) fn flush_output(&self, within: Duration) -> bool {
        self.output.flush(within).is_ok()
    }

    /// Writes what was added, within this time.
    pub(crate) fn end(&self, within: Duration) {
        let until = Instant::now() + within;
        let _ = self.journal.append(&[], Durability::Durable { within });
        self.flush_output(until.saturating_duration_since(Instant::now()));
    }

    /// Logs what happened to the history since the last call.
    pub(crate) fn tell_notices(&self) {
        for (what, notices) in
            [("journal", self.journal.take_notices()), ("output log", self.output.take_notices())]
        {
            for notice in notices {
                tracing::warn!(target: "liveoak", event = "history", "the {what}: {notice}");
            }
        }
    }
}
