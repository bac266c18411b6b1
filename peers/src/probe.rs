//! Counts what really lives. A scenario believes these numbers, and nothing that a supervisor says about itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

/// How often a number is looked at by who waits for it.
const LOOK: Duration = Duration::from_millis(5);

/// The attempts of one child.
#[derive(Default)]
pub(crate) struct Probe {
    starts: AtomicUsize,
    live: AtomicUsize,
    peak: AtomicUsize,
    done: AtomicUsize,
}

/// Alive as long as it exists.
pub(crate) struct Alive(Arc<Probe>);

impl Probe {
    /// A probe that is shared with the child.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// Called by an attempt when it begins; what it returns counts as alive until it is dropped.
    pub(crate) fn enter(self: &Arc<Self>) -> Alive {
        self.starts.fetch_add(1, SeqCst);
        let live = self.live.fetch_add(1, SeqCst) + 1;
        self.peak.fetch_max(live, SeqCst);
        Alive(Arc::clone(self))
    }

    /// Called by what has finished its work.
    pub(crate) fn finish(&self) {
        self.done.fetch_add(1, SeqCst);
    }

    /// How many attempts were begun.
    pub(crate) fn starts(&self) -> usize {
        self.starts.load(SeqCst)
    }

    /// How many are alive.
    pub(crate) fn live(&self) -> usize {
        self.live.load(SeqCst)
    }

    /// How many were alive at once, at most.
    pub(crate) fn peak(&self) -> usize {
        self.peak.load(SeqCst)
    }

    /// How often work was finished.
    pub(crate) fn done(&self) -> usize {
        self.done.load(SeqCst)
    }
}

impl Alive {
    /// The number of this attempt, if no other has begun since.
    pub(crate) fn attempt(&self) -> usize {
        self.0.starts()
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.live.fetch_sub(1, SeqCst);
    }
}

/// Waits until something holds; false if it does not within the time.
pub(crate) async fn until(within: Duration, holds: impl Fn() -> bool) -> bool {
    let begun = Instant::now();
    while !holds() {
        if begun.elapsed() > within {
            return false;
        }
        tokio::time::sleep(LOOK).await;
    }
    true
}
