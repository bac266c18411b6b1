//! `/healthz` and `/readyz`: one status for load balancers and orchestrators.

use crate::answer::{self, Answer};
use crate::server::Server;
use hyper::StatusCode;
use liveoak_runtime::{ChildView, Health, TreePhase};

/// The most culprits that are named.
const NAMED: usize = 20;

/// Answers 200 while the tree is alive and nothing in it is unhealthy. The culprits are named only for callers that may read
/// the tree.
pub(crate) async fn healthz(server: &Server, is_trusted: bool) -> Answer {
    if let Err(problem) = server.check_that_the_runtime_answers().await {
        return verdict(Err(problem.detail), is_trusted);
    }
    let health = server.tree.health();
    if health.state != TreePhase::Alive {
        return verdict(Err(format!("the tree is {}", health.state.as_str())), is_trusted);
    }
    if health.health != Health::Unhealthy {
        return verdict(Ok(()), is_trusted);
    }
    let snapshot = server.tree.snapshot();
    // A supervisor that has its health from a child below is not the cause.
    let is_culprit = |view: &&ChildView| {
        let below = view.children.iter().any(|child| child.health == Health::Unhealthy);
        view.health == Health::Unhealthy && !below
    };
    let mut lines = Vec::new();
    for view in snapshot.nodes().filter(is_culprit).take(NAMED) {
        let exit = || view.last_exit.as_ref().map(ToString::to_string);
        let why = view.health_reason.as_ref().map(ToString::to_string).or_else(exit);
        let why = why.map_or_else(String::new, |why| format!(": {why}"));
        lines.push(format!("{} is {}{why}", view.path, view.state.as_str()));
    }
    verdict(Err(lines.join("\n")), is_trusted)
}

/// Answers 200 while the tree is alive and each running child is ready.
pub(crate) fn readyz(server: &Server) -> Answer {
    let is_ready = server.tree.health().state == TreePhase::Alive && server.tree.snapshot().root.ready;
    verdict(if is_ready { Ok(()) } else { Err("not ready".to_owned()) }, false)
}

fn verdict(verdict: Result<(), String>, is_trusted: bool) -> Answer {
    match verdict {
        Ok(()) => answer::text(StatusCode::OK, "ok\n".to_owned()),
        Err(why) if is_trusted => answer::text(StatusCode::SERVICE_UNAVAILABLE, why + "\n"),
        Err(_) => answer::text(StatusCode::SERVICE_UNAVAILABLE, "not ok\n".to_owned()),
    }
}
