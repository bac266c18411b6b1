//! Closures as children: each attempt of an async closure is a task, each attempt of a blocking closure is a thread.
//!
//! Each attempt of a task is one future. Its first poll calls the closure and already polls the body; the last poll
//! drops the body and reports the end. Panics of the closure, the body and the body's destructor are caught here. On a
//! kill the future drops the body itself. Only the shutdown of the runtime drops the future; this ends the attempt too. A
//! start only gives the future to Tokio, so the call that causes a start runs no code of the user.
//!
//! A thread cannot be ended from outside. A thread that ignores the stop is abandoned, and reported as such.

use crate::api::ctx::{Ctx, current, with_current};
use crate::attempt::body::{Body, BodyValue, IntoExit, Try, UserValue, add_user_value};
use crate::attempt::cell::AttemptListener as _;
use crate::attempt::orders::{TaskRegistration, poll_body};
use crate::attempt::panic::{catch, catch_exit, catch_part, drop_catching_panics};
use crate::engine::driver::{ChildBody, LiveAttempt, TreeInner};
use liveoak_core::Exit;
use pin_project_lite::pin_project;
use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use tokio::runtime::Handle;

/// Makes the futures of the attempts of a task.
pub(crate) trait Factory: Send + Sync + 'static {
    type Body: Future<Output: IntoExit> + 'static;

    fn make(&self, ctx: Ctx) -> Self::Body;

    /// Adds the values whose destructors are user code to `values`.
    fn dispose(self, values: &mut Vec<UserValue>);
}

impl<F, Fut> Factory for F
where
    F: Fn(Ctx) -> Fut + Send + Sync + 'static,
    Fut: Future<Output: IntoExit> + 'static,
{
    type Body = Fut;

    fn make(&self, ctx: Ctx) -> Fut {
        self(ctx)
    }

    fn dispose(self, values: &mut Vec<UserValue>) {
        add_user_value(values, self);
    }
}

/// Starts the attempts of a child that is a task.
pub(crate) struct TaskStarter<F> {
    pub(crate) factory: F,
    /// `true` if the body ends itself on a kill, by watching [`Ctx::killed`]. Otherwise the body is dropped.
    pub(crate) handles_kill: bool,
}

impl<F: Factory<Body: Send>> Body<Arc<TreeInner>> for TaskStarter<F> {
    fn start(self: Arc<Self>, cell: Arc<LiveAttempt>, handle: &Handle) {
        if self.handles_kill {
            cell.orders.leave_kill_to_body();
        }
        if !cell.on_tree_runtime {
            cell.tree.runs_outside(&cell);
        }
        // No handle of the task is kept: the future reports its end, and drops its body on a kill.
        drop(handle.spawn(attempt_future(self, cell)));
    }

    fn dispose(self: Arc<Self>, values: &mut Vec<UserValue>) {
        if let Some(only) = Arc::into_inner(self) {
            only.factory.dispose(values);
        }
    }
}

/// Returns the future that is one attempt.
fn attempt_future<F: Factory>(
    starter: Arc<TaskStarter<F>>,
    cell: Arc<LiveAttempt>,
) -> AttemptFuture<F, F::Body> {
    let (state, registration) = (BodyState::<F::Body>::New, TaskRegistration::default());
    AttemptFuture { state, cell: Some(cell), starter: Some(starter), registration }
}

pin_project! {
    #[project = BodyStateProj]
    enum BodyState<Fut> {
        New,
        Running { #[pin] future: Fut },
        Ended,
    }
}

pin_project! {
    /// One attempt of a task.
    struct AttemptFuture<F, Fut> {
        #[pin]
        state: BodyState<Fut>,
        // `None` while the body is being polled or dropped (the cell is in `CURRENT` then), and after the end.
        cell: Option<Arc<LiveAttempt>>,
        registration: TaskRegistration,
        // All attempts of a child share this value. All members of a group share it too, if the type of their argument has no
        // data. Each attempt changes the reference count twice. `None` after the end.
        starter: Option<Arc<TaskStarter<F>>>,
    }

    impl<F, Fut> PinnedDrop for AttemptFuture<F, Fut> {
        fn drop(mut this: Pin<&mut Self>) {
            if let Some(cell) = this.as_mut().project().cell.take()
                && !matches!(this.state, BodyState::Ended)
            {
                if cell.on_tree_runtime {
                    // Only the shutdown of the tree's runtime drops a task that has not ended.
                    cell.tree.runtime_lost();
                }
                AttemptFuture::end(this, cell, Exit::Killed);
            }
        }
    }
}

impl<F, Fut> AttemptFuture<F, Fut> {
    /// Drops the body, then reports `exit`. A panic of the body's destructor replaces the exit if the exit is not a
    /// failure, or is `Killed`.
    ///
    /// The reference to the closure is dropped before the report, while the tree still holds another one. So the closure
    /// itself is dropped here only if the child left the tree without waiting for this attempt. Otherwise the tree
    /// decides where it is dropped.
    fn end(self: Pin<&mut Self>, cell: Arc<LiveAttempt>, exit: Exit) {
        let this = self.project();
        let (mut state, starter) = (this.state, this.starter.take());
        let drop_body = || {
            catch(Some("destructor"), || {
                state.as_mut().set(BodyState::Ended);
                drop(starter);
            })
        };
        let (ctx, dropped) = with_current(Ctx { cell }, drop_body);
        let exit = match dropped {
            Err(panicked) if !exit.is_failure() || matches!(exit, Exit::Killed) => panicked,
            Err(_) | Ok(()) => exit,
        };
        ctx.cell.body_ended(exit);
    }
}

/// Polls the user's code once. The first poll makes the future. `part` says whether the code is the factory.
#[inline]
fn poll_user<F, Fut>(
    starter: &TaskStarter<F>,
    mut state: Pin<&mut BodyState<Fut>>,
    cx: &mut Context<'_>,
    part: &Cell<Option<&'static str>>,
) -> Poll<Exit>
where
    F: Factory<Body = Fut>,
    Fut: Future<Output: IntoExit>,
{
    if let BodyState::New = &*state {
        let Some(ctx) = current() else { return Poll::Ready(Exit::Killed) };
        part.set(Some("factory"));
        let future = starter.factory.make(ctx);
        part.set(None);
        state.set(BodyState::Running { future });
    }
    match state.project() {
        BodyStateProj::Running { future } => future.poll(cx).map(IntoExit::into_exit),
        BodyStateProj::New | BodyStateProj::Ended => Poll::Ready(Exit::Completed),
    }
}

impl<F, Fut> Future for AttemptFuture<F, Fut>
where
    F: Factory<Body = Fut>,
    Fut: Future<Output: IntoExit>,
{
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.as_mut().project();
        let (Some(cell), Some(starter)) = (this.cell.take(), this.starter) else { return Poll::Ready(()) };
        let state = this.state;
        // The drop of the body belongs to the last poll.
        let _poll = cell.begin_poll();
        cell.activity.enter();
        let (cell, polled) = poll_body(cell, this.registration, cx, |cell, cx| {
            let poll = || catch_part(|part| poll_user(starter, state, cx, part));
            let (ctx, polled) = with_current(Ctx { cell }, poll);
            (ctx.cell, polled.unwrap_or_else(Poll::Ready))
        });
        cell.activity.leave();
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

/// Starts the attempts of a child whose future is not `Send`. They run on a dedicated runtime of one thread.
pub(crate) struct LocalStarter<F>(pub(crate) Arc<TaskStarter<F>>);

impl<F: Factory> Body<Arc<TreeInner>> for LocalStarter<F> {
    fn start(self: Arc<Self>, cell: Arc<LiveAttempt>, handle: &Handle) {
        cell.tree.runs_outside(&cell);
        let launch = Launch { starter: Arc::clone(&self.0), cell: Some(cell) };
        // The future cannot be sent to its thread, so a task of this thread makes it.
        drop(handle.spawn(async move { launch.launch() }));
    }

    fn dispose(self: Arc<Self>, values: &mut Vec<UserValue>) {
        if let Some(only) = Arc::into_inner(self).and_then(|only| Arc::into_inner(only.0)) {
            only.factory.dispose(values);
        }
    }

    fn needs_one_thread(&self) -> bool {
        true
    }
}

/// An attempt that is on its way to its thread. If it does not arrive, it has ended.
struct Launch<F> {
    starter: Arc<TaskStarter<F>>,
    cell: Option<Arc<LiveAttempt>>,
}

impl<F: Factory> Launch<F> {
    fn launch(mut self) {
        if let Some(cell) = self.cell.take() {
            // The task reports its end, and drops its body on a kill.
            drop(tokio::task::spawn_local(attempt_future(Arc::clone(&self.starter), cell)));
        }
    }
}

impl<F> Drop for Launch<F> {
    fn drop(&mut self) {
        if let Some(cell) = self.cell.take() {
            cell.body_ended(Exit::Killed);
        }
    }
}

/// Starts the attempts of another body on the runtime that the user has chosen.
pub(crate) struct OnRuntime {
    pub(crate) body: Arc<ChildBody>,
    pub(crate) runtime: Handle,
}

impl Body<Arc<TreeInner>> for OnRuntime {
    fn start(self: Arc<Self>, cell: Arc<LiveAttempt>, handle: &Handle) {
        Arc::clone(&self.body).start(cell, handle);
    }

    fn dispose(self: Arc<Self>, values: &mut Vec<UserValue>) {
        if let Some(only) = Arc::into_inner(self) {
            only.body.dispose(values);
        }
    }

    fn check(self: Arc<Self>, index: u32, cell: &Arc<LiveAttempt>) -> Option<Try> {
        Arc::clone(&self.body).check(index, cell)
    }

    fn value(&self) -> Option<&Arc<dyn BodyValue>> {
        self.body.value()
    }

    fn runtime(&self) -> Option<&Handle> {
        Some(&self.runtime)
    }

    fn has_polls(&self) -> bool {
        self.body.has_polls()
    }

    fn needs_one_thread(&self) -> bool {
        self.body.needs_one_thread()
    }
}

/// Starts the attempts of a child that is a thread.
pub(crate) struct ThreadStarter<F>(pub(crate) F);

impl<F, T> Body<Arc<TreeInner>> for ThreadStarter<F>
where
    F: Fn(Ctx) -> T + Send + Sync + 'static,
    T: IntoExit,
{
    fn start(self: Arc<Self>, cell: Arc<LiveAttempt>, handle: &Handle) {
        let handle = handle.clone();
        let ctx = Ctx { cell: Arc::clone(&cell) };
        // Linux shows at most 15 bytes of a thread's name, so the name of the child is more useful than its path.
        let name: String = cell.path().name().chars().filter(|c| *c != '\0').collect();
        // The thread itself is a part of the attempt. The attempt ends when the thread has ended and its thread-locals are
        // dropped.
        let number = cell.subtasks.admit(&cell.orders);
        let (sender, own_handle) = channel();
        cell.tree.runs_outside(&cell);
        // It has a thread of its own.
        cell.activity.enter();
        let spawned = std::thread::Builder::new().name(name).spawn(move || {
            let _inside = handle.enter();
            let run = || catch_exit(None, || (self.0)(ctx.clone()).into_exit());
            let (ctx, exit) = with_current(ctx.clone(), run);
            drop_catching_panics(self);
            let end = number.ok().map(|number| ThreadEnd { cell: Arc::clone(&ctx.cell), number });
            ctx.cell.body_ended(exit);
            report_when_joined(own_handle, end);
        });
        match spawned {
            Ok(thread) => {
                let _ = sender.send(thread);
            }
            Err(error) => {
                cell.body_ended(Exit::failed(error));
                drop(number.ok().map(|number| ThreadEnd { cell, number }));
            }
        }
    }

    fn dispose(self: Arc<Self>, values: &mut Vec<UserValue>) {
        if let Some(only) = Arc::into_inner(self) {
            add_user_value(values, only.0);
        }
    }

    fn has_polls(&self) -> bool {
        false
    }
}

/// Reports, when dropped, that the thread of a child has ended.
struct ThreadEnd {
    cell: Arc<LiveAttempt>,
    number: u64,
}

impl Drop for ThreadEnd {
    fn drop(&mut self) {
        self.cell.subtask_ended(self.number, None);
    }
}

/// Lets another thread join the calling thread and then report its end. If the system refuses the other thread, the end
/// is reported immediately.
fn report_when_joined(own_handle: Receiver<JoinHandle<()>>, end: Option<ThreadEnd>) {
    let join = move || {
        if let Ok(thread) = own_handle.recv() {
            // The body's panics are caught. A panic of the destructor of a thread-local aborts the process.
            let _ = thread.join();
        }
        drop(end);
    };
    let _ = std::thread::Builder::new().name("liveoak-join".to_owned()).spawn(join);
}
