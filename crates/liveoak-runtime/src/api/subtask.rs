//! What running code can spawn: subtasks, which do not outlive their attempt, and siblings of the calling child.

use crate::api::child::Child;
use crate::api::child_handle::ChildHandle;
use crate::api::ctx::{Ctx, spawn_place, with_current};
use crate::api::error::Refused;
use crate::attempt::activity::Activity;
use crate::attempt::body::IntoExit;
use crate::attempt::cell::SubtaskAbort;
use crate::attempt::panic::catch;
use crate::attempt::subtasks::NotAdmitted;
use crate::util::lock::lock;
use liveoak_core::{Exit, Refusal};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

impl Ctx {
    /// Spawns a task that belongs to this attempt. When the body ends or is killed, the task is aborted, and the
    /// attempt ends only when the task has ended too. If the task panics, the attempt fails with that panic. If the task
    /// returns an error, the handle yields it; to fail the attempt by an error, use
    /// [`spawn_checked`](Self::spawn_checked).
    ///
    /// If the body has ended or the attempt was abandoned, no task is spawned. The future is dropped in this call, and
    /// the handle yields [`SubtaskError::Aborted`]. An attempt has at most 65,536 subtasks at the same time; the handle
    /// of a further subtask yields [`SubtaskError::TooMany`].
    ///
    /// # Panics
    /// When called outside a Tokio runtime (a [`thread`](crate::Child::thread) child is inside one).
    pub fn spawn<F>(&self, future: F) -> Subtask<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.spawn_subtask(future, |_| None)
    }

    /// Spawns a task as [`spawn`](Self::spawn) does, but a failure of this task cannot be overlooked. While the handle
    /// lives, a failure is left to the code that awaits the handle. If the handle is dropped before it has yielded the
    /// exit, before or after the end of the task, a failure of the task fails the attempt.
    ///
    /// # Panics
    /// As [`spawn`](Self::spawn).
    pub fn spawn_checked<F>(&self, future: F) -> CheckedSubtask
    where
        F: Future<Output: IntoExit> + Send + 'static,
    {
        let outcome = Arc::new(Mutex::new(Checked::Running));
        let theirs = Arc::clone(&outcome);
        let checked = async move { finish(&theirs, future.await.into_exit()) };
        let task = self.spawn_subtask(checked, Clone::clone);
        CheckedSubtask { task, outcome, ctx: self.clone() }
    }

    /// Runs a blocking closure on Tokio's pool of blocking threads. The closure belongs to this attempt, like a task made
    /// by [`spawn`](Self::spawn), but a running closure cannot be aborted. The attempt ends when the closure has returned.
    /// If this takes longer than the stop of the child may take, the attempt is abandoned and reported as abandoned. Let
    /// long closures check [`is_stopping`](Self::is_stopping).
    ///
    /// # Panics
    /// As [`spawn`](Self::spawn).
    pub fn spawn_blocking<F, T>(&self, f: F) -> Subtask<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.spawn_admitted(|number, runtime| {
            let mut subtask = BlockingSubtask { f: Some(f), end: SubtaskEnd::new(self, number) };
            runtime.spawn_blocking(move || subtask.call())
        })
    }

    fn spawn_subtask<F>(&self, future: F, failure_in: fn(&F::Output) -> Option<Exit>) -> Subtask<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let future = Some(Box::pin(future));
        self.spawn_admitted(|number, runtime| {
            runtime.spawn(SubtaskFuture { future, end: SubtaskEnd::new(self, number), failure_in })
        })
    }

    /// Spawns a subtask by `spawn`, if the attempt may have one more.
    fn spawn_admitted<T>(
        &self,
        spawn: impl FnOnce(u64, &LazyRuntime) -> JoinHandle<Option<T>>,
    ) -> Subtask<T> {
        let cell = &self.cell;
        match cell.subtasks.admit(&cell.orders) {
            Err(refused) => Subtask { task: Err(refused.into()) },
            Ok(number) => {
                let task = spawn(number, &LazyRuntime);
                cell.subtasks.store_handle(&cell.orders, number, SubtaskAbort::Task(task.abort_handle()));
                Subtask { task: Ok(task) }
            }
        }
    }
}

/// Looks for the runtime only after the subtask was made. Without a runtime this panics, and the destructor of the subtask
/// reports its end.
struct LazyRuntime;

impl LazyRuntime {
    fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        Handle::current().spawn(future)
    }

    fn spawn_blocking<T: Send + 'static>(&self, f: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        Handle::current().spawn_blocking(f)
    }
}

/// Adds `future` as a temporary child called `name` to the nearest supervisor (not a group) above the calling child.
/// The child is supervised and visible there, and stopped with that supervisor.
///
/// If the name is taken, a dot and a number are appended. For tasks that should not outlive the calling *attempt*, use
/// [`Ctx::spawn`](crate::Ctx::spawn); for many similar tasks, a [`Group`](crate::Group).
///
/// Code that does not run inside a child, such as a task of another library, can spawn inside a scope: see
/// [`Ctx::scope`](crate::Ctx::scope) and [`TreeHandle::scope`](crate::TreeHandle::scope).
///
/// # Errors
/// When the caller is not part of a tree or was abandoned, the name is invalid, or that supervisor is stopping or has
/// 10,000 children already. The error gives the future back.
pub fn spawn<F>(name: &str, future: F) -> Result<ChildHandle, Refused<F>>
where
    F: Future + Send + 'static,
    F::Output: IntoExit + Send,
{
    let Some(place) = spawn_place() else { return Err(Refused::new(Refusal::NotInATree, future)) };
    let (tree, at) = &*place;
    let once = Arc::new(Mutex::new(Some(future)));
    // Weak: if the child is accepted, this call must not be the one that drops the future.
    let refused = Arc::downgrade(&once);
    let child = Child::task(name, move |_ctx| {
        let future = lock(&once).take();
        async move {
            match future {
                Some(future) => future.await.into_exit(),
                None => Exit::failed("a spawned future can run only once"),
            }
        }
    });
    tree.add_spawned(*at, child.only_once()).map_err(|error| {
        let refusal = error.refusal().clone();
        let future = refused.upgrade().and_then(|once| lock(&once).take());
        future.map_or_else(|| Refused::from(refusal.clone()), |future| Refused::new(refusal.clone(), future))
    })
}

/// The handle of a task that belongs to an attempt. Await it for the outcome. If the handle is dropped, the task
/// continues.
///
/// # Cancel safety
/// Safe: the handle can be awaited again.
#[derive(Debug)]
pub struct Subtask<T> {
    task: Result<JoinHandle<Option<T>>, SubtaskError>,
}

/// The reason why a subtask has no outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubtaskError {
    /// It was aborted, or was never spawned because the body had ended or was abandoned.
    Aborted,
    /// It panicked, which fails its attempt.
    Panicked,
    /// It was never spawned: the attempt has 65,536 subtasks already.
    TooMany,
}

impl From<NotAdmitted> for SubtaskError {
    fn from(refused: NotAdmitted) -> Self {
        match refused {
            NotAdmitted::Ended => Self::Aborted,
            NotAdmitted::TooMany => Self::TooMany,
        }
    }
}

impl fmt::Display for SubtaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Aborted => "the subtask was aborted with its attempt",
            Self::Panicked => "the subtask panicked",
            Self::TooMany => "the attempt has 65,536 subtasks already",
        })
    }
}

impl std::error::Error for SubtaskError {}

impl<T> Subtask<T> {
    /// Ends the subtask early.
    pub fn abort(&self) {
        if let Ok(task) = &self.task {
            task.abort();
        }
    }

    /// Returns `true` if the subtask has ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.task.as_ref().map_or(true, JoinHandle::is_finished)
    }
}

impl<T> Future for Subtask<T> {
    type Output = Result<T, SubtaskError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.task {
            Err(refused) => Poll::Ready(Err(*refused)),
            Ok(task) => Pin::new(task).poll(cx).map(|outcome| match outcome {
                Ok(Some(value)) => Ok(value),
                Ok(None) => Err(SubtaskError::Panicked),
                Err(_) => Err(SubtaskError::Aborted),
            }),
        }
    }
}

/// The handle of a task that belongs to an attempt. Await it for the exit. If the handle is dropped before it has yielded
/// the exit, a failure of the task fails the attempt.
///
/// # Cancel safety
/// Safe: the handle can be awaited again, by reference. A handle that is dropped has not been awaited.
pub struct CheckedSubtask {
    task: Subtask<Option<Exit>>,
    outcome: Arc<Mutex<Checked>>,
    ctx: Ctx,
}

/// The state of a checked subtask.
enum Checked {
    /// The subtask runs, and its handle lives.
    Running,
    /// The subtask has ended, and its handle lives.
    Ended(Exit),
    /// The handle has yielded the exit, or was dropped.
    HandleDone,
}

/// Leaves the exit of a checked subtask to its handle. Without a handle, returns the failure of the subtask.
fn finish(outcome: &Mutex<Checked>, exit: Exit) -> Option<Exit> {
    let mut checked = lock(outcome);
    match &*checked {
        Checked::HandleDone => Some(exit).filter(Exit::is_failure),
        Checked::Running | Checked::Ended(_) => {
            *checked = Checked::Ended(exit);
            None
        }
    }
}

impl fmt::Debug for CheckedSubtask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CheckedSubtask").field("task", &self.task).finish_non_exhaustive()
    }
}

impl CheckedSubtask {
    /// Ends the subtask early. This is not a failure.
    pub fn abort(&self) {
        self.task.abort();
    }

    /// Returns `true` if the subtask has ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.task.is_finished()
    }

    /// Takes the exit of a subtask that has ended.
    fn take_exit(&self) -> Option<Exit> {
        match std::mem::replace(&mut *lock(&self.outcome), Checked::HandleDone) {
            Checked::Ended(exit) => Some(exit),
            Checked::Running | Checked::HandleDone => None,
        }
    }
}

impl Future for CheckedSubtask {
    type Output = Result<Exit, SubtaskError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let outcome = ready!(Pin::new(&mut self.task).poll(cx));
        Poll::Ready(outcome.and_then(|_| self.take_exit().ok_or(SubtaskError::Aborted)))
    }
}

impl Drop for CheckedSubtask {
    fn drop(&mut self) {
        if let Some(exit) = self.take_exit().filter(Exit::is_failure) {
            self.ctx.cell.subtask_failed(exit);
        }
    }
}

/// Reports the end of a subtask when it is dropped, however that happens.
struct SubtaskEnd {
    /// `None` only while the code of the subtask runs: the context is in `CURRENT` then.
    ctx: Option<Ctx>,
    number: u64,
    /// The first panic of the subtask, or the failure that fails the attempt.
    failure: Option<Exit>,
}

impl SubtaskEnd {
    fn new(ctx: &Ctx, number: u64) -> Self {
        Self { ctx: Some(ctx.clone()), number, failure: None }
    }

    fn activity(&self) -> Option<&Activity> {
        self.ctx.as_ref().map(|ctx| &ctx.cell.activity)
    }

    /// Runs code of the subtask, and keeps its first panic.
    fn run<T>(&mut self, f: impl FnOnce() -> T) -> Option<T> {
        let (ctx, outcome) = with_current(self.ctx.take()?, || catch(Some("subtask"), f));
        self.ctx = Some(ctx);
        outcome.map_err(|panic| self.failure.get_or_insert(panic)).ok()
    }
}

impl Drop for SubtaskEnd {
    fn drop(&mut self) {
        if let Some(ctx) = self.ctx.take() {
            ctx.cell.subtask_ended(self.number, self.failure.take());
        }
    }
}

/// The task of a subtask. When it is dropped, `future` is dropped first, as code of the attempt.
struct SubtaskFuture<F: Future> {
    future: Option<Pin<Box<F>>>,
    end: SubtaskEnd,
    /// Returns the failure in an output that fails the attempt.
    failure_in: fn(&F::Output) -> Option<Exit>,
}

impl<F: Future> Future for SubtaskFuture<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { future, end, failure_in } = &mut *self;
        let _poll = end.ctx.as_ref().and_then(|ctx| ctx.cell.begin_poll());
        end.activity().inspect(|activity| activity.enter());
        let polled = end.run(|| Some(future.as_mut()?.as_mut().poll(cx)));
        end.activity().inspect(|activity| activity.leave());
        let outcome = match polled.flatten() {
            Some(Poll::Pending) => return Poll::Pending,
            Some(Poll::Ready(outcome)) => Some(outcome),
            None => None,
        };
        if let Some(failure) = outcome.as_ref().and_then(*failure_in) {
            end.failure.get_or_insert(failure);
        }
        // Dropped as code of the attempt, and before the end of the subtask is reported.
        end.run(|| drop(future.take()));
        Poll::Ready(outcome)
    }
}

impl<F: Future> Drop for SubtaskFuture<F> {
    fn drop(&mut self) {
        let Self { future, end, .. } = self;
        end.run(|| drop(future.take()));
    }
}

/// A blocking closure that belongs to an attempt.
struct BlockingSubtask<F> {
    f: Option<F>,
    end: SubtaskEnd,
}

impl<F> BlockingSubtask<F> {
    fn call<T>(&mut self) -> Option<T>
    where
        F: FnOnce() -> T,
    {
        let f = self.f.take()?;
        self.end.run(f)
    }
}

impl<F> Drop for BlockingSubtask<F> {
    fn drop(&mut self) {
        let Self { f, end } = self;
        end.run(|| drop(f.take()));
    }
}
