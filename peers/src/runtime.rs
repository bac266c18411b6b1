//! Runs a supervisor on a Tokio runtime of its own, so that the scenario can continue even if a child blocks that
//! runtime.

use crate::peer::{CannotRun, Message, Peer, Plan, Running, Source};
use std::future::Future;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

/// A stop counts as in time if it takes at most this much longer than its children may take.
const SLACK: Duration = Duration::from_millis(2500);
/// A call that takes longer counts as never answered.
const PATIENCE: Duration = Duration::from_secs(8);

/// A supervisor, and the runtime for it.
pub(crate) struct PeerRuntime {
    pub(crate) peer: &'static dyn Peer,
    pub(crate) runtime: Handle,
}

/// A supervisor that runs on such a runtime.
pub(crate) struct RunningPeer {
    running: Option<Box<dyn Running>>,
    runtime: Handle,
    grace: Duration,
}

/// The result of a stop.
pub(crate) struct StopResult {
    /// When the call returned.
    pub(crate) answered: Answered,
    /// What the supervisor reported.
    pub(crate) messages: Vec<Message>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answered {
    InTime,
    Late,
    Never,
}

/// Runs `work` on the runtime. Returns `None` if that takes longer than [`PATIENCE`].
async fn run_on<T: Send + 'static>(
    runtime: &Handle,
    work: impl Future<Output = T> + Send + 'static,
) -> Result<Option<T>, CannotRun> {
    match tokio::time::timeout(PATIENCE, runtime.spawn(work)).await {
        Ok(done) => done.map(Some).map_err(CannotRun::failed),
        Err(_) => Ok(None),
    }
}

impl PeerRuntime {
    /// Starts the supervisor on its runtime.
    pub(crate) async fn start(&self, plan: Plan) -> Result<RunningPeer, CannotRun> {
        let (peer, grace) = (self.peer, plan.grace);
        let started = run_on(&self.runtime, async move { peer.start(plan).await }).await?;
        let running = started.unwrap_or_else(|| Err(CannotRun::failed("its start never returns")))?;
        Ok(RunningPeer { running: Some(running), runtime: self.runtime.clone(), grace })
    }
}

impl RunningPeer {
    fn take(&mut self) -> Result<Box<dyn Running>, CannotRun> {
        self.running.take().ok_or_else(|| CannotRun::failed("an earlier call never returned"))
    }

    /// Adds the plan's later child.
    pub(crate) async fn add(&mut self) -> Result<(), CannotRun> {
        let mut running = self.take()?;
        let work = async move {
            let added = running.add().await;
            (running, added)
        };
        let Some((running, added)) = run_on(&self.runtime, work).await? else {
            return Err(CannotRun::failed("adding a child never returns"));
        };
        self.running = Some(running);
        added
    }

    /// Returns what the supervisor reports about itself.
    pub(crate) async fn messages(&mut self) -> Result<Vec<Message>, CannotRun> {
        let mut running = self.take()?;
        let work = async move {
            let messages = running.messages().await;
            (running, messages)
        };
        let Some((running, messages)) = run_on(&self.runtime, work).await? else {
            return Ok(vec![Message::new(Source::State, "no answer")]);
        };
        self.running = Some(running);
        Ok(messages)
    }

    /// Stops the supervisor and measures the time.
    pub(crate) async fn stop(&mut self) -> Result<StopResult, CannotRun> {
        let mut running = self.take()?;
        let begun = Instant::now();
        let work = async move {
            let messages = running.stop().await;
            (running, messages)
        };
        let Some((running, messages)) = run_on(&self.runtime, work).await? else {
            return Ok(StopResult { answered: Answered::Never, messages: vec![] });
        };
        self.running = Some(running);
        let in_time = begun.elapsed() <= self.grace + SLACK;
        Ok(StopResult { answered: if in_time { Answered::InTime } else { Answered::Late }, messages })
    }

    /// Drops everything that keeps the supervisor alive.
    pub(crate) async fn drop_handles(mut self) -> Result<(), CannotRun> {
        let running = self.take()?;
        run_on(&self.runtime, async move { running.drop_handles() }).await?;
        Ok(())
    }
}

impl StopResult {
    /// Returns in words when the stop returned.
    pub(crate) fn when(&self) -> &'static str {
        match self.answered {
            Answered::InTime => "returns in time",
            Answered::Late => "returns late",
            Answered::Never => "never returns",
        }
    }

    /// Returns the same as an addition to another result: empty if the stop was in time.
    pub(crate) fn if_not_in_time(&self) -> &'static str {
        match self.answered {
            Answered::InTime => "",
            Answered::Late => "; the stop returns late",
            Answered::Never => "; the stop never returns",
        }
    }
}
