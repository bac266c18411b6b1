//! Commands to a running tree, added children and members, and the stop of the tree.

use super::state::{Child, ChildName, Children, Index, Intent, Phase, SupervisorPhase};
use super::{Command, Effect, MAX_WAITERS, Machine, Outcome, Refusal};
use crate::spec::{Above, MAX_CHILDREN, ParentRules, Sibling, added_child};
use crate::{
    ChildDeclaration, ChildId, EventKind, IdleReason, Name, Ready, RequestId, Restart, StopStage, Time,
};
use std::sync::Arc;
use std::time::Duration;

impl Machine {
    pub(super) fn start_tree(&mut self) {
        if self.arena[self.root].attempt == 0 && !self.ended {
            self.begin_attempt(self.root);
        }
    }

    pub(super) fn stop_tree(&mut self) {
        self.record_tree_command("stop");
        let within = self.stop_budget.take();
        self.begin_tree_stop(within);
    }

    fn begin_tree_stop(&mut self, within: Option<Duration>) {
        if self.ended {
            return;
        }
        self.arena[self.root].intent = Intent::Stop;
        if self.arena[self.root].phase.is_live() {
            self.begin_stop_within(self.root, within);
        } else {
            self.after_stop_by_others(self.root, StopStage::Cancelled, None);
        }
    }

    pub(super) fn kill_tree(&mut self) {
        self.record_tree_command("kill");
        self.begin_tree_stop(None);
        if !self.ended {
            self.kill(self.root);
        }
    }

    /// Carries out a command, or refuses it immediately.
    pub(super) fn command(&mut self, request: RequestId, id: ChildId, command: Command) {
        let recorded = self.begin_record(id, command.as_str());
        let result = match self.arena.index_of(id) {
            _ if self.ended => Err(Refusal::TreeEnded),
            None => Err(Refusal::NotFound),
            Some(child) if self.waiter_count(child) >= MAX_WAITERS => Err(Refusal::Busy),
            Some(child) => match command {
                Command::Start => self.command_start(child, request),
                Command::Stop => self.command_stop(child, request),
                Command::Restart => self.command_restart(child, request),
                Command::Remove => self.command_remove(child, request),
                Command::Pause => self.command_pause(child, request),
                Command::Resume => {
                    self.command_resume(child, request);
                    Ok(())
                }
                Command::Quarantine => self.command_quarantine(child, request),
                Command::Release => self.command_release(child, request),
            },
        };
        self.finish_record(recorded, result.as_ref().err());
        if let Err(refusal) = result {
            self.push(Effect::Reply { request, result: Err(refusal) });
        }
    }

    fn command_start(&mut self, child: Index, request: RequestId) -> Result<(), Refusal> {
        let state = &self.arena[child];
        match (state.phase, state.intent) {
            (Phase::Idle(_), _) => self.start_anew(child, request, Command::Start),
            (Phase::Stopping { .. }, Intent::Remove) => Err(Refusal::SupervisorDown),
            (Phase::Stopping { .. }, Intent::Stop | Intent::Quarantine | Intent::Unwanted) => {
                self.check_may_start_again(child)?;
                self.check_nothing_is_kept_down(child)?;
                self.ask_for(child);
                self.end_pause(child);
                self.start_after_stop(child, request, Command::Start);
                Ok(())
            }
            (Phase::Waiting | Phase::Starting | Phase::Running | Phase::BackingOff, _)
                if state.is_brought_along() =>
            {
                self.check_nothing_is_kept_down(child)?;
                self.keep_what_was_brought_along(child, request);
                Ok(())
            }
            (Phase::Waiting | Phase::Starting | Phase::Running | Phase::BackingOff, _)
            | (Phase::Stopping { .. }, Intent::Run | Intent::Restart) => {
                Err(Refusal::NotDown { state: self.state_of(child).as_str() })
            }
        }
    }

    /// Lets a child that was brought along stay wanted, because a command asks for it.
    fn keep_what_was_brought_along(&mut self, child: Index, request: RequestId) {
        self.ask_for(child);
        self.expect_answer(child, Some(request), Command::Start);
        if self.arena[child].phase == Phase::Running {
            let (id, attempt) = self.arena.attempt_of(child);
            self.answer_starts(child, || Ok(Outcome::Ready { id, attempt }));
        }
        if self.arena[child].phase == Phase::Waiting {
            self.expect_start_in_time(child);
            // If it is held, the next evaluation answers.
            self.mark_to_evaluate(self.arena[child].parent);
        }
    }

    fn command_stop(&mut self, child: Index, request: RequestId) -> Result<(), Refusal> {
        let within = self.stop_budget.take();
        let state = &mut self.arena[child];
        // A stop does not undo a removal.
        if state.intent != Intent::Remove {
            state.intent = Intent::Stop;
        }
        self.forget_wish(child);
        self.expect_answer(child, Some(request), Command::Stop);
        if self.arena[child].phase.is_idle() {
            self.after_stop_by_others(child, StopStage::Cancelled, None);
        } else {
            self.open_log(child);
            self.begin_stop_within(child, within);
        }
        Ok(())
    }

    fn command_restart(&mut self, child: Index, request: RequestId) -> Result<(), Refusal> {
        self.check_may_start_again(child)?;
        match self.arena[child].phase {
            Phase::Idle(_) => self.start_anew(child, request, Command::Start),
            // The child has no attempt to stop, and a start by command has no backoff.
            Phase::Waiting | Phase::BackingOff => {
                if self.arena[child].is_trial() {
                    self.end_quarantine(child);
                }
                self.end_pause(child);
                self.expect_answer(child, Some(request), Command::Restart);
                self.request_start(child);
                Ok(())
            }
            Phase::Starting | Phase::Running | Phase::Stopping { .. } => {
                if !self.arena[child].intent.is_to_run() {
                    self.check_nothing_is_kept_down(child)?;
                    self.ask_for(child);
                }
                if self.arena[child].is_trial() {
                    self.end_quarantine(child);
                }
                // Earlier commands wait for the attempt that is stopped now.
                self.answer_starts(child, || Err(Refusal::Superseded { by: "a restart" }));
                self.forget_failures_below(child);
                self.end_pause(child);
                self.start_after_stop(child, request, Command::Restart);
                self.begin_stop(child);
                Ok(())
            }
        }
    }

    fn command_quarantine(&mut self, child: Index, request: RequestId) -> Result<(), Refusal> {
        let state = &mut self.arena[child];
        if state.parent.is_none() {
            return Err(Refusal::IsRoot);
        }
        if state.intent == Intent::Remove {
            return Err(Refusal::SupervisorDown);
        }
        state.intent = Intent::Quarantine;
        self.forget_wish(child);
        self.expect_answer(child, Some(request), Command::Quarantine);
        if self.arena[child].phase.is_idle() {
            self.after_stop_by_others(child, StopStage::Cancelled, None);
        } else {
            self.open_log(child);
            self.begin_stop(child);
        }
        Ok(())
    }

    fn command_release(&mut self, child: Index, request: RequestId) -> Result<(), Refusal> {
        let state = &self.arena[child];
        match state.phase {
            Phase::Idle(IdleReason::Quarantined) => self.start_anew(child, request, Command::Release),
            Phase::Stopping { .. } if state.intent == Intent::Quarantine => {
                self.check_may_start_again(child)?;
                self.check_nothing_is_kept_down(child)?;
                self.ask_for(child);
                self.end_pause(child);
                self.start_after_stop(child, request, Command::Release);
                Ok(())
            }
            phase if state.is_trial() && state.intent == Intent::Run => {
                self.check_may_start_again(child)?;
                self.forget_failures(child);
                self.end_pause(child);
                self.end_quarantine(child);
                self.expect_answer(child, Some(request), Command::Release);
                if phase == Phase::Running {
                    let (id, attempt) = self.arena.attempt_of(child);
                    self.answer_starts(child, || Ok(Outcome::Ready { id, attempt }));
                } else if phase == Phase::Waiting {
                    self.expect_start_in_time(child);
                }
                Ok(())
            }
            _ => Err(Refusal::NotQuarantined { state: self.state_of(child).as_str() }),
        }
    }

    fn command_remove(&mut self, child: Index, request: RequestId) -> Result<(), Refusal> {
        let Some(sup) = self.arena[child].parent else { return Err(Refusal::IsRoot) };
        self.check_not_needed(sup, &self.arena.name_of(child))?;
        self.arena[child].intent = Intent::Remove;
        self.expect_answer(child, Some(request), Command::Remove);
        if self.arena[child].phase.is_idle() {
            self.remove_child(child, Refusal::NotFound);
        } else {
            self.open_log(child);
            self.begin_stop(child);
        }
        Ok(())
    }

    /// Refuses to start a child again if the child or its supervisor is ending, or if its body cannot be made again.
    pub(super) fn check_may_start_again(&self, child: Index) -> Result<(), Refusal> {
        let state = &self.arena[child];
        let sup_is_ending = match self.arena.parent_of(child) {
            Some(sup) => sup.is_ending(),
            None => !state.intent.is_to_run(),
        };
        if sup_is_ending || state.intent == Intent::Remove {
            return Err(Refusal::SupervisorDown);
        }
        if state.is_used_up() { Err(Refusal::OnlyOnce) } else { Ok(()) }
    }

    /// Starts a child that is down. For the child and all children below it, the counts of failures and
    /// restarts and the backoffs are reset.
    fn start_anew(&mut self, child: Index, request: RequestId, command: Command) -> Result<(), Refusal> {
        if !self.has_live_supervisor(child) {
            return Err(Refusal::SupervisorDown);
        }
        let state = &self.arena[child];
        if state.is_used_up() {
            return Err(Refusal::OnlyOnce);
        }
        if let Some((_, survivors)) = state.record.as_ref().and_then(|record| record.survivors.as_ref()) {
            return Err(Refusal::StillRuns(Arc::clone(survivors)));
        }
        self.check_nothing_is_kept_down(child)?;
        let was_quarantined = self.arena[child].phase == Phase::Idle(IdleReason::Quarantined);
        self.ask_for(child);
        self.arena.record_or_new(child).gave_up = None;
        if was_quarantined {
            self.emit(child, || EventKind::Released);
        }
        let state = &mut self.arena[child];
        state.intent = Intent::Run;
        // After a release the ordinary rules decide what follows a failed start.
        state.flags.start_requested = command == Command::Start;
        // Failures before a start by command do not count against it.
        state.flags.restarts_next = false;
        self.start_counts_as_wanted(child);
        self.end_pause(child);
        self.forget_failures(child);
        self.expect_answer(child, Some(request), command);
        self.request_start(child);
        Ok(())
    }

    /// Notes that a command asks for a start: the rules for a start by command apply if it fails, not those of a mode.
    fn start_counts_as_wanted(&mut self, child: Index) {
        if let Some(record) = &mut self.arena[child].record {
            record.wanted_if_it_starts = false;
        }
    }

    /// Lets a child start again as soon as its stop is over.
    pub(super) fn start_after_stop(&mut self, child: Index, request: RequestId, command: Command) {
        let state = &mut self.arena[child];
        state.intent = Intent::Restart;
        state.flags.start_requested |= command == Command::Start;
        self.start_counts_as_wanted(child);
        self.answer(child, |command| match command {
            Command::Stop | Command::Quarantine => Some(Err(Refusal::Superseded { by: "a start" })),
            _ => None,
        });
        self.expect_answer(child, Some(request), command);
    }

    /// Adds a child to a running supervisor, as its last child. The child starts when its start condition is met. `request`
    /// is answered like [`Command::Start`]. A child whose start fails leaves the tree again (C10). Returns the ids of the
    /// child and of all children below it, in the order of [`Machine::new`]. The caller must store the bodies of these
    /// ids before it polls effects.
    ///
    /// # Errors
    /// When the child cannot be added. In this case nothing has changed, and the request is not answered.
    pub fn add_child(
        &mut self,
        now: Time,
        parent: ChildId,
        declared: &ChildDeclaration,
        request: Option<RequestId>,
    ) -> Result<Vec<ChildId>, Refusal> {
        self.now = self.now.max(now);
        let origin = self.origin.take();
        let sup = self.parent_for_adding(parent)?;
        #[cfg(feature = "testing")]
        self.panic_if_due(super::PanicAt::Add);
        if self.arena.sup(sup).is_group() {
            return Err(Refusal::IsAGroup);
        }
        self.check_name_is_free(sup, &declared.name)?;
        // If a sibling has an `after` edge to a removed child of this name, the name is refused: the sibling would have to
        // start after the new child, but an added child starts last.
        self.check_not_needed(sup, &declared.name)?;
        let resolved = declared.resolved_below(&self.above(sup));
        let declared = &*resolved;
        self.check_spec(sup, declared)?;
        let old = self.arena.sup(sup).names.get(&declared.name).copied();
        if self.arena.sup(sup).ordered().len() - usize::from(old.is_some()) >= MAX_CHILDREN {
            return Err(Refusal::Full { max: MAX_CHILDREN as u32 });
        }
        // A finished temporary child of this name makes room for the new child.
        if let Some(old) = old {
            self.remove_child(old, Refusal::NotFound);
        }
        let ids = self.arena.insert(Some(sup), declared, self.now);
        let child = Index::of_slot(ids[0].slot);
        self.refresh_health(sup);
        self.origin = origin;
        let recorded = self.begin_record(ids[0], "add");
        self.announce_added(child);
        self.mark_as_added(child, request);
        self.enqueue_start(child);
        self.finish_record(recorded, None);
        // Afterwards the child may already be gone: a child that can never start may leave the tree at once.
        self.settle();
        self.origin = None;
        Ok(ids)
    }

    /// Adds a member to a running group and starts it immediately. A member without a name is named by its slot.
    /// `request` is answered like [`Command::Start`]. A member whose start fails leaves the tree again.
    ///
    /// # Errors
    /// When the member cannot be added. In this case nothing has changed, and the request is not answered.
    pub fn add_member(
        &mut self,
        now: Time,
        group: ChildId,
        name: Option<Name>,
        request: Option<RequestId>,
    ) -> Result<ChildId, Refusal> {
        self.now = self.now.max(now);
        let group = self.parent_for_adding(group)?;
        #[cfg(feature = "testing")]
        self.panic_if_due(super::PanicAt::Add);
        let Children::Group { template, count, max, .. } = &self.arena.sup(group).children else {
            return Err(Refusal::NotAGroup);
        };
        if count >= max {
            return Err(Refusal::Full { max: *max });
        }
        let spec = Arc::clone(template);
        let ready_at_once = spec.ready == Ready::AtOnce;
        if let Some(name) = &name {
            self.check_name_is_free(group, name)?;
        }
        let name = name.map_or(ChildName::Automatic, ChildName::Given);
        let mut child = Child::new(spec, name, self.now);
        if ready_at_once {
            // It has this health when this call returns, so it does not change the health of its group.
            child.health = child.least_health();
        }
        let member = self.arena.insert_child(Some(group), child);
        self.avoid_given_names(group, member);
        if !ready_at_once {
            self.refresh_health(group);
        }
        let restart = self.arena[member].restart;
        self.emit(member, || EventKind::Added { restart, strategy: None });
        self.mark_as_added(member, request);
        let id = self.arena.id_of(member);
        self.request_start(member);
        self.settle();
        Ok(id)
    }

    fn mark_as_added(&mut self, child: Index, request: Option<RequestId>) {
        let flags = &mut self.arena[child].flags;
        flags.added = true;
        flags.start_requested = true;
        self.expect_answer(child, request, Command::Start);
    }

    /// Emits the events that a child and all children below it were added.
    pub(super) fn announce_added(&mut self, child: Index) {
        let state = &self.arena[child];
        let (restart, strategy) = (state.spec.restart, state.sup.as_ref().map(|sup| sup.rules.strategy));
        self.emit(child, || EventKind::Added { restart, strategy });
        if let Phase::Idle(why @ IdleReason::NotWanted) = self.arena[child].phase {
            self.emit(child, || EventKind::Stopped { stage: StopStage::Cancelled, why });
        }
        for below in self.arena[child].sup.as_ref().map(|sup| sup.ordered().to_vec()).unwrap_or_default() {
            self.announce_added(below);
        }
    }

    /// Gives a member another name if another member already has its automatic name: `7` becomes `7.1`.
    fn avoid_given_names(&mut self, group: Index, member: Index) {
        let names = &self.arena.sup(group).names;
        if names.is_empty() || matches!(self.arena[member].name, ChildName::Given(_)) {
            return;
        }
        let text = self.arena.name_text(member);
        if names.contains_key(&*text) {
            let others = (1u32..).filter_map(|n| Name::new(format!("{text}.{n}")).ok());
            if let Some(name) = others.into_iter().find(|name| !names.contains_key(name)) {
                self.arena.sup_mut(group).names.insert(name.clone(), member);
                self.arena[member].name = ChildName::Given(name);
            }
        }
    }

    fn parent_for_adding(&self, parent: ChildId) -> Result<Index, Refusal> {
        if self.ended {
            return Err(Refusal::TreeEnded);
        }
        let Some(parent) = self.arena.index_of(parent) else { return Err(Refusal::NotFound) };
        // A stop for a need would lose the added children.
        let declares = |at: &Index| !self.arena[*at].spec.needs.is_empty();
        if self.arena.some_needs
            && let Some(needs) = self.arena.line_up_from(parent).find(declares)
        {
            return Err(Refusal::DeclaresNeeds { path: self.arena.path_of(needs) });
        }
        match &self.arena[parent].sup {
            None => Err(Refusal::NotASupervisor),
            Some(sup) if matches!(sup.phase, SupervisorPhase::Starting | SupervisorPhase::Up) => Ok(parent),
            Some(_) => Err(Refusal::SupervisorDown),
        }
    }

    /// Returns what a child that is added to a supervisor finds above it.
    fn above(&self, sup: Index) -> Above {
        let line: Vec<Index> = self.arena.line_up_from(sup).collect();
        let below = |above: Above, sup: &Index| self.arena.sup(*sup).rules.above(above.defaults);
        line.iter().rev().fold(Above::default(), below)
    }

    fn check_spec(&self, sup: Index, declared: &ChildDeclaration) -> Result<(), Refusal> {
        let state = self.arena.sup(sup);
        // The last but one in the line up is the child of the root.
        let top = self.arena.line_up_from(sup).take_while(|at| *at != self.root).last();
        let rules = ParentRules {
            auto_shutdown: state.rules.auto_shutdown,
            depth: state.depth as usize + 1,
            may_end: top.map(|top| self.arena[top].restart == Restart::Temporary),
        };
        let sibling_of = |name: &str| {
            let sibling = &self.arena[*state.names.get(name)?];
            Some(Sibling::new(&sibling.spec, sibling.sup.is_none()))
        };
        added_child(&self.arena.path_of(sup), declared, rules, sibling_of).map_err(Refusal::Invalid)
    }

    /// Refuses a name that a child of `sup` has. The name of a finished temporary leaf on which no sibling depends is
    /// free.
    fn check_name_is_free(&self, sup: Index, name: &Name) -> Result<(), Refusal> {
        let Some(old) = self.arena.child_called(sup, name.as_str()) else { return Ok(()) };
        let state = &self.arena[old];
        let finished =
            state.phase == Phase::Idle(IdleReason::Finished) && state.spec.restart == Restart::Temporary;
        if finished && state.sup.is_none() && self.check_not_needed(sup, name).is_ok() {
            Ok(())
        } else {
            Err(Refusal::AlreadyExists { state: self.state_of(old).as_str() })
        }
    }

    /// Refuses to remove a child of this name if children of `sup` come after it.
    fn check_not_needed(&self, sup: Index, name: &Name) -> Result<(), Refusal> {
        // Most names are needed by no child.
        if !self.arena.sup(sup).edges_to.contains_key(name) {
            return Ok(());
        }
        let depends = |child: &&Index| self.arena[**child].spec.after.iter().any(|edge| edge.child == *name);
        let dependents = self.arena.sup(sup).ordered().iter().filter(depends);
        Err(Refusal::NeededBy(dependents.map(|child| self.arena.name_of(*child)).collect()))
    }
}
