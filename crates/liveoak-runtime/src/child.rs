//! The builder of one child.

use crate::body::{Body, IntoExit};
use crate::ctx::Ctx;
use crate::dedicated_runtime::DedicatedRuntime;
use crate::group::GroupCell;
use crate::service::{Service, live};
use crate::supervisor::Supervisor;
use crate::task::TaskBody;
use crate::thread::ThreadBody;
use liveoak_core::{
    ChildDeclaration, ChildForm, ChildSpec, Condition, Edge, GroupSpec, Name, Path, Ready, SpecError,
    SpecProblem, SupervisorSpec,
};
use std::fmt;
use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// What a child is made of, before its names are checked.
pub(crate) enum Stuff {
    Leaf(Arc<dyn Body>),
    Supervisor { spec: SupervisorSpec, children: Vec<Child>, runtime: Option<DedicatedRuntime> },
    Group { spec: Box<GroupSpec>, cell: Arc<GroupCell>, runtime: Option<DedicatedRuntime> },
}

/// What one declared child runs.
pub(crate) enum DeclaredBody {
    Leaf(Arc<dyn Body>),
    Supervisor { runtime: Option<DedicatedRuntime> },
    Group { runtime: Option<DedicatedRuntime>, cell: Arc<GroupCell> },
}

/// One child: what it runs, and how it is supervised. Given to [`Supervisor::child`].
///
/// Defaults: permanent; backoff from 100 ms to 30 s; ready at once; 5 s to stop when asked.
pub struct Child {
    pub(crate) name: String,
    pub(crate) spec: ChildSpec,
    pub(crate) stuff: Stuff,
    /// Tells a service how long its stop may take, once that is known.
    pub(crate) stop_within: Option<Arc<OnceLock<Duration>>>,
}

impl fmt::Debug for Child {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Child").field("name", &self.name).field("spec", &self.spec).finish_non_exhaustive()
    }
}

impl Child {
    fn leaf(name: impl Into<String>, body: impl Body) -> Self {
        Self {
            name: name.into(),
            spec: ChildSpec::default(),
            stuff: Stuff::Leaf(Arc::new(body)),
            stop_within: None,
        }
    }

    /// An async closure; each attempt calls it anew. It may return `()`, a `Result` with any error, or an
    /// [`Exit`](crate::Exit).
    ///
    /// When the child is asked to stop, [`Ctx::stopping`] completes; when its time is up, or its heartbeat is
    /// missed, the future is dropped at an await point.
    ///
    /// Code that never comes to an await point cannot be ended: it is abandoned and reported, and goes on taking
    /// a thread of the runtime away from everybody. On a runtime with several threads the tree sees to its deadlines
    /// all the same; one with a single thread stands still as a whole. Blocking code belongs into
    /// [`thread`](Self::thread), code that burns into a [`DedicatedRuntime`](crate::DedicatedRuntime) of its own.
    pub fn task<F, Fut>(name: impl Into<String>, body: F) -> Self
    where
        F: Fn(Ctx) -> Fut + Send + Sync + 'static,
        Fut: Future<Output: IntoExit> + Send + 'static,
    {
        Self::leaf(name, TaskBody { factory: body, kills_itself: false })
    }

    /// An async closure that ends something outside of this program, and so must not just be dropped: when it
    /// is to be killed, [`Ctx::killed`] completes, and it has [`KILL_WAIT`](crate::KILL_WAIT) to bring that
    /// about. After that it is dropped and written off.
    pub fn task_with_kill<F, Fut>(name: impl Into<String>, body: F) -> Self
    where
        F: Fn(Ctx) -> Fut + Send + Sync + 'static,
        Fut: Future<Output: IntoExit> + Send + 'static,
    {
        Self::leaf(name, TaskBody { factory: body, kills_itself: true })
    }

    /// A [`Service`]; each attempt gets a fresh one from `factory`. It is ready when its `init` returned.
    pub fn service<F, S>(name: impl Into<String>, factory: F) -> Self
    where
        F: Fn() -> S + Send + Sync + 'static,
        S: Service,
    {
        let factory = Arc::new(factory);
        let stop_within = Arc::new(OnceLock::new());
        let known = Arc::clone(&stop_within);
        let body = move |ctx: Ctx| {
            let stop_within = known.get().copied().unwrap_or_default();
            live(Arc::clone(&factory), ctx, stop_within)
        };
        let mut child = Self::task_with_kill(name, body).reports_ready();
        child.stop_within = Some(stop_within);
        child
    }

    /// A blocking closure; each attempt runs on a thread of its own. It must look at [`Ctx::is_stopping`]
    /// now and then: a thread cannot be killed, only abandoned.
    pub fn thread<F, T>(name: impl Into<String>, body: F) -> Self
    where
        F: Fn(Ctx) -> T + Send + Sync + 'static,
        T: IntoExit + 'static,
    {
        Self::leaf(name, ThreadBody(body))
    }

    /// The child is ready when it says so ([`Ctx::ready`]), not as soon as it runs.
    #[must_use]
    pub const fn reports_ready(mut self) -> Self {
        self.spec.ready = Ready::Reported;
        self
    }

    /// What it runs can be made only once.
    pub(crate) const fn once(mut self) -> Self {
        self.spec.restart = liveoak_core::Restart::Temporary;
        self.spec.once = true;
        self
    }

    /// How long it may take to become ready. Missing that is a failure. Default: 30 s.
    #[must_use]
    pub const fn start_within(mut self, within: Duration) -> Self {
        self.spec.start_within = within;
        self
    }

    /// The child promises a [`Ctx::heartbeat`] at least once in `period` while it is ready. One that misses it is
    /// stuck: it is killed, which counts as a failure. Caught at most a quarter of the period (or a millisecond) late.
    #[must_use]
    pub const fn heartbeat(mut self, period: Duration) -> Self {
        self.spec.heartbeat = Some(period);
        self
    }

    /// How long it may take to stop when asked, before it is killed. Zero kills at once, [`Duration::MAX`] never.
    /// Default: 5 s.
    #[must_use]
    pub const fn stop_within(mut self, within: Duration) -> Self {
        self.spec.stop_within = within;
        self
    }

    /// Replaces everything that was said about how it is supervised. For builders in other crates that make
    /// children of a kind of their own.
    #[must_use]
    pub fn with_spec(mut self, spec: ChildSpec) -> Self {
        self.spec = spec;
        self
    }

    /// Splits the child into what is declared of it and what it runs. The bodies of the child and of all below it are
    /// appended to `bodies` in the order in which the machine returns their ids.
    pub(crate) fn assemble(
        self,
        above: Option<&Path>,
        bodies: &mut Vec<DeclaredBody>,
        errors: &mut Vec<SpecError>,
    ) -> ChildDeclaration {
        let path = above.map_or_else(|| Path::new(&self.name), |above| above.join(&self.name));
        let name = Name::new(self.name).unwrap_or_else(|error| {
            errors.push(SpecError { path: path.clone(), field: "name", problem: SpecProblem::Name(error) });
            Name::new("unnamed").unwrap_or_else(|_| unreachable!("`unnamed` is a name"))
        });
        if let Some(stop_within) = self.stop_within {
            let _ = stop_within.set(self.spec.stop_within);
        }
        let form = match self.stuff {
            Stuff::Leaf(body) => {
                bodies.push(DeclaredBody::Leaf(body));
                ChildForm::Leaf
            }
            Stuff::Supervisor { mut spec, children, runtime } => {
                spec.dedicated_runtime = runtime.is_some();
                bodies.push(DeclaredBody::Supervisor { runtime });
                spec.children =
                    children.into_iter().map(|child| child.assemble(Some(&path), bodies, errors)).collect();
                ChildForm::Supervisor(spec)
            }
            Stuff::Group { mut spec, cell, runtime } => {
                spec.dedicated_runtime = runtime.is_some();
                bodies.push(DeclaredBody::Group { runtime, cell });
                ChildForm::Group(*spec)
            }
        };
        ChildDeclaration { name, spec: self.spec, form }
    }
}

/// An edge to a sibling. An impossible name becomes one that no sibling has, so that the check of the specs reports it.
#[doc(hidden)]
#[must_use]
pub fn edge(child: &str, condition: Condition) -> Option<Edge> {
    let impossible = |_| {
        let mut text: String = format!("(impossible name {child:?})").replace('/', "|");
        text.truncate(text.floor_char_boundary(Name::MAX_BYTES));
        Name::new(text.trim())
    };
    let child = Name::new(child).or_else(impossible).ok()?;
    Some(Edge { child, condition })
}

/// What can be said of every child, whatever it is: methods for a builder that keeps a
/// `ChildSpec` in the named field.
#[doc(hidden)]
#[macro_export]
macro_rules! supervised {
    ($builder:ty, $spec:ident) => {
        impl $builder {
            /// When it is started again after ending by itself. Default: permanent.
            #[must_use]
            pub fn restart(mut self, restart: $crate::Restart) -> Self {
                self.$spec.restart = restart;
                self
            }

            /// The delay before a restart; `None` restarts at once. Default: 100 ms to 30 s, with jitter.
            #[must_use]
            pub fn backoff(mut self, backoff: impl Into<Option<$crate::Backoff>>) -> Self {
                self.$spec.backoff = backoff.into();
                self
            }

            /// The limit of this child alone. Default: ten restarts in a minute, unless the supervisor has an
            /// intensity.
            #[must_use]
            pub fn limit(mut self, limit: $crate::Limit) -> Self {
                self.$spec.limit = Some(limit);
                self
            }

            /// Its end counts for the supervisor's [`auto_shutdown`](crate::Supervisor::auto_shutdown).
            #[must_use]
            pub fn significant(mut self) -> Self {
                self.$spec.significant = true;
                self
            }

            /// It starts only when the sibling `child` is ready, wherever that is declared. An impossible name is
            /// an error when the tree starts.
            #[must_use]
            pub fn after(self, child: &str) -> Self {
                self.after_when(child, $crate::Condition::Ready)
            }

            /// It starts only when `condition` holds for the sibling `child`.
            ///
            /// What the wait depends on:
            ///
            /// - A sibling on its way has deadlines of its own. How long it takes to complete is its work, and has none.
            /// - For an ailing one (ready and not healthy, or failed and waiting for its restart) this child waits as
            ///   long as its own start may take (a supervisor: 30 s), all such waits together. Then its start has failed.
            /// - With one that rests by wish (stopped on request, quarantined) it rests: it waits for as long, and nobody
            ///   waits for it. To ask for its start is refused at once.
            /// - After one that has ended for good without success, its start fails at once.
            ///
            /// A start that fails so is a failure like any other: the first one fails the supervisor's start, one that
            /// was asked for is told, and else it is charged, backed off (for a second at least) and tried again, unless
            /// the child is temporary.
            #[must_use]
            pub fn after_when(mut self, child: &str, condition: $crate::Condition) -> Self {
                self.$spec.after.extend($crate::edge(child, condition));
                self
            }
        }
    };
}
supervised!(Child, spec);

impl From<Supervisor> for Child {
    fn from(supervisor: Supervisor) -> Self {
        supervisor.into_child()
    }
}
