//! What one attempt and the driver share.
//!
//! One small allocation per attempt: whose it is, and its [life](crate::life). The attempt's end is reported here, exactly
//! once.

use crate::driver::Shared;
use crate::life::{Abort, End, Life};
use liveoak_core::{Attempt, ChildId, Exit, Path};
use std::future::Future;
use std::sync::Arc;
use tokio::task::AbortHandle;

/// See the module.
pub(crate) struct Cell {
    pub(crate) tree: Arc<Shared>,
    pub(crate) id: ChildId,
    pub(crate) attempt: Attempt,
    /// Whether the attempt runs on the runtime that the tree's clock belongs to.
    pub(crate) on_root: bool,
    /// Its orders, and what it has spawned. Where the child stands is kept here once somebody asked.
    life: Life<AbortHandle, Exit, Path>,
    /// Makes the cell as large as the gap that the aligned allocation of a Tokio task leaves before it under glibc's
    /// allocator (112 bytes): it is filled at once instead of searched for, which is a tenth of a start, and costs no memory.
    _gap: u64,
}

impl Abort for AbortHandle {
    fn abort(&self) {
        Self::abort(self);
    }
}

impl AsRef<Life<AbortHandle, Exit, Path>> for Arc<Cell> {
    fn as_ref(&self) -> &Life<AbortHandle, Exit, Path> {
        &self.life
    }
}

impl Cell {
    pub(crate) fn new(tree: Arc<Shared>, id: ChildId, attempt: Attempt, on_root: bool) -> Arc<Self> {
        Arc::new(Self { tree, id, attempt, on_root, life: Life::new(), _gap: 0 })
    }

    /// From now on a kill is an order that the body obeys; it is dropped only when it is written off.
    pub(crate) fn leave_kill_to_body(&self) {
        self.life.leave_kill_to_body();
    }

    /// Ends the attempt by force.
    pub(crate) fn kill(&self) {
        self.life.kill();
    }

    /// Nothing waits for the attempt any more: a last chance to end it, and all of its subtasks.
    pub(crate) fn abandon(&self) {
        self.life.abandon();
    }

    /// Latches the request to stop and wakes those who wait for it.
    pub(crate) fn ask(&self) {
        self.life.ask();
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.life.is_stopping()
    }

    /// Waits for the request to stop.
    pub(crate) fn stopping(&self) -> impl Future<Output = ()> + Send + '_ {
        self.life.stopping()
    }

    pub(crate) fn is_killed(&self) -> bool {
        self.life.is_killed()
    }

    /// Waits for the order to end at once.
    pub(crate) fn killed(&self) -> impl Future<Output = ()> + Send + '_ {
        self.life.killed()
    }

    pub(crate) fn beat(&self) {
        self.life.beat();
    }

    pub(crate) fn take_beat(&self) -> bool {
        self.life.take_beat()
    }

    pub(crate) fn path(&self) -> Path {
        self.life.kept().unwrap_or_else(|| {
            let path = self.tree.path(self.id).unwrap_or_else(|| Path::new("(no longer part of the tree)"));
            self.life.keep(path.clone());
            path
        })
    }

    /// Takes in a subtask, unless the body has ended or is written off.
    pub(crate) fn admit_subtask(&self) -> Option<u64> {
        self.life.admit_subtask()
    }

    /// Keeps the handle of an admitted subtask. If the body has ended meanwhile, the subtask is aborted.
    pub(crate) fn keep_subtask(&self, number: u64, handle: AbortHandle) {
        self.life.keep_subtask(number, handle);
    }

    /// A subtask is gone; `failed` if it panicked, which ends the body.
    pub(crate) fn subtask_ended(self: &Arc<Self>, number: u64, failed: Option<Exit>) {
        let end = self.life.subtask_ended(number, failed);
        if let End::Ending(_) = &end {
            self.kill();
        }
        self.tell(end);
    }

    /// The body is gone. The attempt is over when its subtasks are as well; they are aborted.
    pub(crate) fn body_ended(self: &Arc<Self>, exit: Exit) {
        let end = self.life.body_ended(exit);
        self.tell(end);
    }

    fn tell(self: &Arc<Self>, end: End<Exit>) {
        match end {
            End::Over(exit) => self.tree.exited(self, exit),
            // A subtask that does not yield must not make a dead body look alive.
            End::Ending(exit) => self.tree.ending(self, exit),
            End::Nothing => {}
        }
    }
}
