//! What is known of each child from its own side, held against what the tree tells of it in the moment it tells it.
//!
//! The tree writes each event to the program's log before it does what the event is about; the log is this ledger, so it
//! looks before anything else can run. Faults are written down and not panicked: whatever panics in a body or in its
//! destructor is caught by the tree.

use crate::actors::{Mood, Script};
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

/// Those that have no body.
pub(crate) const SUPERVISORS: [&str; 3] = ["/t", "/t/n", "/t/g"];

/// What is known of the child at one path.
#[derive(Default)]
struct Entry {
    /// What its latest attempt is about.
    script: Script,
    /// Attempts that live, subtasks of them, and attempts that were written off and are not dropped yet.
    live: u32,
    parts: u32,
    ghosts: u32,
    /// When it was told to be starting, until its body begins.
    starting: Option<Instant>,
    /// Whether the latest attempt has begun.
    begun: bool,
    /// When it was told to be stopping, and when it saw that it was asked.
    stopping: Option<Instant>,
    asked: Option<Instant>,
    /// Whether its body came to its end by itself.
    over: bool,
    /// When a subtask panicked.
    broken: Option<Instant>,
    /// When it was told to be ended by force.
    killed: Option<Instant>,
    /// Whether that was for what it did, and not because others wanted it: it was over before, or its exit is a warning.
    for_itself: bool,
}

#[derive(Default)]
struct Book {
    entries: BTreeMap<String, Entry>,
    /// How attempts said they end.
    said: HashMap<(ChildId, u64), &'static str>,
    /// Those that ended by themselves, and whose subtasks panicked after that: which of both counts is a matter of time.
    may_panic: BTreeSet<(ChildId, u64)>,
    /// How many tasks beside the tree wait for an attempt's stop.
    witnesses: u32,
    faults: Vec<String>,
    /// When each event was told.
    told: HashMap<u64, Duration>,
    /// When the group was told to be stopping.
    group_stopping: Option<Instant>,
    /// Those that were told to be removed, and whether the tree was told to have ended.
    removed: BTreeSet<String>,
    has_ended: bool,
    /// All that was told, for whoever reads about a fault.
    story: Vec<(String, String)>,
    lines: Vec<String>,
    words: BTreeSet<&'static str>,
    began: Option<Instant>,
    /// Whether children may be killed without having had the time that they were promised.
    in_a_hurry: bool,
    /// Whether the runtime is gone.
    collapsed: bool,
}

/// See the module.
#[derive(Clone, Default)]
pub(crate) struct Ledger(Arc<Mutex<Book>>);

thread_local! {
    /// The ledger of the run on this thread.
    static CURRENT: RefCell<Option<Ledger>> = const { RefCell::new(None) };
}

impl Ledger {
    /// An empty one, which is told all that trees on this thread do. The tree's time begins with its first event.
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

    pub(crate) fn fault(&self, what: String) {
        self.book().faults.push(what);
    }

    /// A line of what happened, the same whenever the seed is.
    pub(crate) fn line(&self, line: String) {
        self.book().lines.push(line);
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.book().lines.clone()
    }

    /// A word for something that the runs should come to.
    pub(crate) fn word(&self, word: &'static str) {
        self.book().words.insert(word);
    }

    pub(crate) fn words(&self) -> BTreeSet<&'static str> {
        self.book().words.clone()
    }

    /// From now on children may be killed at once.
    pub(crate) fn hurry(&self) {
        self.book().in_a_hurry = true;
    }

    /// The runtime is about to be dropped.
    pub(crate) fn collapse(&self) {
        self.book().collapsed = true;
    }

    /// An event is told in the moment it is about.
    pub(crate) fn check_time(&self, event: &Event) {
        let mut book = self.book();
        let at = event.at.since(Time::ZERO);
        if book.told.get(&event.number).is_some_and(|told| *told != at) {
            let what = format!("{}: {} at {at:?} was told late", event.path, event.kind.name());
            book.faults.push(what);
        }
    }

    /// Whether the removal of the child at `path`, or the end of everything, was told.
    pub(crate) fn is_told_gone(&self, path: &str) -> bool {
        let book = self.book();
        book.has_ended || book.collapsed || book.removed.contains(path)
    }

    /// The paths of those that live or are about to.
    pub(crate) fn begun(&self) -> Vec<String> {
        let book = self.book();
        let begun = book.entries.iter().filter(|(_, entry)| entry.live > 0 || entry.starting.is_some());
        begun.map(|(path, _)| path.clone()).collect()
    }

    /// How an attempt said that it ends.
    pub(crate) fn said(&self, id: ChildId, attempt: u64) -> Option<&'static str> {
        self.book().said.get(&(id, attempt)).copied()
    }

    /// Whether it may as well be told to have panicked.
    pub(crate) fn may_panic(&self, id: ChildId, attempt: u64) -> bool {
        self.book().may_panic.contains(&(id, attempt))
    }

    /// The paths of those that live.
    pub(crate) fn living(&self) -> Vec<String> {
        let book = self.book();
        let living = book.entries.iter().filter(|(_, entry)| entry.live > 0);
        living.map(|(path, _)| path.clone()).collect()
    }

    /// Whether the latest attempt at `path` was told to be stopping, because others wanted that.
    pub(crate) fn was_stopped(&self, path: &str) -> bool {
        let stopped = |entry: &Entry| entry.stopping.is_some() || entry.killed.is_some();
        self.book().entries.get(path).is_some_and(|entry| stopped(entry) && !entry.for_itself)
    }

    /// How far the stop of a child went, by the tree's report.
    pub(crate) fn check_rung(&self, reported: &StopEntry) {
        let mut book = self.book();
        let in_a_hurry = book.in_a_hurry;
        let Some(entry) = book.entries.get(reported.path.as_str()).filter(|entry| entry.begun) else {
            return;
        };
        let script = &entry.script;
        let wrong = match reported.stage {
            StopStage::Cancelled => false,
            StopStage::Asked => script.mood != Mood::Loyal,
            StopStage::Killed => script.mood == Mood::DeafToKill || (entry.obeys() && !in_a_hurry),
            StopStage::Abandoned => script.mood != Mood::DeafToKill,
        };
        if wrong {
            let what = format!("{}: {:?} is reported as {:?}", reported.path, script.mood, reported);
            book.faults.push(what);
        }
    }

    /// Whoever was told to be starting a while ago has begun.
    pub(crate) fn nobody_is_late(&self) {
        let (now, mut book) = (Instant::now(), self.book());
        let book = &mut *book;
        for (path, entry) in &mut book.entries {
            if entry.starting.take_if(|starting| *starting < now).is_some() {
                book.faults.push(format!("{path}: starting, and was not begun"));
            }
        }
    }

    /// Nothing is left over, and nothing was wrong.
    #[track_caller]
    pub(crate) fn close(&self) {
        let book = self.book();
        assert!(book.faults.is_empty(), "{:#?}\n{}", book.faults, book.stories());
        for (path, entry) in &book.entries {
            let left = (entry.live, entry.parts, entry.ghosts);
            assert_eq!(left, (0, 0, 0), "{path}: attempts, subtasks and abandoned ones that are left");
        }
        assert_eq!(book.witnesses, 0, "somebody still waits for a stop");
    }

    /// An attempt begins.
    pub(crate) fn attempt(&self, ctx: &Ctx, script: Script) -> Attempt {
        let path = ctx.path().to_string();
        let mut book = self.book();
        let Book { entries, faults, .. } = &mut *book;
        let entry = entries.entry(path.clone()).or_default();
        if (entry.live, entry.parts, entry.ghosts) != (0, 0, 0) {
            faults.push(format!("{path}: begins while {} attempts, {} parts live", entry.live, entry.parts));
        }
        if entry.stopping.is_some() && !ctx.is_stopping() {
            faults.push(format!("{path}: begins stopping, and was not asked"));
        }
        entry.live += 1;
        (entry.script, entry.begun, entry.starting) = (script, true, None);
        Attempt { ledger: self.clone(), path, id: ctx.id(), number: ctx.attempt().0, written_off: false }
    }
}

/// A living attempt.
pub(crate) struct Attempt {
    ledger: Ledger,
    path: String,
    id: ChildId,
    number: u64,
    written_off: bool,
}

impl Attempt {
    fn entry<T>(&self, change: impl FnOnce(&mut Entry) -> T) -> T {
        change(self.ledger.book().entries.entry(self.path.clone()).or_default())
    }

    /// It sees that it is asked to stop.
    pub(crate) fn asked(&self) {
        self.entry(|entry| entry.asked = Some(Instant::now()));
    }

    /// It comes to its end, with an exit of this kind.
    pub(crate) fn over(&self, said: &'static str) {
        self.entry(|entry| entry.over = true);
        self.ledger.book().said.entry((self.id, self.number)).or_insert(said);
    }

    /// The same, unless it came to its end before.
    pub(crate) fn over_at_last(&self, said: &'static str) {
        if !self.entry(|entry| entry.over) {
            self.over(said);
        }
    }

    /// It has not come to its end after all.
    pub(crate) fn goes_on(&self) {
        self.entry(|entry| entry.over = false);
        self.ledger.book().said.remove(&(self.id, self.number));
    }

    /// It is about to kill the tree.
    pub(crate) fn hurry(&self) {
        self.ledger.hurry();
    }

    /// Something of it that may not outlive it.
    pub(crate) fn part(&self) -> Part {
        self.entry(|entry| entry.parts += 1);
        Part { ledger: self.ledger.clone(), path: self.path.clone(), attempt: (self.id, self.number) }
    }

    /// Somebody beside the tree who waits for its stop.
    pub(crate) fn witness(&self) -> Witness {
        self.ledger.book().witnesses += 1;
        Witness(self.ledger.clone())
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        let mut book = self.ledger.book();
        let collapsed = book.collapsed;
        let Book { entries, faults, .. } = &mut *book;
        let entry = entries.entry(self.path.clone()).or_default();
        if entry.ghosts > 0 {
            entry.ghosts -= 1;
            self.written_off = true;
        } else {
            entry.live -= 1;
        }
        let left_to_it = entry.script.is_adapter && !entry.over && entry.broken.is_none();
        if left_to_it && !self.written_off && !collapsed {
            faults.push(format!("{}: an adapter was dropped that was to end by itself", self.path));
        }
    }
}

/// A subtask.
pub(crate) struct Part {
    ledger: Ledger,
    path: String,
    attempt: (ChildId, u64),
}

impl Part {
    /// It is about to panic.
    pub(crate) fn breaks(&self) {
        let mut book = self.ledger.book();
        book.entries.entry(self.path.clone()).or_default().broken = Some(Instant::now());
        book.said.entry(self.attempt).or_insert("panicked");
    }
}

impl Part {
    /// Its destructor is about to panic: of an attempt that is stopped or killed, this is the exit; one that ended by
    /// itself has said already how.
    pub(crate) fn breaks_at_the_end(&self) {
        let mut book = self.ledger.book();
        if book.entries.get(&self.path).is_some_and(|entry| !entry.over || entry.asked.is_some()) {
            book.said.insert(self.attempt, "panicked");
        } else {
            book.may_panic.insert(self.attempt);
        }
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.ledger.book().entries.entry(self.path.clone()).or_default().parts -= 1;
    }
}

/// See [`Attempt::witness`].
pub(crate) struct Witness(Ledger);

impl Drop for Witness {
    fn drop(&mut self) {
        self.0.book().witnesses -= 1;
    }
}

impl Book {
    /// What was told of those who are at fault.
    fn stories(&self) -> String {
        let at_fault = |path: &str| self.faults.iter().any(|fault| fault.split(':').next() == Some(path));
        let lines = self.story.iter().filter(|(path, _)| at_fault(path));
        lines.map(|(path, line)| format!("{path} {line}\n")).collect()
    }

    /// The tree tells an event, and has done nothing of it yet.
    fn tell(&mut self, number: u64, path: &str, event: &str, warns: bool) {
        let now = Instant::now();
        let began = *self.began.get_or_insert(now);
        self.told.insert(number, now - began);
        if SUPERVISORS.contains(&path) {
            return self.tell_of_supervisor(path, event, now);
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
        self.story.push((path.to_owned(), line));
        let asked_together = |stopping: Instant| path.starts_with("/t/g/") && stopping != now;
        if event == "stopping" && self.group_stopping.is_some_and(asked_together) {
            self.faults.push(format!("{path}: {event}, but its group was before"));
        }
        let in_a_hurry = self.in_a_hurry || self.collapsed;
        let wrong = match event {
            "starting" => entry.starting(now),
            "stopping" => {
                entry.stopping = Some(now);
                entry.for_itself |= entry.over;
                None
            }
            "killed" => entry.killed(now, in_a_hurry),
            "abandoned" => entry.abandoned(),
            "exited" => {
                entry.for_itself |= warns;
                entry.exited(now)
            }
            _ => None,
        };
        self.faults.extend(wrong.map(|wrong| format!("{path}: {event}, but {wrong}")));
    }
}

impl Book {
    fn tell_of_supervisor(&mut self, path: &str, event: &str, now: Instant) {
        match (path, event) {
            ("/t/g", "stopping") => self.group_stopping = Some(now),
            ("/t/g", "starting") => self.group_stopping = None,
            ("/t", "exited") => self.has_ended = true,
            _ => {}
        }
    }
}

impl Entry {
    /// For people.
    fn state(&self) -> String {
        let script = if self.begun { format!("{:?}", self.script) } else { "not begun".to_owned() };
        format!("({} alive, {} parts, over: {}) {script}", self.live, self.parts, self.over)
    }

    fn starting(&mut self, now: Instant) -> Option<&'static str> {
        let left = self.live + self.parts > 0;
        *self = Self {
            starting: Some(now),
            ghosts: self.ghosts,
            live: self.live,
            parts: self.parts,
            ..Self::default()
        };
        left.then_some("something of it lives")
    }

    /// Whether it ends in time when it is asked.
    fn obeys(&self) -> bool {
        self.begun && self.script.mood == Mood::Loyal && !self.script.is_excused && self.broken.is_none()
    }

    fn killed(&mut self, now: Instant, in_a_hurry: bool) -> Option<&'static str> {
        self.killed = Some(now);
        (self.obeys() && !in_a_hurry).then_some("it would have obeyed")
    }

    fn abandoned(&mut self) -> Option<&'static str> {
        self.ghosts += self.live;
        self.live = 0;
        let ends = self.script.mood != Mood::DeafToKill;
        (self.begun && ends).then_some("it would have ended")
    }

    fn exited(&mut self, now: Instant) -> Option<&'static str> {
        self.starting = None;
        if self.live + self.parts > 0 {
            return Some("something of it lives");
        }
        let lingers = self.killed.is_some_and(|killed| killed != now) && !self.script.is_adapter;
        if self.begun && lingers {
            return Some("it was killed before");
        }
        if self.broken.is_some_and(|broken| broken != now) {
            return Some("its subtask panicked before");
        }
        let obeys =
            self.begun && self.script.mood == Mood::Loyal && self.killed.is_none() && self.broken.is_none();
        let unseen =
            self.stopping.is_some() && self.asked != self.stopping && (self.asked.is_some() || !self.over);
        (obeys && unseen).then_some("it was not asked when it was to stop")
    }
}

/// The program's log.
struct Log;

/// Reads an event's line.
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
            ledger.book().tell(line.number, &line.path, &line.event, warns);
        }
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
