//! A queue whose messages are delivered in order, by one thread at a time, outside every lock.
//!
//! [`push`](Outbox::push) keeps the order. [`flush`](Outbox::flush) delivers the queued messages; if another thread is
//! flushing, it returns at once and that thread delivers them. No message is left behind: the flushing thread checks
//! for more under the lock before it stops.

use crate::util::lock::lock;
use crate::util::sync::{AtomicBool, Mutex, Ordering};
use std::collections::VecDeque;

pub(crate) struct Outbox<T> {
    queue: Mutex<Queue<T>>,
    /// `true` if there may be something to deliver. Changed under the lock, read without it.
    pending: AtomicBool,
}

struct Queue<T> {
    /// The messages that are not delivered yet. Bounded by what the inputs that are being handled now cause.
    messages: VecDeque<T>,
    /// `true` while a thread delivers.
    flushing: bool,
    /// `true` if the last message was pushed.
    closed: bool,
}

impl<T> Default for Outbox<T> {
    fn default() -> Self {
        let queue = Queue { messages: VecDeque::new(), flushing: false, closed: false };
        Self { queue: Mutex::new(queue), pending: AtomicBool::new(false) }
    }
}

impl<T> Outbox<T> {
    pub(crate) fn push(&self, message: T) {
        let mut queue = lock(&self.queue);
        queue.messages.push_back(message);
        self.pending.store(true, Ordering::Release);
    }

    /// Declares that there will be no more messages.
    pub(crate) fn close(&self) {
        let mut queue = lock(&self.queue);
        queue.closed = true;
        self.pending.store(true, Ordering::Release);
    }

    /// Delivers the queued messages one by one, unless another thread does. Returns `true` if the outbox is closed and
    /// this call has delivered its last message.
    pub(crate) fn flush(&self, mut deliver: impl FnMut(T)) -> bool {
        if !self.pending.load(Ordering::Acquire) {
            return false;
        }
        let mut queue = lock(&self.queue);
        if std::mem::replace(&mut queue.flushing, true) {
            return false;
        }
        while let Some(message) = queue.messages.pop_front() {
            drop(queue);
            let guard = FlushGuard(self);
            deliver(message);
            std::mem::forget(guard);
            queue = lock(&self.queue);
        }
        self.pending.store(false, Ordering::Release);
        queue.flushing = false;
        queue.closed
    }
}

/// Ends the turn of a thread whose delivery panics. The messages that are left wait for the next flush.
struct FlushGuard<'a, T>(&'a Outbox<T>);

impl<T> Drop for FlushGuard<'_, T> {
    fn drop(&mut self) {
        lock(&self.0.queue).flushing = false;
    }
}
