//! Log lines, which a separate thread writes.
//!
//! A log subscriber is user code: it may block, panic, or call the tree. So no thread that supervises writes a line
//! itself. It puts the line into a bounded queue, and one thread of the process writes the lines in their order. A
//! subscriber that blocks stops only the log. If the queue is full, further lines are lost, and the log says how many.
//!
//! Each line goes to the subscriber that was the default in the code that made the line.
//!
//! Tests with a paused clock write [in place](crate::util::in_place) instead.

use crate::util::in_place::is_in_place;
use crate::util::lock::{ignore_poison, lock};
use crate::util::waker_guard::ignore_panic;
use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};
use tracing::Dispatch;
use tracing::dispatcher::{get_default, has_been_set, with_default};

/// How many lines wait for the log subscriber at most.
pub(crate) const LINES_KEPT: usize = 8192;

/// How many bytes the waiting lines have at most, apart from the first.
pub(crate) const LINE_BYTES_KEPT: usize = 8 << 20;

struct Line {
    subscriber: Dispatch,
    write: Box<dyn FnOnce() + Send>,
    bytes: usize,
}

#[derive(Default)]
struct Lines {
    waiting: VecDeque<Line>,
    /// The bytes of these lines.
    bytes: usize,
    /// The lines that were lost since the last line that was put into the queue.
    lost: u64,
    /// The number of lines that were put into the queue, and of those that were taken out and written.
    put: u64,
    written: u64,
    /// `true` while the thread lives.
    has_thread: bool,
    /// How many threads wait for a change: the log thread for a line, others in a flush.
    sleepers: u32,
}

/// The queue of one log thread. The process has one; tests make more.
struct Log {
    lines: Mutex<Lines>,
    /// Signals a new line to the thread, and a written line to the callers of [`flush`](Self::flush).
    changed: Condvar,
}

static LOG: Log = Log::new();

thread_local! {
    static IS_LOG_THREAD: Cell<bool> = const { Cell::new(false) };
}

/// Lets the log thread call `line`, which calls a `tracing` macro. Returns immediately. Costs nothing without a log
/// subscriber. For a line that holds a long text, use [`log_text`].
pub fn log(line: impl FnOnce() + Send + 'static) {
    log_text(0, line);
}

/// Lets the log thread call `line` like [`log`]. The line holds about `bytes` of text.
pub fn log_text(bytes: usize, line: impl FnOnce() + Send + 'static) {
    if is_in_place() {
        ignore_panic(line);
    } else if has_been_set() {
        LOG.put(get_default(Dispatch::clone), bytes, line);
    }
}

/// Waits until all lines that were logged so far are written, for at most `within`. Returns `true` if they are. If the
/// system has refused the log thread, writes them on the calling thread.
pub fn flush_log(within: Duration) -> bool {
    LOG.write_without_thread();
    LOG.flush(within)
}

/// Returns `true` if all lines that were logged so far are written.
pub(crate) fn is_log_flushed() -> bool {
    is_in_place() || !has_been_set() || LOG.flush(Duration::ZERO)
}

impl Log {
    const fn new() -> Self {
        let lines = Lines {
            waiting: VecDeque::new(),
            bytes: 0,
            lost: 0,
            put: 0,
            written: 0,
            has_thread: false,
            sleepers: 0,
        };
        Self { lines: Mutex::new(lines), changed: Condvar::new() }
    }

    fn put<F: FnOnce() + Send + 'static>(&'static self, subscriber: Dispatch, text: usize, write: F) {
        let (write, bytes) = (Box::new(write), size_of::<Line>() + size_of::<F>() + text);
        let mut lines = lock(&self.lines);
        let no_room = lines.bytes + bytes > LINE_BYTES_KEPT && !lines.waiting.is_empty();
        if no_room || lines.waiting.len() >= LINES_KEPT {
            lines.lost += 1;
            drop(lines);
            // The values that the line holds are dropped here, outside the lock.
            return ignore_panic(|| drop(write));
        }
        // Reports lost lines at the place where they are missing.
        lines.say_lost(&subscriber);
        lines.put += 1;
        lines.bytes += bytes;
        lines.waiting.push_back(Line { subscriber, write, bytes });
        let start = !std::mem::replace(&mut lines.has_thread, true);
        let sleepers = lines.sleepers;
        drop(lines);
        if start {
            let name = "liveoak-log".to_owned();
            // If the system refuses the thread, the next line tries again. Until then the lines wait.
            if std::thread::Builder::new().name(name).spawn(|| self.run()).is_err() {
                lock(&self.lines).has_thread = false;
            }
        } else if sleepers > 0 {
            self.changed.notify_all();
        }
    }

    /// Writes the waiting lines on the calling thread, if there is no log thread.
    fn write_without_thread(&self) {
        loop {
            let mut lines = lock(&self.lines);
            if lines.has_thread {
                return;
            }
            let Some(Line { subscriber, write, bytes }) = lines.waiting.pop_front() else { return };
            lines.bytes -= bytes;
            lines.written += 1;
            drop(lines);
            ignore_panic(|| with_default(&subscriber, write));
            ignore_panic(|| drop(subscriber));
        }
    }

    /// Writes one line after another. Never returns.
    fn run(&self) {
        IS_LOG_THREAD.set(true);
        let mut lines = lock(&self.lines);
        loop {
            let Some(Line { subscriber, write, bytes }) = lines.waiting.pop_front() else {
                lines.sleepers += 1;
                lines = ignore_poison(self.changed.wait(lines));
                lines.sleepers -= 1;
                continue;
            };
            lines.bytes -= bytes;
            drop(lines);
            ignore_panic(|| with_default(&subscriber, write));
            lines = lock(&self.lines);
            lines.written += 1;
            if lines.waiting.is_empty() {
                lines.say_lost(&subscriber);
            }
            let sleepers = lines.sleepers;
            drop(lines);
            // This may be the last handle of the subscriber, and its destructor is user code.
            ignore_panic(|| drop(subscriber));
            if sleepers > 0 {
                self.changed.notify_all();
            }
            lines = lock(&self.lines);
        }
    }

    fn flush(&self, within: Duration) -> bool {
        // The log thread cannot wait for itself.
        if IS_LOG_THREAD.try_with(Cell::get).unwrap_or_default() {
            return true;
        }
        let begun = Instant::now();
        let mut lines = lock(&self.lines);
        let put = lines.put;
        while lines.written < put {
            let left = within.saturating_sub(begun.elapsed());
            if left.is_zero() {
                return false;
            }
            lines.sleepers += 1;
            lines = ignore_poison(self.changed.wait_timeout(lines, left)).0;
            lines.sleepers -= 1;
        }
        true
    }
}

impl Lines {
    fn say_lost(&mut self, subscriber: &Dispatch) {
        let lost = std::mem::take(&mut self.lost);
        if lost == 0 {
            return;
        }
        let write = move || {
            tracing::warn!(
                target: "liveoak",
                event = "log-lines-lost",
                lost,
                "{lost} lines of the log were lost: the log subscriber was too slow"
            );
        };
        self.put += 1;
        self.waiting.push_back(Line { subscriber: subscriber.clone(), write: Box::new(write), bytes: 0 });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::sync::{Arc, Mutex};
    use tracing::span::{Attributes, Id, Record};
    use tracing::{Metadata, Subscriber};

    /// Keeps the field `lost` of each line.
    struct Lost(Arc<Mutex<Vec<u64>>>);

    impl tracing::field::Visit for Lost {
        fn record_debug(&mut self, _: &tracing::field::Field, _: &dyn std::fmt::Debug) {}

        fn record_u64(&mut self, field: &tracing::field::Field, value: u64) {
            if field.name() == "lost" {
                self.0.lock().expect("no panic").push(value);
            }
        }
    }

    impl Subscriber for Lost {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }
        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }
        fn record(&self, _: &Id, _: &Record<'_>) {}
        fn record_follows_from(&self, _: &Id, _: &Id) {}
        fn event(&self, event: &tracing::Event<'_>) {
            event.record(&mut Lost(Arc::clone(&self.0)));
        }
        fn enter(&self, _: &Id) {}
        fn exit(&self, _: &Id) {}
    }

    /// Puts a line that blocks the log thread until the returned sender is dropped, and waits until it blocks.
    fn block(log: &'static Log, subscriber: Dispatch) -> mpsc::Sender<()> {
        let (release, blocked) = mpsc::channel::<()>();
        let (begins, has_begun) = mpsc::channel();
        let blocks = move || {
            begins.send(()).expect("the test waits");
            let _ = blocked.recv();
        };
        log.put(subscriber, 0, blocks);
        has_begun.recv().expect("the thread has begun");
        release
    }

    #[test]
    fn lines_for_a_full_queue_are_lost_and_the_log_reports_how_many() {
        static TESTED: Log = Log::new();
        let lost = Arc::new(Mutex::new(Vec::new()));
        let subscriber = Dispatch::new(Lost(Arc::clone(&lost)));
        let release = block(&TESTED, subscriber.clone());
        let written = Arc::new(Mutex::new(Vec::new()));
        for n in 0..LINES_KEPT + 10 {
            let written = Arc::clone(&written);
            TESTED.put(subscriber.clone(), 0, move || written.lock().expect("no panic").push(n));
        }
        assert!(!TESTED.flush(Duration::from_millis(1)), "the subscriber blocks");
        drop(release);
        assert!(TESTED.flush(Duration::from_secs(60)));
        assert!(written.lock().expect("no panic").iter().copied().eq(0..LINES_KEPT));
        let all_said = || TESTED.flush(Duration::from_secs(60)) && !lost.lock().expect("no panic").is_empty();
        while !all_said() {
            std::thread::yield_now();
        }
        assert_eq!(*lost.lock().expect("no panic"), [10]);
    }

    #[test]
    fn waiting_lines_have_a_byte_limit_that_a_single_line_may_exceed() {
        static TESTED: Log = Log::new();
        const LONG: usize = LINE_BYTES_KEPT / 8;
        let release = block(&TESTED, Dispatch::none());
        let written = Arc::new(Mutex::new(Vec::new()));
        let put = |bytes: usize| {
            let written = Arc::clone(&written);
            TESTED.put(Dispatch::none(), bytes, move || written.lock().expect("no panic").push(bytes));
        };
        put(2 * LINE_BYTES_KEPT);
        put(1);
        drop(release);
        assert!(TESTED.flush(Duration::from_secs(60)));
        let release = block(&TESTED, Dispatch::none());
        (0..20).for_each(|_| put(LONG));
        drop(release);
        assert!(TESTED.flush(Duration::from_secs(60)));
        let written = written.lock().expect("no panic");
        assert_eq!(written[0], 2 * LINE_BYTES_KEPT);
        assert_eq!(written[1..], [LONG; 7], "seven and their closures fill the queue");
    }

    #[test]
    fn a_line_that_panics_does_not_stop_later_lines() {
        static TESTED: Log = Log::new();
        let written = Arc::new(Mutex::new(Vec::new()));
        for n in 0..10 {
            let written = Arc::clone(&written);
            let line = move || {
                assert!(n % 3 != 0, "meant by the test");
                written.lock().expect("no panic").push(n);
            };
            TESTED.put(Dispatch::none(), 0, line);
        }
        assert!(TESTED.flush(Duration::from_secs(60)));
        assert_eq!(*written.lock().expect("no panic"), [1, 2, 4, 5, 7, 8]);
    }
}
