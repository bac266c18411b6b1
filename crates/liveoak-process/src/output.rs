//! The task that reads a program's output and passes it to the sink.
//!
//! It guarantees four things:
//!
//! 1. A full pipe never blocks the program for long, because the task reads all the time and the sink must not block.
//! 2. Output that was written before the exit is delivered: reading continues after the exit.
//! 3. Another process that inherited the pipe cannot keep the task alive: after the leader's exit the task reads for
//!    [`OUTPUT_GRACE`], then takes what the pipe contains, and closes it.
//! 4. A flood of output does not starve other tasks: after [`BYTES_PER_TURN`] the task yields to them and to timers.

use crate::exit_watch::ExitWatch;
use crate::lines::Lines;
use liveoak_runtime::internal::race;
use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::unix::pipe::Receiver;
use tokio::task::yield_now;
use tokio::time::Sleep;

/// How long a pipe that other processes hold open is read after the leader's exit, before it is closed.
pub const OUTPUT_GRACE: Duration = Duration::from_millis(250);

/// The most bytes of one read: the usual capacity of a pipe.
const READ_SIZE: usize = 64 * 1024;

/// How many bytes are read before the task yields: a few milliseconds of work. Tokio's own budget allows up to 8 MiB.
const BYTES_PER_TURN: usize = 4 * READ_SIZE;

/// How long a task that has yielded waits for its thread. After this time another worker thread may continue the task.
const BLOCKED_AFTER: Duration = Duration::from_millis(1);

/// The most that is read from a pipe after [`OUTPUT_GRACE`]: the size of the largest pipe of an ordinary user
/// (`/proc/sys/fs/pipe-max-size`). So all that was written before is read, and an endless writer is cut off.
const LAST_DRAIN: usize = 1024 * 1024;

/// One of the two output streams of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        }
    }
}

impl std::fmt::Display for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One line that a program wrote, or a piece of a long line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputLine<'a> {
    /// The stream that it was written to.
    pub stream: Stream,
    /// The text without its line end (`\n` or `\r\n`) and without NUL bytes. Bytes that are not UTF-8 are replaced by
    /// `U+FFFD`. Other control characters are kept.
    pub text: &'a str,
    /// `true` if the line is longer than [`MAX_LINE`](crate::MAX_LINE) and continues in the next piece of this stream.
    /// The last piece, which may be empty, has `false`.
    pub continued: bool,
}

/// How the reading of a program's output ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OutputEnd {
    /// All writers closed the pipe, or nothing was captured: the output is complete.
    Complete,
    /// The program exited, but another process still had the pipe open after [`OUTPUT_GRACE`]. Its later writes fail
    /// (`SIGPIPE`).
    HeldOpen,
    /// The runtime that ran the reader was shut down. The remaining output is lost.
    Broken,
}

/// Reads both streams and calls the sink.
pub(crate) struct OutputReader<F> {
    pipes: [Option<Pipe>; 2],
    exit: Arc<ExitWatch>,
    sink: F,
    /// Bytes read since the task last yielded.
    bytes_this_turn: usize,
}

struct Pipe {
    stream: Stream,
    end: Receiver,
    lines: Lines,
}

thread_local! {
    /// The buffer that a thread reads into. All readers on the thread share it, because bytes are passed on immediately.
    /// So a thousand quiet programs do not need a thousand buffers.
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Calls `f` with the thread's buffer. If it is in use, or a panic lost it, makes a new one.
fn with_buffer<T>(f: impl FnOnce(&mut [u8]) -> T) -> T {
    let mut buffer = BUFFER.take();
    buffer.resize(READ_SIZE, 0);
    let outcome = f(&mut buffer);
    BUFFER.set(buffer);
    outcome
}

impl Pipe {
    /// Reads once, passes the bytes on, and returns their number: 0 at the end, and when the pipe is broken.
    fn poll_deliver(&mut self, cx: &mut Context<'_>, sink: &mut impl FnMut(OutputLine<'_>)) -> Poll<usize> {
        with_buffer(|bytes| {
            let mut buffer = ReadBuf::new(bytes);
            Pin::new(&mut self.end).poll_read(cx, &mut buffer).map(|read| match read {
                Ok(()) => self.deliver(buffer.filled(), sink),
                Err(_) => 0,
            })
        })
    }

    /// Does the same without waiting. Returns `None` if the pipe is empty or broken.
    fn try_deliver(&mut self, sink: &mut impl FnMut(OutputLine<'_>)) -> Option<usize> {
        with_buffer(|bytes| {
            let length = self.end.try_read(bytes).ok()?;
            Some(self.deliver(&bytes[..length], sink))
        })
    }

    fn deliver(&mut self, bytes: &[u8], sink: &mut impl FnMut(OutputLine<'_>)) -> usize {
        let stream = self.stream;
        self.lines.push(bytes, &mut |text, continued| sink(OutputLine { stream, text, continued }));
        bytes.len()
    }
}

/// Why the task woke up.
enum ReadEvent {
    /// So many bytes of a pipe were read and passed on; 0 at its end.
    Read { index: usize, length: usize },
    /// The leader has exited.
    Exited,
    /// [`OUTPUT_GRACE`] is over.
    GraceOver,
    /// Both pipes are closed.
    AllClosed,
}

impl<F: FnMut(OutputLine<'_>)> OutputReader<F> {
    /// # Errors
    /// When the runtime cannot watch another descriptor.
    pub(crate) fn new(
        stdout: Option<OwnedFd>,
        stderr: Option<OwnedFd>,
        exit: Arc<ExitWatch>,
        sink: F,
    ) -> io::Result<OutputReader<F>> {
        let pipe = |stream, fd: Option<OwnedFd>| {
            let end = fd.map(Receiver::from_owned_fd).transpose()?;
            io::Result::Ok(end.map(|end| Pipe { stream, end, lines: Lines::default() }))
        };
        let pipes = [pipe(Stream::Stdout, stdout)?, pipe(Stream::Stderr, stderr)?];
        Ok(OutputReader { pipes, exit, sink, bytes_this_turn: 0 })
    }

    /// Reads until the output has ended, or must be cut off.
    pub(crate) async fn run(mut self) -> OutputEnd {
        let mut grace: Option<Pin<Box<Sleep>>> = None;
        loop {
            match poll_fn(|cx| self.poll(cx, &mut grace)).await {
                ReadEvent::Read { index, length: 0 } => self.close(index),
                ReadEvent::Read { length, .. } => {
                    // The other stream is polled first next time: a flood on one must not silence the other.
                    self.pipes.swap(0, 1);
                    self.yield_after(length).await;
                }
                ReadEvent::Exited => grace = Some(Box::pin(tokio::time::sleep(OUTPUT_GRACE))),
                ReadEvent::AllClosed => return OutputEnd::Complete,
                ReadEvent::GraceOver => {
                    self.drain().await;
                    return OutputEnd::HeldOpen;
                }
            }
        }
    }

    /// Polls for the next event. The exit is polled first: a stream that never pauses must not hide it.
    fn poll(&mut self, cx: &mut Context<'_>, grace: &mut Option<Pin<Box<Sleep>>>) -> Poll<ReadEvent> {
        if self.pipes.iter().all(Option::is_none) {
            return Poll::Ready(ReadEvent::AllClosed);
        }
        let due = match grace {
            None => self.exit.poll_ended(cx).map(|()| ReadEvent::Exited),
            Some(sleep) => sleep.as_mut().poll(cx).map(|()| ReadEvent::GraceOver),
        };
        if due.is_ready() {
            return due;
        }
        for (index, pipe) in self.pipes.iter_mut().enumerate() {
            let Some(pipe) = pipe else { continue };
            if let Poll::Ready(length) = pipe.poll_deliver(cx, &mut self.sink) {
                return Poll::Ready(ReadEvent::Read { index, length });
            }
        }
        Poll::Pending
    }

    fn close(&mut self, index: usize) {
        let Some(mut pipe) = self.pipes[index].take() else { return };
        let (stream, sink) = (pipe.stream, &mut self.sink);
        pipe.lines.finish(&mut |text, continued| sink(OutputLine { stream, text, continued }));
    }

    /// Counts `length` bytes that were read, and yields after [`BYTES_PER_TURN`].
    async fn yield_after(&mut self, length: usize) {
        self.bytes_this_turn += length;
        if self.bytes_this_turn >= BYTES_PER_TURN {
            self.bytes_this_turn = 0;
            yield_to_others().await;
        }
    }

    /// Passes on what the pipes contain now, and closes them.
    async fn drain(&mut self) {
        for index in [0, 1] {
            let mut left = LAST_DRAIN;
            while left > 0 {
                let Some(pipe) = &mut self.pipes[index] else { break };
                let Some(length @ 1..) = pipe.try_deliver(&mut self.sink) else { break };
                left = left.saturating_sub(length);
                self.yield_after(length).await;
            }
            self.close(index);
        }
    }
}

/// Yields until the other tasks of this thread have run, including tasks that its timers and descriptors wake.
///
/// The first step puts this task at the end of the thread's queue, and makes Tokio wake an idle thread. If the next task
/// blocks this thread, the idle one takes this task. Otherwise it finds nothing to do and begins to watch timers.
///
/// A busy thread checks timers and descriptors only every 61 tasks. The second step, Tokio's `yield_now`, waits for that
/// check on the same thread. If another task blocks this thread meanwhile, the short sleep wakes this task on the idle one.
async fn yield_to_others() {
    let mut queued = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut queued, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
    race(yield_now(), tokio::time::sleep(BLOCKED_AFTER)).await;
}
