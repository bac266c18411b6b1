//! What a start brings along: the siblings that the child comes after, if they are down only because nothing wants them
//! (`wish.rs`).
//!
//! Only what is down by declaration comes along. The start of a manual child is refused if it would wait for a sibling
//! that a command stopped, or that is paused or quarantined: the person who asks for it must decide about that sibling.

use super::state::{Index, Intent, Phase};
use super::{Machine, Refusal};
use crate::{EventKind, IdleReason, StopStage};
use std::collections::BTreeSet;

impl Machine {
    /// Lets a child wait until an evaluation of its supervisor finds that it may start. What it comes after comes along.
    pub(super) fn enqueue_start(&mut self, child: Index) {
        self.starts += 1;
        self.set_phase(child, Phase::Waiting);
        self.expect_start_in_time(child);
        self.emit(child, || EventKind::Waiting);
        self.mark_to_evaluate(self.arena[child].parent);
        if self.arena.some_unwanted {
            self.bring_along(child);
        }
    }

    /// Starts the siblings that a child comes after, if they are down only because nothing wants them.
    fn bring_along(&mut self, child: Index) {
        for sibling in self.siblings_before(child) {
            let state = &self.arena[sibling];
            match (state.phase, state.intent) {
                (Phase::Idle(IdleReason::NotWanted), _) if !state.is_used_up() => {
                    self.arena[sibling].intent = Intent::Run;
                    self.arena.record_or_new(sibling).brought_along = true;
                    if !self.quarantine_if_survived(sibling) && !self.park_if_paused(sibling) {
                        self.enqueue_start(sibling);
                    }
                }
                (Phase::Stopping { .. }, Intent::Unwanted) if !state.is_used_up() => {
                    self.arena[sibling].intent = Intent::Restart;
                    self.arena.record_or_new(sibling).brought_along = true;
                }
                _ => {}
            }
        }
    }

    /// Chooses the children that start with their supervisor: what was brought along comes along again only if a child that
    /// starts comes after it.
    pub(super) fn choose_wanted(&mut self, sup: Index) {
        if !self.arena.some_unwanted {
            return;
        }
        let mut needed = BTreeSet::new();
        // Each child comes after earlier ones only.
        for child in self.arena.sup(sup).ordered().to_vec().into_iter().rev() {
            let state = &self.arena[child];
            let own = state.intent.is_to_run() && !state.is_brought_along() && !state.is_used_up();
            if own || needed.contains(&child) && state.intent.is_to_run() {
                needed.extend(self.siblings_before(child));
            } else if needed.contains(&child) && state.intent == Intent::Unwanted && !state.is_used_up() {
                self.arena[child].intent = Intent::Run;
                self.arena.record_or_new(child).brought_along = true;
                needed.extend(self.siblings_before(child));
            } else if state.is_brought_along() {
                self.set_unwanted(child);
            }
        }
    }

    /// Lets a child that is down not be wanted any more. A job that has succeeded stays finished. One that has not is run
    /// again by the next start that brings it along.
    pub(super) fn set_unwanted(&mut self, child: Index) {
        self.forget_wish(child);
        let state = &mut self.arena[child];
        state.intent = Intent::Unwanted;
        let tried_again = match state.phase {
            Phase::Idle(IdleReason::SupervisorDown | IdleReason::Paused) => true,
            Phase::Idle(IdleReason::Finished) => !state.has_succeeded(),
            _ => false,
        };
        if tried_again {
            self.set_down_unwanted(child);
        }
    }

    /// Changes the reason why a child is down: it is not wanted.
    pub(super) fn set_down_unwanted(&mut self, child: Index) {
        let why = IdleReason::NotWanted;
        self.set_phase(child, Phase::Idle(why));
        self.emit(child, || EventKind::Stopped { stage: StopStage::Cancelled, why });
    }

    /// Refuses to start a manual child that would wait for a sibling that a command keeps down, or that is quarantined.
    pub(super) fn check_nothing_is_kept_down(&self, child: Index) -> Result<(), Refusal> {
        let mut open = if self.arena[child].spec.manual { self.siblings_before(child) } else { Vec::new() };
        while let Some(sibling) = open.pop() {
            let state = &self.arena[sibling];
            let by_command = matches!(state.intent, Intent::Stop | Intent::Quarantine | Intent::Remove);
            let is_kept_down = match state.phase {
                Phase::Idle(IdleReason::Paused | IdleReason::Quarantined) => true,
                Phase::Idle(IdleReason::StoppedByCommand) => true,
                Phase::Idle(IdleReason::NotWanted) if state.flags.paused => true,
                Phase::Stopping { .. } => by_command,
                _ => false,
            };
            if is_kept_down {
                let state = self.state_of(sibling).as_str();
                return Err(Refusal::KeptDown { path: self.arena.path_of(sibling), state });
            }
            if matches!(state.phase, Phase::Idle(IdleReason::NotWanted) | Phase::Waiting) {
                open.extend(self.siblings_before(sibling));
            }
        }
        Ok(())
    }
}
