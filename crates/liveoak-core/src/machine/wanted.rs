//! Which children are wanted: the plan of a change to a mode, and the steps of it.
//!
//! A mode sets only whether a declared child is wanted. A child that is not wanted has the intent
//! [`Unwanted`](Intent::Unwanted): it is stopped like a child that a command stops, and stays down. What a command stopped
//! stays stopped in any mode, and a job that has finished does not run again. Added children belong to no mode. A manual
//! child is wanted by a mode if a pattern names the child itself, or if a wanted sibling comes after it; without a mode, it
//! is wanted if a command has asked for it.
//!
//! | child | wanted | step |
//! |---|---|---|
//! | stopped by a command, or being removed | either | keep |
//! | finished, or not needed here | either | keep |
//! | down because it was not wanted, or stopping because of it | yes | start |
//! | quarantined, or paused | yes | keep |
//! | down because it was not wanted, and can run only once | yes | keep |
//! | any other state | yes | keep; the children below it have steps of their own |
//! | down, and not quarantined by its limit | no | keep |
//! | any other state | no | stop, with all children below it |
//!
//! [`prepare_mode`](Machine::prepare_mode) sets the intents of the children that are down. So a supervisor that starts
//! or restarts during the change starts the right children. Each other step is one [`Input::Want`](super::Input::Want).

use super::state::{Index, Intent, Phase, Purpose, SupervisorPhase};
use super::{Command, Effect, Machine, Outcome, Refusal, Wanted};
use crate::spec::below;
use crate::{
    ChildId, EventKind, Exit, IdleReason, Mode, Path, PlanAction, PlanStep, RequestId, StopReport, StopStage,
    Time,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// One step of a change to a mode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModeStep {
    /// The child.
    pub id: ChildId,
    /// What happens to it, and why.
    pub step: PlanStep,
}

/// The wanted children, each with the sibling that needs it if no pattern names it.
type WantedChildren = BTreeMap<Index, Option<Index>>;

impl Machine {
    /// Returns what a change to `mode` does: the stops, in the reverse of the start order, then the other children in
    /// start order. A child that starts or stops stands for all children below it. Without a mode all children are wanted.
    /// Changes nothing.
    #[must_use]
    pub fn plan_mode(&self, mode: Option<&Mode>) -> Vec<ModeStep> {
        if self.ended {
            return Vec::new();
        }
        let wanted = self.wanted_in(mode);
        let (mut stops, mut others) = (Vec::new(), Vec::new());
        let mut open = self.declared_below(self.root);
        open.reverse();
        while let Some(child) = open.pop() {
            let (action, reason) = self.mode_step(child, &wanted, mode);
            let step = PlanStep { path: self.arena.path_of(child), step: action, reason };
            let step = ModeStep { id: self.arena.id_of(child), step };
            if action == PlanAction::Stop {
                stops.push(step)
            } else {
                others.push(step)
            }
            let goes_on = self.arena[child].sup.as_ref().is_some_and(|sup| {
                matches!(
                    sup.phase,
                    SupervisorPhase::Starting | SupervisorPhase::Up | SupervisorPhase::Stopping
                )
            });
            if action == PlanAction::Keep && goes_on {
                open.extend(self.declared_below(child).into_iter().rev());
            }
        }
        stops.into_iter().rev().chain(others).collect()
    }

    /// Returns the declared children of a supervisor, in start order.
    pub(super) fn declared_below(&self, sup: Index) -> Vec<Index> {
        let children = self.arena[sup].sup.as_ref().map_or(&[][..], |sup| sup.ordered());
        children.iter().copied().filter(|child| !self.arena[*child].flags.added).collect()
    }

    /// Returns the wanted children: those that the mode names with all children below them, what they come after,
    /// and the supervisors above them.
    fn wanted_in(&self, mode: Option<&Mode>) -> WantedChildren {
        let mut wanted = WantedChildren::new();
        // Each child with its path without the root.
        let mut open: Vec<(Index, Option<Path>)> = vec![(self.root, None)];
        while let Some((sup, above)) = open.pop() {
            for child in self.declared_below(sup) {
                let path = below(above.as_ref(), &self.arena.name_text(child));
                let set = self.arena[child].spec.replica_of.as_ref();
                if mode.map_or(self.is_wanted_without_mode(child), |mode| mode.names(&path, set)) {
                    self.want_with_needs(child, mode.is_some(), &mut wanted);
                }
                if mode.is_some() {
                    // A pattern may also name a manual child, which its supervisor does not stand for.
                    open.push((child, Some(path)));
                }
            }
        }
        wanted
    }

    /// Returns `true` if a child is wanted without a mode, by itself.
    fn is_wanted_without_mode(&self, child: Index) -> bool {
        let state = &self.arena[child];
        !state.spec.manual || state.record.as_ref().is_some_and(|record| record.asked_for)
    }

    /// Adds a child with all children below it, what they come after, and the supervisors above them. Manual children below
    /// it are left out, except, without a mode, those that a command has asked for.
    fn want_with_needs(&self, child: Index, in_mode: bool, wanted: &mut WantedChildren) {
        let manual = |below: &Index| self.arena[*below].spec.manual;
        let left_out =
            |below: &Index| if in_mode { manual(below) } else { !self.is_wanted_without_mode(*below) };
        // With each child: whether all children below it come along, and the sibling that needs it.
        let mut open = vec![(child, true, None)];
        while let Some((child, whole, needed_by)) = open.pop() {
            let is_new = !wanted.contains_key(&child);
            match needed_by {
                None => drop(wanted.insert(child, None)),
                Some(_) => drop(wanted.entry(child).or_insert(needed_by)),
            }
            if whole {
                let is_new = |below: &Index| !wanted.contains_key(below) || self.arena[*below].sup.is_some();
                let adds = |below: &Index| !left_out(below) && is_new(below);
                let below = self.declared_below(child).into_iter().filter(adds);
                open.extend(below.map(|below| (below, true, None)));
            }
            let Some(sup) = self.arena[child].parent.filter(|_| is_new) else { continue };
            let names = &self.arena.sup(sup).names;
            let needs = self.arena[child].spec.after.iter().filter_map(|edge| names.get(&edge.child));
            open.extend(needs.map(|sibling| (*sibling, true, Some(child))));
            if sup != self.root {
                open.push((sup, false, None));
            }
        }
    }

    /// Returns the step for one child, by the table above.
    fn mode_step(&self, child: Index, wanted: &WantedChildren, mode: Option<&Mode>) -> (PlanAction, String) {
        use IdleReason::{
            Finished, Ignored, NotWanted, Paused, Quarantined, StoppedByCommand, SupervisorDown,
        };
        let state = &self.arena[child];
        let of_mode = || mode.map_or("the tree".to_owned(), |mode| format!("mode `{}`", mode.name));
        let keep = |reason: &str| (PlanAction::Keep, reason.to_owned());
        match (state.phase, state.intent, wanted.get(&child)) {
            (_, Intent::Remove, _) => keep("it is being removed"),
            (_, Intent::Stop, Some(_)) => keep("a command stopped it, so it stays stopped"),
            (_, Intent::Quarantine, Some(_)) => keep("a command quarantined it, so it stays quarantined"),
            (_, Intent::Quarantine, None) => keep("a command quarantined it"),
            (Phase::Idle(StoppedByCommand), ..) | (_, Intent::Stop, None) => keep("a command stopped it"),
            (Phase::Idle(Finished), _, Some(_)) => keep("it has finished, and does not run again"),
            (Phase::Idle(Finished), ..) => keep("it has finished"),
            (Phase::Idle(Ignored), ..) => keep("it reported that it is not needed here"),
            (Phase::Idle(NotWanted), _, Some(_)) if state.is_used_up() => keep("it can run only once"),
            (Phase::Idle(NotWanted), _, Some(_)) if state.flags.paused => {
                keep("it is paused, and starts when it is resumed")
            }
            (Phase::Idle(NotWanted), _, Some(needed))
            | (Phase::Stopping { .. }, Intent::Unwanted, Some(needed)) => {
                let reason = match needed {
                    Some(by) => format!("{} comes after it", self.arena.name_text(*by)),
                    None => format!("{} wants it", of_mode()),
                };
                (PlanAction::Start, reason)
            }
            (Phase::Idle(Quarantined), _, Some(_)) => keep("it is quarantined"),
            (Phase::Idle(Paused), _, Some(_)) => keep("it is paused, and starts when it is resumed"),
            (Phase::Idle(SupervisorDown), _, Some(_)) => keep("it is down, and starts with its supervisor"),
            (Phase::Idle(Quarantined), Intent::Unwanted, None) => {
                keep("it is not wanted, and is quarantined")
            }
            (_, _, Some(_)) => keep("it is wanted already"),
            (Phase::Idle(NotWanted | SupervisorDown | Paused), _, None) => {
                keep("it is not wanted, and is down")
            }
            (_, _, None) if mode.is_none() => {
                (PlanAction::Stop, "it runs only when it is asked for".to_owned())
            }
            (_, _, None) => (PlanAction::Stop, format!("{} does not want it", of_mode())),
        }
    }

    /// Sets the intents of the declared children that are down, as `mode` wants them. Nothing starts and nothing stops:
    /// that is what the steps of [`plan_mode`](Self::plan_mode) are for. Before the tree starts, this chooses the children
    /// that start with it.
    pub fn prepare_mode(&mut self, now: Time, mode: Option<&Mode>) {
        self.now = self.now.max(now);
        if self.ended {
            return;
        }
        self.arena.some_unwanted = true;
        let wanted = self.wanted_in(mode);
        let mut open = vec![self.root];
        while let Some(sup) = open.pop() {
            for child in self.declared_below(sup) {
                open.push(child);
                if wanted.contains_key(&child) {
                    self.note_wish_of_mode(child, mode.is_some());
                }
                self.prepare_wanted(sup, child, wanted.contains_key(&child));
            }
        }
        self.settle();
        self.origin = None;
    }

    /// Notes why a child is wanted: because a mode wants the child itself, or only because a sibling comes after it.
    fn note_wish_of_mode(&mut self, child: Index, in_mode: bool) {
        let brought_along = !in_mode && !self.is_wanted_without_mode(child);
        if brought_along || self.arena[child].is_brought_along() {
            self.arena.record_or_new(child).brought_along = brought_along;
        }
    }

    fn prepare_wanted(&mut self, sup: Index, child: Index, wanted: bool) {
        let sup_is_down = self.arena.sup(sup).phase == SupervisorPhase::Down;
        let state = &mut self.arena[child];
        let why = match (state.phase, state.intent, wanted) {
            (Phase::Idle(reason), Intent::Unwanted, true) => {
                state.intent = Intent::Run;
                if reason == IdleReason::Quarantined && !sup_is_down {
                    self.schedule_trial(child);
                }
                let state = &self.arena[child];
                match reason {
                    IdleReason::NotWanted if sup_is_down => Some(IdleReason::SupervisorDown),
                    IdleReason::NotWanted if state.flags.paused => Some(IdleReason::Paused),
                    _ => None,
                }
            }
            // A quarantined child may make a trial, so it has a step of its own.
            (Phase::Idle(reason), Intent::Run, false) if reason != IdleReason::Quarantined || sup_is_down => {
                state.intent = Intent::Unwanted;
                self.forget_wish(child);
                matches!(reason, IdleReason::SupervisorDown | IdleReason::Paused)
                    .then_some(IdleReason::NotWanted)
            }
            _ => None,
        };
        if let Some(why) = why {
            self.set_phase(child, Phase::Idle(why));
            self.emit(child, || EventKind::Stopped { stage: StopStage::Cancelled, why });
        }
    }

    /// Ends a change to a mode: the children that it has not started are not wanted.
    pub fn end_mode_change(&mut self) {
        let waits = |child: &Index| {
            let state = &self.arena[*child];
            state.phase == Phase::Idle(IdleReason::NotWanted) && state.intent == Intent::Run
        };
        for child in self.arena.all().filter(waits).collect::<Vec<_>>() {
            self.arena[child].intent = Intent::Unwanted;
            self.mark_watching_supervisors(self.arena[child].parent);
        }
        self.settle();
    }

    /// Carries out one step of a change to a mode: the child is wanted from now on, or no longer. Answered like a command to
    /// start or to stop it.
    pub(super) fn want(&mut self, request: RequestId, id: ChildId, wanted: Wanted) {
        let recorded = self.begin_record(id, if wanted == Wanted::No { "stop" } else { "start" });
        let answer = match self.arena.index_of(id) {
            _ if self.ended => Err(Refusal::TreeEnded),
            None => Err(Refusal::NotFound),
            Some(child) if self.waiter_count(child) >= super::MAX_WAITERS => Err(Refusal::Busy),
            Some(child) if wanted == Wanted::No => Ok(self.want_down(child, request)),
            Some(child) => self.want_to_run(child, request, wanted == Wanted::IfItStarts),
        };
        self.finish_record(recorded, answer.as_ref().err());
        match answer {
            Ok(None) => {}
            Ok(Some(outcome)) => self.push(Effect::Reply { request, result: Ok(outcome) }),
            Err(refusal) => self.push(Effect::Reply { request, result: Err(refusal) }),
        }
    }

    /// Stops a child that is no longer wanted. Returns the answer if there is nothing to wait for.
    fn want_down(&mut self, child: Index, request: RequestId) -> Option<Outcome> {
        use IdleReason::{Finished, Ignored, NotWanted, Quarantined, StoppedByCommand};
        let state = &mut self.arena[child];
        let is_commanded = matches!(state.intent, Intent::Stop | Intent::Quarantine | Intent::Remove);
        if !is_commanded {
            state.intent = Intent::Unwanted;
            self.forget_wish(child);
        }
        let state = &self.arena[child];
        let is_down = matches!(
            state.phase,
            Phase::Idle(StoppedByCommand | NotWanted | Finished | Ignored | Quarantined)
        );
        let phase = state.phase;
        if phase == Phase::Idle(Quarantined) {
            // It makes no trial before it is wanted again.
            self.set_timer(child, Purpose::Phase, Time::NEVER);
        }
        if is_down || is_commanded && phase.is_idle() {
            return Some(Outcome::Stopped(StopReport::default()));
        }
        self.expect_answer(child, Some(request), Command::Stop);
        if self.arena[child].phase.is_idle() {
            self.after_stop_by_others(child, StopStage::Cancelled, None);
        } else {
            self.open_log(child);
            self.begin_stop(child);
        }
        None
    }

    /// Starts a child that is wanted. With `if_it_starts`, a failed start makes it unwanted again. Returns the answer if
    /// there is nothing to wait for.
    fn want_to_run(
        &mut self,
        child: Index,
        request: RequestId,
        if_it_starts: bool,
    ) -> Result<Option<Outcome>, Refusal> {
        let (id, attempt) = self.arena.attempt_of(child);
        let state = &self.arena[child];
        match (state.phase, state.intent) {
            (_, Intent::Stop) => return Err(Refusal::Superseded { by: "a stop" }),
            (Phase::Stopping { .. }, Intent::Quarantine) => {
                return Err(Refusal::Superseded { by: "a quarantine" });
            }
            (_, Intent::Remove) => return Err(Refusal::SupervisorDown),
            (Phase::Running, Intent::Run) => return Ok(Some(Outcome::Ready { id, attempt })),
            (Phase::Idle(IdleReason::Ignored), _) => return Ok(Some(Outcome::Ignored)),
            (Phase::Idle(IdleReason::Finished), _) => {
                let exit = state.last_exit().cloned().unwrap_or(Exit::Completed);
                return Ok(Some(Outcome::Finished { exit }));
            }
            (Phase::Idle(IdleReason::Quarantined), _) => {
                return Err(Refusal::Down { state: IdleReason::Quarantined.as_str() });
            }
            (Phase::Idle(_), _) if state.flags.paused => {
                // It was paused since the plan was made, and starts when it is resumed.
                self.arena[child].intent = Intent::Run;
                self.park_if_paused(child);
                return Err(Refusal::Down { state: IdleReason::Paused.as_str() });
            }
            (Phase::Idle(_), _) => {
                self.check_may_start_again(child)?;
                self.check_no_survivors(child)?;
                let state = &mut self.arena[child];
                state.intent = Intent::Run;
                state.flags.restarts_next = false;
                state.flags.start_requested = if_it_starts;
                let record = self.arena.record_or_new(child);
                record.gave_up = None;
                record.wanted_if_it_starts = if_it_starts;
                self.forget_failures(child);
                self.expect_answer(child, Some(request), Command::Start);
                self.request_start(child);
            }
            (Phase::Stopping { .. }, Intent::Unwanted) => {
                self.check_may_start_again(child)?;
                let command = if if_it_starts { Command::Start } else { Command::Restart };
                self.start_after_stop(child, request, command);
                self.arena.record_or_new(child).wanted_if_it_starts = if_it_starts;
            }
            (Phase::Waiting, _) => {
                self.expect_answer(child, Some(request), Command::Start);
                self.expect_start_in_time(child);
            }
            (Phase::Starting | Phase::Running | Phase::BackingOff | Phase::Stopping { .. }, _) => {
                self.expect_answer(child, Some(request), Command::Start);
            }
        }
        Ok(None)
    }

    /// Refuses to start a child while processes of its last attempt are alive.
    pub(super) fn check_no_survivors(&self, child: Index) -> Result<(), Refusal> {
        let record = self.arena[child].record.as_ref();
        match record.and_then(|record| record.survivors.as_ref()) {
            Some((_, survivors)) => Err(Refusal::StillRuns(Arc::clone(survivors))),
            None => Ok(()),
        }
    }
}
