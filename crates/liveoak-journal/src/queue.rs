//! The bounded queue between a tree and the thread that writes its log.
//!
//! 1. Adding a record never waits for the disk.
//! 2. This is the only place where records are lost while a log is open (and, with a limit on the sizes of files,
//!    [`Queue::lose`]). Each lost record is counted once, and the count becomes a record as soon as there is room.

use crate::error::AppendError;
use crate::segment::Stamp;
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long records wait for others, so that several of them become one write.
const LINGER: Duration = Duration::from_millis(10);
/// This many bytes are written at once, without waiting for more.
const ENOUGH: usize = 256 * 1024;
/// What a record costs in the queue beside its payload.
const ITEM: usize = 64;

/// A record on its way to the disk.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) stamp: Stamp,
    pub(crate) payload: Vec<u8>,
    /// How many records are lost if this one is: 0 for a checkpoint, which only repeats what is known.
    pub(crate) counts: u64,
}

impl Item {
    fn cost(&self) -> usize {
        self.payload.len() + ITEM
    }
}

/// Records that were lost one after another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Loss {
    /// How many records were lost.
    pub(crate) count: u64,
    /// The largest number of a lost record.
    pub(crate) n: u64,
    /// The time of the last lost record.
    pub(crate) at: u64,
}

/// A call that waits until the records before it are written.
#[derive(Debug, Default)]
pub(crate) struct Waiter {
    result: Mutex<Option<Result<(), AppendError>>>,
    done: Condvar,
}

impl Waiter {
    fn complete(&self, result: Result<(), AppendError>) {
        self.result.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(result);
        self.done.notify_all();
    }

    /// Waits for the result, but not longer than this.
    pub(crate) fn wait(&self, within: Duration) -> Result<(), AppendError> {
        let result = self.result.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.done.wait_timeout_while(result, within, |result| result.is_none());
        let (result, _) = waited.unwrap_or_else(PoisonError::into_inner);
        result.clone().unwrap_or(Err(AppendError::Late))
    }
}

/// The duty to answer a call that waits. Dropped without an answer, also by a panic, it answers that the log is closed.
#[derive(Debug)]
pub(crate) struct Answer(std::sync::Arc<Waiter>);

impl Answer {
    pub(crate) fn new(waiter: &std::sync::Arc<Waiter>) -> Answer {
        Answer(waiter.clone())
    }

    pub(crate) fn give(&self, result: Result<(), AppendError>) {
        self.0.complete(result);
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.0.complete(Err(AppendError::Closed));
    }
}

/// What the writer does next, in order.
#[derive(Debug)]
pub(crate) enum Task {
    Write(Item),
    /// Gives the answer when everything before it is written; with `sync`, when that is on disk.
    Wait {
        answer: Answer,
        sync: bool,
    },
}

#[derive(Debug, Default)]
struct State {
    tasks: VecDeque<Task>,
    /// What the records in `tasks` cost, in bytes.
    bytes: usize,
    /// How many waiters are in `tasks`.
    waiters: usize,
    /// When the first of `tasks` was added.
    since: Option<Instant>,
    /// What was lost and is not yet a record.
    loss: Option<Loss>,
    /// The records that were lost since the log was opened.
    lost: u64,
    is_closing: bool,
    /// The writer has ended.
    is_closed: bool,
}

impl State {
    fn push(&mut self, task: Task) {
        match &task {
            Task::Write(item) => self.bytes += item.cost(),
            Task::Wait { .. } => self.waiters += 1,
        }
        self.since.get_or_insert_with(Instant::now);
        self.tasks.push_back(task);
    }

    fn lose(&mut self, stamp: Stamp, count: u64) {
        if count == 0 {
            return;
        }
        let known = self.loss.unwrap_or(Loss { count: 0, n: 0, at: 0 });
        self.loss = Some(Loss { count: known.count + count, n: known.n.max(stamp.n), at: stamp.at });
        self.lost += count;
        // The count itself has to be written.
        self.since.get_or_insert_with(Instant::now);
    }
}

/// The bounded queue of a log. The header of this file has its rules.
pub(crate) struct Queue {
    state: Mutex<State>,
    /// Wakes the writer.
    wake: Condvar,
    /// Wakes what waits for the end of the writer.
    closed: Condvar,
    most: usize,
    /// Makes a record of a loss.
    as_item: Box<dyn Fn(Loss) -> Item + Send + Sync>,
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").field("most", &self.most).finish_non_exhaustive()
    }
}

/// What the writer has to do.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) tasks: VecDeque<Task>,
    /// The log is closed: nothing follows.
    pub(crate) is_last: bool,
}

impl Queue {
    /// Makes a queue for `most` bytes.
    pub(crate) fn new(most: usize, as_item: impl Fn(Loss) -> Item + Send + Sync + 'static) -> Queue {
        let (state, wake, closed) = (Mutex::default(), Condvar::new(), Condvar::new());
        Queue { state, wake, closed, most, as_item: Box::new(as_item) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds records together: all of them, or none if there is no room. Then they are lost and counted.
    pub(crate) fn push(&self, items: Vec<Item>, wait: Option<Task>) -> Result<(), AppendError> {
        let mut state = self.state();
        if state.is_closing {
            return Err(AppendError::Closed);
        }
        let cost: usize = items.iter().map(Item::cost).sum();
        // An empty queue takes one batch of any size: each record has a limit of its own.
        if state.bytes > 0 && state.bytes + cost > self.most {
            for item in items {
                state.lose(item.stamp, item.counts);
            }
            return Err(AppendError::Full);
        }
        self.record_loss(&mut state);
        let was_idle = state.tasks.is_empty();
        let is_urgent = wait.is_some();
        items.into_iter().map(Task::Write).chain(wait).for_each(|task| state.push(task));
        let is_enough = state.bytes >= ENOUGH && state.bytes - cost < ENOUGH;
        drop(state);
        if was_idle || is_urgent || is_enough {
            self.wake.notify_one();
        }
        Ok(())
    }

    /// Adds the record of what was lost.
    fn record_loss(&self, state: &mut State) {
        if let Some(loss) = state.loss.take() {
            state.push(Task::Write((self.as_item)(loss)));
        }
    }

    /// Counts records that were never added or cannot be written.
    pub(crate) fn lose(&self, stamp: Stamp, count: u64) {
        self.state().lose(stamp, count);
        self.wake.notify_one();
    }

    /// Returns the records that were lost since the log was opened.
    pub(crate) fn lost(&self) -> u64 {
        self.state().lost
    }

    /// Waits for tasks and takes them all. Returns an empty batch at `until`.
    ///
    /// Before `not_before`, tasks are taken only if a call waits for them or the log is closing.
    pub(crate) fn take(&self, until: Option<Instant>, not_before: Option<Instant>) -> Batch {
        let mut state = self.state();
        loop {
            let now = Instant::now();
            let ready_at = state.since.map(|since| {
                let lingered = if state.bytes >= ENOUGH { since } else { since + LINGER };
                not_before.map_or(lingered, |time| time.max(lingered))
            });
            let is_ready = ready_at.is_some_and(|time| time <= now);
            if is_ready || state.waiters > 0 || state.is_closing || until.is_some_and(|time| time <= now) {
                let is_timeout = !is_ready && state.waiters == 0 && !state.is_closing;
                return if is_timeout { Batch::empty() } else { self.all(&mut state) };
            }
            let next = [ready_at, until].into_iter().flatten().min();
            state = match next {
                Some(time) => {
                    let waited = self.wake.wait_timeout(state, time - now);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.wake.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    fn all(&self, state: &mut State) -> Batch {
        self.record_loss(state);
        state.bytes = 0;
        state.waiters = 0;
        state.since = None;
        Batch { tasks: std::mem::take(&mut state.tasks), is_last: state.is_closing }
    }

    /// Puts records back that could not be written, before those that were added since.
    pub(crate) fn put_back(&self, items: Vec<Item>) {
        let mut state = self.state();
        for item in items.into_iter().rev() {
            state.bytes += item.cost();
            state.tasks.push_front(Task::Write(item));
        }
        if !state.tasks.is_empty() {
            state.since.get_or_insert_with(Instant::now);
        }
    }

    /// Says that nothing will be added any more.
    pub(crate) fn close(&self) {
        self.state().is_closing = true;
        self.wake.notify_one();
    }

    /// Says that the writer has ended. Everything that waits gets an answer.
    pub(crate) fn set_closed(&self) {
        let mut state = self.state();
        state.is_closing = true;
        state.is_closed = true;
        for task in std::mem::take(&mut state.tasks) {
            if let Task::Write(item) = task {
                state.lose(item.stamp, item.counts);
            }
        }
        self.closed.notify_all();
    }

    /// Waits until the writer has ended, and returns whether it has.
    pub(crate) fn wait_closed(&self, within: Duration) -> bool {
        let waited = self.closed.wait_timeout_while(self.state(), within, |state| !state.is_closed);
        waited.unwrap_or_else(PoisonError::into_inner).0.is_closed
    }
}

impl Batch {
    fn empty() -> Batch {
        Batch { tasks: VecDeque::new(), is_last: false }
    }
}
