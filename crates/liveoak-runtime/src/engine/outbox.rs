//! A queue whose messages are delivered in order, by one thread at a time, outside every lock.
//!
//! [`push`](Outbox::push) keeps the order. [`flush`](Outbox::flush) delivers the queued messages; if another thread is
//! flushing, it returns immediately and that thread delivers them. No message is left behind: the flushing thread
//! checks for more under the lock before it stops. One flush delivers a limited number of messages, so that threads
//! that push all the time do not hold it forever. The result shows whether messages are left.
//!
//! The queue is bounded. When it is full, the oldest message is lost.

use crate::util::lock::lock;
use crate::util::sync::{AtomicBool, Mutex, Ordering};
use std::collections::VecDeque;

/// How many messages wait to be delivered at most.
pub(crate) const OUTBOX_KEPT: usize = 16_384;

/// How many messages one flush delivers at most.
const DELIVERIES_PER_FLUSH: usize = 256;

pub(crate) struct Outbox<T> {
    queue: Mutex<Queue<T>>,
    /// `true` if there may be something to deliver. Changed under the lock, read without it.
    pending: AtomicBool,
}

struct Queue<T> {
    /// The messages that are not delivered yet, at most [`OUTBOX_KEPT`].
    messages: VecDeque<T>,
    /// `true` while a thread delivers.
    flushing: bool,
    /// `true` if the last message was pushed.
    closed: bool,
}

/// How a flush ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flushed {
    /// No message is left, or another thread delivers them.
    All,
    /// The flush has delivered as many messages as it may. More are left.
    Limit,
    /// The outbox is closed, and this flush has delivered its last message.
    Closed,
}

impl<T> Default for Outbox<T> {
    fn default() -> Self {
        let queue = Queue { messages: VecDeque::new(), flushing: false, closed: false };
        Self { queue: Mutex::new(queue), pending: AtomicBool::new(false) }
    }
}

impl<T> Outbox<T> {
    /// Queues a message. Drops the oldest one if the queue is full.
    pub(crate) fn push(&self, message: T) {
        let mut queue = lock(&self.queue);
        let lost = if queue.messages.len() < OUTBOX_KEPT { None } else { queue.messages.pop_front() };
        queue.messages.push_back(message);
        self.pending.store(true, Ordering::Release);
        drop(queue);
        drop(lost);
    }

    /// Declares that there will be no more messages.
    pub(crate) fn close(&self) {
        let mut queue = lock(&self.queue);
        queue.closed = true;
        self.pending.store(true, Ordering::Release);
    }

    /// Returns `false` if there is nothing to deliver, and the end was not declared.
    #[inline]
    pub(crate) fn has_messages(&self) -> bool {
        self.pending.load(Ordering::Acquire)
    }

    /// Delivers queued messages one by one, unless another thread does.
    pub(crate) fn flush(&self, mut deliver: impl FnMut(T)) -> Flushed {
        if !self.has_messages() {
            return Flushed::All;
        }
        let mut queue = lock(&self.queue);
        if std::mem::replace(&mut queue.flushing, true) {
            return Flushed::All;
        }
        for _ in 0..DELIVERIES_PER_FLUSH {
            let Some(message) = queue.messages.pop_front() else {
                self.pending.store(false, Ordering::Release);
                queue.flushing = false;
                return if queue.closed { Flushed::Closed } else { Flushed::All };
            };
            drop(queue);
            let guard = FlushGuard(self);
            deliver(message);
            std::mem::forget(guard);
            queue = lock(&self.queue);
        }
        queue.flushing = false;
        Flushed::Limit
    }
}

/// Ends the turn of a thread whose delivery panics. The messages that are left wait for the next flush.
struct FlushGuard<'a, T>(&'a Outbox<T>);

impl<T> Drop for FlushGuard<'_, T> {
    fn drop(&mut self) {
        lock(&self.0.queue).flushing = false;
    }
}
