//! A thread that keeps the deadlines of a tree when the runtime's own threads do not.
//!
//! Code that never yields blocks a worker of its runtime. It may block the worker of the timer task, or the only thread
//! that polls Tokio's timers; Tokio does not move these to another thread. Yet just then a heartbeat or a stop deadline
//! has to act. So one thread per tree sleeps until the earliest deadline *and a little longer*, and gives the machine
//! the time if the timer task has not. Normally it finds nothing to do.
//!
//! Only for runtimes with several threads. A runtime with a single thread stands still as a whole when its thread is
//! blocked, and only such a runtime can have its clock paused in tests.

use crate::util::lock::{ignore_poison, lock};
use liveoak_core::Time;
use std::sync::{Arc, Condvar, Mutex, Weak};
use std::time::{Duration, Instant};

/// How late a deadline may be kept before the watchdog acts. Late enough to be rare, and little compared with the
/// seconds that deadlines are made of.
pub(crate) const SLACK: Duration = Duration::from_millis(100);

/// A tree with deadlines.
pub(crate) trait Watched: Send + Sync + 'static {
    /// Returns the moment of a deadline.
    fn instant(&self, deadline: Time) -> Instant;

    /// Does the work of the timer task if it is late, and sets the next deadline of the watchdog.
    fn tick_if_late(self: &Arc<Self>);
}

/// Shared by a tree and its watchdog thread.
pub(crate) struct Watchdog {
    schedule: Mutex<Schedule>,
    changed: Condvar,
}

/// What the thread waits for.
struct Schedule {
    /// The thread checks the tree a little after this deadline.
    deadline: Time,
    /// `true` if the tree has ended.
    ended: bool,
}

impl Watchdog {
    pub(crate) const fn new() -> Self {
        Self {
            schedule: Mutex::new(Schedule { deadline: Time::NEVER, ended: false }),
            changed: Condvar::new(),
        }
    }

    /// Starts the thread. If the system refuses it, the tree relies on its runtime.
    pub(crate) fn start<T: Watched>(watchdog: Arc<Self>, tree: Weak<T>) {
        let name = "liveoak-watchdog".to_owned();
        let _thread = std::thread::Builder::new().name(name).spawn(move || watchdog.watch(&tree));
    }

    /// Tells the thread that something is due at `deadline`.
    pub(crate) fn set_deadline(&self, deadline: Time) {
        let mut schedule = lock(&self.schedule);
        if deadline < schedule.deadline {
            schedule.deadline = deadline;
            drop(schedule);
            self.changed.notify_one();
        }
    }

    /// Ends the thread: the tree has ended.
    pub(crate) fn end(&self) {
        lock(&self.schedule).ended = true;
        self.changed.notify_one();
    }

    fn watch<T: Watched>(&self, tree: &Weak<T>) {
        let mut schedule = lock(&self.schedule);
        while !schedule.ended {
            if schedule.deadline == Time::NEVER {
                schedule = ignore_poison(self.changed.wait(schedule));
                continue;
            }
            let Some(tree) = tree.upgrade() else { return };
            let due = tree.instant(schedule.deadline) + SLACK;
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() {
                schedule.deadline = Time::NEVER;
                drop(schedule);
                tree.tick_if_late();
                drop(tree);
                schedule = lock(&self.schedule);
            } else {
                drop(tree);
                schedule = ignore_poison(self.changed.wait_timeout(schedule, left)).0;
            }
        }
    }
}
