//! The thread that writes a log, and the handle to it.

use crate::disk::Disk;
use crate::error::AppendError;
use crate::folder::Folder;
use crate::limits::LogLimits;
use crate::notice::LogNotice;
use crate::queue::{Answer, Batch, Item, Loss, Queue, Task, Waiter};
use crate::segment::Stamp;
use crate::store::{Store, millis};
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// How long a failed write is not tried again, unless a call waits for it.
const RETRY: Duration = Duration::from_secs(1);
/// How often the writer looks for segments that are too old.
const LOOK_FOR_OLD: Duration = Duration::from_secs(3600);
/// How often the writer checks at most that its files were not removed.
const CHECK: Duration = Duration::from_millis(500);
/// The most notices that are kept until they are taken. Older ones are forgotten.
pub(crate) const MAX_NOTICES: usize = 64;
/// How long a log that is dropped waits for its last records.
const LAST_PATIENCE: Duration = Duration::from_secs(2);

/// How a log differs from others.
pub(crate) struct Settings {
    /// The beginning of the names of its files.
    pub(crate) kind: &'static str,
    pub(crate) limits: LogLimits,
    /// The bytes that may wait in memory.
    pub(crate) queue: usize,
    /// After how long written records are made durable. With `None`, only complete segments are.
    pub(crate) sync_every: Option<Duration>,
    pub(crate) disk: Box<dyn Disk>,
}

/// The state of a log.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct LogStatus {
    /// Why the disk refuses, while it does.
    pub failing: Option<String>,
    /// The records that were lost since the log was opened.
    pub lost: u64,
    /// The bytes of its files.
    pub bytes: u64,
}

/// A function that is called after records were written.
type OnWritten = Arc<dyn Fn() + Send + Sync>;

#[derive(Default)]
struct Report {
    status: LogStatus,
    notices: VecDeque<LogNotice>,
    on_written: Vec<OnWritten>,
}

/// The handle to the thread that writes a log. When it is dropped, the thread writes what it has and ends.
pub(crate) struct Writer {
    queue: Arc<Queue>,
    report: Arc<Mutex<Report>>,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").field("status", &self.status()).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Writer {
    /// Opens the files and starts the thread.
    pub(crate) fn start(
        folder: &Folder,
        settings: Settings,
        as_item: impl Fn(Loss) -> Item + Send + Sync + 'static,
    ) -> io::Result<Writer> {
        let mut store = Store::open(folder, settings.kind, settings.limits, settings.disk)?;
        let clock = Clock { opened: millis(SystemTime::now()), since: Instant::now() };
        // A folder that cannot be written is reported by the first record that is lost.
        let _ = store.remove_old(clock.now());
        let queue = Arc::new(Queue::new(settings.queue, as_item));
        let report = Arc::new(Mutex::new(Report::default()));
        let mut job = Job {
            queue: queue.clone(),
            report: report.clone(),
            store,
            clock,
            sync_every: settings.sync_every,
            written_since: None,
            not_before: None,
            checked: None,
            looked: Instant::now(),
            ending: Ending { queue: queue.clone(), answers: Vec::new() },
        };
        job.tell(None);
        std::thread::Builder::new().name(format!("liveoak-{}", settings.kind)).spawn(move || job.run())?;
        Ok(Writer { queue, report })
    }

    /// Adds records; they are written soon.
    pub(crate) fn push(&self, items: Vec<Item>) -> Result<(), AppendError> {
        self.queue.push(items, None)
    }

    /// Adds records, and waits until they (and all before) are written; with `sync`, until they are on disk.
    pub(crate) fn push_and_wait(
        &self,
        items: Vec<Item>,
        sync: bool,
        within: Duration,
    ) -> Result<(), AppendError> {
        let waiter = Arc::new(Waiter::default());
        self.queue.push(items, Some(Task::Wait { answer: Answer::new(&waiter), sync }))?;
        waiter.wait(within)
    }

    /// Counts a record that cannot be added.
    pub(crate) fn lose(&self, stamp: Stamp, count: u64) {
        self.queue.lose(stamp, count);
    }

    pub(crate) fn lost(&self) -> u64 {
        self.queue.lost()
    }

    pub(crate) fn status(&self) -> LogStatus {
        LogStatus { lost: self.queue.lost(), ..lock(&self.report).status.clone() }
    }

    pub(crate) fn take_notices(&self) -> Vec<LogNotice> {
        lock(&self.report).notices.drain(..).collect()
    }

    pub(crate) fn on_written(&self, call: OnWritten) {
        lock(&self.report).on_written.push(call);
    }

    /// Writes what was added, ends the thread, and returns whether it has ended in time.
    pub(crate) fn close(&self, within: Duration) -> bool {
        self.queue.close();
        self.queue.wait_closed(within)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.close(LAST_PATIENCE);
    }
}

/// The clock that decides what is too old.
struct Clock {
    /// The time at which the log was opened, in milliseconds since 1970.
    opened: u64,
    since: Instant,
}

impl Clock {
    /// Returns the time, but not more than has passed since the opening: a clock that jumps forward removes no history.
    fn now(&self) -> u64 {
        let passed = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        millis(SystemTime::now()).min(self.opened.saturating_add(passed))
    }
}

/// The state of the thread.
struct Job {
    queue: Arc<Queue>,
    report: Arc<Mutex<Report>>,
    store: Store,
    clock: Clock,
    sync_every: Option<Duration>,
    /// When the oldest record that is not known to be on disk was written.
    written_since: Option<Instant>,
    /// The disk has refused; it is not asked again before this.
    not_before: Option<Instant>,
    /// When the files were last checked.
    checked: Option<Instant>,
    /// When the writer last looked for old segments.
    looked: Instant,
    /// The last field: it is dropped when the files are closed and the folder is free for others.
    ending: Ending,
}

/// Ends everything that waits when the thread ends, also by a panic.
struct Ending {
    queue: Arc<Queue>,
    /// The answers to the calls that wait.
    answers: Vec<(Answer, Result<(), AppendError>)>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.answers.clear();
        self.queue.set_closed();
    }
}

impl Job {
    fn run(mut self) {
        loop {
            let sync_at = self.written_since.and_then(|since| Some(since + self.sync_every?));
            let look_at = self.looked + LOOK_FOR_OLD;
            let until = sync_at.map_or(look_at, |time| time.min(look_at));
            let batch = self.queue.take(Some(until), self.not_before);
            let is_last = batch.is_last;
            let result = self.step(batch);
            self.tell(Some(result));
            // Last, so that a call that returns finds the status of what it has done.
            self.ending.answers.drain(..).for_each(|(answer, result)| answer.give(result));
            if is_last {
                return;
            }
        }
    }

    fn step(&mut self, batch: Batch) -> io::Result<()> {
        let now = Instant::now();
        if self.checked.is_none_or(|checked| now >= checked + CHECK) {
            self.checked = Some(now);
            self.store.check_active();
        }
        let is_last = batch.is_last;
        let mut result = self.write(batch);
        self.written_since = if self.store.is_dirty() { self.written_since.or(Some(now)) } else { None };
        let is_due =
            self.written_since.zip(self.sync_every).is_some_and(|(since, every)| now >= since + every);
        if result.is_ok() && (is_due || is_last) {
            result = self.store.sync();
            self.written_since = None;
        }
        if now >= self.looked + LOOK_FOR_OLD {
            self.looked = now;
            result = result.and(self.store.remove_old(self.clock.now()));
        }
        self.not_before = result.is_err().then(|| now + RETRY);
        result
    }

    /// Writes a batch and answers the calls that wait. After an error, what was not written waits again.
    fn write(&mut self, batch: Batch) -> io::Result<()> {
        let now = self.clock.now();
        let (mut answers, mut must_sync) = (Vec::new(), false);
        let (mut left, mut is_refused) = (Vec::new(), false);
        let mut result = Ok(());
        for task in batch.tasks {
            match task {
                Task::Wait { answer, sync } => {
                    must_sync |= sync;
                    answers.push(answer);
                }
                Task::Write(item) if result.is_err() => left.push(item),
                Task::Write(item) => {
                    let (stamp, counts) = (item.stamp, item.counts);
                    match self.store.add(item, now) {
                        Ok(true) => {}
                        Ok(false) => {
                            is_refused = true;
                            self.queue.lose(stamp, counts);
                        }
                        Err((item, error)) => {
                            result = Err(error);
                            left.push(item);
                        }
                    }
                }
            }
        }
        result = result.and_then(|()| self.store.flush());
        let mut again = self.store.unwritten();
        again.append(&mut left);
        self.queue.put_back(again);
        if must_sync && result.is_ok() {
            result = self.store.sync();
        }
        let message = match &result {
            Ok(()) if is_refused => Some("a record is larger than files may be (`ulimit -f`)".to_owned()),
            Ok(()) => None,
            Err(error) => Some(error.to_string()),
        };
        let answer = message.map_or(Ok(()), |message| Err(AppendError::Failed { message }));
        self.ending.answers.extend(answers.into_iter().map(|waiting| (waiting, answer.clone())));
        result
    }

    /// Updates what others see of this thread. `None` before its first step.
    fn tell(&mut self, result: Option<io::Result<()>>) {
        let mut notices = self.store.take_notices();
        let mut report = lock(&self.report);
        let failing = result.and_then(Result::err).map(|error| error.to_string());
        match (&failing, &report.status.failing) {
            (Some(message), known) if known.as_ref() != Some(message) => {
                notices.push(LogNotice::Failing { message: message.clone() });
            }
            (None, Some(_)) => notices.push(LogNotice::Recovered { lost: self.queue.lost() }),
            _ => {}
        }
        report.status.failing = failing;
        report.status.bytes = self.store.size();
        report.notices.extend(notices);
        let beyond = report.notices.len().saturating_sub(MAX_NOTICES);
        report.notices.drain(..beyond);
        let calls = report.on_written.clone();
        drop(report);
        calls.iter().for_each(|call| call());
    }
}
