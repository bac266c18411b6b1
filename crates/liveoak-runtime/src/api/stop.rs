//! A stop with a time, an actor and a reason of its own, all said at the call.

use crate::api::child_handle::ChildHandle;
use crate::api::tree::{Tree, TreeHandle, asker_in, owner_waits_for_itself};
use crate::engine::command::{Begun, Given, Wait};
use liveoak_core::{ChildId, Command, Input, Origin, Outcome, Path, Refusal, StopReport, Text};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::coop::consume_budget;

/// A stop with its own time, actor and reason.
///
/// The time applies to one stop only, instead of the declared `stop_within`, and may be longer or shorter. For a leaf it is
/// the time from the request to stop until the kill. For a supervisor, a group and the tree it is the budget of the whole
/// stop; children below keep their own times within it. Zero kills immediately. A child with an
/// [`unready_for`](crate::Child::unready_for) is asked when at least half of the time is left.
///
/// The time never prolongs the stop of a supervisor above, and a stop that has begun becomes shorter by it, never longer.
///
/// ```
/// # use liveoak_runtime::{Child, Ctx, Stop, Supervisor};
/// # use std::time::Duration;
/// # liveoak_runtime::testing::paused(async {
/// # let body = |ctx: Ctx| async move { ctx.stopping().await };
/// # let tree = Supervisor::new("shop").child(Child::task("api", body)).start().await.unwrap();
/// let stop = Stop::within(Duration::from_secs(2)).by("ci").because("deploy");
/// tree.stop_child_with("/shop/api", stop).await?;
/// # Ok::<(), liveoak_runtime::Refusal>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a `Stop` says how to stop; pass it to `stop_with`"]
pub struct Stop {
    within: Duration,
    origin: Origin,
}

impl Stop {
    /// Creates a stop that takes at most `within`. `Duration::MAX` is a stop without a time limit. To stop within the
    /// declared times, use [`TreeHandle::stop`] and the like.
    pub fn within(within: Duration) -> Self {
        Self { within, origin: Origin::default() }
    }

    /// Says who stops. It replaces the actor of a handle that is given by [`TreeHandle::by`].
    pub fn by(mut self, who: impl Into<Text>) -> Self {
        self.origin.by = Some(who.into());
        self
    }

    /// Says why. It replaces the reason of a handle that is given by [`TreeHandle::because`].
    pub fn because(mut self, why: impl Into<Text>) -> Self {
        self.origin.because = Some(why.into());
        self
    }

    /// Returns who stops and why. What this stop does not say is taken from the handle.
    fn origin_of(self, handle: &TreeHandle) -> Option<Arc<Origin>> {
        let mut origin = handle.origin.as_deref().cloned().unwrap_or_default();
        origin.by = self.origin.by.or(origin.by);
        origin.because = self.origin.because.or(origin.because);
        (origin != Origin::default()).then(|| Arc::new(origin))
    }
}

impl Tree {
    /// Stops the tree within the budget of `stop`; see [`TreeHandle::stop_with`].
    ///
    /// # Panics
    /// As [`stop`](Self::stop).
    pub async fn stop_with(&self, stop: Stop) -> Arc<StopReport> {
        self.0.stop_with(stop).await.unwrap_or_else(|refusal| owner_waits_for_itself(&refusal))
    }
}

impl TreeHandle {
    /// Stops the tree like [`stop`](Self::stop), within the budget, by the actor and for the reason that `stop` gives.
    ///
    /// # Errors
    /// As [`stop`](Self::stop).
    pub async fn stop_with(&self, stop: Stop) -> Result<Arc<StopReport>, Refusal> {
        self.begin_stop_with(stop);
        self.until_ended(true).await.map(|ended| ended.report)
    }

    /// Begins to stop the tree like [`stop_with`](Self::stop_with), without waiting for it.
    pub fn begin_stop_with(&self, stop: Stop) {
        let within = stop.within;
        self.inner.stop_within(Some(within), stop.origin_of(self));
    }

    /// Stops a child like [`stop_child`](Self::stop_child), within the time, by the actor and for the reason that `stop`
    /// gives.
    ///
    /// # Errors
    /// As [`stop_child`](Self::stop_child).
    pub async fn stop_child_with(&self, path: impl Into<Path>, stop: Stop) -> Result<Outcome, Refusal> {
        self.child(path)?.stop_with(stop).await
    }

    /// Begins to stop a child like [`stop_child_with`](Self::stop_child_with), without waiting for it.
    ///
    /// # Errors
    /// When the command is refused.
    pub fn begin_stop_child_with(&self, path: impl Into<Path>, stop: Stop) -> Result<(), Refusal> {
        self.child(path)?.begin_stop_with(stop)
    }

    fn give_stop(&self, id: ChildId, stop: Stop, wait: Wait) -> Result<Begun, Refusal> {
        self.check_not_abandoned()?;
        let within = Some(stop.within);
        let input = |request| Input::Command { request, id, command: Command::Stop };
        let given = Given { id, input, of_change: None, origin: stop.origin_of(self), within };
        self.inner.give(given, wait)
    }
}

impl ChildHandle {
    /// Stops the child like [`stop`](Self::stop), within the time, by the actor and for the reason that `stop` gives. The
    /// child may be a supervisor or a [group](crate::GroupHandle::group).
    ///
    /// # Errors
    /// As [`TreeHandle::stop_child`].
    pub async fn stop_with(&self, stop: Stop) -> Result<Outcome, Refusal> {
        let (tree, path) = (self.tree(), self.known_path()?);
        let begun = tree.give_stop(self.id(), stop, Wait::For(asker_in(&tree.inner)));
        consume_budget().await;
        tree.finish(&path, begun?).await
    }

    /// Begins to stop the child like [`stop_with`](Self::stop_with), without waiting for it.
    ///
    /// # Errors
    /// When the command is refused.
    pub fn begin_stop_with(&self, stop: Stop) -> Result<(), Refusal> {
        self.tree().give_stop(self.id(), stop, Wait::No).map(drop)
    }
}
