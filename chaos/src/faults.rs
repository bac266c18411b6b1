//! Injects the faults of the plan into the programs and into `liveoak`, and records what was injected.
//!
//! What the faults must lead to is not decided here but in `verify.rs`.

use crate::log::RunLog;
use crate::plan::{Fault, Step, Target, step};
use crate::sandbox::{Sandbox, send};
use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};
use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

/// `liveoak` starts no more guardians after five in a row that lived less than 5 s. A guardian older than this does not
/// count as one of them.
const GUARDIAN_MIN_AGE: Duration = Duration::from_secs(6);

/// At most so many young guardians in a row are killed.
const MAX_EARLY_DEATHS: u32 = 2;

/// The pause between two faults of the same kind in `liveoak`. Without it `liveoak` might be unable to look at a killed
/// program for two seconds, and would then rightly report it as abandoned.
const RECOVERY_TIME: Duration = Duration::from_millis(300);

/// How many of the last steps are printed after a failure.
const SHOWN: usize = 30;

/// A signal that ends a process, sent to a process of an attempt.
#[derive(Clone, Debug)]
pub(crate) struct SentSignal {
    pub(crate) signal: &'static str,
    pub(crate) leader: bool,
}

#[derive(Default)]
pub(crate) struct InjectedFaults {
    pub(crate) counts: BTreeMap<&'static str, u32>,
    /// The signals, by program and attempt. Attempts that ran are counted from 1.
    pub(crate) signals: BTreeMap<(String, usize), Vec<SentSignal>>,
    pub(crate) steps: VecDeque<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Undo {
    Resume(u32),
    Files,
    Processes,
    ResumeOutput,
}

pub(crate) struct Faults<'a> {
    sandbox: &'a Sandbox,
    liveoak: u32,
    log: &'a RunLog,
    /// The limits of open files and processes at the start of the run.
    limits: [Rlimit; 2],
    /// The time of each undo; `None` means at the end of the run.
    undo: Vec<(Option<Instant>, Undo)>,
    undone: Vec<(Undo, Instant)>,
    /// How many guardians in a row were killed before [`GUARDIAN_MIN_AGE`].
    early_deaths: u32,
    injected: InjectedFaults,
}

impl<'a> Faults<'a> {
    pub(crate) fn new(sandbox: &'a Sandbox, liveoak: u32, log: &'a RunLog) -> Self {
        let limits = ["Max open files", "Max processes"].map(|title| limit(liveoak, title));
        Self {
            sandbox,
            liveoak,
            log,
            limits,
            undo: vec![],
            undone: vec![],
            early_deaths: 0,
            injected: InjectedFaults::default(),
        }
    }

    /// Injects the plan's faults while `keep_going` returns `true`, then undoes all faults that still last.
    pub(crate) fn inject(mut self, seed: u64, part: u64, keep_going: impl Fn() -> bool) -> InjectedFaults {
        for number in 0.. {
            if !keep_going() {
                break;
            }
            let Step { fault, pause } = step(seed, part, number);
            let what = self.inject_one(&fault).unwrap_or("was not there");
            *self.injected.counts.entry(what).or_default() += 1;
            if self.injected.steps.len() == SHOWN {
                self.injected.steps.pop_front();
            }
            self.injected.steps.push_back(format!("step {number}: {}: {what}", Step { fault, pause }));
            self.undo_what_is_over(false);
            thread::sleep(pause);
        }
        self.undo_what_is_over(true);
        self.injected
    }

    /// Injects a fault and says what happened. Returns `None` if its process was not there.
    fn inject_one(&mut self, fault: &Fault) -> Option<&'static str> {
        let own = match fault {
            Fault::StarveFiles(_) => Some(Undo::Files),
            Fault::StarveProcesses(_) => Some(Undo::Processes),
            Fault::SuspendLiveoak(_) => Some(Undo::Resume(self.liveoak)),
            _ => None,
        };
        if own.is_some_and(|own| !self.may_inject(&own)) {
            return Some("skipped, because liveoak is recovering");
        }
        Some(match fault {
            Fault::Kill(name, target) => {
                self.signal(name, *target, Signal::KILL, "SIGKILL")?;
                "killed"
            }
            Fault::Terminate(name, target) => {
                self.signal(name, *target, Signal::TERM, "SIGTERM")?;
                "sent SIGTERM"
            }
            Fault::Suspend(name, target, time) => {
                let pid = self.signal(name, *target, Signal::STOP, "")?;
                self.until(*time, Undo::Resume(pid), "suspended")
            }
            Fault::SuspendLiveoak(time) => {
                send(self.liveoak, Signal::STOP);
                self.until(Some(*time), Undo::Resume(self.liveoak), "suspended liveoak itself")
            }
            Fault::StarveFiles(time) => {
                let open = lowest_free_descriptor(self.liveoak);
                self.set_limit(Resource::Nofile, Rlimit { current: Some(open), ..self.limits[0] });
                self.until(Some(*time), Undo::Files, "left liveoak no file descriptors")
            }
            Fault::StarveProcesses(time) => {
                self.set_limit(Resource::Nproc, Rlimit { current: Some(1), ..self.limits[1] });
                self.until(Some(*time), Undo::Processes, "left liveoak no processes")
            }
            Fault::PauseOutput(time) => {
                self.log.output_paused.store(true, Ordering::Relaxed);
                self.until(Some(*time), Undo::ResumeOutput, "left the output unread")
            }
            Fault::KillGuardian => self.kill_guardian(),
        })
    }

    fn may_inject(&self, own: &Undo) -> bool {
        let lately = |(undone, at): &(Undo, Instant)| undone == own && at.elapsed() < RECOVERY_TIME;
        !self.undo.iter().any(|(_, undo)| undo == own) && !self.undone.iter().any(lately)
    }

    /// Sends a signal to a process of the program's process group. Records the signal if `ending` is not empty.
    fn signal(&mut self, name: &str, target: Target, signal: Signal, ending: &'static str) -> Option<u32> {
        let (attempt, leader) = self.sandbox.leader(name)?;
        let target = match target {
            Target::Leader => leader.pid,
            Target::Member(number) => {
                let mut group = self.sandbox.processes();
                group.retain(|process| process.group == leader.pid);
                group.get(usize::try_from(number).ok()? % group.len().max(1))?.pid
            }
        };
        if !ending.is_empty() {
            let signal = SentSignal { signal: ending, leader: target == leader.pid };
            self.injected.signals.entry((name.to_owned(), attempt)).or_default().push(signal);
        }
        send(target, signal);
        Some(target)
    }

    /// Kills the guardian. `liveoak` then starts another, at the latest with its next program.
    fn kill_guardian(&mut self) -> &'static str {
        let Some(guardian) = self.sandbox.guardians().into_iter().next() else {
            return "found no guardian";
        };
        let early_deaths = if guardian.age() < GUARDIAN_MIN_AGE { self.early_deaths + 1 } else { 0 };
        if early_deaths > MAX_EARLY_DEATHS {
            return "skipped, because the guardian is too young";
        }
        self.early_deaths = early_deaths;
        send(guardian.pid, Signal::KILL);
        "killed the guardian"
    }

    fn until(&mut self, time: Option<Duration>, undo: Undo, what: &'static str) -> &'static str {
        self.undo.push((time.map(|time| Instant::now() + time), undo));
        what
    }

    fn undo_what_is_over(&mut self, all: bool) {
        let over = |until: &Option<Instant>| all || until.is_some_and(|until| Instant::now() >= until);
        let (over, rest): (Vec<_>, Vec<_>) = self.undo.drain(..).partition(|(until, _)| over(until));
        self.undo = rest;
        for (_, undo) in over {
            if self.undo.iter().any(|(_, later)| *later == undo) {
                continue;
            }
            self.undone.retain(|(_, at)| at.elapsed() < RECOVERY_TIME);
            self.undone.push((undo.clone(), Instant::now()));
            match undo {
                Undo::Resume(pid) if pid == self.liveoak || self.sandbox.process(pid).is_some() => {
                    send(pid, Signal::CONT);
                }
                Undo::Resume(_) => {}
                Undo::Files => self.set_limit(Resource::Nofile, self.limits[0]),
                Undo::Processes => self.set_limit(Resource::Nproc, self.limits[1]),
                Undo::ResumeOutput => self.log.output_paused.store(false, Ordering::Relaxed),
            }
        }
    }

    /// Sets a soft limit of `liveoak`. The hard limit stays, because an ordinary user could not raise it again.
    fn set_limit(&self, resource: Resource, limit: Rlimit) {
        let pid = i32::try_from(self.liveoak).ok().and_then(Pid::from_raw);
        // Without a process id the call would change the limits of this program.
        if pid.is_none() || prlimit(pid, resource, limit).is_ok() {
            return;
        }
        // Root without all capabilities may not change the limits of another user's process. The user of that process
        // may, so `prlimit` runs as that user. If the process is dead, this has no effect.
        let option = if resource == Resource::Nofile { "nofile" } else { "nproc" };
        let word = |limit: Option<u64>| limit.map_or("unlimited".to_owned(), |limit| limit.to_string());
        let option = format!("--{option}={}:{}", word(limit.current), word(limit.maximum));
        self.sandbox.as_liveoak(&["prlimit", "--pid", &self.liveoak.to_string(), &option]);
    }
}

fn limit(pid: u32, title: &str) -> Rlimit {
    let text = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(title)).unwrap_or_default();
    let mut words = line.split_whitespace().map(|word| word.parse().ok());
    Rlimit { current: words.next().flatten(), maximum: words.next().flatten() }
}

/// Returns the number of the lowest free descriptor. With this as its limit a program cannot open anything.
fn lowest_free_descriptor(pid: u32) -> u64 {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten();
    let open: Vec<u64> = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    (0..).find(|number| !open.contains(number)).unwrap_or_default()
}
