//! How long one poll of a child may take, and what follows when it takes longer.
//!
//! The driver watches the polls; the machine decides what follows. The rules are in `machine/stuck.rs`.

use std::time::Duration;

/// How long one poll of a child may take. A child whose poll takes longer is *stuck*: its code blocks a thread of its
/// runtime, so the child can neither stop nor be dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PollLimit {
    /// The longest time, more than zero; [`Duration::MAX`] sets no limit.
    pub longest: Duration,
    /// What follows when a poll takes longer.
    pub when_stuck: WhenStuck,
}

impl PollLimit {
    /// Makes a limit that is only reported when it is exceeded.
    #[must_use]
    pub const fn new(longest: Duration) -> Self {
        Self { longest, when_stuck: WhenStuck::Report }
    }

    /// Sets what follows when a poll takes longer. Default: [`WhenStuck::Report`].
    #[must_use]
    pub const fn when_stuck(mut self, when_stuck: WhenStuck) -> Self {
        self.when_stuck = when_stuck;
        self
    }
}

/// What follows when a child is stuck. In each case there is an event, and snapshots and stop reports show the poll.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenStuck {
    /// Nothing more.
    #[default]
    Report,
    /// The child is unhealthy until the poll is over.
    Unhealthy,
    /// The attempt is abandoned, which counts as a failure, and the child is restarted by its rule. The poll still runs
    /// then, and keeps its thread; the new attempt needs another thread of the runtime. A child that is already being
    /// stopped keeps the deadlines of its stop.
    Abandon,
}

impl WhenStuck {
    /// Returns the choice as one word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Report => "report",
            Self::Unhealthy => "unhealthy",
            Self::Abandon => "abandon",
        }
    }
}
