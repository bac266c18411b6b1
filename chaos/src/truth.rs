//! The questions at the end: is what was told of each attempt what was done to it?

use crate::faults::{Blow, Done};
use crate::log::{Attempt, Life, Log, Told};
use crate::place::Place;
use crate::programs::{Sort, UNLIMITED, names, sort_of};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// What `liveoak` says of an attempt that it could not start, when it has no file descriptor or process left.
const NOT_STARTED: [(&str, &str); 2] = [
    ("Too many open files", "start without file descriptors"),
    ("Resource temporarily unavailable", "start without processes"),
];

/// Everything that is wrong with what was told of the attempts.
pub(crate) fn of_attempts(place: &Place, log: &Log, done: &Done) -> Vec<String> {
    let (told, mut wrong) = (log.told(), Vec::new());
    for name in names(|_| true) {
        let Some(life) = told.life(&name) else {
            wrong.push(format!("{name} was never told of"));
            continue;
        };
        let written = place.pids(&name).len();
        let blows = |run: usize| done.blows.get(&(name.clone(), run)).map_or(&[][..], Vec::as_slice);
        wrong.extend(of_life(sort_of(&name), life, written, blows).map(|what| format!("{name}: {what}")));
    }
    let output = log.output();
    for name in names(|sort| sort.name == "loud") {
        let (begun, written) = (output.begun(&name), place.pids(&name).len());
        let unheard = told.life(&name).map_or(0, |life| life.attempts.len() - life.ran());
        if begun > written + 1 || output.lost == 0 && begun + unheard < written {
            wrong.push(format!("{begun} of {written} attempts of {name} were heard to begin"));
        }
    }
    wrong.extend(output.verdict());
    let unlimited = format!("exit code {UNLIMITED}");
    if place.has_process_limit() && exits(&told, &unlimited) > 0 {
        wrong.push("a program did not run out of processes".to_owned());
    }
    wrong.extend(told.wrong.iter().cloned());
    if told.last_event != "/chaos exited" {
        wrong.push(format!("the last event is {:?}", told.last_event));
    }
    wrong
}

/// Each attempt that was told to be ready ran, and has written that down; which blows it got is known by the number of
/// its line. One that was cut short by the stop, or by want of the last descriptor that its start needs, may have come
/// to write or not: all ways to share the lines out are tried, and one must be true.
fn of_life<'a>(
    sort: &Sort,
    life: &Life,
    written: usize,
    blows: impl Fn(usize) -> &'a [Blow],
) -> Option<String> {
    // How many lines may belong to the attempts so far.
    let mut lines = BTreeSet::from([0]);
    for (number, attempt) in (1..).zip(&life.attempts) {
        let short = !attempt.ready && NOT_STARTED.iter().any(|(words, _)| attempt.exit_has(words));
        let fits = |run| short || is_true(sort, attempt, run);
        let silent = (short || attempt.stopped) && fits(&[]);
        let without = lines.iter().copied().filter(|_| silent);
        let with = lines.iter().map(|line| line + 1).filter(|line| *line <= written && fits(blows(*line)));
        let next: BTreeSet<usize> = without.chain(with).collect();
        if next.is_empty() {
            let done: Vec<_> = lines.iter().map(|line| blows(line + 1)).collect();
            let exit = &attempt.exit;
            return Some(format!(
                "attempt {number} is told as {exit:?}, {written} ran, and was done: {done:?}"
            ));
        }
        lines = next;
    }
    let most = lines.last().copied().unwrap_or_default();
    (!lines.contains(&written)).then(|| format!("{written} attempts ran, and {most} were told to"))
}

/// An attempt ends by the signal that its leader was sent, or by itself if that is its way or it was given cause, or
/// because it was stopped.
fn is_true(sort: &Sort, attempt: &Attempt, blows: &[Blow]) -> bool {
    let Some(exit) = &attempt.exit else { return false };
    let by_signal = |blow: &Blow| blow.leader && *exit == format!("ended by {}", blow.signal);
    let by_itself = sort.codes.iter().any(|code| match code {
        0 => exit == "completed",
        code => *exit == format!("exit code {code}"),
    });
    let may = !sort.lasting || blows.iter().any(|blow| !blow.leader);
    let by_stop = match (attempt.ready, attempt.killed) {
        (_, true) => exit == "ended by SIGKILL",
        (true, false) => exit == "ended by SIGTERM",
        (false, false) => matches!(exit.as_str(), "ended by SIGTERM" | "stopped as asked"),
    };
    blows.iter().any(by_signal) || by_itself && may || attempt.stopped && by_stop
}

/// How many attempts were told to have ended so.
fn exits(told: &Told, words: &str) -> u32 {
    let attempts = told.lives.values().flat_map(|life| &life.attempts);
    let exits = attempts.filter_map(|attempt| attempt.exit.as_ref()).filter(|exit| exit.contains(words));
    u32::try_from(exits.count()).unwrap_or(u32::MAX)
}

/// How often each fault was met, as those say who met it. None may be 0.
pub(crate) fn met(place: &Place, log: &Log, done: &Done) -> BTreeMap<&'static str, u32> {
    let (told, output) = (log.told(), log.output());
    let refused = |what| output.refusals.get(what).copied().unwrap_or_default();
    let mut met = BTreeMap::from([
        ("full disk", refused("full disk")),
        ("program without file descriptors", refused("program without file descriptors")),
        ("line lost in full pipes", u32::try_from(output.lost).unwrap_or(u32::MAX)),
    ]);
    for (words, what) in NOT_STARTED {
        met.insert(what, exits(&told, words));
    }
    for what in
        ["killed", "told to terminate", "suspended", "suspended liveoak itself", "killed the guardian"]
    {
        met.insert(what, done.counts.get(what).copied().unwrap_or_default());
    }
    if place.has_process_limit() {
        met.insert("program without processes", refused("program without processes"));
    } else {
        met.remove("start without processes");
    }
    met
}

/// The report names every program once, with the stage and the exit that it had.
pub(crate) fn of_report(text: &str, log: &Log) -> Vec<String> {
    let report: Value = serde_json::from_str(text).unwrap_or_default();
    let (told, mut wrong, mut named) = (log.told(), Vec::new(), BTreeSet::new());
    for entry in report["children"].as_array().into_iter().flatten() {
        let path = entry["path"].as_str().unwrap_or_default();
        if !named.insert(path.to_owned()) {
            wrong.push(format!("the report names {path} twice"));
        }
        let Some(life) = told.lives.get(path) else { continue };
        let (stage, exit) = (entry["stage"].as_str(), entry["exit"]["text"].as_str());
        let expected = rung_of(path, life);
        if stage != Some(expected) || life.stage.as_deref() != stage {
            wrong.push(format!(
                "{path}: the report says {stage:?}, the log {:?}, it was {expected}",
                life.stage
            ));
        }
        let last = life.attempts.last().and_then(|attempt| attempt.exit.as_deref());
        if expected != "cancelled" && exit != last {
            wrong.push(format!("{path}: the report says {exit:?}, the log {last:?}"));
        }
    }
    let all: BTreeSet<String> = names(|_| true).iter().map(|name| format!("/chaos/{name}")).collect();
    if named != all {
        let differ: Vec<_> = all.symmetric_difference(&named).collect();
        wrong.push(format!("the report and the programs differ in {differ:?}"));
    }
    wrong
}

/// Only those that do not hear `SIGTERM` have to be killed.
fn rung_of(path: &str, life: &Life) -> &'static str {
    match life.attempts.last() {
        Some(attempt) if attempt.stopped && path.starts_with("/chaos/stubborn") => "killed",
        Some(attempt) if attempt.stopped => "asked",
        _ => "cancelled",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KILL: Blow = Blow { signal: "SIGKILL", leader: true };

    fn life(exits: &[(&str, bool)]) -> Life {
        let attempts = exits.iter().map(|(exit, ready)| Attempt {
            ready: *ready,
            exit: Some((*exit).to_owned()),
            ..Attempt::default()
        });
        Life { attempts: attempts.collect(), ..Life::default() }
    }

    fn judged(name: &str, exits: &[(&str, bool)], runs: &[&[Blow]]) -> Option<String> {
        of_life(sort_of(name), &life(exits), runs.len(), |run| runs.get(run - 1).copied().unwrap_or_default())
    }

    #[test]
    fn an_exit_is_what_was_done_to_that_attempt() {
        let killed = ("ended by SIGKILL", true);
        assert_eq!(judged("crash1", &[("exit code 3", true), killed], &[&[], &[KILL]]), None);
        assert!(judged("crash1", &[("exit code 3", true), killed], &[&[KILL], &[]]).is_some());
        assert!(judged("steady1", &[("exit code 3", true)], &[&[KILL]]).is_some());
        assert!(judged("loud1", &[("exit code 6", true)], &[&[KILL]]).is_some());
        assert_eq!(judged("loud1", &[("exit code 6", true)], &[&[Blow { leader: false, ..KILL }]]), None);
    }

    #[test]
    fn as_many_attempts_are_told_as_ran() {
        let crashed = ("exit code 3", true);
        assert!(judged("crash1", &[crashed], &[&[], &[]]).is_some());
        assert!(judged("crash1", &[crashed, crashed], &[&[]]).is_some());
    }

    #[test]
    fn an_attempt_that_could_not_be_started_whole_may_have_run_or_not() {
        let short = ("failed: could not start: Too many open files (os error 24)", false);
        let killed = ("ended by SIGKILL", true);
        assert_eq!(judged("steady1", &[short, killed], &[&[KILL]]), None);
        assert_eq!(judged("steady1", &[short, killed], &[&[], &[KILL]]), None);
        assert!(judged("steady1", &[short, killed], &[&[KILL], &[]]).is_some());
        assert!(judged("steady1", &[("failed: no such file", false), killed], &[&[KILL]]).is_some());
    }
}
