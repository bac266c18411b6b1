//! Async closures as children.
//!
//! One future per attempt: its first poll calls the factory, the next ones poll the body, and the last one reports the
//! end. Panics of the factory, the body and the body's destructor are caught here.
//!
//! On a kill the future drops the body itself. If the future is dropped instead, its runtime is shutting down; that ends
//! the attempt too.

use crate::api::ctx::{Ctx, current, with_current};
use crate::attempt::body::{Body, IntoExit};
use crate::attempt::orders::{TaskRegistration, poll_body};
use crate::attempt::panic::catch;
use crate::engine::driver::{LiveAttempt, TreeInner};
use liveoak_core::Exit;
use pin_project_lite::pin_project;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::runtime::Handle;

/// Makes the future of one attempt.
pub(crate) trait Factory: Send + Sync + 'static {
    type Future: Future<Output: IntoExit> + Send + 'static;

    fn make(&self, ctx: Ctx) -> Self::Future;
}

impl<F, Fut> Factory for F
where
    F: Fn(Ctx) -> Fut + Send + Sync + 'static,
    Fut: Future<Output: IntoExit> + Send + 'static,
{
    type Future = Fut;

    fn make(&self, ctx: Ctx) -> Fut {
        self(ctx)
    }
}

/// The body of a child that is a task.
pub(crate) struct TaskBody<F> {
    pub(crate) factory: F,
    /// `true` if the body ends itself on a kill, by watching [`Ctx::killed`]. Otherwise the body is dropped.
    pub(crate) handles_kill: bool,
}

impl<F: Factory> Body<Arc<TreeInner>> for TaskBody<F> {
    fn start(self: Arc<Self>, cell: Arc<LiveAttempt>, handle: &Handle) {
        if self.handles_kill {
            cell.orders.leave_kill_to_body();
        }
        let registration = TaskRegistration::default();
        let future = AttemptFuture { state: BodyState::New, cell: Some(cell), body: self, registration };
        // No handle of the task is kept: the future reports its end, and drops its body on a kill.
        drop(handle.spawn(future));
    }
}

pin_project! {
    #[project = BodyStateProj]
    enum BodyState<F: Factory> {
        New,
        Running { #[pin] future: F::Future },
        Ended,
    }
}

pin_project! {
    /// One attempt of a task.
    struct AttemptFuture<F: Factory> {
        #[pin]
        state: BodyState<F>,
        // `None` only while the body is being polled or dropped: the cell is in the current context of the thread then.
        cell: Option<Arc<LiveAttempt>>,
        registration: TaskRegistration,
        // Kept to the end. The members of a group share it, so each attempt counts it only twice.
        body: Arc<TaskBody<F>>,
    }

    impl<F: Factory> PinnedDrop for AttemptFuture<F> {
        fn drop(mut this: Pin<&mut Self>) {
            if let Some(cell) = this.as_mut().project().cell.take()
                && !matches!(this.state, BodyState::Ended)
            {
                if cell.on_root {
                    // Only the shutdown of the tree's runtime drops a task that has not ended.
                    cell.tree.runtime_lost();
                }
                AttemptFuture::end(this, cell, Exit::Killed);
            }
        }
    }
}

impl<F: Factory> AttemptFuture<F> {
    /// Drops the body, then reports `exit`. A panic of the body's destructor replaces an exit that was no failure, or a
    /// kill.
    fn end(self: Pin<&mut Self>, cell: Arc<LiveAttempt>, exit: Exit) {
        let mut state = self.project().state;
        let drop_body = || catch(Some("destructor"), || state.as_mut().set(BodyState::Ended));
        let (ctx, dropped) = with_current(Ctx::new(cell), drop_body);
        let exit = match dropped {
            Err(panic) if !exit.is_failure() || matches!(exit, Exit::Killed) => {
                Exit::Panicked(Arc::new(panic))
            }
            Err(_) | Ok(()) => exit,
        };
        ctx.into_cell().body_ended(exit);
    }
}

/// Polls the user's code once. The first poll makes the future.
fn poll_user<F: Factory>(
    body: &TaskBody<F>,
    mut state: Pin<&mut BodyState<F>>,
    cx: &mut Context<'_>,
) -> Poll<Exit> {
    if let BodyState::New = &*state {
        let Some(ctx) = current() else { return Poll::Ready(Exit::Killed) };
        match catch(Some("factory"), || body.factory.make(ctx)) {
            Ok(future) => state.set(BodyState::Running { future }),
            Err(panic) => return Poll::Ready(Exit::Panicked(Arc::new(panic))),
        }
    }
    match state.project() {
        BodyStateProj::Running { future } => future.poll(cx).map(IntoExit::into_exit),
        BodyStateProj::New | BodyStateProj::Ended => Poll::Ready(Exit::Completed),
    }
}

impl<F: Factory> Future for AttemptFuture<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.as_mut().project();
        let Some(cell) = this.cell.take() else { return Poll::Ready(()) };
        let (body, state) = (this.body, this.state);
        let (cell, polled) = poll_body(cell, this.registration, cx, |cell, cx| {
            let (ctx, polled) = with_current(Ctx::new(cell), || catch(None, || poll_user(body, state, cx)));
            let polled = polled.unwrap_or_else(|panic| Poll::Ready(Exit::Panicked(Arc::new(panic))));
            (ctx.into_cell(), polled)
        });
        match polled {
            Poll::Pending => {
                *self.project().cell = Some(cell);
                Poll::Pending
            }
            Poll::Ready(exit) => {
                self.end(cell, exit.unwrap_or(Exit::Killed));
                Poll::Ready(())
            }
        }
    }
}
