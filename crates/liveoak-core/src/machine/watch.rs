//! Waits for a moment in the life of a child: the end of an attempt, or readiness. A watch changes nothing in the tree.
//!
//! | moment | the child | answer |
//! |---|---|---|
//! | exit | has an attempt | the exit of this attempt, when it has ended |
//! | exit | had an attempt | the exit of the last attempt, at once |
//! | exit | had no attempt yet | the exit of its first attempt |
//! | ready | is ready, or reported that it is not needed | at once |
//! | ready | starts, waits, backs off or stops, or its supervisor does | when an attempt is ready |
//! | ready | has finished | its success, or its failure as a refusal |
//! | ready | is down for another reason, or its supervisor is | a refusal |
//! | any | leaves the tree | a refusal |
//!
//! The exits and the readiness of attempts are answered where they happen, so that none is missed. Whether a child can
//! still become ready is looked at when it, or a supervisor above it, had an event.

use super::state::{Index, Phase};
use super::{Effect, MAX_WAITERS, Machine, Outcome, Refusal};
use crate::{Attempt, ChildId, Exit, IdleReason, RequestId};
use std::collections::BTreeMap;

/// A moment in the life of a child for which a caller can wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The end of the current attempt. If there is none, the end of the last attempt, or else of the first.
    Exit,
    /// The readiness of the current or of a later attempt.
    Ready,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Awaits {
    /// The end of the attempt with this number.
    Exit(u64),
    Ready,
}

/// The requests that wait for a moment, by child. Mostly empty.
#[derive(Debug, Default)]
pub(super) struct Watches(BTreeMap<ChildId, Vec<(RequestId, Awaits)>>);

impl Machine {
    /// Answers `request` when the moment has come.
    pub(super) fn watch(&mut self, request: RequestId, id: ChildId, moment: Moment) {
        let answer = match self.arena.index_of(id) {
            None => Some(Err(Refusal::NotFound)),
            Some(_) if self.watches.0.get(&id).is_some_and(|waiting| waiting.len() >= MAX_WAITERS) => {
                Some(Err(Refusal::Busy))
            }
            Some(child) => match moment {
                Moment::Exit => self.known_exit(child).map(Ok),
                Moment::Ready => self.known_readiness(child),
            },
        };
        if let Some(result) = answer {
            return self.push(Effect::Reply { request, result });
        }
        if self.ended {
            return self.push(Effect::Reply { request, result: Err(Refusal::TreeEnded) });
        }
        let attempt = self.arena.index_of(id).map_or(1, |child| self.arena[child].attempt.max(1));
        let awaits = match moment {
            Moment::Exit => Awaits::Exit(attempt),
            Moment::Ready => Awaits::Ready,
        };
        self.watches.0.entry(id).or_default().push((request, awaits));
        self.driver_queue.watched = true;
    }

    /// Returns what `request` waits for.
    pub(super) fn watched_by(&self, request: RequestId, id: ChildId) -> Option<Awaits> {
        let waiting = self.watches.0.get(&id)?;
        waiting.iter().find(|(waits, _)| *waits == request).map(|(_, awaits)| *awaits)
    }

    pub(super) fn forget_watch(&mut self, request: RequestId, id: ChildId) {
        self.answer_watches(id, |waits, _| (waits == request).then_some(None));
    }

    /// Tells the end of an attempt.
    pub(super) fn tell_exit(&mut self, id: ChildId, attempt: Attempt, exit: &Exit) {
        let told = |awaits| match awaits {
            Awaits::Exit(awaited) => awaited <= attempt.0,
            Awaits::Ready => false,
        };
        self.answer_watches(id, |_, awaits| {
            told(awaits).then(|| Some(Ok(Outcome::Exited { id, attempt, exit: exit.clone() })))
        });
    }

    /// Tells that an attempt is ready.
    pub(super) fn tell_ready(&mut self, id: ChildId, attempt: Attempt) {
        self.answer_watches(id, |_, awaits| {
            (awaits == Awaits::Ready).then_some(Some(Ok(Outcome::Ready { id, attempt })))
        });
    }

    /// Tells that a child has left the tree.
    pub(super) fn tell_removed(&mut self, id: ChildId) {
        self.answer_watches(id, |_, _| Some(Some(Err(Refusal::NotFound))));
    }

    /// Answers the waits for the readiness of children that had an event, or are below a child that had one, and that can
    /// no longer become ready by themselves.
    pub(super) fn judge_watches(&mut self) {
        for touched in std::mem::take(&mut self.driver_queue.touched) {
            let Some(touched) = self.arena.index_of(touched) else { continue };
            let is_below = |id: &ChildId| {
                let child = self.arena.index_of(*id);
                child.is_some_and(|child| self.arena.line_up_from(child).any(|at| at == touched))
            };
            let watched: Vec<ChildId> = if self.arena[touched].sup.is_some() {
                self.watches.0.keys().copied().filter(is_below).collect()
            } else {
                vec![self.arena.id_of(touched)]
            };
            for id in watched {
                let answer = self.arena.index_of(id).and_then(|child| self.known_readiness(child));
                if let Some(answer) = answer {
                    let told = |awaits| awaits == Awaits::Ready;
                    self.answer_watches(id, |_, awaits| told(awaits).then(|| Some(answer.clone())));
                }
            }
        }
    }

    /// Answers the requests for which `answer` returns `Some`. `Some(None)` forgets a request. The others go on waiting.
    fn answer_watches(
        &mut self,
        id: ChildId,
        answer: impl Fn(RequestId, Awaits) -> Option<Option<Result<Outcome, Refusal>>>,
    ) {
        if !self.driver_queue.watched {
            return;
        }
        for (request, awaits) in self.watches.0.remove(&id).unwrap_or_default() {
            match answer(request, awaits) {
                Some(Some(result)) => self.push(Effect::Reply { request, result }),
                Some(None) => {}
                None => self.watches.0.entry(id).or_default().push((request, awaits)),
            }
        }
        self.driver_queue.watched = !self.watches.0.is_empty();
    }

    /// Returns the last exit of a child without an attempt.
    fn known_exit(&self, child: Index) -> Option<Outcome> {
        let state = &self.arena[child];
        if state.phase.is_live() || state.attempt == 0 {
            return None;
        }
        let (id, attempt) = self.arena.attempt_of(child);
        state.last_exit().map(|exit| Outcome::Exited { id, attempt, exit: exit.clone() })
    }

    /// Returns the answer to a wait for the readiness of a child, or `None` if the child may still become ready by itself.
    fn known_readiness(&self, child: Index) -> Option<Result<Outcome, Refusal>> {
        let state = &self.arena[child];
        let Phase::Idle(why) = state.phase else {
            let (id, attempt) = self.arena.attempt_of(child);
            return (state.phase == Phase::Running).then_some(Ok(Outcome::Ready { id, attempt }));
        };
        match (why, state.last_exit()) {
            (IdleReason::Ignored, _) => Some(Ok(Outcome::Ignored)),
            (IdleReason::Finished, Some(exit)) if exit.is_failure() => {
                Some(Err(Refusal::Failed(exit.clone())))
            }
            (IdleReason::Finished, Some(exit)) => Some(Ok(Outcome::Finished { exit: exit.clone() })),
            (IdleReason::SupervisorDown, _) if !self.ended => {
                // The supervisor starts the child when it starts itself.
                let mut above = self.arena.line_up_from(child).skip(1).map(|at| self.arena[at].phase);
                let nearest = above.find(|phase| *phase != Phase::Idle(IdleReason::SupervisorDown));
                nearest.filter(|phase| phase.is_idle()).map(|_| Err(Refusal::SupervisorDown))
            }
            (why, _) => Some(Err(Refusal::Down { state: why.as_str() })),
        }
    }
}
