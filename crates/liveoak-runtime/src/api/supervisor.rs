//! The builder of a supervisor, and the start of a tree.

use crate::api::child::{Child, ChildKind, Children};
use crate::api::ctx::current;
use crate::api::declared_modes::DeclaredModes;
use crate::api::error::{Error, StartError};
use crate::api::pending_tree::{Begins, PendingTree};
use crate::api::split::{NEEDS_ONE_THREAD, install, split, wrong_runtime};
use crate::api::tree::{Tree, TreeHandle};
use crate::attempt::dedicated_runtime::DedicatedRuntime;
use crate::attempt::panic::{capture_panics, panics};
use crate::common_settings;
use crate::engine::driver::TreeInner;
use crate::engine::ended::Ended;
use crate::engine::watchdog::Watchdog;
use crate::util::log::log;
use crate::util::signals::{StopSignals, Wish};
use crate::util::{Either, race};
use liveoak_core::{
    AutoShutdown, ChildSpec, DeclaredAt, Defaults, Exit, FirstStart, Input, Limit, Machine, Order, Path,
    PollLimit, SpecErrors, Strategy, SupervisorSpec,
};
use std::fmt;
use std::future::{Future, pending};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::{Handle, RuntimeFlavor};

/// A child that has children. The outermost supervisor is the root of the tree.
///
/// Defaults: one-for-one; children are started in declared order, each when the child before it is ready; each child may
/// be restarted ten times in a minute, and after at most ten failures in a row (set [`intensity`](Self::intensity) to count
/// the restarts of all children together instead).
pub struct Supervisor {
    name: String,
    own: ChildSpec,
    stop_within: Option<Duration>,
    kill_wait: Duration,
    spec: SupervisorSpec,
    children: Children,
    runtime: Option<DedicatedRuntime>,
    modes: DeclaredModes,
    /// Tells the pending handles that the tree has begun.
    begins: Begins,
    /// Called before the first child starts.
    on_begin: Vec<OnBegin>,
}

/// What is called with the handle of a tree before its first child starts.
type OnBegin = Box<dyn FnOnce(&TreeHandle) + Send>;

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
    /// Makes a supervisor without children.
    #[must_use]
    #[track_caller]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            own: ChildSpec { declared_at: DeclaredAt::caller(), ..ChildSpec::of_supervisor() },
            stop_within: None,
            kill_wait: crate::KILL_WAIT,
            spec: SupervisorSpec::default(),
            children: Children::default(),
            runtime: None,
            modes: DeclaredModes::default(),
            begins: Begins::default(),
            on_begin: Vec::new(),
        }
    }

    /// Declares one more child: a [`Child`], a [`Group`](crate::Group) or another supervisor.
    #[must_use]
    pub fn child(mut self, child: impl Into<Child>) -> Self {
        self.children.add(child.into());
        self
    }

    /// Declares more children.
    #[must_use]
    pub fn children(mut self, children: impl IntoIterator<Item = impl Into<Child>>) -> Self {
        children.into_iter().for_each(|child| self.children.add(child.into()));
        self
    }

    /// Calls `observe` with the handle of the tree when the tree begins, before its first child starts. So the events that
    /// `observe` subscribes to begin with number 1, and [`watch_output`](TreeHandle::watch_output) misses no line. The tree
    /// begins when `observe` has returned. May be called several times; only at the root, and refused elsewhere.
    ///
    /// ```
    /// # use liveoak_runtime::{Child, Ctx, EventOrLost, Supervisor};
    /// # liveoak_runtime::testing::paused(async {
    /// # let web = |ctx: Ctx| async move { ctx.stopping().await };
    /// let (sender, receiver) = std::sync::mpsc::channel();
    /// let shop = Supervisor::new("shop").child(Child::task("web", web));
    /// let tree = shop.on_begin(move |tree| sender.send(tree.events()).unwrap()).start().await?;
    /// let mut events = receiver.recv().unwrap();
    /// assert!(matches!(events.next().await, Some(EventOrLost::Event(event)) if event.number == 1));
    /// # drop(tree);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Panics
    /// The call that begins the tree panics if `observe` panics. Nothing has started then.
    #[must_use]
    pub fn on_begin(mut self, observe: impl FnOnce(&TreeHandle) + Send + 'static) -> Self {
        self.on_begin.push(Box::new(observe));
        self
    }

    /// Sets what the children below inherit until they set it themselves: restart rule, backoff, limit, and the deadlines of
    /// starts and stops. A child takes each setting from itself, then from its [role](Child::role), then from the nearest
    /// `defaults` above. This holds for children that are added later too. What happens when a limit is exceeded may also
    /// come from the [criticality](Child::criticality), before the defaults. Deadlines reach tasks, threads, services,
    /// programs and members, not supervisors. A default that does not fit a child has no effect on it.
    ///
    /// ```
    /// # use liveoak_runtime::{Backoff, Child, Ctx, Defaults, Restart, Supervisor};
    /// # use std::time::Duration;
    /// # async fn web(ctx: Ctx) { ctx.stopping().await }
    /// let defaults = Defaults::new().restart(Restart::Transient).backoff(Backoff::constant(Duration::from_secs(1)));
    /// let shop = Supervisor::new("shop").defaults(defaults).child(Child::task("web", web));
    /// # let _ = shop;
    /// ```
    #[must_use]
    pub fn defaults(mut self, defaults: Defaults) -> Self {
        self.spec.defaults = Some(Arc::new(defaults));
        self
    }

    /// Sets which children are restarted together. Default: one-for-one.
    #[must_use]
    pub const fn strategy(mut self, strategy: Strategy) -> Self {
        self.spec.strategy = strategy;
        self
    }

    /// Sets how many restarts of all children together are allowed within a period, as in OTP. Failures in a row do not
    /// count. If all children together cannot exceed the intensity because of their backoffs, the start is refused. If a
    /// child without a limit cannot exceed the intensity alone, the start logs a warning.
    #[must_use]
    pub const fn intensity(mut self, limit: Limit) -> Self {
        self.spec.intensity = Some(limit);
        self
    }

    /// Sets the order in which the children start. They stop in the reverse order. Default: the declared order.
    #[must_use]
    pub const fn order(mut self, order: Order) -> Self {
        self.spec.order = order;
        self
    }

    /// Sets how many children may be starting (begun, but not ready yet) at the same time: more than zero. A further child waits
    /// for a place ([`WaitingFor::Place`](crate::WaitingFor::Place)), so that not all children start at once after a common
    /// failure, or with [`Order::Edges`]. A child keeps its place until it is ready, is asked to stop, or has ended, so its start
    /// deadline bounds that time. A child that is ready as soon as it runs takes no place. Default: any number.
    ///
    /// Refused if no declared child takes time to start.
    #[must_use]
    pub const fn max_starting(mut self, children: u32) -> Self {
        self.spec.max_starting = Some(children);
        self
    }

    /// Sets what follows when a child fails before the supervisor has been ready. Default: the supervisor fails, as in OTP.
    /// With [`FirstStart::Retry`] the child is restarted by its own rule and limit, and [`start`](Self::start) waits until
    /// all children are ready or were given up on.
    #[must_use]
    pub const fn first_start(mut self, first_start: FirstStart) -> Self {
        self.spec.first_start = first_start;
        self
    }

    /// Sets whether the supervisor ends when its significant children have ended. Default: never.
    #[must_use]
    pub const fn auto_shutdown(mut self, auto_shutdown: AutoShutdown) -> Self {
        self.spec.auto_shutdown = auto_shutdown;
        self
    }

    /// Watches the polls of all children below this supervisor that have no limit of their own, also of those that are
    /// added later. The code of threads is not polled, but that of their subtasks is. See [`Child::watch_polls`].
    ///
    /// ```
    /// # use liveoak_runtime::{PollLimit, Supervisor, WhenStuck};
    /// # use std::time::Duration;
    /// let limit = PollLimit::new(Duration::from_millis(500)).when_stuck(WhenStuck::Unhealthy);
    /// let shop = Supervisor::new("shop").watch_polls(limit);
    /// ```
    ///
    /// With the feature `stacks`, the event and the snapshot also have the [stack](liveoak_core::StuckPoll::stack) of that thread.
    #[must_use]
    pub const fn watch_polls(mut self, limit: PollLimit) -> Self {
        self.own.poll_limit = Some(limit);
        self
    }

    /// Watches the polls unless [`watch_polls`](Self::watch_polls) has set a limit already.
    #[doc(hidden)]
    #[must_use]
    pub fn watch_polls_unless_set(mut self, limit: PollLimit) -> Self {
        self.own.poll_limit.get_or_insert(limit);
        self
    }

    /// Sets the time from a kill of this supervisor until the children below it that still run are abandoned: more than
    /// zero. It bounds the kill of the whole subtree, whatever the children declare. Default:
    /// [`KILL_WAIT`](crate::KILL_WAIT), 2 s.
    #[must_use]
    pub const fn kill_wait(mut self, wait: Duration) -> Self {
        self.kill_wait = wait;
        self
    }

    /// Sets the budget for the stop of all children below the supervisor. In the first half of the budget the children are
    /// asked in order; at nine tenths the remaining children are killed. Default: 30 s for a tree, none for a nested
    /// supervisor (its children have deadlines).
    #[must_use]
    pub const fn stop_within(mut self, budget: Duration) -> Self {
        self.stop_within = Some(budget);
        self
    }

    /// Keeps the values that all children below this supervisor have captured after this supervisor has ended for good; see
    /// [`Child::keep`]. Refused where it has no effect: if this supervisor can be started again anyway.
    #[must_use]
    pub const fn keep(mut self) -> Self {
        self.own.keep = true;
        self.own.written.keep = true;
        self
    }

    /// Runs the children on a Tokio runtime of their own.
    #[must_use]
    pub fn dedicated_runtime(mut self, runtime: DedicatedRuntime) -> Self {
        self.runtime = Some(runtime);
        self
    }

    /// Declares a mode of the tree: a named set of children that shall run. `run` has patterns for their paths, without the
    /// name of this supervisor: `"camera"`, `"motors/*"` (see [`Glob`](crate::Glob)). A supervisor stands for all children
    /// below it. What the children come `after` comes along. A [manual](Self::manual) child is part of the mode if a pattern
    /// matches the child itself, or if it comes along. Without a mode all children run, except manual ones.
    ///
    /// The tree starts in the mode of [`start_in_mode`](Self::start_in_mode).
    /// [`TreeHandle::plan_mode`] shows what a change to a mode does, and does it. Children that are added while the tree
    /// runs belong to no mode. A child that is not wanted counts as done for [`end_when_done`](Self::end_when_done).
    ///
    /// Only the root has modes. The start is refused if two modes have one name, or a pattern matches no declared child.
    #[must_use]
    pub fn mode(mut self, name: impl Into<String>, run: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.modes.add(name.into(), run.into_iter().map(Into::into).collect());
        self
    }

    /// Starts the tree in a [`mode`](Self::mode): only the children of the mode start. Default: all children start.
    #[must_use]
    pub fn start_in_mode(mut self, name: impl Into<String>) -> Self {
        self.modes.start_in(name.into());
        self
    }

    /// Ends the supervisor when all its children have ended for good. [`run`](Self::run) implies it.
    ///
    /// The end is a failure if one of them failed. This includes temporary children that were added and have left the tree,
    /// but not members of groups: a tree with a group does not end by itself. Only a restart of the supervisor forgets the
    /// failure. A child that may be tried again should be transient, with a limit.
    #[must_use]
    pub const fn end_when_done(mut self) -> Self {
        self.spec.end_when_done = true;
        self
    }

    /// Returns a handle of the tree that this supervisor will start: the way to command a tree that [`run`](Self::run) or
    /// [`main`](crate::main) runs. The handle has no commands before the tree begins; see [`PendingTree`].
    #[must_use]
    pub fn handle(&self) -> PendingTree {
        self.begins.pending()
    }

    /// Starts the tree. Returns when every declared child is ready.
    ///
    /// # Errors
    /// When specs are wrong (all errors are reported together, and nothing was started), there is no Tokio runtime with
    /// timers, a child fails its first start (the started children have been stopped), or the tree is stopped before it is
    /// ready.
    ///
    /// # Cancel safety
    /// When this future is dropped, the children that were started are killed.
    pub async fn start(self) -> Result<Tree, StartError> {
        let tree = self.begin()?;
        match tree.ready().await {
            Ok(()) => Ok(tree),
            Err(ended) => Err(failed_start(ended)),
        }
    }

    /// Starts the tree and runs it until it ends, or until a signal stops it. `run` takes over the whole process: it
    /// listens for signals and captures panics ([`capture_panics`]). In `main`, [`liveoak::main`](crate::main) does more:
    /// it also shuts the runtime down.
    ///
    /// The first SIGINT, SIGTERM or SIGHUP stops the tree gracefully. Signals within a second of the first signal count
    /// as one. A later SIGINT kills the remaining children, whatever the first signal was; a line of the log says so when
    /// this second is over. SIGTERM and SIGHUP never kill.
    ///
    /// A signal that is ignored at the start stays ignored (`nohup`). If the process has its own handler for SIGHUP, this
    /// handler stays. Other handlers are called as well. When this future is done or dropped, the former action of each
    /// signal is restored, unless other code has installed a handler meanwhile. Several trees can run at the same time;
    /// each of them gets every signal.
    ///
    /// Under `#[tokio::main]` the process ends only when the runtime has shut down. The runtime waits without a limit for
    /// blocking calls (`spawn_blocking`, `tokio::io::stdin()`) and for tasks that never yield.
    ///
    /// # Errors
    /// When the process cannot listen for signals, the tree did not start or failed, or a child was killed or abandoned.
    ///
    /// # Cancel safety
    /// When this future is dropped, everything is killed.
    pub async fn run(self) -> Result<(), Error> {
        self.run_until(pending::<()>()).await
    }

    /// Starts the tree and runs it like [`run`](Self::run), until `future` is done at the latest. Then the tree is stopped
    /// gracefully. The output of `future` is dropped; if the tree ends before, `future` is dropped.
    ///
    /// ```
    /// # use liveoak_runtime::{Child, Ctx, Supervisor};
    /// # use std::time::Duration;
    /// # liveoak_runtime::testing::paused(async {
    /// # let web = |ctx: Ctx| async move { ctx.stopping().await };
    /// let an_hour = tokio::time::sleep(Duration::from_secs(3600));
    /// Supervisor::new("shop").child(Child::task("web", web)).run_until(an_hour).await?;
    /// # Ok::<(), liveoak_runtime::Error>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// As [`run`](Self::run).
    ///
    /// # Panics
    /// When `future` panics. Everything is killed then.
    ///
    /// # Cancel safety
    /// When this future is dropped, everything is killed.
    pub async fn run_until(self, future: impl Future) -> Result<(), Error> {
        let mut signals = StopSignals::listen().map_err(|error| Error::Signals(Arc::new(error)))?;
        let say = |line: &str| {
            let line = line.to_owned();
            log(move || tracing::info!(target: "liveoak", event = "signal", "{line}"));
        };
        self.run_with_signals(&mut signals, say, future).await
    }

    /// Runs the tree like [`run_until`](Self::run_until), with signals for which the caller listens. `say` gets a line for people when
    /// a signal changes what happens.
    pub(crate) async fn run_with_signals(
        self,
        signals: &mut StopSignals,
        say: impl Fn(&str),
        until: impl Future,
    ) -> Result<(), Error> {
        capture_panics();
        let (root, mut said_stop) = (Path::new(&self.name), false);
        let tree = self.end_when_done().begin()?;
        let until = async {
            until.await;
            tree.begin_stop();
            pending::<()>().await;
        };
        let mut until = pin!(until);
        let ended = loop {
            match race(race(tree.join(), until.as_mut()), signals.changed()).await {
                Either::Left(Either::Left(ended)) => break ended,
                Either::Left(Either::Right(())) => {}
                Either::Right(Wish::None) => {}
                Either::Right(Wish::Stop(signal)) => {
                    // Signals within a second of the first one count as one.
                    if !std::mem::replace(&mut said_stop, true) {
                        log_signal(signal.name(), &root);
                    }
                    tree.begin_stop();
                }
                Either::Right(Wish::StopOrKill(signal)) => {
                    tree.begin_stop();
                    let how = if signals.hears_interrupts() {
                        "Ctrl-C (SIGINT) kills what is left"
                    } else {
                        "SIGINT was ignored at the start, so only SIGKILL ends the program earlier"
                    };
                    say(&format!("{}: still stopping; {how}", signal.name()));
                }
                Either::Right(Wish::Kill) => {
                    say("SIGINT: killing what is left");
                    tree.begin_kill();
                }
            }
        };
        tree.inner.run_holds.wait().await;
        match &ended.exit {
            Exit::StartFailed(_) => Err(Error::Start(failed_start(ended))),
            exit if exit.is_failure() => Err(Error::Failed(Box::new(ended))),
            _ if !ended.report.is_clean() => Err(Error::Forced(ended.report)),
            _ => Ok(()),
        }
    }

    /// Begins to start the tree, and returns immediately. [`TreeHandle::ready`](crate::TreeHandle::ready) waits for the
    /// readiness.
    ///
    /// If the body of a child, or one of its subtasks, starts a tree, the tree belongs to that attempt like a subtask: the
    /// tree is killed at the end of the body, and the attempt ends when the tree has ended.
    ///
    /// # Errors
    /// When specs are wrong, there is no Tokio runtime with timers, or the caller is an attempt that can have no more
    /// subtasks. In these cases nothing was started.
    pub fn begin(mut self) -> Result<Tree, StartError> {
        let handle = Handle::try_current().map_err(|_| StartError::NoRuntime)?;
        if panics(|| drop(tokio::time::sleep(Duration::ZERO))) {
            return Err(StartError::NoTimers);
        }
        warn_of_abort(cfg!(panic = "abort"));
        let begins = std::mem::take(&mut self.begins);
        let on_begin = std::mem::take(&mut self.on_begin);
        let (root, modes) = self.into_root();
        let parts = split(root, None);
        let mut errors = parts.errors;
        let (modes, first_mode) = modes.check(&parts.declaration, &mut errors);
        // Both kinds of error are reported together.
        let (machine, ids) = Machine::new(&parts.declaration).map_err(|more| {
            errors.extend(more.0);
            StartError::Spec(SpecErrors(std::mem::take(&mut errors)))
        })?;
        if let Some(path) = parts.needs_one_thread {
            errors.push(wrong_runtime(path, NEEDS_ONE_THREAD));
        }
        if !errors.is_empty() {
            return Err(StartError::Spec(SpecErrors(errors)));
        }
        for warning in parts.declaration.warnings() {
            log(move || tracing::warn!(target: "liveoak", path = %warning.path, event = "spec", "{warning}"));
        }
        let owner = match current() {
            Some(ctx) => Some(ctx.own_tree().map_err(StartError::Refused)?),
            None => None,
        };
        let tree = TreeInner::new(machine, handle.clone(), owner);
        let unused = tree.with_state(|state| {
            state.modes.begin(modes, first_mode, &mut state.machine);
            install(state, &tree, ids, parts.bodies)
        });
        drop(unused);
        let observed = TreeHandle::new(Arc::clone(&tree), None);
        on_begin.into_iter().for_each(|observe| observe(&observed));
        tree.belong_to_owner();
        if handle.runtime_flavor() == RuntimeFlavor::MultiThread {
            Watchdog::start(Arc::clone(&tree.watchdog), Arc::downgrade(&tree), TreeInner::tick_if_late);
        }
        handle.spawn(Arc::clone(&tree).timer_task());
        tree.feed(tree.clock.now(), Input::Start);
        begins.begun(&observed);
        Ok(Tree(observed))
    }
}

impl Supervisor {
    /// Returns the root of a tree, and its modes. What is called when a tree begins is left out.
    pub(crate) fn into_root(mut self) -> (Child, DeclaredModes) {
        self.on_begin.clear();
        let modes = std::mem::take(&mut self.modes);
        let budget = self.stop_within.unwrap_or(ChildSpec::of_root().stop_within);
        let mut root = Child::from(self);
        root.spec.stop_within = budget;
        (root, modes)
    }
}

impl From<Supervisor> for Child {
    fn from(supervisor: Supervisor) -> Self {
        let mut spec = supervisor.own;
        spec.stop_within = supervisor.stop_within.unwrap_or(spec.stop_within);
        spec.kill_wait = supervisor.kill_wait;
        if !supervisor.on_begin.is_empty() {
            let reason = "a supervisor inside a tree begins no tree, so nothing would be called; expected it at the root";
            spec.written.refused.push(("on_begin", reason));
        }
        let kind = ChildKind::Supervisor {
            spec: supervisor.spec,
            children: supervisor.children,
            runtime: supervisor.runtime,
            modes: supervisor.modes,
        };
        Self { name: supervisor.name, spec, kind, runtime_is_misplaced: false }
    }
}

common_settings!(Supervisor, own);

/// Logs the first signal that stops the tree.
fn log_signal(signal: &'static str, root: &Path) {
    let root = root.clone();
    log(move || {
        tracing::info!(target: "liveoak", path = %root, event = "signal", signal, "{signal}: stopping {root}");
    });
}

/// Logs a warning if a panic would abort the process. All crates of a binary are built with the same panic strategy.
fn warn_of_abort(aborts: bool) {
    if aborts {
        log(|| {
            tracing::warn!(
                target: "liveoak",
                "this program is built with `panic = \"abort\"`: a panic in a child ends the whole program, and nothing \
                 restarts the child"
            );
        });
    }
}

fn failed_start(ended: Ended) -> StartError {
    match &ended.exit {
        Exit::StartFailed(failure) => {
            StartError::Failed { failure: Arc::clone(failure), report: Arc::clone(&ended.report) }
        }
        _ => StartError::Ended(Box::new(ended)),
    }
}
