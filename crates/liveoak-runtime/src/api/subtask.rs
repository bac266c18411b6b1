//! What running code can spawn: subtasks, which cannot outlive their attempt, and children beside the calling child.

use crate::api::child::Child;
use crate::api::ctx::{Ctx, current, with_current};
use crate::api::error::SpawnChildError;
use crate::attempt::body::IntoExit;
use crate::attempt::panic::catch;
use crate::util::lock::lock;
use liveoak_core::{ChildId, Exit};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

impl Ctx {
    /// Spawns a task that belongs to this attempt. When the body ends or is killed, the task is aborted, and the
    /// attempt ends only when the task has ended too. If the task panics, the attempt fails with that panic.
    ///
    /// After the end of the body, or an abandonment, no task is spawned; the returned handle yields
    /// [`SubtaskError::Aborted`].
    ///
    /// # Panics
    /// When called outside a Tokio runtime (a [`thread`](crate::Child::thread) child is inside one).
    pub fn spawn<F>(&self, future: F) -> Subtask<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let cell = &self.cell;
        let Some(number) = cell.subtasks.admit(&cell.orders) else { return Subtask { task: None } };
        let future = Some(Box::pin(future));
        // Made before the runtime is looked for. If there is none, this panics, and the destructor of the subtask
        // reports its end.
        let subtask = SubtaskFuture { future, ctx: Some(self.clone()), number, panic: None };
        let task = Handle::current().spawn(subtask);
        cell.subtasks.store_handle(&cell.orders, number, task.abort_handle());
        Subtask { task: Some(task) }
    }
}

/// Adds `future` as a temporary child called `name` to the nearest supervisor (not a group) above the calling child.
/// It is supervised, visible and stopped with that supervisor.
///
/// If the name is taken, a dot and a number are appended. For tasks that should not outlive the calling *attempt*, use
/// [`Ctx::spawn`](crate::Ctx::spawn); for many similar tasks, a [`Group`](crate::Group).
///
/// # Errors
/// When the caller is not part of a tree, the name is invalid, or that supervisor is stopping or has 10,000 children
/// already.
pub fn spawn<F>(name: &str, future: F) -> Result<ChildId, SpawnChildError>
where
    F: Future + Send + 'static,
    F::Output: IntoExit + Send,
{
    let ctx = current().ok_or(SpawnChildError::NotInATree)?;
    let once = Mutex::new(Some(future));
    let child = Child::task(name, move |_ctx| {
        let future = lock(&once).take();
        async move {
            match future {
                Some(future) => future.await.into_exit(),
                None => Exit::failed("a spawned future can run only once"),
            }
        }
    });
    ctx.cell.tree.add_spawned(ctx.id(), child.once()).map_err(SpawnChildError::Refused)
}

/// A task that belongs to an attempt. Await it for its outcome. If the handle is dropped, the task goes on.
///
/// # Cancel safety
/// Safe: the handle can be awaited again.
#[derive(Debug)]
pub struct Subtask<T> {
    task: Option<JoinHandle<Option<T>>>,
}

/// Why a subtask has no outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubtaskError {
    /// It was aborted, or was never spawned because the body had ended or was abandoned.
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

    /// Returns `true` if the subtask has ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.task.as_ref().is_none_or(JoinHandle::is_finished)
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

/// The task of a subtask. When it is dropped, however that happens, it reports the end of the subtask.
struct SubtaskFuture<F: Future> {
    future: Option<Pin<Box<F>>>,
    /// `None` only while the code of the subtask runs: the context is in `CURRENT` then.
    ctx: Option<Ctx>,
    number: u64,
    panic: Option<Exit>,
}

impl<F: Future> SubtaskFuture<F> {
    /// Runs code of the subtask, and keeps its first panic.
    fn run<T>(&mut self, f: impl FnOnce(&mut Option<Pin<Box<F>>>) -> T) -> Option<T> {
        let future = &mut self.future;
        let (ctx, outcome) = with_current(self.ctx.take()?, || catch(Some("subtask"), || f(future)));
        self.ctx = Some(ctx);
        outcome.map_err(|panic| self.panic.get_or_insert(panic)).ok()
    }
}

impl<F: Future> Future for SubtaskFuture<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let polled = self.run(|future| Some(future.as_mut()?.as_mut().poll(cx)));
        let outcome = match polled.flatten() {
            Some(Poll::Pending) => return Poll::Pending,
            Some(Poll::Ready(outcome)) => Some(outcome),
            None => None,
        };
        // Dropped inside the attempt, and before its end is reported.
        self.run(|future| drop(future.take()));
        Poll::Ready(outcome)
    }
}

impl<F: Future> Drop for SubtaskFuture<F> {
    fn drop(&mut self) {
        self.run(|future| drop(future.take()));
        if let Some(ctx) = self.ctx.take() {
            ctx.cell.subtask_ended(self.number, self.panic.take());
        }
    }
}
