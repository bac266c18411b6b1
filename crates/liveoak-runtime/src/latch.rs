//! Waiting for a bit of an attempt's cell to be latched.
//!
//! Every order wakes the task of the body, whatever that is doing: the task looks at the order to drop its body itself.
//! So a future that is polled by that task needs nothing to be woken. Whoever waits elsewhere (a subtask, another
//! thread, a future inside one that wakes in its own way) uses a [`Notify`], made when the first of them comes.

use crate::cell::Cell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

/// Who is to be woken for news of one cell. Stands under the cell's lock.
#[derive(Default)]
pub(crate) struct Waiters {
    /// The task of the body, until the next news.
    body: Option<Waker>,
    /// All others.
    others: Option<Arc<Notify>>,
}

impl fmt::Debug for Waiters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiters").field("others", &self.others.is_some()).finish_non_exhaustive()
    }
}

impl Waiters {
    /// Everybody who is to be woken now; to be done outside the lock.
    pub(crate) fn take(&mut self) -> (Option<Waker>, Option<Arc<Notify>>) {
        (self.body.take(), self.others.clone())
    }

    pub(crate) fn set_body(&mut self, task: &Waker) {
        self.body = Some(task.clone());
    }
}

/// Waits until a bit is latched. Cancel safe: whoever looks later still sees it.
pub(crate) struct Latched<'a> {
    cell: &'a Cell,
    bit: u8,
    /// The place among the others, if it is not the body's task that polls.
    place: Option<Pin<Box<OwnedNotified>>>,
}

impl<'a> Latched<'a> {
    pub(crate) const fn new(cell: &'a Cell, bit: u8) -> Self {
        Self { cell, bit, place: None }
    }

    /// Makes sure that news wakes this task. The bit is looked at after that, so that none falls between.
    fn settle(&mut self, cx: &Context<'_>) {
        let mut life = self.cell.life();
        let waiters = &mut life.waiters;
        if waiters.body.as_ref().is_some_and(|body| body.will_wake(cx.waker())) {
            // It may hold a waker of the user's, which must not be dropped under the lock.
            let unused = self.place.take();
            drop(life);
            drop(unused);
        } else if self.place.is_none() {
            let others = waiters.others.get_or_insert_with(|| Arc::new(Notify::new()));
            self.place = Some(Box::pin(Arc::clone(others).notified_owned()));
        }
    }
}

impl Future for Latched<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        loop {
            if this.cell.has(this.bit) {
                return Poll::Ready(());
            }
            this.settle(cx);
            if let Some(news) = &mut this.place
                && news.as_mut().poll(cx).is_ready()
            {
                // News of another bit, or of this one: look again, and wait for the next.
                this.place = None;
                continue;
            }
            return if this.cell.has(this.bit) { Poll::Ready(()) } else { Poll::Pending };
        }
    }
}
