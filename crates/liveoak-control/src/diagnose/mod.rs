//! `/v1/diagnose`: what is wrong in a tree, each with its evidence, since when, and the command that helps.
//!
//! It reads only, and takes a bounded time.
//!
//! - `found`: what the rules look at, and what they find
//! - `rules`: the table of the rules; a pure function without a clock. `of_children`, `of_system`: the rules
//! - `watched`: what is seen of the programs now and then; `observe`: what is looked up for a diagnosis
//! - `proc`: reads `/proc`; `ports`: finds the words and numbers of ports in lines of output

mod found;
mod observe;
mod of_children;
mod of_system;
mod ports;
mod proc;
mod rules;
#[cfg(test)]
mod tests;
mod watched;

pub(crate) use watched::{Watched, watch};

use crate::read::no_such_child;
use crate::request::{Request, child_path};
use crate::server::Server;
use liveoak_api::{Finding, Problem, Timestamp};
use liveoak_runtime::{Glob, Path, Snapshot};
use std::sync::Arc;

/// Answers what is wrong.
pub(crate) async fn diagnose(server: &Arc<Server>, request: &Request) -> Result<Vec<Finding>, Problem> {
    let pattern = request.pattern("path", server.name())?;
    let snapshot = server.tree.snapshot();
    if let Some(pattern) = &pattern
        && !snapshot.nodes().any(|view| pattern.matches(&view.path))
    {
        let path = child_path(request.parameter("path").unwrap_or_default(), server.name());
        return Err(no_such_child(&snapshot, &path));
    }
    let server = Arc::clone(server);
    // It may take long: it must not delay other answers.
    let found = tokio::task::spawn_blocking(move || findings(&server, &snapshot, pattern.as_ref()));
    found.await.map_err(|error| Problem::new("busy", format!("the tree could not be looked at: {error}")))
}

fn findings(server: &Server, snapshot: &Snapshot, pattern: Option<&Glob>) -> Vec<Finding> {
    let recent = server.recorder.events.read(0, usize::MAX);
    let events = recent.entries.iter().filter_map(|entry| entry.value.as_ref().map(|kept| &kept.event));
    let events: Vec<_> = events.collect();
    let seen = observe::observe(server, snapshot);
    let look = found::Look::new(snapshot, &events, &seen, snapshot.at);
    let found = rules::findings(&look).into_iter();
    let wanted = |path: &Path| pattern.is_none_or(|pattern| is_at_or_below(path, pattern));
    let finding = |found: found::Found| Finding {
        finding: found.kind,
        path: found.path.to_string(),
        since: Timestamp(server.tree.to_system_time(found.since)),
        evidence: found.evidence,
        command: found.command,
    };
    found.filter(|found| wanted(&found.path)).map(finding).collect()
}

/// Returns `true` if a pattern matches a path, or a path above it.
fn is_at_or_below(path: &Path, pattern: &Glob) -> bool {
    let text = path.as_str();
    let ends = text.char_indices().skip(1).filter(|(_, c)| *c == '/').map(|(at, _)| at);
    ends.chain([text.len()]).any(|end| pattern.matches(&Path::new(&text[..end])))
}
