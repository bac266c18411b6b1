//! What the end of the tree is told as: for people on stderr, for programs as JSON.

use std::collections::HashMap;
use std::time::Duration;

use liveoak::{
    ChildState, ChildView, Ended, Exit, IdleReason, LimitExceeded, Snapshot, StartFailure, StopEntry,
    StopStage,
};
use serde::Serialize;

use super::log::Reasons;
use liveoak_config::Config;

/// How many children that stopped cleanly are listed for people; beyond that they are counted. Those that were forced
/// are always listed.
const MAX_SHOWN: usize = 50;

/// The whole end of a run. Its form as JSON is a contract that scripts rely on: see `docs/liveoak-toml.md`.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// The root's path.
    tree: String,
    /// How the tree ended.
    exit: How,
    /// How long the stop of everything took.
    seconds: f64,
    /// Whether nothing had to be forced.
    clean: bool,
    /// Everybody who was running or was to run when the stop came, in the order in which they were gone.
    children: Vec<Stopped>,
    /// How many more were stopped cleanly.
    unlisted: u64,
    /// Who had ended for good before the stop.
    ended_earlier: Vec<Earlier>,
}

/// An exit.
#[derive(Debug, Serialize)]
struct How {
    kind: &'static str,
    failure: bool,
    text: String,
}

/// A child that was stopped.
#[derive(Debug, Serialize)]
struct Stopped {
    path: String,
    seconds: f64,
    stage: &'static str,
    /// None if it was not running.
    exit: Option<How>,
    #[serde(skip)]
    forced: bool,
    /// The last column for people.
    #[serde(skip)]
    text: String,
}

/// A child that was not there any more when the stop came.
#[derive(Debug, Serialize)]
struct Earlier {
    path: String,
    /// `finished` or `quarantined`.
    state: &'static str,
    exit: Option<How>,
}

impl Report {
    /// What `ended` says, with the words of `reasons`; `last` is the tree after its end.
    pub(crate) fn new(config: &Config, ended: &Ended, last: &Snapshot, reasons: &Reasons) -> Self {
        let stop = &ended.report;
        let by_path: HashMap<&str, &ChildView> =
            last.nodes().map(|node| (node.path.as_str(), node)).collect();
        let earlier = last.nodes().filter_map(|node| {
            let state = match &node.state {
                ChildState::Idle(why @ (IdleReason::Finished | IdleReason::Quarantined)) => why.as_str(),
                _ => return None,
            };
            let path = node.path.as_str();
            let exit = node.last_exit.as_ref().map(|exit| How::new(exit, path, reasons));
            Some(Earlier { path: path.to_owned(), state, exit })
        });
        Self {
            tree: format!("/{}", config.name),
            exit: How::new(&ended.exit, "", reasons),
            seconds: stop.took.as_secs_f64(),
            clean: stop.is_clean(),
            children: stop.entries.iter().map(|entry| Stopped::new(entry, &by_path, reasons)).collect(),
            unlisted: stop.unlisted,
            ended_earlier: earlier.collect(),
        }
    }

    /// The verdict in one line.
    pub(crate) fn headline(&self) -> String {
        let tree = &self.tree;
        match self.exit.kind {
            "completed" => format!("{tree} has ended: every child has finished for good"),
            _ if self.exit.failure => format!("{tree} has failed: {}", self.exit.text),
            _ => format!("{tree}: {}", self.exit.text),
        }
    }

    /// The verdict, who ended badly before the stop, and a line per child that was stopped.
    pub(crate) fn text(&self) -> String {
        let mut text = self.headline();
        text.push('\n');
        let bad = |earlier: &&Earlier| earlier.exit.as_ref().is_some_and(|exit| exit.failure);
        let rows: Vec<[&str; 3]> = self.ended_earlier.iter().filter(bad).map(Earlier::row).collect();
        if !rows.is_empty() {
            text.push_str("ended before that, for good:\n");
            rows.iter().for_each(|row| text.push_str(&line(row, &rows)));
        }
        text + &self.stop_text()
    }

    fn stop_text(&self) -> String {
        let all = self.children.len() as u64 + self.unlisted;
        if all == 0 {
            return String::new();
        }
        let waiting =
            self.children.iter().filter(|child| child.stage == StopStage::Cancelled.as_str()).count();
        let children = match all - waiting as u64 {
            1 => "1 child stopped".to_owned(),
            stopped => format!("{stopped} children stopped"),
        };
        let forced = match self.children.iter().filter(|child| child.forced).count() {
            0 => "nothing was forced".to_owned(),
            forced => format!("{forced} by force"),
        };
        let waiting = match waiting {
            0 => String::new(),
            1 => "; 1 was waiting to start".to_owned(),
            many => format!("; {many} were waiting to start"),
        };
        let mut text = format!("{children} in {}, {forced}{waiting}", seconds(self.seconds));
        let listed = |child: &&Stopped| child.forced || self.children.len() <= MAX_SHOWN;
        let shown: Vec<&Stopped> = self.children.iter().filter(listed).collect();
        let times: Vec<String> = shown.iter().map(|child| seconds(child.seconds)).collect();
        let rows: Vec<[&str; 4]> = shown.iter().zip(&times).map(|(child, time)| child.row(time)).collect();
        text.push_str(if rows.is_empty() { "\n" } else { ":\n" });
        rows.iter().for_each(|row| text.push_str(&line(row, &rows)));
        let rest = all - rows.len() as u64;
        if rest > 0 && !rows.is_empty() {
            text.push_str(&format!("  and {rest} more, none of them by force\n"));
        }
        text
    }

    /// For `--report`.
    pub(crate) fn json(&self) -> String {
        // Numbers, strings and lists can always be written.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }
}

impl How {
    fn new(exit: &Exit, path: &str, reasons: &Reasons) -> Self {
        Self { kind: exit.kind(), failure: exit.is_failure(), text: words(exit, path, reasons) }
    }
}

impl Stopped {
    fn new(entry: &StopEntry, last: &HashMap<&str, &ChildView>, reasons: &Reasons) -> Self {
        let path = entry.path.as_str();
        let exit = entry.exit.as_ref().map(|exit| How::new(exit, path, reasons));
        let before = last.get(path).and_then(|node| node.last_exit.as_ref());
        let text = match (&exit, before) {
            (Some(exit), _) => exit.text.clone(),
            (None, Some(before)) => {
                format!("was waiting for its restart after: {}", words(before, path, reasons))
            }
            (None, None) => "was waiting to start".to_owned(),
        };
        Self {
            path: path.to_owned(),
            seconds: entry.took.as_secs_f64(),
            stage: entry.stage.as_str(),
            exit,
            forced: entry.stage.is_forced(),
            text,
        }
    }

    fn row<'a>(&'a self, time: &'a str) -> [&'a str; 4] {
        [&self.path, self.stage, time, &self.text]
    }
}

impl Earlier {
    fn row(&self) -> [&str; 3] {
        [&self.path, self.state, self.exit.as_ref().map_or("", |exit| exit.text.as_str())]
    }
}

/// How the child at `path` ended, in one sentence.
fn words(exit: &Exit, path: &str, reasons: &Reasons) -> String {
    match exit {
        Exit::Failed(failure) => failure.to_string(),
        Exit::StartTimeout(within) => {
            let text = format!("not ready within {}", human(*within));
            match reasons.of(path) {
                Some(reason) => format!("{text}: {reason}"),
                None => text,
            }
        }
        Exit::StartFailed(failure) => start_failed(failure, reasons),
        Exit::GaveUp(gave_up) => gave_up_on(gave_up, reasons),
        other => other.to_string(),
    }
}

fn start_failed(failure: &StartFailure, reasons: &Reasons) -> String {
    let StartFailure { path, exit } = failure;
    match exit {
        // The cause is below it, and says where.
        Exit::StartFailed(deeper) => start_failed(deeper, reasons),
        Exit::Completed => format!("{path} failed to start: it completed before it was ready"),
        exit => format!("{path} failed to start: {}", words(exit, path.as_str(), reasons)),
    }
}

fn gave_up_on(gave_up: &LimitExceeded, reasons: &Reasons) -> String {
    let LimitExceeded { path, exit, count, allowed, period, .. } = gave_up;
    let whose = if gave_up.own_limit { "its own limit" } else { "the limit of its supervisor" };
    let restarts = if *count == 1 { "1 restart".to_owned() } else { format!("{count} restarts") };
    let last = words(exit, path.as_str(), reasons);
    if *allowed == 0 {
        return format!("gave up on {path}: {whose} allows no restart; it ended with: {last}");
    }
    let period = human(*period);
    format!("gave up on {path}: {restarts} within {period}, and {whose} is {allowed}; its last exit: {last}")
}

/// One row, in columns as wide as the widest of `rows`; the last column goes on as it likes.
fn line<const N: usize>(row: &[&str; N], rows: &[[&str; N]]) -> String {
    let mut text = String::from(" ");
    for (column, cell) in row.iter().enumerate() {
        let width = rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
        text.push(' ');
        text.push_str(&if column + 1 < N { format!("{cell:width$} ") } else { (*cell).to_owned() });
    }
    text.trim_end().to_owned() + "\n"
}

fn seconds(seconds: f64) -> String {
    format!("{seconds:.2}s")
}

/// A time as the file would have it: `1m30s`, `700ms`.
fn human(duration: Duration) -> String {
    liveoak_config::show(duration)
}
