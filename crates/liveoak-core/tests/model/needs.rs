//! The reference model: needs, dependencies that hold while a child runs.

use crate::child::{NEVER, Phase, later};
use crate::reference::{DependencyState, Model, above};
use liveoak_core::{Condition, Edge, IdleReason, Need, jitter};
use std::time::Duration;

/// The state of a child's needs.
#[derive(Clone, Debug)]
pub(crate) struct Needs {
    /// Since when each need does not hold. Empty while all hold.
    pub(crate) lost: Vec<Option<u64>>,
    /// When the first grace is over.
    pub(crate) timer: u64,
    /// That moment, if it was prolonged once because it was seen late.
    prolonged: u64,
    /// The last attempt was stopped because of a need.
    pub(crate) stopped: bool,
    /// The number of such stops in a row. They set the backoff.
    pub(crate) steps: u32,
}

impl Needs {
    pub(crate) const ALL_HOLD: Self =
        Self { lost: Vec::new(), timer: NEVER, prolonged: NEVER, stopped: false, steps: 0 };

    pub(crate) fn forget(&mut self) {
        (self.lost, self.timer) = (Vec::new(), NEVER);
    }
}

impl Model {
    /// Compares the needs of all children with their siblings.
    pub(crate) fn check_needs(&mut self, parent: &str) {
        for kid in self.kids(parent) {
            self.check_needs_of(parent, &kid);
        }
    }

    fn check_needs_of(&mut self, parent: &str, kid: &str) {
        let (child, now) = (self.at(kid), self.now);
        let judged = matches!(child.phase, Phase::Starting | Phase::Running) && !child.in_restart_set;
        let since = |at: usize| child.needs.lost.get(at).copied().flatten().unwrap_or(now);
        let needs = child.spec.needs.iter().enumerate();
        let lost: Vec<Option<u64>> =
            needs.map(|(at, need)| (judged && !self.need_holds(parent, need)).then(|| since(at))).collect();
        if lost.iter().all(Option::is_none) {
            if !child.needs.lost.is_empty() {
                self.of(kid).needs.forget();
            }
            return;
        }
        let ends = child.spec.needs.iter().zip(&lost);
        let ends = ends.filter_map(|(need, lost)| Some(later((*lost)?, need.grace)));
        let (until, timer) = (ends.min().unwrap_or(NEVER), child.needs.timer);
        if lost != child.needs.lost {
            self.of(kid).needs.lost = lost;
        }
        if until > now && until != timer {
            self.of(kid).needs.timer = until;
        } else if until <= now && timer == NEVER {
            self.stop_for_need(kid);
        }
    }

    fn stop_for_need(&mut self, kid: &str) {
        let child = self.at(kid);
        let mut lost = child.spec.needs.iter().zip(&child.needs.lost);
        let over = lost.any(|(need, lost)| lost.is_some_and(|lost| later(lost, need.grace) <= self.now));
        if over && !child.in_restart_set && !self.parent_ends(kid) {
            self.of(kid).needs.stopped = true;
            self.stop(kid);
        }
    }

    /// Handles the end of a grace. Returns `false` if the deadline is another one.
    pub(crate) fn fire_need(&mut self, path: &str, deadline: u64) -> bool {
        let same = |kid: &String| kid != path && self.at(kid).next_deadline() == deadline;
        let due = self.at(path).needs.timer == deadline;
        if due {
            // Only late deadlines come together.
            let siblings = above(path).map_or(Vec::new(), |parent| self.kids(&parent));
            self.tied |= self.at(path).timer == deadline || siblings.iter().any(same);
            self.of(path).needs.timer = NEVER;
            self.stop_for_need(path);
        }
        due
    }

    /// Prolongs the graces that are seen more than a second late, each once.
    pub(crate) fn prolong_needs(&mut self) {
        let now = self.now;
        let second = Duration::from_secs(1).as_nanos() as u64;
        for child in self.children.values_mut() {
            let timer = child.needs.timer;
            if timer.saturating_add(second) < now && timer != child.needs.prolonged {
                let until = now + (timer - child.since).min(second);
                (child.needs.timer, child.needs.prolonged) = (until, until);
            }
        }
    }

    /// Returns the children that have an attempt, are not being stopped, and have been without a need for longer than its grace.
    /// A deadline that was seen late is prolonged once, by at most a second.
    pub(crate) fn overstaying(&self) -> Vec<String> {
        let grace_is_over = |path: &String| {
            let child = self.at(path);
            let mut needs = child.spec.needs.iter().zip(&child.needs.lost);
            let late = Duration::from_secs(1);
            needs.any(|(need, lost)| lost.is_some_and(|lost| later(later(lost, need.grace), late) < self.now))
        };
        let ends = |path: &String| self.at(path).in_restart_set || self.parent_ends(path);
        let lost = self.paths_where(|child| !child.needs.lost.is_empty());
        lost.into_iter().filter(|path| grace_is_over(path) && !ends(path)).collect()
    }

    /// Returns the state of a dependency. While a need does not hold, it is not enough that its sibling is ready.
    pub(crate) fn edge_state(&self, parent: &str, kid: &str, edge: &Edge) -> DependencyState {
        let state = self.dependency_state(parent, edge);
        let mut needs = self.at(kid).spec.needs.iter();
        let lost = needs.any(|need| need.child == edge.child && !self.need_holds(parent, need));
        if lost && state == DependencyState::Satisfied { DependencyState::Unmet } else { state }
    }

    /// Returns `true` if the sibling, or one replica of its set, is ready, has finished with success, or is ignored.
    pub(crate) fn need_holds(&self, parent: &str, need: &Need) -> bool {
        let sibling = format!("{parent}/{}", need.child);
        if !self.children.contains_key(&sibling) {
            return false;
        }
        let holds = |kid: &str| match self.at(kid).phase {
            Phase::Running => self.is_ready_now(kid),
            _ => {
                let name = kid.rsplit('/').next().unwrap_or_default();
                let child = liveoak_core::Name::new(name).expect("a good name");
                let edge = Edge { child, condition: Condition::Ready };
                self.dependency_state(parent, &edge) == DependencyState::Satisfied
            }
        };
        let replicas = |kid: &&String| self.are_replicas(kid, &sibling);
        holds(&sibling) || self.kids(parent).iter().filter(replicas).any(|kid| holds(kid))
    }

    /// Returns `true` if a child is ready. A supervisor is ready while each of its children that is to run is ready or
    /// finished; a group is ready while it runs.
    fn is_ready_now(&self, path: &str) -> bool {
        let up = |path: &str| self.at(path).phase == Phase::Running && !self.at(path).trial;
        let fine = |kid: &String| {
            let child = self.at(kid);
            let by_command = child.by_command && child.phase == Phase::Idle(IdleReason::Quarantined);
            let over = matches!(
                child.phase,
                Phase::Idle(IdleReason::Finished | IdleReason::Ignored | IdleReason::Paused)
            );
            !child.wanted || by_command || over || up(kid)
        };
        let kids = if self.at(path).is_group() { Vec::new() } else { self.kids(path) };
        up(path) && kids.iter().all(fine)
    }

    /// Delays the next attempt of a child that was stopped for a need.
    pub(crate) fn back_off_for_need(&mut self, path: &str) {
        let (random, now) = (self.random, self.now);
        let child = self.of(path);
        let Some(backoff) = child.spec.backoff else { return self.start_or_wait(path) };
        let names = path.rsplit('/').filter(|name| !name.is_empty());
        let delay = backoff.delay(child.needs.steps, jitter(random, names, child.attempt));
        child.needs.steps += 1;
        if delay.is_zero() {
            return self.start_or_wait(path);
        }
        self.set(path, Phase::BackingOff);
        self.of(path).timer = later(now, delay);
    }

    /// Returns `true` if the child or a supervisor above it declares needs: nothing can be added to it.
    pub(crate) fn declares_needs(&self, path: &str) -> bool {
        let above = above(path).is_some_and(|parent| self.declares_needs(&parent));
        above || !self.at(path).spec.needs.is_empty()
    }
}
