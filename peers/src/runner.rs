//! Runs each scenario in a process of its own, so that a hanging or crashing scenario does not affect the others.

use crate::adapters;
use crate::logs;
use crate::peer::Peer;
use crate::runtime::PeerRuntime;
use crate::scenarios::{self, Scenario};
use std::io::{self, Read};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::runtime::Builder;

/// A process that runs longer is killed.
const LIMIT: Duration = Duration::from_secs(30);
/// The number of scenarios that run at the same time. Scenarios mostly wait.
const PARALLEL: usize = 2;

/// Runs one scenario in this process and returns its result, or `None` if there is no such peer or scenario.
pub(crate) fn one(peer: &str, scenario: &str) -> Option<io::Result<String>> {
    let peer = adapters::ALL.iter().find(|known| known.name() == peer)?;
    let scenario = scenarios::all().find(|known| known.id == scenario)?;
    logs::record();
    // Only reports of the supervisor count, not what the standard library prints.
    std::panic::set_hook(Box::new(|_| {}));
    let runtime = Builder::new_multi_thread().worker_threads(scenario.threads).enable_all().build();
    let here = Builder::new_current_thread().enable_all().build();
    let (runtime, here) = match (runtime, here) {
        (Ok(runtime), Ok(here)) => (runtime, here),
        (Err(error), _) | (_, Err(error)) => return Some(Err(error)),
    };
    let peer_runtime = PeerRuntime { peer: *peer, runtime: runtime.handle().clone() };
    let seen = here.block_on((scenario.run)(&peer_runtime));
    // Does not wait: in some scenarios a thread is blocked for a long time.
    runtime.shutdown_background();
    Some(Ok(seen.unwrap_or_else(|reason| reason.0)))
}

/// Runs one scenario in a new process and returns the text of its cell.
fn cell(peer: &dyn Peer, scenario: &Scenario) -> io::Result<String> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(["one", peer.name(), scenario.id])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut child = command.spawn()?;
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break Some(status);
        }
        if begun.elapsed() > LIMIT {
            child.kill()?;
            child.wait()?;
            break None;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let mut text = String::new();
    if let Some(mut output) = child.stdout.take() {
        output.read_to_string(&mut text)?;
    }
    Ok(match status {
        Some(status) if status.success() => text.trim().to_owned(),
        Some(status) => format!("ends the whole process ({status})"),
        None => "hangs; the process had to be killed".to_owned(),
    })
}

/// Returns all cells, scenario by scenario, in the order of [`adapters::ALL`]. Calls `progress` after each.
pub(crate) fn all(progress: impl Fn(&str) + Sync) -> io::Result<Vec<(&'static Scenario, Vec<String>)>> {
    let jobs: Vec<(&'static Scenario, usize)> = scenarios::all()
        .flat_map(|scenario| (0..adapters::ALL.len()).map(move |peer| (scenario, peer)))
        .collect();
    let next = AtomicUsize::new(0);
    let done = Mutex::new(vec![None; jobs.len()]);
    let work = || {
        loop {
            let at = next.fetch_add(1, Ordering::SeqCst);
            let Some((scenario, peer)) = jobs.get(at).copied() else { return Ok(()) };
            let seen = cell(adapters::ALL[peer], scenario)?;
            progress(&format!("{} / {}: {seen}", scenario.id, adapters::ALL[peer].name()));
            done.lock().unwrap_or_else(PoisonError::into_inner)[at] = Some(seen);
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..PARALLEL).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| {
            worker.join().unwrap_or_else(|_| Err(io::Error::other("a thread of the runner panicked")))
        })
    })?;
    let mut cells = done.into_inner().unwrap_or_else(PoisonError::into_inner).into_iter().flatten();
    Ok(scenarios::all()
        .map(|scenario| (scenario, cells.by_ref().take(adapters::ALL.len()).collect()))
        .collect())
}
