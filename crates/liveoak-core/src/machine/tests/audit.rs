//! Checks the legal states of `state.rs`, and invariants beyond those in `state.rs` that hold when no work is left.

use super::super::condition::DependencyState;
use super::super::copy::Slot;
use super::super::state::{
    Child, Children, Index, Intent, Phase, Purpose, Readiness, SupervisorPhase, SupervisorState,
};
use super::super::{MAX_WAITERS, Machine};
use crate::{Health, IdleReason, Limit, Time, WaitingFor};
use std::collections::{BTreeMap, BTreeSet};

impl Machine {
    /// Returns the child in a slot.
    pub(super) fn child(&self, slot: u32) -> &Child {
        &self.arena[Index::of_slot(slot)]
    }

    /// Returns the supervisor in a slot.
    pub(super) fn supervisor(&self, slot: u32) -> &SupervisorState {
        self.arena.sup(Index::of_slot(slot))
    }

    /// Returns the number of slots, used or not.
    pub(super) const fn slot_count(&self) -> usize {
        self.arena.slots.len()
    }

    /// Checks everything. It is called when all effects have been polled.
    #[track_caller]
    pub(super) fn audit(&self) {
        let settled = self.driver_queue.effects.is_empty()
            && self.driver_queue.walks.is_empty()
            && self.to_evaluate.is_empty();
        assert!(settled, "not settled");
        let mut timers = BTreeSet::new();
        for child in self.arena.all() {
            for purpose in [
                Purpose::Phase,
                Purpose::Heartbeat,
                Purpose::Check,
                Purpose::Answer,
                Purpose::Wait,
                Purpose::Run,
                Purpose::Need,
            ] {
                let at = self.deadline_of(child, purpose);
                if at != Time::NEVER {
                    timers.insert((at, child, purpose));
                }
            }
            self.audit_legal_state(child);
            self.audit_deadlines(child);
            self.audit_child(child);
            if self.arena[child].sup.is_some() {
                self.audit_counts(child);
                self.audit_progress(child);
            }
        }
        assert_eq!(self.timers, timers, "invariant 1: timers");
        let vacant = self.slot_count() - self.arena.all().count();
        assert_eq!(self.linked_vacant_slots(), vacant, "vacant slots are linked");
        self.audit_memory();
        if self.ended {
            assert!(timers.is_empty(), "a tree that has ended has timers");
            assert!(!self.arena[self.root].phase.is_live());
        }
    }

    /// Checks that the memory of a child is constant.
    fn audit_memory(&self) {
        for child in self.arena.all() {
            let (state, path) = (&self.arena[child], self.arena.path_of(child));
            let counted = |limit: Option<Limit>| limit.filter(|limit| limit.restarts != Limit::UNLIMITED);
            let bound = |limit| counted(limit).map_or(0, |limit| limit.restarts as usize + 1);
            if let Some(record) = &state.record {
                let limit = state.spec.limit.or(Some(Limit::DEFAULT_OF_A_CHILD));
                assert!(record.window.len() <= bound(limit), "the window of {path}");
            }
            if let Some(sup) = &state.sup {
                assert!(sup.window.len() <= bound(sup.rules.intensity), "the window of {path}");
                assert!(sup.names.len() <= self.arena.children(child).count());
            }
        }
    }

    fn linked_vacant_slots(&self) -> usize {
        let next = |slot: &Index| match self.arena.slots[slot.slot() as usize] {
            Slot::Vacant { next, .. } => next,
            Slot::Used(_) => panic!("a used slot is linked as vacant"),
        };
        std::iter::successors(self.arena.vacant, next).count()
    }

    /// Checks the table in `state.rs`.
    fn audit_legal_state(&self, child: Index) {
        let (state, path) = (&self.arena[child], self.arena.path_of(child));
        let (phase, intent, flags) = (state.phase, state.intent, state.flags);
        let intent_is_legal = match phase {
            Phase::Idle(_) => {
                matches!(intent, Intent::Run | Intent::Stop | Intent::Quarantine | Intent::Unwanted)
            }
            Phase::Waiting | Phase::BackingOff | Phase::Starting | Phase::Running => intent == Intent::Run,
            Phase::Stopping { .. } => true,
        };
        assert!(intent_is_legal, "{path} is {phase:?}, but its intent is {intent:?}");
        if phase == Phase::Idle(IdleReason::StoppedByCommand) {
            assert_eq!(intent, Intent::Stop, "{path} was stopped by command");
        }
        if phase.is_idle() && intent == Intent::Quarantine {
            assert_eq!(phase, Phase::Idle(IdleReason::Quarantined), "{path} was quarantined by command");
        }
        let paused_down = phase == Phase::Idle(IdleReason::Paused) && self.has_live_supervisor(child);
        assert!(!paused_down || flags.paused, "{path} is down because of a pause that is over");
        assert!(!flags.paused || !phase.is_pending(), "{path} is {phase:?} and paused");
        match phase {
            Phase::Starting => assert!(!flags.attempt_ready, "{path} starts and was ready"),
            Phase::Running => assert!(flags.attempt_ready, "{path} runs and was not ready"),
            Phase::Idle(_) | Phase::Waiting | Phase::BackingOff | Phase::Stopping { .. } => {}
        }
        if matches!(phase, Phase::Starting | Phase::Running) {
            let stale = flags.stopped_by_others || flags.attempt_stable;
            assert!(!stale, "{path}: a flag of the last attempt is set in the new one");
        }
        assert!(!flags.in_restart_set || phase.is_live(), "{path} is {phase:?} and in a restart set");
        assert!(!flags.held || phase == Phase::Waiting, "{path} is {phase:?} and held");
        if let Some(sup) = &state.sup {
            let modes: &[SupervisorPhase] = match phase {
                Phase::Idle(_) | Phase::Waiting | Phase::BackingOff => &[SupervisorPhase::Down],
                Phase::Starting => &[SupervisorPhase::OpeningRuntime, SupervisorPhase::Starting],
                Phase::Running => &[SupervisorPhase::Up],
                Phase::Stopping { .. } => &[SupervisorPhase::Stopping, SupervisorPhase::ClosingRuntime],
            };
            assert!(modes.contains(&sup.phase), "{path} is {phase:?} and {:?}", sup.phase);
        }
    }

    /// Checks that a child has only deadlines of its phase.
    fn audit_deadlines(&self, child: Index) {
        let (state, path) = (&self.arena[child], self.arena.path_of(child));
        let phase = state.phase;
        let has = |purpose| self.deadline_of(child, purpose) != Time::NEVER;
        match phase {
            Phase::BackingOff => assert!(has(Purpose::Phase), "{path} backs off without a deadline"),
            Phase::Running if state.is_trial() => {
                assert!(has(Purpose::Phase), "{path} makes a trial that is never judged");
            }
            Phase::Idle(IdleReason::Quarantined) => {
                let retries = state.record.as_ref().is_some_and(|record| {
                    record.gave_up.as_ref().is_some_and(|gave_up| gave_up.retry_after.is_some())
                        && record.survivors.is_none()
                });
                let sup_is_ending = self.arena.parent_of(child).is_some_and(|sup| sup.is_ending());
                let unwanted = state.intent == Intent::Unwanted;
                let expected = retries
                    && !sup_is_ending
                    && !state.flags.paused
                    && !unwanted
                    && !state.is_down_by_command();
                assert_eq!(has(Purpose::Phase), expected, "{path} is quarantined, and its next trial");
            }
            Phase::Idle(_) | Phase::Waiting | Phase::Running => {
                assert!(!has(Purpose::Phase), "{path} is {phase:?} and has a deadline");
            }
            Phase::Starting | Phase::Stopping { .. } => {}
        }
        let beats = phase == Phase::Running && state.spec.heartbeat.is_some() && state.sup.is_none();
        let run_ends = phase == Phase::Running && state.spec.run_within.is_some();
        assert_eq!(has(Purpose::Run), run_ends, "{path} is {phase:?} and the end of its run");
        assert_eq!(has(Purpose::Heartbeat), beats, "{path} is {phase:?} and its heartbeat");
        assert!(!has(Purpose::Answer) || phase == Phase::Waiting, "{path} is {phase:?} and answers late");
        let left = state.record.as_ref().and_then(|record| record.wait_left);
        assert!(left.is_none() || phase == Phase::Waiting, "{path} is {phase:?} and waits");
        if has(Purpose::Wait) {
            // The time runs exactly while only unmet dependencies block a first start.
            assert_eq!(phase, Phase::Waiting, "{path} has a timeout");
            assert!(left.is_some(), "{path}");
            let sup = state.parent.expect("the root waits for nothing");
            assert!(self.blocker_of(sup, child).is_none(), "{path} has a timeout out of turn");
            let dependencies = self.dependencies_of(sup, child);
            assert_eq!(dependencies, DependencyState::Unmet, "{path} has a timeout for nothing");
            assert!(
                self.may_fail_first_start(sup, child),
                "{path} has a timeout, but no first start can fail"
            );
        }
    }

    fn audit_child(&self, child: Index) {
        let (state, path) = (&self.arena[child], self.arena.path_of(child));
        let phase = state.phase;
        assert!(!phase.is_live() || state.attempt > 0, "invariant 3: {path} lives without an attempt");
        if let Some(record) = &state.record {
            assert!(record.waiters.len() <= MAX_WAITERS);
            let lives = phase.is_live() && !state.is_trial();
            assert!(record.gave_up.is_none() || !lives, "{path} lives and was given up on");
            assert!(!record.trial || !phase.is_idle() && record.gave_up.is_some(), "{path} makes a trial");
            if matches!(phase, Phase::Idle(_)) {
                assert!(
                    record.waiters.is_empty(),
                    "{path} is {phase:?} and has waiters {:?}",
                    record.waiters
                );
            }
            assert!(record.forced.is_none() || phase.is_idle(), "{path} is {phase:?} and keeps an end");
            assert!(record.log.is_none() || phase.is_stopping(), "{path} is {phase:?} and keeps a log");
            assert!(record.cause.is_none() || phase.is_stopping(), "{path} is {phase:?} and has a cause");
        }
        let Some(sup) = state.parent else {
            assert_eq!(child, self.root);
            return;
        };
        let held = match self.dependencies_of(sup, child) {
            DependencyState::Held => phase == Phase::Waiting,
            DependencyState::Unreachable => phase == Phase::Waiting && !self.may_fail_first_start(sup, child),
            _ => false,
        };
        assert_eq!(state.flags.held, held, "{path} is held");
        let parent = self.arena.sup(sup);
        if parent.is_ending() && !parent.is_group() {
            assert!(!phase.is_pending(), "{path} will start although its supervisor ends");
        }
        if matches!(
            parent.phase,
            SupervisorPhase::Down | SupervisorPhase::OpeningRuntime | SupervisorPhase::ClosingRuntime
        ) {
            assert!(!phase.is_live(), "{path} lives although its supervisor is {:?}", parent.phase);
        }
        if phase == Phase::Waiting {
            let what = self.waiting_for(sup, child);
            assert_ne!(what, WaitingFor::Nothing, "{path} waits for nothing and does not start");
        }
    }

    fn audit_counts(&self, sup: Index) {
        let (path, state) = (self.arena.path_of(sup), self.arena.sup(sup));
        assert!(!state.queued, "{path} is queued although nothing is to be evaluated");
        let children: Vec<Index> = self.arena.children(sup).collect();
        let count = |f: &dyn Fn(&Child) -> bool| {
            children.iter().filter(|child| f(&self.arena[**child])).count() as u32
        };
        assert_eq!(state.live, count(&|child| child.phase.is_live()), "invariant 2: live of {path}");
        let waiting = count(&|child| child.phase == Phase::Waiting);
        assert_eq!(state.waiting, waiting, "invariant 2: waiting of {path}");
        let starting = count(&|child| child.phase == Phase::Starting);
        let is_bounded = state.rules.max_starting.is_some();
        assert_eq!(state.starting, if is_bounded { starting } else { 0 }, "invariant 2: starting of {path}");
        if let Some(max) = state.rules.max_starting {
            assert!(starting <= max, "more children of {path} are starting than allowed");
        }
        if state.is_group() {
            let queued: BTreeSet<Index> = state.queue.iter().map(|(_, child)| *child).collect();
            let waits = |child: &&Index| self.arena[**child].phase == Phase::Waiting;
            assert_eq!(queued, children.iter().filter(waits).copied().collect(), "the queue of {path}");
        }
        let healths =
            [Health::Degraded, Health::Unhealthy].map(|health| count(&|child| child.health == health));
        assert_eq!([state.degraded, state.unhealthy], healths, "invariant 2: health below {path}");
        for child in &children {
            assert_eq!(self.arena[*child].health, self.arena[*child].health_now(), "the health below {path}");
        }
        let to_restart = count(&|child| child.flags.in_restart_set);
        assert_eq!(state.to_restart, to_restart, "invariant 2: to restart of {path}");
        for child in &children {
            assert_eq!(self.arena[*child].parent, Some(sup), "a child of {path} has another parent");
        }
        for (name, child) in &state.names {
            assert!(children.contains(child), "{path} knows {name} and does not have it");
            assert_eq!(&self.arena.name_of(*child), name);
        }
        let mut edges_to = BTreeMap::new();
        for edge in children.iter().flat_map(|child| &self.arena[*child].spec.after) {
            *edges_to.entry(edge.child.clone()).or_default() += 1;
        }
        assert_eq!(state.edges_to, edges_to, "the edges of the children of {path}");
        let paths: BTreeSet<_> = children.iter().map(|child| self.arena.path_of(*child)).collect();
        assert_eq!(paths.len(), children.len(), "two children of {path} have one path");
        if let Children::Group { tail, count, .. } = &state.children {
            assert_eq!((*tail, *count as usize), (children.last().copied(), children.len()), "{path}");
            for (before, after) in children.iter().zip(children.iter().skip(1)) {
                assert_eq!(self.arena[*after].prev, Some(*before), "links of {path}");
            }
        }
    }

    /// Checks that nothing hangs: a starting supervisor has a starting child, and a stopping one has a stopping child.
    fn audit_progress(&self, sup: Index) {
        let (path, state) = (self.arena.path_of(sup), self.arena.sup(sup));
        let is = |f: &dyn Fn(&Child) -> bool| self.arena.children(sup).any(|child| f(&self.arena[child]));
        match state.phase {
            SupervisorPhase::Stopping => {
                assert!(is(&|child| child.phase.is_stopping()), "{path} is stopping, but no child is");
            }
            SupervisorPhase::Starting => assert!(
                is(&|child| child.readiness == Readiness::Never && !child.is_skipped() && !child.flags.added),
                "{path} is starting, but no child is"
            ),
            SupervisorPhase::Up => {
                let done = state.rules.end_when_done && self.is_done(sup);
                assert!(!done, "{path} runs although all its children are done");
            }
            SupervisorPhase::Down | SupervisorPhase::OpeningRuntime | SupervisorPhase::ClosingRuntime => {}
        }
        if state.to_restart > 0 && !state.is_ending() {
            let stops = is(&|child| child.flags.in_restart_set && child.phase.is_stopping());
            assert!(stops, "the restart set of {path} hangs");
        }
        if state.phase == SupervisorPhase::ClosingRuntime {
            let deadline = self.deadline_of(sup, Purpose::Phase);
            assert_ne!(deadline, Time::NEVER, "{path} closes its runtime without a deadline");
        }
    }
}
