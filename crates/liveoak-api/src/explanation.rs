//! What a child does now, and why.

use crate::{Check, Health, State, Timestamp, WaitingFor, wire};

wire! {
    /// What a child does now, and why.
    pub struct Explanation {
        /// The path.
        pub path: String,
        /// The state.
        pub state: State,
        /// When it entered this state.
        pub since: Timestamp,
        /// The reason of the state, as one sentence.
        pub why: String,
        /// The children for which it waits, at most 16.
        pub waiting_for: Vec<WaitingFor>,
        /// How many more children it waits for.
        pub more_waits: u64,
        /// The time until the deadline of the state; null without one.
        pub deadline_s: Option<f64>,
        /// `true` if what ends is not started again until it is resumed.
        pub paused: bool,
        /// The last attempt; 0 if none was begun.
        pub attempt: u64,
        /// The number of restarts after attempts that ended by themselves.
        pub restarts: u64,
        /// The health.
        pub health: Health,
        /// Where the child is stuck, if one of its polls exceeds its limit.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub stuck: Option<String>,
        /// The functions that the thread of this poll was in, the innermost first. Only of programs that are built with the
        /// feature `stacks`.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub stack: Vec<String>,
        /// The use of the limit that counts for the child; null if none counts.
        pub window: Option<Window>,
        /// Of a supervisor with an intensity: how much of it is used up.
        pub intensity: Option<Window>,
        /// The next delay of a child that backs off.
        pub backoff: Option<Backoff>,
        /// The last exits, the earliest first; kept from the first failure on.
        pub exits: Vec<ExitRecord>,
        /// The last commands on the child and on the supervisors above it, the earliest first.
        pub commands: Vec<CommandRecord>,
        /// The checks of the attempt that runs.
        pub checks: Vec<Check>,
        /// What is declared of the child.
        pub spec: Spec,
        /// Where the child was declared: `FILE:LINE`; null if that is not known.
        pub origin: Option<String>,
        /// All of this as one screen of text.
        pub text: String,
    }

    /// The use of a limit.
    pub struct Window {
        /// The restarts within the last period.
        pub used: u32,
        /// The restarts that are allowed within the period; of a child, also the failures in a row.
        pub limit: u32,
        /// The period.
        pub period_s: f64,
        /// The failures in a row.
        pub in_a_row: u32,
        /// `true` if it is the intensity of the supervisor, which counts the restarts of all its children.
        pub shared: bool,
    }

    /// The delay of a child that backs off.
    pub struct Backoff {
        /// The time until the next attempt.
        pub next_s: f64,
        /// The number of restarts in a row, including the next one.
        pub nth: u32,
    }

    /// The exit of an earlier attempt.
    pub struct ExitRecord {
        /// The attempt.
        pub attempt: u64,
        /// When it ended.
        pub at: Timestamp,
        /// How long it ran.
        pub ran_s: f64,
        /// The kind of its exit, as one word.
        pub kind: String,
        /// `true` if it is a failure.
        pub failure: bool,
        /// One sentence.
        pub text: String,
        /// `true` if others stopped the attempt.
        pub stopped_by_others: bool,
    }

    /// A command that the tree was given.
    pub struct CommandRecord {
        /// When it was given.
        pub at: Timestamp,
        /// The child.
        pub path: String,
        /// The command, as one word.
        pub command: String,
        /// Who gave it.
        pub by: Option<String>,
        /// Why it was given.
        pub because: Option<String>,
        /// Why it was refused; null if it was carried out.
        pub refused: Option<String>,
    }

    /// What is declared of a child.
    pub struct Spec {
        /// What runs it.
        pub kind: String,
        /// When it is started again after it ended by itself: `permanent`, `transient` or `temporary`.
        pub restart: String,
        /// Of a supervisor: which children are restarted together.
        pub strategy: Option<String>,
        /// The delay before a restart; null if there is none.
        pub backoff: Option<SpecBackoff>,
        /// Its own limit; null if it has none.
        pub limit: Option<Limit>,
        /// `true` if it reports its readiness, or a probe does.
        pub reports_ready: bool,
        /// How long it may take to become ready; null without a bound.
        pub start_within_s: Option<f64>,
        /// How long it may take to stop when asked; null without a bound.
        pub stop_within_s: Option<f64>,
        /// How long it may take to end after a kill; null without a bound.
        pub kill_wait_s: Option<f64>,
        /// How long it is not ready any more before it is asked to stop.
        pub unready_for_s: f64,
        /// How long an attempt may run; null without a bound.
        pub run_within_s: Option<f64>,
        /// The longest time between two heartbeats; null if none is expected.
        pub heartbeat_s: Option<f64>,
        /// The dependencies that must hold before it starts.
        pub after: Vec<SpecEdge>,
        /// The dependencies that must also hold while it runs.
        pub needs: Vec<SpecNeed>,
        /// Its checks.
        pub checks: Vec<SpecCheck>,
    }

    /// The delay before a restart.
    pub struct SpecBackoff {
        /// The first delay.
        pub from_s: f64,
        /// The longest delay.
        pub to_s: f64,
        /// How the delay is spread: `full`, `equal` or `none`.
        pub jitter: String,
        /// How long an attempt must be ready to be stable.
        pub reset_after_s: f64,
    }

    /// How many restarts are allowed.
    pub struct Limit {
        /// The restarts within the period; null if there is no limit.
        pub restarts: Option<u32>,
        /// The period.
        pub period_s: f64,
        /// What happens when it is exceeded: `escalate` or `quarantine`.
        pub give_up: String,
        /// After how long a quarantined child is tried again; null if it is not.
        pub retry_after_s: Option<f64>,
    }

    /// A dependency before the start.
    pub struct SpecEdge {
        /// The sibling's name.
        pub child: String,
        /// What it must have reached.
        pub condition: String,
    }

    /// A dependency that must hold while the child runs.
    pub struct SpecNeed {
        /// The sibling's name.
        pub child: String,
        /// How long the child may run without it.
        pub grace_s: f64,
    }

    /// A check, as declared.
    pub struct SpecCheck {
        /// The name of the check.
        pub check: String,
        /// What follows from it.
        pub kind: String,
        /// The time between two tries.
        pub every_s: f64,
        /// How long a try may take.
        pub timeout_s: f64,
        /// How many failures in a row count as a failure.
        pub failures: u32,
        /// How many successes in a row count as a success.
        pub successes: u32,
    }
}
