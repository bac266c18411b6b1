//! `crashes`: what failed by itself, one screen for each.

use liveoak::api::{Child, Crash, MAX_CRASHES, Timestamp};
use liveoak_config::one_line;

use super::args::CrashesArgs;
use super::failure::Failure;
use super::http::{Server, route_of, with_query};
use super::past::{Place, find_any};
use super::table::{Screen, Style};
use super::words::{count, span, titled};
use super::{Done, past, paths, print};
use crate::output;

/// How many crashes are shown for people unless they want another number.
const SHOWN: usize = 10;
/// The most lines of a backtrace that are shown for people.
const MAX_FRAMES: usize = 40;

/// Runs `liveoak crashes`.
pub(crate) async fn crashes(args: &CrashesArgs) -> Done {
    let asked = paths::all_cleaned(&args.paths)?;
    let most = wanted(args).saturating_add(1).min(MAX_CRASHES);
    let found = match find_any(&args.target).await? {
        Place::Running(server) => found(&server, args, asked, most).await?,
        Place::Gone(tree) => past::crashes(&tree, args, &asked, most)?,
    };
    show(found, args)?;
    Ok(0)
}

/// Returns the crashes of the children that are meant, and of those below them; oldest first, one more than is shown.
async fn found(
    server: &Server,
    args: &CrashesArgs,
    asked: Vec<String>,
    most: usize,
) -> Result<Vec<Crash>, Failure> {
    let mut patterns: Vec<Option<String>> = Vec::new();
    for path in &asked {
        patterns.push(Some(path.clone()));
        if !paths::is_pattern(path) {
            patterns.push(Some(format!("{path}/**")));
        }
    }
    if patterns.is_empty() {
        patterns.push(None);
    }
    let mut all: Vec<Crash> = Vec::new();
    for pattern in patterns {
        let mut query = vec![("last", most.to_string())];
        query.extend(pattern.map(|pattern| ("path", pattern)));
        query.extend(args.since.map(|since| ("since", Timestamp(since).to_string())));
        all.extend(server.get::<Vec<Crash>>(&with_query("/v1/crashes", &query)).await?);
    }
    if all.is_empty() {
        for path in asked.iter().filter(|path| !paths::is_pattern(path)) {
            // Also says so if there is no such child.
            let _: Child = server.get(&route_of("/v1/children/{path}", path)).await?;
        }
    }
    all.sort_by_key(|crash| (crash.run, crash.n));
    all.dedup_by_key(|crash| (crash.run, crash.n));
    Ok(all)
}

fn wanted(args: &CrashesArgs) -> usize {
    args.last.unwrap_or(SHOWN)
}

/// Prints the last of these crashes, and says if there are earlier ones.
fn show(mut all: Vec<Crash>, args: &CrashesArgs) -> Result<(), Failure> {
    let left_out = all.len().saturating_sub(wanted(args));
    all.drain(..left_out);
    if args.target.json {
        print::json(&all)?;
    } else if all.is_empty() {
        output::stderr("no attempt has failed by itself\n");
    } else {
        let screen = Screen::of_stdout();
        let texts: Vec<String> = all.iter().map(|crash| text(crash, screen)).collect();
        print::text(&texts.join("\n"))?;
    }
    if left_out > 0 {
        output::stderr("there are earlier crashes; -n N shows more\n");
    }
    Ok(())
}

/// Returns a crash as a screen of text.
fn text(crash: &Crash, screen: Screen) -> String {
    let path = titled(&crash.path, crash.title.as_deref());
    let mut text = screen.styled(&one_line(&format!("{path}: {}", crash.exit.text)), Style::Bad);
    text.push('\n');
    let mut field = |name: &str, value: &str| {
        text.push_str(&screen.styled(&format!("  {name:8} "), Style::Dim));
        text.push_str(&one_line(value));
        text.push('\n');
    };
    field("attempt", &format!("{}, which ran for {}", crash.attempt, span(crash.ran_s)));
    field("at", &crash.at.to_string());
    if let Some(location) = &crash.exit.location {
        field("where", location);
    }
    let decided = if crash.decided.is_empty() { "nothing that is known" } else { &crash.decided };
    field("decided", decided);
    field("event", &format!("{}-{}", crash.run, crash.n));
    if !crash.lines.is_empty() {
        field("output", &format!("the last {}", count(crash.lines.len() as u64, "line", "lines")));
        crash.lines.iter().for_each(|line| field("", &format!("| {line}")));
    }
    if let Some(backtrace) = &crash.backtrace {
        let frames: Vec<&str> = backtrace.lines().collect();
        field("backtrace", "");
        frames.iter().take(MAX_FRAMES).for_each(|frame| field("", frame));
        if frames.len() > MAX_FRAMES {
            let more = count((frames.len() - MAX_FRAMES) as u64, "line", "lines");
            field("", &format!("({more} more; --json has all)"));
        }
    }
    text.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}
