//! What is done to the programs and to `liveoak`, step by step of the plan.

use crate::log::Log;
use crate::place::{Place, send};
use crate::plan::{Harm, Step, Whom, step};
use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};
use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

/// A guardian that dies younger than this did not work, `liveoak` thinks, and after five of them it starts no more.
const GROWN_UP: Duration = Duration::from_secs(6);

/// So many may die young in a row.
const YOUNG_DEATHS: u32 = 2;

/// So long `liveoak` is left in peace by each fault of its own before the same comes again: it says so truthfully when it
/// could look at nothing for the two seconds after which it writes a killed program off.
const AIR: Duration = Duration::from_millis(300);

/// So many steps are shown of a run that failed.
const SHOWN: usize = 30;

/// A signal that ends processes, sent to one of an attempt.
#[derive(Clone, Debug)]
pub(crate) struct Blow {
    pub(crate) signal: &'static str,
    pub(crate) leader: bool,
}

/// What was done.
#[derive(Default)]
pub(crate) struct Done {
    /// How much of each.
    pub(crate) counts: BTreeMap<&'static str, u32>,
    /// By program and attempt, counted from 1 over those that ran.
    pub(crate) blows: BTreeMap<(String, usize), Vec<Blow>>,
    /// The last steps.
    pub(crate) steps: VecDeque<String>,
}

/// What must be undone when its time is over.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Undo {
    Resume(u32),
    Files,
    Processes,
    Listen,
}

/// Does harm to one run of `liveoak`.
pub(crate) struct Faults<'a> {
    place: &'a Place,
    liveoak: u32,
    log: &'a Log,
    /// The limits of files and processes that it had at first.
    limits: [Rlimit; 2],
    /// None is at the end.
    undo: Vec<(Option<Instant>, Undo)>,
    /// What was undone, and when.
    undone: Vec<(Undo, Instant)>,
    /// How many guardians died young in a row.
    young_deaths: u32,
    done: Done,
}

impl<'a> Faults<'a> {
    pub(crate) fn new(place: &'a Place, liveoak: u32, log: &'a Log) -> Self {
        let limits = ["Max open files", "Max processes"].map(|title| limit(liveoak, title));
        Self {
            place,
            liveoak,
            log,
            limits,
            undo: vec![],
            undone: vec![],
            young_deaths: 0,
            done: Done::default(),
        }
    }

    /// Does what the plan says for as long as `goes_on` holds, and undoes all of it that lasts.
    pub(crate) fn harm(mut self, seed: u64, part: u64, goes_on: impl Fn() -> bool) -> Done {
        for number in 0.. {
            if !goes_on() {
                break;
            }
            let Step { harm, rest } = step(seed, part, number);
            let what = self.strike(&harm);
            *self.done.counts.entry(what).or_default() += 1;
            if self.done.steps.len() == SHOWN {
                self.done.steps.pop_front();
            }
            self.done.steps.push_back(format!("step {number}: {}: {what}", Step { harm, rest }));
            self.undo_what_is_over(false);
            thread::sleep(rest);
        }
        self.undo_what_is_over(true);
        self.done
    }

    fn strike(&mut self, harm: &Harm) -> &'static str {
        let own = match harm {
            Harm::StarveFiles(_) => Some(Undo::Files),
            Harm::StarveProcesses(_) => Some(Undo::Processes),
            Harm::SuspendLiveoak(_) => Some(Undo::Resume(self.liveoak)),
            _ => None,
        };
        if own.is_some_and(|own| !self.has_air(&own)) {
            return "let liveoak have some air";
        }
        let open = || lowest_free_descriptor(self.liveoak);
        match harm {
            Harm::Kill(name, whom) => {
                self.signal(name, *whom, Signal::KILL, "SIGKILL").map_or("was not there", |_| "killed")
            }
            Harm::Terminate(name, whom) => self
                .signal(name, *whom, Signal::TERM, "SIGTERM")
                .map_or("was not there", |_| "told to terminate"),
            Harm::Suspend(name, whom, time) => match self.signal(name, *whom, Signal::STOP, "") {
                Some(pid) => self.until(*time, Undo::Resume(pid), "suspended"),
                None => "was not there",
            },
            Harm::SuspendLiveoak(time) => {
                send(self.liveoak, Signal::STOP);
                self.until(Some(*time), Undo::Resume(self.liveoak), "suspended liveoak itself")
            }
            Harm::StarveFiles(time) => {
                self.allow(Resource::Nofile, Rlimit { current: Some(open()), ..self.limits[0] });
                self.until(Some(*time), Undo::Files, "left liveoak no file descriptors")
            }
            Harm::StarveProcesses(time) => {
                self.allow(Resource::Nproc, Rlimit { current: Some(1), ..self.limits[1] });
                self.until(Some(*time), Undo::Processes, "left liveoak no processes")
            }
            Harm::Deafen(time) => {
                self.log.deaf.store(true, Ordering::Relaxed);
                self.until(Some(*time), Undo::Listen, "left the output unread")
            }
            Harm::KillGuardian => self.kill_guardian(),
        }
    }

    fn has_air(&self, own: &Undo) -> bool {
        let lately = |(undone, at): &(Undo, Instant)| undone == own && at.elapsed() < AIR;
        !self.undo.iter().any(|(_, undo)| undo == own) && !self.undone.iter().any(lately)
    }

    /// Sends a signal to a process of the program's group, and writes it down if it is one that ends.
    fn signal(&mut self, name: &str, whom: Whom, signal: Signal, ending: &'static str) -> Option<u32> {
        let (attempt, leader) = self.place.leader(name)?;
        let target = match whom {
            Whom::Leader => leader.pid,
            Whom::Member(number) => {
                let mut group = self.place.processes();
                group.retain(|process| process.group == leader.pid);
                group.get(usize::try_from(number).ok()? % group.len().max(1))?.pid
            }
        };
        if !ending.is_empty() {
            let blow = Blow { signal: ending, leader: target == leader.pid };
            self.done.blows.entry((name.to_owned(), attempt)).or_default().push(blow);
        }
        send(target, signal);
        Some(target)
    }

    /// `liveoak` starts another. If it could not, the next program that it starts brings one.
    fn kill_guardian(&mut self) -> &'static str {
        let Some(guardian) = self.place.guardians().into_iter().next() else {
            return "found no guardian";
        };
        let young_deaths = if guardian.age() < GROWN_UP { self.young_deaths + 1 } else { 0 };
        if young_deaths > YOUNG_DEATHS {
            return "spared the guardian, which was too young";
        }
        self.young_deaths = young_deaths;
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
            self.undone.retain(|(_, at)| at.elapsed() < AIR);
            self.undone.push((undo.clone(), Instant::now()));
            match undo {
                Undo::Resume(pid) if pid == self.liveoak || self.place.process(pid).is_some() => {
                    send(pid, Signal::CONT);
                }
                Undo::Resume(_) => {}
                Undo::Files => self.allow(Resource::Nofile, self.limits[0]),
                Undo::Processes => self.allow(Resource::Nproc, self.limits[1]),
                Undo::Listen => self.log.deaf.store(false, Ordering::Relaxed),
            }
        }
    }

    /// The hard limit stays as it is: not everybody could raise it again.
    fn allow(&self, resource: Resource, limit: Rlimit) {
        let pid = i32::try_from(self.liveoak).ok().and_then(Pid::from_raw);
        // Without a number it would be about ourselves.
        if pid.is_none() || prlimit(pid, resource, limit).is_ok() {
            return;
        }
        // Not every root may do this to others, but they may do it to themselves. On one that is dead it has no effect.
        let option = if resource == Resource::Nofile { "nofile" } else { "nproc" };
        let word = |limit: Option<u64>| limit.map_or("unlimited".to_owned(), |limit| limit.to_string());
        let option = format!("--{option}={}:{}", word(limit.current), word(limit.maximum));
        self.place.as_liveoak(&["prlimit", "--pid", &self.liveoak.to_string(), &option]);
    }
}

fn limit(pid: u32, title: &str) -> Rlimit {
    let text = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(title)).unwrap_or_default();
    let mut words = line.split_whitespace().map(|word| word.parse().ok());
    Rlimit { current: words.next().flatten(), maximum: words.next().flatten() }
}

/// With this as its limit a program can open nothing.
fn lowest_free_descriptor(pid: u32) -> u64 {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten();
    let open: Vec<u64> = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    (0..).find(|number| !open.contains(number)).unwrap_or_default()
}
