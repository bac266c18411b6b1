//! A running tree: its owner, and handles for everybody else.

use crate::child::Child;
use crate::driver::Shared;
use crate::events::Events;
use crate::supervisor::install;
use crate::table::{Answer, Core};
use liveoak_core::{
    ChildDeclaration, ChildId, Command, Exit, Input, Name, Outcome, Path, Refusal, Restart, Snapshot,
    SpecError, SpecErrors, SpecProblem, StopReport, Time,
};
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

/// How a tree ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// How its root ended.
    pub exit: Exit,
    /// What the stop of everything did.
    pub report: Arc<StopReport>,
}

/// A running tree. It owns everything in it: when it is dropped, everything is killed. For a graceful end,
/// [`stop`](TreeHandle::stop) it.
///
/// All operations are those of [`TreeHandle`], which can be cloned and given away.
pub struct Tree(TreeHandle);

impl fmt::Debug for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl Tree {
    pub(crate) const fn new(shared: Arc<Shared>) -> Self {
        Self(TreeHandle { shared })
    }

    /// A handle to give away. It does not keep the tree running.
    #[must_use]
    pub fn handle(&self) -> TreeHandle {
        self.0.clone()
    }

    pub(crate) const fn shared(&self) -> &Arc<Shared> {
        &self.0.shared
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
        if self.0.shared.ended().is_none() {
            self.0.begin_kill();
        }
    }
}

/// Looks at a tree and commands it. Cheap to clone; does not keep the tree running.
#[derive(Clone)]
pub struct TreeHandle {
    shared: Arc<Shared>,
}

impl fmt::Debug for TreeHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TreeHandle").field("ended", &self.shared.ended()).finish_non_exhaustive()
    }
}

impl TreeHandle {
    pub(crate) const fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Waits until every declared child is ready.
    ///
    /// # Errors
    /// How the tree ended, if it did before that.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn ready(&self) -> Result<(), Ended> {
        self.shared.until_up().await
    }

    /// Stops the tree, in order, within its budget; returns what that did. Asked again, or after the end, it
    /// returns the same report.
    ///
    /// # Cancel safety
    /// Dropping this future does not undo the stop.
    pub async fn stop(&self) -> Arc<StopReport> {
        self.begin_stop();
        self.join().await.report
    }

    /// Kills everything in the tree now; returns what that did.
    ///
    /// # Cancel safety
    /// Dropping this future does not undo it.
    pub async fn kill(&self) -> Arc<StopReport> {
        self.begin_kill();
        self.join().await.report
    }

    /// Asks for the stop without waiting for it.
    pub fn begin_stop(&self) {
        self.shared.feed(self.shared.clock.now(), Input::Stop);
    }

    /// Orders the kill without waiting for it.
    pub fn begin_kill(&self) {
        self.shared.feed(self.shared.clock.now(), Input::Kill);
    }

    /// Waits until the tree has ended, however that comes about. May be repeated.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn join(&self) -> Ended {
        self.shared.until_ended().await
    }

    /// The whole tree as it is now, consistent with an event number.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.shared.snapshot()
    }

    /// The events from now on.
    #[must_use]
    pub fn events(&self) -> Events {
        self.shared.watch().1
    }

    /// The whole tree as it is now, and the events from then on: together they stay the truth.
    #[must_use]
    pub fn watch(&self) -> (Snapshot, Events) {
        self.shared.watch()
    }

    /// The calendar time of a moment of this tree.
    #[must_use]
    pub fn to_system_time(&self, time: Time) -> SystemTime {
        self.shared.clock.wall(time)
    }

    /// The time of the tree now.
    #[must_use]
    pub fn now(&self) -> Time {
        self.shared.clock.now()
    }

    /// Adds a child to the supervisor at `parent`, as its last, and starts it when its turn comes. Returns when it
    /// is ready. A child that is added is gone when its supervisor restarts.
    ///
    /// # Errors
    /// When there is no such supervisor, it is full, the name is taken, the spec is wrong, or the first start fails: the
    /// child is not kept then.
    ///
    /// # Cancel safety
    /// Dropping this future leaves the child where it is.
    pub async fn add_child(
        &self,
        parent: impl Into<Path>,
        child: impl Into<Child>,
    ) -> Result<Outcome, Refusal> {
        let (_, answer) = self.shared.add(&parent.into(), child.into(), IfTaken::Refuse)?;
        answer.told().await
    }

    /// Starts a child that is down, with a clean record. Returns when it is ready; if it fails, it stays down.
    ///
    /// # Errors
    /// When there is no such child, it is not down, its supervisor is, or the attempt fails.
    ///
    /// # Cancel safety
    /// Dropping this future does not undo the start; so for the other commands.
    pub async fn start_child(&self, path: impl Into<Path>) -> Result<Outcome, Refusal> {
        self.shared.command(&path.into(), Command::Start).await
    }

    /// Stops a child; it stays down until somebody starts it. Returns what that did, when it is gone.
    ///
    /// # Errors
    /// When there is no such child.
    pub async fn stop_child(&self, path: impl Into<Path>) -> Result<Outcome, Refusal> {
        self.shared.command(&path.into(), Command::Stop).await
    }

    /// Stops a child if it runs, and starts it at once. Returns when the new attempt is ready or has failed.
    ///
    /// # Errors
    /// When there is no such child, its supervisor is down, or the new attempt fails.
    pub async fn restart_child(&self, path: impl Into<Path>) -> Result<Outcome, Refusal> {
        self.shared.command(&path.into(), Command::Restart).await
    }

    /// Stops a child if it runs, and takes it out of the tree. Returns when it is gone.
    ///
    /// # Errors
    /// When there is no such child, or siblings come after it.
    pub async fn remove_child(&self, path: impl Into<Path>) -> Result<Outcome, Refusal> {
        self.shared.command(&path.into(), Command::Remove).await
    }
}

impl Shared {
    /// Adds a child below the supervisor at `parent`.
    fn add(
        self: &Arc<Self>,
        parent: &Path,
        child: Child,
        if_taken: IfTaken,
    ) -> Result<(ChildId, Answer), Refusal> {
        let mut errors = Vec::new();
        let mut bodies = Vec::new();
        let mut declared = child.assemble(Some(parent), &mut bodies, &mut errors);
        if !errors.is_empty() {
            return Err(Refusal::Invalid(SpecErrors(errors)));
        }
        let now = self.clock.now();
        // Bodies that the machine does not take are dropped after the lock is released.
        let mut unused = bodies;
        self.with_core(|core| {
            let id = core.machine.find(parent).ok_or(Refusal::NotFound)?;
            if let IfTaken::Number = if_taken {
                number_if_taken(core, parent, &mut declared)?;
            }
            let (request, answer) = core.expect_reply();
            match core.machine.add_child(now, id, &declared, Some(request)) {
                Ok(ids) => {
                    let id = ids[0];
                    unused = install(core, self, ids, std::mem::take(&mut unused));
                    Ok((id, answer))
                }
                Err(refusal) => {
                    core.forget_reply(request);
                    Err(refusal)
                }
            }
        })
    }

    /// Adds a temporary child next to `sibling`: to the nearest supervisor above it that is no group. If its name is
    /// taken, a number is appended.
    pub(crate) fn add_beside(self: &Arc<Self>, sibling: ChildId, child: Child) -> Result<ChildId, Refusal> {
        let parent = self.with_core(|core| {
            let mut above = core.machine.parent(sibling);
            while let Some(id) = above {
                if core.machine.is_group(id) == Some(false) {
                    return core.machine.path(id);
                }
                above = core.machine.parent(id);
            }
            None
        });
        let parent = parent.ok_or(Refusal::NotASupervisor)?;
        self.add(&parent, child.restart(Restart::Temporary), IfTaken::Number).map(|(id, _)| id)
    }
}

/// What happens to a child whose name is taken.
#[derive(Clone, Copy)]
enum IfTaken {
    Refuse,
    /// A number is appended to its name.
    Number,
}

fn number_if_taken(core: &Core, parent: &Path, declared: &mut ChildDeclaration) -> Result<(), Refusal> {
    /// Numbers that tell children of the same name apart, across all trees of the program.
    static NUMBER: AtomicU64 = AtomicU64::new(2);
    let name = declared.name.clone();
    while core.machine.find(&parent.join(declared.name.as_str())).is_some() {
        let numbered = format!("{name}.{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        declared.name = Name::new(numbered).map_err(|error| {
            let problem = SpecProblem::Name(error);
            Refusal::Invalid(SpecErrors(vec![SpecError { path: parent.clone(), field: "name", problem }]))
        })?;
    }
    Ok(())
}
