//! Another declaration takes the place of the one that a tree runs: the plan.

use crate::api::apply_run::Applying;
use crate::api::mode_report::FailedStep;
use crate::api::split::{DeclaredBody, NEEDS_ONE_THREAD, split, wrong_runtime};
use crate::api::supervisor::Supervisor;
use crate::api::tree::{TreeHandle, asker_in};
use crate::attempt::body::BodyValue;
use crate::engine::driver::TreeInner;
use crate::engine::modes::Modes;
use crate::engine::state::ChildEntry;
use liveoak_core::{
    BodyDifference, ChildDeclaration, ChildForm, Mode, Outcome, Path, PlanAction, PlanStep, Refusal,
    SpecErrors, plan,
};
use std::collections::HashMap;
use std::fmt;
use std::iter::successors;
use std::sync::Arc;

/// What another declaration would do to a running tree. Nothing is done before [`run`](Self::run).
#[derive(Debug)]
#[must_use = "a plan does nothing until it is run"]
pub struct ApplyPlan {
    tree: TreeHandle,
    new: NewTree,
    steps: Vec<PlanStep>,
}

/// The declaration that takes the place of another one.
pub(crate) struct NewTree {
    /// The settings are resolved.
    pub(crate) declaration: ChildDeclaration,
    /// In the order of the declaration, each supervisor before its children.
    pub(crate) bodies: Vec<DeclaredBody>,
    pub(crate) modes: Vec<Mode>,
}

impl fmt::Debug for NewTree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewTree").field("name", &self.declaration.name).finish_non_exhaustive()
    }
}

/// Why a declaration cannot take the place of another one. Nothing was done.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ApplyError {
    /// The new declaration is wrong.
    Spec(SpecErrors),
    /// The root itself would have to restart, so another tree must be started.
    Root(PlanStep),
    /// A new child has the name of a child that was added while the tree ran.
    NameTaken(Path),
    /// The tree has ended, or the caller cannot change it.
    Refused(Refusal),
}

impl fmt::Display for ApplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spec(errors) => errors.fmt(f),
            Self::Root(step) => {
                write!(
                    f,
                    "the tree itself would have to restart ({}); stop it, and start another one",
                    step.reason
                )
            }
            Self::NameTaken(path) => {
                write!(f, "a child of the name {path} was added while the tree ran; remove it first")
            }
            Self::Refused(refusal) => refusal.fmt(f),
        }
    }
}

impl std::error::Error for ApplyError {}

/// What was done of a plan.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ApplyReport {
    /// The steps that were done, in the order of the plan, and then those that a changed mode needed.
    pub done: Vec<PlanStep>,
    /// The steps that failed. A child that did not start is declared all the same, and is started again by its own rules.
    pub failed: Vec<FailedStep>,
    /// The starts that were not waited for, because a later change took over, or the tree ended.
    pub not_done: Vec<PlanStep>,
    /// What came of each start that was done, in order.
    pub started: Vec<(Path, Outcome)>,
}

impl ApplyReport {
    /// Returns `true` if all steps were done.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.failed.is_empty() && self.not_done.is_empty()
    }
}

/// Shows one line for each step.
impl fmt::Display for ApplyReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.done.iter().try_for_each(|step| writeln!(f, "done: {} {}", step.step, step.path))?;
        self.failed.iter().try_for_each(|step| writeln!(f, "failed: {step}"))?;
        self.not_done.iter().try_for_each(|step| writeln!(f, "not done: {} {}", step.step, step.path))
    }
}

impl TreeHandle {
    /// Compares a declaration with the running tree. Returns the plan by which it takes the place of the present one:
    /// `start`, `stop`, `restart`, `change` or `keep` for each child, with everything that differs. Changes nothing.
    ///
    /// Programs, and children of kinds, are compared by value. A closure counts as unchanged, and the one that runs is
    /// kept, unless its [`version`](crate::Child::version) differs. Children that were added while the tree ran are kept. A tree
    /// that ends when its children are done goes on doing so.
    ///
    /// ```
    /// # use liveoak_runtime::{Child, Ctx, Supervisor};
    /// # use std::time::Duration;
    /// # liveoak_runtime::testing::paused(async {
    /// # let body = |ctx: Ctx| async move { ctx.stopping().await };
    /// let shop = |tasks: &[&str]| {
    ///     Supervisor::new("shop").children(tasks.iter().map(|name| Child::task(*name, body)))
    /// };
    /// let tree = shop(&["web", "mailer"]).start().await?;
    /// let plan = tree.apply(shop(&["web", "billing"]))?;
    /// let changes = plan.steps().filter(|step| step.path.as_str() != "/shop").map(|step| step.to_string());
    /// assert_eq!(
    ///     changes.collect::<Vec<_>>(),
    ///     [
    ///         "stop /shop/mailer: it is no longer declared",
    ///         "keep /shop/web: nothing differs",
    ///         "start /shop/billing: it is new",
    ///     ],
    /// );
    /// let report = plan.run().await?;
    /// assert!(report.is_complete(), "{report}");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// When the new declaration is wrong (the whole tree is checked), when the root itself would have to restart, when a name
    /// is taken by an added child, or when the tree has ended.
    pub fn apply(&self, supervisor: Supervisor) -> Result<ApplyPlan, ApplyError> {
        self.check_not_abandoned().map_err(ApplyError::Refused)?;
        let ends_when_done = {
            let state = self.inner.state();
            if state.runtime_lost || state.machine.is_ending() {
                return Err(ApplyError::Refused(Refusal::TreeEnded));
            }
            matches!(&state.machine.declaration().form, ChildForm::Supervisor(spec) if spec.end_when_done)
        };
        let supervisor = if ends_when_done { supervisor.end_when_done() } else { supervisor };
        let new = NewTree::of(supervisor)?;
        let steps = new.plan(&self.inner);
        if let Some(root) = steps.first().filter(|root| root.step == PlanAction::Restart) {
            return Err(ApplyError::Root(root.clone()));
        }
        let state = self.inner.state();
        let mut started = steps.iter().filter(|step| step.step == PlanAction::Start);
        if let Some(taken) = started.find(|step| state.machine.find(&step.path).is_some()) {
            return Err(ApplyError::NameTaken(taken.path.clone()));
        }
        drop(state);
        Ok(ApplyPlan { tree: self.clone(), new, steps })
    }
}

impl NewTree {
    fn of(supervisor: Supervisor) -> Result<Self, ApplyError> {
        let (root, modes) = supervisor.into_root();
        let parts = split(root, None);
        let mut errors = parts.errors;
        let (modes, _) = modes.check(&parts.declaration, &mut errors);
        let declaration = parts.declaration.resolved().into_owned();
        errors.extend(declaration.check().err().into_iter().flat_map(|errors| errors.0));
        errors.extend(parts.needs_one_thread.map(|path| wrong_runtime(path, NEEDS_ONE_THREAD)));
        if errors.is_empty() {
            Ok(Self { declaration, bodies: parts.bodies, modes })
        } else {
            Err(ApplyError::Spec(SpecErrors(errors)))
        }
    }

    /// Returns how the modes differ. The mode that is in force may go.
    fn difference_of_modes(&self, old: &Modes) -> Option<String> {
        let goes = old.current.as_ref().filter(|name| self.modes.iter().all(|mode| mode.name != **name));
        match goes {
            Some(name) => Some(format!(
                "the modes differ; `{name}`, which is in force, is no longer declared, so all children are wanted that are not manual"
            )),
            None => (old.declared != self.modes).then(|| "the modes differ".to_owned()),
        }
    }

    /// Returns the plan for the tree as it is now.
    pub(crate) fn plan(&self, tree: &Arc<TreeInner>) -> Vec<PlanStep> {
        let mut values: HashMap<Path, Arc<dyn BodyValue>> = HashMap::new();
        let (old, of_modes) = {
            let state = tree.state();
            let old = state.machine.declaration();
            for (path, declared) in preorder(&old) {
                let id = state.machine.find(&path).filter(|_| declared.form == ChildForm::Leaf);
                let entry = id.and_then(|id| Some((id, state.children.get(id.slot)?)));
                if let Some((id, ChildEntry::Leaf { serial, body, .. })) = entry
                    && *serial == id.serial
                    && let Some(value) = body.value()
                {
                    values.insert(path, Arc::clone(value));
                }
            }
            (old, self.difference_of_modes(&state.modes))
        };
        let new: HashMap<Path, &Arc<dyn BodyValue>> = preorder(&self.declaration)
            .into_iter()
            .zip(&self.bodies)
            .filter_map(|((path, _), body)| match body {
                DeclaredBody::Leaf(body) => Some((path, body.value()?)),
                DeclaredBody::Supervisor { .. } => None,
            })
            .collect();
        let body = |path: &Path| match (values.get(path), new.get(path)) {
            (Some(old), Some(new)) => old.difference(&***new),
            (None, None) => BodyDifference::default(),
            (Some(_), None) => {
                code_differs("it was made of plain values, and is a closure now, which cannot be compared")
            }
            (None, Some(_)) => {
                code_differs("it was a closure, which cannot be compared, and is made of plain values now")
            }
        };
        let mut steps = plan(&old, &self.declaration, &body);
        if let (Some(root), Some(reason)) = (steps.first_mut(), of_modes) {
            match root.step {
                PlanAction::Keep => (root.step, root.reason) = (PlanAction::Change, reason),
                _ => root.reason = format!("{}; {reason}", root.reason),
            }
        }
        steps
    }
}

fn code_differs(reason: &str) -> BodyDifference {
    BodyDifference { restart: vec![reason.to_owned()], in_place: Vec::new() }
}

/// Returns a child and all children below it, each with its path, in declared order.
pub(crate) fn preorder(root: &ChildDeclaration) -> Vec<(Path, &ChildDeclaration)> {
    let mut all = Vec::new();
    let mut open = vec![(Path::new(root.name.as_str()), root)];
    while let Some((path, child)) = open.pop() {
        if let ChildForm::Supervisor(spec) = &child.form {
            open.extend(spec.children.iter().rev().map(|below| (path.join(below.name.as_str()), below)));
        }
        all.push((path, child));
    }
    all
}

impl ApplyPlan {
    /// Returns the steps: for each supervisor its own, then the children that stop, then the others in start order.
    pub fn steps(&self) -> impl Iterator<Item = &PlanStep> {
        self.steps.iter()
    }

    /// Returns `true` if nothing differs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps().all(|step| step.step == PlanAction::Keep)
    }

    /// Does the plan: stops what goes and what restarts, in the reverse of the start order, each child when the one before is
    /// down; changes the rest in place; then starts what is new or restarts, in start order, each child when the one before
    /// is ready. Nothing else is touched. The steps are those that are due now, if the tree has changed since the plan was made.
    ///
    /// What a command keeps down stays down, under its new declaration. A child with new code that has finished, or was
    /// given up on, starts again. A child that restarts because it is another form of child, or runs only once, is a new child:
    /// handles of the old one do not reach it. The mode that is in force stays in force if it is still declared.
    ///
    /// Stops and changes are done for one plan at a time. A later plan in which something differs, and a later change of the mode,
    /// take over the starts that are left, and the caller of the earlier one is told.
    ///
    /// # Errors
    /// When the tree has ended, or the calling code is part of a child that is stopped or for which a start waits; the plan
    /// is being done in the second case.
    ///
    /// # Cancel safety
    /// Once this future was polled, the plan is done also when the future is dropped.
    pub async fn run(self) -> Result<ApplyReport, Refusal> {
        let Self { tree, new, steps } = self;
        tree.check_not_abandoned()?;
        let waits_for_itself = would_wait_for_itself(&tree.inner, &steps);
        let applying = Applying::new(Arc::clone(&tree.inner), new, tree.origin.clone());
        let running = tree.inner.clock.handle.spawn(applying.run());
        if waits_for_itself {
            return Err(Refusal::WouldWaitForItself { begun: true });
        }
        // The task is gone only if its runtime was shut down.
        running.await.unwrap_or(Err(Refusal::TreeEnded))
    }
}

/// Returns `true` if the calling code is part of a child of this tree that may have to end, or become ready, before the plan is
/// done.
fn would_wait_for_itself(tree: &Arc<TreeInner>, steps: &[PlanStep]) -> bool {
    let Some(asker) = asker_in(tree) else { return false };
    let state = tree.state();
    let stops = |step: &&PlanStep| matches!(step.step, PlanAction::Stop | PlanAction::Restart);
    let stopped: Vec<_> =
        steps.iter().filter(stops).filter_map(|step| state.machine.find(&step.path)).collect();
    let starts = steps.iter().any(|step| matches!(step.step, PlanAction::Start | PlanAction::Restart));
    let mut line = successors(Some(asker.id), |id| state.machine.parent(*id));
    !asker.listens && line.any(|id| stopped.contains(&id))
        || starts && !state.machine.is_ready(asker.id) && !asker.listens
}

/// Shows one line for each step.
impl fmt::Display for ApplyPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.steps().try_for_each(|step| writeln!(f, "{step}"))
    }
}
