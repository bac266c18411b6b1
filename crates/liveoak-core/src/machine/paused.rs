//! What a pause means for one child: it is started by commands only.
//!
//! What runs goes on running, and keeps its state. Where the tree would start a child by itself, a paused child is set aside
//! instead, in the state `paused`:
//!
//! | a paused child | what follows |
//! |---|---|
//! | ends, and its restart rule would restart it | it is `paused`; its limit is not charged, and its siblings are not touched |
//! | ends for good | it is `finished`, as without a pause |
//! | waits for its start, or for the delay before a restart | it is `paused` at once |
//! | is stopped with its restart set | it is `paused`, and the set starts again without it |
//! | is started with its supervisor | it is `paused` |
//! | is quarantined by its limit | it makes no trial until it is resumed |
//! | fails in a first start | it is `paused`; its supervisor does not fail |
//!
//! For its siblings and its supervisor, a child that is down and paused is like one that was stopped by command.
//! `pause.rs` has the commands.

use super::state::{Index, Phase};
use super::{Command, Machine, Outcome, Refusal};
use crate::{EventKind, Exit, IdleReason, StopStage};

impl Machine {
    /// Pauses one child, or ends its pause. Its phase stays as it is.
    pub(super) fn set_paused(&mut self, child: Index, paused: bool) {
        if self.arena[child].flags.paused != paused {
            self.arena[child].flags.paused = paused;
            self.emit(child, || if paused { EventKind::Paused } else { EventKind::Resumed });
        }
    }

    /// Ends the pause of a child, and of all children below it, because a command starts it. Members of groups leave the tree
    /// with their group, so the command does not start them.
    pub(super) fn end_pause(&mut self, child: Index) {
        self.set_paused(child, false);
        for below in self.arena[child].sup.as_ref().map(|sup| sup.ordered().to_vec()).unwrap_or_default() {
            self.end_pause(below);
        }
    }

    /// Sets a child without an attempt aside, if it would start now and is paused. Returns `true` if so. The root starts once,
    /// and again only by a command, so it is never set aside.
    pub(super) fn park_if_paused(&mut self, child: Index) -> bool {
        let paused = self.arena[child].flags.paused && child != self.root;
        let down = Phase::Idle(IdleReason::Paused);
        if paused && self.arena[child].phase != down {
            let (stage, why) = (StopStage::Cancelled, IdleReason::Paused);
            self.emit(child, || EventKind::Stopped { stage, why });
            let flags = &mut self.arena[child].flags;
            (flags.start_requested, flags.restarts_next) = (false, false);
            self.set_phase(child, down);
            let report = self.close_log(child);
            self.answer(child, |command| match command {
                Command::Stop => Some(Ok(Outcome::Stopped(report.clone()))),
                Command::Remove => None,
                _ => Some(Err(Refusal::Superseded { by: "a pause" })),
            });
            let parent = self.arena[child].parent;
            self.mark_to_evaluate(parent);
        }
        paused
    }

    /// Sets aside a paused child whose attempt ended by itself. Without the pause it would be restarted.
    pub(super) fn end_while_paused(&mut self, child: Index, exit: &Exit) {
        if !self.arena[child].flags.attempt_ready {
            self.refuse_starts(child, exit);
        }
        if !self.quarantine_if_survived(child) {
            self.park_if_paused(child);
        }
    }
}
