//! `/metrics`: counters and gauges in the text format of Prometheus.
//!
//! Labels are bounded: the members of a group are counted together under the path of the group, and children beyond
//! [`MAX_SERIES`] under the path `other`.

use crate::limits::MAX_SERIES;
use liveoak_api::convert::{is_parent, state};
use liveoak_runtime::{
    BodyKind, ChildState, ChildView, Event, EventKind, Exit, Path, Snapshot, Time, TreeHandle,
};
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The counts of the events so far.
#[derive(Debug, Default)]
pub(crate) struct Counters(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    /// For each path of a supervisor or group that was seen, whether it is a group.
    groups: HashMap<String, bool>,
    of: BTreeMap<String, OfChild>,
    abandoned: u64,
}

/// The counts of one path.
#[derive(Debug, Default)]
struct OfChild {
    restarts: BTreeMap<&'static str, u64>,
    exits: BTreeMap<&'static str, u64>,
    /// The class of the last exit. A restart that follows is counted under this class.
    last: &'static str,
    ready_seconds: Option<f64>,
    stop_seconds: Option<f64>,
    stop_began: Option<Time>,
}

impl Counters {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts an event.
    pub(crate) fn count(&self, event: &Event, tree: &TreeHandle) {
        let counted = matches!(
            event.kind,
            EventKind::Starting { restart: true, .. }
                | EventKind::Ready { .. }
                | EventKind::Stopping { .. }
                | EventKind::Exited { .. }
                | EventKind::Abandoned { .. }
        );
        if !counted {
            return;
        }
        let is_group = |above: &str| {
            let above = tree.explain(above);
            above.is_some_and(|above| above.spec.body == BodyKind::Group)
        };
        self.counts().count(event, is_group);
    }
}

impl Counts {
    fn count(&mut self, event: &Event, is_group: impl FnOnce(&str) -> bool) {
        let label = self.label(&event.path, is_group);
        if let EventKind::Abandoned { .. } = event.kind {
            self.abandoned += 1;
        }
        let is_known = self.of.contains_key(&label);
        let label = if is_known || self.of.len() < MAX_SERIES { label } else { "other".to_owned() };
        let of = self.of.entry(label).or_default();
        match &event.kind {
            EventKind::Starting { restart: true, .. } => *of.restarts.entry(of.last).or_default() += 1,
            EventKind::Ready { took, .. } => of.ready_seconds = Some(took.as_secs_f64()),
            EventKind::Stopping { .. } => of.stop_began = Some(event.at),
            EventKind::Exited { exit, .. } => {
                *of.exits.entry(exit.kind()).or_default() += 1;
                of.last = class(exit);
                if let Some(began) = of.stop_began.take() {
                    of.stop_seconds = Some(event.at.since(began).as_secs_f64());
                }
            }
            _ => {}
        }
    }

    /// Returns the path under which a child is counted: its own, or that of its group.
    fn label(&mut self, path: &Path, is_group: impl FnOnce(&str) -> bool) -> String {
        let Some((above, _)) = path.as_str().rsplit_once('/').filter(|(above, _)| !above.is_empty()) else {
            return path.to_string();
        };
        let known = self.groups.get(above).copied();
        let is_member = known.unwrap_or_else(|| {
            let is_group = is_group(above);
            if self.groups.len() < MAX_SERIES {
                self.groups.insert(above.to_owned(), is_group);
            }
            is_group
        });
        if is_member { above.to_owned() } else { path.to_string() }
    }
}

/// Returns the class of an exit, as a label.
fn class(exit: &Exit) -> &'static str {
    match exit {
        Exit::RestartRequested(_) => "request",
        exit if exit.is_failure() => "failure",
        _ => "success",
    }
}

/// The gauges of one path. Members of a group are added up.
#[derive(Debug, Default)]
struct Gauges {
    states: BTreeMap<&'static str, u64>,
    ready: u64,
    uptime: Option<f64>,
    backoff: Option<f64>,
    window: Option<f64>,
}

/// Returns the text of all metrics.
pub(crate) fn text(snapshot: &Snapshot, counters: &Counters, events_lost: u64) -> String {
    let gauges = gauges(snapshot);
    let counts = counters.counts();
    let mut out = Text::default();
    out.family("liveoak_restarts_total", "counter", "Restarts after attempts that ended by themselves.");
    for (path, of) in &counts.of {
        for (class, count) in &of.restarts {
            out.sample("liveoak_restarts_total", &[("path", path), ("class", class)], *count);
        }
    }
    out.family("liveoak_exits_total", "counter", "Attempts that have ended, by the kind of their exit.");
    for (path, of) in &counts.of {
        for (kind, count) in &of.exits {
            out.sample("liveoak_exits_total", &[("path", path), ("kind", kind)], *count);
        }
    }
    out.family("liveoak_state", "gauge", "How many children of this path are in this state.");
    for (path, of) in &gauges {
        for (state, count) in &of.states {
            out.sample("liveoak_state", &[("path", path), ("state", state)], *count);
        }
    }
    out.family("liveoak_ready", "gauge", "How many children of this path are ready.");
    for (path, of) in &gauges {
        out.sample("liveoak_ready", &[("path", path)], of.ready);
    }
    let of_gauges = |value: fn(&Gauges) -> Option<f64>| {
        gauges.iter().filter_map(move |(path, of)| value(of).map(|value| (path.as_str(), value)))
    };
    let of_counts = |value: fn(&OfChild) -> Option<f64>| {
        counts.of.iter().filter_map(move |(path, of)| value(of).map(|value| (path.as_str(), value)))
    };
    out.gauges(
        "liveoak_uptime_seconds",
        "How long the attempt has run; of a group, the longest.",
        of_gauges(|of| of.uptime),
    );
    out.gauges(
        "liveoak_ready_seconds",
        "How long the last start took until it was ready.",
        of_counts(|of| of.ready_seconds),
    );
    out.gauges("liveoak_stop_seconds", "How long the last stop took.", of_counts(|of| of.stop_seconds));
    out.gauges(
        "liveoak_backoff_seconds",
        "The time until the next attempt of a child that backs off.",
        of_gauges(|of| of.backoff),
    );
    out.gauges(
        "liveoak_window_used_ratio",
        "How much of its restart limit a child has used up: 1 is all of it.",
        of_gauges(|of| of.window),
    );
    out.family(
        "liveoak_abandoned_total",
        "counter",
        "Attempts that were abandoned: they could not be ended.",
    );
    out.sample("liveoak_abandoned_total", &[], counts.abandoned);
    out.family(
        "liveoak_events_lost_total",
        "counter",
        "Events that came faster than they could be recorded.",
    );
    out.sample("liveoak_events_lost_total", &[], events_lost);
    out.0
}

/// Returns the gauges of each path, in the order of the paths.
fn gauges(snapshot: &Snapshot) -> BTreeMap<String, Gauges> {
    let mut all = BTreeMap::new();
    let mut open = vec![(&snapshot.root, None)];
    while let Some((view, group)) = open.pop() {
        let path = group.unwrap_or(&view.path);
        let label = path.as_str();
        let is_known = all.contains_key(label);
        let label = if is_known || all.len() < MAX_SERIES { label } else { "other" };
        add(all.entry(label.to_owned()).or_default(), view, snapshot.at);
        let members_of = (view.spec.body == BodyKind::Group).then_some(&view.path);
        open.extend(view.children.iter().map(|child| (child, group.or(members_of))));
    }
    all
}

fn add(to: &mut Gauges, view: &ChildView, now: Time) {
    // A group with members is not counted itself: its path has the counts of the members.
    if !(is_parent(view) && view.spec.body == BodyKind::Group && !view.children.is_empty()) {
        *to.states.entry(state(&view.state).as_str()).or_default() += 1;
        to.ready += u64::from(view.ready);
    }
    let larger = |known: Option<f64>, value: f64| Some(known.map_or(value, |known| known.max(value)));
    if let Some(started) = view.started {
        to.uptime = larger(to.uptime, now.since(started).as_secs_f64());
    }
    if let ChildState::BackingOff { remaining } = &view.state {
        to.backoff = larger(to.backoff, remaining.as_secs_f64());
    }
    if let Some(used) = view.history.as_ref().and_then(|history| history.limit) {
        to.window = larger(to.window, f64::from(used.used) / f64::from(used.limit.max(1)));
    }
}

/// The text of the metrics, so far.
#[derive(Default)]
struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, about: &str) {
        // Writing to a string does not fail.
        let _ = writeln!(self.0, "# HELP {name} {about}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        self.0.push_str(name);
        for (nth, (label, text)) in labels.iter().enumerate() {
            self.0.push(if nth == 0 { '{' } else { ',' });
            let _ = write!(self.0, "{label}=\"");
            for c in text.chars() {
                match c {
                    '\\' => self.0.push_str("\\\\"),
                    '"' => self.0.push_str("\\\""),
                    '\n' => self.0.push_str("\\n"),
                    c => self.0.push(c),
                }
            }
            self.0.push('"');
        }
        let _ = writeln!(self.0, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }

    fn gauges<'a>(&mut self, name: &str, about: &str, values: impl Iterator<Item = (&'a str, f64)>) {
        self.family(name, "gauge", about);
        for (path, value) in values {
            self.sample(name, &[("path", path)], value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use liveoak_runtime::{Attempt, ChildId, Severity};
    use std::time::Duration;

    fn exited(path: &str) -> Event {
        let kind = EventKind::Exited {
            attempt: Attempt(1),
            exit: Exit::Completed,
            ran: Duration::ZERO,
            stopped_by_others: false,
        };
        let id = ChildId { slot: 1, serial: 0 };
        let (path, severity) = (Path::new(path), Severity::Debug);
        Event { number: 1, at: Time::ZERO, path, id, kind, severity, description: None, origin: None }
    }

    #[test]
    fn children_beyond_the_bound_of_series_are_counted_together() {
        let mut counts = Counts::default();
        for nth in 0..MAX_SERIES + 5 {
            counts.count(&exited(&format!("/t/c{nth}")), |_| false);
        }
        assert_eq!(counts.of.len(), MAX_SERIES + 1);
        assert_eq!(counts.of["other"].exits["completed"], 5);
    }

    #[test]
    fn a_label_is_escaped_as_the_text_format_wants_it() {
        let mut text = Text::default();
        text.sample("m", &[("path", "a\"b\\c\nd")], 1);
        assert_eq!(text.0, "m{path=\"a\\\"b\\\\c\\nd\"} 1\n");
    }
}
