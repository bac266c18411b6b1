//! The timer task: the Tokio task of a tree that keeps its deadlines.
//!
//! It sleeps until the earliest deadline. It also performs effects that other threads have left over (invariant 3 of
//! [`driver`](crate::engine::driver)). A thread that adds work for it wakes it, and tells the watchdog when that is
//! due.

use crate::engine::driver::TreeInner;
use crate::engine::watchdog::SLACK;
use crate::util::race;
use liveoak_core::{Input, Time};
use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::task::Poll;

impl TreeInner {
    /// Returns the timer task, which ends with the tree. If it is dropped before that, even before its first poll, its
    /// runtime is shutting down, and everything is killed.
    pub(crate) fn timer_task(self: Arc<Self>) -> impl Future<Output = ()> + Send {
        let guard = KillOnDrop(self);
        async move { guard.0.run_timer_task().await }
    }

    async fn run_timer_task(self: &Arc<Self>) {
        loop {
            let woken = self.timer_task_notify.notified();
            let deadline = {
                let mut state = self.state();
                state.timer_task_wakeup = state.next_deadline();
                state.timer_task_pending = state.machine.has_effects();
                if state.timer_task_pending { Time::ZERO } else { state.timer_task_wakeup }
            };
            if self.ended().is_some() {
                return;
            }
            if deadline == Time::NEVER {
                woken.await;
            } else if deadline != Time::ZERO {
                race(woken, tokio::time::sleep_until(self.clock.instant(deadline))).await;
            }
            self.feed(self.clock.now_inside(), Input::Tick);
            // Other tasks get their turn before the next batch.
            requeue().await;
        }
    }

    /// Wakes the timer task if there is new work for it, due at `wakeup`.
    pub(crate) fn wake_timer_task(&self, wakeup: Option<Time>) {
        let Some(wakeup) = wakeup else { return };
        self.timer_task_notify.notify_one();
        self.set_watchdog(if wakeup == Time::ZERO { self.clock.now() } else { wakeup });
    }

    fn set_watchdog(&self, deadline: Time) {
        if deadline != Time::NEVER {
            self.watchdog.set_deadline(self.clock.instant(deadline).into_std());
        }
    }

    /// Does the work of the timer task if it is late, and sets the next deadline of the watchdog.
    pub(crate) fn tick_if_late(self: &Arc<Self>) {
        let now = self.clock.now();
        let state = self.state();
        let late = state.machine.has_effects() || state.next_deadline().after(SLACK) <= now;
        drop(state);
        if late {
            self.feed(now, Input::Tick);
        }
        let state = self.state();
        let work_is_left = state.machine.has_effects() || state.timer_task_pending;
        let next = if work_is_left { now } else { state.next_deadline().min(state.timer_task_wakeup) };
        drop(state);
        // A deadline in the past is one that the timer task is late for: check again soon.
        self.set_watchdog(next.max(now));
    }
}

struct KillOnDrop(Arc<TreeInner>);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        if self.0.ended().is_none() {
            self.0.runtime_lost();
        }
    }
}

/// Yields by putting the task at the end of the queue, from where any worker can take it. `tokio::task::yield_now`
/// would leave it with its worker until that has nothing else to do.
async fn requeue() {
    let mut yielded = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
