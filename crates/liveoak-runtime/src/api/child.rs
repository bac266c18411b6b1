//! The builder of one child, and the settings that it shares with other builders (`common_settings!`).

use crate::api::ctx::Ctx;
use crate::api::declared_modes::DeclaredModes;
use crate::api::service::{Service, run_service};
use crate::api::task::{LocalStarter, OnRuntime, TaskStarter, ThreadStarter};
use crate::attempt::body::{Body, IntoExit};
use crate::attempt::dedicated_runtime::DedicatedRuntime;
use crate::engine::driver::{ChildBody, TreeInner};
use crate::util::lock::lock;
use liveoak_core::{
    BodyKind, ChildId, ChildSpec, Condition, DeclaredAt, Edge, Exit, GroupSpec, Name, Need, PollLimit, Ready,
    Refusal, Restart, SupervisorSpec,
};
use std::any::Any;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;
use tokio::runtime::Handle;

/// The kind of a child, before its names are checked.
pub(crate) enum ChildKind {
    Leaf(Arc<ChildBody>),
    Supervisor {
        spec: SupervisorSpec,
        children: Children,
        runtime: Option<DedicatedRuntime>,
        /// Empty, unless they are misplaced: the root keeps its modes itself.
        modes: DeclaredModes,
    },
    Group {
        spec: Box<GroupSpec>,
        parts: GroupParts,
        runtime: Option<DedicatedRuntime>,
    },
}

/// The children of a supervisor. Drops them without recursion: they may be nested far deeper than a tree may be.
#[derive(Debug, Default)]
pub(crate) struct Children(Vec<Child>);

impl Children {
    pub(crate) fn add(&mut self, child: Child) {
        self.0.push(child);
    }

    pub(crate) fn into_vec(mut self) -> Vec<Child> {
        std::mem::take(&mut self.0)
    }
}

impl Drop for Children {
    fn drop(&mut self) {
        let mut open = std::mem::take(&mut self.0);
        while let Some(mut child) = open.pop() {
            if let ChildKind::Supervisor { children, .. } = &mut child.kind {
                open.append(&mut children.0);
            }
        }
    }
}

/// What the tree keeps of a group as long as the group is in the tree.
pub(crate) struct GroupParts {
    /// The address by which the handles find the group.
    pub(crate) address: Arc<GroupAddress>,
    /// The closure that makes the members. Handles refer to it weakly. Otherwise a closure that holds a handle of its
    /// group would keep itself alive.
    pub(crate) member_maker: Arc<dyn Any + Send + Sync>,
}

/// The tree of a group and its id in that tree, once the tree runs.
#[derive(Default)]
pub(crate) struct GroupAddress(OnceLock<(Weak<TreeInner>, ChildId)>);

impl GroupAddress {
    /// Sets the address. This happens once, because the start consumes the builder.
    pub(crate) fn set(&self, tree: &Arc<TreeInner>, id: ChildId) {
        let _ = self.0.set((Arc::downgrade(tree), id));
    }

    /// Returns the running tree, and the id of the group.
    #[inline]
    pub(crate) fn get(&self) -> Result<(Arc<TreeInner>, ChildId), Refusal> {
        let Some((tree, id)) = self.0.get() else { return Err(Refusal::SupervisorDown) };
        let Some(tree) = tree.upgrade() else { return Err(Refusal::TreeEnded) };
        Ok((tree, *id))
    }
}

/// One child: what it runs, and how it is supervised. Given to [`Supervisor::child`](crate::Supervisor::child).
///
/// Defaults: permanent; backoff from 100 ms to 30 s; ready as soon as it runs; 5 s to stop when asked.
pub struct Child {
    pub(crate) name: String,
    pub(crate) spec: ChildSpec,
    pub(crate) kind: ChildKind,
    /// `true` if a runtime was chosen for what is not a leaf. The start refuses it.
    pub(crate) runtime_is_misplaced: bool,
}

impl fmt::Debug for Child {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Child").field("name", &self.name).field("spec", &self.spec).finish_non_exhaustive()
    }
}

impl Child {
    #[track_caller]
    fn leaf(name: impl Into<String>, body: impl Body<Arc<TreeInner>>) -> Self {
        let kind = ChildKind::Leaf(Arc::new(body));
        let spec = ChildSpec { declared_at: DeclaredAt::caller(), ..ChildSpec::default() };
        Self { name: name.into(), spec, kind, runtime_is_misplaced: false }
    }

    /// Makes a child of an async closure. Each attempt calls the closure again. The closure may return `()`, a `Result`
    /// with any error, or an [`Exit`](crate::Exit).
    ///
    /// When the child is asked to stop, [`Ctx::stopping`] completes. When its time to stop is over, or a heartbeat is
    /// missed, the future is dropped at an await point.
    ///
    /// Code that never reaches an await point cannot be ended. It is abandoned and reported, and still occupies a
    /// thread of the runtime. On a runtime with several threads the tree still keeps its deadlines; a runtime with a
    /// single thread is blocked. Use [`thread`](Self::thread) for blocking code, and a [`DedicatedRuntime`] for code
    /// that computes for a long time.
    #[track_caller]
    pub fn task<F, Fut>(name: impl Into<String>, body: F) -> Self
    where
        F: Fn(Ctx) -> Fut + Send + Sync + 'static,
        Fut: Future<Output: IntoExit> + Send + 'static,
    {
        Self::leaf(name, TaskStarter { factory: body, handles_kill: false })
    }

    /// Makes a child of an async closure that handles its kill itself. For code that controls something outside of this
    /// process and must not just be dropped.
    ///
    /// On a kill [`Ctx::killed`] completes, and the closure has the [`kill_wait`](Self::kill_wait) of the child to end. After that, the
    /// closure is dropped and the attempt is abandoned.
    #[track_caller]
    pub fn task_with_kill<F, Fut>(name: impl Into<String>, body: F) -> Self
    where
        F: Fn(Ctx) -> Fut + Send + Sync + 'static,
        Fut: Future<Output: IntoExit> + Send + 'static,
    {
        Self::leaf(name, TaskStarter { factory: body, handles_kill: true })
    }

    /// Makes a child of an async closure whose future is not `Send`, for example because it holds an `Rc` over an await
    /// point. It runs like a [`task`](Self::task), on a [`DedicatedRuntime::one_thread`] that a supervisor above it must
    /// have, together with the other children of that supervisor. Without such a runtime the start is refused.
    ///
    /// ```
    /// # use liveoak_runtime::{Child, Ctx, DedicatedRuntime, Supervisor};
    /// # use std::rc::Rc;
    /// let screen = Child::local("screen", |ctx: Ctx| async move {
    ///     let pixels = Rc::new(vec![0u8; 64]);
    ///     ctx.stopping().await;
    ///     drop(pixels);
    /// });
    /// let ui = Supervisor::new("ui").dedicated_runtime(DedicatedRuntime::one_thread("ui")).child(screen);
    /// # let _ = ui;
    /// ```
    #[track_caller]
    pub fn local<F, Fut>(name: impl Into<String>, body: F) -> Self
    where
        F: Fn(Ctx) -> Fut + Send + Sync + 'static,
        Fut: Future<Output: IntoExit> + 'static,
    {
        Self::leaf(name, LocalStarter(Arc::new(TaskStarter { factory: body, handles_kill: false })))
    }

    /// Makes a child of a [`Service`]. Each attempt gets a new service from `factory`. The attempt is ready when `init`
    /// has returned.
    #[track_caller]
    pub fn service<F, S>(name: impl Into<String>, factory: F) -> Self
    where
        F: Fn() -> S + Send + Sync + 'static,
        S: Service,
    {
        let factory = Arc::new(factory);
        let body = move |ctx: Ctx| run_service(Arc::clone(&factory), ctx);
        let mut child = Self::task_with_kill(name, body).reports_ready();
        child.spec.body = BodyKind::Service;
        child
    }

    /// Makes a child of a blocking closure. Each attempt runs on a thread of its own. The closure must check
    /// [`Ctx::is_stopping`] now and then: a thread cannot be killed, only abandoned.
    #[track_caller]
    pub fn thread<F, T>(name: impl Into<String>, body: F) -> Self
    where
        F: Fn(Ctx) -> T + Send + Sync + 'static,
        T: IntoExit + 'static,
    {
        let mut child = Self::leaf(name, ThreadStarter(body));
        child.spec.body = BodyKind::Thread;
        child
    }

    /// Makes a child of an async closure that can be called only once, for example because it consumes its captured
    /// values. The child is temporary; another [`restart`](Self::restart) rule is refused at the start.
    ///
    /// The child has one attempt in the life of the tree. When its supervisor is restarted, the child stays finished, with
    /// its first exit. A command that would start the child again is refused ([`Refusal::OnlyOnce`]). The captured values
    /// are dropped when the child ends.
    #[track_caller]
    pub fn once<F, Fut>(name: impl Into<String>, body: F) -> Self
    where
        F: FnOnce(Ctx) -> Fut + Send + 'static,
        Fut: Future<Output: IntoExit> + Send + 'static,
    {
        let body = Mutex::new(Some(body));
        let factory = move |ctx| {
            let future = lock(&body).take().map(|body| body(ctx));
            async move {
                match future {
                    Some(future) => future.await.into_exit(),
                    None => Exit::failed("a child that runs once has one attempt"),
                }
            }
        };
        Self::task(name, factory).only_once()
    }

    /// Keeps the values that the child has captured after the child has ended for good, so that a command can start it
    /// again. Without `keep`, a temporary child drops these values when it has ended and no supervisor above it is ever
    /// restarted. A command to start the child is then refused ([`Refusal::OnlyOnce`]). Programs are always kept.
    /// Refused where it has no effect: on a child that runs once, and on a child that can be started again anyway.
    #[must_use]
    pub const fn keep(mut self) -> Self {
        self.spec.keep = true;
        self.spec.written.keep = true;
        self
    }

    /// Runs the attempts on `runtime`, a Tokio runtime that exists already, instead of the runtime of the tree. The tree
    /// does not keep that runtime alive: when it shuts down, the attempt is killed, which is a failure. While nothing drives
    /// it, the child makes no progress and cannot be ended, only abandoned.
    ///
    /// For tasks, services, threads and programs. A supervisor or group has a
    /// [`dedicated_runtime`](crate::Supervisor::dedicated_runtime); with a chosen runtime its start is refused.
    #[must_use]
    pub fn on_runtime(mut self, runtime: Handle) -> Self {
        match self.kind {
            ChildKind::Leaf(body) => self.kind = ChildKind::Leaf(Arc::new(OnRuntime { body, runtime })),
            ChildKind::Supervisor { .. } | ChildKind::Group { .. } => self.runtime_is_misplaced = true,
        }
        self
    }

    /// Makes the child ready when it calls [`Ctx::ready`], not as soon as it runs.
    #[must_use]
    pub const fn reports_ready(mut self) -> Self {
        self.spec.ready = Ready::Reported;
        self
    }

    pub(crate) const fn only_once(mut self) -> Self {
        self.spec.set_restart(Restart::Temporary);
        self.spec.once = true;
        self
    }

    /// Sets how long the child may take to become ready. A child that misses this deadline has failed. Default: 30 s.
    /// Refused on a child that is ready as soon as it runs and comes [`after`](Self::after) no sibling.
    #[must_use]
    pub const fn start_within(mut self, within: Duration) -> Self {
        self.spec.set_start_within(within);
        self
    }

    /// Requires a [`Ctx::heartbeat`] at least once in `period` while the child is ready. A child that misses a
    /// heartbeat is stuck: it is killed, which counts as a failure. The kill may be late by up to a quarter of the
    /// period, or up to a millisecond if that is longer.
    #[must_use]
    pub const fn heartbeat(mut self, period: Duration) -> Self {
        self.spec.heartbeat = Some(period);
        self
    }

    /// Watches the polls of the child: an event, the snapshot and the stop report show a poll that takes longer than
    /// `limit`, while it runs, and also if all threads of the runtime are blocked. A plain thread notices it, at most half of
    /// the limit late, or two milliseconds if that is longer; the child needs no heartbeat. [`PollLimit::when_stuck`] sets
    /// what follows.
    ///
    /// Subtasks of the child, and its [checks](Self::check), count as the child; calls of [`spawn_blocking`](Ctx::spawn_blocking) do not.
    /// A poll that calls `tokio::task::block_in_place` counts too. The code of a [`thread`](Self::thread) is not polled, so a thread with
    /// a limit of its own is refused; its subtasks count under the limit of a supervisor above. A poll in which a runtime
    /// polls other children is measured from the end of the last of these polls. Default: the limit of the nearest supervisor above that [has one](crate::Supervisor::watch_polls), else
    /// none, which costs nothing.
    #[must_use]
    pub const fn watch_polls(mut self, limit: PollLimit) -> Self {
        self.spec.poll_limit = Some(limit);
        self
    }

    /// Sets how long the child may take to end after a kill, until it is abandoned: more than zero. The budgets of the
    /// supervisors above may end this wait earlier. Default: [`KILL_WAIT`](crate::KILL_WAIT), 2 s.
    #[must_use]
    pub const fn kill_wait(mut self, wait: Duration) -> Self {
        self.spec.set_kill_wait(wait);
        self
    }

    /// Sets how long the child may take to stop when asked, before it is killed. With zero the child is killed
    /// immediately. With [`Duration::MAX`] it is killed only by the budgets of the supervisors above. Default: 5 s.
    #[must_use]
    pub const fn stop_within(mut self, within: Duration) -> Self {
        self.spec.set_stop_within(within);
        self
    }

    /// Sets how long the child is not ready any more before it is asked to stop (drain before stop): siblings that start
    /// [`after`](Self::after) it wait, [`ChildView::ready`](crate::ChildView) is `false`, and the event `Stopping` tells
    /// this to the code that sends work to the child. This time is a part of [`stop_within`](Self::stop_within), and must be
    /// shorter. It is left out if the child is killed, has failed, or is not ready yet, and ends early if the budget of a
    /// supervisor requires it. Default: zero. For tasks, services, threads and programs.
    #[must_use]
    pub const fn unready_for(mut self, time: Duration) -> Self {
        self.spec.set_unready_for(time);
        self
    }

    /// Makes the exits of this child hold the error that the body returned, for downcasting
    /// ([`Failure::error`](crate::Failure::error)). Otherwise the exits hold only the text of the error. No error is kept
    /// while 65,536 values of the tree wait for their destructors.
    #[must_use]
    pub const fn keep_error(mut self) -> Self {
        self.spec.keep_error = true;
        self
    }

    /// Replaces the name.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Changes the [`ChildSpec`]. For builders in other crates that make other kinds of children.
    #[must_use]
    pub fn map_spec(mut self, change: impl FnOnce(ChildSpec) -> ChildSpec) -> Self {
        self.spec = change(self.spec);
        self
    }

    /// Replaces the [`ChildSpec`]. The name and the body stay. For builders in other crates that make other kinds of
    /// children.
    #[must_use]
    pub fn with_spec(mut self, spec: ChildSpec) -> Self {
        let declared_at = spec.declared_at.clone().or(self.spec.declared_at);
        self.spec = ChildSpec { declared_at, ..spec };
        self
    }
}

/// Returns an edge to a sibling. An invalid name becomes a name that no sibling has. So the check of the specs reports
/// it.
#[must_use]
pub fn edge(child: &str, condition: Condition) -> Option<Edge> {
    let impossible = |_| {
        let mut text: String = format!("(invalid name {child:?})").replace('/', "|");
        text.truncate(text.floor_char_boundary(Name::MAX_BYTES));
        Name::new(text.trim())
    };
    let child = Name::new(child).or_else(impossible).ok()?;
    Some(Edge { child, condition })
}

/// Adds a need to a spec, and the `after` edge that belongs to it.
pub fn add_need(spec: &mut ChildSpec, child: &str, grace: Duration) {
    let Some(edge) = edge(child, Condition::Ready) else { return };
    spec.needs.push(Need { child: edge.child.clone(), grace });
    if !spec.after.contains(&edge) {
        spec.after.push(edge);
    }
}

/// Adds the settings that the builders of children share, except those of groups. `$spec` is the field that keeps its
/// `ChildSpec`.
#[doc(hidden)]
#[macro_export]
macro_rules! common_settings {
    ($builder:ty, $spec:ident) => {
        impl $builder {
            /// Sets when the child is started again after it has ended by itself. Default: permanent.
            #[must_use]
            pub fn restart(mut self, restart: $crate::Restart) -> Self {
                self.$spec.set_restart(restart);
                self
            }

            /// Sets the delay before a restart; `None` restarts immediately. Default: 100 ms to 30 s, with jitter. Refused on
            /// a temporary child, which is never restarted.
            #[must_use]
            pub fn backoff(mut self, backoff: impl Into<Option<$crate::Backoff>>) -> Self {
                self.$spec.set_backoff(backoff.into());
                self
            }

            /// Sets the restart limit of this child alone. Default: ten restarts in a minute or ten failures in a row,
            /// unless the supervisor has an intensity. Refused on a temporary child, which is never restarted.
            #[must_use]
            pub fn limit(mut self, limit: $crate::Limit) -> Self {
                self.$spec.set_limit(limit);
                self
            }

            /// Sets the title: the name for people, one line of at most 128 bytes. It is shown beside the name, in the log,
            /// in events, snapshots and explanations.
            #[must_use]
            pub fn title(mut self, title: impl AsRef<str>) -> Self {
                self.$spec.describe().title = Some(title.as_ref().into());
                self
            }

            /// Adds a tag, by which people and programs select children: at most 16, each of at most 64 bytes, without
            /// white space and commas. Tags are in events, snapshots, explanations and the log.
            #[must_use]
            pub fn tag(mut self, tag: impl AsRef<str>) -> Self {
                self.$spec.describe().tags.push(tag.as_ref().into());
                self
            }

            /// Adds several [tags](Self::tag).
            #[must_use]
            pub fn tags<T: AsRef<str>>(mut self, tags: impl IntoIterator<Item = T>) -> Self {
                let tags = tags.into_iter().map(|tag| tag.as_ref().into());
                self.$spec.describe().tags.extend(tags);
                self
            }

            /// Sets what the child is for. The role presets the restart rule, the backoff, the limit and the times of
            /// checks, as the table of [`Role::preset`](crate::Role::preset) says. What the child sets itself overrides
            /// it, whatever the order of the calls. `TreeHandle::explain` shows which settings come from the role.
            #[must_use]
            pub fn role(mut self, role: $crate::Role) -> Self {
                self.$spec.describe().role = Some(role);
                self
            }

            /// Sets how much depends on the child. It decides the severity of the events of the child and of their lines
            /// in the log ([`EventKind::severity_of`](crate::EventKind::severity_of)). If neither the limit of the child
            /// nor its role says what happens when the limit is exceeded, low and normal children are quarantined, and
            /// high and critical ones escalate. Without a criticality, the severities are those of `normal`, and the
            /// defaults above decide what happens at the limit; without them the child escalates. A child without a
            /// limit, under a supervisor with an intensity, gets no limit from its criticality either.
            #[must_use]
            pub fn criticality(mut self, criticality: $crate::Criticality) -> Self {
                self.$spec.describe().criticality = Some(criticality);
                self
            }

            /// Sets how many of its last exits the tree keeps for people to see, from the first failure on: at most 64; 0
            /// keeps none. An exit is kept as text of at most 512 bytes. Default: 8. They are shown by
            /// `TreeHandle::explain` and in snapshots.
            #[must_use]
            pub fn history(mut self, exits: u8) -> Self {
                self.$spec.history = exits;
                self
            }

            /// Sets where this child was declared, for builders that are made from a file. Default: the place in the code
            /// that made the builder.
            #[must_use]
            pub fn declared_at(mut self, place: $crate::DeclaredAt) -> Self {
                self.$spec.declared_at = place;
                self
            }

            /// Sets how long an attempt may run once it is ready. Then it is asked to stop, killed after its stop
            /// deadline, and has failed ([`Exit::RunTimeout`](crate::Exit::RunTimeout)). Zero is refused. The time
            /// before readiness is bounded by the start deadline. Default: without limit.
            #[must_use]
            pub fn run_within(mut self, longest: ::std::time::Duration) -> Self {
                self.$spec.run_within = Some(longest);
                self
            }

            /// Lists this child without starting it: it starts only when it is asked for, together with what it comes
            /// [`after`](Self::after). Its state is `not-wanted` until then.
            ///
            /// - A command asks for it (`TreeHandle::start_child`), or a mode that names it, or the start of a sibling
            ///   that comes after it.
            /// - A start brings along the siblings that are down by declaration: manual ones, and those that the mode of
            ///   the tree does not want. What was brought along is stopped when nothing that comes after it is wanted any
            ///   more, unless a command has asked for it too.
            /// - A command to start it is refused (`Refusal::KeptDown`, with the path) if it would wait for a sibling that
            ///   a command stopped, or that is paused or quarantined.
            /// - Once started, it stays wanted until it is stopped, also when its supervisor restarts. After a failed start
            ///   it is down again as it was declared.
            /// - While it is down it counts as done for `Supervisor::end_when_done`, and is healthy.
            ///
            /// Refused on the root, and on a child that is added to a running tree: adding asks for its start.
            ///
            /// ```
            /// # use liveoak_runtime::{Child, Ctx, Supervisor};
            /// # liveoak_runtime::testing::paused(async {
            /// # let body = |ctx: Ctx| async move { ctx.stopping().await };
            /// let shop = Supervisor::new("shop")
            ///     .child(Child::task("web", body))
            ///     .child(Child::task("profiler", body).manual());
            /// let tree = shop.start().await?;
            /// tree.start_child("/shop/profiler").await?;
            /// # Ok::<(), Box<dyn std::error::Error>>(())
            /// # }).unwrap();
            /// ```
            #[must_use]
            pub fn manual(mut self) -> Self {
                self.$spec.manual = true;
                self
            }

            /// Sets the version of the code of this child. When another declaration takes the place of the running one
            /// (`TreeHandle::apply`), code of another version counts as changed, so the child restarts with the new
            /// closure. A closure without a version counts as unchanged, and the one that runs is kept. For a supervisor, the
            /// version is that of its whole subtree.
            #[must_use]
            pub fn version(mut self, version: impl AsRef<str>) -> Self {
                self.$spec.version = Some(version.as_ref().into());
                self
            }

            /// Makes the end of this child count for the supervisor's
            /// [`auto_shutdown`](crate::Supervisor::auto_shutdown).
            #[must_use]
            pub fn significant(mut self) -> Self {
                self.$spec.significant = true;
                self
            }

            /// Starts this child only when the sibling `child` is ready. The sibling may be declared before or after
            /// this child. An invalid name is an error when the tree starts.
            #[must_use]
            pub fn after(self, child: &str) -> Self {
                self.after_when(child, $crate::Condition::Ready)
            }

            /// Starts this child only when the sibling `child` meets `condition`.
            ///
            /// How long this child waits depends on the sibling:
            ///
            /// - **The sibling waits, starts or stops:** until that is over. The deadlines of the sibling bound it.
            /// - **It runs, but is not yet healthy (or has not yet completed), or it waits for its restart:** in the
            ///   first start of a supervisor with `FirstStart::Fail`, at most as long as the start of this child may take
            ///   (30 s for a supervisor without a start deadline), all such waits together. Then the start of the
            ///   supervisor fails. In any other start, without limit.
            /// - **It was stopped by command or quarantined:** until it is started again, without delaying other
            ///   children.
            /// - **It has ended for good without success:** in the first start of a supervisor with `FirstStart::Fail`,
            ///   the supervisor fails when it is this child's turn. In any other start, this child waits without delaying other children.
            ///
            /// A wait never fails this child, and never counts against its limits. A command to start this child is
            /// answered with `Refusal::WaitsFor` after the start deadline of this child, or immediately in the last two
            /// cases. The child continues to wait.
            #[must_use]
            pub fn after_when(mut self, child: &str, condition: $crate::Condition) -> Self {
                self.$spec.after.extend($crate::internal::edge(child, condition));
                self
            }

            /// Starts this child only when the sibling `child` is ready, and stops it when the sibling was not ready for 5 s.
            /// See [`needs_within`](Self::needs_within).
            #[must_use]
            pub fn needs(self, child: &str) -> Self {
                self.needs_within(child, $crate::Need::GRACE)
            }

            /// Starts this child only when the sibling `child` is ready, and stops it when the sibling was not ready for
            /// `grace`. The stop is no failure and counts against no limit. This child then starts again after its own
            /// backoff, when the sibling is ready. A sibling that is back within the grace changes nothing.
            ///
            /// The need also holds when the sibling has finished with success or is not needed. A replica set must have a
            /// ready replica; in a supervisor, each direct child that is to run must be ready or finished. Temporary
            /// children and groups cannot declare needs, and nothing can be added to a supervisor that declares them.
            #[must_use]
            pub fn needs_within(mut self, child: &str, grace: ::std::time::Duration) -> Self {
                $crate::internal::add_need(&mut self.$spec, child, grace);
                self
            }
        }
    };
}

common_settings!(Child, spec);
