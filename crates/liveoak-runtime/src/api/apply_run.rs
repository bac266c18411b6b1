//! Another declaration takes the place of the one that a tree runs: the steps, done by a task of their own.

use crate::api::apply::{ApplyReport, NewTree, preorder};
use crate::api::mode_change::until_overtaken;
use crate::api::mode_report::FailedStep;
use crate::api::split::{DeclaredBody, install};
use crate::api::tree::TreeHandle;
use crate::attempt::body::UserValue;
use crate::engine::command::{Begun, Given, Wait};
use crate::engine::driver::{State, TreeInner};
use crate::util::{Either, race};
use liveoak_core::{
    ChildDeclaration, ChildForm, ChildId, Command, Input, Machine, OrderPlace, Origin, Outcome, Path,
    PlanAction, PlanStep, Refusal, RequestId, Wanted,
};
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

/// A declaration that takes the place of another one.
pub(crate) struct Applying {
    tree: Arc<TreeInner>,
    new: NewTree,
    origin: Option<Arc<Origin>>,
    /// The steps by the path of the child.
    steps: HashMap<Path, PlanStep>,
    /// The new children that are no group and no supervisor, and can run more than once.
    plain: HashSet<Path>,
    /// Children that a command kept down, and that were taken out of the tree to be declared anew.
    kept_down: HashSet<Path>,
    report: ApplyReport,
}

impl Applying {
    pub(crate) fn new(tree: Arc<TreeInner>, new: NewTree, origin: Option<Arc<Origin>>) -> Self {
        let (steps, kept_down) = (HashMap::new(), HashSet::new());
        let all = preorder(&new.declaration).into_iter();
        let plain = all.filter(|(_, child)| child.form == ChildForm::Leaf && !child.spec.once);
        let plain = plain.map(|(path, _)| path).collect();
        Self { tree, new, origin, steps, plain, kept_down, report: ApplyReport::default() }
    }

    /// Does all steps.
    pub(crate) async fn run(mut self) -> Result<ApplyReport, Refusal> {
        let tree = Arc::clone(&self.tree);
        let applying = tree.applying.lock().await;
        let plan = self.new.plan(&self.tree);
        // A plan in which something differs overtakes the starts of an earlier plan. A plan without a difference wants the same
        // as the earlier one, so it waits for these starts, and changes nothing.
        if plan.iter().all(|step| step.step == PlanAction::Keep) {
            drop(applying);
            let _starting = tree.apply_starts.lock().await;
            let unused = std::mem::take(&mut self.new.bodies);
            self.discard(unused);
            let number = self.tree.state().modes.last_change;
            self.start(number).await;
            return Ok(self.report);
        }
        self.steps = plan.iter().map(|step| (step.path.clone(), step.clone())).collect();
        let down = match self.begin() {
            Ok(down) => down,
            Err(refusal) => {
                let unused = std::mem::take(&mut self.new.bodies);
                self.discard(unused);
                return Err(refusal);
            }
        };
        for together in down {
            self.take_down(together).await;
        }
        let number = self.declare()?;
        let _starting = tree.apply_starts.lock().await;
        drop(applying);
        self.start(number).await;
        let failed: HashSet<&Path> = self.report.failed.iter().map(|failed| &failed.step.path).collect();
        let open: HashSet<&Path> = self.report.not_done.iter().map(|step| &step.path).collect();
        let is_done = |step: &PlanStep| {
            step.step != PlanAction::Keep && !failed.contains(&step.path) && !open.contains(&step.path)
        };
        let mut done: Vec<PlanStep> = plan.into_iter().filter(is_done).collect();
        done.append(&mut self.report.done);
        self.report.done = done;
        Ok(self.report)
    }

    /// Drops bodies that are not needed, outside the lock. Their destructors are code of the user.
    fn discard(&self, bodies: Vec<DeclaredBody>) {
        let root = self.tree.state().machine.root();
        self.tree.drops.push(root, bodies.into_iter().map(|body| Box::new(body) as UserValue).collect());
    }

    /// Lets no child depend on what goes. Returns the children that are taken down, in the reverse of the start order.
    fn begin(&self) -> Result<Vec<SideBySide>, Refusal> {
        self.tree.try_with_state(|state| {
            if state.runtime_lost || state.machine.is_ending() {
                return Err(Refusal::TreeEnded);
            }
            state.machine.begin_apply();
            for (path, new) in preorder(&self.new.declaration) {
                if let Some(id) = state.machine.find(&path) {
                    state.machine.forget_edges(id, new);
                }
            }
            let old = state.machine.declaration();
            let down = preorder(&old).into_iter().rev().filter_map(|(path, _)| {
                let step = self.steps.get(&path)?;
                let goes = matches!(step.step, PlanAction::Stop | PlanAction::Restart);
                Some((state.machine.find(&path).filter(|_| goes)?, step.clone()))
            });
            Ok(side_by_side(state, down.collect(), |machine, id| machine.stop_place(id)))
        })
    }

    /// Removes children that go, or whose declarations cannot be changed; or stops children whose code is replaced.
    async fn take_down(&mut self, together: SideBySide) {
        let mut given = Vec::new();
        for (id, step) in together {
            let stays = step.step == PlanAction::Restart && self.can_change(id, &step.path);
            let begun = if stays {
                self.give(id, None, |request| Input::Want { request, id, wanted: Wanted::No })
            } else {
                if self.tree.state().machine.is_kept_down(id) {
                    self.kept_down.insert(step.path.clone());
                }
                self.give(id, None, |request| Input::Command { request, id, command: Command::Remove })
            };
            given.push((id, step, begun));
        }
        for (id, step, begun) in given {
            match self.finish(&step.path, begun).await {
                Ok(_) | Err(Refusal::NotFound | Refusal::Superseded { .. }) => {}
                Err(refusal) => self.report.failed.push(FailedStep { step, refusal, id }),
            }
        }
    }

    /// Returns `true` if a child can have other code and another spec without leaving the tree.
    fn can_change(&self, id: ChildId, path: &Path) -> bool {
        self.plain.contains(path) && self.tree.state().machine.is_group(id).is_none()
    }

    /// Declares everything anew, in one step. Returns the number of the change to which the starts belong.
    fn declare(&mut self) -> Result<u64, Refusal> {
        let now = self.tree.clock.now();
        let mut bodies = Bodies { left: std::mem::take(&mut self.new.bodies).into(), unused: Vec::new() };
        let modes = std::mem::take(&mut self.new.modes);
        let number = self.tree.try_with_state(|state| {
            if state.runtime_lost || state.machine.is_ending() {
                return Err(Refusal::TreeEnded);
            }
            state.machine.set_origin(self.origin.clone());
            let root = Path::new(self.new.declaration.name.as_str());
            self.declare_one(state, (None, &root), &self.new.declaration, &mut bodies);
            state.modes.declared = modes;
            if state.modes.current().is_none() {
                state.modes.current = None;
            }
            state.modes.last_change += 1;
            let mode = state.modes.current().cloned();
            state.machine.prepare_mode(now, mode.as_ref());
            state.machine.end_apply();
            Ok(state.modes.last_change)
        });
        self.tree.mode_changed.notify_waiters();
        // If the tree has ended, no body is used.
        bodies.unused.extend(bodies.left);
        self.discard(bodies.unused);
        number
    }

    /// Declares one child anew, and all children below it. The bodies that are left begin with those of the child.
    fn declare_one(
        &self,
        state: &mut State,
        (parent, path): (Option<ChildId>, &Path),
        new: &ChildDeclaration,
        bodies: &mut Bodies,
    ) {
        let now = self.tree.clock.now();
        let Some(id) = state.machine.find(path) else {
            let count = preorder(new).len();
            let own: Vec<DeclaredBody> = bodies.left.drain(..count).collect();
            let Some(parent) = parent else { return bodies.unused.extend(own) };
            let ids = state.machine.insert_declared(now, parent, new);
            let first = ids.first().copied();
            bodies.unused.extend(install(state, &self.tree, ids, own));
            if let Some(id) = first.filter(|_| self.kept_down.contains(path)) {
                state.machine.keep_down(id);
            }
            return;
        };
        let action = self.steps.get(path).map_or(PlanAction::Keep, |step| step.step);
        match bodies.left.pop_front() {
            Some(DeclaredBody::Leaf(body))
                if action == PlanAction::Restart
                    || action == PlanAction::Change && body.value().is_some() =>
            {
                state.swap_body(id, body);
            }
            body => bodies.unused.extend(body),
        }
        if action != PlanAction::Keep {
            state.machine.redeclare(now, id, new, action == PlanAction::Restart);
        }
        if let ChildForm::Supervisor(spec) = &new.form {
            for below in &spec.children {
                let path = path.join(below.name.as_str());
                self.declare_one(state, (Some(id), &path), below, bodies);
            }
            if action != PlanAction::Keep || spec.children.iter().any(|below| self.is_new(path, below)) {
                state.machine.reorder(id, spec);
            }
        }
    }

    fn is_new(&self, above: &Path, child: &ChildDeclaration) -> bool {
        let step = self.steps.get(&above.join(child.name.as_str()));
        step.is_some_and(|step| matches!(step.step, PlanAction::Start | PlanAction::Restart))
    }

    /// Starts what is wanted and down, and stops what is not wanted any more.
    async fn start(&mut self, number: u64) {
        let due = {
            let state = self.tree.state();
            let steps = state.machine.plan_mode(state.modes.current()).into_iter();
            let due = steps.filter(|due| due.step.step != PlanAction::Keep).map(|due| (due.id, due.step));
            side_by_side(&state, due.collect(), |machine, id| machine.start_place(id))
        };
        for together in due {
            let mut given = Vec::new();
            for (id, due) in together {
                let wanted = if due.step == PlanAction::Start { Wanted::Yes } else { Wanted::No };
                let input = |request| Input::Want { request, id, wanted };
                given.push((id, due, self.give(id, Some(number), input)));
            }
            for (id, due, begun) in given {
                let planned = self.steps.get(&due.path).filter(|step| step.step != PlanAction::Keep);
                let (is_planned, step) = (planned.is_some(), planned.unwrap_or(&due).clone());
                let overtaken = until_overtaken(&self.tree, number);
                let result = match race(self.finish(&step.path, begun), overtaken).await {
                    Either::Left(result) => result,
                    Either::Right(()) => Err(Refusal::Superseded { by: "a later change" }),
                };
                match result {
                    Ok(outcome) => {
                        if due.step == PlanAction::Start {
                            self.report.started.push((due.path, outcome));
                        }
                        self.report.done.extend((!is_planned).then_some(step));
                    }
                    Err(
                        Refusal::Superseded { .. }
                        | Refusal::NotFound
                        | Refusal::TreeEnded
                        | Refusal::SupervisorDown,
                    ) => {
                        self.report.not_done.push(step);
                    }
                    Err(refusal) => self.report.failed.push(FailedStep { step, refusal, id }),
                }
            }
        }
    }

    /// Gives an input on one child.
    fn give(
        &self,
        id: ChildId,
        of_change: Option<u64>,
        input: impl FnOnce(RequestId) -> Input,
    ) -> Result<Begun, Refusal> {
        let given = Given { id, input, of_change, origin: self.origin.clone(), within: None };
        self.tree.give(given, Wait::For(None))
    }

    /// Waits for the effect of an input.
    async fn finish(&self, path: &Path, begun: Result<Begun, Refusal>) -> Result<Outcome, Refusal> {
        TreeHandle::new(Arc::clone(&self.tree), None).finish(path, begun?).await
    }
}

/// The bodies of a new declaration.
struct Bodies {
    /// Those whose child was not declared yet, in the order of the declaration.
    left: VecDeque<DeclaredBody>,
    /// Those that are not needed. They are dropped outside the lock.
    unused: Vec<DeclaredBody>,
}

/// Steps that are done side by side.
type SideBySide = Vec<(ChildId, PlanStep)>;

/// Puts steps together that follow each other and may be done side by side: their children have the same [`OrderPlace`].
fn side_by_side(
    state: &State,
    steps: SideBySide,
    place: impl Fn(&Machine, ChildId) -> Option<OrderPlace>,
) -> Vec<SideBySide> {
    let mut all: Vec<(Option<OrderPlace>, SideBySide)> = Vec::new();
    for (id, step) in steps {
        let place = place(&state.machine, id);
        match all.last_mut() {
            Some((Some(last), together))
                if place.as_ref() == Some(&*last) && together.len() < last.most as usize =>
            {
                together.push((id, step));
            }
            _ => all.push((place, vec![(id, step)])),
        }
    }
    all.into_iter().map(|(_, together)| together).collect()
}
