//! Dynamic groups: any number of children from one template.

use crate::api::child::{Child, ChildKind, GroupAddress, GroupParts, edge};
use crate::api::ctx::Ctx;
use crate::api::task::{Factory, TaskStarter};
use crate::api::tree::{asker_in, check_caller};
use crate::attempt::body::{IntoExit, UserValue, add_user_value};
use crate::attempt::dedicated_runtime::DedicatedRuntime;
use crate::engine::command::PendingAnswer;
use crate::engine::driver::ChildBody;
use crate::util::lock::{ignore_poison, lock};
use liveoak_core::{
    Backoff, ChildId, ChildSpec, Condition, GroupSpec, Limit, Machine, Name, Ready, Refusal, Restart,
};
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

/// A dynamic group. Its members are added while the tree runs. Each member is made from the same template and its own
/// argument. Members are restarted one for one, and stopped together under one deadline.
///
/// A [`GroupHandle`] adds members. The handle can be taken before the tree is started.
pub struct Group<A> {
    name: String,
    own: ChildSpec,
    spec: GroupSpec,
    handle: GroupHandle<A>,
    member_maker: Arc<MemberMaker<A>>,
    runtime: Option<DedicatedRuntime>,
}

impl<A> fmt::Debug for Group<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group").field("name", &self.name).field("spec", &self.spec).finish_non_exhaustive()
    }
}

impl<A: Send + 'static> Group<A> {
    /// Makes a group whose members can be restarted. Each attempt of a member gets a clone of the member's argument.
    /// Default: permanent.
    pub fn new<F, Fut>(name: impl Into<String>, body: F) -> Self
    where
        F: Fn(Ctx, A) -> Fut + Send + Sync + 'static,
        Fut: Future<Output: IntoExit> + Send + 'static,
        A: Clone + Sync,
    {
        let make = Arc::new(body);
        // Members whose argument holds no data and has no destructor share one body.
        let same: OnceLock<Arc<ChildBody>> = OnceLock::new();
        Self::with(name, Restart::Permanent, move |argument| {
            let body = |argument: A| -> Arc<ChildBody> {
                let factory = Member { make: Arc::clone(&make), argument };
                Arc::new(TaskStarter { factory, handles_kill: false })
            };
            let is_plain = size_of::<A>() == 0 && !std::mem::needs_drop::<A>();
            if is_plain { Arc::clone(same.get_or_init(|| body(argument))) } else { body(argument) }
        })
    }

    /// Makes a group whose members are temporary: they are never restarted, and removed when they end. The argument (a
    /// connection, for example) is moved into the member.
    pub fn temporary<F, Fut>(name: impl Into<String>, body: F) -> Self
    where
        F: Fn(Ctx, A) -> Fut + Send + Sync + 'static,
        Fut: Future<Output: IntoExit> + Send + 'static,
    {
        let make = Arc::new(body);
        let mut group = Self::with(name, Restart::Temporary, move |argument| {
            let factory = TemporaryMember { make: Arc::clone(&make), argument: Mutex::new(Some(argument)) };
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
        let member_maker: Arc<MemberMaker<A>> = Arc::new(body);
        let handle = GroupHandle { address: Arc::default(), member_maker: Arc::downgrade(&member_maker) };
        let template = ChildSpec { restart, ..ChildSpec::default() };
        let spec = GroupSpec { template, ..GroupSpec::default() };
        let own = ChildSpec::of_supervisor();
        Self { name: name.into(), own, spec, handle, member_maker, runtime: None }
    }

    /// Returns the handle that adds members. It works as soon as the tree runs.
    #[must_use]
    pub fn handle(&self) -> GroupHandle<A> {
        self.handle.clone()
    }

    /// Restarts members after a failure only. Has no effect on a [temporary](Self::temporary) group, because its members
    /// have no second argument for a restart.
    #[must_use]
    pub fn transient(mut self) -> Self {
        if self.spec.template.restart == Restart::Permanent {
            self.spec.template.restart = Restart::Transient;
        }
        self
    }

    /// Sets the delay before a member's restart; `None` restarts immediately.
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

    /// Makes a member ready when it calls [`Ctx::ready`]. The member must call it `within` this time.
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

    /// Makes the exits of members hold the error that the body returned; see [`Child::keep_error`].
    #[must_use]
    pub fn keep_error(mut self) -> Self {
        self.spec.template.keep_error = true;
        self
    }

    /// Sets how many members the group may have at the same time. A further member is refused. Default: ten million.
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

impl<A: 'static> From<Group<A>> for Child {
    fn from(group: Group<A>) -> Self {
        let member_maker = Arc::new(group.member_maker);
        let parts = GroupParts { address: group.handle.address, member_maker };
        let kind = ChildKind::Group { spec: Box::new(group.spec), parts, runtime: group.runtime };
        Self { name: group.name, spec: group.own, kind, stop_within_for_service: None }
    }
}

/// The body of a member that can be restarted. All members share `make`.
struct Member<F, A> {
    make: Arc<F>,
    argument: A,
}

impl<F, Fut, A> Factory for Member<F, A>
where
    F: Fn(Ctx, A) -> Fut + Send + Sync + 'static,
    Fut: Future<Output: IntoExit> + Send + 'static,
    A: Clone + Send + Sync + 'static,
{
    type Body = Fut;

    fn make(&self, ctx: Ctx) -> Fut {
        (self.make)(ctx, self.argument.clone())
    }

    fn dispose(self, values: &mut Vec<UserValue>) {
        add_user_value(values, self.argument);
        add_shared(values, self.make);
    }
}

/// The body of a temporary member.
struct TemporaryMember<F, A> {
    make: Arc<F>,
    /// `None` when the attempt has begun.
    argument: Mutex<Option<A>>,
}

impl<F, Fut, A> Factory for TemporaryMember<F, A>
where
    F: Fn(Ctx, A) -> Fut + Send + Sync + 'static,
    Fut: Future<Output: IntoExit> + Send + 'static,
    A: Send + 'static,
{
    type Body = Fut;

    fn make(&self, ctx: Ctx) -> Fut {
        let argument = lock(&self.argument).take();
        match argument {
            Some(argument) => (self.make)(ctx, argument),
            None => unreachable!("a temporary member has one attempt"),
        }
    }

    fn dispose(self, values: &mut Vec<UserValue>) {
        if let Some(argument) = ignore_poison(self.argument.into_inner()) {
            add_user_value(values, argument);
        }
        add_shared(values, self.make);
    }
}

/// Adds the values that the members share to the values to drop, if this was the last member.
fn add_shared<F: Send + Sync + 'static>(values: &mut Vec<UserValue>, shared: Arc<F>) {
    if let Some(only) = Arc::into_inner(shared) {
        add_user_value(values, only);
    }
}
/// The answer to the start of a member, or the reason why the caller cannot wait for it.
type AnswerOrRefusal = Result<PendingAnswer, Refusal>;

/// Adds members to a [`Group`]. Cheap to clone.
pub struct GroupHandle<A> {
    address: Arc<GroupAddress>,
    /// Weak, because the closure may hold this handle. The tree keeps the closure as long as it has the group.
    member_maker: Weak<MemberMaker<A>>,
}

/// Makes the body of a member.
type MemberMaker<A> = dyn Fn(A) -> Arc<ChildBody> + Send + Sync;

impl<A> Clone for GroupHandle<A> {
    fn clone(&self) -> Self {
        Self { address: Arc::clone(&self.address), member_maker: Weak::clone(&self.member_maker) }
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
    /// When the group is not running, or is full. In this case no member was added.
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
    /// As [`spawn`](Self::spawn), and when the first start of the member fails; the member is then removed.
    ///
    /// # Cancel safety
    /// Safe: when this future is dropped, the member stays.
    pub async fn start(&self, name: Option<Name>, argument: A) -> Result<ChildId, Refusal> {
        let (id, answer) = self.add(name, argument, true)?;
        match answer {
            None => Ok(id),
            Some(answer) => answer?.wait().await.map(|_done| id),
        }
    }

    fn add(
        &self,
        name: Option<Name>,
        argument: A,
        wait: bool,
    ) -> Result<(ChildId, Option<AnswerOrRefusal>), Refusal> {
        check_caller()?;
        let (tree, group) = self.address.get()?;
        tree.may_add()?;
        // The body is made outside the lock. If the group refuses the member, the body is also dropped outside the lock.
        let Some(member_maker) = self.member_maker.upgrade() else {
            return Err(if tree.ended().is_some() { Refusal::TreeEnded } else { Refusal::NotFound });
        };
        let mut body = Some(member_maker(argument));
        drop(member_maker);
        let now = tree.clock.now();
        let asker = if wait { asker_in(&tree) } else { None };
        tree.with_state(|state| {
            let (id, answer) = if wait {
                let add = |machine: &mut Machine, request| {
                    Ok((machine.add_member(now, group, name, Some(request))?, ()))
                };
                let (id, (), answer) = state.request_to_add(asker, add)?;
                (id, Some(answer.map(|answer| PendingAnswer::new(Arc::clone(&tree), id, answer))))
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
