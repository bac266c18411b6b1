//! The reference model: children whose bodies are released, because they never start again.

use crate::child::Phase;
use crate::reference::{Model, ROOT, above};
use liveoak_core::{IdleReason, Restart};

impl Model {
    /// Releases the body of a child that can run only once. Also releases the body of a finished temporary child if
    /// all supervisors above it, except the root, are temporary.
    pub(crate) fn let_go_if_over(&mut self, path: &str) {
        let mut line = std::iter::successors(Some(path.to_owned()), |path| above(path));
        let never_again = line.all(|at| at == ROOT || self.at(&at).spec.restart == Restart::Temporary);
        let finished = self.at(path).phase == Phase::Idle(IdleReason::Finished);
        if finished && never_again || self.is_used_up(path) {
            self.let_go(path);
        }
    }

    /// What was let go once stays so, even if the child below that was let go is removed.
    fn let_go(&mut self, path: &str) {
        if self.at(path).let_go || self.at(path).spec.keep && !self.at(path).spec.once {
            return;
        }
        let is_supervisor = self.at(path).rules().is_some();
        for kid in if is_supervisor { self.kids(path) } else { Vec::new() } {
            self.let_go(&kid);
        }
        let any_below = self.kids(path).iter().any(|kid| self.at(kid).let_go);
        self.of(path).let_go = !is_supervisor || any_below;
    }
}
