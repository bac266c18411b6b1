//! Counts the attempts of a child, independently of the supervisor. Scenarios rely on these counts and not on what a
//! supervisor reports about itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

/// The pause between two checks of a condition.
const CHECK_PAUSE: Duration = Duration::from_millis(5);

/// The number of attempts of one child.
#[derive(Default)]
pub(crate) struct Counter {
    starts: AtomicUsize,
    live: AtomicUsize,
    peak: AtomicUsize,
    done: AtomicUsize,
}

/// Counts as a live attempt until it is dropped.
pub(crate) struct LiveAttempt(Arc<Counter>);

impl Counter {
    /// Returns a counter that the scenario shares with the child.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// Counts the start of an attempt. The attempt counts as live until the returned value is dropped.
    pub(crate) fn enter(self: &Arc<Self>) -> LiveAttempt {
        self.starts.fetch_add(1, SeqCst);
        let live = self.live.fetch_add(1, SeqCst) + 1;
        self.peak.fetch_max(live, SeqCst);
        LiveAttempt(Arc::clone(self))
    }

    /// Counts a finished piece of work.
    pub(crate) fn finish(&self) {
        self.done.fetch_add(1, SeqCst);
    }

    /// Returns how many attempts were started.
    pub(crate) fn starts(&self) -> usize {
        self.starts.load(SeqCst)
    }

    /// Returns how many attempts are live.
    pub(crate) fn live(&self) -> usize {
        self.live.load(SeqCst)
    }

    /// Returns the highest number of attempts that were live at once.
    pub(crate) fn peak(&self) -> usize {
        self.peak.load(SeqCst)
    }

    /// Returns how often work was finished.
    pub(crate) fn done(&self) -> usize {
        self.done.load(SeqCst)
    }
}

impl LiveAttempt {
    /// Returns the number of this attempt, provided that no other attempt has started since.
    pub(crate) fn attempt(&self) -> usize {
        self.0.starts()
    }
}

impl Drop for LiveAttempt {
    fn drop(&mut self) {
        self.0.live.fetch_sub(1, SeqCst);
    }
}

/// Waits until `holds` returns `true`. Returns `false` if that takes longer than `within`.
pub(crate) async fn until(within: Duration, holds: impl Fn() -> bool) -> bool {
    let begun = Instant::now();
    while !holds() {
        if begun.elapsed() > within {
            return false;
        }
        tokio::time::sleep(CHECK_PAUSE).await;
    }
    true
}
