//! The history of a tree on disk: the journal of its events, commands and checkpoints, and the log of its output.
//!
//! * [`Folder`] – the folder of one tree. One process at a time holds it; each opening begins a new run.
//! * [`Journal`] – appends [`Record`]s, durable or soon. A thread of its own writes, behind a bounded queue.
//! * [`JournalReader`] – reads records by number, time, path and kind, while the tree writes and after it has ended.
//! * [`JournalReader::at`] – the state of the tree at a moment.
//! * [`OutputLog`], [`OutputReader`] – the same for the lines of the children.

//! * [`LogNotice`], [`LogStatus`] – what happened to a log, as values for the program to print.
//!
//! A log is a series of files that are only appended to. Each record has a checksum and a length, so a file that was cut or
//! changed anywhere loses only the records at that place. No log is ever repaired: readers skip what is damaged.
//!
//! A disk that is slow, full or read-only costs history. It never makes a caller wait, except one that asks for
//! [`Durability::Durable`], and that caller only as long as it allows.

mod crc;
mod disk;
mod error;
mod files;
mod folder;
mod frame;
mod journal;
mod limits;
mod line;
mod moment;
mod notice;
mod output;
mod output_query;
mod query;
mod queue;
mod range;
mod record;
mod segment;
mod store;
mod walk;
mod writer;
#[cfg(test)]
mod writer_tests;

pub use error::{AppendError, OpenError, ReadError};
pub use folder::Folder;
pub use journal::{Durability, Journal};
pub use limits::{DEFAULT_AGE, DEFAULT_BYTES, LogLimits, MIN_BYTES};
pub use line::{LineStream, MAX_LINE_BYTES, OutputEntry, OutputLine};
pub use moment::{MomentEvents, TreeMoment};
pub use notice::LogNotice;
pub use output::OutputLog;
pub use output_query::{AttemptOutput, MAX_ATTEMPTS, OutputFilter, OutputLines, OutputReader};
pub use query::{JournalEntries, JournalEntry, JournalReader, MAX_LAST, MAX_LAST_BYTES, RecordFilter};
pub use record::{Record, RecordId, RecordIdError, RecordKind};
pub use walk::Damage;
pub use writer::LogStatus;
