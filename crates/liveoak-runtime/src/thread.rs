//! Blocking closures as children, each attempt on a thread of its own.
//!
//! A thread cannot be ended from outside: one that ignores the stop is abandoned, and reported so.

use crate::body::{Body, IntoExit};
use crate::cell::Cell;
use crate::ctx::{Ctx, entered};
use crate::panic::catch;
use liveoak_core::Exit;
use std::sync::Arc;
use tokio::runtime::Handle;

pub(crate) struct ThreadBody<F>(pub(crate) F);

impl<F, T> Body for ThreadBody<F>
where
    F: Fn(Ctx) -> T + Send + Sync + 'static,
    T: IntoExit,
{
    fn start(self: Arc<Self>, cell: Arc<Cell>, handle: &Handle) {
        let handle = handle.clone();
        let in_thread = Arc::clone(&cell);
        // Linux shows at most 15 bytes of a thread's name; the child's own name says most.
        let name: String = cell.path().name().chars().filter(|c| *c != '\0').collect();
        let spawned = std::thread::Builder::new().name(name).spawn(move || {
            let _inside = handle.enter();
            let exit = attempt(&self, &in_thread);
            drop(self);
            in_thread.body_ended(exit);
        });
        if let Err(error) = spawned {
            cell.body_ended(Exit::failed(error));
        }
    }
}

fn attempt<F, T>(body: &ThreadBody<F>, cell: &Arc<Cell>) -> Exit
where
    F: Fn(Ctx) -> T,
    T: IntoExit,
{
    let ctx = Ctx::new(Arc::clone(cell));
    match entered(ctx.clone(), || catch(None, || (body.0)(ctx).into_exit())).1 {
        Ok(exit) => exit,
        Err(panic) => Exit::Panicked(Arc::new(panic)),
    }
}
