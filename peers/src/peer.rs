//! What every supervisor is asked to do here, in words that all of them understand.

use async_trait::async_trait;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// What a child does, until it ends.
pub(crate) type ChildForm = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;
/// Ready when the child was asked to stop.
pub(crate) type Asked = Pin<Box<dyn Future<Output = ()> + Send>>;

/// One child.
#[derive(Clone)]
pub(crate) struct Kid {
    /// Its name.
    pub(crate) name: &'static str,
    /// Whether it is to be restarted after a success as well.
    pub(crate) permanent: bool,
    /// Whether it does nothing but wait until it is asked to stop.
    pub(crate) rests: bool,
    work: Arc<dyn Fn(Asked) -> ChildForm + Send + Sync>,
    tidy: Option<Arc<dyn Fn() -> ChildForm + Send + Sync>>,
}

impl Kid {
    /// A child that is restarted when it fails.
    pub(crate) fn new(name: &'static str, work: impl Fn(Asked) -> ChildForm + Send + Sync + 'static) -> Self {
        Self { name, permanent: false, rests: false, work: Arc::new(work), tidy: None }
    }

    /// The same, restarted whenever it ends.
    pub(crate) fn permanent(mut self) -> Self {
        self.permanent = true;
        self
    }

    /// The same, which does nothing but wait until it is asked to stop.
    pub(crate) fn rests(mut self) -> Self {
        self.rests = true;
        self
    }

    /// The same, with something to do after it was asked to stop.
    pub(crate) fn tidy(mut self, tidy: impl Fn() -> ChildForm + Send + Sync + 'static) -> Self {
        self.tidy = Some(Arc::new(tidy));
        self
    }

    /// For supervisors that hand out the request to stop: the work, and what is to be tidied up when that was asked.
    pub(crate) async fn run(self, asked: Asked) -> Result<(), String> {
        (self.work)(asked).await?;
        self.run_hook().await
    }

    /// For supervisors that drop the work, and have a hook for the rest.
    pub(crate) fn run_until_dropped(&self) -> ChildForm {
        (self.work)(Box::pin(std::future::pending()))
    }

    /// The hook of such supervisors.
    pub(crate) async fn run_hook(&self) -> Result<(), String> {
        match &self.tidy {
            Some(tidy) => tidy().await,
            None => Ok(()),
        }
    }
}

/// Who is restarted together.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Strategy {
    OneForOne,
    OneForAll,
    RestForOne,
}

/// A supervisor with its children.
pub(crate) struct Plan {
    /// Who is restarted together.
    pub(crate) strategy: Strategy,
    /// In the order of their start.
    pub(crate) kids: Vec<Kid>,
    /// A child that is added later, at run time.
    pub(crate) later: Option<Kid>,
    /// Whether the scenario is about restarts.
    pub(crate) restarts: bool,
    /// How many restarts are allowed within a minute; for each child where that can be said.
    pub(crate) limit: u32,
    /// The first delay before a restart.
    pub(crate) backoff: Duration,
    /// How long a child may take to stop.
    pub(crate) grace: Duration,
}

impl Plan {
    /// Children one by one, restarted after a moment, and with half a second to stop.
    pub(crate) fn of(kids: impl IntoIterator<Item = Kid>) -> Self {
        Self {
            strategy: Strategy::OneForOne,
            kids: kids.into_iter().collect(),
            later: None,
            restarts: true,
            limit: 3,
            backoff: Duration::from_millis(20),
            grace: Duration::from_millis(500),
        }
    }
}

/// Where a supervisor says something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    /// What can be asked for.
    State,
    /// What is sent to whoever listens.
    Event,
    /// What the end of the supervisor, or its stop, returns.
    Answer,
    /// What is written for people.
    Log,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::State => "state",
            Self::Event => "event",
            Self::Answer => "returned value",
            Self::Log => "log",
        })
    }
}

/// Something that a supervisor said.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    /// Where.
    pub(crate) place: Place,
    /// What.
    pub(crate) text: String,
}

impl Told {
    /// `text`, said in `place`.
    pub(crate) fn new(place: Place, text: impl Into<String>) -> Self {
        Self { place, text: text.into() }
    }
}

/// Why a scenario cannot be run: the supervisor does not claim to do that, or it could not be used.
#[derive(Debug)]
pub(crate) struct Lacks(pub(crate) String);

impl Lacks {
    /// There is no such feature; `what` says it in a few words.
    pub(crate) fn feature(what: &str) -> Self {
        Self(format!("does not offer {what}"))
    }

    /// It did not do what it offers.
    pub(crate) fn failed(error: impl fmt::Display) -> Self {
        Self(format!("could not be used: {error}"))
    }
}

/// A supervisor to compare.
#[async_trait]
pub(crate) trait Peer: Send + Sync {
    /// The crate's name.
    fn name(&self) -> &'static str;

    /// How it is used here, in a sentence or two.
    fn usage(&self) -> &'static str;

    /// Starts it; returns when its children were started.
    async fn start(&self, plan: Plan) -> Result<Box<dyn Running>, Lacks>;
}

/// A supervisor that runs.
#[async_trait]
pub(crate) trait Running: Send {
    /// Adds the plan's later child.
    async fn add(&mut self) -> Result<(), Lacks>;

    /// What it says of itself now, and has said since it was started.
    async fn told(&mut self) -> Vec<Told>;

    /// Stops it as its documentation says; returns when that says that it has stopped.
    async fn stop(&mut self) -> Vec<Told>;

    /// Drops all that keeps it: handles, and futures that run it.
    fn let_go(self: Box<Self>);
}
