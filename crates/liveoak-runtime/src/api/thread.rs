//! Blocking closures as children, each attempt on a thread of its own.
//!
//! A thread cannot be ended from outside. A thread that ignores the stop is abandoned, and reported as such.

use crate::api::ctx::{Ctx, with_current};
use crate::attempt::body::{Body, IntoExit};
use crate::attempt::panic::catch;
use crate::engine::driver::{LiveAttempt, TreeInner};
use liveoak_core::Exit;
use std::sync::Arc;
use tokio::runtime::Handle;

/// The body of a child that is a thread.
pub(crate) struct ThreadBody<F>(pub(crate) F);

impl<F, T> Body<Arc<TreeInner>> for ThreadBody<F>
where
    F: Fn(Ctx) -> T + Send + Sync + 'static,
    T: IntoExit,
{
    fn start(self: Arc<Self>, cell: Arc<LiveAttempt>, handle: &Handle) {
        let handle = handle.clone();
        let in_thread = Arc::clone(&cell);
        // Linux shows at most 15 bytes of a thread's name, so the name of the child is more useful than its path.
        let name: String = cell.path().name().chars().filter(|c| *c != '\0').collect();
        let spawned = std::thread::Builder::new().name(name).spawn(move || {
            let _inside = handle.enter();
            let exit = self.run(&in_thread);
            drop(self);
            in_thread.body_ended(exit);
        });
        if let Err(error) = spawned {
            cell.body_ended(Exit::failed(error));
        }
    }
}

impl<F> ThreadBody<F> {
    fn run<T: IntoExit>(&self, cell: &Arc<LiveAttempt>) -> Exit
    where
        F: Fn(Ctx) -> T,
    {
        let ctx = Ctx::new(Arc::clone(cell));
        let (_, exit) = with_current(ctx.clone(), || catch(None, || (self.0)(ctx).into_exit()));
        exit.unwrap_or_else(|panic| Exit::Panicked(Arc::new(panic)))
    }
}
