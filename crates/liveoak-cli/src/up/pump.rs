//! Writing without ever waiting: a thread per stream, fed through a bounded queue.
//!
//! Whoever reads our stdout or stderr may stop reading. The tree must not notice: when the queue is full, lines are
//! dropped and counted, and the count is written as soon as there is room.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

/// How many writes may wait for the reader; one more is dropped and counted. With lines of 16 KiB at most this is
/// 64 MiB in the worst case, a few hundred KiB usually.
const QUEUE: usize = 4096;

/// How long the end of the program waits for a reader that does not read.
const LAST_CHANCE: Duration = Duration::from_secs(1);

enum Piece {
    Text(Vec<u8>),
    /// Everything before this is to be written; then tell.
    Finish(SyncSender<()>),
}

/// The way to one stream. Cheap to clone; never blocks.
#[derive(Clone)]
pub(crate) struct Pump {
    queue: SyncSender<Piece>,
    lost: Arc<AtomicU64>,
}

impl Pump {
    pub(crate) fn stdout() -> Self {
        Self::new(io::stdout())
    }

    pub(crate) fn stderr() -> Self {
        Self::new(io::stderr())
    }

    fn new(stream: impl Write + Send + 'static) -> Self {
        let (queue, pieces) = sync_channel(QUEUE);
        let lost = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&lost);
        // Without the thread nothing is written, and nothing blocks either.
        let _ = std::thread::Builder::new()
            .name("liveoak-output".into())
            .spawn(move || drain(&pieces, stream, &counted));
        Self { queue, lost }
    }

    /// Writes a text as it is.
    pub(crate) fn text(&self, text: Vec<u8>) {
        match self.queue.try_send(Piece::Text(text)) {
            Ok(()) | Err(TrySendError::Disconnected(_)) => {}
            Err(TrySendError::Full(_)) => {
                self.lost.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Writes a line.
    pub(crate) fn line(&self, line: &str) {
        self.text(format!("{line}\n").into_bytes());
    }

    /// Waits until everything was written, or the reader had its last chance.
    pub(crate) fn finish(&self) {
        let (done, wait) = sync_channel(1);
        let mut piece = Piece::Finish(done);
        let deadline = std::time::Instant::now() + LAST_CHANCE;
        while let Err(TrySendError::Full(back)) = self.queue.try_send(piece) {
            if std::time::Instant::now() >= deadline {
                return;
            }
            piece = back;
            std::thread::sleep(Duration::from_millis(1));
        }
        match wait.recv_timeout(LAST_CHANCE) {
            Ok(()) | Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
        }
    }
}

/// Writes until every sender is gone. A stream that fails is read on, so that nobody waits for it.
fn drain(pieces: &Receiver<Piece>, stream: impl Write, lost: &AtomicU64) {
    let mut stream = io::BufWriter::with_capacity(64 * 1024, stream);
    let mut open = true;
    let mut next = pieces.recv().ok();
    while let Some(piece) = next {
        match piece {
            Piece::Text(text) if open => {
                let missing = lost.swap(0, Ordering::Relaxed);
                if missing > 0 {
                    let _ = writeln!(
                        stream,
                        "liveoak: {missing} lines were lost here: this output is read too slowly"
                    );
                }
                open = stream.write_all(&text).is_ok();
            }
            Piece::Text(_) => {}
            Piece::Finish(done) => {
                let _ = stream.flush();
                let _ = done.send(());
            }
        }
        next = match pieces.try_recv() {
            Ok(piece) => Some(piece),
            Err(_) => {
                open = open && stream.flush().is_ok();
                pieces.recv().ok()
            }
        };
    }
}

impl Write for Pump {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text(bytes.to_vec());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    /// A stream that blocks until it is let go on.
    struct Stuck {
        go: Receiver<()>,
        written: std::sync::mpsc::Sender<Vec<u8>>,
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

    #[test]
    fn a_reader_that_does_not_read_blocks_nobody_and_is_told_what_it_lost() {
        let (go, stuck) = channel();
        let (written, seen) = channel();
        let pump = Pump::new(Stuck { go: stuck, written });
        let line = "x".repeat(1000);
        for _ in 0..QUEUE * 3 {
            pump.line(&line);
        }
        drop(go);
        pump.line("last");
        pump.finish();
        drop(pump);
        let all: Vec<u8> = seen.iter().flatten().collect();
        let text = String::from_utf8_lossy(&all);
        assert!(text.contains("lines were lost here"), "{} bytes", text.len());
    }
}
