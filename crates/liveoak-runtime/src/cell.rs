//! What one attempt and the driver share.
//!
//! One small allocation per attempt: latches for stop and kill, the heartbeat, and the attempt's subtasks. The
//! attempt's end is reported here, exactly once, when its body *and* all its subtasks are gone.

use crate::driver::Shared;
use crate::latch::{Inside, Latch, Latched, Watch};
use crate::sync::MutexGuard;
use liveoak_core::{Attempt, ChildId, Exit, Path};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::Context;
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
    /// The bits above, and what the attempt has spawned.
    life: Latch<Life>,
    /// Makes the cell as large as the gap that the aligned allocation of a Tokio task leaves before it under glibc's
    /// allocator (112 bytes): it is filled at once instead of searched for, which is a tenth of a start, and costs no memory.
    _gap: u64,
}

/// What only some attempts have.
#[derive(Default)]
pub(crate) struct Life(Option<Box<More>>);

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
        Arc::new(Self { tree, id, attempt, on_root, life: Latch::new(Life::default()), _gap: 0 })
    }

    /// The orders so far, for the task of the body at the beginning of its poll.
    pub(crate) fn orders(&self, watch: &mut Watch, cx: &Context<'_>) -> Orders {
        Orders(watch.look(&self.life, cx, ORDERS))
    }

    /// The body is pending: the next order wakes its task.
    pub(crate) fn wait_for_orders(&self, watch: &mut Watch, cx: &Context<'_>, shown: Orders) {
        watch.wait(&self.life, cx, ORDERS, shown.0);
    }

    /// From now on a kill is an order that the body obeys; it is dropped only when it is written off.
    pub(crate) fn leave_kill_to_body(&self) {
        self.life.note(KILLS_ITSELF);
    }

    /// Ends the attempt by force.
    pub(crate) fn kill(&self) {
        let by_itself = self.has(KILLS_ITSELF);
        self.life.raise(if by_itself { STOPPING | KILLING } else { STOPPING | KILLING | ABORTED });
    }

    /// Nothing waits for the attempt any more: a last chance to end it, and all of its subtasks.
    pub(crate) fn write_off(&self) {
        self.life.raise(WRITTEN_OFF | STOPPING | KILLING | ABORTED);
        let life = self.life();
        let subtasks = life.rest.0.as_ref().map(|more| more.live.values().flatten().cloned().collect());
        drop(life);
        let subtasks: Vec<AbortHandle> = subtasks.unwrap_or_default();
        subtasks.iter().for_each(AbortHandle::abort);
    }

    /// The attempt is over: whoever still holds a context of it is to stop as well.
    fn close(&self, life: MutexGuard<'_, Inside<Life>>) {
        self.life.close(life, OVER | STOPPING);
    }

    fn has(&self, bit: u8) -> bool {
        self.life.has(bit)
    }

    /// Latches the request to stop and wakes those who wait for it.
    pub(crate) fn ask(&self) {
        self.life.raise(STOPPING);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.has(STOPPING)
    }

    /// Waits for the request to stop.
    pub(crate) fn stopping(&self) -> Latched<'_, Life> {
        self.life.wait(STOPPING)
    }

    /// Waits for the order to end at once.
    pub(crate) fn killed(&self) -> Latched<'_, Life> {
        self.life.wait(KILLING)
    }

    pub(crate) fn beat(&self) {
        // Beats are frequent, checks are not.
        self.life.touch(BEATEN);
    }

    pub(crate) fn take_beat(&self) -> bool {
        self.life.take(BEATEN)
    }

    pub(crate) fn path(&self) -> Path {
        if let Some(path) = self.life().rest.0.as_ref().and_then(|more| more.path.clone()) {
            return path;
        }
        let path = self.tree.path(self.id).unwrap_or_else(|| Path::new("(no longer part of the tree)"));
        self.life().rest.0.get_or_insert_default().path = Some(path.clone());
        path
    }

    fn life(&self) -> MutexGuard<'_, Inside<Life>> {
        self.life.lock()
    }

    /// Takes in a subtask, unless the body has ended or is written off.
    pub(crate) fn admit_subtask(&self) -> Option<u64> {
        let mut life = self.life();
        if self.has(OVER | WRITTEN_OFF) {
            return None;
        }
        let more = life.rest.0.get_or_insert_default();
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
        if let Some(more) = &mut life.rest.0 {
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
        if let Some(more) = &mut life.rest.0 {
            more.live.remove(&number);
            if more.failed.is_none() {
                more.failed = failed;
            }
        }
        let over = self.take_if_over(&mut life.rest);
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
        let Some(more) = &mut life.rest.0 else {
            self.close(life);
            return self.tree.exited(self, exit);
        };
        let seen = more.failed.clone().unwrap_or_else(|| exit.clone());
        more.body = Some(exit);
        let to_abort: Vec<AbortHandle> = more.live.values().flatten().cloned().collect();
        let over = self.take_if_over(&mut life.rest);
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
        let more = life.0.as_mut()?;
        if more.body.is_none() || !more.live.is_empty() {
            return None;
        }
        self.life.note(OVER);
        let body = more.body.take();
        more.failed.take().or(body)
    }

    fn report(self: &Arc<Self>, exit: Exit) {
        self.close(self.life());
        self.tree.exited(self, exit);
    }
}
