//! The open tries of checks: each is a task beside its attempt, and ends with it at the latest.

use crate::attempt::body::Try;
use crate::attempt::cell::{AttemptCell, AttemptListener};
use crate::engine::driver::{LiveAttempt, TreeInner};
use crate::engine::state::{ChildEntry, TreeState};
use crate::util::lock::lock;
use liveoak_core::{Attempt, ChildId, Input};
use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

/// The open tries of one attempt: the index of the check, and the handle that aborts the try.
type Tries = Vec<(u32, AbortHandle)>;

/// The open tries of a tree, by attempt.
#[derive(Default)]
pub(crate) struct OpenTries {
    /// `true` once any check was tried. Trees without checks do not take the lock.
    any: AtomicBool,
    by_attempt: Mutex<HashMap<(ChildId, Attempt), Tries>>,
}

impl OpenTries {
    /// Notes a try. It replaces the previous try of its check, which has ended.
    fn add(&self, cell: &LiveAttempt, index: u32, task: AbortHandle) {
        self.any.store(true, Ordering::SeqCst);
        let mut by_attempt = lock(&self.by_attempt);
        let tries = by_attempt.entry((cell.id, cell.attempt)).or_default();
        match tries.iter_mut().find(|(of, _)| *of == index) {
            Some((_, before)) => *before = task,
            None => tries.push((index, task)),
        }
    }

    /// Ends the tries of an attempt, or one of them.
    #[inline]
    pub(crate) fn end(&self, id: ChildId, attempt: Attempt, index: Option<u32>) {
        if self.any.load(Ordering::SeqCst) {
            self.end_some(id, attempt, index);
        }
    }

    fn end_some(&self, id: ChildId, attempt: Attempt, index: Option<u32>) {
        let mut by_attempt = lock(&self.by_attempt);
        let ended = match index {
            Some(index) => by_attempt
                .get(&(id, attempt))
                .into_iter()
                .flatten()
                .filter(|(of, _)| *of == index)
                .cloned()
                .collect(),
            None => by_attempt.remove(&(id, attempt)).unwrap_or_default(),
        };
        // A task that is aborted after the end of its runtime is dropped here, and runs code of the user.
        drop(by_attempt);
        ended.iter().for_each(|(_, task)| task.abort());
    }
}

/// A try that has begun.
pub(crate) struct BegunTry<T> {
    pub(crate) cell: Arc<AttemptCell<T>>,
    pub(crate) ask: Try,
    pub(crate) index: u32,
    pub(crate) number: u64,
    /// The runtime of the attempt; `None` for that of the tree.
    pub(crate) handle: Option<Handle>,
}

impl<T: AttemptListener> TreeState<T> {
    /// Returns a try of a check of a live attempt. No code of the user runs yet.
    pub(crate) fn new_try(
        &self,
        id: ChildId,
        attempt: Attempt,
        index: u32,
        number: u64,
    ) -> Option<BegunTry<T>> {
        let cell = self.live_cell(id, attempt)?;
        let body = match self.children.get(id.slot)? {
            ChildEntry::Leaf { body, .. } => Arc::clone(body),
            ChildEntry::Supervisor { .. } | ChildEntry::Vacant => return None,
        };
        let handle = if cell.on_tree_runtime { None } else { self.runtime_for(id) };
        let ask = body.check(index, &cell)?;
        Some(BegunTry { cell, ask, index, number, handle })
    }
}

impl TreeInner {
    /// Runs a try in a task, and gives its answer to the machine.
    pub(crate) fn begin_try(self: &Arc<Self>, begun: BegunTry<Arc<Self>>) {
        let BegunTry { cell, mut ask, index, number, handle } = begun;
        let (tree, of) = (Arc::clone(self), Arc::clone(&cell));
        let task = async move {
            let answer = poll_fn(|cx| {
                let _poll = of.begin_poll();
                ask.as_mut().poll(cx)
            })
            .await;
            let input = Input::Checked(of.id, of.attempt, index, number, answer);
            tree.report(tree.clock.now(), input);
            // The answer of a startup check may have made the child ready.
            if tree.state().machine.deadline_of_attempt(of.id, of.attempt).is_none() {
                tree.clock.release((of.id, of.attempt));
            }
        };
        let task = handle.as_ref().unwrap_or(&self.clock.handle).spawn(task);
        self.tries.add(&cell, index, task.abort_handle());
        // A stop ends the tries after it has given its order, so it sees the new try, or is seen here.
        if cell.orders.is_stopping() {
            self.tries.end(cell.id, cell.attempt, None);
        }
    }
}
