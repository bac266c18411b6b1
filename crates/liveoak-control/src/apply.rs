//! The handlers that put another declaration in the place of the one that runs: `apply` and `scale`.

use crate::answer::{self, Answer};
use crate::command::{as_caller, note};
use crate::reload::ReloadError;
use crate::request::{Request, full_path};
use crate::server::Server;
use liveoak_api::convert::{Converter, plan_step, problem};
use liveoak_api::{ApplyRequest, Outcome, PlanStep, Problem, ScaleRequest, StepOutcome};
use liveoak_runtime::{ApplyError, ApplyPlan, ApplyReport, Path, PlanAction, Refusal, TreeHandle};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Reads the declaration of the tree again and applies it, or lists what that would do.
pub(crate) async fn apply(server: &Server, request: &Request) -> Result<Answer, Problem> {
    let asked: ApplyRequest = if request.has_body() { request.json()? } else { ApplyRequest::default() };
    if let Some(file) = &asked.file {
        check_file(server, file.clone()).await?;
    }
    let tree = as_caller(&server.tree, asked.by.as_deref(), asked.because.as_deref());
    let plan = plan(server, &tree, Vec::new()).await?;
    if asked.dry_run {
        return Ok(planned(&plan));
    }
    check_agreed(asked.agreed.as_deref(), &plan)?;
    server.check_that_the_runtime_answers().await?;
    server.scaled.set(Vec::new());
    carry_out(server, request, plan).await
}

/// Changes the number of replicas of a child, or lists what that would do.
pub(crate) async fn scale(server: &Server, request: &Request) -> Result<Answer, Problem> {
    let asked: ScaleRequest = request.json()?;
    let path = Path::new(&full_path(&asked.path, server.name()));
    let tree = as_caller(&server.tree, asked.by.as_deref(), asked.because.as_deref());
    let is_group = server
        .tree
        .snapshot()
        .get(path.as_str())
        .is_some_and(|view| view.spec.body == liveoak_runtime::BodyKind::Group);
    if is_group {
        let text = format!("{path} is a group: the program itself adds and removes its members");
        return Err(Problem::new("cannot-scale", text).path(path.to_string()));
    }
    let changing = if asked.dry_run { None } else { Some(server.scaled.changing.lock().await) };
    let mut scaled = scaled_now(server, &tree).await?;
    scaled.retain(|(other, _)| *other != path);
    scaled.push((path, asked.replicas));
    let plan = plan(server, &tree, scaled.clone()).await?;
    if changing.is_none() {
        return Ok(planned(&plan));
    }
    check_agreed(asked.agreed.as_deref(), &plan)?;
    server.check_that_the_runtime_answers().await?;
    server.scaled.set(scaled);
    carry_out(server, request, plan).await
}

/// Returns the numbers of replicas with which the declaration is the one that runs: those that were set last, or none, because
/// something else has applied the declaration since.
async fn scaled_now(server: &Server, tree: &TreeHandle) -> Result<Vec<(Path, u32)>, Problem> {
    let set = server.scaled.now();
    if plan(server, tree, set.clone()).await?.is_empty() {
        return Ok(set);
    }
    if !set.is_empty() && plan(server, tree, Vec::new()).await?.is_empty() {
        return Ok(Vec::new());
    }
    let text = "the declaration of the tree has changed since it was applied; apply it first";
    Err(Problem::new("cannot-scale", text))
}

/// Refuses a file that is not the one of the tree. Both are compared as files, because a path may lead there in several ways; on
/// a thread of its own, because the disk may make it wait.
async fn check_file(server: &Server, file: String) -> Result<(), Problem> {
    let own = server.file.clone().unwrap_or_default();
    let compare = move || {
        let real = |file: &str| std::fs::canonicalize(file).ok();
        let is_own = file == own || real(&file).is_some_and(|file| real(&own) == Some(file));
        (is_own, own, file)
    };
    let (is_own, own, file) = tokio::task::spawn_blocking(compare)
        .await
        .map_err(|error| Problem::new("busy", format!("the file could not be looked at: {error}")))?;
    if is_own {
        return Ok(());
    }
    let problem = Problem::new("other-file", format!("the tree {} does not run {file}", server.name()));
    Err(problem.expected(if own.is_empty() { "no file".to_owned() } else { own }))
}

/// Reads the declaration on a thread of its own, because a file may block, and compares it with the tree.
async fn plan(server: &Server, tree: &TreeHandle, scaled: Vec<(Path, u32)>) -> Result<ApplyPlan, Problem> {
    let Some(reader) = server.reader.clone() else {
        let text = "this program has not said how the declaration of its tree is read again";
        return Err(Problem::new("no-file", text).expected("a program that calls `Control::reload`"));
    };
    let read = tokio::task::spawn_blocking(move || (reader.0)(&scaled)).await;
    let read = read
        .unwrap_or_else(|_| Err(ReloadError::wrong("the code that reads the declaration has panicked", "")));
    let declared = read.map_err(|error| {
        let problem = Problem::new(error.code, error.detail).near_miss(error.near);
        Problem { text: error.text.filter(|text| !text.is_empty()), ..problem }
    })?;
    tree.apply(declared).map_err(|error| refused(server, error))
}

fn refused(server: &Server, error: ApplyError) -> Problem {
    let detail = error.to_string();
    match error {
        ApplyError::Spec(errors) => {
            Problem::new("bad-file", "the declaration of the tree has errors").text(errors.to_string())
        }
        ApplyError::Root(_) => Problem::new("root-differs", detail).path(server.root.to_string()),
        ApplyError::NameTaken(path) => Problem::new("name-taken", detail).path(path.to_string()),
        ApplyError::Refused(refusal) => problem(&server.root, &refusal),
        _ => Problem::new("refused", detail),
    }
}

/// Refuses a plan that is not the one that the caller has agreed to: the declaration, or the tree, has changed since.
fn check_agreed(agreed: Option<&[PlanStep]>, plan: &ApplyPlan) -> Result<(), Problem> {
    let Some(agreed) = agreed else { return Ok(()) };
    let due = plan.steps().filter(|step| step.step != PlanAction::Keep).map(plan_step);
    let told = |step: &PlanStep| (step.path.clone(), step.step.clone(), step.reason.clone());
    if due.map(|step| told(&step)).eq(agreed.iter().map(told)) {
        return Ok(());
    }
    let text = "the declaration or the tree has changed since the plan was made; nothing was done";
    Err(Problem::new("plan-changed", text).expected("agreement to the new plan"))
}

fn planned(plan: &ApplyPlan) -> Answer {
    answer::json(&plan.steps().map(plan_step).collect::<Vec<PlanStep>>())
}

/// Does a plan. It is carried out by a task of its own, so it goes on when the caller goes away.
async fn carry_out(server: &Server, request: &Request, plan: ApplyPlan) -> Result<Answer, Problem> {
    let steps: Vec<liveoak_runtime::PlanStep> = plan.steps().cloned().collect();
    let changed = steps.iter().filter(|step| step.step != PlanAction::Keep);
    note(server, request, &changed.map(|step| step.path.to_string()).collect::<Vec<_>>());
    let before = server.tree.snapshot();
    let attempts: HashMap<Path, u64> =
        before.nodes().map(|view| (view.path.clone(), view.attempt.0)).collect();
    drop(before);
    let report = plan.run().await.map_err(|refusal| problem(&server.root, &refusal))?;
    let told = Told { convert: Converter::new(&server.tree, server.recorder.run), attempts, report: &report };
    // What a changed mode needed was not part of the plan.
    let failed = report.failed.iter().map(|failed| &failed.step);
    let all = report.done.iter().chain(failed).chain(&report.not_done);
    let more = all.filter(|step| steps.iter().all(|planned| planned.path != step.path));
    let outcomes: Vec<StepOutcome> = steps.iter().chain(more).map(|step| told.outcome(step)).collect();
    let bad: Vec<&StepOutcome> = outcomes.iter().filter(|step| step.outcome.is_bad()).collect();
    let mut problem = match bad.as_slice() {
        [] => return Ok(answer::json(&outcomes)),
        [StepOutcome { error: Some(error), .. }] => error.clone(),
        many => {
            let paths: Vec<&str> = many.iter().take(3).map(|step| step.path.as_str()).collect();
            let more = if many.len() > 3 { ", …" } else { "" };
            let detail = format!("{} of {} children: {}{more}", many.len(), outcomes.len(), paths.join(", "));
            Problem::new("some-failed", detail)
        }
    };
    problem.steps = Some(outcomes);
    Err(problem)
}

/// What is known about a plan that was carried out.
struct Told<'a> {
    convert: Converter<'a>,
    /// The last attempt of each child before the plan.
    attempts: HashMap<Path, u64>,
    report: &'a ApplyReport,
}

impl Told<'_> {
    /// Returns what came of one step.
    fn outcome(&self, step: &liveoak_runtime::PlanStep) -> StepOutcome {
        let before = self.attempts.get(&step.path).copied().unwrap_or_default();
        let failed = self.report.failed.iter().find(|failed| failed.step.path == step.path);
        let started = self.report.started.iter().find(|(path, _)| *path == step.path);
        let is_not_done = self.report.not_done.iter().any(|open| open.path == step.path);
        let result = match (failed, started) {
            (Some(failed), _) => Err(failed.refusal.clone()),
            (None, Some((_, outcome))) => Ok(outcome.clone()),
            (None, None) if is_not_done => {
                Err(Refusal::Superseded { by: "a later change, or the end of the tree" })
            }
            (None, None) => Ok(liveoak_runtime::Outcome::Ignored),
        };
        let is_known = failed.is_some() || started.is_some() || is_not_done;
        let result = self.convert.result(&step.path, before, &result);
        let is_done = self.report.done.iter().any(|done| done.path == step.path);
        let outcome = match step.step {
            _ if is_known => result.outcome,
            PlanAction::Stop if is_done && result.state.is_none() => Outcome::Removed,
            PlanAction::Stop if is_done => Outcome::Stopped,
            PlanAction::Change | PlanAction::Restart if is_done => Outcome::Changed,
            _ => Outcome::Kept,
        };
        StepOutcome {
            path: result.path,
            step: step.step.as_str().to_owned(),
            reason: step.reason.clone(),
            outcome,
            attempt: result.attempt,
            state: result.state,
            error: result.error,
        }
    }
}

/// The numbers of replicas that were set, and differ from those of the declaration.
#[derive(Debug, Default)]
pub(crate) struct Scaled {
    set: Mutex<Vec<(Path, u32)>>,
    /// Held while a child is scaled, because the next one begins with the numbers that are set by then.
    changing: tokio::sync::Mutex<()>,
}

impl Scaled {
    fn now(&self) -> Vec<(Path, u32)> {
        self.set.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, scaled: Vec<(Path, u32)>) {
        *self.set.lock().unwrap_or_else(PoisonError::into_inner) = scaled;
    }
}
