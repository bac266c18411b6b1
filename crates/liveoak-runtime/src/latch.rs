//! Bits that are raised once, and whoever waits for one of them.
//!
//! Every bit that is raised wakes the task of the body, whatever that is doing: the task looks at the order to drop its
//! body itself. So a future that is polled by that task needs nothing to be woken. Whoever waits elsewhere (a subtask,
//! another thread, a future inside one that wakes in its own way) uses a [`Notify`], made when the first of them comes.
//!
//! What wakes somebody is raised under the lock, and whoever is about to wait takes its place under the lock and looks
//! at the bits after that. So nothing is raised between the look and the wait. Tried under loom:
//! `loom/src/latch_tests.rs`.
//!
//! The waker of the body is its Tokio task's. All others are the user's: they are kept behind a [`Shield`].

use crate::sync::{AtomicU8, Mutex, MutexGuard, Ordering};
use std::any::Any;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

/// Eight bits, and what else stands under their lock.
pub(crate) struct Latch<T> {
    bits: AtomicU8,
    inside: Mutex<Inside<T>>,
}

/// What stands under the lock.
#[derive(Default)]
pub(crate) struct Inside<T> {
    /// The task of the body, until the next bit is raised.
    body: Option<Waker>,
    /// Everybody else who waits.
    others: Option<Arc<Notify>>,
    /// What the owner keeps here.
    pub(crate) rest: T,
}

impl<T> Latch<T> {
    pub(crate) fn new(rest: T) -> Self {
        Self { bits: AtomicU8::new(0), inside: Mutex::new(Inside { body: None, others: None, rest }) }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Inside<T>> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those of `mask` that are raised.
    pub(crate) fn raised(&self, mask: u8) -> u8 {
        self.bits.load(Ordering::Acquire) & mask
    }

    pub(crate) fn has(&self, bit: u8) -> bool {
        self.raised(bit) != 0
    }

    /// Raises bits, and wakes everybody who waits, unless they were raised already.
    pub(crate) fn raise(&self, bits: u8) {
        let mut inside = self.lock();
        let before = self.bits.fetch_or(bits, Ordering::AcqRel);
        if before & bits == bits {
            return;
        }
        let (body, others) = (inside.body.take(), inside.others.clone());
        drop(inside);
        if let Some(body) = body {
            body.wake();
        }
        if let Some(others) = others {
            others.notify_waiters();
        }
    }

    /// Raises bits that nobody waits for.
    pub(crate) fn note(&self, bits: u8) {
        self.bits.fetch_or(bits, Ordering::AcqRel);
    }

    /// Raises bits at the body's end: its task needs nobody to wake it any more, all others are woken.
    pub(crate) fn close(&self, mut inside: MutexGuard<'_, Inside<T>>, bits: u8) {
        self.note(bits);
        let (body, others) = (inside.body.take(), inside.others.clone());
        drop(inside);
        drop(body);
        if let Some(others) = others {
            others.notify_waiters();
        }
    }

    /// Sets a bit that says "once more", unless it is set: one plain load most of the time.
    pub(crate) fn touch(&self, bit: u8) {
        if self.bits.load(Ordering::Relaxed) & bit == 0 {
            self.bits.fetch_or(bit, Ordering::Relaxed);
        }
    }

    /// Takes such a bit back; whether it was set.
    pub(crate) fn take(&self, bit: u8) -> bool {
        self.bits.fetch_and(!bit, Ordering::Relaxed) & bit != 0
    }

    /// From now on the next bit that is raised wakes the task of the body, once. Those of `mask` that are raised already.
    pub(crate) fn wake_body(&self, task: &Waker, mask: u8) -> u8 {
        let mut inside = self.lock();
        let before = inside.body.replace(task.clone());
        let raised = self.raised(mask);
        drop(inside);
        drop(before);
        raised
    }

    /// Waits until `bit` is raised. Cancel safe: whoever looks later still sees it.
    pub(crate) const fn wait(&self, bit: u8) -> Latched<'_, T> {
        Latched { latch: self, bit, place: None }
    }
}

/// How the task of a body sees to it that every bit that is raised wakes it.
#[derive(Default)]
pub(crate) struct Watch {
    /// What was raised when it was last seen to.
    seen: Option<u8>,
}

impl Watch {
    /// At the beginning of a poll. Those of `mask` that are raised.
    pub(crate) fn look<T>(&mut self, latch: &Latch<T>, cx: &Context<'_>, mask: u8) -> u8 {
        if self.seen.is_none() {
            self.seen = Some(latch.wake_body(cx.waker(), mask));
        }
        latch.raised(mask)
    }

    /// At its end, if the body is pending and had been `shown` these bits.
    pub(crate) fn wait<T>(&mut self, latch: &Latch<T>, cx: &Context<'_>, mask: u8, shown: u8) {
        if self.seen != Some(latch.raised(mask)) {
            let now = latch.wake_body(cx.waker(), mask);
            self.seen = Some(now);
            if now != shown {
                // It came while the body was being polled.
                cx.waker().wake_by_ref();
            }
        }
    }
}

/// See [`Latch::wait`].
pub(crate) struct Latched<'a, T> {
    latch: &'a Latch<T>,
    bit: u8,
    /// The place among the others, if it is not the body's task that polls. Boxed as a whole: the body has none.
    place: Option<Box<Beside>>,
}

/// A place among those who wait beside the body.
struct Beside {
    news: Pin<Box<OwnedNotified>>,
    /// Around its waker there.
    shield: Shield,
}

impl<T> Latched<'_, T> {
    /// Makes sure that news wakes this task. The bit is looked at after that, so that none falls between.
    fn settle(&mut self, cx: &Context<'_>) {
        let mut inside = self.latch.lock();
        if inside.body.as_ref().is_some_and(|body| body.will_wake(cx.waker())) {
            // It may hold a waker of the user's, which must not be dropped under the lock.
            let unused = self.place.take();
            drop(inside);
            drop(unused);
        } else if self.place.is_none() {
            let others = inside.others.get_or_insert_with(|| Arc::new(Notify::new()));
            let news = Box::pin(Arc::clone(others).notified_owned());
            self.place = Some(Box::new(Beside { news, shield: Shield::new() }));
        }
    }
}

impl<T> Future for Latched<'_, T> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        loop {
            if this.latch.has(this.bit) {
                return Poll::Ready(());
            }
            this.settle(cx);
            if let Some(Beside { news, shield }) = this.place.as_deref_mut()
                && news.as_mut().poll(&mut Context::from_waker(shield.around(cx.waker()))).is_ready()
            {
                // News of another bit, or of this one: look again, and wait for the next.
                this.place = None;
                continue;
            }
            return if this.latch.has(this.bit) { Poll::Ready(()) } else { Poll::Pending };
        }
    }
}

/// Stands between a waker of the user's and whoever wakes it. Wakers are user code: one that panics, when it is woken or
/// when it is dropped, must harm neither the thread that comes by nor those who are woken after it. Its panic goes no
/// further; the panic hook has told of it.
#[derive(Debug, Default)]
pub(crate) struct Shield {
    /// The waker last shielded, and the one in front of it.
    last: Option<(Arc<Shielded>, Waker)>,
}

#[derive(Debug)]
struct Shielded(Option<Waker>);

impl Shield {
    pub(crate) const fn new() -> Self {
        Self { last: None }
    }

    /// A waker that wakes `waker`, and never panics.
    fn around(&mut self, waker: &Waker) -> &Waker {
        let known = self.last.take_if(|(last, _)| last.0.as_ref().is_some_and(|last| last.will_wake(waker)));
        &self
            .last
            .insert(known.unwrap_or_else(|| {
                let shielded = Arc::new(Shielded(Some(waker.clone())));
                (Arc::clone(&shielded), Waker::from(shielded))
            }))
            .1
    }

    /// Waits for `future`, which keeps wakers that never panic.
    pub(crate) async fn wait<F: Future>(&mut self, future: F) -> F::Output {
        let mut future = pin!(future);
        poll_fn(|cx| future.as_mut().poll(&mut Context::from_waker(self.around(cx.waker())))).await
    }
}

impl Wake for Shielded {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if let Some(waker) = &self.0 {
            let _ = catch_unwind(AssertUnwindSafe(|| waker.wake_by_ref())).map_err(drop_payload);
        }
    }
}

impl Drop for Shielded {
    fn drop(&mut self) {
        let waker = self.0.take();
        let _ = catch_unwind(AssertUnwindSafe(|| drop(waker))).map_err(drop_payload);
    }
}

/// Drops what a panic carried, of which the destructor may panic as well. What that one carries is leaked: somewhere it
/// has to end.
pub(crate) fn drop_payload(payload: Box<dyn Any + Send>) {
    if let Err(another) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        std::mem::forget(another);
    }
}
