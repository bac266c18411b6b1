//! A thread that keeps the deadlines of a tree when the runtime's own threads do not.
//!
//! Code that never yields blocks a worker of its runtime. It may block the worker of the timer task, or the only thread
//! that polls Tokio's timers; Tokio does not move these to another thread. But in this case a heartbeat or a stop deadline
//! must still be kept. So one thread per tree sleeps until the earliest deadline *and a little longer*, and gives
//! `Input::Tick` to the machine if the timer task has not. Normally it finds nothing to do. It notices late deadlines, not
//! blocked workers.
//!
//! Only runtimes with several threads have a watchdog. A single-threaded runtime is blocked as a whole when its thread is
//! blocked, and only a single-threaded runtime can have a paused clock in tests.

use crate::util::lock::{ignore_poison, lock};
use std::sync::{Arc, Condvar, Mutex, Weak};
use std::time::{Duration, Instant};

/// How late a deadline may be kept before the watchdog acts. Long enough to be rare, and short compared with usual
/// deadlines.
pub(crate) const SLACK: Duration = Duration::from_millis(100);

/// Shared by a tree and its watchdog thread.
pub(crate) struct Watchdog {
    schedule: Mutex<Schedule>,
    changed: Condvar,
}

/// What the thread waits for.
struct Schedule {
    /// The thread checks the tree a little after this deadline. `None` if there is none.
    deadline: Option<Instant>,
    ended: bool,
}

impl Watchdog {
    pub(crate) const fn new() -> Self {
        Self { schedule: Mutex::new(Schedule { deadline: None, ended: false }), changed: Condvar::new() }
    }

    /// Starts the thread. `tick_if_late` does the work of the tree's timer task if that is late, and sets the next
    /// deadline. If the system refuses the thread, the tree relies on its runtime.
    pub(crate) fn start<T>(watchdog: Arc<Self>, tree: Weak<T>, tick_if_late: fn(&Arc<T>))
    where
        T: Send + Sync + 'static,
    {
        let name = "liveoak-watchdog".to_owned();
        let _thread =
            std::thread::Builder::new().name(name).spawn(move || watchdog.watch(&tree, tick_if_late));
    }

    /// Tells the thread that work is due at `deadline`.
    pub(crate) fn set_deadline(&self, deadline: Instant) {
        let mut schedule = lock(&self.schedule);
        if schedule.deadline.is_none_or(|earlier| deadline < earlier) {
            schedule.deadline = Some(deadline);
            drop(schedule);
            self.changed.notify_one();
        }
    }

    /// Ends the thread: the tree has ended.
    pub(crate) fn end(&self) {
        lock(&self.schedule).ended = true;
        self.changed.notify_one();
    }

    fn watch<T>(&self, tree: &Weak<T>, tick_if_late: fn(&Arc<T>)) {
        let mut schedule = lock(&self.schedule);
        while !schedule.ended {
            let Some(deadline) = schedule.deadline else {
                schedule = ignore_poison(self.changed.wait(schedule));
                continue;
            };
            let left = (deadline + SLACK).saturating_duration_since(Instant::now());
            if !left.is_zero() {
                schedule = ignore_poison(self.changed.wait_timeout(schedule, left)).0;
                continue;
            }
            schedule.deadline = None;
            drop(schedule);
            let Some(tree) = tree.upgrade() else { return };
            tick_if_late(&tree);
            drop(tree);
            schedule = lock(&self.schedule);
        }
    }
}
