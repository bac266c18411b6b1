//! The task that reads a program's output and passes it to the sink.
//!
//! It guarantees six things:
//!
//! 1. A full pipe never blocks the program for long, because the task reads all the time and the sink must not block.
//! 2. Output that was written before the exit is delivered: reading continues after the exit.
//! 3. Another process that inherited the pipe cannot keep the task alive: after the leader's exit the task reads for
//!    [`OUTPUT_GRACE`], then takes what the pipe contains, and closes it.
//! 4. A flood of output does not starve other tasks: after [`BYTES_PER_TURN`] the task yields to them and to timers.
//! 5. A line that has not ended is passed on as a piece after [`UNFINISHED_AFTER`] without further bytes, and at the latest
//!    [`UNFINISHED_AT_MOST`] after its first byte. So a prompt is seen while the program waits for an answer.
//! 6. A sink that can take no more slows the reading down ([`Backpressure`]), but never stops it.

use crate::exit_watch::ExitWatch;
use crate::lines::{Lines, Piece};
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
use tokio::time::{Instant, Sleep};

/// How long a pipe that other processes hold open is read after the leader's exit, before it is closed.
pub const OUTPUT_GRACE: Duration = Duration::from_millis(250);

/// How long a program must write nothing until its unfinished line is passed on as a piece.
pub const UNFINISHED_AFTER: Duration = Duration::from_millis(200);

/// The longest time that a piece of an unfinished line is held, even if the program keeps adding to it.
const UNFINISHED_AT_MOST: Duration = Duration::from_secs(2);

/// Returns how long the reader of a program's output waits before its next read: zero, unless the sink can take no more.
/// Must not block.
pub type Backpressure = Arc<dyn Fn() -> Duration + Send + Sync>;

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
    /// The text without its line end (`\n`, `\r\n` or `\r`) and without NUL bytes. Bytes that are not UTF-8 are replaced by
    /// `U+FFFD`. Other control characters are kept.
    pub text: &'a str,
    /// `true` if the line continues in the next piece of this stream: it is longer than [`MAX_LINE`](crate::MAX_LINE), or the
    /// program wrote its end later. The last piece, which may be empty, has `false`.
    pub continued: bool,
    /// `true` if this is not the first piece of its line.
    pub continues: bool,
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
    /// Slows the reading down.
    backpressure: Option<Backpressure>,
    /// The timer for unfinished lines. Made for the first one.
    timer: Option<Pin<Box<Sleep>>>,
    /// Bytes read since the task last yielded.
    bytes_this_turn: usize,
}

struct Pipe {
    stream: Stream,
    end: Receiver,
    lines: Lines,
    /// The times of the unfinished line, while there is text that was not passed on.
    unfinished: Option<Unfinished>,
}

/// The times of an unfinished line.
#[derive(Clone, Copy)]
struct Unfinished {
    /// When the first of the bytes came that were not passed on.
    since: Instant,
    /// When it is passed on as a piece.
    due: Instant,
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

    /// Does the same as `poll_deliver`, without waiting. Returns `None` if the pipe is empty or broken.
    fn try_deliver(&mut self, sink: &mut impl FnMut(OutputLine<'_>)) -> Option<usize> {
        with_buffer(|bytes| {
            let length = self.end.try_read(bytes).ok()?;
            Some(self.deliver(&bytes[..length], sink))
        })
    }

    fn deliver(&mut self, bytes: &[u8], sink: &mut impl FnMut(OutputLine<'_>)) -> usize {
        let stream = self.stream;
        let mut passed_on = false;
        self.lines.push(bytes, &mut |piece| {
            passed_on = true;
            sink(OutputLine::new(stream, piece));
        });
        if !bytes.is_empty() {
            let now = Instant::now();
            let since = self.unfinished.filter(|_| !passed_on).map_or(now, |unfinished| unfinished.since);
            let due = (now + UNFINISHED_AFTER).min(since + UNFINISHED_AT_MOST);
            self.unfinished = self.lines.has_held().then_some(Unfinished { since, due });
        }
        bytes.len()
    }

    /// Passes on an unfinished line that is due.
    fn pass_on_if_due(&mut self, now: Instant, sink: &mut impl FnMut(OutputLine<'_>)) {
        if self.unfinished.take_if(|unfinished| unfinished.due <= now).is_some() {
            let stream = self.stream;
            self.lines.cut(&mut |piece| sink(OutputLine::new(stream, piece)));
        }
    }
}

impl<'a> OutputLine<'a> {
    fn new(stream: Stream, piece: Piece<'a>) -> Self {
        let Piece { text, continued, continues } = piece;
        Self { stream, text, continued, continues }
    }
}

/// Why the task woke up.
enum ReadEvent {
    /// `length` bytes of a pipe were read and passed on; 0 at its end.
    Read { index: usize, length: usize },
    /// The leader has exited.
    Exited,
    /// [`OUTPUT_GRACE`] is over.
    GraceOver,
    /// An unfinished line is due.
    Unfinished,
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
        backpressure: Option<Backpressure>,
        sink: F,
    ) -> io::Result<OutputReader<F>> {
        let pipe = |stream, fd: Option<OwnedFd>| {
            let end = fd.map(Receiver::from_owned_fd).transpose()?;
            io::Result::Ok(end.map(|end| Pipe { stream, end, lines: Lines::default(), unfinished: None }))
        };
        let pipes = [pipe(Stream::Stdout, stdout)?, pipe(Stream::Stderr, stderr)?];
        Ok(OutputReader { pipes, exit, sink, backpressure, timer: None, bytes_this_turn: 0 })
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
                    if grace.is_none() {
                        self.wait_for_the_sink().await;
                    }
                }
                ReadEvent::Unfinished => self.pass_on_unfinished(),
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
        let unfinished = self.pipes.iter().flatten().filter_map(|pipe| pipe.unfinished);
        let unfinished = unfinished.map(|unfinished| unfinished.due).min();
        if unfinished.is_some_and(|due| due <= Instant::now()) {
            return Poll::Ready(ReadEvent::Unfinished);
        }
        for (index, pipe) in self.pipes.iter_mut().enumerate() {
            let Some(pipe) = pipe else { continue };
            if let Poll::Ready(length) = pipe.poll_deliver(cx, &mut self.sink) {
                return Poll::Ready(ReadEvent::Read { index, length });
            }
        }
        match unfinished {
            Some(due) => self.poll_timer(due, cx).map(|()| ReadEvent::Unfinished),
            None => Poll::Pending,
        }
    }

    /// Polls the timer for unfinished lines, which fires at `due`.
    fn poll_timer(&mut self, due: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
        if timer.deadline() != due {
            timer.as_mut().reset(due);
        }
        timer.as_mut().poll(cx)
    }

    fn pass_on_unfinished(&mut self) {
        let now = Instant::now();
        for pipe in self.pipes.iter_mut().flatten() {
            pipe.pass_on_if_due(now, &mut self.sink);
        }
    }

    /// Waits for the time that the backpressure returns, or until the leader has exited.
    async fn wait_for_the_sink(&mut self) {
        let pause = self.backpressure.as_ref().map_or(Duration::ZERO, |pause| pause());
        if !pause.is_zero() {
            race(poll_fn(|cx| self.exit.poll_ended(cx)), tokio::time::sleep(pause)).await;
        }
    }

    fn close(&mut self, index: usize) {
        let Some(mut pipe) = self.pipes[index].take() else { return };
        let (stream, sink) = (pipe.stream, &mut self.sink);
        pipe.lines.finish(&mut |piece| sink(OutputLine::new(stream, piece)));
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
/// blocks this thread, the idle one takes this task. Otherwise the idle thread finds nothing to do and begins to watch timers.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::CommandLine;
    use crate::environment::Environment;
    use crate::jobs::WhenGone;
    use crate::process::Process;
    use std::sync::Mutex;

    /// A pause that is longer than any test.
    const FOR_EVER: Duration = Duration::from_secs(3600);

    /// Starts a program, and returns it with the number of bytes that the sink has received.
    async fn start(script: &str, pause: Duration) -> (Process, Arc<Mutex<usize>>) {
        let command = Arc::new(CommandLine::shell(script));
        let environment = Environment::of_program(&command);
        let prepared = Process::prepare(&command, environment).await.expect("the shell exists");
        let seen = Arc::new(Mutex::new(0));
        let sum = Arc::clone(&seen);
        let sink = move |line: OutputLine<'_>| *sum.lock().expect("no panic") += line.text.len() + 1;
        let backpressure: Backpressure = Arc::new(move || pause);
        let started =
            Process::spawn_with_backpressure(command, prepared, WhenGone::NOTHING, Some(backpressure), sink)
                .await;
        (started.expect("it starts"), seen)
    }

    #[tokio::test]
    async fn a_sink_that_can_take_no_more_slows_the_program_down() {
        let (mut process, seen) = start("yes", FOR_EVER).await;
        while *seen.lock().expect("no panic") == 0 {
            tokio::time::sleep(BLOCKED_AFTER).await;
        }
        assert!(*seen.lock().expect("no panic") <= READ_SIZE, "one read before the pause");
        process.finish(Duration::ZERO).await;
    }

    #[tokio::test]
    async fn a_sink_that_can_take_no_more_delays_neither_the_exit_nor_the_output_before_it() {
        let (mut process, seen) =
            start("echo first; head -c 30000 /dev/zero | tr '\\0' '\\n'", FOR_EVER).await;
        assert_eq!(process.output_end().await, OutputEnd::Complete);
        assert_eq!(*seen.lock().expect("no panic"), "first\n".len() + 30_000);
        process.finish(Duration::ZERO).await;
    }

    #[tokio::test]
    async fn a_sink_that_can_take_more_does_not_slow_the_program_down() {
        let (mut process, seen) = start("yes | head -c 10000000", Duration::ZERO).await;
        assert_eq!(process.output_end().await, OutputEnd::Complete);
        assert_eq!(*seen.lock().expect("no panic"), 10_000_000);
        process.finish(Duration::ZERO).await;
    }
}
