//! Messages in their order, handed out by one thread at a time and outside of every lock.
//!
//! Whoever pushes does so in order; whoever flushes hands out what is there, unless somebody is doing that already: then
//! that one sees to it. Nothing is left behind: who hands out looks for more under the lock before it stops. Tried under
//! loom: `loom/src/outbox_tests.rs`.

use crate::sync::{AtomicBool, Mutex, MutexGuard, Ordering};
use std::collections::VecDeque;
use std::sync::PoisonError;

/// See the module.
pub(crate) struct Outbox<T> {
    queue: Mutex<Queue<T>>,
    /// Whether there is something to do; changed under the lock.
    pending: AtomicBool,
}

struct Queue<T> {
    /// What was not handed out yet: that of the inputs that are being worked on now.
    messages: VecDeque<T>,
    /// Whether a thread is handing out.
    flushing: bool,
    /// Whether the last message was pushed.
    closing: bool,
}

impl<T> Default for Outbox<T> {
    fn default() -> Self {
        let queue = Queue { messages: VecDeque::new(), flushing: false, closing: false };
        Self { queue: Mutex::new(queue), pending: AtomicBool::new(false) }
    }
}

impl<T> Outbox<T> {
    fn lock(&self) -> MutexGuard<'_, Queue<T>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn push(&self, message: T) {
        let mut queue = self.lock();
        queue.messages.push_back(message);
        self.pending.store(true, Ordering::Release);
    }

    /// There will be no more messages.
    pub(crate) fn close(&self) {
        let mut queue = self.lock();
        queue.closing = true;
        self.pending.store(true, Ordering::Release);
    }

    /// Hands out what was pushed, one by one, unless somebody is doing so. Whether it was closed, and all of it is handed
    /// out now.
    pub(crate) fn flush(&self, mut hand_out: impl FnMut(T)) -> bool {
        if !self.pending.load(Ordering::Acquire) {
            return false;
        }
        let mut queue = self.lock();
        if std::mem::replace(&mut queue.flushing, true) {
            return false;
        }
        while let Some(message) = queue.messages.pop_front() {
            drop(queue);
            let turn = Turn(self);
            hand_out(message);
            std::mem::forget(turn);
            queue = self.lock();
        }
        self.pending.store(false, Ordering::Release);
        queue.flushing = false;
        queue.closing
    }
}

/// Whose turn it is to hand out. Dropped only by a panic: then the rest waits for the next who flushes.
struct Turn<'a, T>(&'a Outbox<T>);

impl<T> Drop for Turn<'_, T> {
    fn drop(&mut self) {
        self.0.lock().flushing = false;
    }
}
