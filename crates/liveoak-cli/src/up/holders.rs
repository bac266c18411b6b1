//! Which children hold up a start or a stop, read from one snapshot of the tree.
//!
//! A child that only waits for another child is not a holder: the child at the end of the chain is. So a long chain of
//! children, each of which waits for the next one, has one holder.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use liveoak::{ChildState, ChildView, Condition, IdleReason, Path, Snapshot, StopStage, Time, WaitingFor};
use liveoak_config::format_duration;
use serde::Serialize;

/// Why other children, or the whole tree, wait for one child.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Reason {
    /// Until it is ready.
    Ready,
    /// Until its next attempt begins: it has failed.
    Restart,
    /// Until it completes.
    Completed,
    /// Until it is healthy.
    Healthy,
    /// Without limit: it is down, and does not start by itself.
    Down,
    /// Until it is ready again: it runs, but it is not ready now.
    ReadyAgain,
    /// Until it is asked to stop: it drains, so it is only not ready any more.
    Drain,
    /// Until it has stopped as asked.
    Stop,
    /// Until it has ended after its kill.
    Kill,
}

/// A child that holds up a start or a stop.
#[derive(Debug, PartialEq)]
pub(crate) struct Holder {
    pub(crate) path: Path,
    /// Its name for people, if it has one.
    pub(crate) title: Option<String>,
    pub(crate) reason: Reason,
    /// Since when it holds them up.
    pub(crate) since: Time,
    /// How much time it has left; `None` without a limit.
    pub(crate) left: Option<Duration>,
    /// The first child that waits for it, if the reason names one.
    pub(crate) waiting: Option<Path>,
    /// The number of further children that wait for it for the same reason.
    pub(crate) more_waiting: usize,
    /// Why it is not running: how its last attempt ended, or the word for its state.
    pub(crate) why: String,
}

impl Holder {
    /// Returns the sentence for people.
    pub(crate) fn text(&self) -> String {
        let path = match &self.title {
            Some(title) => format!("{} ({title})", self.path),
            None => self.path.to_string(),
        };
        let left = self.left.map(seconds);
        match self.reason {
            Reason::Ready => match left {
                Some(left) => format!("waiting for {path} to be ready, {left} left"),
                None => format!("waiting for {path} to be ready, without a limit"),
            },
            Reason::Restart => {
                let left = left.unwrap_or_else(|| seconds(Duration::ZERO));
                format!("waiting for {path}, which failed ({}): next attempt in {left}", self.why)
            }
            Reason::Completed => format!("{} for {path} to complete{}", self.waits(), left_or_nothing(left)),
            Reason::Healthy => format!("{} for {path} to be healthy{}", self.waits(), left_or_nothing(left)),
            Reason::ReadyAgain => {
                format!("{} for {path} to be ready again{}", self.waits(), left_or_nothing(left))
            }
            Reason::Drain => {
                let left = left.unwrap_or_else(|| seconds(Duration::ZERO));
                format!("waiting for {path}, which is not ready any more: asked to stop in {left}")
            }
            Reason::Down => format!("{} for {path}, which is {}", self.waits(), self.why),
            Reason::Stop => match left {
                Some(left) => format!("waiting for {path} to stop: killed in {left}"),
                None => format!("waiting for {path} to stop, without a limit"),
            },
            Reason::Kill => match left {
                Some(left) => format!("waiting for {path} to end after its kill: abandoned in {left}"),
                None => format!("waiting for {path} to end after its kill"),
            },
        }
    }

    /// Returns the subject and the verb of the sentence: the children that wait.
    fn waits(&self) -> String {
        match (&self.waiting, self.more_waiting) {
            (None, _) => "waiting".to_owned(),
            (Some(waiting), 0) => format!("{waiting} waits"),
            (Some(waiting), more) => format!("{waiting} and {more} more wait"),
        }
    }
}

fn left_or_nothing(left: Option<String>) -> String {
    left.map_or_else(String::new, |left| format!(", {left} left"))
}

/// Returns a time in whole seconds. It is rounded up, so only zero is shown as zero.
fn seconds(time: Duration) -> String {
    let whole = time.as_secs() + u64::from(time.subsec_nanos() > 0);
    if whole < 120 { format!("{whole} s") } else { format_duration(Duration::from_secs(whole)) }
}

/// When a child began to start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Begun {
    /// The begin of the start that is not over yet, over all its attempts.
    start: Time,
    /// The begin of the first start after which the child was never ready for long.
    row: Time,
    /// When the child became ready, if it did after `start`.
    pub(crate) ready: Option<Time>,
}

impl Begun {
    /// Returns the begin of a first start.
    pub(crate) fn at(start: Time) -> Self {
        Self { start, row: start, ready: None }
    }

    /// Notes the begin of an attempt. If the child had been ready for less than `long`, it begins no new row.
    pub(crate) fn start_again(&mut self, now: Time, long: Duration) {
        if let Some(ready) = self.ready.take() {
            self.start = now;
            if now.since(ready) >= long {
                self.row = now;
            }
        }
    }
}

/// The holders in a snapshot, and the programs that a stop has not asked yet.
#[derive(Debug, Default)]
pub(crate) struct Holders {
    /// By path and reason, so in a fixed order.
    pub(crate) all: BTreeMap<(String, Reason), Holder>,
    /// The number of running programs that their stopping supervisor has not asked yet.
    pub(crate) not_asked: usize,
}

impl Holders {
    /// Finds the holders. For each start that is not over yet, `starts` contains the time at which its first attempt began.
    pub(crate) fn of(snapshot: &Snapshot, starts: &HashMap<Path, Begun>) -> Self {
        let mut holders = Self::default();
        let mut open = vec![&snapshot.root];
        while let Some(supervisor) = open.pop() {
            for child in &supervisor.children {
                holders.visit(supervisor, child, starts);
            }
            open.extend(supervisor.children.iter().filter(|child| child.strategy.is_some()));
        }
        holders
    }

    fn visit(&mut self, supervisor: &ChildView, child: &ChildView, starts: &HashMap<Path, Begun>) {
        let is_leaf = child.strategy.is_none();
        match &child.state {
            // The holders below a supervisor explain why the supervisor waits.
            ChildState::Starting { remaining } if is_leaf => {
                let since = starts.get(&child.path).map_or(child.since, |begun| begun.start);
                self.add(child, Reason::Ready, since, *remaining, None);
            }
            // Nothing else may wait for it, but its supervisor is not ready without it.
            ChildState::BackingOff { remaining }
                if matches!(supervisor.state, ChildState::Starting { .. }) =>
            {
                let begun = starts.get(&child.path);
                if begun.is_none_or(|begun| begun.ready.is_none()) {
                    let since = begun.map_or(child.since, |begun| begun.start);
                    self.add(child, Reason::Restart, since, Some(*remaining), None);
                }
            }
            ChildState::Stopping { stage, remaining } if is_leaf => {
                let reason = match (stage, child.asked_in) {
                    (StopStage::Killed, _) => Reason::Kill,
                    (_, Some(_)) => Reason::Drain,
                    (_, None) => Reason::Stop,
                };
                self.add(child, reason, child.since, child.asked_in.or(*remaining), None);
            }
            ChildState::Running if is_leaf && matches!(supervisor.state, ChildState::Stopping { .. }) => {
                self.not_asked += 1;
            }
            ChildState::Waiting { what, remaining } => {
                self.waits(supervisor, child, what, *remaining, starts);
            }
            _ => {}
        }
    }

    /// Adds the sibling that a waiting child waits for, unless that sibling is found anyway, or waits too.
    fn waits(
        &mut self,
        supervisor: &ChildView,
        child: &ChildView,
        what: &WaitingFor,
        remaining: Option<Duration>,
        starts: &HashMap<Path, Begun>,
    ) {
        let (name, condition) = match what {
            WaitingFor::Turn(name) | WaitingFor::RestartBackoff(name) => (name, Condition::Ready),
            WaitingFor::Edge(name, condition) => (name, *condition),
            // The siblings that are starting are found by themselves.
            WaitingFor::Nothing | WaitingFor::RestartStop | WaitingFor::Place => return,
        };
        let Some(sibling) = supervisor.children.iter().find(|other| other.path.name() == name.as_str())
        else {
            return;
        };
        let both = child.since.max(sibling.since);
        // A sibling that fails again and again, with moments in which it is ready, holds up the start all the time.
        let row = starts.get(&sibling.path).map(|begun| begun.row).filter(|row| *row < sibling.since);
        let both = row.map_or(both, |row| child.since.max(row));
        match &sibling.state {
            ChildState::BackingOff { remaining } => {
                self.add(sibling, Reason::Restart, both, Some(*remaining), Some(child));
            }
            // Otherwise the sibling itself is found, or the children below it if it is a supervisor.
            ChildState::Starting { remaining } if row.is_some() => {
                self.add(sibling, Reason::Ready, both, *remaining, Some(child));
            }
            ChildState::Running if condition == Condition::Completed => {
                self.add(sibling, Reason::Completed, both, remaining, Some(child));
            }
            ChildState::Running if condition == Condition::Healthy => {
                self.add(sibling, Reason::Healthy, both, remaining, Some(child));
            }
            ChildState::Running if condition == Condition::Ready && !sibling.ready => {
                self.add(sibling, Reason::ReadyAgain, both, remaining, Some(child));
            }
            ChildState::Idle(why) if *why != IdleReason::SupervisorDown => {
                self.add(sibling, Reason::Down, both, None, Some(child));
            }
            _ => {}
        }
    }

    fn add(
        &mut self,
        holder: &ChildView,
        reason: Reason,
        since: Time,
        left: Option<Duration>,
        waiting: Option<&ChildView>,
    ) {
        let key = (holder.path.as_str().to_owned(), reason);
        if let Some(known) = self.all.get_mut(&key) {
            match &known.waiting {
                None => known.waiting = waiting.map(|child| child.path.clone()),
                Some(_) => known.more_waiting += 1,
            }
            known.since = known.since.min(since);
            return;
        }
        let last_exit = holder.last_exit.as_ref().map(ToString::to_string);
        let why = match &holder.state {
            ChildState::Idle(IdleReason::Finished) => {
                format!("finished: {}", last_exit.unwrap_or_else(|| "it was stopped".to_owned()))
            }
            ChildState::Idle(why) => why.as_str().to_owned(),
            _ => last_exit.unwrap_or_default(),
        };
        let waiting = waiting.map(|child| child.path.clone());
        let (path, title) = (holder.path.clone(), holder.title().map(str::to_owned));
        self.all.insert(key, Holder { path, title, reason, since, left, waiting, more_waiting: 0, why });
    }
}
