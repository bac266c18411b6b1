//! `start`, `stop`, `restart`, `pause`, `resume`, `quarantine`, `release`: commands on children.
//!
//! A pattern is first turned into a plan. What is then carried out are the steps of the plan, not the pattern: a child that
//! matches later was not agreed to.

use liveoak::api::{CommandRequest, CommandResult, Outcome, PlanStep, seconds};

use super::args::CommandArgs;
use super::connect::{Access, find};
use super::failure::Failure;
use super::http::{RequestError, Server};
use super::progress::{Watched, waiting};
use super::table::{Cell, Screen, Style, aligned, table};
use super::words::{self, count, state_style};
use super::{Done, ask, paths, print};
use crate::output::{colour_on_stderr, stderr};
use crate::{EXIT_FAILED, EXIT_USAGE};

/// What a plan says of a child to which nothing is done.
const KEEP: &str = "keep";

/// Runs a command.
pub(crate) async fn run(verb: &'static str, args: &CommandArgs) -> Done {
    let asked = paths::all_cleaned(&args.paths)?;
    let access = if args.dry_run { Access::Reads } else { Access::Changes };
    let server = find(&args.target, access).await?;
    let command = Command { server: &server, verb, args };
    let patterns: Vec<String> = asked.iter().filter(|path| paths::is_pattern(path)).cloned().collect();
    if args.dry_run {
        print_plan(&command.plan(&asked).await?, args.target.json)?;
        return Ok(0);
    }
    let (mut paths, mut kept) = (asked, Vec::new());
    if !patterns.is_empty() {
        let steps = command.plan(&paths).await?;
        if steps.len() > 1 && !args.yes {
            agree(verb, &steps)?;
        }
        // A path that is not a pattern gets the command even if its step is `keep`, so that a refusal is an error.
        paths.retain(|path| !paths::is_pattern(path));
        let (keep, act): (Vec<_>, Vec<_>) = steps.into_iter().partition(|step| step.step == KEEP);
        paths.extend(act.into_iter().map(|step| step.path));
        kept = keep.into_iter().map(kept_result).collect();
    }
    let mut failure = None;
    let mut results = Vec::new();
    if !paths.is_empty() {
        (results, failure) = command.carry_out(paths).await?;
    }
    kept.retain(|kept| !results.iter().any(|result| result.path == kept.path));
    results.extend(kept);
    if args.target.json {
        print::json(&results)?;
    } else {
        let rows: Vec<[Cell; 4]> = results.iter().map(row).collect();
        print::text(&aligned(&rows, Screen::of_stdout()))?;
    }
    tell_errors(&results);
    match failure {
        Some(failure) if !results.iter().any(|result| result.outcome.is_bad()) => Err(failure),
        Some(_) => Ok(EXIT_FAILED),
        None => Ok(0),
    }
}

/// A command that is to be given.
struct Command<'a> {
    server: &'a Server,
    verb: &'static str,
    args: &'a CommandArgs,
}

impl Command<'_> {
    fn request(&self, paths: Vec<String>) -> CommandRequest {
        CommandRequest {
            paths,
            by: self.args.reason.by.clone(),
            because: self.args.reason.because.clone(),
            within_s: self.args.within.map(seconds),
            dry_run: false,
        }
    }

    fn route(&self) -> String {
        format!("/v1/commands/{}", self.verb)
    }

    /// Returns what the command would do.
    async fn plan(&self, paths: &[String]) -> Result<Vec<PlanStep>, Failure> {
        let request = CommandRequest { dry_run: true, ..self.request(paths.to_vec()) };
        Ok(self.server.post(&self.route(), &request).await?)
    }

    /// Gives the command. Returns what came of it, and the failure if it did not have its effect on each child.
    async fn carry_out(&self, paths: Vec<String>) -> Result<(Vec<CommandResult>, Option<Failure>), Failure> {
        let watched = Watched::Commanded(paths.clone());
        let (route, request) = (self.route(), self.request(paths));
        let answer = self.server.post::<Vec<CommandResult>>(&route, &request);
        match waiting(self.server, watched, answer).await? {
            Ok(results) => Ok((results, None)),
            Err(RequestError::Refused(mut problem)) => match problem.results.take() {
                Some(results) => Ok((results, Some(Failure::from(*problem)))),
                None => Err(Failure::from(*problem)),
            },
            Err(error) => Err(error.into()),
        }
    }
}

/// Shows a plan and asks for agreement.
///
/// # Errors
/// When there is none. Nothing was done then.
fn agree(verb: &str, steps: &[PlanStep]) -> Result<(), Failure> {
    if steps.iter().all(|step| step.step == KEEP) {
        return Ok(());
    }
    let acting = steps.iter().filter(|step| step.step != KEEP || is_included(step)).count();
    stderr(&plan_table(steps, Screen { colour: colour_on_stderr(), width: None }));
    let children = count(acting as u64, "child", "children");
    if !ask::is_possible() {
        let text =
            format!("{verb} of {children} by a pattern needs --yes without a terminal; nothing was done");
        return Err(Failure::new(EXIT_USAGE, text));
    }
    if ask::confirmed(&format!("{verb} {children}?")) {
        return Ok(());
    }
    Err(Failure::failed("nothing was done"))
}

/// Returns `true` if the command on a supervisor above includes the child.
fn is_included(step: &PlanStep) -> bool {
    step.reason.starts_with("included in ")
}

/// Returns a plan as a table.
pub(crate) fn plan_table(steps: &[PlanStep], screen: Screen) -> String {
    let row = |step: &PlanStep| -> [Cell; 4] {
        let style = if step.step == KEEP { Style::Dim } else { Style::Plain };
        let state = step.state.as_deref();
        // That it is in its state is no news beside its state.
        let is_news = state.is_none_or(|state| step.reason != format!("it is {state}"));
        [
            step.path.as_str().into(),
            Cell::new(step.step.as_str(), style),
            state.unwrap_or("-").into(),
            if is_news { step.reason.as_str() } else { "" }.into(),
        ]
    };
    let rows: Vec<[Cell; 4]> = steps.iter().map(row).collect();
    if steps.iter().any(|step| step.state.is_some()) {
        return table(["CHILD", "STEP", "NOW", "NOTE"], &rows, screen);
    }
    let rows: Vec<[Cell; 3]> = rows.into_iter().map(|[child, step, _, note]| [child, step, note]).collect();
    table(["CHILD", "STEP", "NOTE"], &rows, screen)
}

/// Prints a plan that is not carried out.
pub(crate) fn print_plan(steps: &[PlanStep], json: bool) -> Result<(), Failure> {
    if json { print::json(&steps) } else { print::text(&plan_table(steps, Screen::of_stdout())) }
}

/// Returns the result of a step that does nothing.
fn kept_result(step: PlanStep) -> CommandResult {
    let state = step.state.and_then(|state| serde_json::from_value(state.into()).ok());
    CommandResult {
        path: step.path,
        outcome: Outcome::Kept,
        attempt: 0,
        state,
        reason: Some(step.reason),
        error: None,
    }
}

fn row(result: &CommandResult) -> [Cell; 4] {
    let style = match result.outcome {
        Outcome::Refused | Outcome::Failed => Style::Bad,
        Outcome::Pending => Style::Warn,
        Outcome::Kept => Style::Dim,
        _ => Style::Good,
    };
    let attempt = match result.attempt {
        0 => String::new(),
        attempt => format!("attempt {attempt}"),
    };
    let state = result.state.map_or(String::new(), |state| format!("now {}", state.as_str()));
    let note = match &result.reason {
        Some(reason) => Cell::from(reason.as_str()),
        None if result.outcome.is_bad() => Cell::new(state, result.state.map_or(Style::Plain, state_style)),
        None => Cell::default(),
    };
    [result.path.as_str().into(), Cell::new(result.outcome.as_str(), style), attempt.into(), note]
}

/// Says on stderr what went wrong, child by child.
pub(crate) fn tell_errors(results: &[CommandResult]) {
    for result in results.iter().filter(|result| result.outcome.is_bad()) {
        let text = match &result.error {
            Some(error) if words::names(&error.detail, &result.path) => error.to_string(),
            Some(error) => format!("{}: {error}", result.path),
            None => format!("{}: {}", result.path, result.outcome.as_str()),
        };
        Failure::failed(text).print();
    }
}
