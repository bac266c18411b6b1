//! The log of the output of the children: adding lines.

use crate::disk::{Disk, SystemDisk};
use crate::error::{AppendError, OpenError};
use crate::folder::Folder;
use crate::limits::LogLimits;
use crate::line::{LineStream, line_item, loss_item};
use crate::notice::LogNotice;
use crate::output_query::OutputReader;
use crate::writer::{LogStatus, Settings, Writer};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// The beginning of the names of the files.
pub(crate) const KIND: &str = "output";
/// The bytes of lines that wait for the disk. While the disk refuses, up to twice as many wait.
pub(crate) const MAX_OUTPUT_QUEUE: usize = 8 * 1024 * 1024;

/// The log of the output of one tree. A thread of its own writes it, behind a bounded queue.
///
/// The lines of a run are numbered from 1. A line that is lost has a number too, and the log says how many were lost.
#[derive(Debug)]
pub struct OutputLog {
    folder: Folder,
    writer: Writer,
    /// The number of the last line.
    last: Mutex<u64>,
}

impl OutputLog {
    /// Opens the output log in a folder. What is found damaged there is left out, and
    /// [`take_notices`](Self::take_notices) says so.
    ///
    /// # Errors
    ///
    /// If the folder cannot be read, or no thread can be started.
    pub fn open(folder: &Folder, limits: LogLimits) -> Result<OutputLog, OpenError> {
        OutputLog::open_on(folder, limits, Box::new(SystemDisk))
    }

    pub(crate) fn open_on(
        folder: &Folder,
        limits: LogLimits,
        disk: Box<dyn Disk>,
    ) -> Result<OutputLog, OpenError> {
        // Lines need not survive a power failure, only the end of the process. So only complete files are synced.
        let settings = Settings { kind: KIND, limits, queue: MAX_OUTPUT_QUEUE, sync_every: None, disk };
        let run = folder.run();
        let writer = Writer::start(folder, settings, move |loss| loss_item(run, loss));
        let writer =
            writer.map_err(|error| OpenError::system(folder.path(), "open the output log in", error))?;
        Ok(OutputLog { folder: folder.clone(), writer, last: Mutex::new(0) })
    }

    /// Returns the number of this run.
    #[must_use]
    pub fn run(&self) -> u64 {
        self.folder.run()
    }

    /// Adds a line of a child, without its line break, and returns its number. This never waits for the disk.
    ///
    /// If too many lines wait for the disk, the line is lost, and the log records the loss.
    pub fn add(&self, at: SystemTime, path: &str, attempt: u64, stream: LineStream, line: &[u8]) -> u64 {
        // The lock is held until the line is in the queue: lines are written in the order of their numbers.
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last += 1;
        let item = line_item(self.run(), *last, at, (path, attempt), stream, line);
        // A refused line is counted by the queue.
        let _ = self.writer.push(vec![item]);
        *last
    }

    /// Waits until all lines that were added before can be read by an [`OutputReader`].
    ///
    /// # Errors
    ///
    /// If the disk refuses, or has not answered in time.
    pub fn flush(&self, within: Duration) -> Result<(), AppendError> {
        self.writer.push_and_wait(Vec::new(), false, within)
    }

    /// Returns a reader of this log.
    #[must_use]
    pub fn reader(&self) -> OutputReader {
        OutputReader::at_dir(self.folder.dir())
    }

    /// Returns the state of the log.
    #[must_use]
    pub fn status(&self) -> LogStatus {
        self.writer.status()
    }

    /// Returns what happened to the log since the last call.
    #[must_use]
    pub fn take_notices(&self) -> Vec<LogNotice> {
        self.writer.take_notices()
    }

    /// Calls `call` after lines were written. It runs on the thread that writes, so it must not wait for anything.
    pub fn on_written(&self, call: impl Fn() + Send + Sync + 'static) {
        self.writer.on_written(Arc::new(call));
    }

    /// Writes what was added, and ends. Returns `false` if the disk has not answered in time.
    #[must_use]
    pub fn close(self, within: Duration) -> bool {
        self.writer.close(within)
    }
}
