//! The reference model: manual children, and what a start brings along.

use crate::child::{NEVER, Path, Phase, is_failure};
use crate::reference::Model;
use liveoak_core::IdleReason;

impl Model {
    /// Returns the siblings that a child comes after.
    fn before(&self, path: &str) -> Vec<Path> {
        let Some((parent, _)) = path.rsplit_once('/') else { return Vec::new() };
        let after = self.at(path).spec.after.iter().map(|edge| format!("{parent}/{}", edge.child));
        after.filter(|sibling| self.children.contains_key(sibling)).collect()
    }

    /// Starts the siblings that a child comes after, if they are down only because nothing wants them.
    pub(crate) fn bring_along(&mut self, path: &str) {
        for sibling in self.before(path) {
            let child = self.at(&sibling);
            if self.is_used_up(&sibling) {
                continue;
            }
            if child.phase == Phase::Idle(IdleReason::NotWanted) {
                self.want(&sibling);
                if !self.quarantine_if_survived(&sibling) && !self.park_if_paused(&sibling) {
                    self.set(&sibling, Phase::Waiting);
                }
            } else if child.stopping() && child.unwanted {
                self.want(&sibling);
                self.of(&sibling).start_when_down = true;
            }
        }
    }

    /// Lets a child be wanted because of a sibling.
    fn want(&mut self, path: &str) {
        let child = self.of(path);
        (child.wanted, child.unwanted, child.brought_along) = (true, false, true);
    }

    /// Chooses what starts with a supervisor: what starts by itself, and all that it comes after.
    pub(crate) fn choose_wanted(&mut self, parent: &str) {
        let mut needed: Vec<Path> = Vec::new();
        let kids = self.kids(parent);
        for kid in kids.iter().rev() {
            let child = self.at(kid);
            let used_up = self.is_used_up(kid);
            let own = child.wanted && !child.brought_along && !used_up;
            let called = needed.contains(kid) && (child.wanted || child.unwanted && !used_up);
            if own || called {
                needed.extend(self.before(kid));
            }
            if called && self.at(kid).unwanted {
                self.want(kid);
            } else if !called && self.at(kid).brought_along {
                self.set_unwanted(kid);
            }
        }
    }

    /// Lets a child that is down not be wanted any more.
    fn set_unwanted(&mut self, path: &str) {
        let child = self.of(path);
        (child.wanted, child.unwanted, child.brought_along) = (false, true, false);
        let failed = child.stopped_by_others
            || child
                .last_exit
                .is_some_and(|exit| is_failure(exit) || matches!(exit, "stopped" | "restart-requested"));
        let again = match child.phase {
            Phase::Idle(IdleReason::SupervisorDown | IdleReason::Paused) => true,
            Phase::Idle(IdleReason::Finished) => failed,
            _ => false,
        };
        if again {
            self.set(path, Phase::Idle(IdleReason::NotWanted));
        }
    }

    /// Stops the children that were brought along and that nothing wants any more, the last one first.
    pub(crate) fn stop_unneeded(&mut self, parent: &str) {
        for kid in self.kids(parent).iter().rev() {
            if !self.at(kid).brought_along || !self.at(kid).wanted || self.is_used(parent, kid) {
                continue;
            }
            if matches!(self.at(kid).phase, Phase::Idle(_)) {
                self.of(kid).trial_timer = NEVER;
                self.set_unwanted(kid);
            } else {
                let child = self.of(kid);
                (child.wanted, child.unwanted, child.brought_along) = (false, true, false);
                child.start_when_down = false;
                self.stop(kid);
            }
        }
    }

    /// Returns `true` if a sibling that comes after a child has an attempt, or is to have one by itself.
    fn is_used(&self, parent: &str, kid: &str) -> bool {
        let wants = |other: &Path| {
            let child = self.at(other);
            match child.phase {
                Phase::Idle(IdleReason::Finished | IdleReason::Ignored) => false,
                Phase::Idle(IdleReason::Quarantined) => {
                    child.wanted && (child.trial_timer != NEVER || child.survivors.is_some())
                }
                Phase::Idle(_) => child.wanted,
                _ => true,
            }
        };
        let kids = self.kids(parent);
        kids.iter().any(|other| wants(other) && self.before(other).iter().any(|before| before == kid))
    }

    /// Returns `true` if the start of a manual child would wait for a sibling that a command keeps down, or that is
    /// quarantined.
    pub(crate) fn waits_for_kept_down(&self, path: &str) -> bool {
        let mut open = if self.at(path).spec.manual { self.before(path) } else { Vec::new() };
        while let Some(sibling) = open.pop() {
            let child = self.at(&sibling);
            let down = match child.phase {
                Phase::Idle(IdleReason::NotWanted) => child.paused,
                Phase::Idle(why) => {
                    matches!(why, IdleReason::Paused | IdleReason::Quarantined | IdleReason::StoppedByCommand)
                }
                _ => child.stopping() && !child.wanted && !child.unwanted,
            };
            if down {
                return true;
            }
            if matches!(child.phase, Phase::Idle(IdleReason::NotWanted) | Phase::Waiting) {
                open.extend(self.before(&sibling));
            }
        }
        false
    }
}
