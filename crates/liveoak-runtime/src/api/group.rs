//! Dynamic groups: any number of children from one template.

use crate::api::child::{Child, ChildKind, GroupAddress, GroupParts, edge};
use crate::api::child_handle::{ChildHandle, exited};
use crate::api::ctx::Ctx;
use crate::api::error::Refused;
use crate::api::member::{MemberMaker, RestartableMembers, TemporaryMembers};
use crate::api::tree::{TreeHandle, asker_in, check_caller};
use crate::attempt::body::IntoExit;
use crate::attempt::dedicated_runtime::DedicatedRuntime;
use crate::engine::command::PendingAnswer;
use crate::engine::driver::TreeInner;
use crate::engine::watch::Watch;
use liveoak_core::{
    Backoff, BodyKind, ChildId, ChildSpec, Condition, Criticality, DeclaredAt, Exit, GroupSpec, Limit,
    Machine, Moment, Name, PollLimit, Ready, Refusal, Restart, Role,
};
use std::fmt;
use std::future::Future;
use std::sync::{Arc, OnceLock, Weak};
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
    member_maker: Arc<dyn MemberMaker<A>>,
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
    #[track_caller]
    pub fn new<F, Fut>(name: impl Into<String>, body: F) -> Self
    where
        F: Fn(Ctx, A) -> Fut + Send + Sync + 'static,
        Fut: Future<Output: IntoExit> + Send + 'static,
        A: Clone + Sync,
    {
        let maker = RestartableMembers { make: Arc::new(body), same: OnceLock::new() };
        Self::with(name, Restart::Permanent, maker)
    }

    /// Makes a group whose members are temporary: they are never restarted, and removed when they end. The argument (a
    /// connection, for example) is moved into the member.
    #[track_caller]
    pub fn temporary<F, Fut>(name: impl Into<String>, body: F) -> Self
    where
        F: Fn(Ctx, A) -> Fut + Send + Sync + 'static,
        Fut: Future<Output: IntoExit> + Send + 'static,
    {
        let mut group = Self::with(name, Restart::Temporary, TemporaryMembers { make: Arc::new(body) });
        group.spec.template.set_restart(Restart::Temporary);
        group.spec.template.once = true;
        group
    }

    #[track_caller]
    fn with(name: impl Into<String>, restart: Restart, member_maker: impl MemberMaker<A> + 'static) -> Self {
        let member_maker: Arc<dyn MemberMaker<A>> = Arc::new(member_maker);
        let handle = GroupHandle { address: Arc::default(), member_maker: Arc::downgrade(&member_maker) };
        let declared_at = DeclaredAt::caller();
        let template = ChildSpec { restart, declared_at: declared_at.clone(), ..ChildSpec::default() };
        let spec = GroupSpec { template, ..GroupSpec::default() };
        let own = ChildSpec { declared_at, body: BodyKind::Group, ..ChildSpec::of_supervisor() };
        Self { name: name.into(), own, spec, handle, member_maker, runtime: None }
    }

    /// Returns the handle that adds members. It works as soon as the tree runs.
    #[must_use]
    pub fn handle(&self) -> GroupHandle<A> {
        self.handle.clone()
    }

    /// Restarts members only after a failure. Refused on a [temporary](Self::temporary) group, because its members have no
    /// second argument for a restart.
    #[must_use]
    pub fn transient(mut self) -> Self {
        match self.spec.template.restart {
            Restart::Temporary => {
                let reason = "the members of a temporary group have no second argument for a restart; expected \
                              `Group::new`, or no `transient`";
                self.spec.template.written.refused.push(("restart", reason));
            }
            Restart::Permanent | Restart::Transient => self.spec.template.set_restart(Restart::Transient),
        }
        self
    }

    /// Sets the delay before a member's restart; `None` restarts immediately. Like [`limit`](Self::limit) and
    /// [`intensity`](Self::intensity), it is refused on a [temporary](Self::temporary) group.
    #[must_use]
    pub fn backoff(mut self, backoff: impl Into<Option<Backoff>>) -> Self {
        self.spec.template.set_backoff(backoff.into());
        self
    }

    /// Sets the restart limit of each member alone. Default: ten restarts in a minute or ten failures in a row, unless
    /// the group has an intensity.
    #[must_use]
    pub fn limit(mut self, limit: Limit) -> Self {
        self.spec.template.set_limit(limit);
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
        self.spec.template.set_start_within(within);
        self
    }

    /// Requires a heartbeat of each member at least once in `period`; see [`Child::heartbeat`].
    #[must_use]
    pub fn heartbeat(mut self, period: Duration) -> Self {
        self.spec.template.heartbeat = Some(period);
        self
    }

    /// Watches the polls of each member; see [`Child::watch_polls`].
    #[must_use]
    pub fn watch_polls(mut self, limit: PollLimit) -> Self {
        self.spec.template.poll_limit = Some(limit);
        self
    }

    /// Sets how long a member may take to end after a kill, until it is abandoned: more than zero. The budgets of the
    /// supervisors above may end this wait earlier. Default: [`KILL_WAIT`](crate::KILL_WAIT), 2 s.
    #[must_use]
    pub fn kill_wait(mut self, wait: Duration) -> Self {
        self.spec.template.set_kill_wait(wait);
        self
    }

    /// Sets how long members may take to stop. All are asked together. Default: 5 s.
    #[must_use]
    pub fn stop_within(mut self, within: Duration) -> Self {
        self.spec.template.set_stop_within(within);
        self
    }

    /// Sets the title of the group; see [`Child::title`].
    #[must_use]
    pub fn title(mut self, title: impl AsRef<str>) -> Self {
        self.own.describe().title = Some(title.as_ref().into());
        self
    }

    /// Adds tags to the group and to its members; see [`Child::tag`].
    #[must_use]
    pub fn tags<T: AsRef<str>>(mut self, tags: impl IntoIterator<Item = T>) -> Self {
        for tag in tags {
            self.own.describe().tags.push(tag.as_ref().into());
            self.spec.template.describe().tags.push(tag.as_ref().into());
        }
        self
    }

    /// Sets what the members are for. The role presets their restart rule, backoff and limit; see [`Child::role`]. The
    /// members of a [temporary](Self::temporary) group stay temporary.
    #[must_use]
    pub fn role(mut self, role: Role) -> Self {
        self.spec.template.describe().role = Some(role);
        self
    }

    /// Sets how much depends on the group and on its members; see [`Child::criticality`].
    #[must_use]
    pub fn criticality(mut self, criticality: Criticality) -> Self {
        self.own.describe().criticality = Some(criticality);
        self.spec.template.describe().criticality = Some(criticality);
        self
    }

    /// Sets how many of its last exits each member keeps, from its first failure on. Default: 8; see [`Child::history`].
    #[must_use]
    pub fn history(mut self, exits: u8) -> Self {
        self.spec.template.history = exits;
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

    /// Sets how many members may be starting at the same time; see [`Supervisor::max_starting`](crate::Supervisor::max_starting).
    /// A further member is added, and waits. Refused if the members are ready as soon as they run.
    #[must_use]
    pub fn max_starting(mut self, members: u32) -> Self {
        self.spec.max_starting = Some(members);
        self
    }

    /// Runs the members on a Tokio runtime of their own.
    #[must_use]
    pub fn dedicated_runtime(mut self, runtime: DedicatedRuntime) -> Self {
        self.runtime = Some(runtime);
        self
    }

    /// Sets the version of the code of the members; see [`Child::version`]. Another version restarts the group, without its
    /// members.
    #[must_use]
    pub fn version(mut self, version: impl AsRef<str>) -> Self {
        self.own.version = Some(version.as_ref().into());
        self
    }

    /// Starts the group itself only when it is asked for; see [`Child::manual`].
    #[must_use]
    pub fn manual(mut self) -> Self {
        self.own.manual = true;
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
        let mut own = group.own;
        if group.spec.intensity.is_some() && group.spec.template.restart == Restart::Temporary {
            let reason = "temporary members are never restarted, so a limit of restarts has no effect";
            own.written.refused.push(("intensity", reason));
        }
        let member_maker = Arc::new(group.member_maker);
        let parts = GroupParts { address: group.handle.address, member_maker };
        let kind = ChildKind::Group { spec: Box::new(group.spec), parts, runtime: group.runtime };
        Self { name: group.name, spec: own, kind, runtime_is_misplaced: false }
    }
}

/// What the caller that adds a member waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Awaits {
    Nothing,
    Start,
    /// The end of the first attempt.
    Exit,
}

/// The answer to the start of a member, or the reason why the caller cannot wait for it.
type AnswerOrRefusal = Result<PendingAnswer, Refusal>;

/// The tree, the id of the group in it, and the maker of its members.
type RunningGroup<A> = (Arc<TreeInner>, ChildId, Arc<dyn MemberMaker<A>>);

/// Adds members to a [`Group`]. Cheap to clone.
pub struct GroupHandle<A> {
    address: Arc<GroupAddress>,
    /// Weak, because the closure may hold this handle. The tree keeps the closure as long as it has the group.
    member_maker: Weak<dyn MemberMaker<A>>,
}

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

impl<A: Send + 'static> GroupHandle<A> {
    /// Adds a member and returns its handle when it has been started, like `tokio::spawn`. Its name is its slot number: `7`, or
    /// `7-1` if the slot was used before. If another member was given this name, `.1` follows: `7.1`.
    ///
    /// # Errors
    /// When the group is not running, or is full. In this case no member was added, and the error gives the argument back.
    pub fn spawn(&self, argument: A) -> Result<ChildHandle, Refused<A>> {
        self.add(None, argument, Awaits::Nothing).map(|(member, _)| member)
    }

    /// Adds a member called `name` and returns its handle when it has been started.
    ///
    /// # Errors
    /// As [`spawn`](Self::spawn), and when the name is taken.
    pub fn spawn_named(&self, name: Name, argument: A) -> Result<ChildHandle, Refused<A>> {
        self.add(Some(name), argument, Awaits::Nothing).map(|(member, _)| member)
    }

    /// Adds a member and returns its handle when it is ready.
    ///
    /// # Errors
    /// As [`spawn`](Self::spawn), and when the first start of the member fails. The member is then removed, and its argument
    /// is used up: the error does not give it back.
    ///
    /// # Cancel safety
    /// Safe: when this future is dropped, the member stays.
    pub async fn start(&self, name: Option<Name>, argument: A) -> Result<ChildHandle, Refused<A>> {
        let (member, answer) = self.add(name, argument, Awaits::Start)?;
        match answer {
            None => Ok(member),
            Some(answer) => Ok(answer?.wait().await.map(|_done| member)?),
        }
    }

    /// Adds a member, waits until its first attempt has ended, and returns the exit, like an awaited `tokio::spawn`.
    ///
    /// # Errors
    /// As [`spawn`](Self::spawn), and when the tree ends before. If the member was added, the error does not give the
    /// argument back.
    ///
    /// # Cancel safety
    /// Safe: when this future is dropped, the member stays.
    pub async fn run(&self, argument: A) -> Result<Exit, Refused<A>> {
        let (_, answer) = self.add(None, argument, Awaits::Exit)?;
        let Some(answer) = answer else { return Err(Refused::from(Refusal::TreeEnded)) };
        let exited = exited(answer?.wait().await?)?;
        Ok(exited.exit)
    }

    /// Returns the handle of the group itself.
    ///
    /// # Errors
    /// When the tree has not begun ([`Refusal::SupervisorDown`]), has no such group any more, or has ended.
    pub fn group(&self) -> Result<ChildHandle, Refusal> {
        let (inner, id) = self.address.get()?;
        TreeHandle::new(inner, None).child_by_id(id)
    }

    /// Returns the members, in the order of their addition.
    ///
    /// # Errors
    /// As [`group`](Self::group).
    pub fn members(&self) -> Result<Vec<ChildHandle>, Refusal> {
        let group = self.group()?;
        let members = group.view().ok_or(Refusal::NotFound)?.children;
        Ok(members.iter().map(|member| ChildHandle::new(group.tree().clone(), member.id, None)).collect())
    }

    /// Adds a member whose start the caller waits for.
    pub(crate) fn begin_member(&self, argument: A) -> Result<(ChildHandle, PendingAnswer), Refusal> {
        let (member, answer) = self.add(None, argument, Awaits::Start).map_err(Refusal::from)?;
        match answer {
            Some(answer) => answer.map(|answer| (member, answer)),
            None => Err(Refusal::TreeEnded),
        }
    }

    fn add(
        &self,
        name: Option<Name>,
        argument: A,
        awaits: Awaits,
    ) -> Result<(ChildHandle, Option<AnswerOrRefusal>), Refused<A>> {
        let (tree, group, member_maker) = match self.running_group() {
            Ok(found) => found,
            Err(refusal) => return Err(Refused::new(refusal, argument)),
        };
        // The body is made outside the lock. If the group refuses the member, the argument is taken out of the body again.
        let mut body = Some(member_maker.body(argument));
        let now = tree.clock.now();
        let asker = if awaits == Awaits::Nothing { None } else { asker_in(&tree) };
        // Most callers wait for nothing, so the answer is no part of what is returned from under the lock.
        let mut answer = None;
        let added = tree.try_with_state(|state| {
            let id = if awaits == Awaits::Start {
                let add = |machine: &mut Machine, request| {
                    Ok((machine.add_member(now, group, name, Some(request))?, ()))
                };
                let (id, (), start) = state.request_to_add(asker, add)?;
                answer = Some(start.map(|start| PendingAnswer::new(Arc::clone(&tree), id, start)));
                id
            } else {
                state.machine.add_member(now, group, name, None)?
            };
            if let Some(body) = body.take() {
                state.set_leaf(id, body);
            }
            if awaits == Awaits::Exit {
                answer = match tree.begin_watch(state, id, Moment::Exit, asker) {
                    Ok(Watch::Waits(exit)) => Some(Ok(exit)),
                    Ok(Watch::Answered(_)) => None,
                    Err(refusal) => Some(Err(refusal)),
                };
            }
            Ok(id)
        });
        let refused = match (&added, body) {
            (Err(_), Some(body)) => Some(member_maker.argument_of(body)),
            _ => None,
        };
        // If the tree has dropped the group meanwhile, nothing else holds the closure of the group.
        let mut values = Vec::new();
        member_maker.let_go(&mut values);
        tree.drops.push(group, values);
        match added {
            Ok(id) => Ok((ChildHandle::new(TreeHandle::new(tree, None), id, None), answer)),
            Err(refusal) => Err(match refused {
                Some(argument) => Refused::new(refusal, argument),
                None => Refused::from(refusal),
            }),
        }
    }

    /// Returns the tree, the id of the group, and the maker of its members, if a member may be added.
    fn running_group(&self) -> Result<RunningGroup<A>, Refusal> {
        check_caller()?;
        let (tree, group) = self.address.get()?;
        tree.may_add()?;
        match self.member_maker.upgrade() {
            Some(member_maker) => Ok((tree, group, member_maker)),
            None if tree.ended().is_some() => Err(Refusal::TreeEnded),
            None => Err(Refusal::NotFound),
        }
    }
}
