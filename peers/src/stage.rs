//! Where a supervisor runs: on a runtime of its own, so that whoever looks at it still can when that runtime cannot go on.

use crate::peer::{Lacks, Peer, Place, Plan, Running, Told};
use std::future::Future;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

/// What a stop may take beyond the time that its children have.
const SLACK: Duration = Duration::from_millis(2500);
/// What has not answered after so long never will, as far as its caller is concerned.
const PATIENCE: Duration = Duration::from_secs(8);

/// A supervisor, and the runtime that it runs on.
pub(crate) struct Stage {
    pub(crate) peer: &'static dyn Peer,
    pub(crate) runtime: Handle,
}

/// A supervisor that runs there.
pub(crate) struct OnStage {
    running: Option<Box<dyn Running>>,
    runtime: Handle,
    grace: Duration,
}

/// How a stop went.
pub(crate) struct Stop {
    /// Whether it answered, and within the time that was asked for.
    pub(crate) answered: Answered,
    /// What it answered.
    pub(crate) told: Vec<Told>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answered {
    InTime,
    Late,
    Never,
}

/// Waits for something that is done on the stage; nothing if that takes too long.
async fn there<T: Send + 'static>(
    runtime: &Handle,
    work: impl Future<Output = T> + Send + 'static,
) -> Result<Option<T>, Lacks> {
    match tokio::time::timeout(PATIENCE, runtime.spawn(work)).await {
        Ok(done) => done.map(Some).map_err(Lacks::failed),
        Err(_) => Ok(None),
    }
}

impl Stage {
    /// Starts it there.
    pub(crate) async fn start(&self, plan: Plan) -> Result<OnStage, Lacks> {
        let (peer, grace) = (self.peer, plan.grace);
        let started = there(&self.runtime, async move { peer.start(plan).await }).await?;
        let running = started.unwrap_or_else(|| Err(Lacks::failed("its start never answers")))?;
        Ok(OnStage { running: Some(running), runtime: self.runtime.clone(), grace })
    }
}

impl OnStage {
    fn take(&mut self) -> Result<Box<dyn Running>, Lacks> {
        self.running.take().ok_or_else(|| Lacks::failed("an earlier question was never answered"))
    }

    /// Adds the plan's later child.
    pub(crate) async fn add(&mut self) -> Result<(), Lacks> {
        let mut running = self.take()?;
        let work = async move {
            let added = running.add().await;
            (running, added)
        };
        let Some((running, added)) = there(&self.runtime, work).await? else {
            return Err(Lacks::failed("adding never answers"));
        };
        self.running = Some(running);
        added
    }

    /// What it says of itself.
    pub(crate) async fn told(&mut self) -> Result<Vec<Told>, Lacks> {
        let mut running = self.take()?;
        let work = async move {
            let told = running.told().await;
            (running, told)
        };
        let Some((running, told)) = there(&self.runtime, work).await? else {
            return Ok(vec![Told::new(Place::State, "no answer")]);
        };
        self.running = Some(running);
        Ok(told)
    }

    /// Stops it, and looks at the time.
    pub(crate) async fn stop(&mut self) -> Result<Stop, Lacks> {
        let mut running = self.take()?;
        let begun = Instant::now();
        let work = async move {
            let told = running.stop().await;
            (running, told)
        };
        let Some((running, told)) = there(&self.runtime, work).await? else {
            return Ok(Stop { answered: Answered::Never, told: vec![] });
        };
        self.running = Some(running);
        let in_time = begun.elapsed() <= self.grace + SLACK;
        Ok(Stop { answered: if in_time { Answered::InTime } else { Answered::Late }, told })
    }

    /// Drops all that keeps it.
    pub(crate) async fn let_go(mut self) -> Result<(), Lacks> {
        let running = self.take()?;
        there(&self.runtime, async move { running.let_go() }).await?;
        Ok(())
    }
}

impl Stop {
    /// When it answered, in words.
    pub(crate) fn when(&self) -> &'static str {
        match self.answered {
            Answered::InTime => "answers in time",
            Answered::Late => "answers late",
            Answered::Never => "never answers",
        }
    }

    /// The same where it matters less: only if it is bad.
    pub(crate) fn but(&self) -> &'static str {
        match self.answered {
            Answered::InTime => "",
            Answered::Late => "; the stop answers late",
            Answered::Never => "; the stop never answers",
        }
    }
}
