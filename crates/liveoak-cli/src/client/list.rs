//! `ps`, `tree`, `status`, `trees`: what runs, and how it is.

use std::collections::HashSet;
use std::time::SystemTime;

use liveoak::api::{Child, Health, State, Status, Timestamp, Tree, TreeState};
use serde::Serialize;

use super::Done;
use super::args::{PsArgs, Target, TreeArgs};
use super::connect::{Access, Found, RunningTree, all_trees, find, whereabouts};
use super::failure::{EXIT_NO_CHILD, Failure};
use super::http::{Server, route_of, with_query};
use super::past::{Place, find_any};
use super::table::{Cell, Screen, Style, aligned, table};
use super::{past, paths, print, words};
use crate::output;

/// The most children that `status` lists.
const MAX_LISTED: usize = 20;

/// Runs `liveoak ps`.
pub(crate) async fn ps(args: &PsArgs) -> Done {
    let asked = paths::all_cleaned(&args.paths)?;
    let children = match args.at {
        Some(at) => children_of(&tree_at(&args.target, at).await?, &asked)?,
        None => children(&find(&args.target, Access::Reads).await?, asked).await?,
    };
    if args.target.json {
        print::json(&children)?;
    } else {
        print::text(&child_table(&children, Screen::of_stdout()))?;
    }
    Ok(0)
}

/// Returns the children that are meant, each once, or all.
async fn children(server: &Server, asked: Vec<String>) -> Result<Vec<Child>, Failure> {
    if asked.is_empty() {
        return Ok(server.get("/v1/children").await?);
    }
    let mut children: Vec<Child> = Vec::new();
    for path in asked {
        if paths::is_pattern(&path) {
            let matching = with_query("/v1/children", &[("path", path)]);
            children.extend(server.get::<Vec<Child>>(&matching).await?);
        } else {
            let child: Child = server.get(&route_of("/v1/children/{path}", &path)).await?;
            children.extend(child.all().map(|child| Child { children: None, ..child.clone() }));
        }
    }
    let mut seen = HashSet::new();
    children.retain(|child| seen.insert(child.path.clone()));
    Ok(children)
}

/// Returns the tree as it was at a moment, from the server, or from the files if it does not run.
async fn tree_at(target: &Target, at: SystemTime) -> Result<Tree, Failure> {
    let tree = match find_any(target).await? {
        Place::Running(server) => {
            server.get::<Tree>(&with_query("/v1/tree", &[("at", Timestamp(at).to_string())])).await?
        }
        Place::Gone(tree) => {
            past::tell(&tree);
            tree.at(at)?.ok_or_else(|| {
                Failure::failed("the tree at that moment is not known: the journal begins later")
            })?
        }
    };
    if tree.root.exact == Some(false) {
        output::stderr("events around that moment are missing, so the tree may have been different\n");
    }
    Ok(tree)
}

/// Returns the children of a tree that are meant, each once, or all.
fn children_of(tree: &Tree, asked: &[String]) -> Result<Vec<Child>, Failure> {
    let name = tree.root.path.trim_start_matches('/');
    let mut meant = HashSet::new();
    for path in asked {
        let full = if path.starts_with('/') { path.clone() } else { format!("/{name}/{path}") };
        let patterns = paths::AnyOf::new(std::slice::from_ref(path), name)?;
        let is_meant = |child: &&Child| match paths::is_pattern(path) {
            true => patterns.matches(&child.path),
            false => paths::is_at_or_below(&child.path, &full),
        };
        meant.extend(tree.root.all().filter(is_meant).map(|child| child.path.clone()));
        if !tree.root.all().any(|child| is_meant(&child)) {
            return Err(Failure::new(EXIT_NO_CHILD, format!("there was no child {full}")));
        }
    }
    let all = tree.root.all().filter(|child| asked.is_empty() || meant.contains(&child.path));
    Ok(all.map(|child| Child { exact: tree.root.exact, children: None, ..child.clone() }).collect())
}

fn child_table(children: &[Child], screen: Screen) -> String {
    let row = |child: &Child| {
        [
            words::titled(&child.path, child.title.as_deref()).into(),
            words::state(child),
            words::span(child.state_s).into(),
            words::health(child.health),
            restarts(child),
            child.pid.map_or_else(|| Cell::new("-", Style::Dim), |pid| pid.to_string().into()),
            words::note(child).into(),
        ]
    };
    let rows: Vec<[Cell; 7]> = children.iter().map(row).collect();
    table(["CHILD", "STATE", "FOR", "HEALTH", "RESTARTS", "PID", "NOTE"], &rows, screen)
}

fn restarts(child: &Child) -> Cell {
    let style = if child.restarts > 0 { Style::Warn } else { Style::Plain };
    Cell::new(child.restarts.to_string(), style)
}

/// Runs `liveoak tree`.
pub(crate) async fn tree(args: &TreeArgs) -> Done {
    let target = &args.target;
    let tree: Tree = match args.at {
        Some(at) => tree_at(target, at).await?,
        None => find(target, Access::Reads).await?.get("/v1/tree").await?,
    };
    if target.json {
        print::json(&tree)?;
        return Ok(0);
    }
    let mut rows = Vec::new();
    add_branch(&tree.root, &tree.root.path, "", "", Lines::of_locale(), &mut rows);
    print::text(&aligned(&rows, Screen::of_stdout()))?;
    Ok(0)
}

/// The lines between a supervisor and its children.
#[derive(Clone, Copy)]
struct Lines {
    middle: &'static str,
    last: &'static str,
    past: &'static str,
}

impl Lines {
    /// Returns lines that the locale can show.
    fn of_locale() -> Self {
        let set = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().filter_map(|name| std::env::var(name).ok());
        let locale = set.into_iter().find(|value| !value.is_empty()).unwrap_or_default().to_lowercase();
        if locale.contains("utf-8") || locale.contains("utf8") {
            Self { middle: "├─ ", last: "└─ ", past: "│  " }
        } else {
            Self { middle: "|- ", last: "`- ", past: "|  " }
        }
    }
}

fn add_branch(child: &Child, name: &str, first: &str, below: &str, lines: Lines, rows: &mut Vec<[Cell; 4]>) {
    let health = if child.health == Health::Unknown { Cell::default() } else { words::health(child.health) };
    rows.push([
        format!("{first}{}", words::titled(name, child.title.as_deref())).into(),
        words::state(child),
        health,
        words::note(child).into(),
    ]);
    let children = child.children.as_deref().unwrap_or_default();
    for (nth, child) in children.iter().enumerate() {
        let is_last = nth + 1 == children.len();
        let (to_it, past_it) = if is_last { (lines.last, "   ") } else { (lines.middle, lines.past) };
        let name = child.path.rsplit('/').next().unwrap_or(&child.path);
        add_branch(child, name, &format!("{below}{to_it}"), &format!("{below}{past_it}"), lines, rows);
    }
}

/// Runs `liveoak status`. The exit code is 0 only if the tree is ready, and nothing in it is degraded or unhealthy.
pub(crate) async fn status(target: &Target) -> Done {
    let server = find(target, Access::Reads).await?;
    let status: Status = server.get("/v1/status").await?;
    let code = u8::from(!status.is_good());
    if target.json {
        print::json(&status)?;
        return Ok(code);
    }
    let screen = Screen::of_stdout();
    let mut text = status_text(&status, screen);
    if code != 0 {
        // The tree may have ended since.
        let mut bad: Vec<Child> = server.get("/v1/children").await.unwrap_or_default();
        bad.retain(is_bad);
        let more = bad.len().saturating_sub(MAX_LISTED);
        bad.truncate(MAX_LISTED);
        if !bad.is_empty() {
            text.push('\n');
            text.push_str(&child_table(&bad, screen));
        }
        if more > 0 {
            text.push_str(&format!("{more} more; `liveoak ps` lists all children\n"));
        }
    }
    print::text(&text)?;
    Ok(code)
}

/// Returns `true` if a child keeps the tree from being ready and healthy.
fn is_bad(child: &Child) -> bool {
    let comes = matches!(child.state, State::Waiting | State::Starting | State::BackingOff | State::Stopping);
    let unwell = matches!(child.health, Health::Degraded | Health::Unhealthy);
    let unready = child.state == State::Running && !child.ready;
    // A supervisor has the health of its worst child, which is in the list.
    !child.is_parent() && (comes || unwell || unready || child.state == State::Quarantined)
}

fn status_text(status: &Status, screen: Screen) -> String {
    let state = screen.styled(status.state.as_str(), words::tree_style(status.state));
    let ready = match (status.state, status.ready) {
        (TreeState::Alive, true) => ", ready",
        (TreeState::Alive, false) => ", not ready",
        _ => "",
    };
    let health = match status.health {
        Health::Unknown => String::new(),
        health => format!(", {}", screen.styled(health.as_str(), health_style(health))),
    };
    let name = screen.styled(&liveoak_config::one_line(words::tree_name(status)), Style::Bold);
    let mut rows: Vec<[Cell; 2]> = Vec::new();
    let mut row = |name: &str, value: String| rows.push([Cell::new(name, Style::Dim), value.into()]);
    let failing = if status.failing > 0 { format!(", {} failing", status.failing) } else { String::new() };
    row("children", format!("{} of {} running{failing}", status.running, status.children));
    row("up", format!("{}, since {}", since(status.began), status.began));
    if status.since != status.began {
        row(status.state.as_str(), format!("{}, since {}", since(status.since), status.since));
    }
    if let Some(mode) = &status.mode {
        row("mode", format!("{mode} (of {})", status.modes.join(", ")));
    } else if !status.modes.is_empty() {
        row("mode", format!("none: all children are wanted (of {})", status.modes.join(", ")));
    }
    if let Some(file) = &status.file {
        row("file", file.clone());
    }
    row("process", format!("{}, liveoak {}", status.pid, status.version));
    if let Some(failure) = &status.failure {
        row("failure", failure.reason.clone());
    }
    if !status.blocked_by.is_empty() {
        row("blocked", format!("the runtime, by {}", status.blocked_by.join(", ")));
    }
    if status.events_lost > 0 {
        row("lost", words::count(status.events_lost, "event", "events"));
    }
    let rows: String = aligned(&rows, screen).lines().map(|line| format!("  {line}\n")).collect();
    format!("{name}: {state}{ready}{health}\n{rows}")
}

const fn health_style(health: Health) -> Style {
    match health {
        Health::Healthy => Style::Good,
        Health::Degraded => Style::Warn,
        Health::Unhealthy => Style::Bad,
        Health::Unknown => Style::Plain,
    }
}

/// Returns how long ago a moment was.
fn since(moment: Timestamp) -> String {
    words::span(SystemTime::now().duration_since(moment.0).unwrap_or_default().as_secs_f64())
}

/// A tree in `liveoak trees --json`.
#[derive(Serialize)]
struct ListedTree<'a> {
    name: &'a str,
    pid: u32,
    socket: String,
    file: Option<&'a str>,
    since: Timestamp,
    state: TreeState,
    ready: bool,
    health: Health,
    version: &'a str,
}

/// Runs `liveoak trees`.
pub(crate) async fn trees(json: bool) -> Done {
    let found = all_trees().await;
    let socket = |tree: &RunningTree| tree.server.socket().display().to_string();
    if json {
        let trees = found.trees.iter().map(|tree| ListedTree {
            name: tree.name(),
            pid: tree.status.pid,
            socket: socket(tree),
            file: tree.status.file.as_deref(),
            since: tree.status.began,
            state: tree.status.state,
            ready: tree.status.ready,
            health: tree.status.health,
            version: &tree.status.version,
        });
        print::json(&trees.collect::<Vec<_>>())?;
    } else {
        let row = |tree: &RunningTree| {
            [
                tree.name().into(),
                Cell::new(tree.status.state.as_str(), words::tree_style(tree.status.state)),
                words::health(tree.status.health),
                since(tree.status.began).into(),
                tree.status.pid.to_string().into(),
                tree.status.file.as_deref().unwrap_or("-").into(),
                socket(tree).into(),
            ]
        };
        let rows: Vec<[Cell; 7]> = found.trees.iter().map(row).collect();
        if !rows.is_empty() {
            let headline = ["NAME", "STATE", "HEALTH", "UP", "PID", "FILE", "SOCKET"];
            // A path that is cut is of no use.
            let screen = Screen { width: None, ..Screen::of_stdout() };
            print::text(&table(headline, &rows, screen))?;
        }
    }
    tell_what_is_missing(&found);
    Ok(0)
}

/// Says on stderr that no tree runs, and which sockets did not answer.
fn tell_what_is_missing(found: &Found) {
    let lines = if found.trees.is_empty() {
        std::iter::once("no tree runs".to_owned()).chain(whereabouts(found)).collect()
    } else {
        found.silent.iter().map(|(_, why)| why.clone()).collect::<Vec<_>>()
    };
    lines.iter().for_each(|line| output::stderr(&format!("{}\n", liveoak_config::one_line(line))));
}
