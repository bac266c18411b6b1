//! How a whole tree is.

use crate::{Health, Timestamp, TreeFailure, wire};

wire! {
    /// What a whole tree is doing.
    #[derive(Copy, Eq)]
    #[serde(rename_all = "kebab-case")]
    pub enum TreeState {
        /// Its children start for the first time.
        Starting,
        /// It was ready, and goes on.
        Alive,
        /// It stops.
        Stopping,
        /// It has ended, and its exit is no failure.
        Completed,
        /// It has ended with a failure.
        Failed,
    }

    /// How a whole tree is, as one value.
    pub struct Status {
        /// The name of the tree.
        pub tree: String,
        /// The process that runs it.
        pub pid: u32,
        /// The file that declares it, or the program that contains it.
        pub file: Option<String>,
        /// What it is doing.
        pub state: TreeState,
        /// `true` if it is alive, and each running child is ready.
        pub ready: bool,
        /// The health of the worst child.
        pub health: Health,
        /// When it entered its state.
        pub since: Timestamp,
        /// When it began.
        pub began: Timestamp,
        /// The number of children that are neither supervisors nor groups.
        pub children: u64,
        /// How many of them run.
        pub running: u64,
        /// How many of them have failed and are not up again, or are unhealthy.
        pub failing: u64,
        /// The mode in force; null if all children are wanted.
        pub mode: Option<String>,
        /// The modes that can be chosen.
        pub modes: Vec<String>,
        /// Why the tree has failed; null if it has not.
        pub failure: Option<TreeFailure>,
        /// The children whose code blocks the runtime now, if any does.
        pub blocked_by: Vec<String>,
        /// The run of the tree to which event numbers belong.
        pub run: u64,
        /// The number of events that were lost, because they came faster than they could be kept.
        pub events_lost: u64,
        /// The version of Liveoak.
        pub version: String,
    }
}

impl TreeState {
    /// Returns the state as one word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Alive => "alive",
            Self::Stopping => "stopping",
            Self::Completed => "completed",
            Self::Failed => "failed",
        }
    }
}

impl Status {
    /// Returns `true` if the tree is ready, and nothing in it is degraded or unhealthy.
    #[must_use]
    pub const fn is_good(&self) -> bool {
        self.ready && matches!(self.health, Health::Healthy | Health::Unknown)
    }
}
