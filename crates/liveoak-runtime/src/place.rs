//! A place of its own for a subtree: a Tokio runtime with its own threads.
//!
//! What blocks or burns there takes no thread from the rest of the tree. The runtime is made before the first child of
//! the subtree starts, and shut down after the last is gone.

use crate::cell::Cell;
use liveoak_core::{Exit, KILL_GRACE};
use std::sync::Arc;
use tokio::runtime::{Builder, Handle};

/// The runtime that a [`Supervisor`](crate::Supervisor) or [`Group`](crate::Group) has for its children.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    threads: usize,
    name: String,
}

impl Place {
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
    pub(crate) fn begin(&self, cell: Arc<Cell>, opened: impl FnOnce(&Arc<Cell>, Handle) + Send + 'static) {
        let place = self.clone();
        let in_thread = Arc::clone(&cell);
        let name: String = self.name.chars().filter(|c| *c != '\0').collect();
        let spawned = std::thread::Builder::new().name(name.clone()).spawn(move || {
            let exit = place.keep(&in_thread, name, opened);
            in_thread.body_ended(exit);
        });
        if let Err(error) = spawned {
            cell.body_ended(Exit::failed(error));
        }
    }

    fn keep(&self, cell: &Arc<Cell>, name: String, opened: impl FnOnce(&Arc<Cell>, Handle)) -> Exit {
        let built =
            Builder::new_multi_thread().worker_threads(self.threads).thread_name(name).enable_all().build();
        let runtime = match built {
            Ok(runtime) => runtime,
            Err(error) => return Exit::failed(error),
        };
        opened(cell, runtime.handle().clone());
        runtime.block_on(cell.stopping());
        // Its children are gone or written off. Half the grace is for what they left behind.
        runtime.shutdown_timeout(KILL_GRACE / 2);
        Exit::Stopped
    }
}
