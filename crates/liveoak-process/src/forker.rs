//! The threads that fork, one at a time. A fork that hangs does not block later forks.
//!
//! A fork waits until the new process has executed its program. This can take forever if the file system of the program
//! or of its directory stops answering after the look-up. In this case another thread takes over the forks that wait.
//!
//! 1. No thread ever ends: the kernel kills a process when the *thread* that forked it ends (`PR_SET_PDEATHSIG`).
//! 2. At most one thread forks, apart from those that hang. So a process that hangs before its exec has no copies of
//!    the pipes of a later fork, and does not delay that fork.
//! 3. A thread that no longer hangs waits until it is needed again.

use crate::log::catch;
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a fork may take before another thread takes over the forks that wait.
const STALL: Duration = Duration::from_secs(1);

/// The most threads. If all of them hang, further forks wait.
const MAX_FORKERS: usize = 64;

/// A fork, and the work that follows it on the same thread.
pub(crate) type Fork = Box<dyn FnOnce() + Send>;

/// The threads that fork, and the forks that wait for them.
pub(crate) struct Forkers {
    queue: Arc<TurnQueue>,
    stall: Duration,
}

#[derive(Default)]
struct TurnQueue {
    turns: Mutex<Turns>,
    changed: Condvar,
}

#[derive(Default)]
struct Turns {
    waiting: VecDeque<Fork>,
    /// The number of the thread that takes the next fork.
    active: usize,
    /// Since when that thread has been in a fork.
    busy_since: Option<Instant>,
    /// The threads that no longer hang.
    idle: Vec<usize>,
    threads: usize,
}

impl Forkers {
    /// Starts the first thread.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub(crate) fn start() -> io::Result<Forkers> {
        let forkers = Forkers { queue: Arc::default(), stall: STALL };
        forkers.start_thread(0)?;
        forkers.turns().threads = 1;
        Ok(forkers)
    }

    fn start_thread(&self, number: usize) -> io::Result<()> {
        let queue = Arc::clone(&self.queue);
        let run = move || queue.run(number);
        std::thread::Builder::new().name("liveoak-fork".into()).spawn(run).map(drop)
    }

    fn turns(&self) -> MutexGuard<'_, Turns> {
        self.queue.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the next free thread run `fork`.
    pub(crate) fn submit(&self, fork: Fork) {
        self.turns().waiting.push_back(fork);
        self.queue.changed.notify_all();
    }

    /// Lets another thread take over if the present one hangs and forks wait. Returns the time until the next call is
    /// due, or `None` if no fork waits.
    pub(crate) fn go_on(&self) -> Option<Duration> {
        let mut turns = self.turns();
        if turns.waiting.is_empty() {
            return None;
        }
        let left = turns.busy_since.map_or(self.stall, |since| self.stall.saturating_sub(since.elapsed()));
        if !left.is_zero() {
            return Some(left);
        }
        let next = turns.idle.pop().or_else(|| {
            let number = turns.threads;
            (number < MAX_FORKERS && self.start_thread(number).is_ok()).then(|| {
                turns.threads += 1;
                number
            })
        });
        if let Some(next) = next {
            (turns.active, turns.busy_since) = (next, None);
            drop(turns);
            self.queue.changed.notify_all();
        }
        Some(self.stall)
    }
}

impl TurnQueue {
    /// Runs one fork after another while it is the turn of this thread. Never returns.
    fn run(&self, number: usize) {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let fork = if turns.active == number { turns.waiting.pop_front() } else { None };
            let Some(fork) = fork else {
                turns = self.changed.wait(turns).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            turns.busy_since = Some(Instant::now());
            drop(turns);
            catch(fork);
            turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
            if turns.active == number {
                turns.busy_since = None;
            } else {
                turns.idle.push(number);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::thread::{ThreadId, current};

    fn forkers() -> Forkers {
        Forkers { stall: Duration::from_millis(20), ..Forkers::start().expect("a thread") }
    }

    /// Submits a fork that sends the id of its thread and then hangs until the returned sender is dropped.
    fn hangs(forkers: &Forkers) -> (Sender<()>, Receiver<ThreadId>) {
        let ((release, released), (begins, begun)) = (channel::<()>(), channel());
        forkers.submit(Box::new(move || {
            let _ = begins.send(current().id());
            let _ = released.recv();
        }));
        (release, begun)
    }

    /// Calls `go_on` as the spawner thread does, until a message comes.
    fn next(forkers: &Forkers, receiver: &Receiver<ThreadId>) -> ThreadId {
        loop {
            let wait = forkers.go_on().unwrap_or(Duration::from_millis(1));
            if let Ok(thread) = receiver.recv_timeout(wait) {
                return thread;
            }
        }
    }

    #[test]
    fn another_thread_takes_over_when_a_fork_hangs() {
        let forkers = forkers();
        let (release, begun) = hangs(&forkers);
        let first = next(&forkers, &begun);
        let (quick, begun) = hangs(&forkers);
        drop(quick);
        let second = next(&forkers, &begun);
        assert_ne!(first, second);
        // A thread that no longer hangs is used again, so no third thread is started.
        drop(release);
        while forkers.turns().idle.is_empty() {
            std::thread::yield_now();
        }
        let (_hangs, begun) = hangs(&forkers);
        assert_eq!(next(&forkers, &begun), second);
        let (_hangs_too, begun) = hangs(&forkers);
        assert_eq!(next(&forkers, &begun), first);
    }

    #[test]
    fn no_more_threads_than_the_limit_are_started_although_all_forks_hang() {
        let forkers = forkers();
        let hanging: Vec<_> = (0..MAX_FORKERS)
            .map(|_| {
                let (release, begun) = hangs(&forkers);
                next(&forkers, &begun);
                release
            })
            .collect();
        let (_waits, begun) = hangs(&forkers);
        for _ in 0..3 {
            forkers.go_on();
            assert!(begun.recv_timeout(Duration::from_millis(30)).is_err());
        }
        drop(hanging);
        next(&forkers, &begun);
    }

    #[test]
    fn a_fork_that_panics_does_not_end_its_thread() {
        let (forkers, (begins, begun)) = (forkers(), channel());
        forkers.submit(Box::new(move || {
            let _ = begins.send(current().id());
            panic!("raised by the test");
        }));
        let first = next(&forkers, &begun);
        // After the panic, the thread takes the next fork itself: no other thread has to take over.
        let (_release, begun) = hangs(&forkers);
        assert_eq!(begun.recv_timeout(Duration::from_secs(60)), Ok(first));
    }
}
