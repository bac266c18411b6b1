//! The reference model: what a waiting child waits for, and how long.

use crate::child::{Mode, NEVER, Path, Phase, is_failure};
use crate::reference::{DependencyState, Model, above};
use liveoak_core::{Condition, Edge, FirstStart, Health, IdleReason, Order, Ready, Strategy};

impl Model {
    /// Returns `true` if the child waits for a held dependency, directly or through other waiting children, or for an
    /// unreachable one outside of a first start.
    pub(crate) fn waits_for_held(&self, path: &str) -> bool {
        let Some(parent) = above(path) else { return false };
        let child = self.at(path);
        let never = |edge: &Edge| self.dependency_state(&parent, edge) == DependencyState::Unreachable;
        let after = &child.spec.after;
        if child.phase != Phase::Waiting {
            false
        } else if after.iter().any(never) {
            !self.may_fail_first_start(&parent, path)
        } else {
            after.iter().any(|edge| self.is_held(&parent, edge))
        }
    }

    /// Returns `true` if the dependency was stopped on request, is quarantined, or itself waits for such a child.
    pub(crate) fn is_held(&self, parent: &str, edge: &Edge) -> bool {
        let other = format!("{parent}/{}", edge.child);
        let phase = self.children.get(&other).map(|other| other.phase);
        if self.children.get(&other).is_some_and(|other| other.trial) {
            return true;
        }
        use IdleReason::{NotWanted, Paused, Quarantined, StoppedByCommand};
        matches!(phase, Some(Phase::Idle(StoppedByCommand | NotWanted | Paused | Quarantined)))
            || phase == Some(Phase::Waiting) && self.waits_for_held(&other)
    }

    /// Returns `true` if later siblings do not wait for the child's turn: it is idle, or waits for a held dependency.
    pub(crate) fn blocks_no_sibling(&self, path: &str) -> bool {
        matches!(self.at(path).phase, Phase::Idle(_)) || self.at(path).trial || self.waits_for_held(path)
    }

    /// Returns what a waiting child waits for, and the latest end of that wait.
    pub(crate) fn waits_for(&self, path: &str) -> (String, u64) {
        let Some(parent) = above(path) else { return ("nothing".to_owned(), NEVER) };
        let (kids, child) = (self.kids(&parent), self.at(path));
        let name = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
        let deadline = |path: &str| {
            let other = self.at(path);
            if matches!(other.phase, Phase::Starting | Phase::Waiting) { other.timer } else { NEVER }
        };
        if !child.was_ready {
            if kids.iter().any(|kid| self.at(kid).in_restart_set) {
                return ("group stop".to_owned(), NEVER);
            }
            if let Some(kid) = kids.iter().find(|kid| self.holds_restart_set(&parent, kid)) {
                return (format!("backoff {}", name(kid)), self.at(kid).timer);
            }
            let declared = self.at(&parent).rules().is_some_and(|rules| rules.order == Order::Declared);
            let beside = |kid: &&Path| self.are_replicas(kid, path);
            let mut earlier = kids.iter().take_while(|kid| *kid != path && !beside(kid)).filter(|_| declared);
            if let Some(kid) = earlier.find(|kid| !self.at(kid).was_ready && !self.blocks_no_sibling(kid)) {
                return (format!("turn {}", name(kid)), deadline(kid));
            }
        }
        let rank = |edge: &&Edge| match self.edge_state(&parent, path, edge) {
            DependencyState::Satisfied => 0,
            DependencyState::Unmet => 1,
            DependencyState::Unreachable => 4,
            DependencyState::Pending => 2 + u8::from(self.is_held(&parent, edge)),
        };
        let worst = child.spec.after.iter().map(|edge| rank(&edge)).max().unwrap_or(0);
        let Some(edge) = child.spec.after.iter().find(|edge| worst > 0 && rank(edge) == worst) else {
            if self.has_place(&parent, path) {
                return ("nothing".to_owned(), NEVER);
            }
            let starting = kids.iter().filter(|kid| self.at(kid).phase == Phase::Starting);
            return ("place".to_owned(), starting.map(|kid| deadline(kid)).min().unwrap_or(NEVER));
        };
        let until = match edge.condition {
            _ if child.timer != NEVER => child.timer,
            Condition::Completed => NEVER,
            _ => deadline(&format!("{parent}/{}", edge.child)),
        };
        (format!("{} {:?}", edge.child, edge.condition), until)
    }

    /// Returns `true` if the child backs off and its whole restart set waits for it.
    pub(crate) fn holds_restart_set(&self, parent: &str, kid: &str) -> bool {
        let strategy = self.at(parent).rules().map_or(Strategy::OneForOne, |rules| rules.strategy);
        let kid = self.at(kid);
        strategy != Strategy::OneForOne
            && kid.phase == Phase::BackingOff
            && !kid.was_ready
            && !kid.needs.stopped
    }

    /// Returns how many children of a supervisor may be starting at a time.
    pub(crate) fn places(&self, parent: &str) -> Option<u32> {
        self.at(parent).rules().and_then(|rules| rules.max_starting)
    }

    /// Returns `true` if one more child may be starting, or the child is ready as soon as it runs.
    pub(crate) fn has_place(&self, parent: &str, kid: &str) -> bool {
        let starting = self.kids(parent).iter().filter(|kid| self.at(kid).phase == Phase::Starting).count();
        let child = self.at(kid);
        let at_once = child.is_leaf() && child.spec.ready == Ready::AtOnce;
        at_once || self.places(parent).is_none_or(|places| starting < places as usize)
    }

    pub(crate) fn is_first_start(&self, parent: &str, kid: &str) -> bool {
        self.at(parent).mode == Mode::Starting && !self.at(kid).ever_ready && !self.at(kid).added
    }

    pub(crate) fn may_fail_first_start(&self, parent: &str, kid: &str) -> bool {
        let retries = self.at(parent).rules().is_some_and(|rules| rules.first_start == FirstStart::Retry);
        self.is_first_start(parent, kid) && !retries && !self.at(kid).trial
    }

    /// Returns `true` if both children are replicas of one set.
    pub(crate) fn are_replicas(&self, one: &str, other: &str) -> bool {
        let set = &self.at(one).spec.replica_of;
        set.is_some() && *set == self.at(other).spec.replica_of
    }

    /// Returns the state of one dependency.
    pub(crate) fn dependency_state(&self, parent: &str, edge: &Edge) -> DependencyState {
        let path = format!("{parent}/{}", edge.child);
        let Some(other) = self.children.get(&path) else { return DependencyState::Unreachable };
        let holds = match other.phase {
            _ if other.trial => false,
            Phase::Idle(IdleReason::Ignored) => true,
            Phase::Idle(IdleReason::Finished) if other.stopped_by_others => {
                return DependencyState::Unreachable;
            }
            Phase::Idle(IdleReason::Finished) => match other.last_exit {
                Some("stopped" | "restart-requested") => return DependencyState::Unreachable,
                Some(exit) if is_failure(exit) => return DependencyState::Unreachable,
                _ => true,
            },
            Phase::BackingOff => return DependencyState::Unmet,
            Phase::Starting => edge.condition == Condition::Started,
            Phase::Running => match edge.condition {
                Condition::Started | Condition::Ready => true,
                Condition::Healthy if self.health(&path) == Health::Healthy => true,
                Condition::Healthy | Condition::Completed => return DependencyState::Unmet,
            },
            _ => false,
        };
        if holds { DependencyState::Satisfied } else { DependencyState::Pending }
    }
}
