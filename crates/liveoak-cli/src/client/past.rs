//! Reads the history of a tree that does not run, from its files.
//!
//! A tree that runs is asked. One that is gone has left its history behind; to read it locks nothing, so the tree may start again at
//! any time.

use std::collections::VecDeque;
use std::env;
use std::path::Path;
use std::time::Duration;

use liveoak::api::{Crash, EVENT_KINDS, Event, OutputLine, Status};
use liveoak::control::{PastError, PastTree};
use strsim::jaro_winkler;

use super::Done;
use super::args::{CrashesArgs, EventsArgs, LogsArgs, Target, Window};
use super::connect::{Access, SOCKET_VARIABLE, find};
use super::failure::{EXIT_NO_CHILD, EXIT_NO_TREE, Failure};
use super::http::Server;
use super::lines::{Form, Item};
use super::paths::{AnyOf, is_pattern};
use super::print;
use crate::output;

/// About how many bytes are printed at once.
const PIECE: usize = 64 * 1024;

/// The tree that a verb reads.
pub(crate) enum Place {
    /// It runs.
    Running(Server),
    /// It is gone, and its files are read.
    Gone(PastTree),
}

impl From<PastError> for Failure {
    fn from(error: PastError) -> Self {
        Self::failed(error.to_string())
    }
}

/// Finds the tree that is meant: one that runs, or the history of one that is gone. The tree of the current folder comes before
/// "the only one that runs", also when it is gone.
pub(crate) async fn find_any(target: &Target) -> Result<Place, Failure> {
    let is_socket = target.socket.is_some()
        || (target.tree.is_none() && env::var_os(SOCKET_VARIABLE).is_some_and(|socket| !socket.is_empty()));
    if is_socket {
        return find(target, Access::Reads).await.map(Place::Running);
    }
    match find(target, Access::Changes).await {
        Ok(server) => {
            return Ok(match nearer(target, &server).await {
                Some(tree) => Place::Gone(tree),
                None => Place::Running(server),
            });
        }
        Err(failure) if failure.code != EXIT_NO_TREE => return Err(failure),
        Err(_) => {}
    }
    match gone(target)? {
        Some(tree) => Ok(Place::Gone(tree)),
        None => find(target, Access::Reads).await.map(Place::Running),
    }
}

/// Returns the tree that is gone whose file is in a folder below that of the running tree, at or above the current one: it is
/// nearer.
async fn nearer(target: &Target, running: &Server) -> Option<PastTree> {
    if target.tree.is_some() {
        return None;
    }
    let gone = gone(target).ok()??;
    let status = running.get_within::<Status>("/v1/status", Duration::from_secs(1)).await.ok()?;
    let running = Path::new(status.file.as_deref()?).parent()?.to_owned();
    let of = gone.file().filter(|file| file.exists())?.parent()?;
    (of != running && of.starts_with(&running)).then_some(gone)
}

/// Returns the tree that is meant among those that have a history.
fn gone(target: &Target) -> Result<Option<PastTree>, Failure> {
    let all = PastTree::all();
    let meant: Vec<&PastTree> = match &target.tree {
        Some(name) => {
            let name = name.trim_start_matches('/');
            let is_folder = |tree: &PastTree| tree.folder().file_name().is_some_and(|of| of == name);
            all.iter().filter(|tree| tree.name() == name || is_folder(tree)).collect()
        }
        None => of_folder(&all, env::current_dir().ok().as_deref()),
    };
    match meant[..] {
        [] => Ok(None),
        [only] => Ok(Some(only.clone())),
        _ => {
            let line = |tree: &&PastTree| {
                let file = tree.file().map_or(String::new(), |file| format!(" of {}", file.display()));
                let folder = tree.folder().file_name().unwrap_or_default().to_string_lossy();
                format!("{folder}{file}")
            };
            let text = format!("none of the trees that are meant runs, and {} have a history", meant.len());
            Err(Failure::new(EXIT_NO_TREE, text)
                .lines(meant.iter().map(line))
                .line("choose one with --tree and the name at the begin of its line"))
        }
    }
}

/// Returns the trees whose file is in the nearest folder at or above `here` that has any.
fn of_folder<'a>(all: &'a [PastTree], here: Option<&Path>) -> Vec<&'a PastTree> {
    let here = here.map(|here| here.canonicalize().unwrap_or_else(|_| here.to_owned()));
    let above = here.as_deref().map(Path::ancestors).into_iter().flatten();
    let in_folder = |folder: &Path| -> Vec<&PastTree> {
        all.iter().filter(|tree| tree.file().and_then(Path::parent) == Some(folder)).collect()
    };
    above.map(in_folder).find(|trees| !trees.is_empty()).unwrap_or_default()
}

/// Says on stderr that files are read.
pub(crate) fn tell(tree: &PastTree) {
    let (name, folder) = (tree.name(), tree.folder().display());
    let text = format!("{name} does not run; this is its history, from {folder}");
    output::stderr(&format!("{}\n", liveoak_config::one_line(&text)));
}

/// Refuses to follow a tree that does not run.
fn refuse_follow(tree: &PastTree, window: &Window) -> Result<(), Failure> {
    if !window.follow {
        return Ok(());
    }
    Err(Failure::new(EXIT_NO_TREE, format!("{} does not run, so there is nothing to follow", tree.name()))
        .line("without -f, its history is printed"))
}

/// Prints events of a tree that is gone.
pub(crate) async fn events(tree: &PastTree, args: &EventsArgs, patterns: &[String]) -> Done {
    refuse_follow(tree, &args.window)?;
    for kind in &args.kinds {
        check_kind(kind)?;
    }
    let paths = AnyOf::new(patterns, tree.name())?;
    let is_wanted = |event: &Event| {
        let is_lost = event.path.is_none();
        let has_kind = args.kinds.is_empty() || args.kinds.contains(&event.kind);
        let has_path = patterns.is_empty() || event.path.as_deref().is_some_and(|path| paths.matches(path));
        is_lost || (has_kind && has_path)
    };
    tell(tree);
    let since = args.window.since;
    let events = tree.events(since)?.filter(is_wanted);
    show(events, args.window.last, Form::of_stdout(args.target.json, true)).await?;
    Ok(0)
}

fn check_kind(kind: &str) -> Result<(), Failure> {
    if EVENT_KINDS.contains(&kind) {
        return Ok(());
    }
    let near = EVENT_KINDS.iter().map(|known| (jaro_winkler(kind, known), known));
    let near = near.max_by(|(a, _), (b, _)| a.total_cmp(b)).filter(|(likeness, _)| *likeness > 0.8);
    let near = near.map_or(String::new(), |(_, near)| format!("; did you mean {near}?"));
    Err(Failure::usage(format!("there is no kind of event {kind:?}{near}"))
        .line(format!("expected {}", EVENT_KINDS.join(", "))))
}

/// Prints the output of the programs of a tree that is gone.
pub(crate) async fn logs(tree: &PastTree, args: &LogsArgs, asked: &[String]) -> Done {
    refuse_follow(tree, &args.window)?;
    let paths = AnyOf::new(&with_below(asked), tree.name())?;
    let is_wanted = |line: &OutputLine| {
        let Some(path) = &line.path else { return true };
        asked.is_empty() || paths.matches(path)
    };
    tell(tree);
    let lines = tree.lines(args.window.since)?.filter(is_wanted);
    let shown = show(lines, args.window.last, Form::of_stdout(args.target.json, args.times)).await?;
    if shown == 0 {
        check_children(tree, asked)?;
    }
    Ok(0)
}

/// Returns crashes of a tree that is gone.
pub(crate) fn crashes(
    tree: &PastTree,
    args: &CrashesArgs,
    asked: &[String],
    most: usize,
) -> Result<Vec<Crash>, Failure> {
    let paths = AnyOf::new(&with_below(asked), tree.name())?;
    tell(tree);
    let found = tree.crashes(most, args.since, |path| asked.is_empty() || paths.matches(path))?;
    if found.is_empty() {
        check_children(tree, asked)?;
    }
    Ok(found)
}

/// Returns patterns in which a path also stands for all below it.
fn with_below(asked: &[String]) -> Vec<String> {
    let below = asked.iter().filter(|path| !is_pattern(path)).map(|path| format!("{path}/**"));
    asked.iter().cloned().chain(below).collect()
}

/// Fails for a path that no child of the last known tree has.
fn check_children(tree: &PastTree, asked: &[String]) -> Result<(), Failure> {
    let Some(last) = tree.last_tree()? else { return Ok(()) };
    for path in asked.iter().filter(|path| !is_pattern(path)) {
        let full = match path.starts_with('/') {
            true => path.clone(),
            false => format!("/{}/{path}", tree.name()),
        };
        if !last.root.all().any(|child| child.path == full) {
            let text = format!("there is no child {full}, and nothing of it in the history");
            return Err(Failure::new(EXIT_NO_CHILD, text));
        }
    }
    Ok(())
}

/// Prints items, or the last of them. Returns how many there were.
async fn show<I: Item>(
    items: impl Iterator<Item = I>,
    last: Option<u64>,
    mut form: Form,
) -> Result<u64, Failure> {
    let mut count = 0;
    let mut kept = VecDeque::new();
    let mut text = String::new();
    for item in items {
        count += 1;
        match last {
            None => {
                text.push_str(&form.printed(&item));
                if text.len() >= PIECE && !print::while_open(std::mem::take(&mut text)).await? {
                    return Ok(count);
                }
            }
            Some(0) => {}
            Some(last) => {
                if kept.len() as u64 == last {
                    kept.pop_front();
                }
                kept.push_back(item);
            }
        }
    }
    kept.iter().for_each(|item| text.push_str(&form.printed(item)));
    print::while_open(text).await?;
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stands_for_all_below_it_and_a_pattern_for_itself() {
        let patterns = with_below(&["web".to_owned(), "ingest/*".to_owned()]);
        assert_eq!(patterns, ["web", "ingest/*", "web/**"]);
    }

    #[test]
    fn a_kind_that_does_not_exist_is_wrong_usage_with_a_near_miss() {
        assert!(check_kind("exited").is_ok());
        let failure = check_kind("exitd").unwrap_err();
        assert_eq!(failure.code, 2);
        assert!(failure.to_string().contains("did you mean exited?"), "{failure}");
    }
}
