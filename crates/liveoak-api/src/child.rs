//! How one child is, and the children below it.

use crate::{Timestamp, wire};

wire! {
    /// The state of a child, as one word.
    #[derive(Copy, Eq)]
    #[serde(rename_all = "kebab-case")]
    pub enum State {
        /// It waits until it may start.
        Waiting,
        /// Its attempt is not ready yet.
        Starting,
        /// Its attempt is ready.
        Running,
        /// It waits for the delay before its restart.
        BackingOff,
        /// It is being stopped.
        Stopping,
        /// It is down, and does not start by itself.
        Stopped,
        /// It has ended and is not restarted.
        Finished,
        /// It was given up on, or a command took it out of service.
        Quarantined,
        /// It ended while it was paused.
        Paused,
    }

    /// The health of a child or of a tree.
    #[derive(Copy, Eq)]
    #[serde(rename_all = "kebab-case")]
    pub enum Health {
        /// It does its work.
        Healthy,
        /// It works badly, is not ready, or was stopped by a command.
        Degraded,
        /// It does not do its work.
        Unhealthy,
        /// Nothing says how healthy it is: show it as "running".
        Unknown,
    }

    /// A child at one moment.
    pub struct Child {
        /// The path, such as `/shop/api`.
        pub path: String,
        /// The name for people.
        pub title: Option<String>,
        /// What runs it: `task`, `service`, `thread`, `program`, `supervisor` or `group`.
        pub kind: String,
        /// The state.
        pub state: State,
        /// The finer word of the state, where the state has several reasons: of `stopped`, for example `stopped` (by a command),
        /// `down` (with its supervisor) or `not-wanted` (by the mode).
        pub why: String,
        /// `true` if what ends is not started again until it is resumed.
        pub paused: bool,
        /// The health.
        pub health: Health,
        /// Why it has this health, if a check or the child itself says so.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub health_reason: Option<String>,
        /// `true` if it runs and no readiness check fails; of a supervisor, if all running children below are ready.
        pub ready: bool,
        /// The number of the last attempt; 0 if none was begun.
        pub attempt: u64,
        /// The number of restarts after attempts that ended by themselves.
        pub restarts: u64,
        /// The process of a program that runs; null for everything else.
        pub pid: Option<u32>,
        /// When it entered its state.
        pub since: Timestamp,
        /// For how long it has been in its state.
        pub state_s: f64,
        /// The longest time that the state can still take; null without a bound.
        pub remaining_s: Option<f64>,
        /// The child for which it waits, in a list of at most one; empty if it waits for none.
        pub waiting_for: Vec<WaitingFor>,
        /// The exit of the last attempt that has ended.
        pub last_exit: Option<Exit>,
        /// The tags.
        pub tags: Vec<String>,
        /// The role: `service`, `worker`, `job`, `sidecar` or `supervisor`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub role: Option<String>,
        /// How much depends on it: `low`, `normal`, `high` or `critical`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub criticality: Option<String>,
        /// Of a supervisor: which children are restarted together.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub strategy: Option<String>,
        /// The time until the trial attempt of a quarantined child.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub retry_s: Option<f64>,
        /// `true` if the child was given up on, and its attempt is a trial.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        pub trial: bool,
        /// `true` if anything says how healthy it is while it runs: a check, or the child itself.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        pub reports_health: bool,
        /// Of the children and the root at an earlier moment: `false` if events around that moment are missing, so that the
        /// tree may have been different.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub exact: Option<bool>,
        /// Where the child is stuck, if one of its polls exceeds its limit.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub stuck: Option<String>,
        /// The functions that the thread of this poll was in, the innermost first. Only of programs that are built with the
        /// feature `stacks`.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub stack: Vec<String>,
        /// The checks of the attempt that runs.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub checks: Vec<Check>,
        /// The children below it, in start order; absent in flat lists, and for what can have none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub children: Option<Vec<Child>>,
    }

    /// A whole tree at one moment. The events from `n + 1` of the same run on say what has changed since then.
    pub struct Tree {
        /// The run of the tree to which the event number belongs.
        pub run: u64,
        /// The number of the last event that the tree includes.
        pub n: u64,
        /// The moment.
        pub at: Timestamp,
        /// The root.
        #[serde(flatten)]
        pub root: Child,
    }

    /// What a child waits for.
    pub struct WaitingFor {
        /// The child that is waited for.
        pub path: String,
        /// What it must be: `started`, `ready`, `healthy`, `completed` or `down`.
        pub condition: String,
        /// What it is now.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub state: Option<String>,
        /// Since when it is so.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub since: Option<Timestamp>,
        /// The longest time that the wait can still take; null without a bound.
        pub remaining_s: Option<f64>,
    }

    /// How an attempt ended.
    pub struct Exit {
        /// The kind, as one word: `completed`, `failed`, `panicked`, `code`, `signal`, …
        pub kind: String,
        /// `true` if it is a failure.
        pub failure: bool,
        /// One sentence.
        pub text: String,
        /// The exit code of a program.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub code: Option<i32>,
        /// The signal that ended a program.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub signal: Option<i32>,
        /// Where it panicked: `file:line:column`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub location: Option<String>,
        /// The backtrace of a panic.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub backtrace: Option<String>,
    }

    /// A check of the attempt that runs.
    pub struct Check {
        /// The name of the check.
        pub check: String,
        /// What follows from it: `startup`, `readiness` or `liveness`.
        pub kind: String,
        /// `true` if it failed as often in a row as it may, and has not passed again.
        pub failing: bool,
        /// The number of tries.
        pub tries: u64,
        /// The number of failures in a row.
        pub failures: u32,
        /// When the last try was over.
        pub at: Option<Timestamp>,
        /// Why the last try failed; null if it passed, or there was none.
        pub answer: Option<String>,
    }
}

impl State {
    /// Returns the state as one word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::BackingOff => "backing-off",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Finished => "finished",
            Self::Quarantined => "quarantined",
            Self::Paused => "paused",
        }
    }
}

impl Health {
    /// Returns the health as one word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Unhealthy => "unhealthy",
            Self::Unknown => "unknown",
        }
    }
}

impl Child {
    /// Returns this child and all children below it, parents first.
    pub fn all(&self) -> impl Iterator<Item = &Self> {
        let mut open = vec![self];
        std::iter::from_fn(move || {
            let child = open.pop()?;
            open.extend(child.children.iter().flatten().rev());
            Some(child)
        })
    }

    /// Returns `true` if it has children of its own: it is a supervisor or a group.
    #[must_use]
    pub fn is_parent(&self) -> bool {
        matches!(self.kind.as_str(), "supervisor" | "group")
    }
}
