//! The change from one mode to another: the plan, and its execution.

use crate::api::declared_modes::{UnknownMode, names};
use crate::api::mode_change::ModeChange;
use crate::api::mode_report::{ModeEnd, ModeReport, OnFailure};
use crate::api::tree::{TreeHandle, asker_in};
use crate::engine::driver::TreeInner;
use liveoak_core::{Awaited, ChildId, Mode, ModeStep, Name, PlanAction, PlanStep, Refusal};
use std::fmt;
use std::iter::successors;
use std::sync::Arc;

/// What a change to a mode would do. Nothing is done before [`run`](Self::run).
#[derive(Debug)]
#[must_use = "a plan does nothing until it is run"]
pub struct ModePlan {
    tree: TreeHandle,
    mode: Mode,
    steps: Vec<ModeStep>,
}

impl TreeHandle {
    /// Returns the mode that is in force; `None` if all declared children are wanted. While a change is on its way, this is
    /// the new mode.
    #[must_use]
    pub fn mode(&self) -> Option<Name> {
        self.inner.state().modes.current.clone()
    }

    /// Returns the names of the modes that were declared.
    #[must_use]
    pub fn modes(&self) -> Vec<Name> {
        names(&self.inner.state().modes.declared)
    }

    /// Lists what a change to a mode would do. Changes nothing.
    ///
    /// The list has first the children that stop, in the reverse of the start order, then all others in start order. What a
    /// command stopped, what has finished and what is quarantined stays as it is, and is listed.
    ///
    /// ```
    /// # use liveoak_runtime::{Child, Ctx, OnFailure, Supervisor};
    /// # liveoak_runtime::testing::paused(async {
    /// # let body = |ctx: Ctx| async move { ctx.stopping().await };
    /// let robot = Supervisor::new("robot")
    ///     .children(["camera", "motors", "mapper"].map(|name| Child::task(name, body)))
    ///     .mode("teleop", ["camera", "motors"])
    ///     .mode("mapping", ["camera", "mapper"])
    ///     .start_in_mode("teleop");
    /// let tree = robot.start().await?;
    /// let plan = tree.plan_mode("mapping")?;
    /// assert_eq!(
    ///     plan.to_string(),
    ///     "stop /robot/motors: mode `mapping` does not want it\n\
    ///      keep /robot/camera: it is wanted already\n\
    ///      start /robot/mapper: mode `mapping` wants it\n",
    /// );
    /// let report = plan.run(OnFailure::Back).await?;
    /// assert!(report.is_complete(), "{report}");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// When there is no such mode.
    pub fn plan_mode(&self, mode: &str) -> Result<ModePlan, UnknownMode> {
        let state = self.inner.state();
        let Some(mode) = state.modes.find(mode).cloned() else {
            return Err(UnknownMode { name: mode.to_owned(), known: names(&state.modes.declared) });
        };
        let steps = state.machine.plan_mode(Some(&mode));
        Ok(ModePlan { tree: self.clone(), mode, steps })
    }
}

impl ModePlan {
    /// Returns the steps, in order.
    pub fn steps(&self) -> impl Iterator<Item = &PlanStep> {
        self.steps.iter().map(|step| &step.step)
    }

    /// Returns `true` if nothing would start or stop.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps().all(|step| step.step == PlanAction::Keep)
    }

    /// Changes the mode. First stops the children that the new mode does not want, in the reverse of the start order, each
    /// when the one before is down. Then starts the missing children, in start order, each when the one before is ready.
    /// Nothing else is touched. The steps are those that are due now, if children have
    /// changed since the plan was made.
    ///
    /// A mode sets only what is wanted. What a command stopped stays stopped, and jobs that have finished do not run again.
    /// A later change ends an earlier one where it is; the caller of the earlier one gets [`ModeEnd::Superseded`].
    ///
    /// # Errors
    /// When the tree has ended, or the calling code is part of a child that is stopped; the change has begun in the second
    /// case.
    ///
    /// # Cancel safety
    /// Once this future was polled, the change goes on when the future is dropped.
    pub async fn run(self, on_failure: OnFailure) -> Result<ModeReport, Refusal> {
        let Self { tree, mode, .. } = self;
        tree.check_not_abandoned()?;
        let change = ModeChange::begin(&tree.inner, mode, tree.origin.clone())?;
        let waits_for_itself = would_wait_for_itself(&tree.inner, &change);
        let (name, running) = (change.mode().clone(), tree.inner.clock.handle.spawn(change.run(on_failure)));
        if waits_for_itself {
            return Err(Refusal::WouldWaitForItself { begun: true });
        }
        // The task is gone only if its runtime was shut down.
        Ok(running.await.unwrap_or_else(|_| ModeReport::new(Some(name), ModeEnd::Superseded)))
    }
}

/// Returns `true` if the calling code is part of a child that the change stops, or for which its starts may wait.
fn would_wait_for_itself(tree: &Arc<TreeInner>, change: &ModeChange) -> bool {
    let Some(asker) = asker_in(tree) else { return false };
    let state = tree.state();
    let stopped: Vec<ChildId> = change.children(PlanAction::Stop).collect();
    let mut line = successors(Some(asker.id), |id| state.machine.parent(*id));
    let is_stopped = !asker.listens && line.any(|id| stopped.contains(&id));
    let waits = |awaited| state.machine.would_wait_for_itself(asker, awaited);
    is_stopped || change.children(PlanAction::Start).any(|id| waits(Awaited::ReadyChild(id)))
}

/// Shows one line for each step.
impl fmt::Display for ModePlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.steps().try_for_each(|step| writeln!(f, "{step}"))
    }
}
