//! Checks of children by async closures.

use crate::api::child::{Child, ChildKind};
use crate::api::ctx::Ctx;
use crate::attempt::body::{Body, BodyValue, BoxError, Try, UserValue, add_user_value};
use crate::attempt::panic::{catch, drop_catching_panics};
use crate::engine::driver::{ChildBody, LiveAttempt, TreeInner};
use liveoak_core::{CheckKind, CheckSpec, Exit, MAX_REASON_BYTES, Name, bounded_text, error_text};
use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;

/// How often a check is tried, and when it counts as failed. Given to [`Child::readiness`], [`Child::liveness`] and
/// [`Child::startup`].
#[derive(Clone, Debug)]
pub struct Check {
    name: Option<String>,
    every: Duration,
    timeout: Duration,
    failures: Option<u32>,
    successes: u32,
    delay: Duration,
}

impl Check {
    /// Returns a check that is tried every `period`, measured from the beginning of one try to the beginning of the next.
    /// The other settings have their defaults: 1 s for an answer, 3 failures, 1 success, no delay.
    #[must_use]
    pub const fn every(period: Duration) -> Self {
        let timeout = CheckSpec::DEFAULT_TIMEOUT;
        Self { name: None, every: period, timeout, failures: None, successes: 1, delay: Duration::ZERO }
    }

    /// Sets the name, which events, exits and snapshots show. Default: the kind of the check, with a number if the child
    /// has several of that kind.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets how long a try may take. A try that has no answer by then has failed, and is dropped. Default: 1 s.
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets how many tries in a row must fail until the check fails. Default: 3. A startup check has no limit by default;
    /// with one, the start fails when it is reached.
    #[must_use]
    pub const fn failures(mut self, failures: u32) -> Self {
        self.failures = Some(failures);
        self
    }

    /// Sets how many tries in a row must pass until a failed readiness check, or a startup check, passes. Default: 1.
    /// Another number is refused for liveness, because a failed liveness check ends the attempt.
    #[must_use]
    pub const fn successes(mut self, successes: u32) -> Self {
        self.successes = successes;
        self
    }

    /// Sets how long the first try is delayed after the child is ready (for a startup check: after it was started). Default:
    /// none.
    #[must_use]
    pub const fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Returns the check as a spec, for a child with these checks. For builders in other crates.
    #[must_use]
    pub fn spec(self, kind: CheckKind, others: &[CheckSpec]) -> CheckSpec {
        let of_kind = others.iter().filter(|check| check.kind == kind).count();
        let word = kind.as_str();
        let default = || if of_kind == 0 { word.to_owned() } else { format!("{word}-{}", of_kind + 1) };
        let name = Name::new(word).unwrap_or_else(|_| unreachable!("the word of a kind is a name"));
        let mut spec = CheckSpec::new(name, kind).named(&self.name.unwrap_or_else(default));
        spec.set_every(self.every);
        spec.timeout = self.timeout;
        if let Some(failures) = self.failures {
            spec.set_failures(failures);
        }
        (spec.successes, spec.delay) = (self.successes, self.delay);
        spec
    }
}

impl Child {
    /// Adds a readiness check: while it fails, the child is not ready, which is an event and shows in the snapshot. Siblings
    /// that start `after` the child wait until it is ready again. The child continues to run, and is not restarted.
    ///
    /// The tries begin when the child is ready for the first time, and run in a task beside the attempt. They end with
    /// the attempt, and there are none while the attempt stops. An error, a panic, or no answer within the timeout is a
    /// failed try. A closure that blocks its thread does not block the tree on a runtime with several threads.
    ///
    /// For a service, let the closure capture the state that it shares with the service.
    ///
    /// ```
    /// use liveoak_runtime::{Check, Child};
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicUsize, Ordering};
    /// use std::time::Duration;
    ///
    /// let waiting = Arc::new(AtomicUsize::new(0));
    /// let seen = Arc::clone(&waiting);
    /// let child = Child::task("queue", |ctx| async move { ctx.stopping().await })
    ///     .readiness(Check::every(Duration::from_secs(1)).failures(2), move |_ctx| {
    ///         let waiting = seen.load(Ordering::Relaxed);
    ///         async move { if waiting < 1000 { Ok(()) } else { Err(format!("{waiting} jobs wait")) } }
    ///     });
    /// ```
    #[must_use]
    pub fn readiness<F, Fut, E>(self, check: Check, ask: F) -> Self
    where
        F: Fn(Ctx) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<BoxError> + 'static,
    {
        self.asked(CheckKind::Readiness, check, ask)
    }

    /// Adds a liveness check: when it fails, the child is stopped (asked, then killed), which counts as a failure. The exit is
    /// [`Exit::Unhealthy`](crate::Exit). Otherwise like [`readiness`](Self::readiness).
    #[must_use]
    pub fn liveness<F, Fut, E>(self, check: Check, ask: F) -> Self
    where
        F: Fn(Ctx) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<BoxError> + 'static,
    {
        self.asked(CheckKind::Liveness, check, ask)
    }

    /// Adds a startup check: the child is ready when the check has passed. The check is tried from the start of the attempt on,
    /// or, if the child reports that it is ready, from that moment on. Until it has passed, no other check is tried, and
    /// [`start_within`](Self::start_within) applies.
    #[must_use]
    pub fn startup<F, Fut, E>(self, check: Check, ask: F) -> Self
    where
        F: Fn(Ctx) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<BoxError> + 'static,
    {
        self.asked(CheckKind::Startup, check, ask)
    }

    fn asked<F, Fut, E>(self, kind: CheckKind, check: Check, ask: F) -> Self
    where
        F: Fn(Ctx) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<BoxError> + 'static,
    {
        let spec = check.spec(kind, self.spec.checks());
        self.check(spec, ask)
    }

    /// Adds a check of any kind. For builders in other crates that make other kinds of children.
    #[must_use]
    pub fn check<F, Fut, E>(mut self, spec: CheckSpec, ask: F) -> Self
    where
        F: Fn(Ctx) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<BoxError> + 'static,
    {
        let index = u32::try_from(self.spec.checks().len()).unwrap_or(u32::MAX);
        self.spec.add_check(spec);
        if let ChildKind::Leaf(inner) = self.kind {
            self.kind = ChildKind::Leaf(Arc::new(CheckedBody { inner, index, ask: Arc::new(ask) }));
        }
        self
    }

    /// Declares that the child reports its health ([`Ctx::health`]). It is healthy until it reports something else. Without
    /// this, and without a readiness or liveness check, nothing says how healthy the child is: its health is unknown, and no
    /// sibling can start `after` it is healthy.
    #[must_use]
    pub const fn reports_health(mut self) -> Self {
        self.spec.reports_health = true;
        self
    }
}

/// A body with one further check. The wrapped body has the other checks, and does everything else.
struct CheckedBody<F> {
    inner: Arc<ChildBody>,
    index: u32,
    ask: Arc<F>,
}

impl<F, Fut, E> Body<Arc<TreeInner>> for CheckedBody<F>
where
    F: Fn(Ctx) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), E>> + Send + 'static,
    E: Into<BoxError> + 'static,
{
    fn start(self: Arc<Self>, cell: Arc<LiveAttempt>, handle: &Handle) {
        Arc::clone(&self.inner).start(cell, handle);
    }

    fn check(self: Arc<Self>, index: u32, cell: &Arc<LiveAttempt>) -> Option<Try> {
        if index != self.index {
            return Arc::clone(&self.inner).check(index, cell);
        }
        let (ask, ctx) = (Arc::clone(&self.ask), Ctx { cell: Arc::clone(cell) });
        Some(Box::pin(answer(ask, ctx)))
    }

    fn dispose(self: Arc<Self>, values: &mut Vec<UserValue>) {
        if let Some(only) = Arc::into_inner(self) {
            only.inner.dispose(values);
            if let Some(ask) = Arc::into_inner(only.ask) {
                add_user_value(values, ask);
            }
        }
    }

    fn value(&self) -> Option<&Arc<dyn BodyValue>> {
        self.inner.value()
    }

    fn runtime(&self) -> Option<&Handle> {
        self.inner.runtime()
    }

    fn has_polls(&self) -> bool {
        self.inner.has_polls()
    }

    fn needs_one_thread(&self) -> bool {
        self.inner.needs_one_thread()
    }
}

/// Asks once. A panic is an error with the text of the panic.
async fn answer<F, Fut, E>(ask: Arc<F>, ctx: Ctx) -> Result<(), Arc<str>>
where
    F: Fn(Ctx) -> Fut,
    Fut: Future<Output = Result<(), E>> + Send,
    E: Into<BoxError> + 'static,
{
    let panicked = |exit: Exit| Arc::<str>::from(bounded_text(&exit, MAX_REASON_BYTES));
    let mut future = Box::pin(catch(Some("check"), || ask(ctx)).map_err(panicked)?);
    let polled = poll_fn(|cx| match catch(Some("check"), || future.as_mut().poll(cx)) {
        Ok(polled) => polled.map(Ok),
        Err(exit) => std::task::Poll::Ready(Err(exit)),
    });
    let result = polled.await;
    drop_catching_panics(future);
    result.map_err(panicked)?.map_err(|error| error_text(&*error.into(), MAX_REASON_BYTES).into())
}
