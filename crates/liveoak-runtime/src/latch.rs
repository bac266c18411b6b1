//! Waiting for a bit of an attempt's cell to be latched.
//!
//! Nearly always one task waits, the body's own. So there is one place for its waker in the cell, and nothing else is
//! needed to wait or to be woken. Whoever waits beside it (a subtask, another thread) uses a [`Notify`], made when the
//! first of them comes.

use crate::cell::Cell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

/// Who waits for news of one cell. Stands under the cell's lock.
#[derive(Default)]
pub(crate) struct Waiters {
    /// The one task that most often is the only one.
    first: Option<Waker>,
    /// How many futures of that task wait: each takes its share back when it is dropped before its time.
    shares: u32,
    /// How often everybody was woken. A share from before that is void.
    round: u32,
    /// All others.
    others: Option<Arc<Notify>>,
}

impl fmt::Debug for Waiters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiters").field("shares", &self.shares).finish_non_exhaustive()
    }
}

impl Waiters {
    /// Everybody who is to be woken now; to be done outside the lock.
    pub(crate) fn take(&mut self) -> (Option<Waker>, Option<Arc<Notify>>) {
        self.round = self.round.wrapping_add(1);
        self.shares = 0;
        (self.first.take(), self.others.clone())
    }
}

/// How a [`Latched`] waits.
enum Place {
    /// It was not polled yet, or is done.
    Nowhere,
    /// In the first place, since this round.
    First(u32),
    /// Among the others.
    Others(Pin<Box<OwnedNotified>>),
}

/// Waits until a bit is latched. Cancel safe: whoever looks later still sees it.
pub(crate) struct Latched<'a> {
    cell: &'a Cell,
    bit: u8,
    place: Place,
}

impl<'a> Latched<'a> {
    pub(crate) const fn new(cell: &'a Cell, bit: u8) -> Self {
        Self { cell, bit, place: Place::Nowhere }
    }

    /// Takes a place, or renews it. The bit is looked at after that, so that no news falls between.
    fn settle(&mut self, cx: &Context<'_>) {
        let mut life = self.cell.life();
        let waiters = &mut life.waiters;
        if let Place::Others(_) = self.place {
            return;
        }
        let mine = u32::from(matches!(self.place, Place::First(round) if round == waiters.round));
        if waiters.first.as_ref().is_some_and(|first| first.will_wake(cx.waker())) {
            waiters.shares += 1 - mine;
            self.place = Place::First(waiters.round);
        } else if waiters.shares == mine {
            // Nobody else is there; a future that has moved to another task takes its place along.
            waiters.first = Some(cx.waker().clone());
            waiters.shares = 1;
            self.place = Place::First(waiters.round);
        } else {
            waiters.shares -= mine;
            let others = waiters.others.get_or_insert_with(|| Arc::new(Notify::new()));
            self.place = Place::Others(Box::pin(Arc::clone(others).notified_owned()));
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
            if let Place::Others(news) = &mut this.place
                && news.as_mut().poll(cx).is_ready()
            {
                // News of another bit, or of this one: look again, and wait for the next.
                this.place = Place::Nowhere;
                continue;
            }
            return if this.cell.has(this.bit) { Poll::Ready(()) } else { Poll::Pending };
        }
    }
}

impl Drop for Latched<'_> {
    fn drop(&mut self) {
        // Once the bit is latched its round is over, and there is nothing to give back.
        if let Place::First(round) = self.place
            && !self.cell.has(self.bit)
        {
            let mut life = self.cell.life();
            let waiters = &mut life.waiters;
            let mut unused = None;
            if waiters.round == round {
                waiters.shares -= 1;
                if waiters.shares == 0 {
                    unused = waiters.first.take();
                }
            }
            drop(life);
            drop(unused);
        }
    }
}
