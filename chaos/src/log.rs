//! Reads both streams of `liveoak up`: the events of its log, from which it builds the history of each child, and the
//! output of the programs.
//!
//! It reports events that contradict earlier events. Whether they agree with the injected faults is decided in
//! `verify.rs`.

use crate::output::Output;
use crate::programs::names;
use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead as _, BufReader, Read};
use std::process::{ChildStderr, ChildStdout};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Events that do not change what a child is doing.
const IGNORED: [&str; 6] =
    ["health", "restart-set", "gave-up", "start-failed", "auto-shutdown", "auto-shutdown-failed"];

/// Events that change what a child is doing, and the events of the same child that each may follow. Any other event is
/// an error of the run: these programs cannot cause it, or the core has renamed it.
const MAY_FOLLOW: [(&str, &[&str]); 8] = [
    ("waiting", &["", "exited", "backing-off"]),
    ("starting", &["", "waiting", "exited", "backing-off"]),
    ("ready", &["starting"]),
    ("stopping", &["starting", "ready"]),
    ("killed", &["starting", "ready", "stopping"]),
    ("exited", &["starting", "ready", "stopping", "killed"]),
    ("backing-off", &["exited"]),
    ("stopped", &["waiting", "exited", "backing-off"]),
];

/// How many of the last lines are printed after a failure.
const SHOWN: usize = 40;

#[derive(Default)]
pub(crate) struct EventLog {
    /// The histories of the children, by path.
    pub(crate) histories: BTreeMap<String, ChildHistory>,
    last: u64,
    pub(crate) last_event: String,
    /// The error that `steady1` is stopping too early. It is confirmed only when `steady1` has stopped.
    early_stop: Option<String>,
    pub(crate) errors: Vec<String>,
    /// The last lines, printed after a failure.
    pub(crate) lines: VecDeque<String>,
}

#[derive(Default)]
pub(crate) struct ChildHistory {
    /// The last event that changed what the child is doing.
    pub(crate) doing: String,
    pub(crate) attempts: Vec<Attempt>,
    /// The stop stage of its last stop.
    pub(crate) stage: Option<String>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Attempt {
    pub(crate) ready: bool,
    pub(crate) killed: bool,
    /// `true` if it ended during the stop of the tree.
    pub(crate) stopped: bool,
    pub(crate) exit: Option<String>,
}

impl Attempt {
    pub(crate) fn exit_has(&self, words: &str) -> bool {
        self.exit.as_ref().is_some_and(|exit| exit.contains(words))
    }
}

impl ChildHistory {
    /// Returns how many attempts became ready.
    pub(crate) fn ran(&self) -> usize {
        self.attempts.iter().filter(|attempt| attempt.ready).count()
    }
}

#[derive(Clone, Default)]
pub(crate) struct RunLog {
    events: Arc<Mutex<EventLog>>,
    output: Arc<Mutex<Output>>,
    /// `true` while the output of the programs is not read.
    pub(crate) output_paused: Arc<AtomicBool>,
}

impl RunLog {
    pub(crate) fn events(&self) -> MutexGuard<'_, EventLog> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn output(&self) -> MutexGuard<'_, Output> {
        self.output.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns `true` if an error was found already, so that the run can end.
    pub(crate) fn has_errors(&self) -> bool {
        !self.events().errors.is_empty() || !self.output().errors.is_empty()
    }

    /// Starts two threads that read the streams to their ends.
    pub(crate) fn read(&self, stdout: ChildStdout, stderr: ChildStderr) -> Vec<JoinHandle<()>> {
        let (log, output) = (self.clone(), self.clone());
        let events = move || {
            BufReader::new(stderr).lines().map_while(Result::ok).for_each(|line| log.events().line(line));
        };
        vec![thread::spawn(events), thread::spawn(move || output.drain(stdout))]
    }

    fn drain(&self, stdout: impl Read) {
        let (mut stdout, mut line) = (BufReader::with_capacity(1 << 16, stdout), Vec::new());
        while let Ok(1..) = stdout.read_until(b'\n', &mut line) {
            self.output().line(String::from_utf8_lossy(&line).trim_end_matches('\n'));
            line.clear();
            while self.output_paused.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

impl EventLog {
    pub(crate) fn history(&self, name: &str) -> Option<&ChildHistory> {
        self.histories.get(&format!("/chaos/{name}"))
    }

    fn line(&mut self, line: String) {
        let value: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
        let text = |key: &str| value[key].as_str().unwrap_or_default();
        if let Some(number) = value["number"].as_u64() {
            if number != self.last + 1 {
                self.errors.push(format!("event {number} follows event {}", self.last));
            }
            self.last = number;
            self.last_event = format!("{} {}", text("path"), text("event"));
            self.event(text("path"), text("event"), text("message"));
        }
        if self.lines.len() == SHOWN {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    fn event(&mut self, path: &str, event: &str, message: &str) {
        if IGNORED.contains(&event) {
            return;
        }
        if let Some(what) = self.against_order(path, event) {
            if event == "starting" {
                self.errors.push(what);
            } else {
                self.early_stop = Some(what);
            }
        }
        match (path, event) {
            ("/chaos/steady1", "stopped") => self.errors.extend(self.early_stop.take()),
            ("/chaos/steady1", "starting") => self.early_stop = None,
            _ => {}
        }
        let history = self.histories.entry(path.to_owned()).or_default();
        let allowed =
            MAY_FOLLOW.iter().find(|(name, _)| *name == event).map_or(&[][..], |(_, before)| before);
        if !allowed.contains(&history.doing.as_str()) {
            self.errors.push(format!("{path}: event {event} must not follow {:?}", history.doing));
        }
        let before = std::mem::replace(&mut history.doing, event.to_owned());
        let what = message.strip_prefix(path).and_then(|rest| rest.strip_prefix(": ")).unwrap_or_default();
        if event == "starting" {
            history.attempts.push(Attempt::default());
            if what != format!("starting, attempt {}", history.attempts.len()) {
                self.errors.push(format!("attempt {} of {path} is logged as {what}", history.attempts.len()));
            }
        }
        if event == "stopped" {
            // The process id may follow: `stopped (asked) (pid 4711)`.
            let stage =
                what.strip_prefix("stopped (").and_then(|rest| Some(rest.split_once(')')?.0.to_owned()));
            history.stage = stage;
        }
        let Some(attempt) = history.attempts.last_mut() else { return };
        match event {
            "ready" => attempt.ready = true,
            "stopped" => attempt.stopped = before == "exited",
            "killed" => attempt.killed = true,
            "exited" => attempt.exit = what.rsplit_once(", after ").map(|(exit, _)| exit.to_owned()),
            _ => {}
        }
    }

    /// Returns an error if an event breaks the order: the followers must start after `steady1` is ready, and stop
    /// before it.
    ///
    /// `stopping` is also logged when `steady1` ended by itself and its process group is stopped. So that error waits for
    /// `stopped`.
    fn against_order(&self, path: &str, event: &str) -> Option<String> {
        let doing = |name: &str| self.history(name).map_or("", |history| history.doing.as_str());
        if path.starts_with("/chaos/follower") && event == "starting" && doing("steady1") != "ready" {
            return Some(format!("{path} starts while /chaos/steady1 is {:?}", doing("steady1")));
        }
        let followers = names(|kind| kind.name == "follower");
        let running = followers.iter().find(|name| doing(name) != "stopped")?;
        let early = path == "/chaos/steady1" && event == "stopping";
        early.then(|| format!("{path} is stopped while {running} is {:?}", doing(running)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_that_the_log_knows_is_an_event_of_the_core() {
        let core = include_str!("../../crates/liveoak-core/src/event.rs");
        let before = MAY_FOLLOW.iter().flat_map(|(_, before)| before.iter().filter(|name| !name.is_empty()));
        let known = IGNORED.iter().chain(MAY_FOLLOW.iter().map(|(event, _)| event)).chain(before);
        for name in known {
            assert!(core.contains(&format!("=> {name:?},")), "{name}");
        }
    }

    #[test]
    fn an_unknown_event_is_an_error() {
        let mut log = EventLog::default();
        log.event("/chaos/steady1", "starting", "/chaos/steady1: starting, attempt 1");
        assert_eq!(log.errors, [""; 0]);
        log.event("/chaos/steady1", "renamed", "");
        assert_eq!(log.errors.len(), 1);
    }
}
