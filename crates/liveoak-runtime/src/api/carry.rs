//! Values that an attempt leaves to the next attempt of its child.

use crate::api::ctx::Ctx;
use crate::api::error::Refused;
use crate::engine::carried::Carried;
use liveoak_core::{Exit, Refusal};

impl Ctx {
    /// Leaves a value to the next attempt of this child, which takes it with [`carried`](Self::carried). Without this, an
    /// attempt keeps nothing of the one before.
    ///
    /// A child has one such value; a later call replaces it. The value is dropped if this attempt panics, because it may be
    /// half changed ([`carry_after_panic`](Self::carry_after_panic) keeps it), if the next attempt ends without having
    /// taken it, and when the child leaves the tree or never starts again. It outlives a stop by command and a restart of
    /// the supervisor.
    ///
    /// ```
    /// # use liveoak_runtime::{Child, Ctx, Supervisor};
    /// # liveoak_runtime::testing::paused(async {
    /// let counter = Child::task("counter", |ctx: Ctx| async move {
    ///     let restarts = ctx.carried::<u32>().map_or(0, |before| before + 1);
    ///     let _ = ctx.carry(restarts);
    ///     # if restarts == 3 { ctx.tree().begin_stop(); ctx.stopping().await; return Ok(()); }
    ///     Err(format!("failed after {restarts} restarts"))
    /// });
    /// # Supervisor::new("shop").child(counter).start().await.unwrap().join().await;
    /// # });
    /// ```
    ///
    /// # Errors
    /// When the body of this attempt has ended or was abandoned. The error gives the value back.
    pub fn carry<T: Send + 'static>(&self, value: T) -> Result<(), Refused<T>> {
        self.leave(value, false)
    }

    /// Leaves a value to the next attempt like [`carry`](Self::carry), also if this attempt panics.
    ///
    /// # Errors
    /// As [`carry`](Self::carry).
    pub fn carry_after_panic<T: Send + 'static>(&self, value: T) -> Result<(), Refused<T>> {
        self.leave(value, true)
    }

    fn leave<T: Send + 'static>(&self, value: T, survives_panic: bool) -> Result<(), Refused<T>> {
        let cell = &self.cell;
        let carried = Carried { by: cell.attempt, value: Box::new(value), survives_panic };
        match cell.tree.carried.leave(cell.id, carried, || cell.orders.admits_subtasks()) {
            // A replaced value is dropped here, without any lock.
            Ok(_replaced) => Ok(()),
            Err(refused) => {
                let refusal = if self.is_abandoned() { Refusal::Abandoned } else { Refusal::TooLate };
                match refused.value.downcast() {
                    Ok(value) => Err(Refused::new(refusal, *value)),
                    Err(_) => unreachable!("the value has the type that it was given with"),
                }
            }
        }
    }

    /// Takes the value that the previous attempt of this child has left with [`carry`](Self::carry). Returns `None` if
    /// there is none, or if it is not a `T`; a value of another type stays until it is taken, or until this attempt ends.
    #[must_use]
    pub fn carried<T: Send + 'static>(&self) -> Option<T> {
        let cell = &self.cell;
        let (value, survives_panic) = cell.tree.carried.take::<T>(cell.id, cell.attempt)?;
        // A thread of another library may have left the value while the attempt was already ending by its panic.
        let after_panic = matches!(self.last_exit(), Some(Exit::Panicked(_)));
        (survives_panic || !after_panic).then_some(*value)
    }
}
