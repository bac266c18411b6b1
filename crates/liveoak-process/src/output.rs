//! The reader of a program's output.
//!
//! Four promises. The program never blocks for ever on a full pipe, because somebody always reads and the sink can
//! not make it wait. What was written before the exit is delivered, because the reading goes on after it. And a
//! grandchild that inherited the pipe can not hold the reader: after the leader's exit it reads for
//! [`OUTPUT_GRACE`], takes what then lies in the pipe, and closes it.
//!
//! And it leaves room for others: after [`BYTES_PER_TURN`] the other tasks of its thread, timers among them, have their turn.

use crate::exit::ExitWatch;
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

/// How long after the leader's exit a pipe that others hold open is read before it is closed.
pub const OUTPUT_GRACE: Duration = Duration::from_millis(250);

/// Bytes read at once: a pipe's usual capacity.
const READ_SIZE: usize = 64 * 1024;

/// How much is read before others have their turn: a few milliseconds' work for a sink that does little. Tokio's own
/// measure is 128 reads, whatever they bring, which is up to 8 MiB.
const BYTES_PER_TURN: usize = 4 * READ_SIZE;

/// How long a reader waits for the thread on which it let others go first, before it goes on at another.
const BLOCKED_AFTER: Duration = Duration::from_millis(1);

/// The most that is taken from a pipe after [`OUTPUT_GRACE`]: the largest pipe an ordinary user can make
/// (`/proc/sys/fs/pipe-max-size`), so all that was in it when the grace ended, but no endless stream.
const LAST_DRAIN: usize = 1024 * 1024;

/// Which of a program's two outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl std::fmt::Display for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        })
    }
}

/// One line a program wrote, or a piece of a long one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputLine<'a> {
    /// Where it was written.
    pub stream: Stream,
    /// The text without its line end (`\n` or `\r\n`) and without NUL bytes; what is not UTF-8 is `U+FFFD`. Other
    /// control characters are kept.
    pub text: &'a str,
    /// The line is longer than [`MAX_LINE`](crate::MAX_LINE) and goes on in the next piece of this stream. The last
    /// piece, which may be empty, has `false`.
    pub continued: bool,
}

/// How the reading of a program's output ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OutputEnd {
    /// Every writer closed its end, or nothing was captured: the output is complete.
    Complete,
    /// The program exited, but another process still had its output open after [`OUTPUT_GRACE`]; what that one writes
    /// later is not read, and its write fails (`SIGPIPE`).
    HeldOpen,
    /// The sink panicked, or the runtime that ran the reader is gone: the rest is lost.
    Broken,
}

/// Reads both outputs and feeds the sink.
pub(crate) struct Reader<F> {
    pipes: [Option<Pipe>; 2],
    exit: Arc<ExitWatch>,
    sink: F,
    /// Bytes read in this turn.
    taken: usize,
}

struct Pipe {
    stream: Stream,
    end: Receiver,
    lines: Lines,
}

thread_local! {
    /// Where a thread reads into. All readers on the thread share it, since what was read is handed on at once: a
    /// thousand quiet programs need no thousand buffers.
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Lends the thread's buffer; a new one if it is lent already, or was lost in a panic.
fn with_buffer<T>(f: impl FnOnce(&mut [u8]) -> T) -> T {
    let mut buffer = BUFFER.take();
    buffer.resize(READ_SIZE, 0);
    let outcome = f(&mut buffer);
    BUFFER.set(buffer);
    outcome
}

impl Pipe {
    /// Reads once and hands on what came: so many bytes. None at the end, and when the pipe is broken.
    fn poll_deliver(&mut self, cx: &mut Context<'_>, sink: &mut impl FnMut(OutputLine<'_>)) -> Poll<usize> {
        with_buffer(|bytes| {
            let mut buffer = ReadBuf::new(bytes);
            Pin::new(&mut self.end).poll_read(cx, &mut buffer).map(|read| match read {
                Ok(()) => self.deliver(buffer.filled(), sink),
                Err(_) => 0,
            })
        })
    }

    /// As [`poll_deliver`](Pipe::poll_deliver), of what lies in the pipe now.
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

/// What the reader wakes up for.
enum Input {
    /// This pipe gave so many bytes, which were handed on. None is the end of it.
    Read(usize, usize),
    Exited,
    GraceOver,
    AllClosed,
}

impl<F: FnMut(OutputLine<'_>)> Reader<F> {
    /// # Errors
    /// When the runtime can watch no further descriptor.
    pub(crate) fn new(
        stdout: Option<OwnedFd>,
        stderr: Option<OwnedFd>,
        exit: Arc<ExitWatch>,
        sink: F,
    ) -> io::Result<Reader<F>> {
        let pipe = |stream, fd: Option<OwnedFd>| {
            let end = fd.map(Receiver::from_owned_fd).transpose()?;
            io::Result::Ok(end.map(|end| Pipe { stream, end, lines: Lines::default() }))
        };
        let pipes = [pipe(Stream::Stdout, stdout)?, pipe(Stream::Stderr, stderr)?];
        Ok(Reader { pipes, exit, sink, taken: 0 })
    }

    /// Reads until all is said.
    pub(crate) async fn run(mut self) -> OutputEnd {
        let mut grace: Option<Pin<Box<Sleep>>> = None;
        loop {
            match poll_fn(|cx| self.poll(cx, &mut grace)).await {
                Input::Read(index, 0) => self.close(index),
                Input::Read(_, length) => {
                    // The other stream's turn: a flood on one must not silence the other.
                    self.pipes.swap(0, 1);
                    self.leave_room(length).await;
                }
                Input::Exited => grace = Some(Box::pin(tokio::time::sleep(OUTPUT_GRACE))),
                Input::AllClosed => return OutputEnd::Complete,
                Input::GraceOver => {
                    self.drain().await;
                    return OutputEnd::HeldOpen;
                }
            }
        }
    }

    /// The exit comes first: a stream that never pauses must not hide it.
    fn poll(&mut self, cx: &mut Context<'_>, grace: &mut Option<Pin<Box<Sleep>>>) -> Poll<Input> {
        if self.pipes.iter().all(Option::is_none) {
            return Poll::Ready(Input::AllClosed);
        }
        let due = match grace {
            None => self.exit.poll_ended(cx).map(|()| Input::Exited),
            Some(sleep) => sleep.as_mut().poll(cx).map(|()| Input::GraceOver),
        };
        if due.is_ready() {
            return due;
        }
        for (index, pipe) in self.pipes.iter_mut().enumerate() {
            let Some(pipe) = pipe else { continue };
            if let Poll::Ready(length) = pipe.poll_deliver(cx, &mut self.sink) {
                return Poll::Ready(Input::Read(index, length));
            }
        }
        Poll::Pending
    }

    fn close(&mut self, index: usize) {
        let Some(mut pipe) = self.pipes[index].take() else { return };
        let (stream, sink) = (pipe.stream, &mut self.sink);
        pipe.lines.finish(&mut |text, continued| sink(OutputLine { stream, text, continued }));
    }

    /// So much was read. If that is enough for a turn, all others go first.
    async fn leave_room(&mut self, length: usize) {
        self.taken += length;
        if self.taken >= BYTES_PER_TURN {
            self.taken = 0;
            let_others_go_first().await;
        }
    }

    /// Takes what lies in the pipes now, and closes them.
    async fn drain(&mut self) {
        for index in [0, 1] {
            let mut left = LAST_DRAIN;
            while left > 0 {
                let Some(pipe) = &mut self.pipes[index] else { break };
                let Some(length @ 1..) = pipe.try_deliver(&mut self.sink) else { break };
                left = left.saturating_sub(length);
                self.leave_room(length).await;
            }
            self.close(index);
        }
    }
}

/// Lets everything else of the thread have its turn: its other tasks, and what its timers and descriptors have woken, of
/// which a thread hears no more than once in 61 tasks unless it runs out of them. That is why this is Tokio's `yield_now`,
/// which wakes after those. But it wakes by the same thread alone, which a task may block meanwhile: then the timer
/// wakes, by whichever thread is idle.
async fn let_others_go_first() {
    race(yield_now(), tokio::time::sleep(BLOCKED_AFTER)).await;
}
