//! The health of a child: what it reports while it runs, else what its state says.

use super::Machine;
use super::state::{Child, Index, Phase};
use crate::{Exit, Health, IdleReason};

impl Machine {
    /// Returns the health of a child. A running supervisor is as unhealthy as its worst child.
    pub(super) fn health_of(&self, child: Index) -> Health {
        let state = &self.arena[child];
        let own = own_health(state);
        if state.phase == Phase::Running && state.sup.is_some() {
            let below = self.arena.children(child).map(|child| self.health_of(child));
            return below.fold(own, Health::max);
        }
        own
    }
}

/// Returns the health of a child apart from its own children.
pub(super) fn own_health(child: &Child) -> Health {
    match child.phase {
        Phase::Running => child.record.as_ref().map_or(Health::Healthy, |record| record.health),
        Phase::Idle(IdleReason::Ignored) => Health::Healthy,
        Phase::Idle(IdleReason::Finished) => {
            if child.last_exit().is_some_and(Exit::is_failure) {
                Health::Degraded
            } else {
                Health::Healthy
            }
        }
        Phase::Idle(IdleReason::StoppedByRequest)
        | Phase::Waiting
        | Phase::Starting
        | Phase::Stopping { .. } => Health::Degraded,
        Phase::Idle(IdleReason::SupervisorDown | IdleReason::Quarantined) | Phase::BackingOff => {
            Health::Unhealthy
        }
    }
}
