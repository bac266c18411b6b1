//! The reference model: processes that are still alive after their attempt was abandoned.

use crate::child::{Mode, Phase};
use crate::reference::{Model, above};
use liveoak_core::{Command, IdleReason};

impl Model {
    /// Notes that the live attempt of a leaf runs a process. A killed child is abandoned if its kill was refused.
    pub(crate) fn may_survive(&mut self, path: &str, refused: bool) {
        self.of(path).survivors = Some(refused);
        if refused && self.at(path).phase == (Phase::Stopping { killed: true }) {
            self.abandon(path);
        }
    }

    /// Notes that the last process is gone. A child that was quarantined because of it starts.
    pub(crate) fn gone(&mut self, path: &str) {
        let child = self.of(path);
        child.survivors = None;
        let quarantined = child.phase == Phase::Idle(IdleReason::Quarantined) && !child.by_command;
        let gave_up = child.gave_up;
        if quarantined && child.unwanted && !gave_up {
            return self.set(path, Phase::Idle(IdleReason::NotWanted));
        }
        let quarantined = quarantined && !child.unwanted;
        let up = |parent: String| matches!(self.at(&parent).mode, Mode::Starting | Mode::Up);
        if quarantined && self.down.is_none() && above(path).is_some_and(up) {
            if gave_up {
                self.schedule_trial(path);
            } else if !self.park_if_paused(path) {
                self.start_or_wait(path);
            }
        }
    }

    /// Quarantines a child that would start now, if a process of its last attempt is still alive.
    pub(crate) fn quarantine_if_survived(&mut self, path: &str) -> bool {
        if self.at(path).survivors.is_none() {
            return false;
        }
        self.of(path).start_by_command = false;
        self.set(path, Phase::Idle(IdleReason::Quarantined));
        self.answer(path, |command| match command {
            Command::Stop => Some("stopped"),
            Command::Remove => None,
            _ => Some("still runs"),
        });
        true
    }
}
