//! The time of a tree: nanoseconds since its start, by the clock of the runtime that it was started on.
//!
//! In tests the clock of a single-threaded runtime can be paused, but only code inside the runtime's context sees that.
//! Other code enters the context first. A runtime with several threads uses the system's monotonic clock.

use liveoak_core::Time;
use std::time::SystemTime;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::time::Instant;

#[derive(Debug)]
pub(crate) struct Clock {
    /// The start of the tree on the monotonic clock.
    base: Instant,
    /// The start of the tree in calendar time.
    wall: SystemTime,
    pub(crate) handle: Handle,
    /// `true` if the clock can be paused.
    pausable: bool,
}

impl Clock {
    /// Starts the clock. The caller must be inside the context of `handle`.
    pub(crate) fn new(handle: Handle) -> Self {
        let pausable = handle.runtime_flavor() != RuntimeFlavor::MultiThread;
        Self { base: Instant::now(), wall: SystemTime::now(), handle, pausable }
    }

    /// Returns `true` if the clock can be paused, as in tests.
    pub(crate) const fn is_pausable(&self) -> bool {
        self.pausable
    }

    /// Returns the time. May be called anywhere.
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
        // Later deadlines count as a century from the start: `Instant` could overflow.
        const CENTURY: std::time::Duration = std::time::Duration::from_secs(100 * 365 * 24 * 3600);
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
