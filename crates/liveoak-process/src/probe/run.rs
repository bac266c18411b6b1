//! A run of a probe for one attempt.

use super::error::ProbeFailure;
use super::{Probe, ProbeKind, linger, unix};
use crate::command::CommandLine;
use crate::environment::Environment;
use crate::jobs::WhenGone;
use crate::off_thread::{NoAnswer, off_thread};
use crate::process::Process;
use crate::spawn_error::SpawnError;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// A run of a [`Probe`] for one attempt. Clones share what was seen: keep one clone in the sink, wait on another.
#[derive(Clone, Debug)]
pub struct ProbeRun {
    state: Arc<RunState>,
}

/// The state that the clones of one run share.
#[derive(Debug)]
struct RunState {
    probe: Probe,
    /// The environment of the attempt; `None` for a run without an attempt of a child.
    environment: Option<Environment>,
    started: Instant,
    /// `true` if a line matched. Only log probes set it.
    matched: watch::Sender<bool>,
    /// The latest failed check.
    latest: Mutex<Option<Arc<ProbeFailure>>>,
}

impl ProbeRun {
    pub(super) fn new(probe: Probe, environment: Option<Environment>) -> ProbeRun {
        let (matched, _) = watch::channel(false);
        let latest = Mutex::new(None);
        let state = RunState { probe, environment, started: Instant::now(), matched, latest };
        ProbeRun { state: Arc::new(state) }
    }

    /// Shows the probe a line of output. Never waits; costs nothing unless it is a log probe without a match so far.
    pub fn observe(&self, line: &str) {
        if let ProbeKind::Log(pattern) = &self.state.probe.kind
            && !*self.state.matched.borrow()
            && pattern.matches(line)
        {
            self.state.matched.send_replace(true);
        }
    }

    /// Checks once, within the probe's time limit for a check.
    ///
    /// # Errors
    /// Returns why the program is not ready.
    ///
    /// # Panics
    /// Panics outside of a Tokio runtime with I/O and time enabled.
    ///
    /// # Cancel safety
    /// Cancel safe; a command under way is killed.
    pub async fn check(&self) -> Result<(), ProbeFailure> {
        let limit = self.state.probe.time_limit();
        match tokio::time::timeout(limit, self.ask()).await {
            Ok(answer) => answer,
            Err(_) => Err(ProbeFailure::TimedOut { waited_for: self.state.probe.to_string(), limit }),
        }
    }

    /// Checks again and again until a check succeeds, at first after short pauses. Has no time limit: the caller has the
    /// deadline.
    ///
    /// # Errors
    /// The failure of a check, if no later one can succeed (see [`ProbeFailure::is_retryable`]).
    ///
    /// # Panics
    /// Panics outside of a Tokio runtime with I/O and time enabled.
    ///
    /// # Cancel safety
    /// Cancel safe; a command under way is killed.
    pub async fn wait_until_ready(&self) -> Result<(), ProbeFailure> {
        let mut failures = 0_u32;
        while let Err(failure) = self.check().await {
            if !failure.is_retryable() {
                return Err(failure);
            }
            *self.state.latest.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(failure));
            failures = failures.saturating_add(1);
            self.pause(failures).await;
        }
        Ok(())
    }

    /// Looks up the program of a probe command, without running it.
    ///
    /// # Errors
    /// Returns why the command cannot be run, unless a later look-up may succeed.
    pub(crate) async fn look_up(&self) -> Result<(), SpawnError> {
        let ProbeKind::Command(command) = &self.state.probe.kind else { return Ok(()) };
        match Process::prepare(command, self.environment_of(command)).await {
            Err(error) if !error.is_retryable() => Err(error),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Returns the environment of a probe command.
    fn environment_of(&self, command: &CommandLine) -> Environment {
        match &self.state.environment {
            Some(environment) => environment.with(command),
            None => Environment::of_program(command),
        }
    }

    /// Returns the failure of the latest check of [`wait_until_ready`](ProbeRun::wait_until_ready): why the program is not
    /// ready. Returns `None` before the first.
    pub fn latest_failure(&self) -> Option<Arc<ProbeFailure>> {
        self.state.latest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the probe that is run.
    pub fn probe(&self) -> &Probe {
        &self.state.probe
    }

    /// Waits before the next check. `failures` is the number of failed checks so far.
    async fn pause(&self, failures: u32) {
        match &self.state.probe.kind {
            ProbeKind::Delay(time) => tokio::time::sleep(self.remaining(*time)).await,
            ProbeKind::Log(_) => {
                // The sender lives in `self`, so this wait ends only with a match.
                let _matched = self.state.matched.subscribe().wait_for(|&matched| matched).await.is_ok();
            }
            _ => tokio::time::sleep(self.state.probe.pause_after(failures)).await,
        }
    }

    fn remaining(&self, delay: Duration) -> Duration {
        delay.saturating_sub(self.state.started.elapsed())
    }

    async fn ask(&self) -> Result<(), ProbeFailure> {
        match &self.state.probe.kind {
            ProbeKind::Delay(time) => match self.remaining(*time) {
                Duration::ZERO => Ok(()),
                remaining => not_yet(format!("{remaining:.1?} of its delay remains")),
            },
            ProbeKind::Log(_) if *self.state.matched.borrow() => Ok(()),
            ProbeKind::Log(pattern) => not_yet(format!("no line matched /{pattern}/ yet")),
            ProbeKind::Tcp(target) => target.connect().await.map(linger::say_goodbye),
            ProbeKind::Unix(path) => {
                unix::connect(path, self.state.probe.time_limit()).await.map(linger::say_goodbye)
            }
            ProbeKind::File(path) => look(path, self.state.probe.time_limit()).await,
            ProbeKind::Command(command) => run(command, self.environment_of(command)).await,
            ProbeKind::Http(url) => url.check().await,
        }
    }
}

fn not_yet(found: String) -> Result<(), ProbeFailure> {
    Err(ProbeFailure::NotYet { found })
}

/// Looks up the path on a thread of its own, because the path may be on a dead mount.
async fn look(path: &Path, limit: Duration) -> Result<(), ProbeFailure> {
    let theirs = path.to_owned();
    let looked = off_thread(path.into(), limit, move || std::fs::symlink_metadata(theirs).map(drop)).await;
    let looked = looked.unwrap_or_else(|no_answer| match no_answer {
        NoAnswer::TimedOut => Err(io::ErrorKind::TimedOut.into()),
        NoAnswer::Failed(error) => Err(error),
    });
    match looked {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            not_yet(format!("{} does not exist", path.display()))
        }
        Err(error) => Err(ProbeFailure::refused(&error, format_args!("at {}", path.display()))),
    }
}

async fn run(command: &Arc<CommandLine>, environment: Environment) -> Result<(), ProbeFailure> {
    let refused = |source| ProbeFailure::Spawn { command: command.to_string(), source };
    let prepared = Process::prepare(command, environment).await.map_err(refused)?;
    let spawned = Process::spawn_prepared(Arc::clone(command), prepared, WhenGone::NOTHING, |_| {}).await;
    let mut process = spawned.map_err(refused)?;
    let status = process.exited().await;
    // The drop also kills processes that the command left running.
    drop(process);
    match command.succeeded(status) {
        true => Ok(()),
        false => not_yet(format!("`{command}` {status}")),
    }
}
