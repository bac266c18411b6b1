//! Handles of single children: commands, and waits for their exits and their readiness.

use crate::api::scope::{Place, Scoped};
use crate::api::tree::{TreeHandle, asker_in};
use crate::attempt::cell::AttemptListener as _;
use crate::engine::command::{Begun, PendingAnswer, Wait};
use crate::engine::watch::Watch;
use crate::util::waker_guard::WakerGuard;
use liveoak_core::{Attempt, ChildId, ChildView, Command, Exit, Moment, Outcome, Path, Refusal};
use std::fmt;
use std::future::Future;
use std::sync::{Arc, OnceLock};
use tokio::sync::Mutex;
use tokio::task::coop::consume_budget;

/// Commands one child and waits for it. Cheap to clone; keeps neither the child nor the tree running.
///
/// A handle refers to a child by its id. If the child leaves the tree, the handle never refers to another child of the same
/// path: its methods are then refused ([`Refusal::NotFound`]).
///
/// Handles come from [`TreeHandle::child`], [`TreeHandle::child_by_id`], [`TreeHandle::add_child`],
/// [`GroupHandle::spawn`](crate::GroupHandle::spawn) and [`spawn`](crate::spawn). What [`TreeHandle`] says about refusals,
/// cancel safety and commands from inside the tree holds here too.
///
/// ```
/// # use liveoak_runtime::{Child, Ctx, Exit, Supervisor};
/// # liveoak_runtime::testing::paused(async {
/// # let tree = Supervisor::new("shop").start().await.unwrap();
/// let import = Child::once("import", |_ctx: Ctx| async { Err::<(), _>("disk full") });
/// let job = tree.begin_add_child("/shop", import)?;
/// let exited = job.exited().await?;
/// assert_eq!(exited.exit.to_string(), "failed: disk full");
/// # Ok::<(), liveoak_runtime::Refusal>(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
pub struct ChildHandle {
    tree: TreeHandle,
    id: ChildId,
    /// The exit of a child that leaves the tree after its only attempt.
    only_exit: Option<Arc<OnlyExit>>,
}

impl fmt::Debug for ChildHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChildHandle")
            .field("id", &self.id)
            .field("path", &self.path())
            .finish_non_exhaustive()
    }
}

/// How an attempt of a child has ended.
#[derive(Clone, Debug)]
pub struct Exited {
    /// The number of the attempt.
    pub attempt: Attempt,
    /// Its exit.
    pub exit: Exit,
}

/// A child that was added, and what its start did.
#[derive(Clone, Debug)]
pub struct Added {
    /// The child.
    pub child: ChildHandle,
    /// What the start did: the child is ready, has finished already, or is not needed.
    pub outcome: Outcome,
}

/// The exit of the only attempt of a child, for all clones of its handle.
pub(crate) struct OnlyExit {
    known: OnceLock<Result<Exited, Refusal>>,
    answer: Mutex<PendingAnswer>,
}

impl OnlyExit {
    pub(crate) fn new(answer: PendingAnswer) -> Arc<Self> {
        Arc::new(Self { known: OnceLock::new(), answer: Mutex::new(answer) })
    }

    async fn wait(&self) -> Result<Exited, Refusal> {
        let waits = async {
            let mut answer = self.answer.lock().await;
            if self.known.get().is_none() {
                let answered = answer.answered().await.and_then(exited);
                let _ = self.known.set(answered);
            }
        };
        if self.known.get().is_none() {
            WakerGuard::new().wait(std::pin::pin!(waits)).await;
        }
        self.known.get().cloned().unwrap_or(Err(Refusal::TreeEnded))
    }
}

/// Returns the exit in the answer to a wait for an exit.
pub(crate) fn exited(outcome: Outcome) -> Result<Exited, Refusal> {
    match outcome {
        Outcome::Exited { attempt, exit, .. } => Ok(Exited { attempt, exit }),
        Outcome::Ready { .. }
        | Outcome::Ignored
        | Outcome::Finished { .. }
        | Outcome::Stopped(_)
        | Outcome::Removed(_)
        | Outcome::Paused
        | Outcome::Resumed
        | Outcome::Quarantined(_) => unreachable!("the wait for an exit is answered by an exit"),
    }
}

impl ChildHandle {
    pub(crate) const fn new(tree: TreeHandle, id: ChildId, only_exit: Option<Arc<OnlyExit>>) -> Self {
        Self { tree, id, only_exit }
    }

    /// Returns the id of the child.
    #[must_use]
    pub const fn id(&self) -> ChildId {
        self.id
    }

    /// Returns the path of the child, or `None` if it has left the tree.
    #[must_use]
    pub fn path(&self) -> Option<Path> {
        self.tree.inner.path(self.id)
    }

    /// Returns the tree of the child.
    #[must_use]
    pub const fn tree(&self) -> &TreeHandle {
        &self.tree
    }

    /// Returns the child as it is now, with all children below it. Returns `None` if it has left the tree.
    #[must_use]
    pub fn view(&self) -> Option<ChildView> {
        self.tree.inner.look_at(self.id)
    }

    /// Waits for the end of the current attempt, and returns its exit. Without an attempt it returns the exit of the last
    /// one, or waits for the first.
    ///
    /// # Errors
    /// When the child has left the tree ([`Refusal::NotFound`]). The exit of a temporary child that was added or
    /// [spawned](crate::spawn) is still returned then, by the handle of this addition and its clones. A tree keeps at most
    /// 32,768 such exits of children that still run; further handles return the refusal. Members of groups are
    /// too many for this; [`GroupHandle::run`](crate::GroupHandle::run) adds a member and returns its exit. When the
    /// caller is part of the child and would wait for its own end. When the tree ends before.
    pub async fn exited(&self) -> Result<Exited, Refusal> {
        let exit = self.wait(Moment::Exit).await;
        match (exit, &self.only_exit) {
            (Err(Refusal::NotFound), Some(only)) => only.wait().await,
            (exit, _) => exit.and_then(exited),
        }
    }

    /// Waits until an attempt of the child is ready: the current one, or a later one after restarts. Returns immediately
    /// if the child is ready. A child that is not needed here, or has finished with success, also ends the wait: the
    /// outcome says so.
    ///
    /// # Errors
    /// When only a command can start the child ([`Refusal::Down`], [`Refusal::SupervisorDown`]), when it has finished with
    /// a failure, has left the tree, or the tree has ended; or when the caller is a child for which this child waits.
    pub async fn ready(&self) -> Result<Outcome, Refusal> {
        self.wait(Moment::Ready).await
    }

    async fn wait(&self, moment: Moment) -> Result<Outcome, Refusal> {
        let inner = &self.tree.inner;
        let watch = inner.watch_child(self.id, moment, asker_in(inner));
        consume_budget().await;
        match watch? {
            Watch::Answered(outcome) => Ok(outcome),
            Watch::Waits(pending) => pending.wait().await,
        }
    }

    /// Waits until the child is as `wanted` says; see [`TreeHandle::wait_for`].
    ///
    /// # Errors
    /// When the child has left the tree at the call, or the tree ends before.
    pub async fn wait_for(&self, wanted: impl FnMut(&ChildView) -> bool) -> Result<ChildView, Refusal> {
        let mut wanted = wanted;
        let path = self.known_path()?;
        self.tree.inner.wait_for(&path, |view| view.id == self.id && wanted(view)).await
    }

    /// Starts the child if it is idle; see [`TreeHandle::start_child`].
    ///
    /// # Errors
    /// As [`TreeHandle::start_child`].
    pub async fn start(&self) -> Result<Outcome, Refusal> {
        self.command(Command::Start).await
    }

    /// Begins to start the child, without waiting for it.
    ///
    /// # Errors
    /// When the command is refused.
    pub fn begin_start(&self) -> Result<(), Refusal> {
        self.begin(Command::Start)
    }

    /// Stops the child; see [`TreeHandle::stop_child`].
    ///
    /// # Errors
    /// As [`TreeHandle::stop_child`].
    pub async fn stop(&self) -> Result<Outcome, Refusal> {
        self.command(Command::Stop).await
    }

    /// Begins to stop the child, without waiting for it.
    ///
    /// # Errors
    /// When the command is refused.
    pub fn begin_stop(&self) -> Result<(), Refusal> {
        self.begin(Command::Stop)
    }

    /// Restarts the child; see [`TreeHandle::restart_child`].
    ///
    /// # Errors
    /// As [`TreeHandle::restart_child`].
    pub async fn restart(&self) -> Result<Outcome, Refusal> {
        self.command(Command::Restart).await
    }

    /// Begins to restart the child, without waiting for it.
    ///
    /// # Errors
    /// When the command is refused.
    pub fn begin_restart(&self) -> Result<(), Refusal> {
        self.begin(Command::Restart)
    }

    /// Stops the child and removes it from the tree; see [`TreeHandle::remove_child`].
    ///
    /// # Errors
    /// As [`TreeHandle::remove_child`].
    pub async fn remove(&self) -> Result<Outcome, Refusal> {
        self.command(Command::Remove).await
    }

    /// Begins to remove the child, without waiting for it.
    ///
    /// # Errors
    /// When the command is refused.
    pub fn begin_remove(&self) -> Result<(), Refusal> {
        self.begin(Command::Remove)
    }

    /// Returns the path of the child, or why there is none.
    pub(crate) fn known_path(&self) -> Result<Path, Refusal> {
        self.path().ok_or_else(|| self.tree.inner.state().refusal_of_absent())
    }

    pub(crate) async fn command(&self, command: Command) -> Result<Outcome, Refusal> {
        let path = self.known_path()?;
        self.tree.command_on(self.id, &path, command).await
    }

    pub(crate) fn begin(&self, command: Command) -> Result<(), Refusal> {
        self.tree.begin_command_on(self.id, command)
    }

    /// Runs `future` as code from which [`spawn`](crate::spawn) adds children to this child, if it is a supervisor, or to
    /// the nearest supervisor above it.
    pub fn scope<F: Future>(&self, future: F) -> Scoped<F> {
        Scoped::new(future, Place::Child(Arc::new((Arc::clone(&self.tree.inner), self.id))))
    }
}

impl TreeHandle {
    /// Returns the handle of the child at `path`.
    ///
    /// # Errors
    /// When there is no such child.
    pub fn child(&self, path: impl Into<Path>) -> Result<ChildHandle, Refusal> {
        self.inner.find(&path.into()).map(|id| ChildHandle::new(self.clone(), id, None))
    }

    /// Returns the handle of the child with this id.
    ///
    /// # Errors
    /// When the tree has no such child, or no longer has it.
    pub fn child_by_id(&self, id: ChildId) -> Result<ChildHandle, Refusal> {
        self.inner.path(id).ok_or(Refusal::NotFound)?;
        Ok(ChildHandle::new(self.clone(), id, None))
    }

    /// Waits until the child at `path` is as `wanted` says, and returns it as it was then. Looks immediately, and again
    /// after each event that may concern the child; it never polls, and no change that lasts is missed. A state that
    /// lasts only for a moment may be missed; [`events`](Self::events) has every transition. The child may be added later.
    /// A look at a supervisor or a group costs as much as a [`snapshot`](Self::snapshot).
    ///
    /// ```
    /// # use liveoak_runtime::{Child, ChildState, Ctx, Supervisor};
    /// # liveoak_runtime::testing::paused(async {
    /// # let web = |ctx: Ctx| async move { ctx.stopping().await };
    /// # let tree = Supervisor::new("shop").child(Child::task("web", web)).start().await.unwrap();
    /// tree.begin_restart_child("/shop/web")?;
    /// let web = tree.wait_for("/shop/web", |web| web.attempt.0 == 2 && web.state == ChildState::Running).await?;
    /// assert_eq!(web.restarts, 0); // A restart by command does not count.
    /// # Ok::<(), liveoak_runtime::Refusal>(())
    /// # }).unwrap();
    /// ```
    ///
    /// A child that waits for a state of itself or of a supervisor above it waits inside
    /// [`Ctx::unless_stopping`](crate::Ctx::unless_stopping), so that it still ends when it is asked to stop.
    ///
    /// # Errors
    /// When the tree ends before ([`Refusal::TreeEnded`]).
    ///
    /// # Cancel safety
    /// Safe: nothing changes when this future is dropped.
    pub async fn wait_for(
        &self,
        path: impl Into<Path>,
        wanted: impl FnMut(&ChildView) -> bool,
    ) -> Result<ChildView, Refusal> {
        let path = path.into();
        self.inner.wait_for(&path, wanted).await
    }

    /// Gives a command on one child, and waits for its effect. `path` is the path of the child.
    pub(crate) async fn command_on(
        &self,
        id: ChildId,
        path: &Path,
        command: Command,
    ) -> Result<Outcome, Refusal> {
        let begun = self.begin_waiting(id, command);
        // A loop of commands that are answered immediately must let other tasks run.
        consume_budget().await;
        self.finish(path, begun?).await
    }

    /// Gives a command on one child whose effect the caller waits for.
    pub(crate) fn begin_waiting(&self, id: ChildId, command: Command) -> Result<Begun, Refusal> {
        self.check_not_abandoned()?;
        self.inner.command(id, command, Wait::For(asker_in(&self.inner)), self.origin.clone())
    }

    /// Waits for the effect of a command.
    pub(crate) async fn finish(&self, path: &Path, begun: Begun) -> Result<Outcome, Refusal> {
        match begun {
            Begun::Answered(outcome, stop_wait) => Ok(self.inner.settled(path, outcome, stop_wait).await),
            Begun::Waits(pending, stop_wait) => {
                let outcome = pending.wait().await?;
                Ok(self.inner.settled(path, outcome, stop_wait).await)
            }
            Begun::NotWaitedFor => Err(Refusal::WouldWaitForItself { begun: true }),
        }
    }

    pub(crate) fn begin_command_on(&self, id: ChildId, command: Command) -> Result<(), Refusal> {
        self.check_not_abandoned()?;
        self.inner.command(id, command, Wait::No, self.origin.clone()).map(drop)
    }
}

impl From<Added> for ChildHandle {
    fn from(added: Added) -> Self {
        added.child
    }
}
