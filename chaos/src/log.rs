//! What `liveoak up` says: its log, folded into the life of each child, and the output of the programs.

use crate::output::Output;
use crate::programs::names;
use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead as _, BufReader, Read};
use std::process::{ChildStderr, ChildStdout};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Events that leave a child doing what it did.
const ASIDE: [&str; 5] = ["health", "group-restart", "gave-up", "start-failed", "auto-shutdown"];

/// So many lines are shown of a run that failed.
const SHOWN: usize = 40;

/// What was said so far.
#[derive(Default)]
pub(crate) struct Told {
    /// By path.
    pub(crate) lives: BTreeMap<String, Life>,
    /// The number of the last event, and what it was.
    last: u64,
    pub(crate) last_event: String,
    /// That `steady1` was told to be stopping too early, if that was for good.
    early_stop: Option<String>,
    /// What cannot be true.
    pub(crate) wrong: Vec<String>,
    /// The last lines, for the reader of a failure.
    pub(crate) lines: VecDeque<String>,
}

/// What was told of one child.
#[derive(Default)]
pub(crate) struct Life {
    /// The last event that says what it is doing.
    pub(crate) doing: String,
    pub(crate) attempts: Vec<Attempt>,
    /// How far its stop had to go.
    pub(crate) stage: Option<String>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Attempt {
    pub(crate) ready: bool,
    pub(crate) killed: bool,
    /// It ended in the stop of the tree.
    pub(crate) stopped: bool,
    pub(crate) exit: Option<String>,
}

impl Attempt {
    pub(crate) fn exit_has(&self, words: &str) -> bool {
        self.exit.as_ref().is_some_and(|exit| exit.contains(words))
    }
}

impl Life {
    /// How many attempts came to run.
    pub(crate) fn ran(&self) -> usize {
        self.attempts.iter().filter(|attempt| attempt.ready).count()
    }
}

/// Reads both streams of one run.
#[derive(Clone, Default)]
pub(crate) struct Log {
    told: Arc<Mutex<Told>>,
    output: Arc<Mutex<Output>>,
    /// Whether the output of the programs is not read for now.
    pub(crate) deaf: Arc<AtomicBool>,
}

impl Log {
    pub(crate) fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn output(&self) -> MutexGuard<'_, Output> {
        self.output.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether something is known to be wrong already: there is no need to go on.
    pub(crate) fn is_wrong(&self) -> bool {
        !self.told().wrong.is_empty() || !self.output().wrong.is_empty()
    }

    /// Both threads end with their streams.
    pub(crate) fn read(&self, stdout: ChildStdout, stderr: ChildStderr) -> Vec<JoinHandle<()>> {
        let (log, output) = (self.clone(), self.clone());
        let events = move || {
            BufReader::new(stderr).lines().map_while(Result::ok).for_each(|line| log.told().line(line));
        };
        vec![thread::spawn(events), thread::spawn(move || output.drain(stdout))]
    }

    fn drain(&self, stdout: impl Read) {
        let (mut stdout, mut line) = (BufReader::with_capacity(1 << 16, stdout), Vec::new());
        while let Ok(1..) = stdout.read_until(b'\n', &mut line) {
            self.output().line(String::from_utf8_lossy(&line).trim_end_matches('\n'));
            line.clear();
            while self.deaf.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

impl Told {
    /// What a program is doing.
    pub(crate) fn life(&self, name: &str) -> Option<&Life> {
        self.lives.get(&format!("/chaos/{name}"))
    }

    fn line(&mut self, line: String) {
        let value: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
        let text = |key: &str| value[key].as_str().unwrap_or_default();
        if let Some(number) = value["number"].as_u64() {
            if number != self.last + 1 {
                self.wrong.push(format!("event {number} follows event {}", self.last));
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
        if ASIDE.contains(&event) {
            return;
        }
        if let Some(what) = self.against_order(path, event) {
            if event == "starting" {
                self.wrong.push(what);
            } else {
                self.early_stop = Some(what);
            }
        }
        match (path, event) {
            ("/chaos/steady1", "stopped") => self.wrong.extend(self.early_stop.take()),
            ("/chaos/steady1", "starting") => self.early_stop = None,
            _ => {}
        }
        let life = self.lives.entry(path.to_owned()).or_default();
        if !may_follow(&life.doing, event) {
            self.wrong.push(format!("{path} was told to be {event} after {:?}", life.doing));
        }
        let before = std::mem::replace(&mut life.doing, event.to_owned());
        let what = message.strip_prefix(path).and_then(|rest| rest.strip_prefix(": ")).unwrap_or_default();
        if event == "starting" {
            life.attempts.push(Attempt::default());
            if what != format!("starting, attempt {}", life.attempts.len()) {
                self.wrong.push(format!("attempt {} of {path} is told as {what}", life.attempts.len()));
            }
        }
        if event == "stopped" {
            life.stage = Some(what.trim_start_matches("stopped (").trim_end_matches(')').to_owned());
        }
        let Some(attempt) = life.attempts.last_mut() else { return };
        match event {
            "ready" => attempt.ready = true,
            "stopped" => attempt.stopped = before == "exited",
            "killed" => attempt.killed = true,
            "exited" => attempt.exit = what.rsplit_once(", after ").map(|(exit, _)| exit.to_owned()),
            _ => {}
        }
    }

    /// The followers start when `steady1` is ready, and it is stopped when they are gone. (What is left of it after its own
    /// end is stopped as well: that it was asked to stop for good is seen when it has.)
    fn against_order(&self, path: &str, event: &str) -> Option<String> {
        let doing = |name: &str| self.life(name).map_or("", |life| life.doing.as_str());
        if path.starts_with("/chaos/follower") && event == "starting" && doing("steady1") != "ready" {
            return Some(format!("{path} starts while /chaos/steady1 is {:?}", doing("steady1")));
        }
        let followers = names(|sort| sort.name == "follower");
        let lives = followers.iter().find(|name| doing(name) != "stopped")?;
        let early = path == "/chaos/steady1" && event == "stopping";
        early.then(|| format!("{path} is stopped while {lives} is {:?}", doing(lives)))
    }
}

/// Whether a child that was told to be `before` can then be told to be `event`.
fn may_follow(before: &str, event: &str) -> bool {
    match event {
        "waiting" => matches!(before, "" | "exited" | "backing-off"),
        "starting" => matches!(before, "" | "waiting" | "exited" | "backing-off"),
        "ready" => before == "starting",
        "stopping" => matches!(before, "starting" | "ready"),
        "killed" => matches!(before, "starting" | "ready" | "stopping"),
        "exited" => matches!(before, "starting" | "ready" | "stopping" | "killed"),
        "backing-off" => before == "exited",
        "stopped" => matches!(before, "waiting" | "exited" | "backing-off"),
        // Nothing else happens to these programs.
        _ => false,
    }
}
