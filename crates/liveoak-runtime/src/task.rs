//! Async closures as children.
//!
//! One future per attempt: it calls the factory at its first poll, polls the body, and reports the end. Whatever
//! panics (factory, body, destructor) is caught here. It drops the body itself when it is ordered to; whatever else drops
//! it is the end of its runtime, and an end too.

use crate::body::{Body, IntoExit};
use crate::cell::Cell;
use crate::ctx::{Ctx, current, entered};
use crate::latch::Watch;
use crate::life::poll_body;
use crate::panic::catch;
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

/// A body that is a task.
pub(crate) struct TaskBody<F> {
    pub(crate) factory: F,
    /// Whether a kill is left to the body, which watches [`Ctx::killed`]; else its task is aborted.
    pub(crate) kills_itself: bool,
}

impl<F: Factory> Body for TaskBody<F> {
    fn start(self: Arc<Self>, cell: Arc<Cell>, handle: &Handle) {
        if self.kills_itself {
            cell.leave_kill_to_body();
        }
        // Nobody needs a handle: the end is reported, and an abort is an order like others.
        drop(handle.spawn(Run {
            stage: Stage::Begin,
            cell: Some(cell),
            body: self,
            watch: Watch::default(),
        }));
    }
}

pin_project! {
    #[project = StageProj]
    enum Stage<F: Factory> {
        Begin,
        Body { #[pin] future: F::Future },
        Over,
    }
}

pin_project! {
    /// One attempt of a task. Its end is reported by the poll that sees it, or by the drop that causes it.
    struct Run<F: Factory> {
        #[pin]
        stage: Stage<F>,
        // None only while the body is being polled or dropped: it is the thread's current context then.
        cell: Option<Arc<Cell>>,
        watch: Watch,
        // Kept to the end: the members of a group share it, and counting it twice is enough.
        body: Arc<TaskBody<F>>,
    }

    impl<F: Factory> PinnedDrop for Run<F> {
        fn drop(mut this: Pin<&mut Self>) {
            if let Some(cell) = this.as_mut().project().cell.take()
                && !matches!(this.stage, Stage::Over)
            {
                if cell.on_root {
                    // Only the end of the tree's runtime drops a task. Nothing can be restarted there.
                    cell.tree.collapse();
                }
                Run::end(this, cell, Exit::Killed);
            }
        }
    }
}

impl<F: Factory> Run<F> {
    /// Drops the body, then reports `exit`; a panic of the body's destructor takes its place if it was none.
    fn end(self: Pin<&mut Self>, cell: Arc<Cell>, exit: Exit) {
        let mut stage = self.project().stage;
        let (ctx, dropped) =
            entered(Ctx::new(cell), || catch(Some("destructor"), || stage.as_mut().set(Stage::Over)));
        let exit = match dropped {
            Err(panic) if !exit.is_failure() || matches!(exit, Exit::Killed) => {
                Exit::Panicked(Arc::new(panic))
            }
            Err(_) | Ok(()) => exit,
        };
        ctx.into_cell().body_ended(exit);
    }
}

/// One poll of the user's code.
fn step<F: Factory>(body: &TaskBody<F>, mut stage: Pin<&mut Stage<F>>, cx: &mut Context<'_>) -> Poll<Exit> {
    if let Stage::Begin = &*stage {
        let Some(ctx) = current() else { return Poll::Ready(Exit::Killed) };
        match catch(Some("factory"), || body.factory.make(ctx)) {
            Ok(future) => stage.set(Stage::Body { future }),
            Err(panic) => return Poll::Ready(Exit::Panicked(Arc::new(panic))),
        }
    }
    match stage.project() {
        StageProj::Body { future } => future.poll(cx).map(IntoExit::into_exit),
        StageProj::Begin | StageProj::Over => Poll::Ready(Exit::Completed),
    }
}

impl<F: Factory> Future for Run<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.as_mut().project();
        let Some(cell) = this.cell.take() else { return Poll::Ready(()) };
        let (body, stage) = (this.body, this.stage);
        let (cell, polled) = poll_body(cell, this.watch, cx, |cell, cx| {
            let (ctx, polled) = entered(Ctx::new(cell), || catch(None, || step(body, stage, cx)));
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
