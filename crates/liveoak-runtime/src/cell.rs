//! What one attempt and the driver share.
//!
//! One small allocation per attempt: latches for stop and kill, the heartbeat, and the attempt's subtasks. The
//! attempt's end is reported here, exactly once, when its body *and* all its subtasks are gone.

use crate::driver::Shared;
use crate::latch::{Latched, Waiters};
use liveoak_core::{Attempt, ChildId, Exit, Path};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use tokio::task::AbortHandle;

const STOPPING: u8 = 1;
const KILLING: u8 = 2;
const BEATEN: u8 = 4;
const ABORTED: u8 = 8;
const OVER: u8 = 16;
/// Nothing waits for the attempt any more.
const WRITTEN_OFF: u8 = 32;
/// A kill is left to the body.
const KILLS_ITSELF: u8 = 64;
/// What the task of a body looks at when it is woken.
const ORDERS: u8 = STOPPING | KILLING | ABORTED;

/// The orders that an attempt had so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Orders(u8);

impl Orders {
    /// Whether the body is to be dropped.
    pub(crate) const fn is_abort(self) -> bool {
        self.0 & ABORTED != 0
    }
}

/// See the module.
pub(crate) struct Cell {
    pub(crate) tree: Arc<Shared>,
    pub(crate) id: ChildId,
    pub(crate) attempt: Attempt,
    /// Whether the attempt runs on the runtime that the tree's clock belongs to.
    pub(crate) on_root: bool,
    /// Latched bits: stop asked, kill ordered, body to be dropped, end reported, written off, how to be killed; and the
    /// heartbeat since the last check. What wakes somebody is set under the lock of `life`.
    bits: AtomicU8,
    /// What the attempt has spawned, and who waits for a bit.
    life: Mutex<Life>,
    /// Makes the cell as large as the gap that the aligned allocation of a Tokio task leaves before it under glibc's
    /// allocator (112 bytes): it is filled at once instead of searched for, which is a tenth of a start, and costs no memory.
    _gap: u64,
}

/// Who is to be woken for a bit, and what else belongs to the attempt.
#[derive(Default)]
pub(crate) struct Life {
    /// Who waits for a bit.
    pub(crate) waiters: Waiters,
    /// What only some attempts have.
    more: Option<Box<More>>,
}

#[derive(Default)]
struct More {
    /// Where the child stands, once somebody asked.
    path: Option<Path>,
    /// The number of the next one.
    next: u64,
    /// Those that live. Bounded by what the user spawns; each is removed as it ends.
    live: BTreeMap<u64, Option<AbortHandle>>,
    /// How the body ended.
    body: Option<Exit>,
    /// A panic of a subtask, which is the attempt's failure.
    failed: Option<Exit>,
}

impl Cell {
    pub(crate) fn new(tree: Arc<Shared>, id: ChildId, attempt: Attempt, on_root: bool) -> Arc<Self> {
        Arc::new(Self { tree, id, attempt, on_root, bits: AtomicU8::new(0), life: Mutex::default(), _gap: 0 })
    }

    /// From now on every order wakes the task of the body, once; to be renewed when there was one. The orders so far.
    pub(crate) fn wake_for_orders(&self, task: &Waker) -> Orders {
        let mut life = self.life();
        life.waiters.set_body(task);
        self.orders()
    }

    pub(crate) fn orders(&self) -> Orders {
        Orders(self.bits.load(Ordering::Acquire) & ORDERS)
    }

    /// From now on a kill is an order that the body obeys; it is dropped only when it is written off.
    pub(crate) fn leave_kill_to_body(&self) {
        self.bits.fetch_or(KILLS_ITSELF, Ordering::AcqRel);
    }

    /// Ends the attempt by force.
    pub(crate) fn kill(&self) {
        let by_itself = self.has(KILLS_ITSELF);
        self.latch(if by_itself { STOPPING | KILLING } else { STOPPING | KILLING | ABORTED });
    }

    /// Nothing waits for the attempt any more: a last chance to end it, and all of its subtasks.
    pub(crate) fn write_off(&self) {
        self.latch(WRITTEN_OFF | STOPPING | KILLING | ABORTED);
        let life = self.life();
        let subtasks = life.more.as_ref().map(|more| more.live.values().flatten().cloned().collect());
        drop(life);
        let subtasks: Vec<AbortHandle> = subtasks.unwrap_or_default();
        subtasks.iter().for_each(AbortHandle::abort);
    }

    /// Sets bits, and wakes everybody who waits for news.
    fn latch(&self, bits: u8) {
        let mut life = self.life();
        let before = self.bits.fetch_or(bits, Ordering::AcqRel);
        if before & bits == bits {
            return;
        }
        let (body, others) = life.waiters.take();
        drop(life);
        if let Some(body) = body {
            body.wake();
        }
        if let Some(others) = others {
            others.notify_waiters();
        }
    }

    /// The attempt is over: its body's task needs nobody to wake it, and whoever still holds a context is to stop as well.
    fn close(&self, mut life: MutexGuard<'_, Life>) {
        self.bits.fetch_or(OVER | STOPPING, Ordering::AcqRel);
        let (body, others) = life.waiters.take();
        drop(life);
        drop(body);
        if let Some(others) = others {
            others.notify_waiters();
        }
    }

    pub(crate) fn has(&self, bit: u8) -> bool {
        self.bits.load(Ordering::Acquire) & bit != 0
    }

    /// Latches the request to stop and wakes those who wait for it.
    pub(crate) fn ask(&self) {
        self.latch(STOPPING);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.has(STOPPING)
    }

    /// Waits for the request to stop.
    pub(crate) fn stopping(&self) -> Latched<'_> {
        Latched::new(self, STOPPING)
    }

    /// Waits for the order to end at once.
    pub(crate) fn killed(&self) -> Latched<'_> {
        Latched::new(self, KILLING)
    }

    pub(crate) fn beat(&self) {
        // One plain store unless it is there already: beats are frequent, checks are not.
        if self.bits.load(Ordering::Relaxed) & BEATEN == 0 {
            self.bits.fetch_or(BEATEN, Ordering::Relaxed);
        }
    }

    pub(crate) fn take_beat(&self) -> bool {
        self.bits.fetch_and(!BEATEN, Ordering::Relaxed) & BEATEN != 0
    }

    pub(crate) fn path(&self) -> Path {
        if let Some(path) = self.life().more.as_ref().and_then(|more| more.path.clone()) {
            return path;
        }
        let path = self.tree.path(self.id).unwrap_or_else(|| Path::new("(no longer part of the tree)"));
        self.life().more.get_or_insert_default().path = Some(path.clone());
        path
    }

    pub(crate) fn life(&self) -> MutexGuard<'_, Life> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in a subtask, unless the body has ended or is written off.
    pub(crate) fn admit_subtask(&self) -> Option<u64> {
        let mut life = self.life();
        if self.has(OVER | WRITTEN_OFF) {
            return None;
        }
        let more = life.more.get_or_insert_default();
        if more.body.is_some() {
            return None;
        }
        let number = more.next;
        more.next += 1;
        more.live.insert(number, None);
        Some(number)
    }

    /// Keeps the handle of an admitted subtask. If the body has ended meanwhile, the subtask is aborted.
    pub(crate) fn keep_subtask(&self, number: u64, handle: AbortHandle) {
        let mut life = self.life();
        let mut ended = self.has(OVER | WRITTEN_OFF);
        if let Some(more) = &mut life.more {
            if let Some(slot) = more.live.get_mut(&number) {
                *slot = Some(handle.clone());
            }
            ended |= more.body.is_some();
        }
        drop(life);
        if ended {
            handle.abort();
        }
    }

    /// A subtask is gone; `failed` if it panicked, which ends the body.
    pub(crate) fn subtask_ended(self: &Arc<Self>, number: u64, failed: Option<Exit>) {
        let failing = failed.clone();
        let mut life = self.life();
        if let Some(more) = &mut life.more {
            more.live.remove(&number);
            if more.failed.is_none() {
                more.failed = failed;
            }
        }
        let over = self.take_if_over(&mut life);
        drop(life);
        match over {
            Some(exit) => self.report(exit),
            None => {
                if let Some(exit) = failing {
                    self.kill();
                    self.tree.ending(self, exit);
                }
            }
        }
    }

    /// The body is gone. The attempt is over when its subtasks are as well; they are aborted.
    pub(crate) fn body_ended(self: &Arc<Self>, exit: Exit) {
        let mut life = self.life();
        if self.has(OVER) {
            return;
        }
        let Some(more) = &mut life.more else {
            self.close(life);
            return self.tree.exited(self, exit);
        };
        let seen = more.failed.clone().unwrap_or_else(|| exit.clone());
        more.body = Some(exit);
        let to_abort: Vec<AbortHandle> = more.live.values().flatten().cloned().collect();
        let over = self.take_if_over(&mut life);
        drop(life);
        for subtask in to_abort {
            subtask.abort();
        }
        match over {
            Some(exit) => self.report(exit),
            // A subtask that does not yield must not make a dead body look alive.
            None => self.tree.ending(self, seen),
        }
    }

    fn take_if_over(&self, life: &mut Life) -> Option<Exit> {
        let more = life.more.as_mut()?;
        if more.body.is_none() || !more.live.is_empty() {
            return None;
        }
        self.bits.fetch_or(OVER, Ordering::AcqRel);
        let body = more.body.take();
        more.failed.take().or(body)
    }

    fn report(self: &Arc<Self>, exit: Exit) {
        self.close(self.life());
        self.tree.exited(self, exit);
    }
}
