//! A thread that sees to it that deadlines are kept when the runtime's own threads do not.
//!
//! Code that never yields takes a worker of its runtime away, and with it, sometimes, the tree's task or the only
//! thread that looks at timers: Tokio's workers do not hand these over. But that is just when a heartbeat or a stop
//! deadline has to act. So one thread per tree sleeps until the earliest deadline *and a little longer*, and tells the
//! machine the time if nobody has. When all is well it finds nothing to do.
//!
//! Only for runtimes with several threads. One with a single thread stands still as a whole when its thread is
//! blocked, and only such a one can have its time paused in tests.

use crate::driver::Shared;
use liveoak_core::Time;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

/// How late a deadline may be kept before the watchdog does it. Rare enough to cost nothing, and little compared
/// with the seconds that deadlines are made of.
pub(crate) const SLACK: Duration = Duration::from_millis(100);

pub(crate) struct Watchdog {
    state: Mutex<State>,
    news: Condvar,
}

struct State {
    /// The deadline after which it looks.
    target: Time,
    /// Whether the tree has ended.
    over: bool,
}

impl Watchdog {
    pub(crate) const fn new() -> Self {
        Self { state: Mutex::new(State { target: Time::NEVER, over: false }), news: Condvar::new() }
    }

    /// Begins to watch over a tree. Without a thread the tree relies on its runtime.
    pub(crate) fn begin(tree: &Arc<Shared>) {
        let (watched, dog) = (Arc::downgrade(tree), Arc::clone(&tree.watchdog));
        let name = "liveoak-clock".to_owned();
        let _thread = std::thread::Builder::new().name(name).spawn(move || dog.watch(&watched));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something is due at `deadline`.
    pub(crate) fn expect(&self, deadline: Time) {
        let mut state = self.state();
        if deadline < state.target {
            state.target = deadline;
            drop(state);
            self.news.notify_one();
        }
    }

    /// The tree has ended.
    pub(crate) fn end(&self) {
        self.state().over = true;
        self.news.notify_one();
    }

    fn watch(&self, tree: &Weak<Shared>) {
        let mut state = self.state();
        while !state.over {
            if state.target == Time::NEVER {
                state = self.news.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let Some(tree) = tree.upgrade() else { return };
            let due = tree.clock.instant(state.target).into_std() + SLACK;
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() {
                state.target = Time::NEVER;
                drop(state);
                tree.keep_deadlines();
                drop(tree);
                state = self.state();
            } else {
                drop(tree);
                state = self.news.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
            }
        }
    }
}
