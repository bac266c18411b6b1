//! Limits of the system: too few threads, descriptors, or too little memory.
//!
//! A message about missing threads must not itself need a thread. So [`check_resources`] comes first: it
//! needs no other thread, and its error is one sentence.

use crate::util::lock::lock;
use std::io;
use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::time::Duration;
use tokio::runtime::{Builder, Handle, Runtime};

/// The threads of a tree in addition to the workers of the runtime: for messages, signals, the log, the watchdog, the watch of
/// polls, destructors and the end of the tree.
pub const THREADS_OF_A_TREE: usize = 7;

/// The memory that a small tree needs at least, in addition to the stacks of its threads.
const LEAST_MEMORY: usize = 4 * 1024 * 1024;

/// The file descriptors that a runtime and the signals need. Tokio panics if it is refused some of them.
const LEAST_DESCRIPTORS: usize = 10;

/// How often, and how long each time, the check waits for joined threads. They still count against the limit for a
/// moment.
const SETTLE_LOOKS: u32 = 100;
const SETTLE_PAUSE: Duration = Duration::from_millis(1);

/// Returns what the system lacks, as a sentence with the error itself.
#[must_use]
pub fn shortage(error: &io::Error) -> String {
    let missing = match error.raw_os_error() {
        Some(libc::EAGAIN) => {
            "no further thread or process is allowed (see `ulimit -u`, and pids.max of the cgroup), or there is no memory for it \
             (see `ulimit -v`)"
        }
        Some(libc::EMFILE) => "this process has no file descriptor left (see `ulimit -n`)",
        Some(libc::ENFILE) => "this machine has no file descriptor left (see /proc/sys/fs/file-max)",
        Some(libc::ENOMEM) => "there is not enough memory (see `ulimit -v`, and memory.max of the cgroup)",
        _ if error.kind() == io::ErrorKind::OutOfMemory => "there is not enough memory (see `ulimit -v`)",
        _ => return error.to_string(),
    };
    format!("{missing}: {error}")
}

/// Checks that the system grants the memory and the threads that a program needs: `workers` threads of the runtime (by
/// default as many as Tokio makes), and `others`.
///
/// # Errors
/// Returns a sentence that says what is missing.
pub fn check_resources(workers: Option<usize>, others: usize) -> Result<(), String> {
    let refused = |error: io::Error| format!("cannot start: {}", shortage(&error));
    let mut memory = Vec::<u8>::new();
    memory
        .try_reserve_exact(LEAST_MEMORY)
        .map_err(|_| refused(io::Error::from(io::ErrorKind::OutOfMemory)))?;
    let open = |_| std::fs::File::open("/dev/null");
    let descriptors: io::Result<Vec<_>> = (0..LEAST_DESCRIPTORS).map(open).collect();
    drop(descriptors.map_err(|error| match error.raw_os_error() {
        Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM) => refused(error),
        _ => format!(
            "cannot start: cannot open /dev/null: {error}. A chroot or a container without it can create it: \
             `mknod -m 666 /dev/null c 1 3`"
        ),
    })?);
    try_threads(workers.unwrap_or_else(default_workers) + others).map_err(refused)
}

/// Creates the runtime of a program. Call [`check_resources`] before.
///
/// # Errors
/// Returns a sentence that says what is missing.
pub fn create_runtime(workers: Option<usize>) -> Result<Runtime, String> {
    let refused = |error: io::Error| format!("cannot start the Tokio runtime: {}", shortage(&error));
    // If the creation of a runtime panics, Tokio waits for the threads of that runtime, which never end. Inside another
    // runtime it does not wait, because blocking is forbidden there. So the runtime is created inside `outer`.
    let outer = Builder::new_current_thread().build().map_err(refused)?;
    let mut builder = Builder::new_multi_thread();
    if let Some(number) = workers {
        builder.worker_threads(number.max(1));
    }
    let create = || outer.block_on(async { builder.enable_all().build() });
    match catch_unwind(AssertUnwindSafe(create)) {
        Ok(runtime) => runtime.map_err(refused),
        // The caller is inside a runtime, where dropping `outer` would panic.
        Err(_) if Handle::try_current().is_ok() => {
            outer.shutdown_background();
            Err("a program's main was called inside a Tokio runtime, for example under #[tokio::main]. Call it from a plain \
                 `fn main`, or use `supervisor.run().await` here"
                .to_owned())
        }
        // Another process has taken them since the check.
        Err(_) => {
            Err("cannot start the Tokio runtime: the system refused it a thread or a file descriptor"
                .to_owned())
        }
    }
}

/// Returns how many worker threads Tokio makes by default.
fn default_workers() -> usize {
    let wanted = std::env::var("TOKIO_WORKER_THREADS").ok().and_then(|number| number.parse().ok());
    wanted.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, NonZero::get))
}

/// Checks that the system grants `count` threads now: starts them side by side, and lets them end again. The check
/// comes first because Tokio panics when it is refused a thread while it creates a runtime, and leaks what it had
/// created.
///
/// # Errors
/// Returns the error of the system.
pub(crate) fn try_threads(count: usize) -> io::Result<()> {
    let (gate, before) = (Mutex::new(()), threads_now());
    let tried = std::thread::scope(|scope| {
        // Lets each thread wait until all have started.
        let closed = lock(&gate);
        let start = |_| std::thread::Builder::new().spawn_scoped(scope, || drop(lock(&gate)));
        let started: io::Result<Vec<_>> = (0..count).map(start).collect();
        drop(closed);
        started?.into_iter().try_for_each(|thread| thread.join().map_err(|_| io::ErrorKind::Other.into()))
    });
    // A thread that was joined still counts against the limit for a moment.
    for _ in 0..SETTLE_LOOKS {
        if threads_now() <= before {
            break;
        }
        std::thread::sleep(SETTLE_PAUSE);
    }
    tried
}

/// Returns how many threads this process has; 0 if that is not known.
fn threads_now() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_shortage_is_one_sentence_that_says_what_is_missing_and_where_its_limit_is() {
        let table = [
            (libc::EAGAIN, "thread or process", "ulimit -u"),
            (libc::EMFILE, "file descriptor", "ulimit -n"),
            (libc::ENFILE, "file descriptor", "file-max"),
            (libc::ENOMEM, "memory", "ulimit -v"),
        ];
        for (errno, missing, limit) in table {
            let text = shortage(&io::Error::from_raw_os_error(errno));
            assert!(text.contains(missing) && text.contains(limit) && !text.contains('\n'), "{text}");
            assert!(text.ends_with(&format!("(os error {errno})")), "{text}");
        }
        let other = io::Error::from_raw_os_error(libc::EINVAL);
        assert_eq!(shortage(&other), other.to_string());
    }

    #[test]
    fn a_check_for_more_threads_than_any_system_grants_fails_and_a_small_one_does_not() {
        assert!(try_threads(3).is_ok());
        assert!(check_resources(Some(1), THREADS_OF_A_TREE).is_ok());
        assert!(create_runtime(Some(1)).is_ok());
    }
}
