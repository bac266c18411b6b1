//! The timer task: the Tokio task of a tree that keeps its deadlines.
//!
//! It sleeps until the earliest deadline. It also performs effects that other threads have left over (invariant 3 of
//! [`driver`](crate::engine::driver)). A thread that adds work wakes the timer task, and tells the watchdog when the work
//! is due.

use crate::engine::driver::{State, TreeInner};
use crate::engine::watchdog::SLACK;
use crate::util::race;
use liveoak_core::Time;
use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::sync::atomic::Ordering;
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
                state.timer_task_pending = state.machine.has_effects() || self.take_events_left();
                if state.timer_task_pending { Time::ZERO } else { state.timer_task_wakeup }
            };
            if self.ended().is_some() {
                return self.events.flush_all();
            }
            if deadline == Time::NEVER {
                woken.await;
            } else if deadline != Time::ZERO {
                race(woken, tokio::time::sleep_until(self.clock.instant(deadline))).await;
            }
            self.tick(self.clock.now_inside());
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

    /// Leaves the events that are queued to the timer task.
    pub(crate) fn events_are_left(&self) {
        if self.ended().is_some() {
            return self.events.flush_all();
        }
        self.events_left.store(true, Ordering::Release);
        self.wake_timer_task(Some(Time::ZERO));
    }

    /// Takes over the events that were left.
    fn take_events_left(&self) -> bool {
        self.events_left.swap(false, Ordering::AcqRel)
    }

    /// Returns `true` if other threads have left work, due now.
    fn has_work_left(&self, state: &State) -> bool {
        state.machine.has_effects() || self.events_left.load(Ordering::Acquire)
    }

    fn set_watchdog(&self, deadline: Time) {
        if deadline != Time::NEVER {
            self.watchdog.set_deadline(self.clock.instant(deadline).into_std());
        }
    }

    /// Does the work of the timer task if it is late, and sets the next deadline of the watchdog.
    pub(crate) fn tick_if_late(self: &Arc<Self>) {
        let _ = self.guarded(|| self.tick_if_late_unguarded());
    }

    fn tick_if_late_unguarded(self: &Arc<Self>) {
        let now = self.clock.now();
        let state = self.state();
        let late = self.has_work_left(&state) || state.next_deadline().after(SLACK) <= now;
        drop(state);
        if late {
            self.tick(now);
        }
        let state = self.state();
        let work_is_left = self.has_work_left(&state) || state.timer_task_pending;
        let next = if work_is_left { now } else { state.next_deadline().min(state.timer_task_wakeup) };
        drop(state);
        // The timer task is late for a deadline in the past, so check again soon.
        self.set_watchdog(next.max(now));
    }
}

struct KillOnDrop(Arc<TreeInner>);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail_after_panic(None);
        } else if self.0.ended().is_none() {
            self.0.runtime_lost();
        }
        self.0.drops.work_off();
    }
}

/// Yields by putting the task at the end of the queue, from where any worker can take it. With `tokio::task::yield_now`,
/// the task would stay with its worker until this worker has nothing else to do.
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
