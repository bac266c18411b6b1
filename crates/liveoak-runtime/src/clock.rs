//! The tree's time: nanoseconds since it began, by the clock of the runtime it was started on.
//!
//! The clock of a single-threaded runtime can be paused in tests, but only code inside the runtime's context sees it
//! paused; all others enter the context first. That of any other runtime is the system's monotonic clock.

use liveoak_core::Time;
use std::time::SystemTime;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::time::Instant;

#[derive(Debug)]
pub(crate) struct Clock {
    base: Instant,
    wall: SystemTime,
    handle: Handle,
    /// Whether the clock can be paused.
    pausable: bool,
}

impl Clock {
    /// Begins now. The caller is inside the context of `handle`.
    pub(crate) fn new(handle: Handle) -> Self {
        let pausable = handle.runtime_flavor() != RuntimeFlavor::MultiThread;
        Self { base: Instant::now(), wall: SystemTime::now(), handle, pausable }
    }

    /// The time, asked from anywhere.
    pub(crate) fn now(&self) -> Time {
        let _inside = (self.pausable && !thread_is_ending()).then(|| self.handle.enter());
        self.now_inside()
    }

    /// The time, asked from a task of the tree's own runtime.
    pub(crate) fn now_inside(&self) -> Time {
        // A clock that can be paused is of no use any more on a thread that is ending.
        let paused_or_not = self.pausable && !thread_is_ending();
        let now = if paused_or_not { Instant::now() } else { std::time::Instant::now().into() };
        Time::ZERO.after(now.saturating_duration_since(self.base))
    }

    pub(crate) fn instant(&self, time: Time) -> Instant {
        // Beyond a century nothing waits; `Instant` could overflow.
        const CENTURY: std::time::Duration = std::time::Duration::from_secs(100 * 365 * 24 * 3600);
        self.base + time.since(Time::ZERO).min(CENTURY)
    }

    /// The calendar time of a moment of the tree.
    pub(crate) fn wall(&self, time: Time) -> SystemTime {
        self.wall.checked_add(time.since(Time::ZERO)).unwrap_or(self.wall)
    }

    pub(crate) const fn handle(&self) -> &Handle {
        &self.handle
    }
}

/// Whether this thread's storage is torn down already: no runtime can be entered then.
fn thread_is_ending() -> bool {
    Handle::try_current().is_err_and(|error| error.is_thread_local_destroyed())
}
