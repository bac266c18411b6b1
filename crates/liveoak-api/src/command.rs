//! What a caller wants, and what came of it.

use crate::{Problem, State, wire};

wire! {
    /// A command on children.
    #[derive(Default)]
    #[serde(deny_unknown_fields)]
    pub struct CommandRequest {
        /// The children: paths, which may leave out the name of the tree, or patterns (`ingest/*`, `**`).
        #[cfg_attr(feature = "schema", schemars(length(min = 1), inner(length(max = crate::MAX_PATTERN), regex(pattern = crate::openapi::PATTERN))))]
        pub paths: Vec<String>,
        /// Who gives the command. At most 256 bytes are kept.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub by: Option<String>,
        /// Why the command is given. At most 256 bytes are kept.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub because: Option<String>,
        /// How long to wait for the effect. The command is carried out all the same when the time is over. Without it, the
        /// answer comes when the command has taken effect, however long that takes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "schema", schemars(range(min = 0.0)))]
        pub within_s: Option<f64>,
        /// `true` to get the plan only. Nothing is done.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        pub dry_run: bool,
    }

    /// A change of the mode.
    #[derive(Default)]
    #[serde(deny_unknown_fields)]
    pub struct ModeRequest {
        /// The mode.
        pub mode: String,
        /// What happens after a failed step: `back` (the default) or `stay`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "schema", schemars(regex(pattern = "^(back|stay)$")))]
        pub on_failure: Option<String>,
        /// Who gives the command.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub by: Option<String>,
        /// Why the command is given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub because: Option<String>,
        /// `true` to get the plan only. Nothing is done.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        pub dry_run: bool,
    }

    /// The end of the whole tree.
    #[derive(Default)]
    #[serde(deny_unknown_fields)]
    pub struct DownRequest {
        /// Who gives the command.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub by: Option<String>,
        /// Why the command is given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub because: Option<String>,
        /// After how long what still runs is killed. Without it, the budget of the tree holds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "schema", schemars(range(min = 0.0)))]
        pub within_s: Option<f64>,
    }

    /// The declaration of the tree, read again, takes the place of the one that runs.
    #[derive(Default)]
    #[serde(deny_unknown_fields)]
    pub struct ApplyRequest {
        /// The file that the caller means. Another file than that of the tree is refused.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub file: Option<String>,
        /// Who gives the command.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub by: Option<String>,
        /// Why the command is given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub because: Option<String>,
        /// `true` to get the plan only. Nothing is done.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        pub dry_run: bool,
        /// The steps that the caller has agreed to, without those that keep a child. If others are due by now, nothing is
        /// done (`plan-changed`).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub agreed: Option<Vec<PlanStep>>,
    }

    /// Another number of replicas of one child.
    #[derive(Default)]
    #[serde(deny_unknown_fields)]
    pub struct ScaleRequest {
        /// The child, as the file names it: without the number of a replica.
        pub path: String,
        /// How many replicas it shall have.
        pub replicas: u32,
        /// Who gives the command.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub by: Option<String>,
        /// Why the command is given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub because: Option<String>,
        /// `true` to get the plan only. Nothing is done.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        pub dry_run: bool,
        /// The steps that the caller has agreed to, without those that keep a child. If others are due by now, nothing is
        /// done (`plan-changed`).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub agreed: Option<Vec<PlanStep>>,
    }

    /// What came of a command on one child.
    #[derive(Copy, Eq)]
    #[serde(rename_all = "kebab-case")]
    pub enum Outcome {
        /// The child is ready.
        Ready,
        /// The child ended with success before it was ready.
        Finished,
        /// The child reported that it is not needed.
        Ignored,
        /// The child is down and stays down.
        Stopped,
        /// The child has left the tree.
        Removed,
        /// The child is paused.
        Paused,
        /// The child is not paused any more.
        Resumed,
        /// The child is quarantined.
        Quarantined,
        /// The child goes on under other rules.
        Changed,
        /// Nothing was done, because nothing had to be done, or the command on a supervisor above includes the child.
        Kept,
        /// The command was refused: `error` says why.
        Refused,
        /// The start was tried, and the attempt failed: `error` says how.
        Failed,
        /// The time to wait was over. The command is carried out all the same.
        Pending,
    }

    /// What came of a command on one child: the answer belongs to the attempt that the command made.
    pub struct CommandResult {
        /// The child.
        pub path: String,
        /// What came of it.
        pub outcome: Outcome,
        /// The attempt of the answer; of a stop, the attempt that was stopped. 0 if there was none.
        pub attempt: u64,
        /// The state of the child when the answer was made; null if it has left the tree.
        pub state: Option<State>,
        /// Why nothing was done, for `kept`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub reason: Option<String>,
        /// Why it was refused, or how it failed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub error: Option<Problem>,
    }

    /// One step of a plan.
    pub struct PlanStep {
        /// The child.
        pub path: String,
        /// What is done: `start`, `stop`, `restart`, `change`, `keep`, or the verb of the command.
        pub step: String,
        /// Why the step is taken, or why the child is kept.
        pub reason: String,
        /// The state of the child now.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub state: Option<String>,
    }

    /// One step of a plan, and what came of it.
    pub struct StepOutcome {
        /// The child.
        pub path: String,
        /// What was to be done: `start`, `stop`, `restart`, `change` or `keep`.
        pub step: String,
        /// Why it was to be done.
        pub reason: String,
        /// What came of it.
        pub outcome: Outcome,
        /// The attempt of the answer; of a stop, the attempt that was stopped. 0 if there was none.
        pub attempt: u64,
        /// The state of the child when the answer was made; null if it has left the tree.
        pub state: Option<State>,
        /// Why it was refused, or how it failed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub error: Option<Problem>,
    }

    /// A plan, and what came of it.
    pub struct Planned {
        /// The steps, in order.
        pub plan: Vec<PlanStep>,
        /// `done`, `failed`, `went-back`, `superseded`, or null if nothing was asked for but the plan.
        pub end: Option<String>,
        /// What failed, and what is not up.
        pub failed: Vec<CommandResult>,
    }

    /// What to wait for.
    #[derive(Copy, Eq)]
    #[serde(rename_all = "kebab-case")]
    pub enum WaitFor {
        /// It runs and is ready.
        Ready,
        /// It runs.
        Running,
        /// It is down: stopped, not wanted, paused, quarantined, or ended for good.
        Stopped,
        /// It has ended with success, for good.
        Completed,
        /// It runs and is healthy.
        Healthy,
    }

    /// The answer to a wait.
    pub struct Waited {
        /// The child.
        pub path: String,
        /// Its state when the wait was over.
        pub state: State,
        /// How long the wait took.
        pub waited_s: f64,
        /// `false` if the time was over, or the wait can never end, before the child was as wanted.
        pub reached: bool,
        /// Why the wait ended early, or what the child waits for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub reason: Option<String>,
    }

    /// What a check said when it was asked.
    pub struct CheckAnswer {
        /// The child.
        pub path: String,
        /// The name of the check.
        pub check: String,
        /// What follows from the check: `startup`, `readiness` or `liveness`.
        pub kind: String,
        /// `true` if it passed.
        pub ok: bool,
        /// How long the answer took.
        pub took_s: f64,
        /// Why it failed; null if it passed.
        pub answer: Option<String>,
    }
}

impl Outcome {
    /// Returns `true` if the command did not have its effect.
    #[must_use]
    pub const fn is_bad(self) -> bool {
        matches!(self, Self::Refused | Self::Failed | Self::Pending)
    }

    /// Returns the outcome as one word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Finished => "finished",
            Self::Ignored => "ignored",
            Self::Stopped => "stopped",
            Self::Removed => "removed",
            Self::Paused => "paused",
            Self::Resumed => "resumed",
            Self::Quarantined => "quarantined",
            Self::Changed => "changed",
            Self::Kept => "kept",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Pending => "pending",
        }
    }
}

impl WaitFor {
    /// Every value, in the order in which messages list them.
    pub const ALL: [Self; 5] = [Self::Ready, Self::Running, Self::Stopped, Self::Completed, Self::Healthy];

    /// Returns the word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Running => "running",
            Self::Stopped => "stopped",
            Self::Completed => "completed",
            Self::Healthy => "healthy",
        }
    }
}
