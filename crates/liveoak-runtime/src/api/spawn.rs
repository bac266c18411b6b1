//! Spawned children: a future becomes a child of the current supervisor.

use crate::api::child::Child;
use crate::api::ctx::current;
use crate::api::error::SpawnChildError;
use crate::attempt::body::IntoExit;
use crate::util::lock::lock;
use liveoak_core::{ChildId, Exit};
use std::future::Future;
use std::sync::Mutex;

/// Adds `future` as a temporary child called `name` to the supervisor of the calling child. It is supervised, visible
/// and stopped with that supervisor.
///
/// If the name is taken, a dot and a number are appended. For tasks that should not outlive the calling *attempt*, use
/// [`Ctx::spawn`](crate::Ctx::spawn); for many similar tasks, a [`Group`](crate::Group).
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
