//! The steps of a change to a mode. They are taken by a task of their own, one after another, so the change goes on when
//! its caller stops waiting.

use crate::api::mode_report::{FailedStep, ModeEnd, ModeReport, OnFailure};
use crate::api::tree::TreeHandle;
use crate::engine::command::{Given, Wait};
use crate::engine::driver::TreeInner;
use crate::util::{Either, race};
use liveoak_core::{
    ChildId, Input, Mode, ModeStep, Name, Origin, Outcome, PlanAction, PlanStep, Refusal, Wanted,
};
use std::pin::pin;
use std::sync::Arc;

/// A change to a mode that has begun.
pub(crate) struct ModeChange {
    tree: Arc<TreeInner>,
    /// The number of the change. It is superseded when the tree has a later one.
    number: u64,
    /// The mode that was in force before.
    before: Option<Mode>,
    mode: Name,
    steps: Vec<ModeStep>,
    origin: Option<Arc<Origin>>,
}

/// What one step did.
enum Taken {
    /// It was done, or there is nothing to do any more.
    Done(PlanStep),
    Failed(FailedStep),
    /// It was not finished, because a later change has begun, or the tree ends.
    Superseded(PlanStep),
}

impl ModeChange {
    /// Begins a change: the new mode is in force, and an earlier change is superseded.
    pub(crate) fn begin(
        tree: &Arc<TreeInner>,
        mode: Mode,
        origin: Option<Arc<Origin>>,
    ) -> Result<Self, Refusal> {
        let now = tree.clock.now();
        let begun = tree.try_with_state(|state| {
            if state.runtime_lost || state.machine.has_ended() {
                return Err(Refusal::TreeEnded);
            }
            state.machine.set_origin(origin.clone());
            let before = state.modes.current().cloned();
            state.modes.last_change += 1;
            state.modes.current = Some(mode.name.clone());
            state.machine.prepare_mode(now, Some(&mode));
            Ok((state.modes.last_change, before, state.machine.plan_mode(Some(&mode))))
        });
        let (number, before, steps) = begun?;
        tree.mode_changed.notify_waiters();
        Ok(Self { tree: Arc::clone(tree), number, before, mode: mode.name, steps, origin })
    }

    /// Returns the new mode.
    pub(crate) const fn mode(&self) -> &Name {
        &self.mode
    }

    /// Returns the children that are stopped, or started.
    pub(crate) fn children(&self, action: PlanAction) -> impl Iterator<Item = ChildId> {
        self.steps.iter().filter(move |step| step.step.step == action).map(|step| step.id)
    }

    /// Takes the steps.
    pub(crate) async fn run(mut self, on_failure: OnFailure) -> ModeReport {
        let mut report = ModeReport::new(Some(self.mode.clone()), ModeEnd::Complete);
        let mut steps = due(std::mem::take(&mut self.steps));
        let mut started = Vec::new();
        for step in steps.by_ref() {
            let id = step.id;
            match self.take(step, Wanted::IfItStarts).await {
                Taken::Done(step) => {
                    started.extend((step.step == PlanAction::Start).then_some(id));
                    report.done.push(step);
                }
                Taken::Failed(step) => {
                    report.failed = Some(step);
                    report.end = ModeEnd::Stayed;
                    break;
                }
                Taken::Superseded(step) => {
                    report.not_done.push(step);
                    report.end = ModeEnd::Superseded;
                    break;
                }
            }
        }
        report.not_done.extend(steps.map(|step| step.step));
        if let Some(failed) = report.failed.clone() {
            match on_failure {
                OnFailure::Back => {
                    started.push(failed.id);
                    self.go_back(&started, &mut report).await;
                }
                // A child that still waits for another one has not failed, and would start later.
                OnFailure::Stay => {
                    if self.give(failed.id, Wanted::No, &failed.step).await.is_err() {
                        report.end = ModeEnd::Superseded;
                    }
                }
            }
        }
        self.end(&mut report);
        report
    }

    /// Goes back to the former mode, as far as possible. Of what that mode does not want, stops only what this change has
    /// `started`: the rest ran before, by a command.
    async fn go_back(&self, started: &[ChildId], report: &mut ModeReport) {
        report.end = ModeEnd::WentBack;
        let now = self.tree.clock.now();
        let steps = self.tree.with_state(|state| {
            if state.modes.last_change != self.number {
                return None;
            }
            let before = self.before.as_ref();
            state.modes.current = before.map(|mode| mode.name.clone());
            state.machine.set_origin(self.origin.clone());
            state.machine.prepare_mode(now, before);
            Some(state.machine.plan_mode(before))
        });
        let Some(steps) = steps else {
            report.end = ModeEnd::Superseded;
            return;
        };
        let is_own = |step: &ModeStep| step.step.step == PlanAction::Start || started.contains(&step.id);
        let mut steps = due(steps).filter(is_own);
        for step in steps.by_ref() {
            match self.take(step, Wanted::Yes).await {
                Taken::Done(step) => report.back.push(step),
                Taken::Failed(step) => report.not_up.push(step),
                Taken::Superseded(step) => {
                    report.not_done.push(step);
                    report.end = ModeEnd::Superseded;
                    break;
                }
            }
        }
        report.not_done.extend(steps.map(|step| step.step));
    }

    /// Notes that nothing more is started, and which mode is in force.
    fn end(&self, report: &mut ModeReport) {
        report.mode = self.tree.with_state(|state| {
            if state.modes.last_change == self.number {
                state.machine.end_mode_change();
            }
            state.modes.current.clone()
        });
    }

    /// Takes a step. `start` says how a child is started.
    async fn take(&self, ModeStep { id, step }: ModeStep, start: Wanted) -> Taken {
        let wanted = if step.step == PlanAction::Start { start } else { Wanted::No };
        // A command may overtake the step and have the same effect. The second try shows whether it does.
        let mut result = self.give(id, wanted, &step).await;
        if matches!(result, Ok(Err(Refusal::Superseded { .. }))) {
            result = self.give(id, wanted, &step).await;
        }
        let kept = |reason: &str| {
            Taken::Done(PlanStep {
                step: PlanAction::Keep,
                reason: reason.to_owned(),
                path: step.path.clone(),
            })
        };
        match result {
            Err(Overtaken) => Taken::Superseded(step),
            Ok(Ok(_)) => Taken::Done(step),
            Ok(Err(Refusal::Superseded { .. })) => kept("a command decided otherwise meanwhile"),
            Ok(Err(Refusal::NotFound)) => kept("it has left the tree"),
            Ok(Err(_)) if self.tree_is_ending() => Taken::Superseded(step),
            Ok(Err(refusal)) => Taken::Failed(FailedStep { step, refusal, id }),
        }
    }

    /// Tells the machine whether a child is wanted, and waits for the effect.
    async fn give(
        &self,
        id: ChildId,
        wanted: Wanted,
        step: &PlanStep,
    ) -> Result<Result<Outcome, Refusal>, Overtaken> {
        let given = Given {
            id,
            input: |request| Input::Want { request, id, wanted },
            of_change: Some(self.number),
            origin: self.origin.clone(),
            within: None,
        };
        let begun = match self.tree.give(given, Wait::For(None)) {
            Ok(begun) => begun,
            Err(_) if !self.is_last() => return Err(Overtaken),
            Err(refusal) => return Ok(Err(refusal)),
        };
        let handle = TreeHandle::new(Arc::clone(&self.tree), None);
        let finished = handle.finish(&step.path, begun);
        match race(finished, self.until_overtaken()).await {
            Either::Left(Err(Refusal::Superseded { .. })) if !self.is_last() => Err(Overtaken),
            Either::Left(result) => Ok(result),
            Either::Right(()) => Err(Overtaken),
        }
    }

    fn tree_is_ending(&self) -> bool {
        let state = self.tree.state();
        state.runtime_lost || state.machine.is_ending()
    }

    fn is_last(&self) -> bool {
        self.tree.state().modes.last_change == self.number
    }

    async fn until_overtaken(&self) {
        until_overtaken(&self.tree, self.number).await;
    }
}

/// Waits until a later change than this one has begun.
pub(crate) async fn until_overtaken(tree: &TreeInner, number: u64) {
    loop {
        let mut changed = pin!(tree.mode_changed.notified());
        changed.as_mut().enable();
        if tree.state().modes.last_change != number {
            return;
        }
        changed.await;
    }
}

/// A later change has begun.
struct Overtaken;

/// Returns the steps in which something is done.
fn due(steps: Vec<ModeStep>) -> impl Iterator<Item = ModeStep> {
    steps.into_iter().filter(|step| step.step.step != PlanAction::Keep)
}
