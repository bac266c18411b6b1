//! `mode`: the set of children that shall run.

use std::collections::HashMap;

use liveoak::api::{Child, CommandResult, ModeRequest, Outcome, PlanStep, Planned, Problem, State, Status};
use serde::Serialize;

use super::args::{ModeArgs, OnFailure};
use super::command::{plan_table, print_plan, tell_errors};
use super::connect::{Access, find};
use super::failure::Failure;
use super::http::{RequestError, Server};
use super::progress::{Watched, waiting};
use super::table::{Cell, Screen, Style, aligned};
use super::words::count;
use super::{Done, ask, print};
use crate::EXIT_FAILED;
use crate::output::{colour_on_stderr, stderr};

const ROUTE: &str = "/v1/commands/mode";

/// Runs `liveoak mode`.
pub(crate) async fn run(args: &ModeArgs) -> Done {
    let Some(mode) = &args.mode else {
        let server = find(&args.target, Access::Reads).await?;
        return show(&server.get("/v1/status").await?, args.target.json);
    };
    let access = if args.dry_run { Access::Reads } else { Access::Changes };
    let server = find(&args.target, access).await?;
    let request = ModeRequest {
        mode: mode.clone(),
        on_failure: args.on_failure.map(|what| match what {
            OnFailure::Back => "back".to_owned(),
            OnFailure::Stay => "stay".to_owned(),
        }),
        by: args.reason.by.clone(),
        because: args.reason.because.clone(),
        dry_run: false,
    };
    let dry: Planned = server.post(ROUTE, &ModeRequest { dry_run: true, ..request.clone() }).await?;
    if args.dry_run {
        print_plan(&dry.plan, args.target.json)?;
        return Ok(0);
    }
    if !args.yes && ask::is_possible() && dry.plan.iter().any(takes_down) {
        stderr(&plan_table(&dry.plan, Screen { colour: colour_on_stderr(), width: None }));
        if !ask::confirmed(&format!("change the mode to {mode}?")) {
            return Err(Failure::failed("nothing was done"));
        }
    }
    let acting = dry.plan.iter().filter(|step| step.step != "keep").map(|step| step.path.clone());
    let watched = Watched::Commanded(acting.collect());
    let answer = waiting(&server, watched, server.post::<Planned>(ROUTE, &request)).await?;
    tell(&server, mode, dry.plan, answer, args.target.json).await
}

/// Returns `true` if a step takes something down that runs.
fn takes_down(step: &PlanStep) -> bool {
    matches!(step.step.as_str(), "stop" | "restart" | "change")
}

/// The mode in force, and those that can be chosen.
#[derive(Serialize)]
struct Modes<'a> {
    mode: Option<&'a str>,
    modes: &'a [String],
}

fn show(status: &Status, json: bool) -> Done {
    if json {
        print::json(&Modes { mode: status.mode.as_deref(), modes: &status.modes })?;
        return Ok(0);
    }
    if status.modes.is_empty() {
        print::text("the tree has no modes\n")?;
        return Ok(0);
    }
    let row = |mode: &String| -> [Cell; 2] {
        let is_in_force = status.mode.as_ref() == Some(mode);
        if is_in_force {
            [Cell::new(format!("* {mode}"), Style::Good), "in force".into()]
        } else {
            [format!("  {mode}").into(), Cell::default()]
        }
    };
    let rows: Vec<[Cell; 2]> = status.modes.iter().map(row).collect();
    let mut text = aligned(&rows, Screen::of_stdout());
    if status.mode.is_none() {
        text.push_str("no mode is in force: all children are wanted\n");
    }
    print::text(&text)?;
    Ok(0)
}

/// A step of the plan, and what came of it.
#[derive(Serialize)]
struct Row<'a> {
    path: &'a str,
    step: &'a str,
    reason: &'a str,
    outcome: Option<Outcome>,
    attempt: Option<u64>,
    state: Option<State>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a Problem>,
}

/// Prints the plan with what came of each step.
async fn tell(
    server: &Server,
    mode: &str,
    planned: Vec<PlanStep>,
    answer: Result<Planned, RequestError>,
    json: bool,
) -> Done {
    let (plan, end, failed, failure) = match answer {
        Ok(done) => (done.plan, done.end, done.failed, None),
        Err(RequestError::Refused(mut problem)) => match problem.results.take() {
            Some(failed) => (planned, None, failed, Some(Failure::from(*problem))),
            None => return Err(Failure::from(*problem)),
        },
        Err(error) => return Err(error.into()),
    };
    let is_done = failure.is_none() && failed.is_empty() && end.as_deref().is_none_or(|end| end == "done");
    // The answer has no results of steps that went well. The tree may have ended since.
    let children: Vec<Child> = server.get("/v1/children").await.unwrap_or_default();
    let children: HashMap<&str, &Child> = children.iter().map(|child| (child.path.as_str(), child)).collect();
    let rows: Vec<Row<'_>> = plan
        .iter()
        .map(|step| row(step, is_done, &failed, children.get(step.path.as_str()).copied()))
        .collect();
    if json {
        print::json(&rows)?;
    } else {
        print::text(&text(mode, is_done, &rows))?;
    }
    tell_errors(&failed);
    match (failure, is_done) {
        (Some(failure), _) => Err(failure),
        (None, false) => {
            let end = end.unwrap_or_else(|| "failed".to_owned());
            Err(Failure::new(EXIT_FAILED, format!("the change of the mode to {mode}: {end}")))
        }
        (None, true) => Ok(0),
    }
}

fn row<'a>(step: &'a PlanStep, is_done: bool, failed: &'a [CommandResult], child: Option<&Child>) -> Row<'a> {
    let result = failed.iter().find(|result| result.path == step.path);
    let outcome = match (result, step.step.as_str()) {
        (Some(result), _) => Some(result.outcome),
        (None, "keep") => Some(Outcome::Kept),
        (None, _) if !is_done => None,
        (None, "stop") => Some(Outcome::Stopped),
        (None, _) => child.and_then(|child| match child.state {
            State::Running => Some(Outcome::Ready),
            State::Finished => Some(Outcome::Finished),
            _ => None,
        }),
    };
    Row {
        path: &step.path,
        step: &step.step,
        reason: &step.reason,
        outcome,
        attempt: child.map(|child| child.attempt),
        state: child.map(|child| child.state),
        error: result.and_then(|result| result.error.as_ref()),
    }
}

fn text(mode: &str, is_done: bool, rows: &[Row<'_>]) -> String {
    let shown = rows.iter().filter(|row| row.step != "keep");
    let cells = |row: &Row<'_>| -> [Cell; 4] {
        let style = match row.outcome {
            Some(outcome) if outcome.is_bad() => Style::Bad,
            Some(_) => Style::Good,
            None => Style::Warn,
        };
        let state = row.state.map_or("-", State::as_str);
        [
            row.path.into(),
            row.step.into(),
            Cell::new(row.outcome.map_or(state, Outcome::as_str), style),
            Cell::new(row.reason, Style::Dim),
        ]
    };
    let mut text = aligned(&shown.map(cells).collect::<Vec<_>>(), Screen::of_stdout());
    let kept = rows.iter().filter(|row| row.step == "keep").count() as u64;
    if is_done {
        let mode = liveoak_config::one_line(mode);
        text.push_str(&format!("the mode is {mode}; {} kept\n", count(kept, "child", "children")));
    }
    text
}
