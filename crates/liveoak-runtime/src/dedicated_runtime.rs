//! A place of its own for a subtree: a Tokio runtime with its own threads.
//!
//! What blocks or burns there takes no thread from the rest of the tree. The runtime is made before the first child of
//! the subtree starts, and shut down after the last is gone.

use crate::cell::Cell;
use crate::panic::catch;
use liveoak_core::{Exit, KILL_WAIT};
use std::io;
use std::sync::{Arc, Mutex, OnceLock};
use tokio::runtime::{Builder, Handle, Runtime};

/// The runtime that a [`Supervisor`](crate::Supervisor) or [`Group`](crate::Group) has for its children.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DedicatedRuntime {
    threads: usize,
    name: String,
}

impl DedicatedRuntime {
    /// A runtime with `threads` worker threads, at least one, called `name` (of which the system shows 15 bytes).
    #[must_use]
    pub fn new(name: impl Into<String>, threads: usize) -> Self {
        Self { threads: threads.max(1), name: name.into() }
    }

    /// How many worker threads it has.
    #[must_use]
    pub const fn threads(&self) -> usize {
        self.threads
    }

    /// Makes the runtime on a thread that keeps it until the cell is asked to stop. `opened` gets its handle.
    pub(crate) fn open(&self, cell: Arc<Cell>, opened: impl FnOnce(&Arc<Cell>, Handle) + Send + 'static) {
        let place = self.clone();
        let in_thread = Arc::clone(&cell);
        let name: String = self.name.chars().filter(|c| *c != '\0').collect();
        let spawned = std::thread::Builder::new().name(name.clone()).spawn(move || {
            let kept = catch(Some("place"), || place.keep(&in_thread, name, opened));
            in_thread.body_ended(kept.unwrap_or_else(|panic| Exit::Panicked(Arc::new(panic))));
        });
        if let Err(error) = spawned {
            cell.body_ended(Exit::failed(error));
        }
    }

    fn keep(&self, cell: &Arc<Cell>, name: String, opened: impl FnOnce(&Arc<Cell>, Handle)) -> Exit {
        let tree = cell.tree.clock.handle();
        let made = try_threads(self.threads).and_then(|()| make(self.threads, move || name.clone(), tree));
        let runtime = match made {
            Ok(runtime) => runtime,
            Err(error) => {
                let what = format!("no place with {} threads: {error}", self.threads);
                return Exit::failed(io::Error::new(error.kind(), what));
            }
        };
        opened(cell, runtime.handle().clone());
        runtime.block_on(cell.stopping());
        // Its children are gone or written off. Half the grace is for what they left behind.
        runtime.shutdown_timeout(KILL_WAIT / 2);
        Exit::Stopped
    }
}

/// Whether so many threads can be had now: begins them side by side, and lets them end again. A runtime that is refused a
/// thread while it is made panics, and loses what it had made by then.
fn try_threads(count: usize) -> io::Result<()> {
    let gate = Mutex::new(());
    std::thread::scope(|scope| {
        let closed = gate.lock();
        let through_the_gate = || drop(gate.lock());
        let begin = |_| std::thread::Builder::new().spawn_scoped(scope, through_the_gate);
        let begun: io::Result<Vec<_>> = (0..count).map(begin).collect();
        drop(closed);
        // Each is waited for, because only what is joined is free for others again.
        begun?.into_iter().try_for_each(|thread| thread.join().map_err(|_| io::ErrorKind::Other.into()))
    })
}

/// Makes the runtime. Panics if it is refused a thread all the same, at once, and without leaving any of its threads
/// behind: they begin their work only when all of it is made. Some descriptors stay behind: Tokio leaks those of a runtime
/// that panicked while it was made.
fn make(
    threads: usize,
    name: impl Fn() -> String + Send + Sync + 'static,
    tree: &Handle,
) -> io::Result<Runtime> {
    let made = Made(Arc::default());
    let ours = Arc::clone(&made.0);
    let begin = move || {
        if !ours.wait() {
            // Ends the thread. There is nothing to say: the panic of who was making the runtime says it.
            std::panic::resume_unwind(Box::new(()));
        }
    };
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(threads).thread_name_fn(name).on_thread_start(begin).enable_all();
    // Tokio lets a panic wait for the threads that are there already, but for ever: nobody tells them to end. Inside
    // a runtime, where nobody may block, it does not wait.
    let runtime = tree.block_on(async { builder.build() })?;
    let _ = made.0.set(true);
    Ok(runtime)
}

/// Whether the runtime was made. Dropped without an answer, it was not.
struct Made(Arc<OnceLock<bool>>);

impl Drop for Made {
    fn drop(&mut self) {
        let _ = self.0.set(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::time::{Duration, Instant};

    /// A thread begins and ends in far less.
    const PATIENCE: Duration = Duration::from_secs(20);

    /// How many threads of this process have this name.
    fn threads(name: &str) -> usize {
        let tasks = std::fs::read_dir("/proc/self/task").expect("the threads").flatten();
        let names = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
        names.filter(|called| called.trim_end() == name).count()
    }

    /// Whether, before long, so many threads have this name.
    fn came_to_be(count: usize, name: &str) -> bool {
        let begun = Instant::now();
        while threads(name) != count {
            if begun.elapsed() > PATIENCE {
                return false;
            }
            std::thread::yield_now();
        }
        true
    }

    #[test]
    fn a_runtime_that_is_refused_its_second_thread_panics_at_once_and_its_first_thread_ends() {
        const NAME: &str = "oak-refused";
        let tree = Builder::new_current_thread().build().expect("a runtime");
        let asked = AtomicUsize::new(0);
        let first_was_there = Arc::new(AtomicBool::new(false));
        let there = Arc::clone(&first_was_there);
        let name = move || match asked.fetch_add(1, Ordering::Relaxed) {
            0 => NAME.to_owned(),
            _ => {
                // A thread gives itself its name when it begins: without waiting for that, it would seem gone.
                there.store(came_to_be(1, NAME), Ordering::Relaxed);
                // The standard library panics at such a name, where Tokio does if the system refuses the thread.
                "\0".to_owned()
            }
        };
        assert!(catch(None, || make(2, name, tree.handle())).is_err());
        assert!(first_was_there.load(Ordering::Relaxed), "the first thread never began");
        assert!(came_to_be(0, NAME), "the first thread lives on");
    }
}
