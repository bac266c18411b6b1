//! The event stream, for subscribers and for `tracing`.
//!
//! The machine's events are queued under the tree's lock in their order, and delivered outside it by one thread at a
//! time, because the wakers of readers are user code that may call back into the tree. A slow reader loses events, and
//! learns how many. It never slows the tree down. The log has a [thread of its own](crate::util::log).

use crate::attempt::panic::{catch, drop_catching_panics};
use crate::engine::event_filter::EventFilter;
use crate::engine::event_line::trace;
use crate::engine::outbox::{Flushed, Outbox};
use crate::engine::pids;
use crate::util::lock::{ignore_poison, lock};
use crate::util::log::{log, log_text};
use crate::util::waker_guard::WakerGuard;
use liveoak_core::{Attempt, ChildId, Event, EventKind, Exit, Severity};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::Duration;
use tokio::sync::broadcast;
use tracing::level_filters::LevelFilter;

/// How many events a reader may be behind before it loses the oldest. About 150 KiB, allocated with the first
/// subscriber.
const EVENTS_KEPT: usize = 1024;

#[derive(Default)]
pub(crate) struct Broadcast {
    /// Created with the first subscriber, closed when the tree has ended.
    sender: Mutex<Sender>,
    /// Signals that the last event of the tree is delivered.
    all_delivered: Condvar,
    /// `true` while there is a sender. Reading this is cheaper than the lock.
    subscribed: AtomicBool,
    outbox: Outbox<Event>,
}

#[derive(Debug, Default)]
enum Sender {
    #[default]
    Unused,
    Open(broadcast::Sender<Event>),
    Closed,
}

impl Broadcast {
    /// Returns a reader of the events after number `after`.
    pub(crate) fn subscribe(&self, after: u64) -> Events {
        let mut sender = lock(&self.sender);
        if let Sender::Unused = *sender {
            *sender = Sender::Open(broadcast::channel(EVENTS_KEPT).0);
            self.subscribed.store(true, Ordering::Release);
        }
        let receiver = match &*sender {
            Sender::Open(sender) => sender.subscribe(),
            Sender::Unused | Sender::Closed => broadcast::channel(1).1,
        };
        Events { receiver, seen: after, after_gap: None, filter: None, guard: WakerGuard::new() }
    }

    /// Ends the stream after the events that are queued.
    pub(crate) fn close(&self) {
        self.outbox.close();
        self.flush_all();
    }

    /// Waits until the last event is delivered, for at most `within`. After [`close`](Self::close) another thread may
    /// still be delivering it. Returns `true` if the last event is delivered.
    pub(crate) fn until_delivered(&self, within: Duration) -> bool {
        let sender = lock(&self.sender);
        let left = |sender: &mut Sender| !matches!(sender, Sender::Closed);
        !ignore_poison(self.all_delivered.wait_timeout_while(sender, within, left)).1.timed_out()
    }

    /// Delivers all queued events, unless another thread does.
    pub(crate) fn flush_all(&self) {
        while self.flush() {}
    }

    fn open_sender(&self) -> Option<broadcast::Sender<Event>> {
        if !self.subscribed.load(Ordering::Acquire) {
            return None;
        }
        match &*lock(&self.sender) {
            Sender::Open(sender) => Some(sender.clone()),
            Sender::Unused | Sender::Closed => None,
        }
    }

    /// Returns the least severity that a subscriber or the log wants now. Returns `None` if neither exists: then an
    /// event costs nothing.
    #[inline]
    pub(crate) fn interest(&self) -> Option<Severity> {
        if self.subscribed.load(Ordering::Acquire) { self.interest_of_subscribers() } else { log_interest() }
    }

    fn interest_of_subscribers(&self) -> Option<Severity> {
        if self.open_sender().is_some_and(|sender| sender.receiver_count() > 0) {
            return Some(Severity::Debug);
        }
        log_interest()
    }

    pub(crate) fn push(&self, event: Event) {
        self.outbox.push(event);
    }

    /// Delivers queued events, unless another thread does. Returns `true` if it left some to the timer task.
    #[inline]
    pub(crate) fn flush(&self) -> bool {
        self.outbox.has_messages() && self.flush_messages()
    }

    fn flush_messages(&self) -> bool {
        let flushed = self.outbox.flush(|event| self.deliver(event));
        if flushed == Flushed::Closed {
            let sender = std::mem::replace(&mut *lock(&self.sender), Sender::Closed);
            self.subscribed.store(false, Ordering::Release);
            self.all_delivered.notify_all();
            drop_catching_panics(sender);
        }
        flushed == Flushed::Limit
    }

    /// Notes the process id of an attempt, for the lines of the log.
    pub(crate) fn tell_pid(&self, id: ChildId, attempt: Attempt, pid: u32) {
        if log_interest().is_some() {
            let tree = self.address();
            log(move || pids::keep(tree, id, attempt, pid));
        }
    }

    /// Returns a number that no other tree has at the same time.
    fn address(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    fn deliver(&self, event: Event) {
        let is_logged = log_interest().is_some_and(|least| event.severity >= least);
        let sender = self.open_sender();
        if is_logged {
            let (tree, bytes) = (self.address(), text_bytes(&event.kind));
            let event = if sender.is_some() {
                event.clone()
            } else {
                return log_text(bytes, move || trace(tree, &event));
            };
            log_text(bytes, move || trace(tree, &event));
        }
        if let Some(sender) = sender {
            // Sending without readers is not an error. It wakes the readers, whose wakers are user code.
            let _ = catch(None, || drop(sender.send(event)));
        }
    }
}

/// Returns the least severity that the log subscriber wants.
#[inline]
fn log_interest() -> Option<Severity> {
    match LevelFilter::current() {
        LevelFilter::OFF => None,
        LevelFilter::ERROR => Some(Severity::Error),
        LevelFilter::WARN => Some(Severity::Warn),
        LevelFilter::INFO => Some(Severity::Info),
        _ => Some(Severity::Debug),
    }
}

/// A reader of a tree's events.
#[derive(Debug)]
pub struct Events {
    receiver: broadcast::Receiver<Event>,
    /// The number of the last event that the reader knows.
    seen: u64,
    /// The event after a gap, while the gap is reported.
    after_gap: Option<Event>,
    /// The events that the reader wants. `None` for all.
    filter: Option<Box<EventFilter>>,
    /// Catches panics of this reader's waker, so that the others are still woken.
    guard: WakerGuard,
}

/// What a reader of events gets next.
#[derive(Clone, Debug)]
pub enum EventOrLost {
    /// The next event.
    Event(Event),
    /// The reader was too slow and has lost this many events. A new [`watch`](crate::TreeHandle::watch) returns a
    /// snapshot that includes them.
    Lost(u64),
}

impl Events {
    /// Returns only the events that `filter` lets pass. Lost events are counted whether they would have passed or not.
    #[must_use]
    pub fn filtered(mut self, filter: EventFilter) -> Self {
        self.filter = Some(Box::new(filter));
        self
    }

    /// Waits until an event is `wanted` or events were lost, and skips all events that are there already. Returns `None`
    /// when the tree has ended.
    pub(crate) async fn until(&mut self, wanted: impl Fn(&Event) -> bool) -> Option<()> {
        loop {
            match self.next().await? {
                EventOrLost::Event(event) if !wanted(&event) => {}
                EventOrLost::Event(_) | EventOrLost::Lost(_) => break,
            }
        }
        self.after_gap = None;
        loop {
            match self.receiver.try_recv() {
                Ok(event) => self.seen = self.seen.max(event.number),
                Err(broadcast::error::TryRecvError::Lagged(_)) => {}
                Err(broadcast::error::TryRecvError::Empty | broadcast::error::TryRecvError::Closed) => {
                    return Some(());
                }
            }
        }
    }

    fn passes(&self, event: &Event) -> bool {
        self.filter.as_ref().is_none_or(|filter| filter.matches(event))
    }

    /// Returns the next event, or how many were lost. Returns `None` when the tree has ended and all events were read.
    ///
    /// # Cancel safety
    /// Safe: no event is lost by dropping this future.
    pub async fn next(&mut self) -> Option<EventOrLost> {
        if let Some(event) = self.after_gap.take().filter(|event| self.passes(event)) {
            return Some(EventOrLost::Event(event));
        }
        loop {
            match self.guard.wait(self.receiver.recv()).await {
                // The snapshot already includes this event.
                Ok(event) if event.number <= self.seen => {}
                Ok(event) => {
                    // The tree numbers its events without gaps, so this reader has missed those in between.
                    let lost = event.number - self.seen - 1;
                    self.seen = event.number;
                    if lost == 0 && !self.passes(&event) {
                        continue;
                    }
                    if lost == 0 {
                        return Some(EventOrLost::Event(event));
                    }
                    self.after_gap = Some(event);
                    return Some(EventOrLost::Lost(lost));
                }
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}

/// Returns how many bytes of the user's text an event holds.
fn text_bytes(kind: &EventKind) -> usize {
    match kind {
        EventKind::Exited { exit: Exit::Failed(failure), .. } => failure.text().len(),
        EventKind::Exited { exit: Exit::Panicked(panic), .. } => {
            panic.message.len() + panic.backtrace.as_ref().map_or(0, |text| text.len())
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::outbox::OUTBOX_KEPT;

    #[test]
    fn a_panic_during_a_delivery_loses_one_message_and_the_next_flush_delivers_the_others() {
        let outbox = Outbox::default();
        (1..=4).for_each(|message| outbox.push(message));
        let mut seen = Vec::new();
        let first = catch(None, || {
            outbox.flush(|message| {
                assert_ne!(message, 2, "meant by the test");
                seen.push(message);
            })
        });
        assert!(first.is_err());
        outbox.close();
        assert_eq!(outbox.flush(|message| seen.push(message)), Flushed::Closed, "the end is reported");
        assert_eq!(seen, [1, 3, 4]);
    }

    #[test]
    fn a_full_outbox_loses_its_oldest_messages_and_each_flush_delivers_a_limited_number() {
        let outbox = Outbox::default();
        (0..OUTBOX_KEPT + 10).for_each(|message| outbox.push(message));
        let mut seen = Vec::new();
        assert_eq!(outbox.flush(|message| seen.push(message)), Flushed::Limit);
        assert!(seen.len() < 1_000, "{}", seen.len());
        while outbox.flush(|message| seen.push(message)) == Flushed::Limit {}
        assert!(seen.iter().copied().eq(10..OUTBOX_KEPT + 10));
    }
}
