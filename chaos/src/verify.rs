//! Verifies during a run that no program has two attempts at once, and at its end that the log and the report agree with
//! the injected faults.

use crate::faults::{InjectedFaults, SentSignal};
use crate::log::{Attempt, ChildHistory, EventLog, RunLog};
use crate::programs::{ProgramKind, UNLIMITED, kind_of, names};
use crate::sandbox::{ProcessInfo, Sandbox};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::Duration;

/// The error messages of a start that lacked a file descriptor or a process, each with the name of the fault.
const NOT_STARTED: [(&str, &str); 2] = [
    ("Too many open files", "start without file descriptors"),
    ("Resource temporarily unavailable", "start without processes"),
];

const PAUSE: Duration = Duration::from_millis(100);

/// Watches while `keep_going` returns `true`, and adds the errors to the log. Returns the number of looks.
pub(crate) fn watch(sandbox: &Sandbox, log: &RunLog, keep_going: impl Fn() -> bool) -> u32 {
    let mut looks = 0;
    while keep_going() {
        let seen = two_at_once(sandbox);
        log.events().errors.extend(seen);
        looks += 1;
        thread::sleep(PAUSE);
    }
    looks
}

/// Returns an error if a program has two process groups. The list of processes is not read in one instant, so each pair
/// is checked again.
fn two_at_once(sandbox: &Sandbox) -> Option<String> {
    let (mut by_name, mut pairs) = (BTreeMap::new(), Vec::new());
    for process in sandbox.processes() {
        let Some(name) = process.name.clone() else { continue };
        let first: &ProcessInfo = by_name.entry(name).or_insert_with(|| process.clone());
        if first.group != process.group {
            pairs.push((first.clone(), process));
        }
    }
    let still = |process: &ProcessInfo| sandbox.process(process.pid).as_ref() == Some(process);
    let (one, other) = pairs.into_iter().find(|(one, other)| still(one) && still(other))?;
    Some(format!("two groups of one program are alive: {one:?} and {other:?}"))
}

/// Returns all errors in what was logged about the attempts.
pub(crate) fn check_attempts(sandbox: &Sandbox, log: &RunLog, injected: &InjectedFaults) -> Vec<String> {
    let (events, mut errors) = (log.events(), Vec::new());
    for name in names(|_| true) {
        let Some(history) = events.history(&name) else {
            errors.push(format!("{name} is not in the log"));
            continue;
        };
        let written = sandbox.pids(&name).len();
        let signals = |run: usize| injected.signals.get(&(name.clone(), run)).map_or(&[][..], Vec::as_slice);
        errors.extend(
            check_history(kind_of(&name), history, written, signals).map(|what| format!("{name}: {what}")),
        );
    }
    let output = log.output();
    for name in names(|kind| kind.name == "loud") {
        let (begun, written) = (output.begun(&name), sandbox.pids(&name).len());
        let unheard = events.history(&name).map_or(0, |history| history.attempts.len() - history.ran());
        if begun > written + 1 || output.lost == 0 && begun + unheard < written {
            errors.push(format!("{written} attempts of {name} ran, but {begun} printed their first line"));
        }
    }
    errors.extend(output.verdict());
    let unlimited = format!("exit code {UNLIMITED}");
    if sandbox.has_process_limit() && exits(&events, &unlimited) > 0 {
        errors.push("a program got a process in spite of its limit".to_owned());
    }
    errors.extend(events.errors.iter().cloned());
    if events.last_event != "/chaos exited" {
        errors.push(format!("the last event is {:?}", events.last_event));
    }
    errors
}

/// Returns an error unless the attempts in the log fit the attempts that ran.
///
/// Each attempt that ran has recorded its process id as a line in a file, and the number of that line tells which
/// signals it got. An attempt that was ended by the stop, or whose start lacked a descriptor, may have recorded its
/// line or not. So all ways to assign the lines to the attempts are tried, and one of them must fit.
fn check_history<'a>(
    kind: &ProgramKind,
    history: &ChildHistory,
    written: usize,
    signals: impl Fn(usize) -> &'a [SentSignal],
) -> Option<String> {
    // The possible numbers of lines that belong to the attempts so far.
    let mut lines = BTreeSet::from([0]);
    for (number, attempt) in (1..).zip(&history.attempts) {
        let short = !attempt.ready && NOT_STARTED.iter().any(|(words, _)| attempt.exit_has(words));
        let fits = |run| short || explains_exit(kind, attempt, run);
        let silent = (short || attempt.stopped) && fits(&[]);
        let without = lines.iter().copied().filter(|_| silent);
        let with = lines.iter().map(|line| line + 1).filter(|line| *line <= written && fits(signals(*line)));
        let next: BTreeSet<usize> = without.chain(with).collect();
        if next.is_empty() {
            let injected: Vec<_> = lines.iter().map(|line| signals(line + 1)).collect();
            let exit = &attempt.exit;
            return Some(format!(
                "the exit of attempt {number} is logged as {exit:?}; {written} attempts ran, and the signals sent to it were {injected:?}"
            ));
        }
        lines = next;
    }
    let most = lines.last().copied().unwrap_or_default();
    (!lines.contains(&written)).then(|| format!("{written} attempts ran, but the log has {most}"))
}

/// Returns `true` if the logged exit of an attempt has a cause: a signal to its leader, an end by itself (for a lasting
/// program only after a signal to another process of its group), or the stop.
fn explains_exit(kind: &ProgramKind, attempt: &Attempt, signals: &[SentSignal]) -> bool {
    let Some(exit) = &attempt.exit else { return false };
    let by_signal = |signal: &SentSignal| signal.leader && *exit == format!("ended by {}", signal.signal);
    let by_itself = kind.codes.iter().any(|code| match code {
        0 => exit == "completed",
        code => *exit == format!("exit code {code}"),
    });
    let may = !kind.lasting || signals.iter().any(|signal| !signal.leader);
    let by_stop = match (attempt.ready, attempt.killed) {
        (_, true) => exit == "ended by SIGKILL",
        (true, false) => exit == "ended by SIGTERM",
        (false, false) => matches!(exit.as_str(), "ended by SIGTERM" | "stopped as asked"),
    };
    signals.iter().any(by_signal) || by_itself && may || attempt.stopped && by_stop
}

/// Returns how many attempts have `words` in their logged exit.
fn exits(events: &EventLog, words: &str) -> u32 {
    let attempts = events.histories.values().flat_map(|history| &history.attempts);
    let exits = attempts.filter_map(|attempt| attempt.exit.as_ref()).filter(|exit| exit.contains(words));
    u32::try_from(exits.count()).unwrap_or(u32::MAX)
}

/// Returns how often each fault occurred: five kinds as injected, the others as a program or `liveoak` reported them. In a
/// long run no count may be 0.
pub(crate) fn observed_faults(
    sandbox: &Sandbox,
    log: &RunLog,
    injected: &InjectedFaults,
) -> BTreeMap<&'static str, u32> {
    let (events, output) = (log.events(), log.output());
    let refused = |what| output.refusals.get(what).copied().unwrap_or_default();
    let mut observed = BTreeMap::from([
        ("full disk", refused("full disk")),
        ("program without file descriptors", refused("program without file descriptors")),
        ("line lost in full pipes", u32::try_from(output.lost).unwrap_or(u32::MAX)),
    ]);
    for (words, what) in NOT_STARTED {
        observed.insert(what, exits(&events, words));
    }
    for what in ["killed", "sent SIGTERM", "suspended", "suspended liveoak itself", "killed the guardian"] {
        observed.insert(what, injected.counts.get(what).copied().unwrap_or_default());
    }
    if sandbox.has_process_limit() {
        observed.insert("program without processes", refused("program without processes"));
    } else {
        observed.remove("start without processes");
    }
    observed
}

/// Returns all errors in the report. It must name every program once, with its true stop stage and exit.
pub(crate) fn check_report(text: &str, log: &RunLog) -> Vec<String> {
    let report: Value = serde_json::from_str(text).unwrap_or_default();
    let (events, mut errors, mut named) = (log.events(), Vec::new(), BTreeSet::new());
    for entry in report["children"].as_array().into_iter().flatten() {
        let path = entry["path"].as_str().unwrap_or_default();
        if !named.insert(path.to_owned()) {
            errors.push(format!("the report names {path} twice"));
        }
        let Some(history) = events.histories.get(path) else { continue };
        let (stage, exit) = (entry["stage"].as_str(), entry["exit"]["text"].as_str());
        let expected = expected_stage(path, history);
        if stage != Some(expected) || history.stage.as_deref() != stage {
            errors.push(format!(
                "{path}: the report says {stage:?}, the log {:?}, it was {expected}",
                history.stage
            ));
        }
        let last = history.attempts.last().and_then(|attempt| attempt.exit.as_deref());
        if expected != "cancelled" && exit != last {
            errors.push(format!("{path}: the report says {exit:?}, the log {last:?}"));
        }
    }
    let all: BTreeSet<String> = names(|_| true).iter().map(|name| format!("/chaos/{name}")).collect();
    if named != all {
        let differ: Vec<_> = all.symmetric_difference(&named).collect();
        errors.push(format!("the report and the programs differ in {differ:?}"));
    }
    errors
}

/// Returns the stop stage that a program must have: only programs that ignore `SIGTERM` have to be killed.
fn expected_stage(path: &str, history: &ChildHistory) -> &'static str {
    match history.attempts.last() {
        Some(attempt) if attempt.stopped && path.starts_with("/chaos/stubborn") => "killed",
        Some(attempt) if attempt.stopped => "asked",
        _ => "cancelled",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KILL: SentSignal = SentSignal { signal: "SIGKILL", leader: true };

    fn history(exits: &[(&str, bool)]) -> ChildHistory {
        let attempts = exits.iter().map(|(exit, ready)| Attempt {
            ready: *ready,
            exit: Some((*exit).to_owned()),
            ..Attempt::default()
        });
        ChildHistory { attempts: attempts.collect(), ..ChildHistory::default() }
    }

    fn judged(name: &str, exits: &[(&str, bool)], runs: &[&[SentSignal]]) -> Option<String> {
        check_history(kind_of(name), &history(exits), runs.len(), |run| {
            runs.get(run - 1).copied().unwrap_or_default()
        })
    }

    #[test]
    fn an_exit_must_fit_the_signals_sent_to_that_attempt() {
        let killed = ("ended by SIGKILL", true);
        assert_eq!(judged("crash1", &[("exit code 3", true), killed], &[&[], &[KILL]]), None);
        assert!(judged("crash1", &[("exit code 3", true), killed], &[&[KILL], &[]]).is_some());
        assert!(judged("steady1", &[("exit code 3", true)], &[&[KILL]]).is_some());
        assert!(judged("loud1", &[("exit code 6", true)], &[&[KILL]]).is_some());
        assert_eq!(
            judged("loud1", &[("exit code 6", true)], &[&[SentSignal { leader: false, ..KILL }]]),
            None
        );
    }

    #[test]
    fn the_log_must_have_as_many_attempts_as_ran() {
        let crashed = ("exit code 3", true);
        assert!(judged("crash1", &[crashed], &[&[], &[]]).is_some());
        assert!(judged("crash1", &[crashed, crashed], &[&[]]).is_some());
    }

    #[test]
    fn an_attempt_whose_start_lacked_a_resource_may_have_run_or_not() {
        let short = ("failed: could not start: Too many open files (os error 24)", false);
        let killed = ("ended by SIGKILL", true);
        assert_eq!(judged("steady1", &[short, killed], &[&[KILL]]), None);
        assert_eq!(judged("steady1", &[short, killed], &[&[], &[KILL]]), None);
        assert!(judged("steady1", &[short, killed], &[&[KILL], &[]]).is_some());
        assert!(judged("steady1", &[("failed: no such file", false), killed], &[&[KILL]]).is_some());
    }
}
