//! A probe at work for one attempt.

use super::error::ProbeFailure;
use super::{Kind, Probe};
use crate::command::CommandLine;
use crate::process::Process;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::time::Instant;

/// A [`Probe`] armed for one attempt. Clones share what was seen: give one to the output's sink, wait with another.
#[derive(Clone, Debug)]
pub struct Armed {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    probe: Probe,
    armed_at: Instant,
    /// Whether a line matched. Only log probes set it.
    matched: watch::Sender<bool>,
    latest: Mutex<Option<Arc<ProbeFailure>>>,
}

impl Armed {
    pub(super) fn new(probe: Probe) -> Armed {
        let (matched, _) = watch::channel(false);
        let shared = Shared { probe, armed_at: Instant::now(), matched, latest: Mutex::new(None) };
        Armed { shared: Arc::new(shared) }
    }

    /// Shows the probe a line of output. Never waits; costs nothing unless it is a log probe without a match so far.
    pub fn observe(&self, line: &str) {
        if let Kind::Log(pattern) = &self.shared.probe.kind
            && !*self.shared.matched.borrow()
            && pattern.is_match(line)
        {
            self.shared.matched.send_replace(true);
        }
    }

    /// Asks once, within the probe's time for a check.
    ///
    /// # Errors
    /// Why the program is not ready.
    ///
    /// # Panics
    /// Outside of a Tokio runtime with I/O and time enabled.
    ///
    /// # Cancel safety
    /// Cancel safe; a command under way is killed.
    pub async fn check(&self) -> Result<(), ProbeFailure> {
        let limit = self.shared.probe.timeout;
        match tokio::time::timeout(limit, self.ask()).await {
            Ok(answer) => answer,
            Err(_) => Err(ProbeFailure::TimedOut { waited_for: self.shared.probe.to_string(), limit }),
        }
    }

    /// Asks again and again until the answer is yes. Without end: the caller has the deadline.
    ///
    /// # Panics
    /// Outside of a Tokio runtime with I/O and time enabled.
    ///
    /// # Cancel safety
    /// Cancel safe; a command under way is killed.
    pub async fn wait_until_ready(&self) {
        while let Err(failure) = self.check().await {
            *self.shared.latest.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(failure));
            self.pause().await;
        }
    }

    /// What the last failed check of [`wait_until_ready`](Armed::wait_until_ready) said: why the program is not ready.
    /// `None` before the first.
    pub fn latest_failure(&self) -> Option<Arc<ProbeFailure>> {
        self.shared.latest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The probe this was armed from.
    pub fn probe(&self) -> &Probe {
        &self.shared.probe
    }

    /// Until the next check makes sense.
    async fn pause(&self) {
        match &self.shared.probe.kind {
            Kind::Delay(_) => tokio::time::sleep(self.delay_remaining()).await,
            Kind::Log(_) => {
                // The sender lives in `self`, so this can only end with a match.
                let _matched = self.shared.matched.subscribe().wait_for(|&matched| matched).await.is_ok();
            }
            _ => tokio::time::sleep(self.shared.probe.every).await,
        }
    }

    fn delay_remaining(&self) -> Duration {
        match self.shared.probe.kind {
            Kind::Delay(time) => time.saturating_sub(self.shared.armed_at.elapsed()),
            _ => Duration::ZERO,
        }
    }

    async fn ask(&self) -> Result<(), ProbeFailure> {
        match &self.shared.probe.kind {
            Kind::Delay(_) => match self.delay_remaining() {
                Duration::ZERO => Ok(()),
                remaining => Err(ProbeFailure::TooEarly { remaining }),
            },
            Kind::Log(_) if *self.shared.matched.borrow() => Ok(()),
            Kind::Log(pattern) => Err(ProbeFailure::NoMatch { pattern: pattern.to_string() }),
            Kind::Tcp(target) => target.connect().await.map(drop),
            Kind::Unix(path) => connect_unix(path).await,
            Kind::File(path) => look(path),
            Kind::Command(command) => run(command).await,
            Kind::Http(url) => url.check().await,
        }
    }
}

async fn connect_unix(path: &Path) -> Result<(), ProbeFailure> {
    let refused = |source| ProbeFailure::Connect { target: path.display().to_string(), source };
    UnixStream::connect(path).await.map(drop).map_err(refused)
}

fn look(path: &Path) -> Result<(), ProbeFailure> {
    match std::fs::symlink_metadata(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(ProbeFailure::Missing { path: path.to_owned() })
        }
        Err(source) => Err(ProbeFailure::Look { path: path.to_owned(), source }),
    }
}

async fn run(command: &CommandLine) -> Result<(), ProbeFailure> {
    let mut process = Process::spawn(command, |_| {})
        .await
        .map_err(|source| ProbeFailure::Spawn { command: command.to_string(), source })?;
    let status = process.exited().await;
    // What it left in the background does not outlive the check: the drop kills the group.
    drop(process);
    if command.succeeded(status) {
        Ok(())
    } else {
        Err(ProbeFailure::Command { command: command.to_string(), status })
    }
}
