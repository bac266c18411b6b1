//! The subtasks of an attempt, and the moment when the attempt has ended.
//!
//! An attempt ends when its body *and* all its subtasks have ended. The call that reports the last of these ends
//! returns [`End::Attempt`], exactly once. When the body ends, the remaining subtasks are aborted.
//!
//! A subtask is admitted before it is spawned, so that the end of the attempt waits for the subtask. The abort handle is
//! stored after the spawn. If the body has ended in between, the subtask is aborted immediately.

use crate::attempt::orders::{BodyEnd, Orders};
use crate::util::lock::lock;
use crate::util::sync::Mutex;
use std::collections::BTreeMap;

pub(crate) trait Abort {
    fn abort(&self);
}

/// The most subtasks that an attempt may have at the same time. A further subtask is refused. For more tasks of one kind
/// use a group.
pub(crate) const MAX_SUBTASKS: usize = 65_536;

/// The reason why an attempt can have no further subtask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotAdmitted {
    /// The body has ended, or the attempt was abandoned.
    Ended,
    /// The attempt already has [`MAX_SUBTASKS`] subtasks.
    TooMany,
}

/// The subtasks of one attempt. `H` aborts a subtask, `E` is an exit, `P` says which attempt it is. Most attempts have no
/// subtask and never ask who they are. For such an attempt this value is a null pointer and a lock.
pub(crate) struct Subtasks<H, E, P>(Mutex<Option<Box<Record<H, E, P>>>>);

struct Record<H, E, P> {
    /// Which attempt it is, once it was asked for.
    identity: P,
    /// How the previous attempt ended. Kept only if a context still exists when this attempt has ended.
    previous_exit: Option<E>,
    next: u64,
    /// The subtasks that live, at most [`MAX_SUBTASKS`]. Each is removed as it ends.
    live: BTreeMap<u64, Option<H>>,
    /// How the body ended, while subtasks still live.
    body: Option<E>,
    /// The first panic or failure of a subtask. It is the exit of the attempt.
    panic: Option<E>,
}

impl<H, E, P: Default> Default for Record<H, E, P> {
    fn default() -> Self {
        let identity = P::default();
        Self { identity, previous_exit: None, next: 0, live: BTreeMap::new(), body: None, panic: None }
    }
}

/// The consequence that the end of a body or of a subtask has for its attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End<E> {
    /// The attempt has ended, with this exit.
    Attempt(E),
    /// The attempt ends later. This is its exit so far; the first panic of a subtask replaces it.
    Ending(E),
    Unchanged,
}

impl<H: Abort + Clone, E: Clone, P: Default> Subtasks<H, E, P> {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(None))
    }

    /// Looks at which attempt this is, or changes what is known of it, under the lock.
    pub(crate) fn identity<R>(&self, f: impl FnOnce(&mut P) -> R) -> R {
        f(&mut lock(&self.0).get_or_insert_default().identity)
    }

    pub(crate) fn previous_exit(&self) -> Option<E> {
        lock(&self.0).as_ref().and_then(|record| record.previous_exit.clone())
    }

    pub(crate) fn keep_previous_exit(&self, exit: E) {
        let before = lock(&self.0).get_or_insert_default().previous_exit.replace(exit);
        drop(before);
    }

    /// Admits a subtask and returns its number.
    pub(crate) fn admit(&self, orders: &Orders) -> Result<u64, NotAdmitted> {
        let mut record = lock(&self.0);
        if record.as_ref().is_some_and(|record| record.live.len() >= MAX_SUBTASKS) {
            return Err(NotAdmitted::TooMany);
        }
        if !orders.admit_subtask() {
            return Err(NotAdmitted::Ended);
        }
        let record = record.get_or_insert_default();
        let number = record.next;
        record.next += 1;
        record.live.insert(number, None);
        Ok(number)
    }

    pub(crate) fn store_handle(&self, orders: &Orders, number: u64, handle: H) {
        let mut record = lock(&self.0);
        if let Some(stored) = record.as_mut().and_then(|record| record.live.get_mut(&number)) {
            *stored = Some(handle.clone());
        }
        let abort = !orders.admits_subtasks();
        drop(record);
        if abort {
            handle.abort();
        }
    }

    /// Records the end of a subtask. A `panic` becomes the exit of the attempt; the caller then ends the body.
    pub(crate) fn ended(&self, orders: &Orders, number: u64, panic: Option<E>) -> End<E> {
        let mut guard = lock(&self.0);
        let Some(record) = guard.as_mut() else { return End::Unchanged };
        let ended = record.live.remove(&number);
        if record.panic.is_none() {
            record.panic.clone_from(&panic);
        }
        let body = record.body.take_if(|_| record.live.is_empty());
        let exit = body.map(|body| record.panic.take().unwrap_or(body));
        drop(guard);
        drop(ended);
        match exit {
            Some(exit) => {
                orders.attempt_ended();
                End::Attempt(exit)
            }
            None => panic.map_or(End::Unchanged, End::Ending),
        }
    }

    /// Fails the attempt, because of a subtask that has ended before. The caller then ends the body. An attempt that has
    /// ended is not changed.
    pub(crate) fn fail(&self, orders: &Orders, exit: E) -> End<E> {
        let mut guard = lock(&self.0);
        let record = guard.get_or_insert_default();
        let ended = !orders.admits_subtasks() && record.body.is_none();
        if ended || record.panic.is_some() {
            return End::Unchanged;
        }
        record.panic = Some(exit.clone());
        End::Ending(exit)
    }

    pub(crate) fn body_ended(&self, orders: &Orders, exit: E) -> End<E> {
        match orders.body_ended() {
            BodyEnd::Repeated => return End::Unchanged,
            BodyEnd::AttemptEnded => return End::Attempt(exit),
            BodyEnd::WithSubtasks => {}
        }
        let mut guard = lock(&self.0);
        let record = guard.get_or_insert_default();
        if record.live.is_empty() {
            let exit = record.panic.take().unwrap_or(exit);
            drop(guard);
            orders.attempt_ended();
            return End::Attempt(exit);
        }
        let seen = record.panic.clone().unwrap_or_else(|| exit.clone());
        record.body = Some(exit);
        let handles = record.handles();
        drop(guard);
        handles.iter().for_each(Abort::abort);
        End::Ending(seen)
    }

    pub(crate) fn abort_all(&self) {
        let handles = lock(&self.0).as_ref().map(|record| record.handles()).unwrap_or_default();
        handles.iter().for_each(Abort::abort);
    }
}

impl<H: Clone, E, P> Record<H, E, P> {
    fn handles(&self) -> Vec<H> {
        self.live.values().flatten().cloned().collect()
    }
}
