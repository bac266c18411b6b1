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
        let ran: Vec<&Attempt> = life.attempts.iter().filter(|attempt| attempt.ready).collect();
        let alone = ran.iter().filter(|attempt| !attempt.stopped).count();
        let written = place.pids(&name).len();
        // Whether the last one, which was stopped, came to write is not known.
        let last = usize::from(life.attempts.last().is_some_and(|attempt| attempt.stopped));
        if !(alone..=alone + last).contains(&written) {
            wrong.push(format!("{written} attempts of {name} ran, and {} were told to be ready", ran.len()));
        }
        for (number, attempt) in (1..).zip(ran) {
            let blows = done.blows.get(&(name.clone(), number)).map_or(&[][..], Vec::as_slice);
            wrong.extend(
                of_exit(sort_of(&name), attempt, blows).map(|what| format!("{name}, run {number}: {what}")),
            );
        }
        wrong.extend(of_failed_starts(life).map(|what| format!("{name} was not started: {what}")));
    }
    let output = log.output();
    for name in names(|sort| sort.name == "loud") {
        let (begun, written) = (output.begun(&name), place.pids(&name).len());
        if begun > written + 1 || output.lost == 0 && begun < written {
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

/// An attempt ends by the signal that its leader was sent, or by itself if that is its way or it was given cause.
fn of_exit(sort: &Sort, attempt: &Attempt, blows: &[Blow]) -> Option<String> {
    let Some(exit) = &attempt.exit else { return Some("its exit was never told".to_owned()) };
    let by_signal = |blow: &Blow| blow.leader && *exit == format!("ended by {}", blow.signal);
    let by_itself = sort.codes.iter().any(|code| match code {
        0 => exit == "completed",
        code => *exit == format!("exit code {code}"),
    });
    let may = !sort.lasting || blows.iter().any(|blow| !blow.leader);
    let by_stop =
        attempt.stopped && exit == if attempt.killed { "ended by SIGKILL" } else { "ended by SIGTERM" };
    let is_true = blows.iter().any(by_signal) || by_itself && may || by_stop;
    (!is_true).then(|| format!("told as {exit:?}, and was done: {blows:?}"))
}

fn of_failed_starts(life: &Life) -> impl Iterator<Item = String> {
    let failed = life.attempts.iter().filter(|attempt| !attempt.ready && !attempt.stopped);
    let exits = failed.map(|attempt| attempt.exit.clone().unwrap_or_default());
    exits.filter(|exit| NOT_STARTED.iter().all(|(words, _)| !exit.contains(words)))
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

/// The report names every program once, with the rung and the exit that it had.
pub(crate) fn of_report(text: &str, log: &Log) -> Vec<String> {
    let report: Value = serde_json::from_str(text).unwrap_or_default();
    let (told, mut wrong, mut named) = (log.told(), Vec::new(), BTreeSet::new());
    for entry in report["children"].as_array().into_iter().flatten() {
        let path = entry["path"].as_str().unwrap_or_default();
        if !named.insert(path.to_owned()) {
            wrong.push(format!("the report names {path} twice"));
        }
        let Some(life) = told.lives.get(path) else { continue };
        let (rung, exit) = (entry["rung"].as_str(), entry["exit"]["text"].as_str());
        let expected = rung_of(path, life);
        if rung != Some(expected) || life.rung.as_deref() != rung {
            wrong.push(format!(
                "{path}: the report says {rung:?}, the log {:?}, it was {expected}",
                life.rung
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
