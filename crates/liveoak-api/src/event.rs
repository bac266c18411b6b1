//! What happens in a tree: its events, and the output of its programs.

use crate::{Exit, Health, Timestamp, wire};

wire! {
    /// One event of a tree. Which of the optional fields it has depends on its kind. An object of the kind `lost` stands for
    /// `count` events that could not be kept, and has no path.
    #[derive(Default)]
    pub struct Event {
        /// The run of the tree.
        pub run: u64,
        /// The number of the event in its run: 1, 2, 3 … without gaps.
        pub n: u64,
        /// When it happened.
        pub at: Option<Timestamp>,
        /// The child.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub path: Option<String>,
        /// The kind, as one word: `starting`, `ready`, `exited`, `backing-off`, …, or `lost`.
        pub kind: String,
        /// The attempt.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub attempt: Option<u64>,
        /// How much attention it needs: `debug`, `info`, `warn` or `error`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub severity: Option<String>,
        /// One sentence for people.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub text: Option<String>,
        /// Of `lost`: how many events are missing before the next one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub count: Option<u64>,
        /// Of `exited`: the exit.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub exit: Option<Exit>,
        /// Of `exited`: how long the attempt ran.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub ran_s: Option<f64>,
        /// Of `exited`: `true` if others stopped the child.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub stopped_by_others: Option<bool>,
        /// Of `exited`, if the attempt of a program failed by itself: the last lines that it wrote, oldest first.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub lines: Vec<String>,
        /// Of `added`: what runs the child: `task`, `program`, `supervisor`, …
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub of: Option<String>,
        /// Of `ready`: how long it took. Of `unstuck`: how long the poll took.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub took_s: Option<f64>,
        /// Of `starting`: `true` for a restart.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub restart: Option<bool>,
        /// Of `backing-off`: the delay. Of `need-lost`: the grace. Of `time-jump`: by how much deadlines were seen late. Of
        /// `quarantined`: the time until the trial attempt.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub delay_s: Option<f64>,
        /// Of `backing-off`: the number of restarts in a row.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub nth: Option<u32>,
        /// Of `stopped`: the stage that the stop reached.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub stage: Option<String>,
        /// Of `stopped`: why it stays down. Of `unready`, `quarantined`, `gave-up` and others: the reason.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub why: Option<String>,
        /// Of `stuck`: the functions that the thread of the poll was in, the innermost first. Only of programs that are
        /// built with the feature `stacks`.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub stack: Vec<String>,
        /// Of `health`: the health. Of `stuck`: `unhealthy` if the child counts as unhealthy while it is stuck. Of `added`:
        /// `healthy` if anything will say how healthy the child is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub health: Option<Health>,
        /// Of `unready`: the check.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub check: Option<String>,
        /// Of `need-lost` and `stopped-for-need`: the sibling. Of `start-failed`, `gave-up` and the like: the child that
        /// caused it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub child: Option<String>,
        /// Of `restart-set`: how many children start again.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub children: Option<u64>,
        /// Who gave the command from which the event follows.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub by: Option<String>,
        /// Why the command was given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub because: Option<String>,
        /// The name of the child for people.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub title: Option<String>,
        /// The tags of the child.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub tags: Vec<String>,
    }

    /// One line that a program wrote. A line without a path stands for `count` lines that could not be kept.
    pub struct OutputLine {
        /// The run of the tree.
        pub run: u64,
        /// The number of the line in its run, without gaps.
        pub n: u64,
        /// When it was read.
        pub at: Timestamp,
        /// The child.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub path: Option<String>,
        /// The attempt.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub attempt: Option<u64>,
        /// `stdout` or `stderr`; of lost lines, `lost`.
        pub stream: String,
        /// The text without its line end.
        pub line: String,
        /// Of lost lines: how many are missing before the next one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub count: Option<u64>,
    }
}

/// Every kind of event, and `lost`.
pub const EVENT_KINDS: &[&str] = &[
    "added",
    "removed",
    "waiting",
    "starting",
    "ready",
    "exited",
    "backing-off",
    "stopping",
    "killed",
    "abandoned",
    "stopped",
    "finished",
    "need-lost",
    "stopped-for-need",
    "ignored",
    "quarantined",
    "released",
    "paused",
    "resumed",
    "still-runs",
    "gave-up",
    "start-failed",
    "auto-shutdown",
    "auto-shutdown-failed",
    "restart-set",
    "health",
    "unready",
    "ready-again",
    "stuck",
    "unstuck",
    "time-jump",
    "lost",
];

impl Event {
    /// Returns the object that stands for `count` lost events. The next event has the number `next`.
    #[must_use]
    pub fn lost(run: u64, next: u64, count: u64) -> Self {
        Self {
            run,
            n: next.saturating_sub(1),
            kind: "lost".to_owned(),
            count: Some(count),
            ..Self::default()
        }
    }
}
