//! What follows when a child is down: it stays down, starts again, or leaves the tree. Also the end of the tree.

use super::state::{BackoffSteps, Index, Intent, Phase, Purpose};
use super::{Command, Effect, Machine, Outcome, Refusal};
use crate::backoff::jitter;
use crate::{EventKind, Exit, Health, IdleReason, Restart, StopStage, Time};
use std::sync::Arc;
use std::time::Duration;

impl Machine {
    /// Decides what follows a stop by others. The child starts again after a restart by command or in a restart set.
    /// It leaves the tree after a removal. A member or an added child also leaves the tree when its supervisor stops.
    /// Otherwise it stays down.
    pub(super) fn after_stop_by_others(&mut self, child: Index, stage: StopStage, exit: Option<Exit>) {
        let state = &self.arena[child];
        let (intent, in_restart_set, parent) = (state.intent, state.flags.in_restart_set, state.parent);
        let temporary = state.spec.restart == Restart::Temporary;
        let has_record = state.record.is_some();
        let sup = parent.map(|parent| self.arena.sup(parent));
        let belongs_to_run = state.flags.added || sup.is_some_and(|sup| sup.is_group());
        let sup_is_ending = sup.is_some_and(|sup| sup.is_ending());
        let is_to_start = intent == Intent::Restart || intent == Intent::Run && in_restart_set;
        let for_need =
            state.is_stopped_for_need() && exit.is_some() && intent == Intent::Run && !in_restart_set;
        let starts_again = (is_to_start || for_need) && !sup_is_ending;
        // The command is carried out, so it must not start the child after a later stop.
        if intent == Intent::Restart {
            self.arena[child].intent = Intent::Run;
        }
        // A child that starts again is no longer stopping. The entries of its stop report go to the report that a supervisor above keeps.
        if starts_again {
            self.close_log(child);
        }
        // The exit of a member that leaves the tree is not kept, so the member needs no record.
        if let Some(exit) = &exit
            && (!belongs_to_run || starts_again || has_record)
        {
            self.arena.record_or_new(child).last_exit = Some(exit.clone());
        }
        // The root was stopped, so the tree ends.
        if parent.is_none() && !starts_again {
            return self.tree_ended(exit.unwrap_or(Exit::Stopped));
        }
        if starts_again && in_restart_set {
            self.arena[child].begin_ordered_start();
            if self.arena[child].is_trial() {
                self.end_trial(child);
            } else if temporary && intent == Intent::Run {
                // Only a command restarts a temporary child, never the failure of a sibling (C23).
                self.emit(child, || EventKind::Finished);
                self.set_idle(child, IdleReason::Finished, belongs_to_run);
            } else if !self.quarantine_if_survived(child) && !self.park_if_paused(child) {
                self.enqueue_start(child);
            }
        } else if for_need && self.arena[child].is_trial() {
            self.end_trial(child);
        } else if starts_again {
            if !self.quarantine_if_survived(child) && !self.park_if_paused(child) {
                if for_need { self.back_off_for_need(child) } else { self.request_start(child) }
            }
        } else if intent == Intent::Unwanted && self.arena[child].is_trial() {
            // The tree has still given up on it.
            let report = self.close_log(child);
            self.end_trial(child);
            self.answer(child, |command| match command {
                Command::Stop => Some(Ok(Outcome::Stopped(report.clone()))),
                _ => Some(Err(Refusal::Superseded { by: "a change of the mode" })),
            });
        } else {
            let leaves = intent == Intent::Remove || belongs_to_run && (sup_is_ending || temporary);
            return self.stay_down(child, stage, leaves);
        }
        self.mark_to_evaluate(parent);
    }

    /// Sets a child idle that others have stopped and that does not start again. Takes it out of the tree if it `leaves`.
    fn stay_down(&mut self, child: Index, stage: StopStage, leaves: bool) {
        let why = match self.arena[child].intent {
            Intent::Run | Intent::Restart => IdleReason::SupervisorDown,
            Intent::Unwanted => IdleReason::NotWanted,
            Intent::Stop | Intent::Remove => IdleReason::StoppedByCommand,
            Intent::Quarantine => IdleReason::Quarantined,
        };
        self.emit(child, || EventKind::Stopped { stage, why });
        self.set_idle(child, why, leaves);
        // A child that leaves the tree has marked its supervisor.
        if !leaves {
            self.mark_to_evaluate(self.arena[child].parent);
        }
    }

    /// Delays the next attempt of a child that was stopped for a need, so that a need that comes and goes does not start and
    /// stop the child all the time.
    fn back_off_for_need(&mut self, child: Index) {
        let (delay, nth) = self.next_delay(child, |steps| &mut steps.stops);
        self.back_off(child, delay, nth);
    }

    /// Counts a restart in one of the steps of the backoff. Returns the delay before the next attempt, and the number of
    /// restarts in a row, including this one.
    pub(super) fn next_delay(
        &mut self,
        child: Index,
        step: fn(&mut BackoffSteps) -> &mut u32,
    ) -> (Duration, u32) {
        let state = &self.arena[child];
        let Some(backoff) = state.spec.backoff else { return (Duration::ZERO, 0) };
        // Children that fail within one input get different delays.
        let random = jitter(self.random, self.arena.names_up_from(child), state.attempt);
        let step = step(&mut self.arena.record_or_new(child).backoff);
        let delay = backoff.delay(*step, random);
        *step = step.saturating_add(1);
        (delay, *step)
    }

    /// Lets a child start again after a delay.
    pub(super) fn back_off(&mut self, child: Index, delay: Duration, nth: u32) {
        if delay.is_zero() {
            return self.request_start(child);
        }
        self.set_phase(child, Phase::BackingOff);
        self.set_timer_in(child, Purpose::Phase, delay);
        self.emit(child, || EventKind::BackingOff { delay, nth });
        self.mark_to_evaluate(self.arena[child].parent);
    }

    /// Sets a child idle, and answers the commands that waited for this. Takes the child out of the tree if it `leaves`.
    pub(super) fn set_idle(&mut self, child: Index, reason: IdleReason, leaves: bool) {
        let overtaken = match reason {
            IdleReason::SupervisorDown => Refusal::SupervisorDown,
            IdleReason::StoppedByCommand => Refusal::Superseded { by: "a stop" },
            IdleReason::Paused => Refusal::Superseded { by: "a pause" },
            IdleReason::Quarantined if self.arena[child].intent == Intent::Quarantine => {
                Refusal::Superseded { by: "a quarantine" }
            }
            IdleReason::NotWanted if self.arena[child].spec.manual => {
                Refusal::Superseded { by: "a stop, because it is not wanted any more" }
            }
            IdleReason::NotWanted => Refusal::Superseded { by: "a change of the mode" },
            IdleReason::Finished | IdleReason::Ignored | IdleReason::Quarantined => {
                Refusal::Superseded { by: "the restart of a sibling" }
            }
        };
        let is_removal = self.arena[child].intent == Intent::Remove;
        if leaves {
            return self.remove_child(child, if is_removal { Refusal::NotFound } else { overtaken });
        }
        self.set_phase(child, Phase::Idle(reason));
        // Before the answer: the answer to a stop waits for the destructors of what the child leaves behind.
        self.let_go_if_over(child);
        // The answer to a removal is sent when the child has left the tree.
        if !is_removal {
            let report = self.close_log(child);
            self.answer(child, |command| match command {
                Command::Stop => Some(Ok(Outcome::Stopped(report.clone()))),
                Command::Quarantine if reason == IdleReason::Quarantined => {
                    Some(Ok(Outcome::Quarantined(report.clone())))
                }
                Command::Remove => None,
                _ => Some(Err(overtaken.clone())),
            });
        }
    }

    /// Releases the body of an idle child if the child never starts again (C18). There are two cases: it can run only once;
    /// or it has finished, and it and each supervisor above it, except the root, are temporary.
    pub(super) fn let_go_if_over(&mut self, child: Index) {
        let state = &self.arena[child];
        let finished = state.phase == Phase::Idle(IdleReason::Finished);
        let above = |at: Index| at != self.root && self.arena[at].spec.restart != Restart::Temporary;
        let over = finished && !self.arena.line_up_from(child).any(above);
        if over || state.is_used_up() {
            self.let_go(child);
        }
    }

    /// Releases the bodies of a child and of all children below it, except children with `keep`. Returns `true` if the
    /// child cannot start again.
    fn let_go(&mut self, child: Index) -> bool {
        let state = &self.arena[child];
        if state.is_let_go() || state.spec.keep && !state.spec.once {
            return state.is_let_go();
        }
        let mut let_go = true;
        if let Some(sup) = state.sup.as_ref().filter(|sup| !sup.is_group()) {
            let below = sup.ordered().to_vec();
            // `any` would end at the first child, but all of them must be released.
            let_go = below.into_iter().filter(|below| self.let_go(*below)).count() > 0;
        } else {
            self.push(Effect::LetGo(self.arena.id_of(child)));
        }
        self.arena.record_or_new(child).let_go = let_go;
        let_go
    }

    /// Takes a child that is down, and all children below it, out of the tree. Commands to start the child are refused by
    /// `refusal`.
    pub(super) fn remove_child(&mut self, child: Index, refusal: Refusal) {
        for below in self.arena[child].sup.as_ref().map(|sup| sup.ordered().to_vec()).unwrap_or_default() {
            self.remove_child(below, Refusal::NotFound);
        }
        if !self.arena[child].phase.is_idle() {
            self.set_phase(child, Phase::Idle(IdleReason::SupervisorDown));
        } else if self.arena[child].phase_deadline != Time::NEVER {
            // It is quarantined, and there will be no trial.
            self.set_timer(child, Purpose::Phase, Time::NEVER);
        }
        let report = self.close_log(child);
        // The event is emitted while the child still has its path.
        self.emit(child, || EventKind::Removed);
        let state = &self.arena[child];
        let (parent, next, health) = (state.parent, state.next, state.health);
        let id = self.arena.id_of(child);
        self.push(Effect::Forget(id, parent.map_or(id, |parent| self.arena.id_of(parent))));
        // After the effect: the answer waits for the destructors of what the child leaves behind.
        self.answer(child, |command| match command {
            Command::Remove => Some(Ok(Outcome::Removed(report.clone()))),
            Command::Stop | Command::Quarantine => Some(Ok(Outcome::Stopped(report.clone()))),
            _ => Some(Err(refusal.clone())),
        });
        self.tell_removed(id);
        // A walk that would visit this member next continues with the member after it.
        for walk in self.driver_queue.walks.iter_mut().filter(|walk| walk.cursor == Some(child)) {
            walk.cursor = next;
        }
        self.arena.remove(child);
        self.mark_to_evaluate(parent);
        // The health of a supervisor depends on its children only while it runs, and a healthy child changes nothing.
        if let Some(parent) = parent.filter(|parent| self.arena[*parent].phase == Phase::Running)
            && health != Health::Healthy
        {
            self.refresh_health(parent);
        }
        self.mark_watching_supervisors(parent);
    }

    pub(super) fn tree_ended(&mut self, exit: Exit) {
        let root = self.root;
        // This state has no event, because it follows from the exit.
        let why = match &exit {
            _ if self.arena[root].attempt == 0 || exit.is_failure() => IdleReason::SupervisorDown,
            Exit::Stopped => IdleReason::StoppedByCommand,
            _ => IdleReason::Finished,
        };
        if why == IdleReason::StoppedByCommand {
            self.arena[root].intent = Intent::Stop;
        }
        self.set_phase(root, Phase::Idle(why));
        self.collect_forced();
        let report = Arc::new(self.close_log(self.root));
        self.ended = true;
        let waited_for: Vec<Index> = self.arena.all().filter(|child| self.waiter_count(*child) > 0).collect();
        for child in waited_for {
            self.answer(child, |command| match command {
                Command::Stop => Some(Ok(Outcome::Stopped((*report).clone()))),
                _ => Some(Err(Refusal::TreeEnded)),
            });
        }
        self.push(Effect::TreeEnded { exit, report });
    }
}
