//! What one attempt and the driver share.
//!
//! One small allocation per attempt: latches for stop and kill, the heartbeat, and the attempt's subtasks. The
//! attempt's end is reported here, exactly once, when its body *and* all its subtasks are gone.

use crate::driver::Shared;
use liveoak_core::{Attempt, ChildId, Exit, Path};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use tokio::sync::Notify;
use tokio::task::AbortHandle;

const STOPPING: u8 = 1;
const KILLING: u8 = 2;
const BEATEN: u8 = 4;

/// See the module.
pub(crate) struct Cell {
    pub(crate) tree: Arc<Shared>,
    pub(crate) id: ChildId,
    pub(crate) attempt: Attempt,
    /// Whether the attempt runs on the runtime that the tree's clock belongs to.
    pub(crate) on_root: bool,
    /// Latched bits: stop asked, kill ordered; and the heartbeat since the last check.
    bits: AtomicU8,
    /// Wakes whoever waits for a bit.
    news: Notify,
    /// The task of the body, if it is one.
    task: OnceLock<AbortHandle>,
    /// Where the child stands, once somebody asked.
    path: OnceLock<Path>,
    /// The body's fate, and what it has spawned.
    life: Mutex<Life>,
}

/// Whether the attempt has ended, and what else belongs to it.
enum Life {
    /// The body runs and has no subtasks.
    Plain,
    /// The body runs, or its subtasks still do.
    WithSubtasks(Box<Subtasks>),
    /// The end was reported.
    Over,
}

#[derive(Default)]
struct Subtasks {
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
        Arc::new(Self {
            tree,
            id,
            attempt,
            on_root,
            bits: AtomicU8::new(0),
            news: Notify::new(),
            task: OnceLock::new(),
            path: OnceLock::new(),
            life: Mutex::new(Life::Plain),
        })
    }

    pub(crate) fn set_task(&self, task: AbortHandle) {
        // Set once per attempt, by `Body::begin`.
        let _ = self.task.set(task);
    }

    pub(crate) fn abort(&self) {
        if let Some(task) = self.task.get() {
            task.abort();
        }
    }

    /// Latches the request to stop and wakes those who wait for it.
    pub(crate) fn ask(&self) {
        self.bits.fetch_or(STOPPING, Ordering::AcqRel);
        self.news.notify_waiters();
    }

    /// Latches the order to end at once and wakes those who wait for it.
    pub(crate) fn order_kill(&self) {
        self.bits.fetch_or(STOPPING | KILLING, Ordering::AcqRel);
        self.news.notify_waiters();
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.bits.load(Ordering::Acquire) & STOPPING != 0
    }

    pub(crate) fn is_killing(&self) -> bool {
        self.bits.load(Ordering::Acquire) & KILLING != 0
    }

    /// Waits until `looked_for` holds. Cancel safe: bits are latched.
    pub(crate) async fn until(&self, looked_for: fn(&Self) -> bool) {
        loop {
            let news = self.news.notified();
            if looked_for(self) {
                return;
            }
            news.await;
        }
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
        self.path
            .get_or_init(|| {
                self.tree.path(self.id).unwrap_or_else(|| Path::new("(no longer part of the tree)"))
            })
            .clone()
    }

    fn life(&self) -> std::sync::MutexGuard<'_, Life> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in a subtask, unless the attempt has ended.
    pub(crate) fn admit_subtask(&self) -> Option<u64> {
        let mut life = self.life();
        if let Life::Plain = *life {
            *life = Life::WithSubtasks(Box::default());
        }
        match &mut *life {
            Life::WithSubtasks(subtasks) if subtasks.body.is_none() => {
                let number = subtasks.next;
                subtasks.next += 1;
                subtasks.live.insert(number, None);
                Some(number)
            }
            Life::WithSubtasks(_) | Life::Plain | Life::Over => None,
        }
    }

    /// Keeps the handle of an admitted subtask. If the body has ended meanwhile, the subtask is aborted.
    pub(crate) fn keep_subtask(&self, number: u64, handle: AbortHandle) {
        let mut life = self.life();
        let ended = match &mut *life {
            Life::WithSubtasks(subtasks) => {
                if let Some(slot) = subtasks.live.get_mut(&number) {
                    *slot = Some(handle.clone());
                }
                subtasks.body.is_some()
            }
            Life::Plain | Life::Over => true,
        };
        drop(life);
        if ended {
            handle.abort();
        }
    }

    /// A subtask is gone; `failed` if it panicked, which ends the body.
    pub(crate) fn subtask_ended(self: &Arc<Self>, number: u64, failed: Option<Exit>) {
        let failing = failed.is_some();
        let mut life = self.life();
        if let Life::WithSubtasks(subtasks) = &mut *life {
            subtasks.live.remove(&number);
            if subtasks.failed.is_none() {
                subtasks.failed = failed;
            }
        }
        let over = Self::take_if_over(&mut life);
        drop(life);
        match over {
            Some(exit) => self.report(exit),
            None if failing => {
                self.order_kill();
                self.abort();
            }
            None => {}
        }
    }

    /// The body is gone. The attempt is over when its subtasks are as well; they are aborted.
    pub(crate) fn body_ended(self: &Arc<Self>, exit: Exit) {
        let mut life = self.life();
        let mut to_abort = Vec::new();
        let over = match &mut *life {
            Life::Plain => {
                *life = Life::Over;
                Some(exit)
            }
            Life::WithSubtasks(subtasks) => {
                subtasks.body = Some(exit);
                to_abort.extend(subtasks.live.values().flatten().cloned());
                Self::take_if_over(&mut life)
            }
            Life::Over => None,
        };
        drop(life);
        for subtask in to_abort {
            subtask.abort();
        }
        if let Some(exit) = over {
            self.report(exit);
        }
    }

    fn take_if_over(life: &mut Life) -> Option<Exit> {
        let Life::WithSubtasks(subtasks) = life else { return None };
        if subtasks.body.is_none() || !subtasks.live.is_empty() {
            return None;
        }
        let exit = subtasks.failed.take().or(subtasks.body.take());
        *life = Life::Over;
        exit
    }

    fn report(self: &Arc<Self>, exit: Exit) {
        self.tree.exited(self, exit);
    }
}
