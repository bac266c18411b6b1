//! Writing without ever waiting: a thread per stream, fed through one bounded buffer.
//!
//! Whoever reads our stdout or stderr may stop reading. The tree must not notice: what finds no room is dropped and
//! counted, and the count stands in the stream at the place of the loss. A reader that reads loses nothing, however
//! much comes at once: the buffer is bounded by bytes, and written as a whole.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How many bytes may wait for the reader: a few hundred thousand lines. Twice as much is held while the reader does
/// not read, since as much may be on its way.
const ROOM: usize = 16 * 1024 * 1024;

/// A buffer that has grown beyond this is given back to the system once it was written.
const KEPT: usize = 256 * 1024;

/// How long the end of the program waits for a reader that does not read.
const LAST_CHANCE: Duration = Duration::from_secs(1);

/// How the stream says that this many pieces were lost.
type Loss = fn(u64) -> String;

/// The way to one stream. Cheap to clone; never blocks.
#[derive(Clone)]
pub(crate) struct Pump {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    /// Something is to be written.
    filled: Condvar,
    /// Something was written.
    written: Condvar,
    loss: Loss,
}

#[derive(Default)]
struct State {
    waiting: Vec<u8>,
    /// Pieces dropped since the last one that found room.
    lost: u64,
    /// The thread has taken something and is not back yet.
    writing: bool,
    /// Nobody reads any more, or there is no thread: whatever comes is thrown away.
    closed: bool,
}

impl Pump {
    pub(crate) fn stdout() -> Self {
        Self::new(io::stdout(), lost_lines)
    }

    pub(crate) fn stderr(loss: Loss) -> Self {
        Self::new(io::stderr(), loss)
    }

    fn new(stream: impl Write + Send + 'static, loss: Loss) -> Self {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            filled: Condvar::new(),
            written: Condvar::new(),
            loss,
        });
        let drained = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("liveoak-output".into());
        // Without the thread nothing is written, and nothing blocks either.
        if thread.spawn(move || drained.drain(stream)).is_err() {
            shared.state().closed = true;
        }
        Self { shared }
    }

    /// Writes a text, whole or not at all.
    pub(crate) fn text(&self, text: &[u8]) {
        let mut state = self.shared.state();
        if state.closed {
            return;
        }
        if state.waiting.len() + text.len() > ROOM {
            state.lost += 1;
            return;
        }
        self.shared.tell_loss(&mut state);
        state.waiting.extend_from_slice(text);
        drop(state);
        self.shared.filled.notify_one();
    }

    /// Writes a line.
    pub(crate) fn line(&self, line: &str) {
        self.text(format!("{line}\n").as_bytes());
    }

    /// Waits until everything was written, or the reader had its last chance.
    pub(crate) fn finish(&self) {
        let deadline = Instant::now() + LAST_CHANCE;
        let mut state = self.shared.state();
        self.shared.tell_loss(&mut state);
        self.shared.filled.notify_one();
        while !state.closed && (state.writing || !state.waiting.is_empty()) {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else { return };
            let waited = self.shared.written.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// The note on stdout. It has no path in front: no program wrote it.
fn lost_lines(lost: u64) -> String {
    let lines = if lost == 1 { "1 line was".to_owned() } else { format!("{lost} lines were") };
    format!("liveoak: {lines} lost here: this output is read too slowly\n")
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell_loss(&self, state: &mut State) {
        let lost = std::mem::take(&mut state.lost);
        if lost > 0 {
            state.waiting.extend_from_slice((self.loss)(lost).as_bytes());
        }
    }

    /// Writes for as long as the program lives, or until nobody reads any more.
    fn drain(&self, mut stream: impl Write) {
        let mut taken = Vec::new();
        loop {
            let mut state = self.state();
            while state.waiting.is_empty() {
                state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            std::mem::swap(&mut state.waiting, &mut taken);
            state.writing = true;
            drop(state);
            let gone = stream.write_all(&taken).and_then(|()| stream.flush()).is_err();
            taken.clear();
            taken.shrink_to(KEPT);
            let mut state = self.state();
            state.writing = false;
            if gone {
                state.closed = true;
                state.waiting = Vec::new();
            }
            drop(state);
            self.written.notify_all();
            if gone {
                return;
            }
        }
    }
}

impl Write for Pump {
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

    /// A stream that blocks until it is let go on.
    struct Stuck {
        go: Receiver<()>,
        written: Sender<Vec<u8>>,
    }

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.go.recv();
            let _ = self.written.send(bytes.to_vec());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What a reader that is gone gives.
    struct Gone;

    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_does_not_read_blocks_nobody_and_is_told_what_it_lost() {
        let (go, stuck) = channel();
        let (written, seen) = channel();
        let pump = Pump::new(Stuck { go: stuck, written }, lost_lines);
        let line = "x".repeat(1023);
        pump.line(&line);
        while !pump.shared.state().writing {
            std::thread::yield_now();
        }
        let (room, lost) = (ROOM / 1024, 10);
        for _ in 0..room + lost as usize {
            pump.line(&line);
        }
        drop(go);
        pump.finish();
        let all: Vec<u8> = seen.try_iter().flatten().collect();
        let text = String::from_utf8(all).expect("text");
        assert_eq!(text.lines().filter(|text| **text == line).count(), 1 + room);
        assert!(text.ends_with(&lost_lines(lost)), "{}", text.lines().last().unwrap_or_default());
    }

    #[test]
    fn more_lines_than_anybody_reads_at_once_are_lost_only_if_nobody_reads() {
        let (go, stuck) = channel();
        let (written, seen) = channel();
        drop(go);
        let pump = Pump::new(Stuck { go: stuck, written }, lost_lines);
        for number in 0..100_000 {
            pump.line(&number.to_string());
        }
        pump.finish();
        let all: Vec<u8> = seen.try_iter().flatten().collect();
        let text = String::from_utf8(all).expect("text");
        assert!(text.lines().enumerate().all(|(number, line)| line == number.to_string()));
        assert_eq!(text.lines().count(), 100_000);
    }

    #[test]
    fn a_reader_that_is_gone_is_not_waited_for() {
        let pump = Pump::new(Gone, lost_lines);
        pump.line("nobody reads this");
        pump.finish();
        pump.line("nor this");
        pump.finish();
        assert!(pump.shared.state().closed);
    }
}
