//! What a running attempt knows and can say.

use crate::body::IntoExit;
use crate::cell::Cell;
use crate::child::Child;
use crate::error::SpawnChildError;
use crate::panic::catch;
use crate::race::{Either, race};
use crate::tree::TreeHandle;
use liveoak_core::{Attempt, ChildId, Exit, Health, Input, Panic, Path};
use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::runtime::Handle;

/// The context of one attempt of one child. Cheap to clone; all clones mean the same attempt, and once it is
/// over, whatever is said through them changes nothing.
#[derive(Clone)]
pub struct Ctx {
    cell: Arc<Cell>,
}

impl fmt::Debug for Ctx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ctx")
            .field("path", &self.path())
            .field("attempt", &self.attempt())
            .finish_non_exhaustive()
    }
}

impl Ctx {
    pub(crate) const fn new(cell: Arc<Cell>) -> Self {
        Self { cell }
    }

    pub(crate) fn into_cell(self) -> Arc<Cell> {
        self.cell
    }

    /// Where the child stands.
    #[must_use]
    pub fn path(&self) -> Path {
        self.cell.path()
    }

    /// The child's handle.
    #[must_use]
    pub fn id(&self) -> ChildId {
        self.cell.id
    }

    /// Which attempt this is: 1 for the first.
    #[must_use]
    pub fn attempt(&self) -> Attempt {
        self.cell.attempt
    }

    /// How the attempt before this one ended; none for the first.
    #[must_use]
    pub fn last_exit(&self) -> Option<Exit> {
        self.cell.tree.last_exit(self.cell.id)
    }

    /// Says that this attempt is ready. Of effect for children whose readiness was declared
    /// [`reports_ready`](Child::reports_ready); saying it again changes nothing.
    pub fn ready(&self) {
        self.tell(Input::Ready { id: self.cell.id, attempt: self.cell.attempt });
    }

    /// Says that the work of this attempt has ended with `exit`, although something of it is still being cleaned up. For
    /// [adapters](Child::task_with_kill): from here on the child counts as stopping and has the time that its stop may
    /// take; after that [`killed`](Self::killed) completes. `exit` decides about its restart, whatever the body
    /// returns.
    pub fn report_exit(&self, exit: Exit) {
        self.cell.tree.ending(&self.cell, exit);
    }

    /// Says how the child is.
    pub fn health(&self, health: Health) {
        self.tell(Input::Health { id: self.cell.id, attempt: self.cell.attempt, health });
    }

    fn tell(&self, input: Input) {
        let tree = &self.cell.tree;
        tree.feed(tree.clock.now(), input);
    }

    /// Says that the child lives. Costs about a nanosecond. Of effect for children with a
    /// [`heartbeat`](Child::heartbeat).
    pub fn heartbeat(&self) {
        self.cell.beat();
    }

    /// Waits until the child is asked to stop. The request is latched: whoever asks later still sees it.
    ///
    /// # Cancel safety
    /// Safe: nothing is lost when this future is dropped.
    pub fn stopping(&self) -> impl Future<Output = ()> + Send + '_ {
        self.cell.stopping()
    }

    /// Whether the child was asked to stop.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.cell.is_stopping()
    }

    pub(crate) fn is_killed(&self) -> bool {
        self.cell.is_killed()
    }

    /// Waits until the child is ordered to end at once. Only bodies made with [`Child::task_with_kill`] see this happen;
    /// others are aborted then.
    ///
    /// # Cancel safety
    /// Safe.
    pub fn killed(&self) -> impl Future<Output = ()> + Send + '_ {
        self.cell.killed()
    }

    /// Sleeps for `duration`, or until the child is asked to stop. Whether the full time has passed.
    ///
    /// # Cancel safety
    /// Safe; a new call sleeps anew.
    pub async fn sleep(&self, duration: Duration) -> bool {
        self.unless_stopping(tokio::time::sleep(duration)).await.is_some()
    }

    /// Runs `future` until it is done, or until the child is asked to stop: then it is dropped, and there is no
    /// outcome. Wrap what may wait for long, so that the child stops when asked.
    ///
    /// # Cancel safety
    /// As safe as `future` is.
    pub async fn unless_stopping<F: Future>(&self, future: F) -> Option<F::Output> {
        match race(self.stopping(), future).await {
            Either::Left(()) => None,
            Either::Right(outcome) => Some(outcome),
        }
    }

    /// The tree, for looking at it and for commands.
    #[must_use]
    pub fn tree(&self) -> TreeHandle {
        TreeHandle::new(Arc::clone(&self.cell.tree))
    }

    /// Spawns a task that belongs to this attempt: when the body ends, or is killed, it is aborted, and the
    /// attempt counts as gone only when it is gone too. If it panics, the attempt fails with that panic. On an
    /// attempt that is over nothing is spawned, and the handle says so.
    ///
    /// # Panics
    /// When called outside a Tokio runtime (a [`thread`](Child::thread) child is inside one).
    pub fn spawn<F>(&self, future: F) -> Subtask<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let Some(number) = self.cell.admit_subtask() else { return Subtask { task: None } };
        let guard = SubtaskGuard { ctx: self.clone(), number, failed: None };
        let task = Handle::current().spawn(SubtaskRun { future: Some(Box::pin(future)), guard });
        self.cell.keep_subtask(number, task.abort_handle());
        Subtask { task: Some(task) }
    }
}

/// A task that belongs to an attempt. Await it for its outcome, or drop it: the task goes on.
///
/// # Cancel safety
/// Safe: awaiting again goes on waiting.
#[derive(Debug)]
pub struct Subtask<T> {
    task: Option<tokio::task::JoinHandle<Option<T>>>,
}

/// Why a subtask has no outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubtaskError {
    /// It was aborted, or was never begun because the attempt was over.
    Aborted,
    /// It panicked, which fails its attempt.
    Panicked,
}

impl fmt::Display for SubtaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Aborted => "the subtask was aborted with its attempt",
            Self::Panicked => "the subtask panicked",
        })
    }
}

impl std::error::Error for SubtaskError {}

impl<T> Subtask<T> {
    /// Ends the subtask early.
    pub fn abort(&self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }

    /// Whether the subtask has ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.task.as_ref().is_none_or(tokio::task::JoinHandle::is_finished)
    }
}

impl<T> Future for Subtask<T> {
    type Output = Result<T, SubtaskError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.task {
            None => Poll::Ready(Err(SubtaskError::Aborted)),
            Some(task) => Pin::new(task).poll(cx).map(|outcome| match outcome {
                Ok(Some(value)) => Ok(value),
                Ok(None) => Err(SubtaskError::Panicked),
                Err(_) => Err(SubtaskError::Aborted),
            }),
        }
    }
}

/// Tells the cell when a subtask is gone, however that happens.
struct SubtaskGuard {
    ctx: Ctx,
    number: u64,
    failed: Option<Panic>,
}

impl Drop for SubtaskGuard {
    fn drop(&mut self) {
        let failed = self.failed.take().map(|panic| Exit::Panicked(Arc::new(panic)));
        self.ctx.cell.subtask_ended(self.number, failed);
    }
}

struct SubtaskRun<F: Future> {
    future: Option<Pin<Box<F>>>,
    guard: SubtaskGuard,
}

impl<F: Future> SubtaskRun<F> {
    fn drop_future(&mut self) {
        let future = self.future.take();
        let ctx = self.guard.ctx.clone();
        if let (_, Err(panic)) = entered(ctx, || catch(Some("subtask"), || drop(future))) {
            self.guard.failed.get_or_insert(panic);
        }
    }
}

impl<F: Future> Future for SubtaskRun<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let Some(future) = &mut this.future else { return Poll::Ready(None) };
        let ctx = this.guard.ctx.clone();
        let (_, polled) = entered(ctx, || catch(Some("subtask"), || future.as_mut().poll(cx)));
        match polled {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(outcome)) => {
                this.drop_future();
                Poll::Ready(Some(outcome))
            }
            Err(panic) => {
                this.guard.failed = Some(panic);
                this.drop_future();
                Poll::Ready(None)
            }
        }
    }
}

impl<F: Future> Drop for SubtaskRun<F> {
    fn drop(&mut self) {
        self.drop_future();
    }
}

thread_local! {
    /// The attempt whose code this thread is running now.
    static CURRENT: RefCell<Option<Ctx>> = const { RefCell::new(None) };
}

/// Runs `f`, which must not panic, as code of `ctx`'s attempt, and gives the context back.
pub(crate) fn entered<T>(ctx: Ctx, f: impl FnOnce() -> T) -> (Ctx, T) {
    let mut given = Some(ctx);
    // A thread that is ending has no current context any more, but may still end a runtime that it kept for itself.
    let entered = CURRENT.try_with(|current| current.replace(given.take()));
    let outcome = f();
    match entered.map_or(given, |before| CURRENT.replace(before)) {
        Some(ctx) => (ctx, outcome),
        None => unreachable!("whoever replaces the current context puts it back"),
    }
}

/// The context of the attempt that this code runs in; none outside of every tree.
#[must_use]
pub fn current() -> Option<Ctx> {
    // A thread that is ending has no current context any more.
    CURRENT.try_with(|current| current.borrow().clone()).ok().flatten()
}

/// Adds `future` as a temporary child called `name` to the supervisor of the child that calls this: it is
/// supervised, visible and stopped with it. If the name is taken, a dot and a number are appended. For tasks that
/// should not outlive the calling *attempt*, use [`Ctx::spawn`]; for many alike, a [`Group`](crate::Group).
///
/// # Errors
/// When the caller is not part of a tree, or its supervisor is stopping or has 10,000 children already.
pub fn spawn<F>(name: &str, future: F) -> Result<ChildId, SpawnChildError>
where
    F: Future + Send + 'static,
    F::Output: IntoExit + Send,
{
    let ctx = current().ok_or(SpawnChildError::NotInATree)?;
    let once = Mutex::new(Some(future));
    let child = Child::task(name, move |_ctx| {
        let future = once.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        async move {
            match future {
                Some(future) => future.await.into_exit(),
                None => Exit::failed("a spawned future can run only once"),
            }
        }
    });
    ctx.cell.tree.add_beside(ctx.cell.id, child.once()).map_err(SpawnChildError::Refused)
}
