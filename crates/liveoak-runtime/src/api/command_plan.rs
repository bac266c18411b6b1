//! Commands on many children at once: first a list of what would be done, then exactly that.

use crate::api::tree::TreeHandle;
use crate::engine::command::Begun;
use liveoak_core::{
    Attempt, ChildId, ChildState, ChildView, Command, Glob, IdleReason, Outcome, Path, Refusal,
};
use std::fmt;
use tokio::task::coop::consume_budget;

/// What a command on all children of a pattern would do: a list that can be shown, and then carried out.
///
/// [`run`](Self::run) gives the command to exactly the children that the list says, by their ids: children that came to
/// match the pattern later are left alone. If a child has changed meanwhile, the command itself says what it found, as it
/// does for a single child: for example, a child that runs by now is not started twice ([`Refusal::NotDown`]).
///
/// ```
/// # use liveoak_runtime::{Child, Command, Ctx, Glob, Supervisor};
/// # liveoak_runtime::testing::paused(async {
/// # let body = |ctx: Ctx| async move { ctx.stopping().await };
/// # let ingest = Supervisor::new("ingest").child(Child::task("kafka", body)).child(Child::task("files", body));
/// # let tree = Supervisor::new("shop").child(ingest).start().await.unwrap();
/// let plan = tree.plan(Command::Stop, &Glob::new("/shop/ingest/*")?);
/// assert_eq!(plan.to_string(), "stop /shop/ingest/files (running)\nstop /shop/ingest/kafka (running)\n");
/// for done in plan.run().await {
///     assert!(done.result.is_ok(), "{}", done.path);
/// }
/// # Ok::<(), liveoak_runtime::GlobError>(())
/// # }).unwrap();
/// ```
#[derive(Debug)]
#[must_use = "a plan does nothing until it is run"]
pub struct CommandPlan {
    tree: TreeHandle,
    command: Command,
    steps: Vec<PlannedStep>,
}

/// What a [`CommandPlan`] does with one child that matches its pattern.
#[derive(Clone, Debug)]
pub struct PlannedStep {
    /// The path of the child.
    pub path: Path,
    /// The id of the child.
    pub id: ChildId,
    /// The number of its last attempt; 0 if none was begun.
    pub attempt: Attempt,
    /// The state of the child, as one word.
    pub state: &'static str,
    /// What is done.
    pub step: Step,
    /// The group of the child, if it is a member: members of one group are commanded together.
    group: Option<ChildId>,
}

/// What is done with one child of a [`CommandPlan`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// The child gets this command.
    Do(Command),
    /// The child gets no command of its own: the command on this supervisor above it includes it.
    With(Path),
    /// Nothing needs to be done, for this reason.
    Keep(&'static str),
    /// Nothing can be done, for this reason.
    Cannot(&'static str),
}

/// What one command of a [`CommandPlan`] did.
#[derive(Debug)]
pub struct StepResult {
    /// The path of the child.
    pub path: Path,
    /// What the command did, or why it was refused.
    pub result: Result<Outcome, Refusal>,
}

impl TreeHandle {
    /// Lists what `command` would do with the children whose paths match `paths`. Changes nothing.
    ///
    /// The list has the order in which the commands would be given: the start order of the tree for a start and a restart,
    /// the reverse for a stop, a quarantine and a removal. A command on a supervisor includes all children below it.
    pub fn plan(&self, command: Command, paths: &Glob) -> CommandPlan {
        self.plan_any(command, std::slice::from_ref(paths))
    }

    /// Lists what `command` would do with the children whose paths match any of `paths`, each once; see [`plan`](Self::plan).
    pub fn plan_any(&self, command: Command, paths: &[Glob]) -> CommandPlan {
        let mut steps = Vec::new();
        list(&self.snapshot().root, command, paths, &Above::default(), &mut steps);
        if matches!(command, Command::Stop | Command::Quarantine | Command::Remove) {
            steps.reverse();
        }
        for step in &mut steps {
            // The lock is taken for each step, because there may be a million.
            let state = self.inner.state();
            step.group = state.machine.parent(step.id).filter(|at| state.machine.is_group(*at) == Some(true));
        }
        CommandPlan { tree: self.clone(), command, steps }
    }
}

/// What is known of the supervisors above a child.
#[derive(Clone, Default)]
struct Above {
    /// The nearest supervisor whose command includes the child.
    commanded: Option<Path>,
    /// `true` if a supervisor is down.
    down: bool,
    /// `true` below the root.
    is_child: bool,
}

fn list(view: &ChildView, command: Command, paths: &[Glob], above: &Above, steps: &mut Vec<PlannedStep>) {
    let mut below = Above { is_child: true, ..above.clone() };
    below.down |= matches!(view.state, ChildState::Idle(_));
    if paths.iter().any(|paths| paths.matches(&view.path)) {
        let step = match &above.commanded {
            Some(with) => Step::With(with.clone()),
            None => step(command, view, above),
        };
        if let Step::Do(_) = step {
            below.commanded = Some(view.path.clone());
        }
        steps.push(PlannedStep {
            path: view.path.clone(),
            id: view.id,
            attempt: view.attempt,
            state: view.state.as_str(),
            step,
            group: None,
        });
    }
    view.children.iter().for_each(|child| list(child, command, paths, &below, steps));
}

/// Returns what a command does with a child that no other command includes.
fn step(command: Command, view: &ChildView, above: &Above) -> Step {
    let is_idle = matches!(view.state, ChildState::Idle(_));
    match command {
        Command::Remove | Command::Quarantine if !above.is_child => {
            Step::Cannot("the root can only be stopped")
        }
        Command::Start if !is_idle => Step::Keep("it is not down"),
        Command::Pause if is_paused(view) => Step::Keep("it is paused already"),
        Command::Resume if !is_any_paused(view) => Step::Keep("it is not paused"),
        Command::Release if !is_quarantined(view) => Step::Keep("it is not quarantined"),
        Command::Start | Command::Restart | Command::Release if above.down => {
            Step::Cannot("its supervisor is down")
        }
        Command::Stop if view.state == ChildState::Idle(IdleReason::StoppedByCommand) => {
            Step::Keep("it is stopped already")
        }
        _ => Step::Do(command),
    }
}

/// Returns `true` if a pause would change nothing: the child is paused, and so is each child below it.
fn is_paused(view: &ChildView) -> bool {
    view.paused && view.children.iter().all(is_paused)
}

fn is_any_paused(view: &ChildView) -> bool {
    view.paused || view.children.iter().any(is_any_paused)
}

fn is_quarantined(view: &ChildView) -> bool {
    view.trial || view.state == ChildState::Idle(IdleReason::Quarantined)
}

impl CommandPlan {
    /// Returns the children that matched, with what is done with each, in order.
    #[must_use]
    pub fn steps(&self) -> &[PlannedStep] {
        &self.steps
    }

    /// Returns `true` if nothing would be done.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.commanded().next().is_none()
    }

    fn commanded(&self) -> impl Iterator<Item = &PlannedStep> {
        self.steps.iter().filter(|step| matches!(step.step, Step::Do(_)))
    }

    /// Carries the plan out: each command when the one before has taken effect or was refused, so that a restart of many
    /// children restarts one after the other. Members of one group get their commands together. Returns what each command
    /// did, in order. A refused command does not keep the others from being given.
    ///
    /// # Cancel safety
    /// When this future is dropped, the commands that were given are carried out, and the others are not given.
    pub async fn run(self) -> Vec<StepResult> {
        let mut results = Vec::new();
        self.run_each(|result| results.push(result)).await;
        results
    }

    /// Carries the plan out like [`run`](Self::run), and calls `done` with the result of each command as soon as it is there.
    ///
    /// # Cancel safety
    /// As [`run`](Self::run).
    pub async fn run_each(self, mut done: impl FnMut(StepResult)) {
        let steps: Vec<PlannedStep> = self.commanded().cloned().collect();
        for together in steps.chunk_by(|a, b| a.group.is_some() && a.group == b.group) {
            let begin =
                |step: &PlannedStep| (step.path.clone(), self.tree.begin_waiting(step.id, self.command));
            let begun: Vec<(Path, Result<Begun, Refusal>)> = together.iter().map(begin).collect();
            consume_budget().await;
            for (path, begun) in begun {
                let result = match begun {
                    Ok(begun) => self.tree.finish(&path, begun).await,
                    Err(refusal) => Err(refusal),
                };
                done(StepResult { path, result });
            }
        }
    }

    /// Gives all commands immediately, in order, without waiting for them. Returns the commands that were refused.
    pub fn begin(self) -> Vec<(Path, Refusal)> {
        let refused = |step: &PlannedStep| {
            let begun = self.tree.begin_command_on(step.id, self.command);
            begun.err().map(|refusal| (step.path.clone(), refusal))
        };
        self.commanded().filter_map(refused).collect()
    }
}

/// Shows one line for each step.
impl fmt::Display for CommandPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.steps.iter().try_for_each(|step| writeln!(f, "{step}"))
    }
}

impl fmt::Display for PlannedStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, state, .. } = self;
        match &self.step {
            Step::Do(command) => write!(f, "{} {path} ({state})", command.as_str()),
            Step::With(above) => write!(f, "keep {path} ({state}): included in {above}"),
            Step::Keep(why) | Step::Cannot(why) => write!(f, "keep {path} ({state}): {why}"),
        }
    }
}
