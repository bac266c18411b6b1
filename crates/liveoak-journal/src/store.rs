//! The segments of a log as its writer sees them: appending, beginning new ones, and removing old ones.
//!
//! 1. A complete segment is never written again.
//! 2. The files together never exceed the bound: old ones are removed *before* something is written.
//! 3. A write begins behind the last whole frame. So what a failed write has left behind is overwritten by the next one.
//! 4. After a failed sync, the segment is left: the system may have forgotten what it could not write, and a later sync of
//!    the same file would succeed all the same.

use crate::disk::Disk;
use crate::files;
use crate::folder::Folder;
use crate::frame;
use crate::limits::LogLimits;
use crate::notice::LogNotice;
use crate::queue::Item;
use crate::segment::{self, SegmentName, Summary};
use rustix::fs::{AtFlags, OFlags};
use std::collections::VecDeque;
use std::fs::File;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The most files of a log.
pub(crate) const MAX_SEGMENTS: usize = 256;
/// This many bytes are collected before they are written.
const WRITE_AT_ONCE: usize = 1024 * 1024;

/// A complete segment.
#[derive(Debug)]
struct Kept {
    name: SegmentName,
    size: u64,
    /// The latest time in it, in milliseconds: of its records, or of the file if they are not known.
    latest: u64,
}

/// The segment that is written.
#[derive(Debug)]
struct Active {
    name: SegmentName,
    file: File,
    /// The offset behind the last whole frame that was written.
    end: u64,
    /// The first frame ends here.
    begin: u64,
    summary: Option<Summary>,
    /// Something was written since the last sync.
    is_dirty: bool,
}

impl Active {
    /// Returns `true` if all records are older than this.
    fn is_older_than(&self, oldest: u64) -> bool {
        self.summary.is_some_and(|summary| summary.latest < oldest)
    }
}

/// The segments of a log, as its writer sees them. The header of this file has the rules.
pub(crate) struct Store {
    kind: &'static str,
    folder: Folder,
    dir: Arc<OwnedFd>,
    limits: LogLimits,
    disk: Box<dyn Disk>,
    /// The complete segments, oldest first.
    kept: VecDeque<Kept>,
    active: Option<Active>,
    /// The last complete segment and what is in it, for the next first frame.
    before: Option<(u64, Summary)>,
    next_number: u64,
    /// Frames that are not written yet.
    buffer: Vec<u8>,
    /// The records of these frames, each with the offset in the buffer behind it.
    buffered: VecDeque<(Item, usize)>,
    /// The notices that were not taken yet.
    notices: Vec<LogNotice>,
}

/// Returns a time in milliseconds since 1970.
pub(crate) fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    u64::try_from(since).unwrap_or(u64::MAX)
}

/// Returns the time at this many milliseconds since 1970.
pub(crate) fn moment(millis: u64) -> SystemTime {
    UNIX_EPOCH.checked_add(Duration::from_millis(millis)).unwrap_or(UNIX_EPOCH)
}

impl Store {
    /// Finds the segments in the folder, and continues the last one if it is whole.
    pub(crate) fn open(
        folder: &Folder,
        kind: &'static str,
        limits: LogLimits,
        disk: Box<dyn Disk>,
    ) -> io::Result<Store> {
        let mut store = Store {
            kind,
            folder: folder.clone(),
            dir: folder.dir().get(),
            limits,
            disk,
            kept: VecDeque::new(),
            active: None,
            before: None,
            next_number: 1,
            buffer: Vec::new(),
            buffered: VecDeque::new(),
            notices: Vec::new(),
        };
        store.find()?;
        Ok(store)
    }

    fn find(&mut self) -> io::Result<()> {
        let (segments, others) = segment::list(&self.dir, self.kind)?;
        let summaries = segment::summaries(&self.dir, &segments);
        for name in &others {
            let why = "it is not a plain file".to_owned();
            self.notices.push(LogNotice::Skipped { file: name.file.clone(), why });
        }
        let numbers = segments.iter().chain(&others).map(|name| name.number);
        self.next_number = numbers.fold(self.next_number, |next, number| next.max(number + 1));
        let count = segments.len();
        for (at, (name, summary)) in segments.into_iter().zip(summaries).enumerate() {
            let Ok(stat) = rustix::fs::statat(&*self.dir, &name.file, AtFlags::SYMLINK_NOFOLLOW) else {
                continue;
            };
            let size = u64::try_from(stat.st_size).unwrap_or(0);
            let written = u64::try_from(stat.st_mtime).unwrap_or(0).saturating_mul(1000);
            let latest = summary.map_or(written, |summary| summary.latest);
            let kept = Kept { name, size, latest };
            if at + 1 < count || !self.resume(&kept) {
                self.kept.push_back(kept);
            }
        }
        Ok(())
    }

    /// Continues a segment of an earlier run, if it is whole and has room.
    fn resume(&mut self, last: &Kept) -> bool {
        let name = &last.name;
        let why = if name.is_readable() {
            None
        } else {
            Some(format!("it has format {}, expected {}", name.format, segment::FORMAT))
        };
        let content = match why {
            None => segment::content(&self.dir, name).map_err(|error| error.to_string()),
            Some(why) => Err(why),
        };
        let content = match content {
            Ok(content) => content,
            Err(why) => {
                self.notices.push(LogNotice::Skipped { file: name.file.clone(), why });
                return false;
            }
        };
        self.before = content.summary.map(|summary| (name.number, summary));
        if content.damage > 0 {
            self.notices.push(LogNotice::Damaged { file: name.file.clone(), bytes: content.damage });
        }
        let has_room = last.size < self.limits.segment_bytes();
        // A file that ends in an unfinished record stays as it is.
        if !content.is_whole || content.end != last.size || !has_room {
            return false;
        }
        let Ok(file) = files::open_file(&self.dir, &name.file, OFlags::RDWR) else { return false };
        let (end, summary) = (content.end, content.summary);
        self.active = Some(Active { name: name.clone(), file, end, begin: 0, summary, is_dirty: false });
        true
    }

    /// Returns the bytes of all files.
    pub(crate) fn size(&self) -> u64 {
        self.kept.iter().map(|kept| kept.size).sum::<u64>()
            + self.active.as_ref().map_or(0, |active| active.end)
    }

    /// Adds a record. It is written at the latest by the next [`flush`](Self::flush).
    ///
    /// Returns `false` if the record can never be written, because files may not be so large.
    pub(crate) fn add(&mut self, item: Item, now: u64) -> Result<bool, (Item, io::Error)> {
        let size = (item.payload.len() + frame::OVERHEAD) as u64;
        if size.saturating_add(HEADER_ROOM) > self.disk.max_file_size() {
            return Ok(false);
        }
        if let Err(error) = self.make_room(size, item.stamp.at, now) {
            return Err((item, error));
        }
        let Some(active) = &mut self.active else { return Ok(false) };
        let offset = active.end + self.buffer.len() as u64;
        frame::push(&mut self.buffer, active.name.salt, offset, &item.payload);
        self.buffered.push_back((item, self.buffer.len()));
        Ok(true)
    }

    /// Makes room for a frame: in the active segment or in a new one, and within the bound.
    fn make_room(&mut self, size: u64, at: u64, now: u64) -> io::Result<()> {
        if self.buffer.len() >= WRITE_AT_ONCE {
            self.flush()?;
        }
        let most = self.limits.segment_bytes().min(self.disk.max_file_size());
        let oldest = at.saturating_sub(duration_millis(self.limits.segment_age()));
        let buffered = self.buffer.len() as u64;
        let fits = self.active.as_ref().is_some_and(|active| {
            let is_first = active.end + buffered <= active.begin;
            let is_old = active.summary.is_some_and(|summary| summary.earliest < oldest);
            is_first || (active.end + buffered + size <= most && !is_old)
        });
        if !fits {
            self.flush()?;
            self.begin(size, now)?;
        }
        self.remove_beyond(size + self.buffer.len() as u64)
    }

    /// Removes the oldest segments until this many more bytes fit into the bound.
    fn remove_beyond(&mut self, more: u64) -> io::Result<()> {
        while self.size() + more > self.limits.bytes() || self.kept.len() >= MAX_SEGMENTS {
            let Some(oldest) = self.kept.front() else { return Ok(()) };
            self.disk.remove(&self.dir, &oldest.name.file)?;
            self.kept.pop_front();
        }
        Ok(())
    }

    /// Removes the segments whose records are all too old.
    pub(crate) fn remove_old(&mut self, now: u64) -> io::Result<()> {
        let oldest = now.saturating_sub(duration_millis(self.limits.age));
        // In a quiet tree, the segment that is written can be too old as well.
        if self.buffer.is_empty() && self.active.as_ref().is_some_and(|active| active.is_older_than(oldest)) {
            self.leave();
        }
        while let Some(kept) = self.kept.front().filter(|kept| kept.latest < oldest) {
            self.disk.remove(&self.dir, &kept.name.file)?;
            self.kept.pop_front();
        }
        Ok(())
    }

    /// Completes the active segment and begins a new one.
    fn begin(&mut self, size: u64, now: u64) -> io::Result<()> {
        // A new segment whose name was never synced could vanish with everything in it.
        self.sync()?;
        self.leave();
        self.remove_old(now)?;
        self.remove_beyond(size + HEADER_ROOM)?;
        let salt = RandomState::new().build_hasher().finish() as u32;
        let name = SegmentName::new(self.kind, self.next_number, salt);
        let mut first = Vec::new();
        frame::push(&mut first, salt, 0, segment::header(now, self.before).as_bytes());
        let file = match self.disk.create(&self.dir, &name.file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.find_folder(error)?;
                self.disk.create(&self.dir, &name.file)?
            }
            created => created?,
        };
        self.next_number += 1;
        let written = write_all(&*self.disk, &file, &first, 0).1.and_then(|()| self.disk.sync_dir(&self.dir));
        if let Err(error) = written {
            // An empty file would do no harm, but many would.
            let _ = self.disk.remove(&self.dir, &name.file);
            return Err(error);
        }
        let end = first.len() as u64;
        self.active = Some(Active { name, file, end, begin: end, summary: None, is_dirty: true });
        Ok(())
    }

    /// Makes the folder again if it was removed.
    fn find_folder(&mut self, error: io::Error) -> io::Result<()> {
        let dir = self.folder.refreshed().map_err(|error| io::Error::other(error.to_string()))?;
        if Arc::ptr_eq(&dir, &self.dir) {
            return Err(error);
        }
        self.dir = dir;
        self.kept.clear();
        self.before = None;
        self.notices.push(LogNotice::MadeAgain);
        Ok(())
    }

    /// Leaves the active segment. What is buffered must have been written.
    fn leave(&mut self) {
        let Some(active) = self.active.take() else { return };
        self.before = active.summary.map(|summary| (active.name.number, summary));
        let latest = active.summary.map_or(u64::MAX, |summary| summary.latest);
        self.kept.push_back(Kept { name: active.name, size: active.end, latest });
    }

    /// Writes what is buffered. Records that were not written stay buffered.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        let Some(active) = self.active.as_mut().filter(|_| !self.buffer.is_empty()) else { return Ok(()) };
        let (count, result) = write_all(&*self.disk, &active.file, &self.buffer, active.end);
        active.is_dirty |= count > 0;
        let mut end = 0;
        while let Some((item, until)) = self.buffered.pop_front_if(|(_, until)| *until <= count) {
            Summary::add(&mut active.summary, item.stamp);
            end = until;
        }
        active.end += end as u64;
        self.buffer.clear();
        if result.is_err() {
            // Readers do not need this, but it frees disk space.
            let _ = active.file.set_len(active.end);
        }
        result
    }

    /// Returns the records that were buffered and not written.
    pub(crate) fn unwritten(&mut self) -> Vec<Item> {
        self.buffer.clear();
        self.buffered.drain(..).map(|(item, _)| item).collect()
    }

    /// Waits until everything that was written is on disk.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        let Some(active) = self.active.as_mut().filter(|active| active.is_dirty) else { return Ok(()) };
        active.is_dirty = false;
        let result = self.disk.sync(&active.file);
        if result.is_err() {
            self.leave();
        }
        result
    }

    /// Returns `true` if something waits for a sync.
    pub(crate) fn is_dirty(&self) -> bool {
        self.active.as_ref().is_some_and(|active| active.is_dirty)
    }

    /// Leaves an active segment that was removed by another program: what is written into it is lost.
    pub(crate) fn check_active(&mut self) {
        let is_gone = |active: &Active| rustix::fs::fstat(&active.file).is_ok_and(|stat| stat.st_nlink == 0);
        if self.active.as_ref().is_some_and(is_gone) {
            self.active = None;
        }
    }

    /// Returns what happened since the last call.
    pub(crate) fn take_notices(&mut self) -> Vec<LogNotice> {
        std::mem::take(&mut self.notices)
    }
}

/// Room for the first frame of a segment.
const HEADER_ROOM: u64 = 256;

fn duration_millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Writes bytes, and returns how many were written before an error.
fn write_all(disk: &dyn Disk, file: &File, bytes: &[u8], offset: u64) -> (usize, io::Result<()>) {
    let mut count = 0;
    while count < bytes.len() {
        match disk.write_at(file, &bytes[count..], offset + count as u64) {
            Ok(0) => return (count, Err(io::ErrorKind::WriteZero.into())),
            Ok(written) => count += written,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (count, Err(error)),
        }
    }
    (count, Ok(()))
}
