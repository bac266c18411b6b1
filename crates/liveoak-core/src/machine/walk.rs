//! A walk over the members of a stopping group, one step for each polled effect, so that a million members need no queue.

use super::state::Index;

/// What a walk does to each member.
#[derive(Clone, Copy, Debug)]
pub(super) enum StopAct {
    Ask,
    Kill,
    Abandon,
}

/// One walk.
#[derive(Debug)]
pub(super) struct Walk {
    /// The next member; `None` at the end.
    pub(super) cursor: Option<Index>,
    pub(super) act: StopAct,
}

impl Walk {
    /// Takes notice that `member` leaves the group; `next` is the member after it.
    pub(super) fn skip(&mut self, member: Index, next: Option<Index>) {
        if self.cursor == Some(member) {
            self.cursor = next;
        }
    }
}
