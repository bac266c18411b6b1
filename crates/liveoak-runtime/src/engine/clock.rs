//! The time of a tree: nanoseconds since its start, by the clock of the runtime that it was started on.
//!
//! In tests the clock of a single-threaded runtime can be paused, but only code inside the runtime's context sees that.
//! Other code enters the context first. A runtime with several threads uses the system's monotonic clock.

use crate::util::lock::lock;
use liveoak_core::{Attempt, ChildId, Time};
use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, SystemTime};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::time::Instant;

const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

#[derive(Debug)]
pub(crate) struct Clock {
    /// The start of the tree on the monotonic clock.
    base: Instant,
    /// The start of the tree in calendar time.
    wall: SystemTime,
    pub(crate) handle: Handle,
    /// `true` if the clock can be paused.
    pausable: bool,
    /// The blocking jobs that hold a paused clock. Each attempt that runs outside of the runtime's tasks has one while it
    /// is being started or stopped. Tokio does not advance a paused clock while a blocking job runs. A job ends when its
    /// sender is dropped. There is at most one job for each live attempt.
    holds: Mutex<HashMap<(ChildId, Attempt), Sender<()>>>,
}

impl Clock {
    /// Starts the clock. The caller must be inside the context of `handle`.
    pub(crate) fn new(handle: Handle) -> Self {
        let pausable = handle.runtime_flavor() != RuntimeFlavor::MultiThread;
        Self { base: Instant::now(), wall: SystemTime::now(), handle, pausable, holds: Mutex::default() }
    }

    /// Returns `true` if the clock is paused, which only tests do.
    pub(crate) fn is_paused(&self) -> bool {
        if !self.pausable || thread_is_ending() {
            return false;
        }
        let _inside = self.handle.enter();
        let (before, real) = (Instant::now(), std::time::Instant::now());
        while real.elapsed().is_zero() {
            std::hint::spin_loop();
        }
        Instant::now() == before
    }

    /// Keeps the paused clock from advancing until [`release`](Self::release), for at most `at_most` of real time.
    pub(crate) fn hold(&self, attempt: (ChildId, Attempt), at_most: Duration) {
        let (sender, receiver) = channel::<()>();
        let held = lock(&self.holds).insert(attempt, sender);
        drop(held);
        let job = move || receiver.recv_timeout(at_most.min(CENTURY)).is_ok();
        drop(self.handle.spawn_blocking(job));
    }

    #[inline]
    pub(crate) fn release(&self, attempt: (ChildId, Attempt)) {
        if self.pausable {
            self.release_if_held(attempt);
        }
    }

    fn release_if_held(&self, attempt: (ChildId, Attempt)) {
        let mut holds = lock(&self.holds);
        // Most attempts do not hold the clock: skip the look-up for them.
        if !holds.is_empty() {
            holds.remove(&attempt);
        }
    }

    pub(crate) fn release_all(&self) {
        lock(&self.holds).clear();
    }

    /// Returns `true` if the clock can be paused, as in tests.
    pub(crate) const fn is_pausable(&self) -> bool {
        self.pausable
    }

    /// Returns the time. May be called anywhere.
    #[inline]
    pub(crate) fn now(&self) -> Time {
        let _inside = (self.pausable && !thread_is_ending()).then(|| self.handle.enter());
        self.now_inside()
    }

    /// Returns the time. May be called from tasks of the tree's own runtime, because it does not enter the runtime.
    pub(crate) fn now_inside(&self) -> Time {
        // On a thread that is ending, the paused clock cannot be read.
        let now = if self.pausable && !thread_is_ending() {
            Instant::now()
        } else {
            std::time::Instant::now().into()
        };
        Time::ZERO.after(now.saturating_duration_since(self.base))
    }

    /// Returns the moment of Tokio's clock at `time`.
    pub(crate) fn instant(&self, time: Time) -> Instant {
        // Deadlines more than a century after the start count as a century, because `Instant` could overflow.
        self.base + time.since(Time::ZERO).min(CENTURY)
    }

    pub(crate) fn wall(&self, time: Time) -> SystemTime {
        self.wall.checked_add(time.since(Time::ZERO)).unwrap_or(self.wall)
    }
}

/// Returns `true` if this thread's local storage is torn down. Such a thread can enter no runtime.
fn thread_is_ending() -> bool {
    Handle::try_current().is_err_and(|error| error.is_thread_local_destroyed())
}
