//! Modes: named sets of children that shall run, and the change from one to another.

use crate::api::mode_change::ModeChange;
use crate::api::tree::{TreeHandle, asker_in};
use crate::engine::driver::TreeInner;
use liveoak_core::{
    Awaited, ChildDeclaration, ChildId, Glob, Mode, ModeStep, Name, Path, PlanAction, PlanStep, Refusal,
    SpecError, SpecProblem,
};
use std::fmt;
use std::iter::successors;
use std::sync::Arc;

/// The modes of a supervisor, before they are checked.
#[derive(Clone, Debug, Default)]
pub(crate) struct DeclaredModes {
    /// The name and the patterns of each.
    modes: Vec<(String, Vec<String>)>,
    /// The mode in which the tree starts.
    first: Option<String>,
}

impl DeclaredModes {
    pub(crate) fn add(&mut self, name: String, run: Vec<String>) {
        self.modes.push((name, run));
    }

    pub(crate) fn start_in(&mut self, mode: String) {
        self.first = Some(mode);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.modes.is_empty() && self.first.is_none()
    }

    /// Returns the error of a supervisor that has modes and is not the root.
    pub(crate) fn misplaced(path: Path) -> SpecError {
        wrong(
            path,
            "modes belong to the root of a tree: declare them there, with the path of each child".to_owned(),
        )
    }

    /// Returns the modes of the tree that `root` declares, and the one in which the tree starts. Everything that is wrong
    /// is added to `errors`.
    pub(crate) fn check(
        self,
        root: &ChildDeclaration,
        errors: &mut Vec<SpecError>,
    ) -> (Vec<Mode>, Option<Name>) {
        let path = Path::new(root.name.as_str());
        let mut checked: Vec<Mode> = Vec::new();
        for (name, run) in self.modes {
            let mut refuse = |why: String| errors.push(wrong(path.clone(), format!("mode {name:?}: {why}")));
            let globs = run.into_iter().filter_map(|pattern| match Glob::new(pattern) {
                Ok(glob) => Some(glob),
                Err(error) => {
                    refuse(error.to_string());
                    None
                }
            });
            let globs = globs.collect();
            let name = match Name::new(name.as_str()) {
                Ok(name) => name,
                Err(error) => {
                    refuse(error.to_string());
                    continue;
                }
            };
            if checked.iter().any(|mode| mode.name == name) {
                refuse("there are two modes of this name".to_owned());
                continue;
            }
            let mode = Mode { name, run: globs };
            for pattern in mode.unmatched(root) {
                refuse(format!("the pattern `{pattern}` matches no declared child"));
            }
            checked.push(mode);
        }
        let first = self.first.and_then(|first| {
            let known = checked.iter().find(|mode| mode.name.as_str() == first);
            if known.is_none() {
                let unknown = UnknownMode { name: first, known: names(&checked) };
                errors.push(wrong(path, unknown.to_string()));
            }
            known.map(|mode| mode.name.clone())
        });
        (checked, first)
    }
}

fn wrong(path: Path, why: String) -> SpecError {
    SpecError { path, field: "mode", problem: SpecProblem::Refused(why.into()) }
}

fn names(modes: &[Mode]) -> Vec<Name> {
    modes.iter().map(|mode| mode.name.clone()).collect()
}

/// The tree has no mode of this name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownMode {
    /// The name that was asked for.
    pub name: String,
    /// The names of the modes of the tree.
    pub known: Vec<Name>,
}

impl fmt::Display for UnknownMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "there is no mode `{}`", self.name)?;
        match self.known.as_slice() {
            [] => f.write_str("; the tree has no modes"),
            [first, more @ ..] => {
                write!(f, "; the modes are `{first}`")?;
                more.iter().try_for_each(|name| write!(f, ", `{name}`"))
            }
        }
    }
}

impl std::error::Error for UnknownMode {}

/// What follows when a step of a change to a mode fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OnFailure {
    /// The change goes back to the former mode, as far as possible. What it stopped is started again and supervised by the
    /// ordinary rules.
    #[default]
    Back,
    /// The change ends at the failed step. The new mode is in force, but the child of the failed step stays down, and the
    /// steps that are left are not done. A further change to the same mode tries them again.
    Stay,
}

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

    /// Changes the mode. Stops what is too much, each child when the one before is down. Then starts what is missing, each
    /// child when the one before is ready. Nothing else is touched. The steps are those that are due now, if children have
    /// changed since the plan was made.
    ///
    /// A mode sets only what is wanted. What a command stopped stays stopped, and jobs that have finished do not run again.
    /// A later change ends an earlier one where it is, and the caller of the earlier one is told
    /// ([`ModeEnd::Superseded`]).
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
    let starts = change.children(PlanAction::Start).next().is_some();
    is_stopped || starts && state.machine.would_wait_for_itself(asker, Awaited::Ready)
}

/// Shows one line for each step.
impl fmt::Display for ModePlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.steps().try_for_each(|step| writeln!(f, "{step}"))
    }
}

/// How a change to a mode ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ModeEnd {
    /// All steps were done.
    Complete,
    /// A step failed, and the change ended there ([`OnFailure::Stay`]).
    Stayed,
    /// A step failed, and the change went back ([`OnFailure::Back`]).
    WentBack,
    /// A later change began, or the tree ended.
    Superseded,
}

/// A step that failed.
#[derive(Clone, Debug)]
pub struct FailedStep {
    /// The step.
    pub step: PlanStep,
    /// Why.
    pub refusal: Refusal,
    pub(crate) id: ChildId,
}

/// What a change to a mode did.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ModeReport {
    /// The mode that is in force now; `None` if all declared children are wanted.
    pub mode: Option<Name>,
    /// How the change ended.
    pub end: ModeEnd,
    /// The steps that were done, in order. A child that a command stopped meanwhile, or that has left the tree, is kept.
    pub done: Vec<PlanStep>,
    /// The step that failed.
    pub failed: Option<FailedStep>,
    /// The steps that were not done, in order.
    pub not_done: Vec<PlanStep>,
    /// The steps that were done to go back, in order.
    pub back: Vec<PlanStep>,
    /// The children that should run after going back, and are not up. Their own rules decide when they start.
    pub not_up: Vec<FailedStep>,
}

impl ModeReport {
    pub(crate) const fn new(mode: Option<Name>, end: ModeEnd) -> Self {
        Self {
            mode,
            end,
            done: Vec::new(),
            failed: None,
            not_done: Vec::new(),
            back: Vec::new(),
            not_up: Vec::new(),
        }
    }

    /// Returns `true` if all steps were done.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        matches!(self.end, ModeEnd::Complete)
    }
}

impl fmt::Display for FailedStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.step.step, self.step.path, self.refusal)
    }
}

/// Shows one line for the end, and one for each step.
impl fmt::Display for ModeReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = match self.end {
            ModeEnd::Complete => "all steps were done",
            ModeEnd::Stayed => "a step failed, and the change ended there",
            ModeEnd::WentBack => "a step failed, and the change went back",
            ModeEnd::Superseded => "a later change, or the end of the tree, ended this one",
        };
        match &self.mode {
            Some(mode) => writeln!(f, "mode `{mode}` is in force: {end}")?,
            None => writeln!(f, "no mode is in force: {end}")?,
        }
        let mut steps = |word: &str, steps: &[PlanStep]| -> fmt::Result {
            steps.iter().try_for_each(|step| writeln!(f, "  {word}: {} {}", step.step, step.path))
        };
        steps("done", &self.done)?;
        steps("not done", &self.not_done)?;
        steps("back", &self.back)?;
        self.failed.iter().try_for_each(|step| writeln!(f, "  failed: {step}"))?;
        self.not_up.iter().try_for_each(|step| writeln!(f, "  not up: {step}"))
    }
}
