//! The report at the end of a run: as text on stderr, and as JSON for `--report`.
//!
//! The exit code is decided in `mod.rs`.

use std::collections::HashMap;

use liveoak::{
    ChildState, ChildView, Ended, Exit, IdleReason, LimitExceeded, Snapshot, StartFailure, StopEntry,
    StopStage,
};
use liveoak_config::{Config, format_duration, one_line};
use serde::Serialize;

use super::log::NotReadyReasons;
use crate::output::{escaped_json, table};

/// The largest number of stopped children that the text lists. If there are more, it lists only those that were killed, and
/// counts the others.
const MAX_SHOWN: usize = 50;

/// The end of a run. Scripts rely on its form as JSON, which `docs/liveoak-toml.md` describes.
#[derive(Debug, Serialize)]
pub(crate) struct RunReport {
    /// The root's path.
    tree: String,
    /// How the tree ended.
    exit: ExitView,
    /// How long the stop of the whole tree took.
    seconds: f64,
    /// `true` if no child was killed or abandoned.
    clean: bool,
    /// The children that ran or waited to run when the stop began, in the order in which they ended.
    children: Vec<StoppedChild>,
    /// The number of children that stopped cleanly and are not in `children`.
    unlisted: u64,
    /// The number of children that were killed and are not in `children`.
    unlisted_forced: u64,
    /// The children that had ended before the stop and were not to be restarted.
    ended_earlier: Vec<EndedChild>,
}

/// An exit.
#[derive(Debug, Serialize)]
struct ExitView {
    kind: &'static str,
    failure: bool,
    text: String,
}

/// A child that was stopped.
#[derive(Debug, Serialize)]
struct StoppedChild {
    path: String,
    seconds: f64,
    stage: &'static str,
    /// How its attempt ended; `None` if it had none.
    exit: Option<ExitView>,
    #[serde(skip)]
    forced: bool,
    /// The last column of the text.
    #[serde(skip)]
    text: String,
}

/// A child that had ended before the stop.
#[derive(Debug, Serialize)]
struct EndedChild {
    path: String,
    /// `finished` or `quarantined`.
    state: &'static str,
    exit: Option<ExitView>,
}

impl RunReport {
    /// Returns the report of `ended`. `last` is the snapshot after the end; `reasons` explains start timeouts.
    pub(crate) fn new(config: &Config, ended: &Ended, last: &Snapshot, reasons: &NotReadyReasons) -> Self {
        let stop = &ended.report;
        let by_path: HashMap<&str, &ChildView> =
            last.nodes().map(|node| (node.path.as_str(), node)).collect();
        let earlier = last.nodes().filter_map(|node| {
            let state = match &node.state {
                ChildState::Idle(why @ (IdleReason::Finished | IdleReason::Quarantined)) => why.as_str(),
                _ => return None,
            };
            let path = node.path.as_str();
            let exit = node.last_exit.as_ref().map(|exit| ExitView::new(exit, path, reasons));
            Some(EndedChild { path: path.to_owned(), state, exit })
        });
        Self {
            tree: format!("/{}", config.name),
            exit: ExitView::new(&ended.exit, "", reasons),
            seconds: stop.took.as_secs_f64(),
            clean: stop.is_clean(),
            children: stop.entries.iter().map(|entry| StoppedChild::new(entry, &by_path, reasons)).collect(),
            unlisted: stop.unlisted,
            unlisted_forced: stop.unlisted_forced,
            ended_earlier: earlier.collect(),
        }
    }

    /// Returns the result in one line.
    pub(crate) fn headline(&self) -> String {
        let tree = &self.tree;
        match self.exit.kind {
            "completed" => format!("{tree} has ended: every child has finished for good"),
            _ if self.exit.failure => format!("{tree} has failed: {}", self.exit.text),
            _ => format!("{tree}: {}", self.exit.text),
        }
    }

    /// Returns the headline, the children that had failed before the stop, and a line for each child that was stopped.
    pub(crate) fn text(&self) -> String {
        let mut text = one_line(&self.headline()).into_owned();
        text.push('\n');
        let bad = |earlier: &&EndedChild| earlier.exit.as_ref().is_some_and(|exit| exit.failure);
        let rows = self.ended_earlier.iter().filter(bad).map(|child| {
            let exit = child.exit.as_ref().map(|exit| exit.text.clone());
            [child.path.clone(), child.state.to_owned(), exit.unwrap_or_default()]
        });
        let rows: Vec<_> = rows.collect();
        if !rows.is_empty() {
            text.push_str("These children had failed before the stop and were not restarted:\n");
            text += &table("  ", &rows);
        }
        text + &self.stop_text()
    }

    fn stop_text(&self) -> String {
        let all = self.children.len() as u64 + self.unlisted + self.unlisted_forced;
        if all == 0 {
            return String::new();
        }
        let at = |stage: StopStage| -> u64 {
            self.children.iter().filter(|child| child.stage == stage.as_str()).count() as u64
        };
        let waiting = at(StopStage::Cancelled);
        let children = match all - waiting {
            1 => "1 child stopped".to_owned(),
            stopped => format!("{stopped} children stopped"),
        };
        let killed = match at(StopStage::Killed) + self.unlisted_forced {
            0 => "none was killed".to_owned(),
            1 => "1 was killed".to_owned(),
            killed => format!("{killed} were killed"),
        };
        let abandoned = match at(StopStage::Abandoned) {
            0 => String::new(),
            1 => ", 1 was abandoned and still runs".to_owned(),
            abandoned => format!(", {abandoned} were abandoned and still run"),
        };
        let waiting = match waiting {
            0 => String::new(),
            1 => "; 1 was waiting to start".to_owned(),
            many => format!("; {many} were waiting to start"),
        };
        let mut text = format!("{children} in {}, {killed}{abandoned}{waiting}", seconds(self.seconds));
        let listed = |child: &&StoppedChild| child.forced || self.children.len() <= MAX_SHOWN;
        let rows = self.children.iter().filter(listed).map(|child| {
            [child.path.clone(), child.stage.to_owned(), seconds(child.seconds), child.text.clone()]
        });
        let rows: Vec<_> = rows.collect();
        text.push_str(if rows.is_empty() { "\n" } else { ":\n" });
        text += &table("  ", &rows);
        let rest = all - rows.len() as u64;
        if rest > 0 && !rows.is_empty() {
            let killed = match self.unlisted_forced {
                0 => "none".to_owned(),
                killed => killed.to_string(),
            };
            text.push_str(&format!("  and {rest} more, {killed} of them killed\n"));
        }
        text
    }

    /// Returns the JSON document for `--report`.
    pub(crate) fn json(&self) -> String {
        // Serializing fails only for maps whose keys are not strings, and there are none.
        escaped_json(&serde_json::to_string_pretty(self).unwrap_or_default()).into_owned() + "\n"
    }
}

impl ExitView {
    fn new(exit: &Exit, path: &str, reasons: &NotReadyReasons) -> Self {
        Self { kind: exit.kind(), failure: exit.is_failure(), text: words(exit, path, reasons) }
    }
}

impl StoppedChild {
    fn new(entry: &StopEntry, last: &HashMap<&str, &ChildView>, reasons: &NotReadyReasons) -> Self {
        let path = entry.path.as_str();
        let exit = entry.exit.as_ref().map(|exit| ExitView::new(exit, path, reasons));
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
}

/// Returns how the child at `path` ended, in one sentence.
fn words(exit: &Exit, path: &str, reasons: &NotReadyReasons) -> String {
    match exit {
        Exit::Failed(failure) => failure.to_string(),
        Exit::StartTimeout(within) => {
            let text = format!("not ready within {}", format_duration(*within));
            match reasons.of(path) {
                Some(reason) => format!("{text}: {reason}"),
                None => text,
            }
        }
        Exit::StartFailed(failure) => start_failed(failure, reasons),
        Exit::GaveUp(gave_up) => gave_up_on(gave_up, reasons),
        Exit::AutoShutdownFailed(failure) => {
            let (path, exit) = (&failure.path, &failure.exit);
            let ended = words(exit, path.as_str(), reasons);
            format!("ended because its significant child {path} had ended: {ended}")
        }
        other => other.to_string(),
    }
}

fn start_failed(failure: &StartFailure, reasons: &NotReadyReasons) -> String {
    let StartFailure { path, exit } = failure;
    match exit {
        // The child that failed is further down, and the message of its exit names it.
        Exit::StartFailed(deeper) => start_failed(deeper, reasons),
        Exit::Completed => format!("{path} failed to start: it completed before it was ready"),
        exit => format!("{path} failed to start: {}", words(exit, path.as_str(), reasons)),
    }
}

fn gave_up_on(gave_up: &LimitExceeded, reasons: &NotReadyReasons) -> String {
    let LimitExceeded { path, exit, count, allowed, period, .. } = gave_up;
    let whose = if gave_up.own_limit { "its own limit" } else { "the limit of its supervisor" };
    let last = words(exit, path.as_str(), reasons);
    if *allowed == 0 {
        return format!("gave up on {path}: {whose} allows no restart; it ended with: {last}");
    }
    if gave_up.in_a_row {
        return format!(
            "gave up on {path}: failure {count} in a row exceeds {whose}, {allowed}; its last exit: {last}"
        );
    }
    let period = format_duration(*period);
    format!(
        "gave up on {path}: restart {count} within {period} exceeds {whose}, {allowed}; its last exit: {last}"
    )
}

fn seconds(seconds: f64) -> String {
    format!("{seconds:.2}s")
}
