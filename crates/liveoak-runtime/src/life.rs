//! The life of one attempt: its orders, its subtasks, and its end.
//!
//! The attempt is over when its body *and* all its subtasks are gone, and whoever causes that is told so, exactly once.
//! A subtask is taken in under the lock before it is spawned, so that the end waits for it; its handle comes after that,
//! and is aborted at once if the body has ended in between. Tried under loom: `loom/src/life_tests.rs`.

use crate::latch::{Inside, Latch, Latched, Watch};
use crate::sync::MutexGuard;
use std::collections::BTreeMap;
use std::task::{Context, Poll};

const STOPPING: u8 = 1;
const KILLING: u8 = 2;
const BEATEN: u8 = 4;
const ABORTED: u8 = 8;
const OVER: u8 = 16;
/// Nothing waits for the attempt any more.
const ABANDONED: u8 = 32;
/// A kill is left to the body.
const KILLS_ITSELF: u8 = 64;
/// What the task of a body looks at when it is woken.
const ORDERS: u8 = STOPPING | KILLING | ABORTED;

/// What ends a subtask early.
pub(crate) trait Abort {
    fn abort(&self);
}

/// See the module. `H` ends a subtask, `E` is how something ended, `K` is what the owner keeps.
pub(crate) struct Life<H, E, K>(Latch<Rest<H, E, K>>);

/// What only some attempts have.
type Rest<H, E, K> = Option<Box<More<H, E, K>>>;

struct More<H, E, K> {
    kept: Option<K>,
    /// The number of the next subtask.
    next: u64,
    /// Those that live. Bounded by what the user spawns; each is removed as it ends.
    live: BTreeMap<u64, Option<H>>,
    /// How the body ended.
    body: Option<E>,
    /// A panic of a subtask, which is the attempt's failure.
    failed: Option<E>,
}

impl<H, E, K> Default for More<H, E, K> {
    fn default() -> Self {
        Self { kept: None, next: 0, live: BTreeMap::new(), body: None, failed: None }
    }
}

/// What the end of a body or a subtask is for its attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End<E> {
    /// The attempt is over, and ended like this.
    Over(E),
    /// The attempt will end like this, when the rest of it is gone.
    Ending(E),
    /// Nothing that it did not know.
    Nothing,
}

/// One poll of the task of a body: its orders, then the body, then a place among those that the next order wakes. `step`
/// has the owner of the life meanwhile. None if the body is to be dropped.
pub(crate) fn poll_body<C: AsRef<Life<H, E, K>>, H: Abort + Clone, E: Clone, K: Clone, T>(
    owner: C,
    watch: &mut Watch,
    cx: &mut Context<'_>,
    step: impl FnOnce(C, &mut Context<'_>) -> (C, Poll<T>),
) -> (C, Poll<Option<T>>) {
    let orders = watch.look(&owner.as_ref().0, cx, ORDERS);
    if orders & ABORTED != 0 {
        return (owner, Poll::Ready(None));
    }
    let (owner, polled) = step(owner, cx);
    if polled.is_pending() {
        watch.wait(&owner.as_ref().0, cx, ORDERS, orders);
    }
    (owner, polled.map(Some))
}

impl<H: Abort + Clone, E: Clone, K: Clone> Life<H, E, K> {
    pub(crate) fn new() -> Self {
        Self(Latch::new(None))
    }

    /// Latches the request to stop and wakes those who wait for it.
    pub(crate) fn ask(&self) {
        self.0.raise(STOPPING);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.0.has(STOPPING)
    }

    /// Waits for the request to stop.
    pub(crate) fn stopping(&self) -> Latched<'_, impl Sized + use<H, E, K>> {
        self.0.wait(STOPPING)
    }

    /// From now on a kill is an order that the body obeys; it is dropped only when it is written off.
    pub(crate) fn leave_kill_to_body(&self) {
        self.0.note(KILLS_ITSELF);
    }

    /// Ends the attempt by force.
    pub(crate) fn kill(&self) {
        let by_itself = self.0.has(KILLS_ITSELF);
        self.0.raise(if by_itself { STOPPING | KILLING } else { STOPPING | KILLING | ABORTED });
    }

    pub(crate) fn is_killed(&self) -> bool {
        self.0.has(KILLING)
    }

    /// Waits for the order to end at once.
    pub(crate) fn killed(&self) -> Latched<'_, impl Sized + use<H, E, K>> {
        self.0.wait(KILLING)
    }

    /// Nothing waits for the attempt any more: a last chance to end it, and all of its subtasks.
    pub(crate) fn abandon(&self) {
        self.0.raise(ABANDONED | STOPPING | KILLING | ABORTED);
        let inside = self.0.lock();
        let subtasks = inside.rest.as_ref().map(|more| more.handles()).unwrap_or_default();
        drop(inside);
        subtasks.iter().for_each(Abort::abort);
    }

    pub(crate) fn beat(&self) {
        // Beats are frequent, checks are not.
        self.0.touch(BEATEN);
    }

    pub(crate) fn take_beat(&self) -> bool {
        self.0.take(BEATEN)
    }

    /// What the owner keeps here.
    pub(crate) fn kept(&self) -> Option<K> {
        self.0.lock().rest.as_ref().and_then(|more| more.kept.clone())
    }

    pub(crate) fn keep(&self, kept: K) {
        self.0.lock().rest.get_or_insert_default().kept = Some(kept);
    }

    /// Takes in a subtask, unless the body has ended or is written off.
    pub(crate) fn admit_subtask(&self) -> Option<u64> {
        let mut inside = self.0.lock();
        if self.0.has(OVER | ABANDONED) {
            return None;
        }
        let more = inside.rest.get_or_insert_default();
        if more.body.is_some() {
            return None;
        }
        let number = more.next;
        more.next += 1;
        more.live.insert(number, None);
        Some(number)
    }

    /// Keeps the handle of an admitted subtask. If the body has ended meanwhile, the subtask is aborted.
    pub(crate) fn keep_subtask(&self, number: u64, handle: H) {
        let mut inside = self.0.lock();
        let mut ended = self.0.has(OVER | ABANDONED);
        if let Some(more) = &mut inside.rest {
            if let Some(slot) = more.live.get_mut(&number) {
                *slot = Some(handle.clone());
            }
            ended |= more.body.is_some();
        }
        drop(inside);
        if ended {
            handle.abort();
        }
    }

    /// A subtask is gone; `failed` if it panicked, which is to end the body.
    pub(crate) fn subtask_ended(&self, number: u64, failed: Option<E>) -> End<E> {
        let mut inside = self.0.lock();
        let Some(more) = &mut inside.rest else { return End::Nothing };
        let gone = more.live.remove(&number);
        if more.failed.is_none() {
            more.failed.clone_from(&failed);
        }
        let end = match more.body.take_if(|_| more.live.is_empty()) {
            Some(body) => {
                let exit = more.failed.take().unwrap_or(body);
                self.close(inside);
                End::Over(exit)
            }
            None => {
                drop(inside);
                failed.map_or(End::Nothing, End::Ending)
            }
        };
        drop(gone);
        end
    }

    /// The body is gone. The attempt is over when its subtasks are as well; they are aborted.
    pub(crate) fn body_ended(&self, exit: E) -> End<E> {
        let mut inside = self.0.lock();
        if self.0.has(OVER) {
            return End::Nothing;
        }
        let Some(more) = inside.rest.as_mut().filter(|more| !more.live.is_empty()) else {
            let failed = inside.rest.as_mut().and_then(|more| more.failed.take());
            self.close(inside);
            return End::Over(failed.unwrap_or(exit));
        };
        let seen = more.failed.clone().unwrap_or_else(|| exit.clone());
        more.body = Some(exit);
        let subtasks = more.handles();
        drop(inside);
        subtasks.iter().for_each(Abort::abort);
        End::Ending(seen)
    }

    /// The attempt is over: whoever still holds a context of it is to stop as well.
    fn close(&self, inside: MutexGuard<'_, Inside<Rest<H, E, K>>>) {
        self.0.close(inside, OVER | STOPPING);
    }
}

impl<H: Clone, E, K> More<H, E, K> {
    fn handles(&self) -> Vec<H> {
        self.live.values().flatten().cloned().collect()
    }
}
