//! The journal of one tree: appending.

use crate::disk::{Disk, SystemDisk};
use crate::error::{AppendError, OpenError};
use crate::folder::Folder;
use crate::frame;
use crate::limits::LogLimits;
use crate::notice::LogNotice;
use crate::query::JournalReader;
use crate::record::{Record, RecordKind};
use crate::writer::{LogStatus, Settings, Writer};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The beginning of the names of the files.
pub(crate) const KIND: &str = "journal";
/// The bytes of records that wait for the disk. While the disk refuses, up to twice as many wait.
pub(crate) const MAX_JOURNAL_QUEUE: usize = 8 * 1024 * 1024;
/// The longest time until a record is on disk, if no call waits for it.
const SYNC_EVERY: Duration = Duration::from_secs(5);
/// A checkpoint is due after this many bytes of records, unless the last checkpoint was large.
const CHECKPOINT_EVERY: u64 = 512 * 1024;
/// After a large checkpoint, the next one is due after this many times its size of records. So checkpoints take a fifth
/// of the journal at most.
const CHECKPOINT_SHARE: u64 = 4;

/// When an append returns.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Durability {
    /// At once. The records are written after some milliseconds, and are on disk after some seconds.
    Soon,
    /// When the records, and all records that were appended before, are on disk. Records that are appended at the same
    /// time by several threads reach the disk together.
    Durable {
        /// The longest time to wait for the disk.
        within: Duration,
    },
}

/// The journal of one tree. A thread of its own writes it, behind a bounded queue: a slow or full disk slows nothing down.
///
/// When it is dropped, the records that were appended are written, for two seconds at most.
#[derive(Debug)]
pub struct Journal {
    folder: Folder,
    limits: LogLimits,
    writer: Writer,
    since_checkpoint: Mutex<SinceCheckpoint>,
}

/// What decides whether a checkpoint is due.
#[derive(Debug, Default)]
struct SinceCheckpoint {
    /// The size of the last checkpoint of this run; `None` before the first.
    size: Option<u64>,
    /// The bytes that were appended after it.
    bytes: u64,
    /// The records that had been lost before it.
    lost: u64,
    /// The records that had been lost when the caller learnt that a checkpoint is due.
    lost_when_asked: Option<u64>,
    /// A loss was appended after it.
    has_loss: bool,
}

impl Journal {
    /// Opens the journal in a folder. What is found damaged there is left out, and [`take_notices`](Self::take_notices)
    /// says so.
    ///
    /// # Errors
    ///
    /// If the folder cannot be read, or no thread can be started.
    pub fn open(folder: &Folder, limits: LogLimits) -> Result<Journal, OpenError> {
        Journal::open_on(folder, limits, Box::new(SystemDisk))
    }

    pub(crate) fn open_on(
        folder: &Folder,
        limits: LogLimits,
        disk: Box<dyn Disk>,
    ) -> Result<Journal, OpenError> {
        let (queue, sync_every) = (MAX_JOURNAL_QUEUE, Some(SYNC_EVERY));
        let settings = Settings { kind: KIND, limits, queue, sync_every, disk };
        let run = folder.run();
        let writer = Writer::start(folder, settings, move |loss| Record::loss_item(run, loss));
        let writer =
            writer.map_err(|error| OpenError::system(folder.path(), "open the journal in", error))?;
        Ok(Journal { folder: folder.clone(), limits, writer, since_checkpoint: Mutex::default() })
    }

    /// Returns the number of this run.
    #[must_use]
    pub fn run(&self) -> u64 {
        self.folder.run()
    }

    /// Appends records together. With [`Durability::Soon`] this never waits for the disk.
    ///
    /// Events of one tree must be appended in the order of their numbers, and so must checkpoints.
    ///
    /// # Errors
    ///
    /// See [`AppendError`]. Records that are refused count as lost, and the journal records the loss.
    pub fn append(&self, records: &[Record], when: Durability) -> Result<(), AppendError> {
        let run = self.run();
        let items: Vec<_> = records.iter().map(|record| record.to_item(run)).collect();
        let most = self.limits.record_bytes().saturating_sub(frame::OVERHEAD);
        if let Some(bytes) = items.iter().map(|item| item.payload.len()).find(|bytes| *bytes > most) {
            let mut since = self.since_checkpoint();
            for (record, item) in records.iter().zip(&items) {
                // A tree that is too large for a checkpoint must not be copied for each event.
                if record.record == RecordKind::Checkpoint {
                    since.add(record.record, item.payload.len() as u64, self.writer.lost());
                }
                self.writer.lose(item.stamp, item.counts);
            }
            return Err(AppendError::TooLong { bytes, most });
        }
        let lost = self.writer.lost();
        let sizes: Vec<u64> = items.iter().map(|item| item.payload.len() as u64).collect();
        let result = match when {
            Durability::Soon => self.writer.push(items),
            Durability::Durable { within } => self.writer.push_and_wait(items, true, within),
        };
        if !matches!(result, Err(AppendError::Full | AppendError::Closed)) {
            let mut since = self.since_checkpoint();
            records.iter().zip(sizes).for_each(|(record, size)| since.add(record.record, size, lost));
        }
        result
    }

    /// Returns `true` if the caller should append a checkpoint: at the beginning of a run, after a loss, and when much was
    /// appended since the last one.
    #[must_use]
    pub fn is_checkpoint_due(&self) -> bool {
        let mut since = self.since_checkpoint();
        let lost = self.writer.lost();
        let every = CHECKPOINT_EVERY.min(self.limits.segment_bytes() / 2);
        let is_due = since.size.is_none_or(|size| {
            since.has_loss || since.lost != lost || since.bytes >= every.max(CHECKPOINT_SHARE * size)
        });
        // What is lost while the caller copies the tree is not in the copy.
        since.lost_when_asked = is_due.then_some(lost);
        is_due
    }

    fn since_checkpoint(&self) -> MutexGuard<'_, SinceCheckpoint> {
        self.since_checkpoint.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until all that was appended before can be read by a [`JournalReader`].
    ///
    /// # Errors
    ///
    /// If the disk refuses, or has not answered in time.
    pub fn flush(&self, within: Duration) -> Result<(), AppendError> {
        self.writer.push_and_wait(Vec::new(), false, within)
    }

    /// Returns a reader of this journal.
    #[must_use]
    pub fn reader(&self) -> JournalReader {
        JournalReader::at_dir(self.folder.dir())
    }

    /// Returns the state of the journal.
    #[must_use]
    pub fn status(&self) -> LogStatus {
        self.writer.status()
    }

    /// Returns what happened to the journal since the last call.
    #[must_use]
    pub fn take_notices(&self) -> Vec<LogNotice> {
        self.writer.take_notices()
    }

    /// Calls `call` after records were written. It runs on the thread that writes, so it must not wait for anything.
    pub fn on_written(&self, call: impl Fn() + Send + Sync + 'static) {
        self.writer.on_written(Arc::new(call));
    }

    /// Writes what was appended, and ends. Returns `false` if the disk has not answered in time.
    #[must_use]
    pub fn close(self, within: Duration) -> bool {
        self.writer.close(within)
    }
}

impl SinceCheckpoint {
    fn add(&mut self, record: RecordKind, size: u64, lost: u64) {
        match record {
            RecordKind::Checkpoint => {
                let lost = self.lost_when_asked.unwrap_or(lost);
                *self = SinceCheckpoint { size: Some(size), lost, ..SinceCheckpoint::default() };
            }
            RecordKind::Loss { .. } => self.has_loss = true,
            RecordKind::Event | RecordKind::Command => {}
        }
        if record != RecordKind::Checkpoint {
            self.bytes += size;
        }
    }
}
