//! Lines on stderr about what a verb waits for, and what Ctrl-C does meanwhile.

use std::pin::pin;
use std::time::{Duration, Instant};

use liveoak::api::{Child, Explanation, State};
use liveoak::internal::{Either, race};
use liveoak_config::one_line;

use super::failure::{EXIT_INTERRUPTED, Failure};
use super::http::{Server, route_of};
use super::paths::is_at_or_below;
use super::words::span;
use crate::output;

/// How long a verb waits before it says what it waits for, and the time between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How long a look may take.
const LOOK_LIMIT: Duration = Duration::from_secs(1);
/// After how long a line is printed again, although nothing has changed.
const REPEAT_AFTER: Duration = Duration::from_secs(30);

/// What a verb waits for.
#[derive(Clone, Debug)]
pub(crate) enum Watched {
    /// A child.
    Child(String),
    /// The effect of a command on these children, and on those below them.
    Commanded(Vec<String>),
    /// The end of the whole tree.
    Tree,
    /// Something that no child explains.
    Nothing(&'static str),
}

impl Watched {
    /// Returns `true` if what was asked for goes on without the client.
    const fn goes_on(&self) -> bool {
        matches!(self, Self::Commanded(_) | Self::Tree)
    }
}

/// Waits for an answer. After some time it says what is waited for. Ctrl-C ends the wait, and changes nothing else.
///
/// # Errors
/// When Ctrl-C has ended it.
pub(crate) async fn waiting<T>(
    server: &Server,
    watched: Watched,
    answer: impl Future<Output = T>,
) -> Result<T, Failure> {
    let goes_on = watched.goes_on();
    // `tell` never completes, so only the answer or Ctrl-C ends this wait.
    let answer = race(answer, tell(server, watched));
    match race(answer, tokio::signal::ctrl_c()).await {
        Either::Left(Either::Left(answer)) => Ok(answer),
        _ if goes_on => Err(Failure::new(EXIT_INTERRUPTED, "interrupted; the command goes on")
            .line("`liveoak events -f` shows what happens")),
        _ => Err(Failure::new(EXIT_INTERRUPTED, "interrupted")),
    }
}

/// Says what is waited for, now and then, for ever.
pub(crate) async fn tell(server: &Server, watched: Watched) {
    let began = Instant::now();
    let mut told: Option<(String, Instant)> = None;
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let look = pin!(look(server, &watched));
        let seen = tokio::time::timeout(LOOK_LIMIT, look).await;
        let Ok(Some((key, text))) = seen.or_else(|_| Ok::<_, ()>(Some(silent(server)))) else { continue };
        let is_new = told.as_ref().is_none_or(|(before, at)| *before != key || at.elapsed() >= REPEAT_AFTER);
        if is_new {
            let waited = span(began.elapsed().as_secs_f64());
            output::stderr(&format!("waiting for {waited}: {}\n", one_line(&text)));
            told = Some((key, Instant::now()));
        }
    }
}

/// Returns a line about what is waited for, after a key that changes only when what is waited for changes. `None` if
/// there is nothing to say.
async fn look(server: &Server, watched: &Watched) -> Option<(String, String)> {
    match watched {
        Watched::Nothing(what) => Some(((*what).to_owned(), (*what).to_owned())),
        Watched::Child(path) => explained(server, path, 0).await.or_else(answer),
        Watched::Commanded(paths) => {
            let children: Vec<Child> = server.get("/v1/children").await.ok()?;
            let is_meant = |child: &Child| paths.iter().any(|path| is_of(&child.path, path));
            unsettled(server, children.into_iter().filter(is_meant).collect()).await.or_else(answer)
        }
        Watched::Tree => {
            let children: Vec<Child> = server.get("/v1/children").await.ok()?;
            let is_up = |child: &Child| matches!(child.state, State::Running | State::Stopping);
            let up: Vec<Child> =
                children.into_iter().filter(|child| !child.is_parent() && is_up(child)).collect();
            let stopping = up.iter().position(|child| child.state == State::Stopping).unwrap_or(0);
            match up.get(stopping) {
                Some(child) => explained(server, &child.path, up.len() - 1).await.or_else(answer),
                None => answer(),
            }
        }
    }
}

/// Returns the line about the first child that is still starting, stopping or waiting, and the number of the others.
async fn unsettled(server: &Server, mut children: Vec<Child>) -> Option<(String, String)> {
    let comes = |child: &Child| {
        matches!(child.state, State::Waiting | State::Starting | State::BackingOff | State::Stopping)
    };
    children.retain(comes);
    // A child that waits explains less than the sibling that it waits for.
    children.sort_by_key(|child| (child.is_parent(), child.state == State::Waiting));
    explained(server, &children.first()?.path, children.len() - 1).await
}

/// Returns the line for a wait that no child explains.
fn answer() -> Option<(String, String)> {
    let text = "the answer of the tree".to_owned();
    Some((text.clone(), text))
}

async fn explained(server: &Server, path: &str, more: usize) -> Option<(String, String)> {
    let of: Explanation = server.get(&route_of("/v1/explain/{path}", path)).await.ok()?;
    let waits: Vec<&str> = of.waiting_for.iter().map(|wait| wait.path.as_str()).collect();
    let key = format!("{} {} {} {}", of.path, of.state.as_str(), of.attempt, waits.join(" "));
    let more = if more > 0 { format!(" (and {more} more)") } else { String::new() };
    let left = of.deadline_s.map_or(String::new(), |left| format!(", {} left", span(left)));
    Some((key, format!("{} is {}: {}{left}{more}", of.path, of.state.as_str(), of.why)))
}

/// Returns `true` if a path is, or stands below, one that may leave out the name of the tree.
fn is_of(path: &str, given: &str) -> bool {
    if given.starts_with('/') {
        return is_at_or_below(path, given);
    }
    let below_tree = path.get(1..).and_then(|path| path.split_once('/')).map(|(_, path)| path);
    below_tree.is_some_and(|path| is_at_or_below(path, given))
}

fn silent(server: &Server) -> (String, String) {
    let text =
        format!("the tree at {} does not answer; its process may be suspended", server.socket().display());
    ("silent".to_owned(), text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_without_the_name_of_the_tree_means_the_same_child_and_all_below_it() {
        for given in ["/shop/ingest", "ingest", "ingest/kafka"] {
            assert!(is_of("/shop/ingest/kafka", given), "{given}");
        }
        for given in ["kafka", "/shop/ing", "ing", "shop", "ingest/kafka/x"] {
            assert!(!is_of("/shop/ingest/kafka", given), "{given}");
        }
    }
}
