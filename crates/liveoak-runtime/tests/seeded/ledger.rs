//! The ledger of a seeded run: a record of what the attempts themselves did, and a check of every event against it.
//!
//! Attempts record their begin, the stop that they see, their exit and their subtasks. The tree logs each event through
//! `tracing` before it acts on it, and [`Log`] is the subscriber. So an event is compared with the record before any
//! other code runs. A contradiction is collected as a fault, and [`Ledger::close`] fails the test. A fault does not
//! panic at once, because the tree catches panics of bodies and destructors.

use crate::bodies::{Obedience, Script};
use liveoak_runtime::{ChildId, Ctx, Event, StopEntry, StopStage, Time};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::time::Instant;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Metadata, Subscriber};

/// The paths that have no body.
pub(crate) const SUPERVISORS: [&str; 3] = ["/t", "/t/n", "/t/g"];

/// The record of the child at one path.
#[derive(Default)]
struct Entry {
    /// The script of its latest attempt.
    script: Script,
    /// The number of live attempts.
    live: u32,
    /// The number of live subtasks.
    subtasks: u32,
    /// The number of abandoned attempts that are not dropped yet.
    abandoned_live: u32,
    /// When the event `starting` came; `None` once the body has begun.
    starting: Option<Instant>,
    /// The latest attempt has begun.
    begun: bool,
    /// When the event `stopping` came.
    stopping: Option<Instant>,
    /// When the attempt saw that it was asked to stop.
    asked: Option<Instant>,
    /// Its body has recorded its exit.
    ended: bool,
    /// When a subtask panicked.
    subtask_panicked: Option<Instant>,
    /// When the event `killed` came.
    killed: Option<Instant>,
    /// `true` if it was stopped for its own failure, not on request: it had ended before, or its exit is a warning.
    own_fault: bool,
    /// The attempts that have ended since the tree began to stop, and the last one before if none lived then.
    ends: Vec<End>,
}

/// What is known of an attempt that has ended.
#[derive(Clone, Copy)]
struct End {
    obedience: Obedience,
    /// It ends in time when it is asked.
    obeys: bool,
}

impl End {
    /// Returns `true` if a stop of this attempt can have reached this stage.
    fn may_reach(self, stage: StopStage, kills_allowed: bool) -> bool {
        match stage {
            StopStage::Cancelled => true,
            StopStage::Asked => self.obedience == Obedience::Obeys,
            StopStage::Killed => self.obedience != Obedience::IgnoresKill && (!self.obeys || kills_allowed),
            StopStage::Abandoned => self.obedience == Obedience::IgnoresKill,
        }
    }
}

/// The content of a [`Ledger`].
#[derive(Default)]
struct Book {
    entries: BTreeMap<String, Entry>,
    /// The exit that each attempt recorded.
    said: HashMap<(ChildId, u64), &'static str>,
    /// Attempts that ended by themselves and whose subtask panicked later. Both exits are right.
    may_panic: BTreeSet<(ChildId, u64)>,
    /// The number of tasks outside of the tree that wait for an attempt's stop.
    outside_waiters: u32,
    faults: Vec<String>,
    /// When each event was logged.
    reported_at: HashMap<u64, Duration>,
    /// When the event `stopping` of the group came.
    group_stopping: Option<Instant>,
    /// The paths whose removal was reported.
    removed: BTreeSet<String>,
    /// The end of the tree was reported.
    has_ended: bool,
    /// All events with the state of their child, to be printed with a fault.
    events: Vec<(String, String)>,
    lines: Vec<String>,
    words: BTreeSet<&'static str>,
    began: Option<Instant>,
    /// From now on early kills are allowed: children may be killed before their stop deadline.
    kills_allowed: bool,
    /// The runtime is being dropped.
    runtime_gone: bool,
}

/// A handle of the ledger of one run. The module's documentation says what it is for.
#[derive(Clone, Default)]
pub(crate) struct Ledger(Arc<Mutex<Book>>);

thread_local! {
    /// The ledger of the run on this thread.
    static CURRENT: RefCell<Option<Ledger>> = const { RefCell::new(None) };
}

impl Ledger {
    /// Makes an empty ledger that receives all events of trees on this thread. The tree's time begins with its first event.
    pub(crate) fn begin() -> Self {
        static LOG: std::sync::Once = std::sync::Once::new();
        LOG.call_once(|| tracing::subscriber::set_global_default(Log).unwrap());
        let ledger = Self::default();
        CURRENT.set(Some(ledger.clone()));
        ledger
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap()
    }

    /// Records a fault. If a fault begins with a path, the events of that child are printed as well.
    pub(crate) fn fault(&self, what: String) {
        self.book().faults.push(what);
    }

    /// Records a line about what happened. Runs of the same seed must give the same lines.
    pub(crate) fn line(&self, line: String) {
        self.book().lines.push(line);
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.book().lines.clone()
    }

    /// Records that a situation occurred.
    pub(crate) fn word(&self, word: &'static str) {
        self.book().words.insert(word);
    }

    pub(crate) fn words(&self) -> BTreeSet<&'static str> {
        self.book().words.clone()
    }

    /// Allows kills before the stop deadline from now on.
    pub(crate) fn allow_kills(&self) {
        self.book().kills_allowed = true;
    }

    /// Notes that the runtime is about to be dropped.
    pub(crate) fn runtime_ends(&self) {
        self.book().runtime_gone = true;
    }

    /// Checks that the time in an event is the time at which it was logged.
    pub(crate) fn check_time(&self, event: &Event) {
        let mut book = self.book();
        let at = event.at.since(Time::ZERO);
        if book.reported_at.get(&event.number).is_some_and(|logged| *logged != at) {
            let what = format!("{}: {} at {at:?} was logged late", event.path, event.kind.name());
            book.faults.push(what);
        }
    }

    /// Returns `true` if the removal of the child at `path`, or the end of the tree, was reported.
    pub(crate) fn is_reported_removed(&self, path: &str) -> bool {
        let book = self.book();
        book.has_ended || book.runtime_gone || book.removed.contains(path)
    }

    /// Returns the paths of children that live or are about to begin.
    pub(crate) fn begun(&self) -> Vec<String> {
        let book = self.book();
        let begun = book.entries.iter().filter(|(_, entry)| entry.live > 0 || entry.starting.is_some());
        begun.map(|(path, _)| path.clone()).collect()
    }

    /// Returns the exit that an attempt recorded.
    pub(crate) fn said(&self, id: ChildId, attempt: u64) -> Option<&'static str> {
        self.book().said.get(&(id, attempt)).copied()
    }

    /// Returns `true` if the exit of an attempt may also be a panic of its subtask.
    pub(crate) fn may_panic(&self, id: ChildId, attempt: u64) -> bool {
        self.book().may_panic.contains(&(id, attempt))
    }

    /// Returns the paths of children that live.
    pub(crate) fn living(&self) -> Vec<String> {
        let book = self.book();
        let living = book.entries.iter().filter(|(_, entry)| entry.live > 0);
        living.map(|(path, _)| path.clone()).collect()
    }

    /// Returns `true` if the latest attempt at `path` was stopped by command, not for its own failure.
    pub(crate) fn was_stopped(&self, path: &str) -> bool {
        let stopped = |entry: &Entry| entry.stopping.is_some() || entry.killed.is_some();
        self.book().entries.get(path).is_some_and(|entry| stopped(entry) && !entry.own_fault)
    }

    /// Checks the stop stage in the tree's report against the scripts of the child's attempts. A child can be stopped more
    /// than once while the tree waits for others; the report has its most forceful stop.
    pub(crate) fn check_stop_stage(&self, reported: &StopEntry) {
        let mut book = self.book();
        let kills_allowed = book.kills_allowed;
        let Some(entry) = book.entries.get(reported.path.as_str()) else { return };
        let may_be = |end: &End| end.may_reach(reported.stage, kills_allowed);
        if !entry.ends.is_empty() && !entry.ends.iter().any(may_be) {
            let what =
                format!("{}: {:?} is reported as {:?}", reported.path, entry.script.obedience, reported);
            book.faults.push(what);
        }
    }

    /// Checks that every child whose start was reported earlier has begun.
    pub(crate) fn check_starts(&self) {
        let (now, mut book) = (Instant::now(), self.book());
        let book = &mut *book;
        for (path, entry) in &mut book.entries {
            if entry.starting.take_if(|starting| *starting < now).is_some() {
                book.faults.push(format!("{path}: starting, but it has not begun"));
            }
        }
    }

    /// Checks that there are no faults, and that no attempt, subtask or waiter is left.
    #[track_caller]
    pub(crate) fn close(&self) {
        let book = self.book();
        assert!(book.faults.is_empty(), "{:#?}\n{}", book.faults, book.events_at_fault());
        for (path, entry) in &book.entries {
            let left = (entry.live, entry.subtasks, entry.abandoned_live);
            assert_eq!(left, (0, 0, 0), "{path}: attempts, subtasks and abandoned attempts that are left");
        }
        assert_eq!(book.outside_waiters, 0, "a task outside of the tree still waits for a stop");
    }

    /// Records that an attempt begins, and checks that no other attempt of the child lives.
    pub(crate) fn attempt(&self, ctx: &Ctx, script: Script) -> Attempt {
        let path = ctx.path().to_string();
        let mut book = self.book();
        let Book { entries, faults, .. } = &mut *book;
        let entry = entries.entry(path.clone()).or_default();
        if (entry.live, entry.subtasks, entry.abandoned_live) != (0, 0, 0) {
            faults.push(format!(
                "{path}: begins while {} attempts, {} subtasks live",
                entry.live, entry.subtasks
            ));
        }
        if entry.stopping.is_some() && !ctx.is_stopping() {
            faults.push(format!("{path}: begins while it is stopping, but is not asked to stop"));
        }
        entry.live += 1;
        (entry.script, entry.begun, entry.starting) = (script, true, None);
        Attempt { ledger: self.clone(), path, id: ctx.id(), number: ctx.attempt().0, abandoned: false }
    }
}

/// The record of a live attempt. Its drop records the end of the attempt.
pub(crate) struct Attempt {
    ledger: Ledger,
    path: String,
    id: ChildId,
    number: u64,
    abandoned: bool,
}

impl Attempt {
    fn entry<T>(&self, change: impl FnOnce(&mut Entry) -> T) -> T {
        change(self.ledger.book().entries.entry(self.path.clone()).or_default())
    }

    /// Records that the attempt sees the stop.
    pub(crate) fn asked(&self) {
        self.entry(|entry| entry.asked = Some(Instant::now()));
    }

    /// Records the exit with which the attempt ends.
    pub(crate) fn ends(&self, said: &'static str) {
        self.entry(|entry| entry.ended = true);
        self.ledger.book().said.entry((self.id, self.number)).or_insert(said);
    }

    /// Records the exit, unless an exit was recorded before.
    pub(crate) fn ends_unless_ended(&self, said: &'static str) {
        if !self.entry(|entry| entry.ended) {
            self.ends(said);
        }
    }

    /// Takes a recorded exit back, because the attempt continues.
    pub(crate) fn continues(&self) {
        self.entry(|entry| entry.ended = false);
        self.ledger.book().said.remove(&(self.id, self.number));
    }

    /// Notes that the attempt is about to kill the tree.
    pub(crate) fn allow_kills(&self) {
        self.ledger.allow_kills();
    }

    /// Records a subtask, which may not outlive the attempt.
    pub(crate) fn subtask(&self) -> Subtask {
        self.entry(|entry| entry.subtasks += 1);
        Subtask { ledger: self.ledger.clone(), path: self.path.clone(), attempt: (self.id, self.number) }
    }

    /// Records a task outside of the tree that waits for the attempt's stop.
    pub(crate) fn outside_waiter(&self) -> OutsideWaiter {
        self.ledger.book().outside_waiters += 1;
        OutsideWaiter(self.ledger.clone())
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        let mut book = self.ledger.book();
        let runtime_gone = book.runtime_gone;
        let Book { entries, faults, .. } = &mut *book;
        let entry = entries.entry(self.path.clone()).or_default();
        if entry.abandoned_live > 0 {
            entry.abandoned_live -= 1;
            self.abandoned = true;
        } else {
            entry.live -= 1;
        }
        let left_to_it = entry.script.handles_kill && !entry.ended && entry.subtask_panicked.is_none();
        if left_to_it && !self.abandoned && !runtime_gone {
            faults.push(format!(
                "{}: a task with kill was dropped, although it had to end by itself",
                self.path
            ));
        }
    }
}

/// The record of a live subtask. Its drop records the end of the subtask.
pub(crate) struct Subtask {
    ledger: Ledger,
    path: String,
    attempt: (ChildId, u64),
}

impl Subtask {
    /// Records that the subtask is about to panic.
    pub(crate) fn will_panic(&self) {
        let mut book = self.ledger.book();
        book.entries.entry(self.path.clone()).or_default().subtask_panicked = Some(Instant::now());
        book.said.entry(self.attempt).or_insert("panicked");
    }
}

impl Subtask {
    /// Records that the subtask's destructor is about to panic. This is the exit of an attempt that is stopped or killed;
    /// an attempt that ended by itself has recorded its exit already.
    pub(crate) fn will_panic_when_dropped(&self) {
        let mut book = self.ledger.book();
        if book.entries.get(&self.path).is_some_and(|entry| !entry.ended || entry.asked.is_some()) {
            book.said.insert(self.attempt, "panicked");
        } else {
            book.may_panic.insert(self.attempt);
        }
    }
}

impl Drop for Subtask {
    fn drop(&mut self) {
        self.ledger.book().entries.entry(self.path.clone()).or_default().subtasks -= 1;
    }
}

/// A task outside of the tree, as recorded by [`Attempt::outside_waiter`].
pub(crate) struct OutsideWaiter(Ledger);

impl Drop for OutsideWaiter {
    fn drop(&mut self) {
        self.0.book().outside_waiters -= 1;
    }
}

impl Book {
    /// Returns the events of all children with a fault.
    fn events_at_fault(&self) -> String {
        let at_fault = |path: &str| self.faults.iter().any(|fault| fault.split(':').next() == Some(path));
        let lines = self.events.iter().filter(|(path, _)| at_fault(path));
        lines.map(|(path, line)| format!("{path} {line}\n")).collect()
    }

    /// Checks an event against the record. The tree has not acted on the event yet.
    fn on_event(&mut self, number: u64, path: &str, event: &str, warns: bool) {
        let now = Instant::now();
        let began = *self.began.get_or_insert(now);
        self.reported_at.insert(number, now - began);
        if SUPERVISORS.contains(&path) {
            return self.on_supervisor_event(path, event, now);
        }
        if event == "removed" {
            self.removed.insert(path.to_owned());
        }
        if event == "starting" {
            self.removed.remove(path);
            self.entries.entry(path.to_owned()).or_default();
        }
        let Some(entry) = self.entries.get_mut(path) else { return };
        let line = format!("{:?} {event} {}", now - began, entry.state());
        self.events.push((path.to_owned(), line));
        let asked_together = |stopping: Instant| path.starts_with("/t/g/") && stopping != now;
        if event == "stopping" && self.group_stopping.is_some_and(asked_together) {
            self.faults.push(format!("{path}: {event}, but later than its group"));
        }
        let kills_allowed = self.kills_allowed || self.runtime_gone;
        let wrong = match event {
            "starting" => entry.starting(now),
            "stopping" => {
                entry.stopping = Some(now);
                entry.own_fault |= entry.ended;
                None
            }
            "killed" => entry.killed(now, kills_allowed),
            "abandoned" => entry.abandoned(),
            "exited" => {
                entry.own_fault |= warns;
                entry.exited(now)
            }
            _ => None,
        };
        self.faults.extend(wrong.map(|wrong| format!("{path}: {event}, but {wrong}")));
    }
}

impl Book {
    fn on_supervisor_event(&mut self, path: &str, event: &str, now: Instant) {
        match (path, event) {
            ("/t/g", "stopping") => self.group_stopping = Some(now),
            ("/t/g", "starting") => self.group_stopping = None,
            ("/t", "exited") => self.has_ended = true,
            ("/t", "stopping") => self.entries.values_mut().for_each(Entry::forget_earlier_ends),
            _ => {}
        }
    }
}

impl Entry {
    /// Describes the record for people.
    fn state(&self) -> String {
        let script = if self.begun { format!("{:?}", self.script) } else { "not begun".to_owned() };
        format!("({} alive, {} subtasks, ended: {}) {script}", self.live, self.subtasks, self.ended)
    }

    fn starting(&mut self, now: Instant) -> Option<&'static str> {
        let left = self.live + self.subtasks > 0;
        *self = Self {
            starting: Some(now),
            abandoned_live: self.abandoned_live,
            live: self.live,
            subtasks: self.subtasks,
            ends: std::mem::take(&mut self.ends),
            ..Self::default()
        };
        left.then_some("an attempt or a subtask still lives")
    }

    /// Returns `true` if the attempt ends in time when it is asked.
    fn obeys(&self) -> bool {
        self.begun
            && self.script.obedience == Obedience::Obeys
            && !self.script.may_be_killed
            && self.subtask_panicked.is_none()
    }

    fn killed(&mut self, now: Instant, kills_allowed: bool) -> Option<&'static str> {
        self.killed = Some(now);
        (self.obeys() && !kills_allowed).then_some("it would have obeyed")
    }

    fn abandoned(&mut self) -> Option<&'static str> {
        self.abandoned_live += self.live;
        self.live = 0;
        let ends = self.script.obedience != Obedience::IgnoresKill;
        (self.begun && ends).then_some("it would have ended")
    }

    /// Forgets the attempts that ended before the tree began to stop, except a last one that no other has followed.
    fn forget_earlier_ends(&mut self) {
        let kept = usize::from(self.live == 0).min(self.ends.len());
        self.ends.drain(..self.ends.len() - kept);
    }

    fn exited(&mut self, now: Instant) -> Option<&'static str> {
        self.starting = None;
        if self.begun {
            self.ends.push(End { obedience: self.script.obedience, obeys: self.obeys() });
        }
        if self.live + self.subtasks > 0 {
            return Some("an attempt or a subtask still lives");
        }
        let lingers = self.killed.is_some_and(|killed| killed != now) && !self.script.handles_kill;
        if self.begun && lingers {
            return Some("it was killed earlier, and a kill must end it at once");
        }
        if self.subtask_panicked.is_some_and(|subtask_panicked| subtask_panicked != now) {
            return Some("its subtask panicked earlier, and must end it at once");
        }
        let obeys = self.begun
            && self.script.obedience == Obedience::Obeys
            && self.killed.is_none()
            && self.subtask_panicked.is_none();
        let unseen =
            self.stopping.is_some() && self.asked != self.stopping && (self.asked.is_some() || !self.ended);
        (obeys && unseen).then_some("it did not see the stop when it began")
    }
}

/// The `tracing` subscriber of this test program. It passes each event to the ledger of its thread.
struct Log;

/// The fields of one logged event.
#[derive(Default)]
struct Line {
    number: u64,
    path: String,
    event: String,
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "event" {
            value.clone_into(&mut self.event);
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "number" {
            self.number = value;
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "path" {
            self.path = format!("{value:?}");
        }
    }
}

impl Subscriber for Log {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let Some(ledger) = CURRENT.with_borrow(Clone::clone) else { return };
        if event.metadata().target() == "liveoak" {
            let mut line = Line::default();
            event.record(&mut line);
            let warns = *event.metadata().level() == tracing::Level::WARN;
            ledger.book().on_event(line.number, &line.path, &line.event, warns);
        }
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
