//! The builder of a supervisor, and the start of a tree.

use crate::child::{Child, DeclaredBody, Stuff};
use crate::dedicated_runtime::DedicatedRuntime;
use crate::driver::{Alarm, Shared};
use crate::error::{Error, StartError};
use crate::panic::catch;
use crate::race::{Either, race};
use crate::supervised;
use crate::table::Core;
use crate::tree::{Ended, Tree};
use crate::watchdog::Watchdog;
use liveoak_core::{
    AutoShutdown, ChildId, ChildSpec, Exit, Input, Limit, Machine, Order, SpecErrors, Strategy,
    SupervisorSpec,
};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// A child that owns children. The outermost one is the tree.
///
/// Defaults: one-for-one; started in declared order, each child when the one before is ready; each child may be
/// restarted ten times in a minute (set [`intensity`](Self::intensity) to count all children together instead).
pub struct Supervisor {
    name: String,
    own: ChildSpec,
    stop_within: Option<Duration>,
    spec: SupervisorSpec,
    children: Vec<Child>,
    runtime: Option<DedicatedRuntime>,
}

impl fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Supervisor")
            .field("name", &self.name)
            .field("spec", &self.spec)
            .field("children", &self.children)
            .finish_non_exhaustive()
    }
}

impl Supervisor {
    /// A supervisor without children.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            own: ChildSpec::of_supervisor(),
            stop_within: None,
            spec: SupervisorSpec::default(),
            children: Vec::new(),
            runtime: None,
        }
    }

    /// Declares one more child: a [`Child`], a [`Group`](crate::Group) or another supervisor.
    #[must_use]
    pub fn child(mut self, child: impl Into<Child>) -> Self {
        self.children.push(child.into());
        self
    }

    /// Declares more children.
    #[must_use]
    pub fn children(mut self, children: impl IntoIterator<Item = impl Into<Child>>) -> Self {
        self.children.extend(children.into_iter().map(Into::into));
        self
    }

    /// Which children are restarted together. Default: one-for-one.
    #[must_use]
    pub const fn strategy(mut self, strategy: Strategy) -> Self {
        self.spec.strategy = strategy;
        self
    }

    /// How many restarts of its children, all together, are allowed within how long.
    #[must_use]
    pub const fn intensity(mut self, limit: Limit) -> Self {
        self.spec.intensity = Some(limit);
        self
    }

    /// In what order the children start; they stop in its reverse. Default: as declared.
    #[must_use]
    pub const fn order(mut self, order: Order) -> Self {
        self.spec.order = order;
        self
    }

    /// Whether it ends when its significant children have. Default: never.
    #[must_use]
    pub const fn auto_shutdown(mut self, auto_shutdown: AutoShutdown) -> Self {
        self.spec.auto_shutdown = auto_shutdown;
        self
    }

    /// The budget for stopping everything below it: half of it is for asking in order, at nine tenths whoever is left
    /// is killed. Default: 30 s for a tree, none for a nested supervisor (its children have deadlines).
    #[must_use]
    pub const fn stop_within(mut self, budget: Duration) -> Self {
        self.stop_within = Some(budget);
        self
    }

    /// Its children run on a Tokio runtime of their own.
    #[must_use]
    pub fn dedicated_runtime(mut self, runtime: DedicatedRuntime) -> Self {
        self.runtime = Some(runtime);
        self
    }

    /// It ends when all its children have finished for good. [`run`](Self::run) implies it.
    #[must_use]
    pub const fn end_when_done(mut self) -> Self {
        self.spec.end_when_done = true;
        self
    }

    pub(crate) fn into_child(self) -> Child {
        let mut spec = self.own;
        spec.stop_within = self.stop_within.unwrap_or(spec.stop_within);
        let stuff = Stuff::Supervisor { spec: self.spec, children: self.children, runtime: self.runtime };
        Child { name: self.name, spec, stuff, stop_within: None }
    }

    /// Starts the tree. Returns when every declared child is ready.
    ///
    /// # Errors
    /// When specs are wrong (all faults at once, nothing was started), or a child fails its first start (what was
    /// started has been stopped then).
    ///
    /// # Cancel safety
    /// When this future is dropped, what was started is killed.
    pub async fn start(self) -> Result<Tree, StartError> {
        let tree = self.begin()?;
        match tree.shared().until_up().await {
            Ok(()) => Ok(tree),
            Err(ended) => Err(failed_start(ended)),
        }
    }

    /// Starts the tree and runs it until it ends, or until SIGINT or SIGTERM: the first stops it gracefully, a
    /// second kills it. Takes the whole program: it listens for those signals and captures panics
    /// ([`capture_panics`](crate::capture_panics)).
    ///
    /// # Errors
    /// When it did not start, failed, or something had to be forced to stop.
    ///
    /// # Cancel safety
    /// When this future is dropped, everything is killed.
    pub async fn run(self) -> Result<(), Error> {
        crate::capture_panics();
        let listen = |kind| signal(kind).map_err(|error| Error::Signals(Arc::new(error)));
        let mut signals = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
        let tree = self.end_when_done().begin()?;
        let mut asked = false;
        let ended = loop {
            match race(tree.join(), next_signal(&mut signals)).await {
                Either::Left(ended) => break ended,
                Either::Right(()) if asked => tree.begin_kill(),
                Either::Right(()) => tree.begin_stop(),
            }
            asked = true;
        };
        match &ended.exit {
            Exit::StartFailed(_) => Err(Error::Start(failed_start(ended))),
            exit if exit.is_failure() => Err(Error::Failed(Box::new(ended))),
            _ if !ended.report.is_clean() => Err(Error::Forced(ended.report)),
            _ => Ok(()),
        }
    }

    /// Starts the tree and returns at once; [`TreeHandle::ready`](crate::TreeHandle::ready) waits for it.
    ///
    /// # Errors
    /// When specs are wrong or there is no runtime; nothing was started.
    pub fn begin(self) -> Result<Tree, StartError> {
        let handle = Handle::try_current().map_err(|_| StartError::NoRuntime)?;
        if catch(None, || drop(tokio::time::sleep(Duration::ZERO))).is_err() {
            return Err(StartError::NoTimers);
        }
        let budget = self.stop_within.unwrap_or(ChildSpec::of_root().stop_within);
        let mut root = self.into_child();
        root.spec.stop_within = budget;
        let mut errors = Vec::new();
        let mut bodies = Vec::new();
        let declared = root.assemble(None, &mut bodies, &mut errors);
        let (machine, ids) = Machine::new(&declared).map_err(|more| {
            let mut all = std::mem::take(&mut errors);
            all.extend(more.0);
            StartError::Spec(SpecErrors(all))
        })?;
        if !errors.is_empty() {
            return Err(StartError::Spec(SpecErrors(errors)));
        }
        let shared = Shared::new(machine, handle.clone());
        let unused = shared.with_core(|core| install(core, &shared, ids, bodies));
        drop(unused);
        if handle.runtime_flavor() == RuntimeFlavor::MultiThread {
            Watchdog::begin(&shared);
        }
        let alarm = Alarm(Arc::clone(&shared));
        handle.spawn(async move { Arc::clone(&alarm.0).keep_time().await });
        shared.feed(shared.clock.now(), Input::Start);
        Ok(Tree::new(shared))
    }
}

supervised!(Supervisor, own);

/// Stores what each new child runs, by the ids that the machine returned in the same order. Returns the bodies of
/// children that the machine has removed again already; the caller drops them outside the lock.
pub(crate) fn install(
    core: &mut Core,
    shared: &Arc<Shared>,
    ids: Vec<ChildId>,
    bodies: Vec<DeclaredBody>,
) -> Vec<DeclaredBody> {
    let mut unused = Vec::new();
    for (id, body) in ids.into_iter().zip(bodies) {
        match body {
            body if core.machine.path(id).is_none() => unused.push(body),
            DeclaredBody::Leaf(body) => core.set_leaf(id, body),
            DeclaredBody::Supervisor { runtime } => core.set_supervisor(id, runtime),
            DeclaredBody::Group { runtime, cell } => {
                cell.bind(shared, id);
                core.set_supervisor(id, runtime);
            }
        }
    }
    unused
}

fn failed_start(ended: Ended) -> StartError {
    match &ended.exit {
        Exit::StartFailed(failure) => {
            StartError::Failed { failure: Arc::clone(failure), report: Arc::clone(&ended.report) }
        }
        _ => StartError::Ended(Box::new(ended)),
    }
}

async fn next_signal((interrupt, terminate): &mut (Signal, Signal)) {
    race(interrupt.recv(), terminate.recv()).await;
}
