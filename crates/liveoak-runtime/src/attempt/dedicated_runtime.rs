//! A Tokio runtime of its own for a subtree, with its own threads.
//!
//! Code that blocks or computes there takes no thread from the rest of the tree. The runtime is created before the
//! first child of the subtree starts, and shut down after the last child has ended or was abandoned. The runtime lives as
//! long as one attempt of the supervisor. The supervisor is ready when its children are ready. The runtime has ended when
//! all its threads have ended. If a blocking call takes longer than the stop, the supervisor is abandoned and reported.
//!
//! A separate thread creates and drops the runtime, because the creation can block, and the drop must not happen on a
//! worker thread.

use crate::attempt::cell::{AttemptCell, AttemptListener};
use crate::attempt::panic::catch_exit;
use crate::util::limits::try_threads;
use crate::util::lock::{ignore_poison, lock};
use liveoak_core::{Exit, KILL_WAIT};
use std::io;
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::LocalSet;

/// Settings of the Tokio runtime that a [`Supervisor`](crate::Supervisor) or [`Group`](crate::Group) has for its
/// children.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DedicatedRuntime {
    /// `None` for a runtime whose only thread runs all tasks.
    workers: Option<usize>,
    name: String,
}

impl DedicatedRuntime {
    /// Describes a runtime with `threads` worker threads, at least one. The threads are called `name`, of which the
    /// system shows 15 bytes.
    #[must_use]
    pub fn new(name: impl Into<String>, threads: usize) -> Self {
        Self { workers: Some(threads.max(1)), name: name.into() }
    }

    /// Describes a runtime of one thread that runs all tasks, called `name`. Children that are not `Send`
    /// ([`Child::local`](crate::Child::local)) need such a runtime above them. A task that blocks there blocks all children
    /// of the runtime.
    #[must_use]
    pub fn one_thread(name: impl Into<String>) -> Self {
        Self { workers: None, name: name.into() }
    }

    /// Returns the number of worker threads.
    #[must_use]
    pub const fn threads(&self) -> usize {
        match self.workers {
            Some(workers) => workers,
            None => 1,
        }
    }

    pub(crate) const fn is_one_thread(&self) -> bool {
        self.workers.is_none()
    }

    /// Creates the runtime on a thread that keeps it until the cell is asked to stop. `opened` receives the handle.
    /// `tree` is the runtime of the tree.
    pub(crate) fn open<T: AttemptListener>(
        self,
        cell: Arc<AttemptCell<T>>,
        tree: Handle,
        opened: impl FnOnce(&Arc<AttemptCell<T>>, Handle) + Send + 'static,
    ) {
        let in_thread = Arc::clone(&cell);
        cell.tree.runs_outside(&cell);
        let name: String = self.name.chars().filter(|c| *c != '\0').collect();
        let spawned = std::thread::Builder::new().name(name.clone()).spawn(move || {
            let exit = catch_exit(Some("dedicated runtime"), || {
                self.serve(&in_thread, name, &tree, |handle| opened(&in_thread, handle))
            });
            in_thread.body_ended(exit);
        });
        if let Err(error) = spawned {
            cell.body_ended(Exit::failed(error));
        }
    }

    /// Runs on the thread of the runtime, from its creation to its shutdown.
    fn serve<T: AttemptListener>(
        &self,
        cell: &AttemptCell<T>,
        name: String,
        tree: &Handle,
        opened: impl FnOnce(Handle),
    ) -> Exit {
        let threads = Arc::new(Threads::default());
        let created = match self.workers {
            Some(workers) => {
                try_threads(workers).and_then(|()| create(workers, move || name.clone(), &threads, tree))
            }
            None => create_for_this_thread(move || name.clone(), &threads),
        };
        let runtime = match created {
            Ok(runtime) => runtime,
            Err(error) => {
                let what = format!("no dedicated runtime with {} threads: {error}", self.threads());
                return Exit::failed(io::Error::new(error.kind(), what));
            }
        };
        if self.is_one_thread() {
            let local = LocalSet::new();
            // On this thread, the tasks of the runtime can spawn tasks that are not `Send`.
            let _inside = local.enter();
            opened(runtime.handle().clone());
            local.block_on(&runtime, cell.orders.stopping());
        } else {
            opened(runtime.handle().clone());
            runtime.block_on(cell.orders.stopping());
        }
        // The children have ended or are abandoned. Tasks that they left behind get half of `KILL_WAIT`.
        runtime.shutdown_timeout(KILL_WAIT / 2);
        // A call that blocks, in a child that was abandoned or by `tokio::task::spawn_blocking`, keeps its thread. The
        // runtime ends only after this call; the stop deadline of the supervisor bounds the wait.
        threads.wait_until_all_ended();
        Exit::Stopped
    }
}

/// Counts the live threads of a runtime.
#[derive(Default)]
struct Threads {
    live: Mutex<usize>,
    ended: Condvar,
}

impl Threads {
    fn begun(&self) {
        *lock(&self.live) += 1;
    }

    fn one_ended(&self) {
        let mut live = lock(&self.live);
        *live = live.saturating_sub(1);
        drop(live);
        self.ended.notify_all();
    }

    fn wait_until_all_ended(&self) {
        let mut live = lock(&self.live);
        while *live > 0 {
            live = ignore_poison(self.ended.wait(live));
        }
    }
}

/// Creates a runtime whose tasks run on the calling thread. Only its blocking calls have other threads.
fn create_for_this_thread(
    name: impl Fn() -> String + Send + Sync + 'static,
    live: &Arc<Threads>,
) -> io::Result<Runtime> {
    let (begun, ended) = (Arc::clone(live), Arc::clone(live));
    let mut builder = Builder::new_current_thread();
    builder.thread_name_fn(name).enable_all();
    builder.on_thread_start(move || begun.begun()).on_thread_stop(move || ended.one_ended());
    builder.build()
}

/// Creates the runtime. Panics if the system refuses a thread after all. The panic comes immediately, and leaves no
/// thread behind, because the threads begin their work only when the runtime is complete. In this case Tokio leaks some
/// file descriptors.
fn create(
    threads: usize,
    name: impl Fn() -> String + Send + Sync + 'static,
    live: &Arc<Threads>,
    tree: &Handle,
) -> io::Result<Runtime> {
    let created = Created(Arc::default());
    let for_threads = Arc::clone(&created.0);
    let (begun, ended) = (Arc::clone(live), Arc::clone(live));
    let begin = move || {
        if !for_threads.wait() {
            // Ends the thread without a message: the panic of the creating thread is the message.
            std::panic::resume_unwind(Box::new(()));
        }
        begun.begun();
    };
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(threads).thread_name_fn(name).enable_all();
    builder.on_thread_start(begin).on_thread_stop(move || ended.one_ended());
    // If the creation of a runtime panics, Tokio waits for the threads of that runtime, which never end. Inside another
    // runtime it does not wait, because blocking is forbidden there. So the runtime is created inside that of the tree.
    let runtime = tree.block_on(async { builder.build() })?;
    let _ = created.0.set(true);
    Ok(runtime)
}

/// Tells the threads of a runtime whether its creation succeeded. If it is dropped before that, the creation has failed.
struct Created(Arc<OnceLock<bool>>);

impl Drop for Created {
    fn drop(&mut self) {
        let _ = self.0.set(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attempt::panic::catch;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::time::{Duration, Instant};

    /// Longer than a thread takes to start and to end.
    const TIMEOUT: Duration = Duration::from_secs(20);

    /// Returns the number of threads of this process with this name.
    fn threads(name: &str) -> usize {
        let tasks = std::fs::read_dir("/proc/self/task").expect("the threads").flatten();
        let names = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
        names.filter(|called| called.trim_end() == name).count()
    }

    /// Returns `true` as soon as `count` threads have this name, and `false` after a timeout.
    fn comes_to_be(count: usize, name: &str) -> bool {
        let begun = Instant::now();
        while threads(name) != count {
            if begun.elapsed() > TIMEOUT {
                return false;
            }
            std::thread::yield_now();
        }
        true
    }

    #[test]
    fn without_a_second_thread_the_creation_of_a_runtime_panics_and_the_first_thread_ends() {
        const NAME: &str = "oak-refused";
        let tree = Builder::new_current_thread().build().expect("a runtime");
        let asked = AtomicUsize::new(0);
        let first_was_there = Arc::new(AtomicBool::new(false));
        let there = Arc::clone(&first_was_there);
        let name = move || match asked.fetch_add(1, Ordering::Relaxed) {
            0 => NAME.to_owned(),
            _ => {
                // A thread sets its own name when it starts: before that, the count would miss it.
                there.store(comes_to_be(1, NAME), Ordering::Relaxed);
                // The standard library panics at such a name, at the point where Tokio panics if the system refuses a
                // thread.
                "\0".to_owned()
            }
        };
        assert!(catch(None, || create(2, name, &Arc::default(), tree.handle())).is_err());
        assert!(first_was_there.load(Ordering::Relaxed), "the first thread never began");
        assert!(comes_to_be(0, NAME), "the first thread lives on");
    }
}
