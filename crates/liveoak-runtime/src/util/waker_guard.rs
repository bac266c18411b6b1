//! The guard around wakers that the user supplies.
//!
//! A waker is user code: it may panic when it is woken and when it is dropped. Such a panic must harm neither the
//! thread that wakes nor the other waiters. The guard catches it and continues. The panic hook has already reported it.
//!
//! The waker of an attempt's own task needs no guard, because it is a waker of Tokio.

use std::any::Any;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};

/// Wraps the waker of a waiting task, and keeps the wrapper for the next poll.
#[derive(Debug)]
pub(crate) struct WakerGuard {
    /// The waker of the last poll, and the waker that wraps it.
    last: Option<(Arc<Guarded>, Waker)>,
}

#[derive(Debug)]
struct Guarded(Option<Waker>);

impl WakerGuard {
    pub(crate) const fn new() -> Self {
        Self { last: None }
    }

    /// Returns a waker that wakes `waker` and never panics.
    pub(crate) fn wrap(&mut self, waker: &Waker) -> &Waker {
        let known = self.last.take_if(|(last, _)| last.0.as_ref().is_some_and(|last| last.will_wake(waker)));
        let (_, guard) = self.last.insert(known.unwrap_or_else(|| {
            let guarded = Arc::new(Guarded(Some(waker.clone())));
            (Arc::clone(&guarded), Waker::from(guarded))
        }));
        guard
    }

    /// Waits for `future`. The wakers that the future sees never panic.
    pub(crate) async fn wait<F: Future>(&mut self, future: F) -> F::Output {
        let mut future = pin!(future);
        poll_fn(|cx| future.as_mut().poll(&mut Context::from_waker(self.wrap(cx.waker())))).await
    }
}

impl Wake for Guarded {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if let Some(waker) = &self.0 {
            ignore_panic(|| waker.wake_by_ref());
        }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        let waker = self.0.take();
        ignore_panic(|| drop(waker));
    }
}

pub(crate) fn ignore_panic(f: impl FnOnce()) {
    let _ = catch_unwind(AssertUnwindSafe(f)).map_err(drop_payload);
}

/// Drops the payload of a panic. If its destructor panics too, the payload of that second panic is leaked: dropping it
/// could panic again, without end.
pub(crate) fn drop_payload(payload: Box<dyn Any + Send>) {
    if let Err(another) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        std::mem::forget(another);
    }
}
