//! The handlers that change something: commands on children, modes, the end of the tree.
//!
//! A command is carried out by a task of its own. So it goes on when its caller disconnects, or stops waiting
//! because the time for the answer is over.

use crate::answer::{self, Answer};
use crate::history::GivenCommand;
use crate::limits::MAX_PATTERNS;
use crate::read::{duration, no_such_child};
use crate::request::{Request, full_path, nearest, pattern};
use crate::server::Server;
use liveoak_api::convert::{Converter, plan_step, planned_step, problem};
use liveoak_api::{
    CommandRequest, CommandResult, DownRequest, ModeRequest, Outcome, PlanStep, Planned, Problem, Report,
};
use liveoak_runtime::{
    Command, Glob, ModeEnd, OnFailure, Path, PlannedStep, Refusal, Snapshot, Step, StepResult, Stop,
    TreeHandle,
};
use std::collections::{HashMap, HashSet};
use std::time::Duration;
use tokio::sync::mpsc;

/// Returns the command of a route, if it is one on children.
pub(crate) fn of_route(path: &str) -> Option<Command> {
    Some(match path.strip_prefix("/v1/commands/")? {
        "start" => Command::Start,
        "stop" => Command::Stop,
        "restart" => Command::Restart,
        "pause" => Command::Pause,
        "resume" => Command::Resume,
        "quarantine" => Command::Quarantine,
        "release" => Command::Release,
        _ => return None,
    })
}

/// Gives a command to children, or lists what it would do.
pub(crate) async fn children(
    server: &Server,
    request: &Request,
    command: Command,
) -> Result<Answer, Problem> {
    let asked: CommandRequest = request.json()?;
    let patterns = patterns(server, &asked.paths)?;
    let tree = as_caller(&server.tree, asked.by.as_deref(), asked.because.as_deref());
    let within = within(asked.within_s)?;
    let plan = tree.plan_any(command, &patterns);
    let steps = plan.steps().to_vec();
    if asked.dry_run {
        let steps: Vec<PlanStep> = steps.iter().map(planned_step).collect();
        return Ok(answer::json(&steps));
    }
    server.check_that_the_runtime_answers().await?;
    let paths: Vec<String> = asked.paths.iter().map(|path| full_path(path, server.name())).collect();
    note(server, request, &paths);
    let (sender, results) = mpsc::unbounded_channel();
    tokio::spawn(plan.run_each(move |result| {
        // If the time is over, the receiver is gone.
        let _ = sender.send(result);
    }));
    let results = collect(results, within).await;
    let results: Vec<CommandResult> = steps.iter().map(|step| result(server, step, &results)).collect();
    verdict(results).map(|results| answer::json(&results))
}

/// Records the command of a request before it is carried out.
pub(crate) fn note(server: &Server, request: &Request, paths: &[String]) {
    let (path, body) = (request.route.path, request.body());
    let verb = path.rsplit_once('/').map_or(path, |(_, verb)| verb);
    let _ = request.recorded.set(server.recorder.command(&GivenCommand { verb, paths, body: &body }));
}

/// Waits until the command of a request, and its effect, are on disk. An answer to one that is not says so.
pub(crate) async fn settle(server: &Server, request: &Request, answer: Result<Answer, Problem>) -> Answer {
    let mut answer = answer.unwrap_or_else(|problem| answer::problem(&problem));
    let Some(recorded) = request.recorded.get() else { return answer };
    let settled = server.recorder.settle(&server.tree).await;
    if let Err(why) = recorded.clone().and(settled) {
        answer::mark_unrecorded(&mut answer, &why);
    }
    answer
}

/// Returns the patterns of the paths of a command. Each must match a child.
fn patterns(server: &Server, paths: &[String]) -> Result<Vec<Glob>, Problem> {
    if paths.is_empty() {
        let problem = Problem::new("bad-request", "`paths` is empty");
        return Err(problem.expected("at least one path or pattern"));
    }
    let is_path = |text: &String| !text.contains(['*', '?', '\\']);
    let wide = paths.iter().filter(|text| !is_path(text)).count();
    if wide > MAX_PATTERNS {
        let problem = Problem::new("bad-request", format!("`paths` has {wide} patterns"));
        return Err(problem.expected(format!("at most {MAX_PATTERNS}, beside any number of paths")));
    }
    let snapshot = server.tree.snapshot();
    let known: HashSet<&Path> = snapshot.nodes().map(|view| &view.path).collect();
    let one = |text: &String| {
        let pattern = pattern(text, server.name())?;
        let matches = match is_path(text) {
            true => known.contains(&Path::new(&full_path(text, server.name()))),
            false => snapshot.nodes().any(|view| pattern.matches(&view.path)),
        };
        if matches { Ok(pattern) } else { Err(no_match(&snapshot, text, server.name())) }
    };
    paths.iter().map(one).collect()
}

fn no_match(snapshot: &Snapshot, text: &str, tree: &str) -> Problem {
    let path = full_path(text, tree);
    if text.contains(['*', '?']) {
        return Problem::new("no-such-child", format!("no child matches {path}"));
    }
    no_such_child(snapshot, &Path::new(&path))
}

/// Returns the handle that says who gives a command, and why.
pub(crate) fn as_caller(tree: &TreeHandle, by: Option<&str>, because: Option<&str>) -> TreeHandle {
    let tree = by.map_or_else(|| tree.clone(), |by| tree.by(by));
    because.map_or_else(|| tree.clone(), |because| tree.because(because))
}

fn within(seconds: Option<f64>) -> Result<Option<Duration>, Problem> {
    match seconds {
        Some(seconds) if !seconds.is_finite() || seconds < 0.0 => {
            let problem = Problem::new("bad-request", format!("`within_s` is {seconds}"));
            Err(problem.expected("seconds, not negative"))
        }
        seconds => Ok(seconds.map(duration)),
    }
}

type Results = HashMap<Path, Result<liveoak_runtime::Outcome, Refusal>>;

/// Collects the results of a plan until all are there, or the time is over.
async fn collect(mut results: mpsc::UnboundedReceiver<StepResult>, within: Option<Duration>) -> Results {
    let mut known = Results::new();
    let all = async {
        while let Some(StepResult { path, result }) = results.recv().await {
            known.insert(path, result);
        }
    };
    match within {
        // The results so far are kept when the time is over.
        Some(within) => drop(tokio::time::timeout(within, all).await),
        None => all.await,
    }
    known
}

/// Returns what came of one step.
fn result(server: &Server, step: &PlannedStep, results: &Results) -> CommandResult {
    let convert = Converter::new(&server.tree, server.recorder.run);
    let before = step.attempt.0;
    // The result with the present state of the child. Its outcome is replaced if the step was not carried out.
    let now = || {
        let nothing = Ok(liveoak_runtime::Outcome::Ignored);
        convert.result(&step.path, before, &nothing)
    };
    match &step.step {
        Step::Do(_) => match results.get(&step.path) {
            Some(result) => convert.result(&step.path, before, result),
            None => CommandResult {
                outcome: Outcome::Pending,
                error: Some(Problem::new(
                    "within-exceeded",
                    format!("{}: the time to wait was over; the command goes on", step.path),
                )),
                ..now()
            },
        },
        Step::With(above) => {
            CommandResult { outcome: Outcome::Kept, reason: Some(format!("included in {above}")), ..now() }
        }
        Step::Cannot(why) => {
            let code = if step.path == server.root { "root" } else { "supervisor-down" };
            let error = Problem::new(code, format!("{}: {why}", step.path)).path(step.path.to_string());
            CommandResult { outcome: Outcome::Refused, error: Some(error), ..now() }
        }
        Step::Keep(why) => CommandResult { outcome: Outcome::Kept, reason: Some((*why).to_owned()), ..now() },
        _ => now(),
    }
}

/// Returns the results, or the problem if the command did not have its effect on each child.
fn verdict(results: Vec<CommandResult>) -> Result<Vec<CommandResult>, Problem> {
    let bad: Vec<&CommandResult> = results.iter().filter(|result| result.outcome.is_bad()).collect();
    let mut problem = match bad.as_slice() {
        [] => return Ok(results),
        [one] => match &one.error {
            Some(error) => error.clone(),
            None => Problem::new("refused", format!("{}: {}", one.path, one.outcome.as_str())),
        },
        many => {
            let paths: Vec<&str> = many.iter().take(3).map(|result| result.path.as_str()).collect();
            let more = if many.len() > 3 { ", …" } else { "" };
            let detail = format!("{} of {} children: {}{more}", many.len(), results.len(), paths.join(", "));
            Problem::new("some-failed", detail)
        }
    };
    problem.results = Some(results);
    Err(problem)
}

/// Changes the mode, or lists what a change would do.
pub(crate) async fn mode(server: &Server, request: &Request) -> Result<Planned, Problem> {
    let asked: ModeRequest = request.json()?;
    let on_failure = match asked.on_failure.as_deref() {
        None | Some("back") => OnFailure::Back,
        Some("stay") => OnFailure::Stay,
        Some(word) => {
            let problem = Problem::new("bad-request", format!("`on_failure` is {word:?}"));
            return Err(problem.expected("back or stay"));
        }
    };
    let tree = as_caller(&server.tree, asked.by.as_deref(), asked.because.as_deref());
    let plan = tree.plan_mode(&asked.mode).map_err(|unknown| {
        let known: Vec<&str> = unknown.known.iter().map(liveoak_runtime::Name::as_str).collect();
        let expected = if known.is_empty() { "a tree with modes".to_owned() } else { known.join(", ") };
        let near = nearest(&unknown.name, known.iter().copied());
        Problem::new("no-such-mode", format!("there is no mode {:?}", unknown.name))
            .expected(expected)
            .near_miss(near)
    })?;
    let steps: Vec<PlanStep> = plan.steps().map(plan_step).collect();
    if asked.dry_run {
        return Ok(Planned { plan: steps, end: None, failed: Vec::new() });
    }
    server.check_that_the_runtime_answers().await?;
    note(server, request, &[]);
    let report = plan.run(on_failure).await.map_err(|refusal| problem(&server.root, &refusal))?;
    if report.is_complete() {
        return Ok(Planned { plan: steps, end: Some("done".to_owned()), failed: Vec::new() });
    }
    let convert = Converter::new(&server.tree, server.recorder.run);
    let failed = report.failed.iter().chain(&report.not_up);
    let failed = failed.map(|step| convert.result(&step.step.path, 0, &Err(step.refusal.clone())));
    let code = if report.end == ModeEnd::Superseded { "superseded" } else { "some-failed" };
    let mut problem = Problem::new(code, report.to_string().trim_end().replace('\n', ";"));
    problem.results = Some(failed.collect());
    Err(problem)
}

/// Stops the whole tree. Returns the report of its end.
pub(crate) async fn down(server: &Server, request: &Request) -> Result<Report, Problem> {
    let asked: DownRequest = if request.has_body() { request.json()? } else { DownRequest::default() };
    let within = within(asked.within_s)?;
    let tree = as_caller(&server.tree, asked.by.as_deref(), asked.because.as_deref());
    note(server, request, &[]);
    // The time is the budget of the stop: at half of it all children are asked that were not yet.
    match within {
        Some(within) => tree.begin_stop_with(Stop::within(within)),
        None => tree.begin_stop(),
    }
    tree.join().await.map_err(|refusal| problem(&server.root, &refusal))?;
    crate::read::report(server)
}
