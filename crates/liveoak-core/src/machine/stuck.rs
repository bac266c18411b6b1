//! What follows when a poll of a child takes longer than its limit ([`PollLimit`]).
//!
//! The driver watches the polls and reports two moments: a poll has exceeded the limit, and no poll of the attempt does
//! any more. The limit of a child is its own, else that of the nearest supervisor above it that has one.
//!
//! | `when_stuck` | event and snapshot | health | attempt |
//! |---|---|---|---|
//! | report | yes | not changed | runs on |
//! | unhealthy | yes | unhealthy until the poll is over | runs on |
//! | abandon | yes | | abandoned with [`Exit::Unhealthy`], unless it is being stopped already |

use super::Machine;
use super::state::Index;
use crate::{ChildId, EventKind, Exit, Name, PollLimit, StuckPoll, Unhealthy, WhenStuck};
use std::sync::Arc;
use std::time::Duration;

/// The name that stands for the watch of the polls where an exit names a check.
const CHECK: &str = "polls";

impl Machine {
    /// Returns `false` if no child and no supervisor was declared with a limit of its polls.
    #[inline]
    #[must_use]
    pub const fn has_poll_limits(&self) -> bool {
        self.arena.some_poll_limits
    }

    /// Returns how long a poll of a child may take, or `None` if there is no limit.
    #[must_use]
    pub fn poll_limit(&self, id: ChildId) -> Option<PollLimit> {
        let child = self.arena.index_of(id)?;
        let declared = self.arena.line_up_from(child).find_map(|at| self.arena[at].spec.poll_limit);
        declared.filter(|limit| limit.longest != Duration::MAX)
    }

    /// Returns `true` while a child is stuck in this poll.
    #[must_use]
    pub fn is_stuck_in(&self, id: ChildId, poll: &StuckPoll) -> bool {
        let child = self.arena.index_of(id);
        child.is_some_and(|child| self.arena[child].stuck_poll().is_some_and(|known| known.is_same(poll)))
    }

    /// Handles the report that a poll of a child has exceeded its limit, or the later report of its stack: the names of
    /// functions take time to find.
    pub(super) fn reported_stuck(&mut self, child: Index, poll: Arc<StuckPoll>) {
        let is_known = self.arena[child].stuck_poll().is_some_and(|known| known.is_same(&poll));
        if is_known != poll.stack.is_some() {
            // The poll was over before its stack was known, or it was reported before.
            return;
        }
        self.arena.record_or_new(child).stuck = Some(Arc::clone(&poll));
        self.emit(child, || EventKind::Stuck(Arc::clone(&poll)));
        if is_known {
            return;
        }
        self.refresh_health(child);
        let is_stopping = self.arena[child].phase.is_stopping();
        if poll.limit.when_stuck == WhenStuck::Abandon && !is_stopping {
            let check = Name::new(CHECK).unwrap_or_else(|_| unreachable!("`{CHECK}` is a name"));
            let exit = Exit::Unhealthy(Arc::new(Unhealthy { check, reason: poll.to_string().into() }));
            self.arena.record_or_new(child).cause = Some(exit);
            self.abandon(child);
        }
    }

    /// Handles the report that no poll of a child exceeds its limit any more.
    pub(super) fn reported_unstuck(&mut self, child: Index) {
        let Some(poll) = self.arena[child].stuck_poll().cloned() else { return };
        self.arena.record_or_new(child).stuck = None;
        let after = self.now.since(poll.since);
        self.emit(child, || EventKind::Unstuck { attempt: poll.attempt, after });
        self.refresh_health(child);
    }
}
