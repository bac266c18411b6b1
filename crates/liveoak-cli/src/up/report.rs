//! What the end of the tree is told as: for people on stderr, for programs as JSON.

use std::time::Duration;

use liveoak::{Ended, Exit, StopEntry};
use serde_json::{Value, json};

use crate::config::Config;

/// How many children that stopped cleanly are listed for people; beyond that they are counted. Those that were forced
/// are always listed.
const MAX_SHOWN: usize = 50;

/// The verdict, and a line per child that was stopped.
pub(crate) fn text(config: &Config, ended: &Ended) -> String {
    let report = &ended.report;
    let name = &config.name;
    let forced = report.forced().count();
    let mut text = match &ended.exit {
        Exit::Completed => format!("/{name} has ended: every child has finished for good"),
        exit if exit.is_failure() => format!("/{name} has failed: {exit}"),
        exit => format!("/{name}: {exit}"),
    };
    let stopped = report.entries.len() as u64 + report.unlisted;
    if stopped == 0 {
        return text;
    }
    let children = if stopped == 1 { "child" } else { "children" };
    let verdict = match forced {
        0 => "nothing was forced".to_owned(),
        forced => format!("{forced} by force"),
    };
    text.push_str(&format!("\n{stopped} {children} stopped in {}, {verdict}:", seconds(report.took)));
    let listed = |entry: &&StopEntry| entry.rung.is_forced() || report.entries.len() <= MAX_SHOWN;
    let shown: Vec<&StopEntry> = report.entries.iter().filter(listed).collect();
    let width = shown.iter().map(|entry| entry.path.as_str().len()).max().unwrap_or(0);
    for entry in &shown {
        let exit = entry.exit.as_ref().map_or_else(|| "was waiting to start".to_owned(), ToString::to_string);
        let (path, rung, took) = (entry.path.as_str(), entry.rung.as_str(), seconds(entry.took));
        text.push_str(&format!("\n  {path:width$}  {rung:9}  {took:>7}  {exit}"));
    }
    let rest = stopped - shown.len() as u64;
    if rest > 0 {
        text.push_str(&format!("\n  and {rest} more, all when asked"));
    }
    text
}

fn seconds(duration: Duration) -> String {
    format!("{:.2}s", duration.as_secs_f64())
}

/// The same as one JSON document. Times are numbers of seconds.
pub(crate) fn json(config: &Config, ended: &Ended) -> String {
    let report = &ended.report;
    let children: Vec<Value> = report.entries.iter().map(entry_json).collect();
    let document = json!({
        "tree": format!("/{}", config.name),
        "exit": exit_json(&ended.exit),
        "seconds": report.took.as_secs_f64(),
        "clean": report.is_clean(),
        "children": children,
        "unlisted": report.unlisted,
    });
    format!("{document:#}\n")
}

fn entry_json(entry: &StopEntry) -> Value {
    json!({
        "path": entry.path.as_str(),
        "seconds": entry.took.as_secs_f64(),
        "rung": entry.rung.as_str(),
        "exit": entry.exit.as_ref().map(exit_json),
    })
}

fn exit_json(exit: &Exit) -> Value {
    json!({ "kind": exit.kind(), "failure": exit.is_failure(), "text": exit.to_string() })
}
