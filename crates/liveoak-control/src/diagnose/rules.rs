//! The table of the rules by which something is found to be wrong. No rule reads a clock or asks the system.

use crate::diagnose::found::{Found, Look};
use crate::diagnose::{of_children, of_system};
use liveoak_api::FindingKind;

/// The most findings of one kind. Further ones are counted in the last.
pub(super) const MOST_OF_A_KIND: usize = 32;

/// One rule.
pub(super) struct Rule {
    pub(super) kind: FindingKind,
    find: fn(&Look<'_>) -> Vec<Found>,
}

/// Every rule, the gravest first.
pub(super) const RULES: [Rule; 11] = [
    Rule { kind: FindingKind::GivenUp, find: of_children::given_up },
    Rule { kind: FindingKind::Stuck, find: of_children::stuck },
    Rule { kind: FindingKind::PortTaken, find: of_system::port_taken },
    Rule { kind: FindingKind::DiskFull, find: of_system::disk_full },
    Rule { kind: FindingKind::RestartStorm, find: of_children::restart_storm },
    Rule { kind: FindingKind::WaitsTooLong, find: of_children::waits_too_long },
    Rule { kind: FindingKind::FlappingCheck, find: of_children::flapping_check },
    Rule { kind: FindingKind::LateStop, find: of_children::late_stop },
    Rule { kind: FindingKind::GrowingMemory, find: of_system::growing_memory },
    Rule { kind: FindingKind::Lost, find: of_system::lost },
    Rule { kind: FindingKind::ClockJump, find: of_system::clock_jump },
];

/// Returns all that is wrong, the gravest first; of one kind, what began first comes first.
pub(super) fn findings(look: &Look<'_>) -> Vec<Found> {
    let mut all = Vec::new();
    for rule in &RULES {
        let mut found = (rule.find)(look);
        debug_assert!(found.iter().all(|found| found.kind == rule.kind), "a rule finds its own kind");
        found.sort_by_key(|found| found.since);
        let more = found.len().saturating_sub(MOST_OF_A_KIND);
        found.truncate(MOST_OF_A_KIND);
        if let Some(last) = found.last_mut().filter(|_| more > 0) {
            last.evidence.push_str(&format!("; {more} more children have a finding of this kind"));
        }
        all.append(&mut found);
    }
    all
}
