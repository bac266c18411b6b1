//! Code that does not belong to a child, such as a task of another library, run as code of an attempt or of a place in the
//! tree, so that [`spawn`](crate::spawn) and [`current`](crate::current) work in it.

use crate::api::ctx::{Ctx, with_current, with_place};
use crate::api::tree::TreeHandle;
use crate::engine::driver::TreeInner;
use liveoak_core::ChildId;
use pin_project_lite::pin_project;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// What the code of a scope counts as.
#[derive(Clone)]
pub(crate) enum Place {
    /// Code of this attempt.
    Attempt(Ctx),
    /// Code that spawns at this child.
    Child(Arc<(Arc<TreeInner>, ChildId)>),
}

impl Place {
    /// Runs `f` as code of this place. A panic goes on to the caller.
    fn enter<T>(&self, f: impl FnOnce() -> T) -> T {
        let caught = || catch_unwind(AssertUnwindSafe(f));
        let outcome = match self {
            Self::Attempt(ctx) => with_current(ctx.clone(), caught).1,
            Self::Child(child) => with_place(Arc::clone(child), caught),
        };
        outcome.unwrap_or_else(|panic| resume_unwind(panic))
    }
}

pin_project! {
    /// A future that runs as code of an attempt ([`Ctx::scope`]), or as code that spawns at a place in a tree
    /// ([`TreeHandle::scope`], [`ChildHandle::scope`](crate::ChildHandle::scope)), whatever task polls it.
    pub struct Scoped<F> {
        #[pin]
        future: Option<F>,
        place: Place,
    }

    impl<F> PinnedDrop for Scoped<F> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            this.place.enter(|| this.future.set(None));
        }
    }
}

impl<F> Scoped<F> {
    pub(crate) const fn new(future: F, place: Place) -> Self {
        Self { future: Some(future), place }
    }
}

impl<F> fmt::Debug for Scoped<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scoped").finish_non_exhaustive()
    }
}

impl<F: Future> Future for Scoped<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let place = this.place;
        match this.future.as_pin_mut() {
            Some(future) => place.enter(|| future.poll(cx)),
            None => unreachable!("the future is there until the drop"),
        }
    }
}

impl Ctx {
    /// Runs `future` as code of this attempt, whatever task polls it. So [`current`](crate::current) returns this context,
    /// [`spawn`](crate::spawn) adds siblings of this child, and waits of the attempt for itself are recognised. For tasks
    /// that other libraries start; use [`spawn`](Self::spawn) for tasks of your own. The future does not belong to the
    /// attempt: it may outlive the attempt, and its panic is that of the task that polls it.
    ///
    /// ```
    /// # use liveoak_runtime::{Child, Ctx, Supervisor, current};
    /// # liveoak_runtime::testing::paused(async {
    /// let gateway = Child::task("gateway", |ctx: Ctx| async move {
    ///     let foreign = tokio::spawn(ctx.scope(async { current().unwrap().path() }));
    ///     assert_eq!(foreign.await.unwrap().as_str(), "/shop/gateway");
    /// });
    /// # let tree = Supervisor::new("shop").child(gateway.restart(liveoak_runtime::Restart::Transient)).start().await.unwrap();
    /// # let exited = tree.child("/shop/gateway").unwrap().exited().await.unwrap();
    /// # assert!(!exited.exit.is_failure(), "{}", exited.exit);
    /// # });
    /// ```
    pub fn scope<F: Future>(&self, future: F) -> Scoped<F> {
        Scoped::new(future, Place::Attempt(self.clone()))
    }

    /// Runs `f` as code of this attempt; see [`scope`](Self::scope). For threads and callbacks of other libraries.
    pub fn in_scope<T>(&self, f: impl FnOnce() -> T) -> T {
        Place::Attempt(self.clone()).enter(f)
    }
}

impl TreeHandle {
    /// Runs `future` as code from which [`spawn`](crate::spawn) adds children to the root supervisor of this tree, whatever
    /// task polls it. [`current`](crate::current) does not change, because the code belongs to no child. Use
    /// [`ChildHandle::scope`](crate::ChildHandle::scope) for another supervisor, and [`Ctx::scope`] for an attempt.
    pub fn scope<F: Future>(&self, future: F) -> Scoped<F> {
        Scoped::new(future, self.root_place())
    }

    /// Runs `f` as code from which [`spawn`](crate::spawn) adds children to the root supervisor; see
    /// [`scope`](Self::scope).
    pub fn in_scope<T>(&self, f: impl FnOnce() -> T) -> T {
        self.root_place().enter(f)
    }

    fn root_place(&self) -> Place {
        let root = self.inner.state().machine.root();
        Place::Child(Arc::new((Arc::clone(&self.inner), root)))
    }
}
