//! The report of a stop: how each child was stopped.

use crate::{Exit, Path, StuckPoll};
use std::sync::Arc;
use std::time::Duration;

/// The stage that the stop of one child reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StopStage {
    /// There was no attempt to stop: the child was down, waiting or backing off, or its start by command failed.
    Cancelled,
    /// The child ended after it was asked, or by itself while its supervisor was stopping.
    Asked,
    /// The child was killed.
    Killed,
    /// The child did not end although it was killed, and was abandoned.
    Abandoned,
}

impl StopStage {
    /// Returns the stage as one word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cancelled => "cancelled",
            Self::Asked => "asked",
            Self::Killed => "killed",
            Self::Abandoned => "abandoned",
        }
    }

    /// Returns `true` if the child was killed or abandoned.
    #[must_use]
    pub const fn is_forced(self) -> bool {
        matches!(self, Self::Killed | Self::Abandoned)
    }
}

/// The stop of one child.
#[derive(Clone, Debug)]
pub struct StopEntry {
    /// The child.
    pub path: Path,
    /// The time from the request to stop until the attempt had ended.
    pub took: Duration,
    /// The stage that the stop reached.
    pub stage: StopStage,
    /// The exit of the attempt; `None` if there was no attempt.
    pub exit: Option<Exit>,
    /// The poll that exceeded its limit and was not over when the attempt ended or was abandoned.
    pub stuck: Option<Arc<StuckPoll>>,
}

/// The most entries of a report. Beyond this number, only forced stops are listed; the others are counted.
pub const MAX_LISTED: usize = 10_000;

/// The same bound for the entries of members of dynamic groups.
pub const MAX_LISTED_MEMBERS: usize = 100;

/// How many forced stops a supervisor keeps for the report of the tree's end, after it has ended by itself.
pub const MAX_KEPT_FORCED: usize = 10_000;

/// The report of a stop. The stop is clean if no child was killed or abandoned.
#[derive(Clone, Debug, Default)]
pub struct StopReport {
    /// The time that the whole stop took.
    pub took: Duration,
    /// The children, in the order in which they ended.
    pub entries: Vec<StopEntry>,
    /// The number of children that ended cleanly and are not listed, because there are too many.
    pub unlisted: u64,
    /// The number of children that were killed or abandoned and are not listed: a supervisor that ended before the tree
    /// keeps at most 10,000 entries.
    pub unlisted_forced: u64,
}

impl StopReport {
    /// Returns the children that were killed or abandoned.
    pub fn forced(&self) -> impl Iterator<Item = &StopEntry> {
        self.entries.iter().filter(|entry| entry.stage.is_forced())
    }

    /// Returns `true` if no child was killed or abandoned.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.forced().next().is_none() && self.unlisted_forced == 0
    }
}
