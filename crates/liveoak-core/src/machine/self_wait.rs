//! Waits that can end only after the caller itself has ended or become ready.
//!
//! A body may give any command, also about itself and the supervisors above it. The command is carried out. Only the
//! wait for its answer is refused ([`Refusal::WouldWaitForItself`](super::Refusal::WouldWaitForItself)), because the
//! answer and the body would wait for each other:
//!
//! | wait | refused if |
//! |---|---|
//! | a stop, a quarantine, a removal, a restart of a child | the asker is that child or below it |
//! | a start of a child that is still stopping | the asker is that child or below it |
//! | a start, resume, release or restart (also of an added child) | the child waits, over any number of siblings, until the asker is ready or has completed |
//! | the end of an attempt | the asker is that child or below it |
//! | the readiness of a child | the child waits, in the same way, for the asker |
//! | for the tree to be ready | the tree waits, in the same way, for the asker |
//! | for the tree to end | always |
//!
//! The rows about a stop, a child that is still stopping, the end of an attempt and the end of the tree are waits for the *end* of the asker. They are allowed while the asker listens
//! for its own stop ([`Asker::listens`]), because the asker then stops waiting when it is asked to stop.

use super::condition::DependencyState;
use super::state::{Child, Index, Phase, Readiness};
use super::watch::Awaits;
use super::{Command, Machine, Outcome, Refusal};
use crate::{Attempt, ChildId, Condition, IdleReason, Order, RequestId};
use std::collections::BTreeSet;

/// The attempt whose code waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asker {
    /// Its child.
    pub id: ChildId,
    /// Its number.
    pub attempt: Attempt,
    /// `true` if the asker stops waiting when it is asked to stop.
    pub listens: bool,
    /// `true` if the waiting code runs in another tree, which this attempt has started. The attempt waits for that
    /// tree at its end.
    pub of_other_tree: bool,
}

/// What a caller waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaited {
    /// The answer to a request about a child.
    Answer(RequestId, ChildId),
    /// The readiness of the tree.
    Ready,
    /// The readiness of a child that a change of the mode starts.
    ReadyChild(ChildId),
    /// The end of the tree.
    End,
}

impl Machine {
    /// Returns `true` if `asker` would wait for itself, by the table in the header. Returns `false` for a request that
    /// was already answered, and for an attempt that has ended.
    #[must_use]
    pub fn would_wait_for_itself(&self, asker: Asker, awaited: Awaited) -> bool {
        let live = self.arena.index_of(asker.id).filter(|child| {
            let state = &self.arena[*child];
            state.phase.is_live() && state.attempt == asker.attempt.0 && !self.ended
        });
        let Some(child) = live else { return false };
        let needs_end =
            |target: Index| !asker.listens && self.arena.line_up_from(child).any(|at| at == target);
        let needs_ready = |target: Index| !asker.of_other_tree && self.readiness_needs(target, child);
        match awaited {
            Awaited::End => needs_end(self.root),
            Awaited::Ready => needs_ready(self.root),
            Awaited::ReadyChild(id) => self.arena.index_of(id).is_some_and(needs_ready),
            Awaited::Answer(request, id) => match self.awaited_command(request, id) {
                None => match (self.watched_by(request, id), self.arena.index_of(id)) {
                    (Some(Awaits::Exit(_)), Some(target)) => needs_end(target),
                    (Some(Awaits::Ready), Some(target)) => needs_ready(target),
                    (None, _) | (_, None) => false,
                },
                Some((target, Command::Stop | Command::Remove | Command::Quarantine)) => needs_end(target),
                Some((_, Command::Pause)) => false,
                Some((target, Command::Start | Command::Restart | Command::Resume | Command::Release)) => {
                    let above = self.arena.line_up_from(child).any(|at| at == target);
                    if above { needs_end(target) } else { needs_ready(target) }
                }
            },
        }
    }

    /// Takes the answer to `request` out of the queue of effects, if the queue contains it.
    pub fn take_reply(&mut self, request: RequestId) -> Option<Result<Outcome, Refusal>> {
        self.driver_queue.take_reply(request)
    }

    fn awaited_command(&self, request: RequestId, id: ChildId) -> Option<(Index, Command)> {
        let child = self.arena.index_of(id)?;
        let waiters = &self.arena[child].record.as_ref()?.waiters;
        let (_, command) = waiters.iter().find(|(waits, _)| *waits == request)?;
        Some((child, *command))
    }

    /// Returns `true` if `child` cannot become ready before `asker` is ready or has completed.
    fn readiness_needs(&self, child: Index, asker: Index) -> bool {
        let line: Vec<Index> = self.arena.line_up_from(asker).collect();
        let mut search = Search { line, open: vec![child], seen: BTreeSet::new(), turns_up_to: 0 };
        while let Some(child) = search.open.pop() {
            let state = &self.arena[child];
            if state.phase == Phase::Running || !search.seen.insert(child) {
                continue;
            }
            let above = search.line.contains(&child);
            match state.phase {
                _ if child == asker => return true,
                Phase::Stopping { .. } if above => return true,
                Phase::Starting if above => {
                    let below = self.arena.children(child);
                    search.open.extend(below.filter(|child| holds_back(&self.arena[*child])));
                }
                // A change of the mode is about to start it.
                Phase::Idle(IdleReason::NotWanted)
                | Phase::Waiting
                | Phase::BackingOff
                | Phase::Stopping { .. }
                    if state.intent.is_to_run() && self.start_needs(child, &mut search) =>
                {
                    return true;
                }
                _ => {}
            }
        }
        false
    }

    /// Adds to the search the children for which the start of `child` waits. Returns `true` if the start waits for
    /// the end of the asker.
    fn start_needs(&self, child: Index, search: &mut Search) -> bool {
        let Some(sup) = self.arena[child].parent else { return false };
        // A supervisor that is not above the asker has no child that waits for the asker.
        let Some(own) = search.line.iter().copied().find(|at| self.arena[*at].parent == Some(sup)) else {
            return false;
        };
        let (state, rules) = (&self.arena[child], self.arena.sup(sup));
        if rules.to_restart > 0 && self.arena[own].flags.in_restart_set && self.arena[own].phase.is_live() {
            return true;
        }
        let position = rules.ordered().iter().position(|other| *other == child).unwrap_or_default();
        let needs_turn = state.readiness != Readiness::Reached && rules.rules.order == Order::Declared;
        // Children of the same place do not wait for each other.
        let position = self.place(sup, position).start;
        // The search does not add earlier children twice. They wait only for children before them.
        if needs_turn && position > search.turns_up_to {
            let earlier = &rules.ordered()[search.turns_up_to..position];
            search.open.extend(earlier.iter().filter(|other| !self.arena[**other].lets_later_start()));
            search.turns_up_to = position;
        }
        // With one place only, the child waits until the sibling that has the place is ready.
        if rules.rules.max_starting == Some(1) && self.arena[own].phase == Phase::Starting {
            search.open.push(own);
        }
        for edge in &state.spec.after {
            let Some(sibling) = rules.names.get(&edge.child).copied() else { continue };
            if self.edge_state(sup, child, edge) == DependencyState::Satisfied {
                continue;
            }
            // A supervisor that runs is not ready for a child that needs it before its own children are.
            if self.arena[sibling].phase == Phase::Running {
                let below = self.arena[sibling].sup.as_ref().map_or(&[][..], |sup| sup.ordered());
                search.open.extend(below);
            }
            if sibling == own && edge.condition == Condition::Completed {
                return true;
            }
            search.open.push(sibling);
        }
        false
    }
}

/// Returns `true` if the first start of a supervisor waits for this child.
fn holds_back(child: &Child) -> bool {
    child.readiness == Readiness::Never && !child.is_skipped() && !child.flags.added
}

/// A search for the asker among the children that a wait depends on.
struct Search {
    /// The asker, its supervisor, and so on up to the root.
    line: Vec<Index>,
    /// The children that the search has not visited yet.
    open: Vec<Index>,
    seen: BTreeSet<Index>,
    /// The search already contains the children before this position of the start order, because of their turn.
    turns_up_to: usize,
}
