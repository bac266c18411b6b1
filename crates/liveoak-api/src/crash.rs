//! Crashes: attempts that failed by themselves, and what was decided about each.

use crate::{Event, Exit, Timestamp, wire};
use std::collections::{HashMap, VecDeque};

wire! {
    /// An attempt that failed by itself, and what followed.
    pub struct Crash {
        /// The run of the tree.
        pub run: u64,
        /// The number of the event of the exit.
        pub n: u64,
        /// The child.
        pub path: String,
        /// The name of the child for people.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub title: Option<String>,
        /// The attempt.
        pub attempt: u64,
        /// When it ended.
        pub at: Timestamp,
        /// How long it ran.
        pub ran_s: f64,
        /// The exit. Its backtrace is the field `backtrace` of the crash.
        pub exit: Exit,
        /// What was decided, as one sentence; empty while nothing was decided, or if that is not known.
        pub decided: String,
        /// The last lines that the attempt wrote, oldest first.
        pub lines: Vec<String>,
        /// The backtrace of a panic, if there is one.
        pub backtrace: Option<String>,
    }
}

/// The exits of supervisors that only pass on the failure of a child below.
const PASSED_ON: [&str; 3] = ["gave-up", "start-failed", "auto-shutdown-failed"];

/// What is known about a child that waits for its restart.
const WAITS: &str = "it is restarted when its turn comes";

/// The kinds of events that say what was decided about the child itself.
const OF_CHILD: [&str; 10] = [
    "backing-off",
    "starting",
    "quarantined",
    "still-runs",
    "finished",
    "stopped",
    "stopping",
    "removed",
    "waiting",
    "abandoned",
];

/// Finds the last crashes in a row of events, and what was decided about them.
#[derive(Debug)]
pub struct Crashes {
    kept: VecDeque<Crash>,
    most: usize,
    /// The run of the events.
    run: u64,
    /// The crashes about which nothing was decided yet, by path: their numbers.
    open: HashMap<String, u64>,
}

impl Crashes {
    /// Keeps the last `most` crashes.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { kept: VecDeque::new(), most, run: 0, open: HashMap::new() }
    }

    /// Returns `true` if an event of this kind about this child may matter. Others need not be [told](Self::event).
    #[must_use]
    pub fn wants(&self, kind: &str, path: &str) -> bool {
        kind == "exited"
            || (PASSED_ON.contains(&kind) && !self.open.is_empty())
            || (OF_CHILD.contains(&kind) && self.open.contains_key(path))
    }

    /// Tells the next event. A crash is kept if its child is `wanted`.
    pub fn event(&mut self, event: &Event, wanted: impl FnOnce(&str) -> bool) {
        if event.run != self.run {
            (self.run, self.open) = (event.run, HashMap::new());
        }
        let Some(path) = event.path.as_deref() else { return };
        if event.kind == "exited" {
            self.exit(event, path, wanted);
        } else if PASSED_ON.contains(&event.kind.as_str()) {
            // The event of the supervisor names the child whose failure was too much.
            if let (Some(child), Some(text)) = (&event.child, &event.text) {
                self.decide(child, text.clone());
            }
        } else if event.kind == "waiting" {
            self.waits(path);
        } else if event.kind == "starting" {
            self.restarts(path);
        } else if OF_CHILD.contains(&event.kind.as_str()) {
            self.decide(path, decision(event, path));
        }
    }

    fn exit(&mut self, event: &Event, path: &str, wanted: impl FnOnce(&str) -> bool) {
        let Some(exit) = event.exit.as_ref().filter(|exit| exit.failure) else { return };
        let is_own = event.stopped_by_others != Some(true) && !PASSED_ON.contains(&exit.kind.as_str());
        if !is_own || self.most == 0 || !wanted(path) {
            return;
        }
        let Some(at) = event.at else { return };
        if self.kept.len() == self.most {
            self.kept.pop_front();
        }
        self.open.insert(path.to_owned(), event.n);
        self.kept.push_back(Crash {
            run: event.run,
            n: event.n,
            path: path.to_owned(),
            title: event.title.clone(),
            attempt: event.attempt.unwrap_or_default(),
            at,
            ran_s: event.ran_s.unwrap_or_default(),
            exit: Exit { backtrace: None, ..exit.clone() },
            decided: String::new(),
            lines: event.lines.clone(),
            backtrace: exit.backtrace.clone(),
        });
    }

    fn decide(&mut self, path: &str, decided: String) {
        let Some(n) = self.open.remove(path) else { return };
        if let Some(crash) = self.crash(n) {
            crash.decided = decided;
        }
    }

    /// Notes that a child waits before it is restarted. What follows says more.
    fn waits(&mut self, path: &str) {
        let Some(n) = self.open.get(path).copied() else { return };
        if let Some(crash) = self.crash(n) {
            WAITS.clone_into(&mut crash.decided);
        }
    }

    fn restarts(&mut self, path: &str) {
        let Some(n) = self.open.get(path).copied() else { return };
        let has_waited = self.crash(n).is_some_and(|crash| crash.decided == WAITS);
        let decided =
            if has_waited { "it was restarted when its turn came" } else { "it was restarted at once" };
        self.decide(path, decided.to_owned());
    }

    /// Returns the crash with this number in the run, if it is still kept.
    fn crash(&mut self, n: u64) -> Option<&mut Crash> {
        self.kept.iter_mut().rev().find(|crash| crash.run == self.run && crash.n == n)
    }

    /// Returns the last crashes, oldest first.
    #[must_use]
    pub fn into_vec(self) -> Vec<Crash> {
        self.kept.into()
    }
}

/// Returns what an event says about the child itself.
fn decision(event: &Event, path: &str) -> String {
    match event.kind.as_str() {
        "finished" => return "it is not restarted".to_owned(),
        "removed" => return "it was removed".to_owned(),
        _ => {}
    }
    let text = event.text.as_deref().unwrap_or(&event.kind);
    let title = event.title.as_ref().map(|title| format!("{path} ({title}): "));
    let after = title.and_then(|title| text.strip_prefix(&title));
    after.or_else(|| text.strip_prefix(path)?.strip_prefix(": ")).unwrap_or(text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    fn event(run: u64, n: u64, path: &str, kind: &str) -> Event {
        Event {
            run,
            n,
            at: Some(Timestamp(SystemTime::UNIX_EPOCH)),
            path: Some(path.to_owned()),
            kind: kind.to_owned(),
            text: Some(format!("{path}: {kind} text")),
            ..Event::default()
        }
    }

    fn exit(run: u64, n: u64, path: &str, kind: &str, failure: bool) -> Event {
        let exit = Exit {
            kind: kind.to_owned(),
            failure,
            text: kind.to_owned(),
            code: None,
            signal: None,
            location: None,
            backtrace: Some("frames".to_owned()),
        };
        let lines = vec!["the last words".to_owned()];
        Event { exit: Some(exit), attempt: Some(n), lines, ..event(run, n, path, "exited") }
    }

    fn found(most: usize, events: &[Event]) -> Vec<(u64, u64, String)> {
        let mut crashes = Crashes::new(most);
        for event in events {
            let path = event.path.as_deref().unwrap_or_default();
            if crashes.wants(&event.kind, path) {
                crashes.event(event, |path| path != "/t/unwanted");
            }
        }
        crashes.into_vec().into_iter().map(|crash| (crash.run, crash.n, crash.decided)).collect()
    }

    #[test]
    fn a_crash_is_a_failure_of_the_child_itself_and_the_next_event_about_it_is_the_decision() {
        let by_others = Event { stopped_by_others: Some(true), ..exit(1, 4, "/t/b", "signal", true) };
        let events = [
            exit(1, 1, "/t/a", "code", true),
            event(1, 2, "/t/b", "starting"),
            event(1, 3, "/t/a", "backing-off"),
            by_others,
            exit(1, 5, "/t/a", "completed", false),
            exit(1, 6, "/t/unwanted", "code", true),
            exit(1, 7, "/t/a", "panicked", true),
            event(1, 8, "/t/a", "starting"),
            exit(1, 9, "/t", "gave-up", true),
            exit(1, 10, "/t/a", "code", true),
            event(1, 11, "/t/a", "waiting"),
            event(1, 12, "/t/a", "starting"),
            exit(1, 13, "/t/a", "code", true),
            event(1, 14, "/t/a", "waiting"),
        ];
        let expected = [
            (1, 1, "backing-off text"),
            (1, 7, "it was restarted at once"),
            (1, 10, "it was restarted when its turn came"),
            (1, 13, "it is restarted when its turn comes"),
        ];
        assert_eq!(found(9, &events), expected.map(|(run, n, text)| (run, n, text.to_owned())));
    }

    #[test]
    fn a_supervisor_that_gives_up_is_the_decision_about_the_child_that_it_names() {
        let gave_up = Event { child: Some("/t/a".to_owned()), ..event(1, 2, "/t", "gave-up") };
        let events = [exit(1, 1, "/t/a", "code", true), gave_up, event(1, 3, "/t/a", "stopped")];
        assert_eq!(found(9, &events), [(1, 1, "/t: gave-up text".to_owned())]);
    }

    #[test]
    fn only_the_last_crashes_are_kept_and_the_next_run_decides_nothing_about_those_before() {
        let events = [
            exit(1, 1, "/t/a", "code", true),
            exit(1, 2, "/t/b", "code", true),
            exit(1, 3, "/t/a", "code", true),
            exit(2, 3, "/t/c", "code", true),
            event(2, 4, "/t/a", "starting"),
        ];
        assert_eq!(found(2, &events), [(1, 3, String::new()), (2, 3, String::new())]);
        let mut crashes = Crashes::new(1);
        events.iter().for_each(|event| crashes.event(event, |_| true));
        let crash = &crashes.into_vec()[0];
        assert_eq!((&*crash.lines[0], crash.backtrace.as_deref()), ("the last words", Some("frames")));
        assert_eq!(crash.exit.backtrace, None);
    }
}
