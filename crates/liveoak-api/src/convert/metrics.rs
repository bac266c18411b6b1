//! The metrics of a tree: what `/metrics` and OpenTelemetry show.
//!
//! Labels are bounded: the members of a group are counted together under the path of the group, and children beyond
//! [`MAX_SERIES`] under the path `other`.

use super::{is_parent, state};
use liveoak_runtime::{
    BodyKind, ChildState, ChildView, Event, EventKind, Exit, Path, Snapshot, Time, TreeHandle,
};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The most paths of one metric. Children beyond are counted together, as the path `other`.
pub const MAX_SERIES: usize = 2000;

/// One metric: a name, and its value for each set of labels.
#[derive(Clone, Debug)]
pub struct Family {
    /// Its name, which is the same for every reader.
    pub name: &'static str,
    /// `true` if the value only grows.
    pub is_counter: bool,
    /// What is counted or measured: one sentence.
    pub about: &'static str,
    /// The values.
    pub samples: Vec<Sample>,
}

/// One value of a metric.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The labels, each with its text.
    pub labels: Vec<(&'static str, String)>,
    /// The value.
    pub value: f64,
}

/// The counts of the events so far.
#[derive(Debug, Default)]
pub struct Counters(Mutex<Counts>);

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
    pub fn count(&self, event: &Event, tree: &TreeHandle) {
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

/// Returns all metrics of a tree. Their number and order are always the same.
#[must_use]
pub fn families(snapshot: &Snapshot, counters: &Counters, events_lost: u64) -> Vec<Family> {
    let gauges = gauges(snapshot);
    let counts = counters.counts();
    let mut all = counted(&counts);
    all.extend(measured(&gauges, &counts));
    let total = |value: u64| vec![Sample { labels: vec![], value: number(value) }];
    all.push(Family {
        name: "liveoak_abandoned_total",
        is_counter: true,
        about: "Attempts that were abandoned: they could not be ended.",
        samples: total(counts.abandoned),
    });
    all.push(Family {
        name: "liveoak_events_lost_total",
        is_counter: true,
        about: "Events that came faster than they could be recorded.",
        samples: total(events_lost),
    });
    all
}

/// Returns the metrics that events add up to, by path.
fn counted(counts: &Counts) -> Vec<Family> {
    let by = |label: &'static str, of: fn(&OfChild) -> &BTreeMap<&'static str, u64>| {
        let samples = counts.of.iter().flat_map(move |(path, child)| {
            of(child).iter().map(move |(class, count)| Sample {
                labels: vec![("path", path.clone()), (label, (*class).to_owned())],
                value: number(*count),
            })
        });
        samples.collect()
    };
    vec![
        Family {
            name: "liveoak_restarts_total",
            is_counter: true,
            about: "Restarts after attempts that ended by themselves.",
            samples: by("class", |of| &of.restarts),
        },
        Family {
            name: "liveoak_exits_total",
            is_counter: true,
            about: "Attempts that have ended, by the kind of their exit.",
            samples: by("kind", |of| &of.exits),
        },
    ]
}

/// Returns the metrics that say how the children are now, by path.
fn measured(gauges: &BTreeMap<String, Gauges>, counts: &Counts) -> Vec<Family> {
    let sample = |path: &String, value| Sample { labels: vec![("path", path.clone())], value };
    let states = gauges.iter().flat_map(|(path, of)| {
        of.states.iter().map(move |(state, count)| Sample {
            labels: vec![("path", path.clone()), ("state", (*state).to_owned())],
            value: number(*count),
        })
    });
    let gauge = |name, about, samples| Family { name, is_counter: false, about, samples };
    let of_gauges = |value: fn(&Gauges) -> Option<f64>| {
        gauges.iter().filter_map(move |(path, of)| Some(sample(path, value(of)?))).collect()
    };
    let of_counts = |value: fn(&OfChild) -> Option<f64>| {
        counts.of.iter().filter_map(move |(path, of)| Some(sample(path, value(of)?))).collect()
    };
    vec![
        gauge("liveoak_state", "How many children of this path are in this state.", states.collect()),
        gauge(
            "liveoak_ready",
            "How many children of this path are ready.",
            of_gauges(|of| Some(number(of.ready))),
        ),
        gauge(
            "liveoak_uptime_seconds",
            "How long the attempt has run; of a group, the longest.",
            of_gauges(|of| of.uptime),
        ),
        gauge(
            "liveoak_ready_seconds",
            "How long the last start took until it was ready.",
            of_counts(|of| of.ready_seconds),
        ),
        gauge("liveoak_stop_seconds", "How long the last stop took.", of_counts(|of| of.stop_seconds)),
        gauge(
            "liveoak_backoff_seconds",
            "The time until the next attempt of a child that backs off.",
            of_gauges(|of| of.backoff),
        ),
        gauge(
            "liveoak_window_used_ratio",
            "How much of its restart limit a child has used up: 1 is all of it.",
            of_gauges(|of| of.window),
        ),
    ]
}

/// Returns a count as the value of a sample. Counts beyond 2^53 are rounded.
#[expect(clippy::cast_precision_loss, reason = "counts of a tree stay far below 2^53")]
fn number(count: u64) -> f64 {
    count as f64
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
}
