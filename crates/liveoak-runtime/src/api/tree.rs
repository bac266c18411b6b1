//! A running tree: its owner, and the handles that look at it and command it.

use crate::api::child::Child;
use crate::api::ctx::Ctx;
use crate::api::split::{ChildParts, install, split, wrong_name};
use crate::engine::driver::TreeInner;
use crate::engine::ended::Ended;
use crate::engine::events::Events;
use crate::engine::state::Answer;
use liveoak_core::{
    ChildDeclaration, ChildId, Command, Input, Machine, Name, Outcome, Path, Refusal, Restart, Snapshot,
    SpecErrors, StopReport, Time,
};
use std::fmt;
use std::iter::successors;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

/// A running tree. It owns everything in it: when it is dropped, everything is killed. For a graceful end,
/// [`stop`](TreeHandle::stop) it.
///
/// All operations are those of [`TreeHandle`], which can be cloned and passed on.
#[derive(Debug)]
pub struct Tree(pub(crate) TreeHandle);

impl Tree {
    /// Returns a handle. It does not keep the tree running.
    #[must_use]
    pub fn handle(&self) -> TreeHandle {
        self.0.clone()
    }
}

impl Deref for Tree {
    type Target = TreeHandle;

    fn deref(&self) -> &TreeHandle {
        &self.0
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        if self.0.inner.ended().is_none() {
            self.0.begin_kill();
        }
    }
}

/// Looks at a tree and commands it. Cheap to clone; does not keep the tree running.
///
/// # Cancel safety
/// All methods are safe: when a future is dropped, nothing is lost, and what it has begun (a stop, the addition of a
/// child, a command) goes on.
///
/// # Refusals
/// Besides the errors that each command names: there is no such child, 1,024 commands wait for it already, a later
/// command or a restart overtook this one, or the tree has ended.
#[derive(Clone)]
pub struct TreeHandle {
    pub(crate) inner: Arc<TreeInner>,
}

impl fmt::Debug for TreeHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TreeHandle").field("ended", &self.inner.ended()).finish_non_exhaustive()
    }
}

impl TreeHandle {
    /// Waits until every declared child is ready.
    ///
    /// # Errors
    /// Returns how the tree ended, if it ended before that.
    pub async fn ready(&self) -> Result<(), Ended> {
        self.inner.until_ready().await
    }

    /// Stops the tree, in order and within its budget. Returns how each child was stopped. A second call, also after
    /// the end, returns the same report.
    pub async fn stop(&self) -> Arc<StopReport> {
        self.begin_stop();
        self.join().await.report
    }

    /// Kills everything in the tree now. Returns how each child was stopped.
    pub async fn kill(&self) -> Arc<StopReport> {
        self.begin_kill();
        self.join().await.report
    }

    /// Begins the stop without waiting for it.
    pub fn begin_stop(&self) {
        self.inner.feed(self.inner.clock.now(), Input::Stop);
    }

    /// Begins the kill without waiting for it.
    pub fn begin_kill(&self) {
        self.inner.feed(self.inner.clock.now(), Input::Kill);
    }

    /// Waits until the tree has ended, for whatever reason. May be called again.
    pub async fn join(&self) -> Ended {
        self.inner.until_ended().await
    }

    /// Returns the whole tree as it is now, consistent with an event number.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.inner.snapshot()
    }

    /// Returns the events from now on.
    #[must_use]
    pub fn events(&self) -> Events {
        self.watch().1
    }

    /// Returns the whole tree as it is now, and the events that follow. The snapshot and the events together always
    /// describe the tree completely.
    #[must_use]
    pub fn watch(&self) -> (Snapshot, Events) {
        self.inner.watch()
    }

    /// Converts a time of this tree to calendar time.
    #[must_use]
    pub fn to_system_time(&self, time: Time) -> SystemTime {
        self.inner.clock.wall(time)
    }

    /// Returns the time of the tree now.
    #[must_use]
    pub fn now(&self) -> Time {
        self.inner.clock.now()
    }

    /// Adds a child to the supervisor at `parent`, after its other children, and starts it when its turn comes. Returns
    /// when the child is ready. An added child is removed when its supervisor restarts.
    ///
    /// # Errors
    /// When there is no such supervisor, it is down or full, the name is taken, the spec is wrong, the first start
    /// fails (the child is removed then), or the child still waits for another one when its start deadline is over
    /// ([`Refusal::WaitsFor`]; it goes on waiting then).
    pub async fn add_child(
        &self,
        parent: impl Into<Path>,
        child: impl Into<Child>,
    ) -> Result<Outcome, Refusal> {
        let parent = parent.into();
        let parts = split(child.into(), Some(&parent));
        let (_, answer) =
            self.inner.add(parts, |machine, _| machine.find(&parent).ok_or(Refusal::NotFound))?;
        answer.wait().await
    }

    /// Starts an idle child, and forgets its earlier restarts. Returns when the child is ready. If the start fails, the
    /// child stays idle.
    ///
    /// # Errors
    /// When the child runs (it is neither idle nor being stopped by a command), when its supervisor is down, when the
    /// attempt fails, or when the child still waits for another one at its start deadline ([`Refusal::WaitsFor`]; it goes
    /// on waiting then).
    pub async fn start_child(&self, path: impl Into<Path>) -> Result<Outcome, Refusal> {
        self.inner.command(&path.into(), Command::Start).await
    }

    /// Stops a child. It stays idle until it is started by a command. Returns how the child was stopped, when it has
    /// ended.
    ///
    /// # Errors
    /// When there is no such child.
    pub async fn stop_child(&self, path: impl Into<Path>) -> Result<Outcome, Refusal> {
        self.inner.command(&path.into(), Command::Stop).await
    }

    /// Stops a child if it runs, and starts it again without a backoff. Returns when the new attempt is ready or has
    /// failed.
    ///
    /// # Errors
    /// When the supervisor of the child is down, the child can run only once, the new attempt fails, or the child still
    /// waits for another one when its start deadline is over ([`Refusal::WaitsFor`]; it goes on waiting then).
    pub async fn restart_child(&self, path: impl Into<Path>) -> Result<Outcome, Refusal> {
        self.inner.command(&path.into(), Command::Restart).await
    }

    /// Stops a child if it runs, and removes it from the tree. Returns when it has ended.
    ///
    /// # Errors
    /// When siblings depend on the child, or it is the root.
    pub async fn remove_child(&self, path: impl Into<Path>) -> Result<Outcome, Refusal> {
        self.inner.command(&path.into(), Command::Remove).await
    }
}

impl Ctx {
    /// Returns the tree, for commands and for looking at it.
    #[must_use]
    pub fn tree(&self) -> TreeHandle {
        TreeHandle { inner: Arc::clone(&self.cell.tree) }
    }
}

impl TreeInner {
    /// Adds a child below the supervisor that `place` returns. `place` may also change the declaration.
    fn add(
        self: &Arc<Self>,
        parts: ChildParts,
        place: impl FnOnce(&Machine, &mut ChildDeclaration) -> Result<ChildId, Refusal>,
    ) -> Result<(ChildId, Answer), Refusal> {
        let ChildParts { mut declaration, bodies, errors } = parts;
        if !errors.is_empty() {
            return Err(Refusal::Invalid(SpecErrors(errors)));
        }
        self.may_add()?;
        let now = self.clock.now();
        // Bodies that the machine does not take are dropped after the lock is released.
        let mut unused = bodies;
        self.with_state(|state| {
            let parent = place(&state.machine, &mut declaration)?;
            let (ids, answer) = state.request_to_add(|machine, request| {
                machine.add_child(now, parent, &declaration, Some(request))
            })?;
            let id = ids[0];
            unused = install(state, self, ids, std::mem::take(&mut unused));
            Ok((id, answer))
        })
    }

    /// Adds a spawned child: temporary, below the nearest supervisor above `caller` that is no group. If its name is
    /// taken, a number is appended.
    pub(crate) fn add_spawned(self: &Arc<Self>, caller: ChildId, child: Child) -> Result<ChildId, Refusal> {
        let (parent, path) = self.nearest_supervisor(caller).ok_or(Refusal::NotASupervisor)?;
        let parts = split(child.restart(Restart::Temporary), Some(&path));
        let place = |machine: &Machine, declaration: &mut ChildDeclaration| {
            number_if_taken(machine, &path, declaration).map(|()| parent)
        };
        self.add(parts, place).map(|(id, _)| id)
    }

    fn nearest_supervisor(&self, below: ChildId) -> Option<(ChildId, Path)> {
        let state = self.state();
        let machine = &state.machine;
        let mut above = successors(machine.parent(below), |id| machine.parent(*id));
        let id = above.find(|id| machine.is_group(*id) == Some(false))?;
        Some((id, machine.path(id)?))
    }
}

fn number_if_taken(machine: &Machine, parent: &Path, declared: &mut ChildDeclaration) -> Result<(), Refusal> {
    /// The next number, for all trees of the program.
    static NUMBER: AtomicU64 = AtomicU64::new(2);
    let name = declared.name.clone();
    while machine.find(&parent.join(declared.name.as_str())).is_some() {
        let numbered = format!("{name}.{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let wrong = |error| Refusal::Invalid(SpecErrors(vec![wrong_name(parent.clone(), error)]));
        declared.name = Name::new(numbered).map_err(wrong)?;
    }
    Ok(())
}
