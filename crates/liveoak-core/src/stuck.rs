//! A child that is stuck: one of its polls takes longer than its limit.

use crate::{Attempt, PollLimit, Time};
use std::fmt;
use std::sync::Arc;

/// A poll that takes longer than the limit of its child.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StuckPoll {
    /// The attempt whose code is being polled.
    pub attempt: Attempt,
    /// When the poll began, up to a quarter of the limit late.
    pub since: Time,
    /// The limit that it has exceeded, and what follows.
    pub limit: PollLimit,
    /// The thread that runs the poll, and what this thread was doing when the poll exceeded its limit, if the system
    /// tells.
    pub place: Arc<str>,
    /// The stack of that thread at that moment: one function a line, the innermost first, at most 40. There is none while the
    /// names of two other stacks are being found. Only with the feature `stacks`
    /// of the library, on Linux, and if the thread has answered. The names take time to find, so the event `Stuck` comes
    /// without a stack first, and once more with it.
    pub stack: Option<Arc<str>>,
}

impl StuckPoll {
    /// Returns `true` if both are reports of the same poll.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        (self.attempt, self.since) == (other.attempt, other.since)
    }

    /// Returns the functions of the stack, the innermost first; none if the stack is not known.
    pub fn stack_lines(&self) -> impl Iterator<Item = &str> {
        self.stack.as_deref().unwrap_or_default().lines()
    }
}

impl fmt::Display for StuckPoll {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "one poll takes longer than {:?}, on {}", self.limit.longest, self.place)
    }
}
