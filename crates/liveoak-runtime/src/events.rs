//! The event stream: for whoever subscribes, and for `tracing`.

use crate::latch::Shield;
use crate::outbox::Outbox;
use crate::panic::catch;
use crate::table::dispose;
use liveoak_core::{Event, EventKind, Severity};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::broadcast;
use tracing::level_filters::LevelFilter;

/// How many events a reader may be behind before it loses the oldest. About 150 KiB, allocated with the first
/// subscriber.
const EVENTS_KEPT: usize = 1024;

/// Hands events out. Nobody who reads slowly slows the tree down.
///
/// Events are pushed in their order, under the tree's lock, and flushed by one thread at a time outside of it: readers
/// and log subscribers are the user's code, and may call back into the tree.
#[derive(Default)]
pub(crate) struct Broadcast {
    /// Made with the first subscriber, taken away when the tree has ended.
    sender: Mutex<Sender>,
    /// Whether there is a sender: a look at it is cheaper than the lock.
    subscribed: AtomicBool,
    /// Those of the inputs that are being worked on now.
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
    pub(crate) fn subscribe(&self, after: u64) -> Events {
        let mut sender = self.sender();
        if let Sender::Unused = *sender {
            *sender = Sender::Open(broadcast::channel(EVENTS_KEPT).0);
            self.subscribed.store(true, Ordering::Release);
        }
        let receiver = match &*sender {
            Sender::Open(sender) => sender.subscribe(),
            Sender::Unused | Sender::Closed => broadcast::channel(1).1,
        };
        Events { receiver, seen: after, held: None, shield: Shield::new() }
    }

    /// There are no more events: who has read all of them is told so.
    pub(crate) fn close(&self) {
        self.outbox.close();
        self.flush();
    }

    fn sender(&self) -> MutexGuard<'_, Sender> {
        self.sender.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open_sender(&self) -> Option<broadcast::Sender<Event>> {
        if !self.subscribed.load(Ordering::Acquire) {
            return None;
        }
        match &*self.sender() {
            Sender::Open(sender) => Some(sender.clone()),
            Sender::Unused | Sender::Closed => None,
        }
    }

    /// The least severity that anybody wants now.
    pub(crate) fn interest(&self) -> Option<Severity> {
        if self.open_sender().is_some_and(|sender| sender.receiver_count() > 0) {
            return Some(Severity::Debug);
        }
        match LevelFilter::current() {
            LevelFilter::OFF => None,
            LevelFilter::ERROR => Some(Severity::Error),
            LevelFilter::WARN => Some(Severity::Warn),
            LevelFilter::INFO => Some(Severity::Info),
            _ => Some(Severity::Debug),
        }
    }

    pub(crate) fn push(&self, event: Event) {
        self.outbox.push(event);
    }

    /// Hands out what was pushed, unless somebody is doing so.
    pub(crate) fn flush(&self) {
        let closed = self.outbox.flush(|event| {
            // A log subscriber is user code: if it panics, this line of the log is lost and nothing else.
            let _ = catch(None, || trace(&event));
            if let Some(sender) = self.open_sender() {
                // No reader left is no fault. What the oldest event carries is dropped here, which is user code, too.
                let _ = catch(None, || drop(sender.send(event)));
            }
        });
        if closed {
            let sender = std::mem::replace(&mut *self.sender(), Sender::Closed);
            self.subscribed.store(false, Ordering::Release);
            dispose(sender);
        }
    }
}

/// A reader of a tree's events.
#[derive(Debug)]
pub struct Events {
    receiver: broadcast::Receiver<Event>,
    /// The number of the last event that the reader knows.
    seen: u64,
    /// The event after a gap.
    held: Option<Event>,
    /// Around the reader's waker: one that panics cuts no other reader off.
    shield: Shield,
}

/// What a reader of events gets next.
#[derive(Clone, Debug)]
pub enum EventOrLost {
    /// The next event.
    Event(Event),
    /// The reader was too slow: this many events are gone. A new [`watch`](crate::TreeHandle::watch) tells the truth.
    Lost(u64),
}

impl Events {
    /// The next event, or how many were lost; none when the tree has ended and all was read.
    ///
    /// # Cancel safety
    /// Safe: no event is lost by dropping this future.
    pub async fn next(&mut self) -> Option<EventOrLost> {
        if let Some(event) = self.held.take() {
            return Some(EventOrLost::Event(event));
        }
        loop {
            match self.shield.wait(self.receiver.recv()).await {
                // It was on its way when the snapshot was taken, and is part of it.
                Ok(event) if event.number <= self.seen => {}
                Ok(event) => {
                    // Numbers have no gaps, so a gap is what this reader has missed.
                    let lost = event.number - self.seen - 1;
                    self.seen = event.number;
                    if lost == 0 {
                        return Some(EventOrLost::Event(event));
                    }
                    self.held = Some(event);
                    return Some(EventOrLost::Lost(lost));
                }
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}

/// Writes an event to the program's log, if it has one.
fn trace(event: &Event) {
    macro_rules! line {
        ($level:ident) => {
            tracing::$level!(
                target: "liveoak",
                number = event.number,
                path = %event.path,
                event = event.kind.name(),
                "{}",
                Line(event)
            )
        };
    }
    match event.kind.severity() {
        Severity::Debug => line!(debug),
        Severity::Info => line!(info),
        Severity::Warn => line!(warn),
        Severity::Error => line!(error),
    }
}

/// An event as one line for people.
struct Line<'a>(&'a Event);

impl std::fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let path = &self.0.path;
        match &self.0.kind {
            EventKind::Starting { attempt, .. } => write!(f, "{path}: starting, attempt {attempt}"),
            EventKind::Ready { took, .. } => write!(f, "{path}: ready after {took:.1?}"),
            EventKind::Exited { exit, ran, .. } => write!(f, "{path}: {exit}, after {ran:.1?}"),
            EventKind::BackingOff { delay, .. } => write!(f, "{path}: restarts in {delay:.1?}"),
            EventKind::Stopped { stage, .. } => write!(f, "{path}: stopped ({})", stage.as_str()),
            EventKind::Quarantined(gave_up) => write!(f, "{path}: quarantined: {gave_up}"),
            EventKind::GaveUp(gave_up) => write!(f, "{path}: {gave_up}"),
            EventKind::StartFailed(failure) => write!(f, "{path}: {failure}"),
            EventKind::AutoShutdown => write!(f, "{path}: ends, because its significant children have ended"),
            EventKind::RestartSet { children } => {
                write!(f, "{path}: restarts {children} children together")
            }
            EventKind::Health(health) => write!(f, "{path}: {}", format!("{health:?}").to_lowercase()),
            kind => write!(f, "{path}: {}", kind.name()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_panics_while_it_is_handed_out_is_lost_alone_and_the_rest_waits_for_the_next_who_comes() {
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
        assert!(outbox.flush(|message| seen.push(message)), "its end is told");
        assert_eq!(seen, [1, 3, 4]);
    }
}
