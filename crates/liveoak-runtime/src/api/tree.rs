//! A running tree: its owner, and the handles that look at it and command it.

use crate::api::child::Child;
use crate::api::child_handle::{Added, ChildHandle};
use crate::api::ctx::{Ctx, current, listens, with_caller};
use crate::api::error::Refused;
use crate::api::split::split;
use crate::api::subtask::SubtaskError;
use crate::attempt::cell::SubtaskAbort;
use crate::engine::command::PendingAnswer;
use crate::engine::driver::{Owner, TreeInner};
use crate::engine::ended::Ended;
use crate::engine::event_filter::EventFilter;
use crate::engine::events::Events;
use crate::engine::run_hold::RunHold;
use liveoak_core::{
    Asker, Awaited, ChildDeclaration, Command, Input, Machine, Origin, Outcome, Path, Refusal, Snapshot,
    StopReport, Time,
};
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::SystemTime;
use tokio::task::coop::consume_budget;

/// A running tree. When a `Tree` is dropped, all its children are killed. For a graceful end, call
/// [`stop`](TreeHandle::stop).
///
/// A `Tree` has the operations of [`TreeHandle`], which can be cloned and passed on.
#[derive(Debug)]
pub struct Tree(pub(crate) TreeHandle);

impl Tree {
    /// Returns a handle. It does not keep the tree running.
    #[must_use]
    pub fn handle(&self) -> TreeHandle {
        self.0.clone()
    }

    /// Waits until every declared child is ready.
    ///
    /// # Errors
    /// Returns how the tree ended, if it ended before that.
    ///
    /// # Panics
    /// When the caller is a child for which the tree waits. [`TreeHandle::ready`] returns an error in this case.
    pub async fn ready(&self) -> Result<(), Ended> {
        match self.0.ready().await {
            Ok(()) => Ok(()),
            Err(NotReady::Ended(ended)) => Err(*ended),
            Err(NotReady::Refused(refusal)) => owner_waits_for_itself(&refusal),
        }
    }

    /// Stops the tree, in order and within its budget. Returns how each child was stopped. A second call, even after
    /// the end, returns the same report.
    ///
    /// # Panics
    /// When the caller is part of the tree. The stop has begun all the same. [`TreeHandle::stop`] returns an error in this
    /// case.
    pub async fn stop(&self) -> Arc<StopReport> {
        self.0.stop().await.unwrap_or_else(|refusal| owner_waits_for_itself(&refusal))
    }

    /// Kills everything in the tree now. Returns how each child was stopped.
    ///
    /// # Panics
    /// As [`stop`](Self::stop).
    pub async fn kill(&self) -> Arc<StopReport> {
        self.0.kill().await.unwrap_or_else(|refusal| owner_waits_for_itself(&refusal))
    }

    /// Waits until the tree has ended, for whatever reason. May be called again.
    ///
    /// # Panics
    /// When the caller is part of the tree. [`TreeHandle::join`] returns an error in this case.
    pub async fn join(&self) -> Ended {
        self.0.join().await.unwrap_or_else(|refusal| owner_waits_for_itself(&refusal))
    }
}

/// Panics, because a child of the tree used the `Tree` and would wait for itself. The child fails by this panic. A `Tree`
/// must be used outside of its children.
pub(crate) fn owner_waits_for_itself(refusal: &Refusal) -> ! {
    panic!("a child owns its own tree and waits for it; use a `TreeHandle`: {refusal}")
}

impl Deref for Tree {
    type Target = TreeHandle;

    fn deref(&self) -> &TreeHandle {
        &self.0
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        if self.0.inner.ended().is_none() {
            self.0.begin_kill();
        }
    }
}

/// Looks at a tree and commands it. Cheap to clone; does not keep the tree running.
///
/// # Cancel safety
/// All methods are safe. When a future is dropped, nothing is lost, and a stop, an addition or a
/// command that has begun continues.
///
/// # Refusals
/// Each method names its errors. In addition, every command is refused if there is no such child, if 1,024 commands
/// already wait for the child, if a later command or a restart overtook the command, or if the tree has ended.
///
/// # Commands from inside the tree
/// A child may give any command, also about itself, its supervisors and the whole tree. The command is carried out. But
/// a child cannot wait for an answer that comes only after the child itself has ended or become ready. Such a wait is
/// refused immediately, as [`Refusal::WouldWaitForItself`]. For example, a child that is not ready cannot wait for the
/// start of a sibling whose turn comes later. Instead, return after the call, use the `begin_` form of the command, or
/// wait inside [`Ctx::unless_stopping`], which ends when the child is asked to stop.
///
/// The caller is known while the body of a child, one of its [subtasks](Ctx::spawn) or its thread runs. Tasks and threads
/// that the child started by other means (`tokio::spawn`, `std::thread::spawn`) are not recognised. They must not wait
/// for the end of the child if the child waits for their end.
///
/// An attempt that was abandoned cannot give commands to children or add children ([`Refusal::Abandoned`]).
#[derive(Clone)]
pub struct TreeHandle {
    pub(crate) inner: Arc<TreeInner>,
    /// The attempt that got this handle from its context.
    pub(crate) of: Option<Ctx>,
    /// Who gives the commands of this handle, and why.
    pub(crate) origin: Option<Arc<Origin>>,
}

impl fmt::Debug for TreeHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TreeHandle").field("ended", &self.inner.ended()).finish_non_exhaustive()
    }
}

impl TreeHandle {
    pub(crate) const fn new(inner: Arc<TreeInner>, of: Option<Ctx>) -> Self {
        Self { inner, of, origin: None }
    }

    /// Waits until every declared child is ready.
    ///
    /// # Errors
    /// When the tree ended before that, or the caller is a child for which the tree waits.
    pub async fn ready(&self) -> Result<(), NotReady> {
        if self.would_wait_for_itself(Awaited::Ready) {
            return Err(NotReady::Refused(Refusal::WouldWaitForItself { begun: true }));
        }
        self.inner.until_ready().await.map_err(|ended| NotReady::Ended(Box::new(ended)))
    }

    /// Stops the tree, in order and within its budget. Returns how each child was stopped. A second call, even after
    /// the end, returns the same report.
    ///
    /// # Errors
    /// When the caller is part of the tree. The stop has begun in this case too.
    pub async fn stop(&self) -> Result<Arc<StopReport>, Refusal> {
        self.begin_stop();
        self.until_ended(true).await.map(|ended| ended.report)
    }

    /// Kills everything in the tree now. Returns how each child was stopped.
    ///
    /// # Errors
    /// When the caller is part of the tree. The kill has begun in this case too.
    pub async fn kill(&self) -> Result<Arc<StopReport>, Refusal> {
        self.begin_kill();
        self.until_ended(true).await.map(|ended| ended.report)
    }

    /// Begins the stop without waiting for it.
    pub fn begin_stop(&self) {
        self.inner.stop_within(None, self.origin.clone());
    }

    /// Begins the kill without waiting for it.
    pub fn begin_kill(&self) {
        self.inner.feed_by(self.inner.clock.now(), Input::Kill, self.origin.clone());
    }

    /// Waits until the tree has ended, for whatever reason. May be called again.
    ///
    /// # Errors
    /// When the caller is part of the tree.
    pub async fn join(&self) -> Result<Ended, Refusal> {
        self.until_ended(false).await
    }

    pub(crate) async fn until_ended(&self, begun: bool) -> Result<Ended, Refusal> {
        if self.would_wait_for_itself(Awaited::End) {
            return Err(Refusal::WouldWaitForItself { begun });
        }
        Ok(self.inner.until_ended().await)
    }

    /// Returns `true` if the calling code is part of this tree and would wait for itself.
    fn would_wait_for_itself(&self, awaited: Awaited) -> bool {
        asker_in(&self.inner)
            .is_some_and(|asker| self.inner.state().machine.would_wait_for_itself(asker, awaited))
    }

    /// Returns the path of the root: its name is that of the tree.
    #[must_use]
    pub fn root_path(&self) -> Path {
        self.inner.state().machine.root_path()
    }

    /// Keeps [`Supervisor::run`](crate::Supervisor::run), [`run_until`](crate::Supervisor::run_until) and
    /// [`liveoak::main`](crate::main) from returning after the end of the tree, until the returned value is dropped, at most
    /// for three seconds. For an observer that has something to finish after the end. Without such a run it has no effect.
    #[must_use]
    pub fn hold_run(&self) -> RunHold {
        self.inner.run_holds.hold()
    }

    /// Returns the whole tree as it is now, consistent with an event number.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.inner.snapshot()
    }

    /// Returns the events from now on.
    #[must_use]
    pub fn events(&self) -> Events {
        self.inner.subscribe()
    }

    /// Returns the events from now on that `filter` lets pass.
    #[must_use]
    pub fn events_where(&self, filter: EventFilter) -> Events {
        self.events().filtered(filter)
    }

    /// Returns the whole tree as it is now, and the events that follow. The snapshot and the events together always
    /// describe the tree completely.
    #[must_use]
    pub fn watch(&self) -> (Snapshot, Events) {
        self.inner.watch()
    }

    /// Converts a time of this tree to calendar time.
    #[must_use]
    pub fn to_system_time(&self, time: Time) -> SystemTime {
        self.inner.clock.wall(time)
    }

    /// Returns the time of the tree now.
    #[must_use]
    pub fn now(&self) -> Time {
        self.inner.clock.now()
    }

    /// Adds a child to the supervisor at `parent`, after its other children, and starts it when its turn comes. Returns
    /// the child and what its start did, when it is ready. An added child is removed when its supervisor restarts.
    ///
    /// # Errors
    /// When there is no such supervisor, the supervisor is down or full, the name is taken, the spec is wrong,
    /// the first start fails (the child is then removed), or the child still waits for another child when its start
    /// deadline is over ([`Refusal::WaitsFor`]; the child then continues to wait). The error gives the child back if it
    /// was not added.
    pub async fn add_child(
        &self,
        parent: impl Into<Path>,
        child: impl Into<Child>,
    ) -> Result<Added, Refused<Child>> {
        let added = self.add(&parent.into(), child.into());
        consume_budget().await;
        let (child, answer) = added?;
        let outcome = answer?.wait().await?;
        Ok(Added { child, outcome })
    }

    /// Adds a child like [`add_child`](Self::add_child), and returns its handle without waiting for its start.
    ///
    /// # Errors
    /// When there is no such supervisor, the supervisor is down or full, the name is taken, or the spec is wrong. The error
    /// gives the child back.
    pub fn begin_add_child(
        &self,
        parent: impl Into<Path>,
        child: impl Into<Child>,
    ) -> Result<ChildHandle, Refused<Child>> {
        self.add(&parent.into(), child.into()).map(|(child, _)| child)
    }

    /// Starts an idle child, and forgets its earlier restarts. Returns when the child is ready. If the start fails, the
    /// child stays idle.
    ///
    /// # Errors
    /// When the child runs (it is neither idle nor being stopped by a command), when its supervisor is down,
    /// when the attempt fails, or when the child still waits for another child at its start deadline
    /// ([`Refusal::WaitsFor`]; the child then continues to wait).
    pub async fn start_child(&self, path: impl Into<Path>) -> Result<Outcome, Refusal> {
        self.command(&path.into(), Command::Start).await
    }

    /// Begins to start a child like [`start_child`](Self::start_child), without waiting for it.
    ///
    /// # Errors
    /// When the command is refused.
    pub fn begin_start_child(&self, path: impl Into<Path>) -> Result<(), Refusal> {
        self.begin_command(&path.into(), Command::Start)
    }

    /// Stops a child. The child stays idle until a command starts it. When the child has ended, returns how it was
    /// stopped.
    ///
    /// # Errors
    /// When there is no such child.
    pub async fn stop_child(&self, path: impl Into<Path>) -> Result<Outcome, Refusal> {
        self.command(&path.into(), Command::Stop).await
    }

    /// Begins to stop a child like [`stop_child`](Self::stop_child), without waiting for it.
    ///
    /// # Errors
    /// When the command is refused.
    pub fn begin_stop_child(&self, path: impl Into<Path>) -> Result<(), Refusal> {
        self.begin_command(&path.into(), Command::Stop)
    }

    /// Stops a child if it runs, and starts it again without a backoff. Returns when the new attempt is ready or has
    /// failed.
    ///
    /// # Errors
    /// When the supervisor of the child is down, the child can run only once, the new attempt fails, or the
    /// child still waits for another child when its start deadline is over ([`Refusal::WaitsFor`]; the child then
    /// continues to wait).
    pub async fn restart_child(&self, path: impl Into<Path>) -> Result<Outcome, Refusal> {
        self.command(&path.into(), Command::Restart).await
    }

    /// Begins to restart a child like [`restart_child`](Self::restart_child), without waiting for it.
    ///
    /// # Errors
    /// When the command is refused.
    pub fn begin_restart_child(&self, path: impl Into<Path>) -> Result<(), Refusal> {
        self.begin_command(&path.into(), Command::Restart)
    }

    /// Stops a child if it runs, and removes it from the tree. Returns when the child has ended.
    ///
    /// # Errors
    /// When siblings depend on the child, or the child is the root.
    pub async fn remove_child(&self, path: impl Into<Path>) -> Result<Outcome, Refusal> {
        self.command(&path.into(), Command::Remove).await
    }

    /// Begins to remove a child like [`remove_child`](Self::remove_child), without waiting for it.
    ///
    /// # Errors
    /// When the command is refused.
    pub fn begin_remove_child(&self, path: impl Into<Path>) -> Result<(), Refusal> {
        self.begin_command(&path.into(), Command::Remove)
    }

    pub(crate) async fn command(&self, path: &Path, command: Command) -> Result<Outcome, Refusal> {
        self.check_not_abandoned()?;
        self.command_on(self.inner.find(path)?, path, command).await
    }

    pub(crate) fn begin_command(&self, path: &Path, command: Command) -> Result<(), Refusal> {
        self.check_not_abandoned()?;
        self.begin_command_on(self.inner.find(path)?, command)
    }

    /// Adds a child. Returns the child and the answer, or the refusal of the wait for the answer.
    fn add(
        &self,
        parent: &Path,
        child: Child,
    ) -> Result<(ChildHandle, Result<PendingAnswer, Refusal>), Refused<Child>> {
        if let Err(refusal) = self.check_not_abandoned() {
            return Err(Refused::new(refusal, child));
        }
        let parts = split(child, Some(parent));
        let place =
            |machine: &Machine, _: &mut ChildDeclaration| machine.find(parent).ok_or(Refusal::NotFound);
        self.inner.add(parts, self.origin.clone(), place, self.of.clone())
    }

    pub(crate) fn check_not_abandoned(&self) -> Result<(), Refusal> {
        if self.of.as_ref().is_some_and(Ctx::is_abandoned) {
            return Err(Refusal::Abandoned);
        }
        check_caller()
    }
}

/// Refuses to change a tree if the calling code runs in an attempt that was abandoned.
pub(crate) fn check_caller() -> Result<(), Refusal> {
    if with_caller(|ctx| ctx.is_some_and(Ctx::is_abandoned)) { Err(Refusal::Abandoned) } else { Ok(()) }
}

/// Returns the attempt of `tree` whose code is calling. If code of another tree is calling, returns the attempt of `tree`
/// that has begun that tree, directly or through further trees.
pub(crate) fn asker_in(tree: &Arc<TreeInner>) -> Option<Asker> {
    let ctx = current()?;
    let mut cell = &ctx.cell;
    let mut of_other_tree = false;
    while !Arc::ptr_eq(&cell.tree, tree) {
        cell = &cell.tree.owner.as_ref()?.cell;
        of_other_tree = true;
    }
    Some(Asker { id: cell.id, attempt: cell.attempt, listens: !of_other_tree && listens(), of_other_tree })
}

/// The reason why a tree is not ready.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum NotReady {
    /// The tree ended before it was ready.
    Ended(Box<Ended>),
    /// The caller is a child for which the tree waits ([`Refusal::WouldWaitForItself`]).
    Refused(Refusal),
}

impl fmt::Display for NotReady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ended(ended) => write!(f, "the tree ended before it was ready: {}", ended.exit),
            Self::Refused(refusal) => refusal.fmt(f),
        }
    }
}

impl std::error::Error for NotReady {}

impl Ctx {
    /// Makes this attempt the owner of a tree that is about to begin.
    pub(crate) fn own_tree(&self) -> Result<Owner, SubtaskError> {
        let number = self.cell.subtasks.admit(&self.cell.orders)?;
        Ok(Owner { cell: Arc::clone(&self.cell), number })
    }

    /// Returns the tree, for commands and for looking at it.
    #[must_use]
    pub fn tree(&self) -> TreeHandle {
        TreeHandle::new(Arc::clone(&self.cell.tree), Some(self.clone()))
    }
}

impl TreeInner {
    /// Lets the attempt that has begun this tree kill it at its end.
    pub(crate) fn belong_to_owner(self: &Arc<Self>) {
        let Some(Owner { cell, number }) = &self.owner else { return };
        let tree = Arc::downgrade(self);
        let kill = move || {
            if let Some(tree) = tree.upgrade() {
                tree.feed(tree.clock.now(), Input::Kill);
            }
        };
        cell.subtasks.store_handle(&cell.orders, *number, SubtaskAbort::Tree(Arc::new(kill)));
    }
}
