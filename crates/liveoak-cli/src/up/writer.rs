//! Writes to stdout and stderr without blocking: one thread per file, fed through one bounded buffer.
//!
//! 1. A reader that stops reading never blocks the tree. Text that does not fit into the buffer is dropped
//!    and counted. The count is written into the stream at the place of the loss.
//! 2. No error silences an output for good, unless its reader is gone or it is not open for writing
//!    ([`verdict`](super::descriptor::verdict)). The write is tried again, and the error is reported on the other stream.
//! 3. All text for one file goes through one writer. So lines and JSON objects are whole.
//! 4. Lines of the programs leave room for Liveoak's own lines ([`Room`]).
//!
//! `finish.rs` waits until all text is written. `liveoak check` and `liveoak schema` need no writer, because they may wait for
//! their reader.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use rustix::io::Errno;

use super::descriptor::{OutputFile, Unread, Written, next_write, verdict};

/// How many bytes of the programs' output wait at most: a few hundred thousand lines.
const CAPACITY: usize = 16 * 1024 * 1024;

/// The room for lines of the log, beyond [`CAPACITY`].
const ROOM_FOR_LOG: usize = 1024 * 1024;

/// The room for messages about the run and for the report, beyond the room for the log.
const ROOM_FOR_RUN: usize = 16 * 1024 * 1024;

/// Programs are slowed down when this many bytes wait.
const NEARLY_FULL: usize = CAPACITY / 4 * 3;

/// After a loss, this much room must be free before the next text is taken. So a flood makes one note about many losses. A
/// dropped text is only counted.
const ROOM_AFTER_LOSS: usize = 64 * 1024;

/// Programs are slowed down even more when this many bytes wait, because most of their lines will be dropped.
const FULL: usize = CAPACITY - ROOM_AFTER_LOSS;

/// After writing, a buffer that has grown beyond this many bytes is shrunk.
const SHRINK_ABOVE: usize = 256 * 1024;

/// The first and the longest pause before a write that was refused is tried again.
const RETRY: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// Returns the note that this many pieces of text were lost.
pub(crate) type LossNote = fn(u64) -> String;

/// The kind of a text. It decides how full the buffer may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// A line of a program.
    Program,
    /// A line of Liveoak's log.
    Log,
    /// A message about the run, or the report.
    Run,
}

impl Room {
    const fn limit(self) -> usize {
        match self {
            Room::Program => CAPACITY,
            Room::Log => CAPACITY + ROOM_FOR_LOG,
            Room::Run => CAPACITY + ROOM_FOR_LOG + ROOM_FOR_RUN,
        }
    }
}

/// The fill level of the buffer. It decides how fast the output of programs is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fill {
    Free,
    NearlyFull,
    Full,
    /// No write can succeed any more: all lines are dropped.
    Dropping,
}

/// News about an output, reported on the other stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// The system refuses writes. They are tried again.
    Refused(Errno),
    /// A write succeeded after some were refused.
    Resumed,
    /// No write can succeed any more.
    Ended(Errno),
}

/// Passes news on.
type Tell = Box<dyn Fn(News) + Send + Sync>;

/// Writes to one file. Cheap to clone; never blocks.
#[derive(Clone)]
pub(crate) struct StreamWriter {
    buffer: Arc<OutputBuffer>,
    room: Room,
}

/// Wakes `finish`, which waits for several outputs at the same time.
#[derive(Default)]
pub(crate) struct Bell {
    rung: Mutex<u64>,
    changed: Condvar,
}

/// The buffer between the callers and the thread that writes their text.
struct OutputBuffer {
    state: Mutex<BufferState>,
    /// Wakes the thread when there is text.
    filled: Condvar,
    /// The file. The thread takes it.
    file: Mutex<Option<Box<dyn OutputFile>>>,
    unread: Unread,
    /// Rung after each write, once `finish` waits.
    bell: Arc<Bell>,
    /// The notes about lost lines of programs, and about other lost lines.
    loss_notes: [LossNote; 2],
    tell: OnceLock<Tell>,
}

#[derive(Default)]
struct BufferState {
    pending: Vec<u8>,
    /// The bytes that the thread has taken and not written yet.
    taken: usize,
    /// The number of texts that were dropped since the last one that fitted: lines of programs, and others.
    lost: [u64; 2],
    /// All bytes that were ever written.
    written: u64,
    has_thread: bool,
    /// `true` while the thread waits for text.
    idle: bool,
    /// `true` once `finish` waits.
    finishing: bool,
    /// The error of the latest write, if it was refused.
    refused: Option<Errno>,
    /// `true` if the file is a terminal that is gone.
    hung_up: bool,
    /// Why no write can succeed any more.
    ended: Option<Errno>,
}

/// The progress of a writer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Progress {
    /// The bytes that were not written yet. 0 if no write can succeed any more.
    pub(crate) left: usize,
    /// All bytes that were ever written.
    pub(crate) written: u64,
    /// How many of the written bytes the reader has not read yet. A full pipe takes no further bytes until its reader has read a
    /// whole page. A reader of single lines takes a long time for a page.
    pub(crate) unread: u64,
    /// The error of the latest write, if it was refused.
    pub(crate) refused: Option<Errno>,
    /// `true` if the file is a terminal that is gone.
    pub(crate) hung_up: bool,
    /// Why no write can succeed any more.
    pub(crate) ended: Option<Errno>,
}

impl Bell {
    fn ring(&self) {
        *self.rung.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.changed.notify_all();
    }

    /// Returns how often the bell was rung.
    pub(crate) fn rung(&self) -> u64 {
        *self.rung.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits at most `within` until the bell was rung more than `seen` times.
    pub(crate) fn wait(&self, seen: u64, within: Duration) {
        let rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = self.changed.wait_timeout_while(rung, within, |rung| *rung == seen);
    }
}

impl std::task::Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.ring();
    }
}

impl StreamWriter {
    pub(crate) fn new(
        file: impl OutputFile + 'static,
        bell: Arc<Bell>,
        loss_notes: [LossNote; 2],
        room: Room,
    ) -> Self {
        let buffer = Arc::new(OutputBuffer {
            state: Mutex::default(),
            filled: Condvar::new(),
            unread: file.unread(),
            file: Mutex::new(Some(Box::new(file))),
            bell,
            loss_notes,
            tell: OnceLock::new(),
        });
        Self { buffer, room }
    }

    /// Returns a writer to the same file for texts of another kind.
    pub(crate) fn with_room(&self, room: Room) -> Self {
        Self { buffer: Arc::clone(&self.buffer), room }
    }

    /// Returns `true` if both write to the same file.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.buffer, &other.buffer)
    }

    /// Sets the function that receives news about this output. Only the first call has an effect.
    pub(crate) fn on_news(&self, tell: impl Fn(News) + Send + Sync + 'static) {
        let _only_once = self.buffer.tell.set(Box::new(tell));
    }

    /// Writes a text, either all of it or nothing.
    pub(crate) fn text(&self, text: &[u8]) {
        self.put(|to| to.extend_from_slice(text));
    }

    /// Writes a line.
    pub(crate) fn line(&self, line: &str) {
        self.put(|to| {
            to.extend_from_slice(line.as_bytes());
            to.push(b'\n');
        });
    }

    /// Writes the text that `append` appends, either all of it or nothing. Does not call `append` if the buffer is full.
    pub(crate) fn put(&self, append: impl FnOnce(&mut Vec<u8>)) {
        let buffer = &self.buffer;
        let mut guard = buffer.state();
        let state = &mut *guard;
        if state.ended.is_some() {
            return;
        }
        let (limit, kind) = (self.room.limit(), usize::from(self.room != Room::Program));
        let full = if state.lost[kind] > 0 { limit - ROOM_AFTER_LOSS } else { limit };
        if state.queued() >= full {
            state.lost[kind] += 1;
            return;
        }
        let (length, lost) = (state.pending.len(), state.lost);
        buffer.append_loss_notes(state);
        append(&mut state.pending);
        if state.queued() > limit {
            state.pending.truncate(length);
            state.lost = lost;
            state.lost[kind] += 1;
            return;
        }
        let wake = std::mem::take(&mut state.idle);
        let start = !std::mem::replace(&mut state.has_thread, true);
        drop(guard);
        if start {
            self.start_thread();
        } else if wake {
            buffer.filled.notify_one();
        }
    }

    /// Starts the thread. If the system refuses, the text waits, and the next call with a text tries again.
    fn start_thread(&self) -> bool {
        let drained = Arc::clone(&self.buffer);
        let thread = std::thread::Builder::new().name("liveoak-output".into());
        let started = thread.spawn(move || drained.drain()).is_ok();
        self.buffer.state().has_thread = started;
        started
    }

    /// Returns how much room is left for lines of programs.
    pub(crate) fn fill(&self) -> Fill {
        let state = self.buffer.state();
        match state.queued() {
            _ if state.ended.is_some() => Fill::Dropping,
            queued if queued >= FULL => Fill::Full,
            queued if queued >= NEARLY_FULL => Fill::NearlyFull,
            _ => Fill::Free,
        }
    }

    /// Lets the thread ring the bell from now on. If there is no thread, writes the text once on the calling thread.
    pub(crate) fn begin_finish(&self) {
        let mut guard = self.buffer.state();
        let state = &mut *guard;
        state.finishing = true;
        self.buffer.append_loss_notes(state);
        let start = !state.pending.is_empty() && !state.has_thread;
        drop(guard);
        if start && !self.start_thread() {
            self.buffer.write_here();
        } else {
            self.buffer.filled.notify_one();
        }
    }

    /// Returns the progress of the writer.
    pub(crate) fn progress(&self) -> Progress {
        let state = self.buffer.state();
        Progress {
            left: if state.ended.is_some() { 0 } else { state.queued() },
            written: state.written,
            unread: (self.buffer.unread)(),
            refused: state.refused,
            hung_up: state.hung_up,
            ended: state.ended,
        }
    }
}

impl BufferState {
    /// Returns how many bytes wait.
    fn queued(&self) -> usize {
        self.pending.len() + self.taken
    }
}

impl OutputBuffer {
    fn state(&self) -> MutexGuard<'_, BufferState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn append_loss_notes(&self, state: &mut BufferState) {
        for (lost, note) in state.lost.iter_mut().zip(self.loss_notes) {
            let lost = std::mem::take(lost);
            if lost > 0 {
                state.pending.extend_from_slice(note(lost).as_bytes());
            }
        }
    }

    /// Writes until no write can succeed any more. Runs on the file's own thread.
    fn drain(&self) {
        let file = self.file.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut file) = file else { return };
        let mut taken = Vec::new();
        loop {
            let mut state = self.state();
            while state.pending.is_empty() {
                state.idle = true;
                state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            state.idle = false;
            std::mem::swap(&mut state.pending, &mut taken);
            state.taken = taken.len();
            drop(state);
            if !self.write_all(&taken, &mut *file) {
                return;
            }
            taken.clear();
            taken.shrink_to(SHRINK_ABOVE);
        }
    }

    /// Writes the waiting text once, on the calling thread. Called at the end of the program if the system has refused a thread.
    fn write_here(&self) {
        let file = self.file.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut file) = file else { return };
        let mut state = self.state();
        let text = std::mem::take(&mut state.pending);
        state.taken = text.len();
        drop(state);
        let mut from = 0;
        while let Some(rest) = text.get(from..).filter(|rest| !rest.is_empty()) {
            match verdict(file.write(&rest[..next_write(rest, file.chunk())])) {
                Written::Bytes(bytes) => {
                    from += bytes;
                    self.wrote(bytes);
                }
                Written::Interrupted => {}
                Written::Full => file.wait(),
                Written::Refused(_) | Written::Ended(_) => return,
            }
        }
    }

    /// Writes a text, and repeats writes that fail. Returns `false` if no write can succeed any more.
    fn write_all(&self, text: &[u8], file: &mut dyn OutputFile) -> bool {
        let mut from = 0;
        // The number of writes in a row that wrote nothing.
        let mut vain = 0;
        while let Some(rest) = text.get(from..).filter(|rest| !rest.is_empty()) {
            match verdict(file.write(&rest[..next_write(rest, file.chunk())])) {
                Written::Bytes(bytes) => {
                    from += bytes;
                    vain = 0;
                    self.wrote(bytes);
                    continue;
                }
                Written::Interrupted => continue,
                Written::Full => {
                    file.wait();
                    // A poll may report a file as writable although its writes fail. The pause avoids a busy loop.
                    if vain > 0 {
                        std::thread::sleep(retry_pause(vain));
                    }
                }
                Written::Refused(error) => {
                    self.refused(error, file.is_hung_up());
                    std::thread::sleep(retry_pause(vain));
                }
                Written::Ended(error) => {
                    self.end(error);
                    return false;
                }
            }
            vain += 1;
        }
        true
    }

    fn wrote(&self, bytes: usize) {
        let mut state = self.state();
        state.written += bytes as u64;
        state.taken = state.taken.saturating_sub(bytes);
        state.hung_up = false;
        let (resumed, finishing) = (state.refused.take().is_some(), state.finishing);
        drop(state);
        if resumed {
            self.tell(News::Resumed);
        }
        if finishing {
            self.bell.ring();
        }
    }

    fn refused(&self, error: Errno, hung_up: bool) {
        let mut state = self.state();
        state.hung_up = hung_up;
        let new = state.refused.replace(error) != Some(error);
        drop(state);
        if new {
            self.tell(News::Refused(error));
            self.bell.ring();
        }
    }

    fn end(&self, error: Errno) {
        let mut state = self.state();
        state.ended = Some(error);
        state.pending = Vec::new();
        drop(state);
        self.tell(News::Ended(error));
        self.bell.ring();
    }

    fn tell(&self, news: News) {
        if let Some(tell) = self.tell.get() {
            tell(news);
        }
    }
}

/// Returns the pause after this many writes in a row that wrote nothing.
fn retry_pause(vain: u32) -> Duration {
    let (first, longest) = RETRY;
    first.saturating_mul(1 << vain.min(10)).min(longest)
}

impl Write for StreamWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
