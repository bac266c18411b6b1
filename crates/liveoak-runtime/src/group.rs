//! Dynamic groups: any number of children from one template.

use crate::body::{Body, IntoExit};
use crate::child::{Child, Stuff, edge};
use crate::ctx::Ctx;
use crate::dedicated_runtime::DedicatedRuntime;
use crate::driver::Shared;
use crate::table::Answer;
use crate::task::{Factory, TaskBody};
use liveoak_core::{
    Backoff, ChildId, ChildSpec, Condition, GroupSpec, Limit, Name, Ready, Refusal, RequestId, Restart,
};
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

/// What one member runs.
pub(crate) type MemberBody = Arc<dyn Body>;

/// Where a group is, once its tree was begun.
pub(crate) struct GroupCell {
    place: OnceLock<(Weak<Shared>, ChildId)>,
}

impl GroupCell {
    pub(crate) fn bind(&self, shared: &Arc<Shared>, id: ChildId) {
        // A builder is used up by its start, so a group is bound once.
        let _ = self.place.set((Arc::downgrade(shared), id));
    }
}

/// A dynamic group: its members are added while the tree runs, each from this template and an argument of its own.
/// They are restarted one for one, and stopped together under one deadline.
///
/// Members are added through a [`GroupHandle`], which may be taken before the tree is started.
pub struct Group<A> {
    name: String,
    own: ChildSpec,
    spec: GroupSpec,
    handle: GroupHandle<A>,
    runtime: Option<DedicatedRuntime>,
}

impl<A> fmt::Debug for Group<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group").field("name", &self.name).field("spec", &self.spec).finish_non_exhaustive()
    }
}

struct MemberFactory<F, A> {
    make: Arc<F>,
    argument: A,
}

impl<F, A, Fut> Factory for MemberFactory<F, A>
where
    F: Fn(Ctx, A) -> Fut + Send + Sync + 'static,
    A: Clone + Send + Sync + 'static,
    Fut: Future<Output: IntoExit> + Send + 'static,
{
    type Future = Fut;

    fn make(&self, ctx: Ctx) -> Fut {
        (self.make)(ctx, self.argument.clone())
    }
}

struct OnceFactory<F, A> {
    make: Arc<F>,
    argument: Mutex<Option<A>>,
}

impl<F, A, Fut> Factory for OnceFactory<F, A>
where
    F: Fn(Ctx, A) -> Fut + Send + Sync + 'static,
    A: Send + 'static,
    Fut: Future<Output: IntoExit> + Send + 'static,
{
    type Future = Fut;

    fn make(&self, ctx: Ctx) -> Fut {
        let argument = self.argument.lock().unwrap_or_else(PoisonError::into_inner).take();
        match argument {
            Some(argument) => (self.make)(ctx, argument),
            None => unreachable!("a temporary member has one attempt"),
        }
    }
}

impl<A: Send + 'static> Group<A> {
    /// A group whose members can be restarted, each with a clone of its own argument. Default: permanent.
    pub fn new<F, Fut>(name: impl Into<String>, body: F) -> Self
    where
        F: Fn(Ctx, A) -> Fut + Send + Sync + 'static,
        Fut: Future<Output: IntoExit> + Send + 'static,
        A: Clone + Sync,
    {
        let make = Arc::new(body);
        // Members without an argument of their own all run the same.
        let same: OnceLock<MemberBody> = OnceLock::new();
        Self::with(name, Restart::Permanent, move |argument| {
            let body = |argument| -> MemberBody {
                let factory = MemberFactory { make: Arc::clone(&make), argument };
                Arc::new(TaskBody { factory, kills_itself: false })
            };
            if size_of::<A>() == 0 { Arc::clone(same.get_or_init(|| body(argument))) } else { body(argument) }
        })
    }

    /// A group whose members are temporary: never restarted, and gone when they end. The argument is moved in
    /// (a connection, say).
    pub fn temporary<F, Fut>(name: impl Into<String>, body: F) -> Self
    where
        F: Fn(Ctx, A) -> Fut + Send + Sync + 'static,
        Fut: Future<Output: IntoExit> + Send + 'static,
    {
        let make = Arc::new(body);
        let mut group = Self::with(name, Restart::Temporary, move |argument| {
            let factory = OnceFactory { make: Arc::clone(&make), argument: Mutex::new(Some(argument)) };
            Arc::new(TaskBody { factory, kills_itself: false })
        });
        group.spec.template.once = true;
        group
    }

    fn with(
        name: impl Into<String>,
        restart: Restart,
        body: impl Fn(A) -> MemberBody + Send + Sync + 'static,
    ) -> Self {
        let cell = Arc::new(GroupCell { place: OnceLock::new() });
        let handle = GroupHandle { cell, body: Arc::new(body), reported: Arc::default() };
        let template = ChildSpec { restart, ..ChildSpec::default() };
        let spec = GroupSpec { template, ..GroupSpec::default() };
        Self { name: name.into(), own: ChildSpec::of_supervisor(), spec, handle, runtime: None }
    }

    /// The handle through which members are added. Of use as soon as the tree runs.
    #[must_use]
    pub fn handle(&self) -> GroupHandle<A> {
        self.handle.clone()
    }

    /// Members restart after a failure only. Of a [temporary](Self::temporary) group they never restart, whatever
    /// is said here: there is no second argument for them.
    #[must_use]
    pub fn transient(mut self) -> Self {
        if self.spec.template.restart == Restart::Permanent {
            self.spec.template.restart = Restart::Transient;
        }
        self
    }

    /// The delay before a member's restart; `None` restarts at once.
    #[must_use]
    pub fn backoff(mut self, backoff: impl Into<Option<Backoff>>) -> Self {
        self.spec.template.backoff = backoff.into();
        self
    }

    /// The limit of each member alone. Default: ten restarts in a minute, unless the group has an intensity.
    #[must_use]
    pub fn limit(mut self, limit: Limit) -> Self {
        self.spec.template.limit = Some(limit);
        self
    }

    /// How many restarts of members, all together, are allowed within how long.
    #[must_use]
    pub fn intensity(mut self, limit: Limit) -> Self {
        self.spec.intensity = Some(limit);
        self
    }

    /// Members are ready when they say so ([`Ctx::ready`]), at the latest after `within`.
    #[must_use]
    pub fn reports_ready(mut self, within: Duration) -> Self {
        self.spec.template.ready = Ready::Reported;
        self.spec.template.start_within = within;
        let _ = self.handle.reported.set(());
        self
    }

    /// Members promise a heartbeat at least once in `period`; see [`Child::heartbeat`].
    #[must_use]
    pub fn heartbeat(mut self, period: Duration) -> Self {
        self.spec.template.heartbeat = Some(period);
        self
    }

    /// How long members may take to stop when asked, all at once. Default: 5 s.
    #[must_use]
    pub fn stop_within(mut self, within: Duration) -> Self {
        self.spec.template.stop_within = within;
        self
    }

    /// The most members at once; one more is refused. Default: ten million.
    #[must_use]
    pub fn max_members(mut self, max: u32) -> Self {
        self.spec.max_members = max;
        self
    }

    /// Its members run on a Tokio runtime of their own.
    #[must_use]
    pub fn dedicated_runtime(mut self, runtime: DedicatedRuntime) -> Self {
        self.runtime = Some(runtime);
        self
    }

    /// The group itself starts only when the sibling `child` is ready; see [`Child::after`].
    #[must_use]
    pub fn after(self, child: &str) -> Self {
        self.after_when(child, Condition::Ready)
    }

    /// The group itself starts only when `condition` holds for the sibling `child`.
    #[must_use]
    pub fn after_when(mut self, child: &str, condition: Condition) -> Self {
        self.own.after.extend(edge(child, condition));
        self
    }
}

impl<A> From<Group<A>> for Child {
    fn from(group: Group<A>) -> Self {
        let stuff =
            Stuff::Group { spec: Box::new(group.spec), cell: group.handle.cell, runtime: group.runtime };
        Self { name: group.name, spec: group.own, stuff, stop_within: None }
    }
}

/// Adds members to a [`Group`]. Cheap to clone.
pub struct GroupHandle<A> {
    cell: Arc<GroupCell>,
    body: Arc<dyn Fn(A) -> MemberBody + Send + Sync>,
    /// Set when members say themselves when they are ready.
    reported: Arc<OnceLock<()>>,
}

impl<A> Clone for GroupHandle<A> {
    fn clone(&self) -> Self {
        Self {
            cell: Arc::clone(&self.cell),
            body: Arc::clone(&self.body),
            reported: Arc::clone(&self.reported),
        }
    }
}

impl<A> fmt::Debug for GroupHandle<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupHandle").finish_non_exhaustive()
    }
}

impl<A> GroupHandle<A> {
    /// Adds a member and returns when it is begun, like `tokio::spawn`. Its name is made from its number.
    ///
    /// # Errors
    /// When the group is not running, or full. Nothing was added then.
    pub fn spawn(&self, argument: A) -> Result<ChildId, Refusal> {
        self.add(None, argument, false).map(|(id, _)| id)
    }

    /// Adds a member called `name` and returns when it is begun.
    ///
    /// # Errors
    /// As [`spawn`](Self::spawn), and when the name is taken.
    pub fn spawn_named(&self, name: Name, argument: A) -> Result<ChildId, Refusal> {
        self.add(Some(name), argument, false).map(|(id, _)| id)
    }

    /// Adds a member and returns when it is ready.
    ///
    /// # Errors
    /// As [`spawn`](Self::spawn), and when its first start fails; it is not kept then.
    ///
    /// # Cancel safety
    /// Dropping this future leaves the member where it is.
    pub async fn start(&self, name: Option<Name>, argument: A) -> Result<ChildId, Refusal> {
        let (id, answer) = self.add(name, argument, self.reported.get().is_some())?;
        match answer {
            None => Ok(id),
            Some(answer) => answer.told().await.map(|_done| id),
        }
    }

    fn add(&self, name: Option<Name>, argument: A, wait: bool) -> Result<(ChildId, Option<Answer>), Refusal> {
        let (shared, group) = self.cell.place.get().ok_or(Refusal::SupervisorDown)?;
        let shared = shared.upgrade().ok_or(Refusal::TreeEnded)?;
        // Outside of what is locked, and dropped outside when the group refuses.
        let mut body = Some((self.body)(argument));
        let now = shared.clock.now();
        shared.with_core(|core| {
            let (request, answer) = if wait {
                let (request, answer) = core.expect_reply();
                (Some(request), Some(answer))
            } else {
                (None::<RequestId>, None)
            };
            match core.machine.add_member(now, *group, name, request) {
                Ok(id) => {
                    if let Some(body) = body.take() {
                        core.set_leaf(id, body);
                    }
                    Ok((id, answer))
                }
                Err(refusal) => {
                    if let Some(request) = request {
                        core.forget_reply(request);
                    }
                    Err(refusal)
                }
            }
        })
    }
}
