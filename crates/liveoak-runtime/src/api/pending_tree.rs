//! A handle of a tree that may not have begun yet, for code that is set up before the tree starts.

use crate::api::tree::TreeHandle;
use crate::util::lock::lock;
use crate::util::waker_guard::WakerGuard;
use std::fmt;
use std::sync::{Arc, Mutex};
use tokio::sync::Notify;

/// The tree that a [`Supervisor`](crate::Supervisor) will start, or has started. Cheap to clone; does not keep the tree
/// running. Comes from [`Supervisor::handle`](crate::Supervisor::handle), and is the way to command a tree that
/// [`run`](crate::Supervisor::run) or [`main`](crate::main) runs.
///
/// Before the tree begins there is nothing to command, so this handle has no commands: [`get`](Self::get) says so
/// immediately, and [`begun`](Self::begun) waits.
///
/// ```
/// # use liveoak_runtime::{Child, Ctx, NotBegun, Supervisor};
/// # liveoak_runtime::testing::paused(async {
/// # let web = |ctx: Ctx| async move { ctx.stopping().await };
/// let supervisor = Supervisor::new("shop").child(Child::task("web", web));
/// let pending = supervisor.handle();
/// assert_eq!(pending.get().unwrap_err(), NotBegun::NotYet);
/// let operator = tokio::spawn(async move {
///     let tree = pending.begun().await?;
///     tree.begin_stop();
///     Ok::<(), NotBegun>(())
/// });
/// supervisor.run().await?; // Until the operator stops the tree.
/// # operator.await.unwrap().unwrap();
/// # Ok::<(), liveoak_runtime::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
pub struct PendingTree(Arc<Begin>);

impl fmt::Debug for PendingTree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PendingTree").field(&self.get()).finish()
    }
}

/// Why there is no tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotBegun {
    /// The tree has not begun yet.
    NotYet,
    /// The tree will never begin: the start was refused, or the supervisor was dropped or became a child of another
    /// supervisor.
    Never,
}

impl fmt::Display for NotBegun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotYet => "the tree has not begun yet",
            Self::Never => {
                "the tree never begins: its start was refused, or its supervisor was dropped or became a child"
            }
        })
    }
}

impl std::error::Error for NotBegun {}

struct Begin {
    tree: Mutex<Result<TreeHandle, NotBegun>>,
    changed: Notify,
}

impl PendingTree {
    /// Returns the handle of the tree, if it has begun. It may be starting, running, or have ended.
    ///
    /// # Errors
    /// When the tree has not begun, or never will.
    pub fn get(&self) -> Result<TreeHandle, NotBegun> {
        lock(&self.0.tree).clone()
    }

    /// Waits until the tree has begun, and returns its handle. The tree is then starting;
    /// [`TreeHandle::ready`] waits until it is ready.
    ///
    /// # Errors
    /// When the tree will never begin.
    ///
    /// # Cancel safety
    /// Safe: nothing changes when this future is dropped.
    pub async fn begun(&self) -> Result<TreeHandle, NotBegun> {
        loop {
            let changed = self.0.changed.notified();
            match self.get() {
                Err(NotBegun::NotYet) => {}
                known => return known,
            }
            WakerGuard::new().wait(std::pin::pin!(changed)).await;
        }
    }
}

/// The side of the supervisor. When it is dropped before a tree has begun, no tree will.
pub(crate) struct Begins(PendingTree);

impl Default for Begins {
    fn default() -> Self {
        let tree = Mutex::new(Err(NotBegun::NotYet));
        Self(PendingTree(Arc::new(Begin { tree, changed: Notify::new() })))
    }
}

impl Begins {
    pub(crate) fn pending(&self) -> PendingTree {
        self.0.clone()
    }

    pub(crate) fn begun(self, tree: &TreeHandle) {
        self.set(Ok(tree.clone()));
    }

    fn set(&self, known: Result<TreeHandle, NotBegun>) {
        let begin = &self.0.0;
        let mut tree = lock(&begin.tree);
        if tree.is_err() {
            *tree = known;
        }
        drop(tree);
        begin.changed.notify_waiters();
    }
}

impl Drop for Begins {
    fn drop(&mut self) {
        self.set(Err(NotBegun::Never));
    }
}
