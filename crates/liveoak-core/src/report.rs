//! What a stop did, child by child.

use crate::{Exit, Path};
use std::time::Duration;

/// How far the stop of one child had to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StopStage {
    /// It was not running but was to be started (waiting, or backing off): that was cancelled.
    Cancelled,
    /// It ended after being asked.
    Asked,
    /// It had to be killed.
    Killed,
    /// It could not even be killed and was written off.
    Abandoned,
}

impl StopStage {
    /// The stage as one word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cancelled => "cancelled",
            Self::Asked => "asked",
            Self::Killed => "killed",
            Self::Abandoned => "abandoned",
        }
    }

    /// Whether this stage is force.
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
    /// How long it took, from its being asked to its being gone.
    pub took: Duration,
    /// How far the ladder was climbed.
    pub stage: StopStage,
    /// How its attempt ended; none if it had none.
    pub exit: Option<Exit>,
}

/// How many children that ended cleanly are listed one by one; beyond that they are counted. Those that were forced
/// are always listed.
pub const MAX_LISTED: usize = 10_000;

/// A report with this many entries lists no more members of dynamic groups that ended cleanly: they are many alike.
pub const MAX_LISTED_MEMBERS: usize = 100;

/// What a stop did. Nothing forced means success.
#[derive(Clone, Debug, Default)]
pub struct StopReport {
    /// How long the whole stop took.
    pub took: Duration,
    /// The children in the order in which they were gone.
    pub entries: Vec<StopEntry>,
    /// Clean ends that are counted here because [`MAX_LISTED`] or [`MAX_LISTED_MEMBERS`] was reached.
    pub unlisted: u64,
}

impl StopReport {
    /// The children that did not end by themselves when asked.
    pub fn forced(&self) -> impl Iterator<Item = &StopEntry> {
        self.entries.iter().filter(|entry| entry.stage.is_forced())
    }

    /// Whether nothing had to be forced.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.forced().next().is_none()
    }
}
