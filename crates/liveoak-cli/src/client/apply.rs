//! `apply` and `scale`: another declaration takes the place of the one that runs.

use std::path::{Path, PathBuf};

use liveoak::api::{ApplyRequest, Outcome, PlanStep, ScaleRequest, State, StepOutcome};
use serde::Serialize;

use super::args::{ApplyArgs, ScaleArgs};
use super::command::{plan_table, print_plan};
use super::connect::{Access, find, find_by_file};
use super::failure::Failure;
use super::http::{RequestError, Server};
use super::progress::{Watched, waiting};
use super::table::{Cell, Screen, Style, aligned};
use super::words::{self, count};
use super::{Done, ask, paths, print};
use crate::output::{colour_on_stderr, stderr};
use crate::{EXIT_FAILED, EXIT_USAGE};

/// What a plan says of a child to which nothing is done.
const KEEP: &str = "keep";

/// Runs `liveoak apply`.
pub(crate) async fn apply(args: &ApplyArgs) -> Done {
    let access = access(args.dry_run);
    let file = args.file.as_deref().map(absolute).transpose()?;
    let is_named = args.target.socket.is_some() || args.target.tree.is_some();
    let server = match &file {
        Some(file) if !is_named => find_by_file(file).await?,
        _ => find(&args.target, access).await?,
    };
    let request = ApplyRequest {
        file: file.map(|file| file.to_string_lossy().into_owned()),
        by: args.reason.by.clone(),
        because: args.reason.because.clone(),
        dry_run: true,
        agreed: None,
    };
    let job = Job { server: &server, route: "/v1/commands/apply", json: args.target.json };
    let plan = job.plan(&request).await?;
    if args.dry_run {
        print_plan(&plan, args.target.json)?;
        return Ok(0);
    }
    let agreed = if args.yes { None } else { agree(&plan, "apply this?", Without::Refuses)? };
    job.carry_out(&plan, &ApplyRequest { dry_run: false, agreed, ..request }).await
}

/// Runs `liveoak scale`.
pub(crate) async fn scale(args: &ScaleArgs) -> Done {
    let path = paths::all_cleaned(std::slice::from_ref(&args.path))?.into_iter().next().unwrap_or_default();
    if paths::is_pattern(&path) {
        return Err(Failure::usage(format!("{path} is a pattern; scale one child at a time")));
    }
    let server = find(&args.target, access(args.dry_run)).await?;
    let request = ScaleRequest {
        path,
        replicas: args.replicas,
        by: args.reason.by.clone(),
        because: args.reason.because.clone(),
        dry_run: true,
        agreed: None,
    };
    let job = Job { server: &server, route: "/v1/commands/scale", json: args.target.json };
    let plan = job.plan(&request).await?;
    if args.dry_run {
        print_plan(&plan, args.target.json)?;
        return Ok(0);
    }
    let takes_down = |step: &PlanStep| matches!(step.step.as_str(), "stop" | "restart");
    let agreed = if !args.yes && plan.iter().any(takes_down) {
        agree(&plan, &format!("scale {} to {}?", args.path, args.replicas), Without::Goes)?
    } else {
        None
    };
    job.carry_out(&plan, &ScaleRequest { dry_run: false, agreed, ..request }).await
}

const fn access(dry_run: bool) -> Access {
    if dry_run { Access::Reads } else { Access::Changes }
}

/// Returns the path of a file as the server knows it. The file may have been removed meanwhile.
fn absolute(file: &Path) -> Result<PathBuf, Failure> {
    if file.as_os_str() == "-" {
        return Err(Failure::usage("the tree reads its own file again; the standard input is none"));
    }
    let full = std::fs::canonicalize(file).or_else(|_| std::path::absolute(file));
    full.map_err(|error| Failure::usage(format!("there is no file {}: {error}", file.display())))
}

/// What follows if there is no terminal to ask on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Without {
    /// It is refused.
    Refuses,
    /// It is done.
    Goes,
}

/// Shows a plan and asks for agreement. Returns the steps that were agreed to, if there was anyone to ask.
///
/// # Errors
/// When there is none. Nothing was done then.
fn agree(plan: &[PlanStep], question: &str, without: Without) -> Result<Option<Vec<PlanStep>>, Failure> {
    if !ask::is_possible() && without == Without::Goes {
        return Ok(None);
    }
    let changes: Vec<PlanStep> = plan.iter().filter(|step| step.step != KEEP).cloned().collect();
    if changes.is_empty() {
        // There is nothing to ask about, and nothing shall be done.
        return Ok(Some(changes));
    }
    stderr(&plan_table(&changes, Screen { colour: colour_on_stderr(), width: None }));
    if !ask::is_possible() {
        let changes = count(changes.len() as u64, "step", "steps");
        let text = format!("a plan of {changes} needs --yes without a terminal; nothing was done");
        return Err(Failure::new(EXIT_USAGE, text));
    }
    if ask::confirmed(question) { Ok(Some(changes)) } else { Err(Failure::failed("nothing was done")) }
}

/// A plan that is made and carried out by the server of a tree.
struct Job<'a> {
    server: &'a Server,
    route: &'static str,
    json: bool,
}

impl Job<'_> {
    async fn plan(&self, request: &impl Serialize) -> Result<Vec<PlanStep>, Failure> {
        Ok(self.server.post(self.route, request).await?)
    }

    /// Carries the plan out, and prints what came of each step.
    async fn carry_out(&self, plan: &[PlanStep], request: &impl Serialize) -> Done {
        let acting = plan.iter().filter(|step| step.step != KEEP).map(|step| step.path.clone());
        let watched = Watched::Commanded(acting.collect());
        let answer = self.server.post::<Vec<StepOutcome>>(self.route, request);
        let (steps, failure) = match waiting(self.server, watched, answer).await? {
            Ok(steps) => (steps, None),
            Err(RequestError::Refused(mut problem)) => match problem.steps.take() {
                Some(steps) => (steps, Some(Failure::from(*problem))),
                None => return Err(Failure::from(*problem)),
            },
            Err(error) => return Err(error.into()),
        };
        if self.json {
            print::json(&steps)?;
        } else {
            print::text(&text(&steps))?;
        }
        let bad = steps.iter().filter(|step| step.outcome.is_bad());
        let told = bad.inspect(|step| failure_of(step).print()).count();
        match failure {
            None => Ok(0),
            Some(_) if told > 0 => Ok(EXIT_FAILED),
            Some(failure) => Err(failure),
        }
    }
}

/// Returns the failure of one step.
fn failure_of(step: &StepOutcome) -> Failure {
    Failure::failed(match &step.error {
        Some(error) if words::names(&error.detail, &step.path) => error.to_string(),
        Some(error) => format!("{}: {error}", step.path),
        None => format!("{}: {}", step.path, step.outcome.as_str()),
    })
}

fn text(steps: &[StepOutcome]) -> String {
    let is_shown = |step: &&StepOutcome| step.step != KEEP || step.outcome != Outcome::Kept;
    let row = |step: &StepOutcome| -> [Cell; 5] {
        let style = if step.outcome.is_bad() { Style::Bad } else { Style::Good };
        let attempt = match step.attempt {
            0 => String::new(),
            attempt => format!("attempt {attempt}"),
        };
        // The outcome says what state a child has, unless it did not become what it should.
        let state = step.state.filter(|_| step.outcome.is_bad()).map(State::as_str);
        let reason = state.map_or(step.reason.clone(), |state| format!("{} (now {state})", step.reason));
        [
            step.path.as_str().into(),
            step.step.as_str().into(),
            Cell::new(step.outcome.as_str(), style),
            attempt.into(),
            Cell::new(reason, Style::Dim),
        ]
    };
    let rows: Vec<[Cell; 5]> = steps.iter().filter(is_shown).map(row).collect();
    let kept = count((steps.len() - rows.len()) as u64, "child", "children");
    let mut text = aligned(&rows, Screen::of_stdout());
    if rows.is_empty() {
        text.push_str(&format!("nothing differs; {kept} kept\n"));
    } else {
        text.push_str(&format!("{kept} kept\n"));
    }
    text
}
