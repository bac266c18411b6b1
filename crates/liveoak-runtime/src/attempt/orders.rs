//! The orders to an attempt (to stop, to be killed, to be abandoned), as one-shot flags that tasks can wait for.
//!
//! *Latched.* A flag stays set. Code that checks later still sees the order. If an order arrives before the attempt has
//! started, the attempt sees it too.
//!
//! *Waiting.* A new order wakes the attempt's own task, whatever that task is waiting for, because the task itself
//! drops its body on a kill. Futures polled by that task therefore need no registration. Other waiters (a subtask,
//! another thread, a future with a waker of its own as in `FuturesUnordered`) share a [`Notify`], created on first use. Their
//! wakers are the user's, so a [`WakerGuard`] wraps each.
//!
//! *No lost wake-up.* Orders and waiters change under one lock. A waiter registers under the lock and checks the flag
//! again after that, so an order is either seen by the check or wakes the waiter.

use crate::util::lock::lock;
use crate::util::sync::{AtomicU8, Mutex, Ordering};
use crate::util::waker_guard::WakerGuard;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

/// The attempt is asked to stop, or has ended.
const STOPPING: u8 = 1;
/// The attempt is killed or abandoned.
const KILLED: u8 = 2;
/// A heartbeat has arrived since the last check.
const BEATEN: u8 = 4;
/// The task of the attempt must drop the body.
const DROP_BODY: u8 = 8;
const BODY_ENDED: u8 = 16;
/// The tree no longer waits for this attempt.
const ABANDONED: u8 = 32;
/// The body handles a kill itself.
const HANDLES_KILL: u8 = 64;
const HAS_SUBTASKS: u8 = 128;
/// The flags that the attempt's task must see.
const ORDERS: u8 = STOPPING | KILLED | DROP_BODY;

pub(crate) struct Orders {
    flags: AtomicU8,
    waiters: Mutex<Waiters>,
}

#[derive(Default)]
struct Waiters {
    /// The attempt's own task, until the next order wakes it.
    task: Option<Waker>,
    /// All other waiters.
    others: Option<Arc<Notify>>,
}

/// The parts of an attempt that may still run when its body has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyEnd {
    /// Nothing: the attempt has ended.
    AttemptEnded,
    /// Subtasks may still run.
    WithSubtasks,
    /// The end of the body was reported before.
    Repeated,
}

impl Orders {
    pub(crate) fn new() -> Self {
        Self { flags: AtomicU8::new(0), waiters: Mutex::new(Waiters::default()) }
    }

    fn flags(&self, mask: u8) -> u8 {
        self.flags.load(Ordering::Acquire) & mask
    }

    fn has(&self, any: u8) -> bool {
        self.flags(any) != 0
    }

    /// Sets flags and wakes every waiter. Does nothing if all these flags were set before.
    fn set(&self, flags: u8) {
        let mut waiters = lock(&self.waiters);
        let before = self.flags.fetch_or(flags, Ordering::AcqRel);
        if before & flags == flags {
            return;
        }
        let (task, others) = (waiters.task.take(), waiters.others.clone());
        drop(waiters);
        if let Some(task) = task {
            task.wake();
        }
        if let Some(others) = others {
            others.notify_waiters();
        }
    }

    pub(crate) fn ask(&self) {
        self.set(STOPPING);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.has(STOPPING)
    }

    pub(crate) const fn stopping(&self) -> Wait<'_> {
        Wait { orders: self, flag: STOPPING, registration: None }
    }

    /// Lets the body handle a kill itself from now on. Only the order to [`abandon`](Self::abandon) drops the body.
    pub(crate) fn leave_kill_to_body(&self) {
        self.flags.fetch_or(HANDLES_KILL, Ordering::AcqRel);
    }

    /// Orders a kill. A body that handles its kill itself sees the order. Any other body is dropped.
    pub(crate) fn kill(&self) {
        let drop_body = if self.has(HANDLES_KILL) { 0 } else { DROP_BODY };
        self.set(STOPPING | KILLED | drop_body);
    }

    pub(crate) fn is_killed(&self) -> bool {
        self.has(KILLED)
    }

    pub(crate) const fn killed(&self) -> Wait<'_> {
        Wait { orders: self, flag: KILLED, registration: None }
    }

    /// Ends the attempt by force, even if the body handles its kill itself. Admits no more subtasks.
    pub(crate) fn abandon(&self) {
        self.set(ABANDONED | STOPPING | KILLED | DROP_BODY);
    }

    pub(crate) fn is_abandoned(&self) -> bool {
        self.has(ABANDONED)
    }

    /// Records a heartbeat. Heartbeats are frequent and checks are rare, so this is mostly one plain load.
    pub(crate) fn beat(&self) {
        if self.flags.load(Ordering::Relaxed) & BEATEN == 0 {
            self.flags.fetch_or(BEATEN, Ordering::Relaxed);
        }
    }

    /// Returns `true` if there was a heartbeat since the last call.
    pub(crate) fn take_beat(&self) -> bool {
        self.flags.fetch_and(!BEATEN, Ordering::Relaxed) & BEATEN != 0
    }

    /// Returns `true` if the attempt may have one more subtask: its body runs and is not abandoned.
    pub(crate) fn admit_subtask(&self) -> bool {
        // Under the lock, so that a body that ends now waits for this subtask, or the subtask is refused.
        let _waiters = lock(&self.waiters);
        let admitted = self.admits_subtasks();
        if admitted {
            self.flags.fetch_or(HAS_SUBTASKS, Ordering::AcqRel);
        }
        admitted
    }

    pub(crate) fn admits_subtasks(&self) -> bool {
        !self.has(BODY_ENDED | ABANDONED)
    }

    /// Records the end of the body. Its task needs no wake-up any more. A body without subtasks ends the attempt as
    /// well (see [`attempt_ended`](Self::attempt_ended)), so both are recorded under one lock.
    pub(crate) fn body_ended(&self) -> BodyEnd {
        let mut waiters = lock(&self.waiters);
        if self.has(BODY_ENDED) {
            return BodyEnd::Repeated;
        }
        let task = waiters.task.take();
        let (end, others) = if self.has(HAS_SUBTASKS) {
            self.flags.fetch_or(BODY_ENDED, Ordering::AcqRel);
            (BodyEnd::WithSubtasks, None)
        } else {
            self.flags.fetch_or(BODY_ENDED | STOPPING, Ordering::AcqRel);
            (BodyEnd::AttemptEnded, waiters.others.clone())
        };
        drop(waiters);
        drop(task);
        if let Some(others) = others {
            others.notify_waiters();
        }
        end
    }

    /// Records the end of the body and all subtasks. Code that still holds a context of the attempt sees the request to
    /// stop.
    pub(crate) fn attempt_ended(&self) {
        self.set(STOPPING);
    }

    /// Registers the attempt's task for the next order. Returns the orders given so far.
    fn register_task(&self, waker: &Waker) -> u8 {
        let mut waiters = lock(&self.waiters);
        let before = waiters.task.replace(waker.clone());
        let orders = self.flags(ORDERS);
        drop(waiters);
        drop(before);
        orders
    }
}

/// The registration of an attempt's own task for its orders.
#[derive(Default)]
pub(crate) struct TaskRegistration {
    /// The orders that were given when the task last registered. `None` before its first poll.
    orders_at_registration: Option<u8>,
}

/// Polls a body once: checks for the order to drop the body, calls `poll`, and registers the task for the next order.
/// Returns `Ready(None)` if the body must be dropped. `poll` gets `cell`.
#[inline]
pub(crate) fn poll_body<C: AsRef<Orders>, T>(
    cell: C,
    registration: &mut TaskRegistration,
    cx: &mut Context<'_>,
    poll: impl FnOnce(C, &mut Context<'_>) -> (C, Poll<T>),
) -> (C, Poll<Option<T>>) {
    if registration.orders_at_registration.is_none() {
        registration.orders_at_registration = Some(cell.as_ref().register_task(cx.waker()));
    }
    let before = cell.as_ref().flags(ORDERS);
    if before & DROP_BODY != 0 {
        return (cell, Poll::Ready(None));
    }
    let (cell, polled) = poll(cell, cx);
    let orders = cell.as_ref();
    // An order uses up the registration: after each new one the task registers again.
    if polled.is_pending() && registration.orders_at_registration != Some(orders.flags(ORDERS)) {
        let now = orders.register_task(cx.waker());
        registration.orders_at_registration = Some(now);
        if now != before {
            // The order came while the body was being polled, so the body may not have seen it.
            cx.waker().wake_by_ref();
        }
    }
    (cell, polled.map(Some))
}

/// Waits for one order. Cancel safe: an order stays set.
pub(crate) struct Wait<'a> {
    orders: &'a Orders,
    flag: u8,
    /// `None` while the attempt's own task polls, which needs no registration. Boxed to keep that case small.
    registration: Option<Box<Registration>>,
}

/// One waiter's share in the [`Notify`].
struct Registration {
    notified: Pin<Box<OwnedNotified>>,
    guard: WakerGuard,
}

impl Wait<'_> {
    /// Makes sure that the next order wakes this task. The caller checks the flag after that.
    fn register(&mut self, cx: &Context<'_>) {
        let mut waiters = lock(&self.orders.waiters);
        if waiters.task.as_ref().is_some_and(|task| task.will_wake(cx.waker())) {
            // The registration may hold a waker of the user's, which must not be dropped under the lock.
            let unneeded = self.registration.take();
            drop(waiters);
            drop(unneeded);
        } else if self.registration.is_none() {
            let others = waiters.others.get_or_insert_with(|| Arc::new(Notify::new()));
            let notified = Box::pin(Arc::clone(others).notified_owned());
            self.registration = Some(Box::new(Registration { notified, guard: WakerGuard::new() }));
        }
    }
}

impl Future for Wait<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        loop {
            if this.orders.has(this.flag) {
                return Poll::Ready(());
            }
            this.register(cx);
            if let Some(Registration { notified, guard }) = this.registration.as_deref_mut()
                && notified.as_mut().poll(&mut Context::from_waker(guard.wrap(cx.waker()))).is_ready()
            {
                // Any order notifies: check again, and register for the next one.
                this.registration = None;
                continue;
            }
            return if this.orders.has(this.flag) { Poll::Ready(()) } else { Poll::Pending };
        }
    }
}
