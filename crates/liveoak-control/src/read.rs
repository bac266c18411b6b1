//! The handlers that read: the tree, its children, explanations, checks, waits, the report, metrics.

use crate::answer::{self, Answer};
use crate::request::{Request, child_path, full_path, nearest};
use crate::server::Server;
use liveoak_api::convert::{About, Converter, check_answer, problem, state};
use liveoak_api::{CheckAnswer, Child, Explanation, Problem, Report, Status, Tree, WaitFor, Waited, seconds};
use liveoak_runtime::{ChildState, ChildView, Exit, Health, IdleReason, Path, Refusal, Snapshot};
use std::time::{Duration, Instant};

/// How many children are looked through for a near miss.
const NEAR_MISSES: usize = 10_000;

/// How long a wait lasts unless the caller says so.
const WAIT: Duration = Duration::from_secs(60);

pub(crate) fn tree(server: &Server) -> Tree {
    Converter::new(&server.tree, server.recorder.run).tree(&server.tree.snapshot())
}

pub(crate) fn status(server: &Server) -> Status {
    let about = About { file: server.file.clone(), events_lost: server.recorder.events.lost() };
    Converter::new(&server.tree, server.recorder.run).status(&server.tree.snapshot(), about)
}

pub(crate) fn children(server: &Server, request: &Request) -> Result<Vec<Child>, Problem> {
    let snapshot = server.tree.snapshot();
    let mut children = Converter::new(&server.tree, server.recorder.run).flat(&snapshot);
    if let Some(pattern) = request.pattern("path", server.name())? {
        children.retain(|child| pattern.matches(&Path::new(&child.path)));
        if children.is_empty() {
            let text = request.parameter("path").unwrap_or_default();
            return Err(no_such_child(&snapshot, &Path::new(&full_path(text, server.name()))));
        }
    }
    Ok(children)
}

pub(crate) fn child(server: &Server, request: &Request) -> Result<Child, Problem> {
    let (view, _) = find(server, &child_path(&request.child, server.name()))?;
    Ok(Converter::new(&server.tree, server.recorder.run).child(&view, true))
}

/// Answers with the tree of an earlier moment, or with what is asked for of it.
pub(crate) fn at_moment(server: &Server, request: &Request, tree: Tree) -> Result<Answer, Problem> {
    let exact = tree.root.exact;
    let without_children = |child: &Child| Child { exact, children: None, ..child.clone() };
    let unknown = |path: &str| {
        let near = nearest(path, tree.root.all().take(NEAR_MISSES).map(|child| child.path.as_str()));
        Problem::new("no-such-child", format!("there was no child {path}")).near_miss(near)
    };
    match request.route.path {
        "/v1/children" => {
            let pattern = request.pattern("path", server.name())?;
            let is_meant = |child: &&Child| {
                pattern.as_ref().is_none_or(|pattern| pattern.matches(&Path::new(&child.path)))
            };
            let children: Vec<Child> = tree.root.all().filter(is_meant).map(without_children).collect();
            match request.parameter("path") {
                Some(path) if children.is_empty() => Err(unknown(&full_path(path, server.name()))),
                _ => Ok(answer::json(&children)),
            }
        }
        "/v1/children/{path}" => {
            let path = child_path(&request.child, server.name());
            let child = tree.root.all().find(|child| child.path == path.as_str());
            child
                .map(|child| answer::json(&Child { exact, ..child.clone() }))
                .ok_or_else(|| unknown(path.as_str()))
        }
        _ => Ok(answer::json(&tree)),
    }
}

pub(crate) fn explain(server: &Server, request: &Request) -> Result<Explanation, Problem> {
    let path = child_path(&request.child, server.name());
    let (view, snapshot) = find(server, &path)?;
    let explanation = server.tree.explain(path.clone()).ok_or_else(|| no_such_child(&snapshot, &path))?;
    Ok(Converter::new(&server.tree, server.recorder.run).explanation(&explanation, Some(&view)))
}

pub(crate) async fn checks(server: &Server, request: &Request) -> Result<Vec<CheckAnswer>, Problem> {
    let path = child_path(&request.child, server.name());
    find(server, &path)?;
    server.check_that_the_runtime_answers().await?;
    let answers = server.tree.check_now(path.clone()).await.map_err(|refusal| problem(&path, &refusal))?;
    Ok(answers.iter().map(check_answer).collect())
}

pub(crate) fn report(server: &Server) -> Result<Report, Problem> {
    let report = server.tree.final_report();
    let report =
        report.ok_or_else(|| Problem::new("not-ended", "the tree has not ended, so there is no report"))?;
    Ok(Converter::new(&server.tree, server.recorder.run).report(&server.root, &report))
}

pub(crate) fn metrics(server: &Server) -> String {
    let recorder = &server.recorder;
    crate::metrics::text(&server.tree.snapshot(), &recorder.counters, recorder.events.lost())
}

/// Waits until a child is as wanted, or the time is over.
pub(crate) async fn wait(server: &Server, request: &Request) -> Result<Waited, Problem> {
    let path = child_path(&request.child, server.name());
    let wanted = match request.parameter("for") {
        None => WaitFor::Ready,
        Some(word) => WaitFor::ALL.into_iter().find(|known| known.as_str() == word).ok_or_else(|| {
            let words = WaitFor::ALL.map(WaitFor::as_str);
            let problem = Problem::new("bad-request", format!("the parameter for is {word:?}"));
            problem.expected(words.join(", ")).near_miss(nearest(word, words.into_iter()))
        })?,
    };
    let within = request.number("within_s")?.map_or(WAIT, duration);
    find(server, &path)?;
    let began = Instant::now();
    let waited = server.tree.wait_for(path.clone(), |view| is_reached(view, wanted));
    let (view, reached) = match tokio::time::timeout(within, waited).await {
        Ok(Ok(view)) => (Some(view), true),
        Ok(Err(refusal)) if !matches!(refusal, Refusal::TreeEnded) => return Err(problem(&path, &refusal)),
        Ok(Err(_)) | Err(_) => {
            let view = server.tree.child(path.clone()).ok().and_then(|child| child.view());
            let reached = view.as_ref().is_some_and(|view| is_reached(view, wanted));
            (view, reached)
        }
    };
    let Some(view) = view else { return Err(problem(&path, &Refusal::NotFound)) };
    let why = || server.tree.explain(path.clone()).map(|of| of.why);
    Ok(Waited {
        path: path.to_string(),
        state: state(&view.state),
        waited_s: seconds(began.elapsed()),
        reached,
        reason: if reached { None } else { why() },
    })
}

/// Returns `true` if a child is as wanted.
fn is_reached(view: &ChildView, wanted: WaitFor) -> bool {
    let is_running = view.state == ChildState::Running;
    let has_succeeded = || {
        let exit = view.last_exit.as_ref();
        match view.state {
            ChildState::Idle(IdleReason::Finished) => exit.is_some_and(|exit| !Exit::is_failure(exit)),
            ChildState::Idle(IdleReason::Ignored) => true,
            _ => false,
        }
    };
    match wanted {
        WaitFor::Ready => (is_running && view.ready) || has_succeeded(),
        WaitFor::Running => is_running,
        WaitFor::Stopped => matches!(view.state, ChildState::Idle(_)),
        WaitFor::Completed => has_succeeded(),
        WaitFor::Healthy => is_running && view.ready && view.health == Health::Healthy,
    }
}

/// Returns a length of time of the wire. A negative one becomes zero, and one that is too long the longest that is
/// allowed.
pub(crate) fn duration(seconds: f64) -> Duration {
    const LONGEST: f64 = 1e9;
    Duration::from_secs_f64(seconds.clamp(0.0, LONGEST))
}

/// Returns a child as it is now, and the tree around it.
fn find(server: &Server, path: &Path) -> Result<(ChildView, Snapshot), Problem> {
    let snapshot = server.tree.snapshot();
    match snapshot.get(path) {
        Some(view) => Ok((view.clone(), snapshot)),
        None => Err(no_such_child(&snapshot, path)),
    }
}

/// Returns the problem of a path that no child has, with the path that was probably meant.
pub(crate) fn no_such_child(snapshot: &Snapshot, path: &Path) -> Problem {
    let paths = || snapshot.nodes().take(NEAR_MISSES).map(|view| view.path.as_str());
    // Most often the name is misspelt, or the supervisor is left out.
    let same_name = paths().find(|known| known.rsplit('/').next() == Some(path.name()));
    let near = same_name.or_else(|| nearest(path.as_str(), paths()));
    Problem::new("no-such-child", format!("there is no child {path}")).near_miss(near)
}
