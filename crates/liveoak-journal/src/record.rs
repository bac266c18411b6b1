//! One record of the journal, and its form in a file.

use crate::queue::{Item, Loss};
use crate::segment::{Stamp, number};
use crate::store::{millis, moment};
use std::time::SystemTime;

/// The number of a record in its run. As text it is `RUN-n`.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct RecordId {
    /// The run, from 1.
    pub run: u64,
    /// The number in the run.
    pub n: u64,
}

impl std::fmt::Display for RecordId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.run, self.n)
    }
}

impl std::str::FromStr for RecordId {
    type Err = RecordIdError;

    fn from_str(text: &str) -> Result<RecordId, RecordIdError> {
        // `parse` would also accept a sign.
        let number =
            |text: &str| text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
        let id =
            text.split_once('-').and_then(|(run, n)| Some(RecordId { run: number(run)?, n: number(n)? }));
        id.ok_or_else(|| RecordIdError { text: text.chars().take(64).collect() })
    }
}

/// A text is no [`RecordId`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RecordIdError {
    text: String,
}

impl std::fmt::Display for RecordIdError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}` is no record number: expected RUN-n, for example 3-1042", self.text.escape_debug())
    }
}

impl std::error::Error for RecordIdError {}

/// What a record is.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum RecordKind {
    /// An event of the tree. `n` is its number.
    Event,
    /// A command. `n` is the number of the last event before it.
    Command,
    /// The whole tree after event `n`.
    Checkpoint,
    /// Records that were lost here. `n` is the largest number of a lost one.
    Loss {
        /// How many records were lost. Lost checkpoints are not counted.
        count: u64,
    },
}

/// A record of the journal.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Record {
    /// What the record is.
    pub record: RecordKind,
    /// The number of the record; see [`RecordKind`].
    pub n: u64,
    /// The time of the record. It is kept in milliseconds.
    pub at: SystemTime,
    /// The path of the child. It may be empty.
    pub path: String,
    /// The kind of event, or the verb of a command.
    pub kind: String,
    /// The attempt that the record is about; 0 if it is about none.
    pub attempt: u64,
    /// Everything else, as JSON. The journal does not look into it.
    pub body: String,
}

impl Record {
    /// Returns an event without path, attempt and body.
    #[must_use]
    pub fn event(n: u64, at: SystemTime, kind: impl Into<String>) -> Record {
        Record::new(RecordKind::Event, n, at, kind.into())
    }

    /// Returns a command without path, attempt and body.
    #[must_use]
    pub fn command(n: u64, at: SystemTime, verb: impl Into<String>) -> Record {
        Record::new(RecordKind::Command, n, at, verb.into())
    }

    /// Returns a checkpoint: the tree after event `n`, as JSON.
    #[must_use]
    pub fn checkpoint(n: u64, at: SystemTime, tree: impl Into<String>) -> Record {
        Record { body: tree.into(), ..Record::new(RecordKind::Checkpoint, n, at, "checkpoint".to_owned()) }
    }

    /// Returns a loss of `count` events. The last of them has the number `n`.
    #[must_use]
    pub fn loss(n: u64, at: SystemTime, count: u64) -> Record {
        let kind = "lost".to_owned();
        Record {
            body: format!("{{\"count\":{count}}}"),
            ..Record::new(RecordKind::Loss { count }, n, at, kind)
        }
    }

    fn new(record: RecordKind, n: u64, at: SystemTime, kind: String) -> Record {
        Record { record, n, at, path: String::new(), kind, attempt: 0, body: String::new() }
    }

    /// Sets the path.
    #[must_use]
    pub fn path(self, path: impl Into<String>) -> Record {
        Record { path: path.into(), ..self }
    }

    /// Sets the attempt.
    #[must_use]
    pub fn attempt(self, attempt: u64) -> Record {
        Record { attempt, ..self }
    }

    /// Sets the body, a JSON text.
    #[must_use]
    pub fn body(self, json: impl Into<String>) -> Record {
        Record { body: json.into(), ..self }
    }

    /// Returns the record in the form of a file:
    /// `LETTER run n at attempt count kind-length path-length kind path body`, with tabs between the numbers.
    pub(crate) fn to_item(&self, run: u64) -> Item {
        let (letter, count, counts) = match self.record {
            RecordKind::Event => ('E', 0, 1),
            RecordKind::Command => ('C', 0, 1),
            RecordKind::Checkpoint => ('S', 0, 0),
            RecordKind::Loss { count } => ('L', count, count),
        };
        let stamp = Stamp { letter, run, n: self.n, at: millis(self.at) };
        let (kind, path) = (self.kind.len(), self.path.len());
        let numbers = format!("{}\t{count}\t{kind}\t{path}\t", self.attempt);
        let payload = [&stamp.text(), &numbers, &self.kind, &self.path, &self.body]
            .map(|text| text.as_bytes())
            .concat();
        Item { stamp, payload, counts }
    }

    /// Returns the record of a loss in the log itself.
    pub(crate) fn loss_item(run: u64, loss: Loss) -> Item {
        Record::loss(loss.n, moment(loss.at), loss.count).to_item(run)
    }
}

/// A record as it stands in a file, without copies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RecordView<'a> {
    pub(crate) stamp: Stamp,
    pub(crate) record: RecordKind,
    pub(crate) kind: &'a str,
    pub(crate) path: &'a str,
    pub(crate) body: &'a str,
    pub(crate) attempt: u64,
}

impl<'a> RecordView<'a> {
    pub(crate) fn read(payload: &'a [u8]) -> Option<RecordView<'a>> {
        let (stamp, rest) = Stamp::read(payload)?;
        let (attempt, rest) = number(rest)?;
        let (count, rest) = number(rest)?;
        let (kind, rest) = number(rest)?;
        let (path, rest) = number(rest)?;
        let (kind, rest) = rest.split_at_checked(usize::try_from(kind).ok()?)?;
        let (path, body) = rest.split_at_checked(usize::try_from(path).ok()?)?;
        let record = match stamp.letter {
            'E' => RecordKind::Event,
            'C' => RecordKind::Command,
            'S' => RecordKind::Checkpoint,
            'L' => RecordKind::Loss { count },
            _ => return None,
        };
        let text = |bytes| std::str::from_utf8(bytes).ok();
        Some(RecordView { stamp, record, kind: text(kind)?, path: text(path)?, body: text(body)?, attempt })
    }

    pub(crate) fn to_record(self) -> Record {
        Record {
            record: self.record,
            n: self.stamp.n,
            at: moment(self.stamp.at),
            path: self.path.to_owned(),
            kind: self.kind.to_owned(),
            attempt: self.attempt,
            body: self.body.to_owned(),
        }
    }
}
