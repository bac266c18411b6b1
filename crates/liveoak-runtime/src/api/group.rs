//! Dynamic groups: any number of children from one template.

use crate::api::child::{Child, ChildKind, GroupAddress, edge};
use crate::api::ctx::Ctx;
use crate::api::task::TaskStarter;
use crate::attempt::body::IntoExit;
use crate::attempt::dedicated_runtime::DedicatedRuntime;
use crate::engine::driver::ChildBody;
use crate::engine::state::Answer;
use crate::util::lock::lock;
use liveoak_core::{Backoff, ChildId, ChildSpec, Condition, GroupSpec, Limit, Name, Ready, Refusal, Restart};
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

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

impl<A: Send + 'static> Group<A> {
    /// Makes a group whose members can be restarted, each with a clone of its own argument. Default: permanent.
    pub fn new<F, Fut>(name: impl Into<String>, body: F) -> Self
    where
        F: Fn(Ctx, A) -> Fut + Send + Sync + 'static,
        Fut: Future<Output: IntoExit> + Send + 'static,
        A: Clone + Sync,
    {
        let make = Arc::new(body);
        // Members whose argument holds no data share one body.
        let same: OnceLock<Arc<ChildBody>> = OnceLock::new();
        Self::with(name, Restart::Permanent, move |argument| {
            let body = |argument: A| -> Arc<ChildBody> {
                let make = Arc::clone(&make);
                let factory = move |ctx| make(ctx, argument.clone());
                Arc::new(TaskStarter { factory, handles_kill: false })
            };
            if size_of::<A>() == 0 { Arc::clone(same.get_or_init(|| body(argument))) } else { body(argument) }
        })
    }

    /// Makes a group whose members are temporary: never restarted, and removed when they end. The argument is moved
    /// into the member (a connection, for example).
    pub fn temporary<F, Fut>(name: impl Into<String>, body: F) -> Self
    where
        F: Fn(Ctx, A) -> Fut + Send + Sync + 'static,
        Fut: Future<Output: IntoExit> + Send + 'static,
    {
        let make = Arc::new(body);
        let mut group = Self::with(name, Restart::Temporary, move |argument| {
            let (make, argument) = (Arc::clone(&make), Mutex::new(Some(argument)));
            let factory = move |ctx| match lock(&argument).take() {
                Some(argument) => make(ctx, argument),
                None => unreachable!("a temporary member has one attempt"),
            };
            Arc::new(TaskStarter { factory, handles_kill: false })
        });
        group.spec.template.once = true;
        group
    }

    fn with(
        name: impl Into<String>,
        restart: Restart,
        body: impl Fn(A) -> Arc<ChildBody> + Send + Sync + 'static,
    ) -> Self {
        let handle = GroupHandle { address: Arc::default(), body: Arc::new(body) };
        let template = ChildSpec { restart, ..ChildSpec::default() };
        let spec = GroupSpec { template, ..GroupSpec::default() };
        Self { name: name.into(), own: ChildSpec::of_supervisor(), spec, handle, runtime: None }
    }

    /// Returns the handle that adds members. It works as soon as the tree runs.
    #[must_use]
    pub fn handle(&self) -> GroupHandle<A> {
        self.handle.clone()
    }

    /// Restarts members after a failure only. Has no effect on a [temporary](Self::temporary) group: its members never
    /// restart, because there is no second argument for them.
    #[must_use]
    pub fn transient(mut self) -> Self {
        if self.spec.template.restart == Restart::Permanent {
            self.spec.template.restart = Restart::Transient;
        }
        self
    }

    /// Sets the delay before a member's restart; `None` restarts at once.
    #[must_use]
    pub fn backoff(mut self, backoff: impl Into<Option<Backoff>>) -> Self {
        self.spec.template.backoff = backoff.into();
        self
    }

    /// Sets the restart limit of each member alone. Default: ten restarts in a minute or ten failures in a row, unless
    /// the group has an intensity.
    #[must_use]
    pub fn limit(mut self, limit: Limit) -> Self {
        self.spec.template.limit = Some(limit);
        self
    }

    /// Sets how many restarts of all members together are allowed within a period; failures in a row do not count.
    #[must_use]
    pub fn intensity(mut self, limit: Limit) -> Self {
        self.spec.intensity = Some(limit);
        self
    }

    /// Makes a member ready when it calls [`Ctx::ready`], which it must do `within` this time.
    #[must_use]
    pub fn reports_ready(mut self, within: Duration) -> Self {
        self.spec.template.ready = Ready::Reported;
        self.spec.template.start_within = within;
        self
    }

    /// Requires a heartbeat of each member at least once in `period`; see [`Child::heartbeat`].
    #[must_use]
    pub fn heartbeat(mut self, period: Duration) -> Self {
        self.spec.template.heartbeat = Some(period);
        self
    }

    /// Sets how long members may take to stop. All are asked together. Default: 5 s.
    #[must_use]
    pub fn stop_within(mut self, within: Duration) -> Self {
        self.spec.template.stop_within = within;
        self
    }

    /// Sets how many members there may be at once; one more is refused. Default: ten million.
    #[must_use]
    pub fn max_members(mut self, max: u32) -> Self {
        self.spec.max_members = max;
        self
    }

    /// Runs the members on a Tokio runtime of their own.
    #[must_use]
    pub fn dedicated_runtime(mut self, runtime: DedicatedRuntime) -> Self {
        self.runtime = Some(runtime);
        self
    }

    /// Starts the group itself only when the sibling `child` is ready; see [`Child::after`].
    #[must_use]
    pub fn after(self, child: &str) -> Self {
        self.after_when(child, Condition::Ready)
    }

    /// Starts the group itself only when `condition` holds for the sibling `child`; see [`Child::after_when`].
    #[must_use]
    pub fn after_when(mut self, child: &str, condition: Condition) -> Self {
        self.own.after.extend(edge(child, condition));
        self
    }
}

impl<A> From<Group<A>> for Child {
    fn from(group: Group<A>) -> Self {
        let (spec, address) = (Box::new(group.spec), group.handle.address);
        let kind = ChildKind::Group { spec, address, runtime: group.runtime };
        Self { name: group.name, spec: group.own, kind, stop_within_for_service: None }
    }
}

/// Adds members to a [`Group`]. Cheap to clone.
pub struct GroupHandle<A> {
    address: Arc<GroupAddress>,
    /// Makes the body of a member.
    body: Arc<dyn Fn(A) -> Arc<ChildBody> + Send + Sync>,
}

impl<A> Clone for GroupHandle<A> {
    fn clone(&self) -> Self {
        Self { address: Arc::clone(&self.address), body: Arc::clone(&self.body) }
    }
}

impl<A> fmt::Debug for GroupHandle<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupHandle").finish_non_exhaustive()
    }
}

impl<A> GroupHandle<A> {
    /// Adds a member and returns when it has been started, like `tokio::spawn`. Its name is its slot number: `7`, or
    /// `7-1` if the slot was used before.
    ///
    /// # Errors
    /// When the group is not running, or is full. Nothing was added then.
    pub fn spawn(&self, argument: A) -> Result<ChildId, Refusal> {
        self.add(None, argument, false).map(|(id, _)| id)
    }

    /// Adds a member called `name` and returns when it has been started.
    ///
    /// # Errors
    /// As [`spawn`](Self::spawn), and when the name is taken.
    pub fn spawn_named(&self, name: Name, argument: A) -> Result<ChildId, Refusal> {
        self.add(Some(name), argument, false).map(|(id, _)| id)
    }

    /// Adds a member and returns when it is ready.
    ///
    /// # Errors
    /// As [`spawn`](Self::spawn), and when its first start fails; the member is removed then.
    ///
    /// # Cancel safety
    /// Safe: when this future is dropped, the member stays.
    pub async fn start(&self, name: Option<Name>, argument: A) -> Result<ChildId, Refusal> {
        let (id, answer) = self.add(name, argument, true)?;
        match answer {
            None => Ok(id),
            Some(answer) => answer.wait().await.map(|_done| id),
        }
    }

    fn add(&self, name: Option<Name>, argument: A, wait: bool) -> Result<(ChildId, Option<Answer>), Refusal> {
        let (tree, group) = self.address.get()?;
        // Made outside the lock, and dropped outside it if the group refuses.
        let mut body = Some((self.body)(argument));
        let now = tree.clock.now();
        tree.with_state(|state| {
            let (id, answer) = if wait {
                let (id, answer) = state
                    .request_to_add(|machine, request| machine.add_member(now, group, name, Some(request)))?;
                (id, Some(answer))
            } else {
                (state.machine.add_member(now, group, name, None)?, None)
            };
            if let Some(body) = body.take() {
                state.set_leaf(id, body);
            }
            Ok((id, answer))
        })
    }
}
