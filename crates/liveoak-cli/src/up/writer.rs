//! Writes to stdout and stderr without blocking: one thread per stream, fed through one bounded buffer.
//!
//! The reader of stdout or stderr may stop reading. That must not block the tree: text that does not fit into the
//! buffer is dropped and counted, and the count is written into the stream at the place of the loss. A reader that
//! is fast enough loses nothing: the buffer holds megabytes, and the thread always writes all of it at once.
//!
//! Output of `liveoak check` and `liveoak schema` does not need it: these commands may wait for their reader.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The capacity of the buffer in bytes: a few hundred thousand lines. While the reader does not read, up to twice as
/// much is held, because the thread may be writing as much.
const CAPACITY: usize = 16 * 1024 * 1024;

/// After writing, a buffer that has grown beyond this many bytes is shrunk.
const SHRINK_ABOVE: usize = 256 * 1024;

/// How long the program waits at its end for a reader that does not read.
const FINISH_TIMEOUT: Duration = Duration::from_secs(1);

/// Returns the note that this many pieces of text were lost.
type LossNote = fn(u64) -> String;

/// Writes to one stream. Cheap to clone; never blocks.
#[derive(Clone)]
pub(crate) struct StreamWriter {
    buffer: Arc<OutputBuffer>,
}

/// The text between the callers and the thread that writes it.
struct OutputBuffer {
    state: Mutex<BufferState>,
    /// Notified when there is text to write.
    filled: Condvar,
    /// Notified when text was written.
    written: Condvar,
    loss_note: LossNote,
}

#[derive(Default)]
struct BufferState {
    pending: Vec<u8>,
    /// The number of pieces that were dropped since the last one that fitted.
    lost: u64,
    /// `true` while the thread writes text that it took from `pending`.
    writing: bool,
    /// `true` if the reader closed the stream, or if there is no thread: all text is dropped.
    closed: bool,
}

impl StreamWriter {
    pub(crate) fn stdout() -> Self {
        Self::new(io::stdout(), stdout_loss_note)
    }

    pub(crate) fn stderr(loss_note: LossNote) -> Self {
        Self::new(io::stderr(), loss_note)
    }

    fn new(stream: impl Write + Send + 'static, loss_note: LossNote) -> Self {
        let buffer = Arc::new(OutputBuffer {
            state: Mutex::default(),
            filled: Condvar::new(),
            written: Condvar::new(),
            loss_note,
        });
        let drained = Arc::clone(&buffer);
        let thread = std::thread::Builder::new().name("liveoak-output".into());
        // Without the thread nothing is written, but nothing blocks either, and the tree runs on.
        if thread.spawn(move || drained.drain(stream)).is_err() {
            buffer.state().closed = true;
        }
        Self { buffer }
    }

    /// Writes a text, either all of it or nothing.
    pub(crate) fn text(&self, text: &[u8]) {
        let mut state = self.buffer.state();
        if state.closed {
            return;
        }
        if state.pending.len() + text.len() > CAPACITY {
            state.lost += 1;
            return;
        }
        self.buffer.append_loss_note(&mut state);
        state.pending.extend_from_slice(text);
        drop(state);
        self.buffer.filled.notify_one();
    }

    /// Writes a line.
    pub(crate) fn line(&self, line: &str) {
        self.text(format!("{line}\n").as_bytes());
    }

    /// Waits until all text was written, but at most [`FINISH_TIMEOUT`].
    pub(crate) fn finish(&self) {
        let deadline = Instant::now() + FINISH_TIMEOUT;
        let mut state = self.buffer.state();
        self.buffer.append_loss_note(&mut state);
        self.buffer.filled.notify_one();
        while !state.closed && (state.writing || !state.pending.is_empty()) {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else { return };
            let waited = self.buffer.written.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// Returns the note for stdout. It has no path in front, because no child wrote it.
fn stdout_loss_note(lost: u64) -> String {
    let lines = if lost == 1 { "1 line was".to_owned() } else { format!("{lost} lines were") };
    format!("liveoak: {lines} lost here, because the reader of this output was too slow\n")
}

impl OutputBuffer {
    fn state(&self) -> MutexGuard<'_, BufferState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn append_loss_note(&self, state: &mut BufferState) {
        let lost = std::mem::take(&mut state.lost);
        if lost > 0 {
            state.pending.extend_from_slice((self.loss_note)(lost).as_bytes());
        }
    }

    /// Writes until the program ends or the reader closes the stream. Runs on the stream's own thread.
    fn drain(&self, mut stream: impl Write) {
        let mut taken = Vec::new();
        loop {
            let mut state = self.state();
            while state.pending.is_empty() {
                state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            std::mem::swap(&mut state.pending, &mut taken);
            state.writing = true;
            drop(state);
            let closed = stream.write_all(&taken).and_then(|()| stream.flush()).is_err();
            taken.clear();
            taken.shrink_to(SHRINK_ABOVE);
            let mut state = self.state();
            state.writing = false;
            if closed {
                state.closed = true;
                state.pending = Vec::new();
            }
            drop(state);
            self.written.notify_all();
            if closed {
                return;
            }
        }
    }
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
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, Sender, channel};

    /// A stream whose writes block until the test releases them.
    struct BlockedStream {
        release: Receiver<()>,
        written: Sender<Vec<u8>>,
    }

    impl Write for BlockedStream {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.release.recv();
            let _ = self.written.send(bytes.to_vec());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A stream that its reader has closed.
    struct ClosedStream;

    impl Write for ClosedStream {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_does_not_read_blocks_no_caller_and_gets_a_note_about_the_lost_lines() {
        let (go, release) = channel();
        let (written, seen) = channel();
        let writer = StreamWriter::new(BlockedStream { release, written }, stdout_loss_note);
        let line = "x".repeat(1023);
        writer.line(&line);
        while !writer.buffer.state().writing {
            std::thread::yield_now();
        }
        let (room, lost) = (CAPACITY / 1024, 10);
        for _ in 0..room + lost as usize {
            writer.line(&line);
        }
        drop(go);
        writer.finish();
        let all: Vec<u8> = seen.try_iter().flatten().collect();
        let text = String::from_utf8(all).expect("text");
        assert_eq!(text.lines().filter(|text| **text == line).count(), 1 + room);
        assert!(text.ends_with(&stdout_loss_note(lost)), "{}", text.lines().last().unwrap_or_default());
    }

    #[test]
    fn a_burst_of_lines_loses_nothing_if_the_reader_reads() {
        let (go, release) = channel();
        let (written, seen) = channel();
        drop(go);
        let writer = StreamWriter::new(BlockedStream { release, written }, stdout_loss_note);
        for number in 0..100_000 {
            writer.line(&number.to_string());
        }
        writer.finish();
        let all: Vec<u8> = seen.try_iter().flatten().collect();
        let text = String::from_utf8(all).expect("text");
        assert!(text.lines().enumerate().all(|(number, line)| line == number.to_string()));
        assert_eq!(text.lines().count(), 100_000);
    }

    #[test]
    fn finish_does_not_wait_for_a_stream_that_its_reader_has_closed() {
        let writer = StreamWriter::new(ClosedStream, stdout_loss_note);
        writer.line("not read");
        writer.finish();
        writer.line("not read either");
        writer.finish();
        assert!(writer.buffer.state().closed);
    }
}
