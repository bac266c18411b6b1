//! The interface that every compared supervisor implements, and the plans that it is given.
//!
//! It has only features that several supervisors offer; a feature of one of them cannot be compared.

use async_trait::async_trait;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// The work of a child, until its end.
pub(crate) type ChildFuture = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;
/// Completes when the child is asked to stop.
pub(crate) type Asked = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The plan of one child.
#[derive(Clone)]
pub(crate) struct PlannedChild {
    /// The child's name.
    pub(crate) name: &'static str,
    /// `true` if it is also restarted after a success.
    pub(crate) permanent: bool,
    /// `true` if it only waits until it is asked to stop.
    pub(crate) waits_only: bool,
    work: Arc<dyn Fn(Asked) -> ChildFuture + Send + Sync>,
    cleanup: Option<Arc<dyn Fn() -> ChildFuture + Send + Sync>>,
}

impl PlannedChild {
    /// Returns a child that is restarted when it fails.
    pub(crate) fn new(
        name: &'static str,
        work: impl Fn(Asked) -> ChildFuture + Send + Sync + 'static,
    ) -> Self {
        Self { name, permanent: false, waits_only: false, work: Arc::new(work), cleanup: None }
    }

    /// Makes the child restart whenever it ends.
    pub(crate) fn permanent(mut self) -> Self {
        self.permanent = true;
        self
    }

    /// Marks the child as one that only waits until it is asked to stop.
    pub(crate) fn waits_only(mut self) -> Self {
        self.waits_only = true;
        self
    }

    /// Adds work that the child does after it was asked to stop.
    pub(crate) fn cleanup(mut self, cleanup: impl Fn() -> ChildFuture + Send + Sync + 'static) -> Self {
        self.cleanup = Some(Arc::new(cleanup));
        self
    }

    /// Runs the work and then the cleanup, for supervisors that pass the request to stop on to the child.
    pub(crate) async fn run(self, asked: Asked) -> Result<(), String> {
        (self.work)(asked).await?;
        self.run_cleanup().await
    }

    /// Runs only the work, for supervisors that drop the work and run the cleanup afterwards.
    pub(crate) fn run_until_dropped(&self) -> ChildFuture {
        (self.work)(Box::pin(std::future::pending()))
    }

    /// Runs the cleanup, if there is one.
    pub(crate) async fn run_cleanup(&self) -> Result<(), String> {
        match &self.cleanup {
            Some(cleanup) => cleanup().await,
            None => Ok(()),
        }
    }
}

/// Which children are restarted together.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Strategy {
    OneForOne,
    OneForAll,
    RestForOne,
}

/// A supervisor with its children.
pub(crate) struct Plan {
    /// Which children are restarted together.
    pub(crate) strategy: Strategy,
    /// The children, in the order of their start.
    pub(crate) children: Vec<PlannedChild>,
    /// A child that is added later, at run time.
    pub(crate) later: Option<PlannedChild>,
    /// `true` if the scenario needs restarts.
    pub(crate) restarts: bool,
    /// The allowed number of restarts within a minute, counted per child where the supervisor can.
    pub(crate) limit: u32,
    /// The first delay before a restart.
    pub(crate) backoff: Duration,
    /// How long a child may take to stop.
    pub(crate) grace: Duration,
}

impl Plan {
    /// Returns a plan with the default settings: one-for-one, a backoff of 20 ms, and half a second to stop.
    pub(crate) fn of(children: impl IntoIterator<Item = PlannedChild>) -> Self {
        Self {
            strategy: Strategy::OneForOne,
            children: children.into_iter().collect(),
            later: None,
            restarts: true,
            limit: 3,
            backoff: Duration::from_millis(20),
            grace: Duration::from_millis(500),
        }
    }
}

/// The way in which a supervisor reports something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Source {
    /// A query of its state.
    State,
    /// An event that it sends to subscribers.
    Event,
    /// The value that its end or its stop returns.
    Answer,
    /// A message in the log.
    Log,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::State => "state",
            Self::Event => "event",
            Self::Answer => "returned value",
            Self::Log => "log",
        })
    }
}

/// Something that a supervisor reported.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    /// The way in which it was reported.
    pub(crate) source: Source,
    /// The text.
    pub(crate) text: String,
}

impl Message {
    /// Returns a message with this text.
    pub(crate) fn new(source: Source, text: impl Into<String>) -> Self {
        Self { source, text: text.into() }
    }
}

/// Why a scenario cannot be run: the supervisor does not offer a feature, or it could not be used.
#[derive(Debug)]
pub(crate) struct CannotRun(pub(crate) String);

impl CannotRun {
    /// Returns the reason that the supervisor does not offer `what`.
    pub(crate) fn feature(what: &str) -> Self {
        Self(format!("does not offer {what}"))
    }

    /// Returns the reason that the supervisor failed with `error`.
    pub(crate) fn failed(error: impl fmt::Display) -> Self {
        Self(format!("could not be used: {error}"))
    }
}

/// A supervisor to compare.
#[async_trait]
pub(crate) trait Peer: Send + Sync {
    /// Returns the name of the crate.
    fn name(&self) -> &'static str;

    /// Returns how it is used here, in a sentence or two, for the page.
    fn usage(&self) -> &'static str;

    /// Starts it with the plan's children. Returns after all of them were started.
    async fn start(&self, plan: Plan) -> Result<Box<dyn Running>, CannotRun>;
}

/// A running supervisor.
#[async_trait]
pub(crate) trait Running: Send {
    /// Adds the plan's later child.
    async fn add(&mut self) -> Result<(), CannotRun>;

    /// Returns its current state, and everything that it reported since its start.
    async fn messages(&mut self) -> Vec<Message>;

    /// Stops it as its documentation describes. Returns when the supervisor claims to have stopped.
    async fn stop(&mut self) -> Vec<Message>;

    /// Drops everything that keeps it alive: its handles, and the futures that run it.
    fn drop_handles(self: Box<Self>);
}
