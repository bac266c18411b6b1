//! Whether code of an attempt is running now. Only attempts that must give heartbeats keep count. Polls of attempts with
//! a poll limit are noted elsewhere ([`polls`](crate::attempt::polls)).
//!
//! An attempt that misses a heartbeat is stuck, unless its runtime had no free thread for it. An attempt whose code
//! runs at this moment has a thread, so it is judged immediately. For any other attempt, a task on the same runtime
//! shows whether the runtime still runs tasks (`engine/heartbeat.rs`).

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU16, Ordering};

/// The polls have a limit, which has no number.
const NO_NUMBER: u8 = u8::MAX;

pub(crate) struct Activity {
    /// `true` if the attempt must give heartbeats.
    watched: bool,
    /// The number of the limit of its polls: 0 if they have none, and [`NO_NUMBER`] before it has one, and when the attempt is
    /// over.
    limit: AtomicU8,
    /// A task that shows whether the runtime runs tasks was spawned, and has not run yet.
    probed: AtomicBool,
    /// How many tasks of the attempt are being polled now.
    polls: AtomicU16,
}

impl Activity {
    pub(crate) const fn new(watched: bool, limited: bool) -> Self {
        let limit = AtomicU8::new(if limited { NO_NUMBER } else { 0 });
        Self { watched, limit, probed: AtomicBool::new(false), polls: AtomicU16::new(0) }
    }

    pub(crate) fn has_poll_limit(&self) -> bool {
        self.limit.load(Ordering::Relaxed) != 0
    }

    /// Keeps the number of the limit, of which the attempt is a user from now on.
    pub(crate) fn use_limit(&self, number: u8) {
        self.limit.store(number, Ordering::Relaxed);
    }

    /// Returns the number of the limit once, when the attempt is over.
    pub(crate) fn give_back_limit(&self) -> Option<u8> {
        let number = if self.has_poll_limit() { self.limit.swap(NO_NUMBER, Ordering::Relaxed) } else { 0 };
        (number != 0 && number != NO_NUMBER).then_some(number)
    }

    /// Notes that code of the attempt runs until [`leave`](Self::leave).
    pub(crate) fn enter(&self) {
        if self.watched {
            self.polls.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn leave(&self) {
        if self.watched {
            self.polls.fetch_sub(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn is_running(&self) -> bool {
        self.polls.load(Ordering::Relaxed) > 0
    }

    /// Notes that a probe is about to be spawned. Returns `false` if the last probe has not run yet.
    pub(crate) fn begin_probe(&self) -> bool {
        !self.probed.swap(true, Ordering::Relaxed)
    }

    pub(crate) fn end_probe(&self) {
        self.probed.store(false, Ordering::Relaxed);
    }
}
