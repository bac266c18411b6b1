//! The rules about what children do and did: from the snapshot and the events.

use crate::diagnose::found::{Found, Look, count, liveoak, look_at, quoted, short, span};
use liveoak_api::FindingKind;
use liveoak_runtime::{
    Attempt, Backoff, ChildId, ChildState, ChildView, Condition, Event, EventKind, Exit, IdleReason, Time,
    WaitingFor,
};
use std::collections::HashMap;
use std::time::Duration;

/// How many failures make a storm. systemd gives up on a service after as many starts (`DefaultStartLimitBurst=5`), and a
/// child of a tree by default after twice as many.
const STORM: u64 = 5;

/// In which time they count: a backoff of the default, which grows to 30 s, makes ten restarts in it.
const STORM_WITHIN: Duration = Duration::from_secs(300);

/// An attempt that ends with success sooner than this, and is started again, has not done its work.
const QUICK: Duration = Duration::from_secs(1);

/// How long a child may wait if its start has no deadline: the default of such a deadline.
const WAITS: Duration = Duration::from_secs(30);

/// How long a start without a deadline may take: ten times the default of such a deadline.
const STARTS: Duration = Duration::from_secs(300);

/// How often a check fails and passes again until it flaps. Three times are six changes; Nagios speaks of flapping from five
/// changes in 21 checks on.
const FLAPS: u64 = 3;

/// In which time they count: about 21 checks at an interval of 30 s, the longest that a role presets.
const FLAPS_WITHIN: Duration = Duration::from_secs(600);

/// How long what has happened is worth a finding.
pub(super) const RECENT: Duration = Duration::from_secs(3600);

/// A stop that is killed sooner than this was not meant to wait.
const AT_ONCE: Duration = Duration::from_millis(100);

/// How many siblings that wait for each other are followed.
const FOLLOWED: usize = 64;

/// Children that were given up on, or have failed and are not started again.
pub(super) fn given_up(look: &Look<'_>) -> Vec<Found> {
    let found = |view: &ChildView| {
        let gave_up = view.history.as_ref().and_then(|history| history.gave_up.as_ref());
        let exit = view.last_exit.as_ref();
        let (evidence, verb) = match (&view.state, gave_up, exit) {
            // The processes that are left are a finding of their own, and a quarantine by command is wanted.
            (ChildState::Idle(IdleReason::Quarantined), _, Some(Exit::StillRuns(_))) => return None,
            (ChildState::Idle(IdleReason::Quarantined), None, _) => return None,
            (ChildState::Idle(IdleReason::Quarantined), Some(limit), _) => {
                let trial = view.retry_in.map_or_else(
                    || "only a command starts it again".to_owned(),
                    |retry| format!("it is tried again in {}", span(retry)),
                );
                (format!("{}; {trial}", short(&limit.to_string())), "release")
            }
            (ChildState::Idle(IdleReason::Finished), _, Some(exit)) if exit.is_failure() => {
                let verb = if view.spec.once { "explain" } else { "start" };
                (format!("{} has failed and is not started again: {}", attempt(view), text(exit)), verb)
            }
            _ => return None,
        };
        let (path, since) = (view.path.clone(), view.since);
        let command = liveoak(verb, &view.path, "");
        Some(Found { kind: FindingKind::GivenUp, path, since, evidence, command })
    };
    look.snapshot.nodes().filter_map(found).collect()
}

fn attempt(view: &ChildView) -> String {
    format!("attempt {}", view.attempt)
}

fn text(exit: &Exit) -> String {
    short(&exit.to_string())
}

/// Children of which a poll takes longer than it may.
pub(super) fn stuck(look: &Look<'_>) -> Vec<Found> {
    let found = |view: &ChildView| {
        let poll = view.stuck.as_ref()?;
        let lasts = span(look.now.since(poll.since));
        let (longest, place) = (span(poll.limit.longest), short(&poll.place));
        let evidence = format!("one poll has lasted for {lasts}, and may take {longest}; it is on {place}");
        let (path, command) = (view.path.clone(), liveoak("restart", &view.path, ""));
        Some(Found { kind: FindingKind::Stuck, path, since: poll.since, evidence, command })
    };
    look.snapshot.nodes().filter_map(found).collect()
}

/// The ends of a child that belong to a storm.
#[derive(Default)]
struct Ends<'a> {
    count: u64,
    first: Time,
    longest: Duration,
    last: Option<(&'a Exit, Duration)>,
}

/// Children that fail again and again, and have not run for long since.
pub(super) fn restart_storm(look: &Look<'_>) -> Vec<Found> {
    let mut ends: HashMap<ChildId, Ends<'_>> = HashMap::new();
    for event in look.last(STORM_WITHIN) {
        let EventKind::Exited { exit, ran, stopped_by_others: false, .. } = &event.kind else { continue };
        let is_quick = *ran < QUICK && matches!(exit, Exit::Completed | Exit::Stopped);
        if !exit.is_failure() && !is_quick {
            continue;
        }
        let of = ends.entry(event.id).or_insert_with(|| Ends { first: event.at, ..Ends::default() });
        of.count += 1;
        of.longest = of.longest.max(*ran);
        of.last = Some((exit, *ran));
    }
    let found = |view: &ChildView| {
        let of = ends.remove(&view.id).unwrap_or_default();
        let limit = view.history.as_ref().and_then(|history| history.limit);
        let in_a_row = limit.map_or(0, |limit| u64::from(limit.in_a_row));
        if of.count.max(in_a_row) < STORM || !goes_on(view, of.longest, look.now) {
            return None;
        }
        let mut evidence = if of.count >= in_a_row {
            let within = span(look.now.since(of.first));
            format!("{} ended by themselves within {within}", count(of.count, "attempt", "attempts"))
        } else {
            format!("{in_a_row} failures in a row")
        };
        if let Some((exit, ran)) = of.last {
            evidence.push_str(&format!(", the last after {}: {}", span(ran), text(exit)));
        }
        if let Some(limit) = limit {
            evidence.push_str(&format!("; {limit}"));
        }
        let earliest = view.history.as_ref().and_then(|history| history.exits.front()).map(|exit| exit.at);
        let since = if of.count > 0 { of.first } else { earliest.unwrap_or(view.since) };
        let (path, command) = (view.path.clone(), look_at(view));
        Some(Found { kind: FindingKind::RestartStorm, path, since, evidence, command })
    };
    look.snapshot.nodes().filter_map(found).collect()
}

/// Returns `true` if a child is to run, and has not run for so long that its failures are over: as long as a stable run takes,
/// and twice as long as the longest attempt that has failed.
fn goes_on(view: &ChildView, longest: Duration, now: Time) -> bool {
    let stable = view.spec.backoff.map_or(Backoff::RESET_AFTER, |backoff| backoff.reset_after);
    match view.state {
        ChildState::Idle(_) | ChildState::Stopping { .. } => false,
        ChildState::Running => now.since(view.since) < stable.max(longest.saturating_mul(2)),
        _ => true,
    }
}

/// Children that wait for longer than their start may take, with nothing under way that would end it.
pub(super) fn waits_too_long(look: &Look<'_>) -> Vec<Found> {
    let found = |view: &ChildView| {
        let waits = look.now.since(view.since);
        let (evidence, command) = match &view.state {
            ChildState::Waiting { what, .. } if waits > longest_wait(view) => waited_for(look, view, what)?,
            ChildState::Starting { remaining: None } if waits > STARTS && view.strategy.is_none() => {
                let evidence =
                    format!("{} has not been ready for {}, without a deadline", attempt(view), span(waits));
                (evidence, look_at(view))
            }
            _ => return None,
        };
        let (path, since) = (view.path.clone(), view.since);
        Some(Found { kind: FindingKind::WaitsTooLong, path, since, evidence, command })
    };
    look.snapshot.nodes().filter_map(found).collect()
}

fn longest_wait(view: &ChildView) -> Duration {
    let within = view.spec.start_within;
    if within == Duration::MAX { WAITS } else { within }
}

/// Returns what keeps a child waiting, and the command that helps. `None` if what it waits for is under way.
fn waited_for(look: &Look<'_>, view: &ChildView, what: &WaitingFor) -> Option<(String, String)> {
    let waits = span(look.now.since(view.since));
    if matches!(what, WaitingFor::RestartStop) {
        let evidence = format!("for {waits} it has waited for siblings that are being stopped");
        return Some((evidence, liveoak("explain", &view.path, "")));
    }
    let (mut end, mut condition) = sibling(look, view, what)?;
    let wanted = format!("{} to be {condition}", end.path);
    for _ in 0..FOLLOWED {
        let ChildState::Waiting { what, .. } = &end.state else { break };
        let Some(next) = sibling(look, end, what) else { break };
        (end, condition) = next;
    }
    let verb = match &end.state {
        // These end in time, or have just ended.
        ChildState::Starting { remaining: Some(_) } | ChildState::Stopping { remaining: Some(_), .. } => {
            return None;
        }
        ChildState::Running if condition != Condition::Healthy => return None,
        ChildState::Idle(IdleReason::Ignored) => return None,
        ChildState::Idle(IdleReason::Quarantined) => "release",
        ChildState::Idle(IdleReason::Paused) => "resume",
        ChildState::Idle(IdleReason::Finished | IdleReason::NotWanted | IdleReason::StoppedByCommand) => {
            "start"
        }
        _ => "explain",
    };
    let lasts = span(look.now.since(end.since));
    let evidence = format!(
        "for {waits} it has waited for {wanted}; {} has been {} for {lasts}",
        end.path,
        end.state.as_str()
    );
    Some((evidence, liveoak(verb, &end.path, "")))
}

/// Returns the sibling that a child waits for, and what it must be.
fn sibling<'a>(look: &Look<'a>, view: &ChildView, what: &WaitingFor) -> Option<(&'a ChildView, Condition)> {
    let (name, condition) = match what {
        WaitingFor::Turn(name) => (name, Condition::Ready),
        WaitingFor::Edge(name, condition) => (name, *condition),
        WaitingFor::RestartBackoff(name) => (name, Condition::Started),
        // A place becomes free when one of those that start is ready or has failed.
        _ => return None,
    };
    let (above, _) = view.path.as_str().rsplit_once('/')?;
    Some((look.child(&format!("{above}/{name}"))?, condition))
}

/// What a check did.
#[derive(Default)]
struct Flaps {
    count: u64,
    first: Time,
    reason: String,
    kind: &'static str,
}

/// Checks that fail and pass again and again.
pub(super) fn flapping_check(look: &Look<'_>) -> Vec<Found> {
    let mut flaps: HashMap<(ChildId, &str), Flaps> = HashMap::new();
    for event in look.last(FLAPS_WITHIN) {
        let (check, reason, kind) = match &event.kind {
            EventKind::Unready { check, reason } => (check.as_str(), &**reason, "readiness"),
            EventKind::Exited { exit: Exit::Unhealthy(of), .. } => {
                (of.check.as_str(), &*of.reason, "liveness")
            }
            _ => continue,
        };
        let of =
            flaps.entry((event.id, check)).or_insert_with(|| Flaps { first: event.at, ..Flaps::default() });
        of.count += 1;
        (of.reason, of.kind) = (short(reason), kind);
    }
    let mut all = Vec::new();
    for view in look.snapshot.nodes() {
        // An attempt that passed no check again has not flapped: it has failed, which other rules find.
        let is_up = !matches!(view.state, ChildState::Idle(_));
        for check in view.checks.iter().filter(|_| is_up) {
            let Some(of) = flaps.remove(&(view.id, check.name.as_str())) else { continue };
            if of.count < FLAPS {
                continue;
            }
            let (name, Flaps { count, first, reason, kind }) = (check.name.as_str(), of);
            let within = span(look.now.since(first));
            let evidence = format!("the {kind} check {name} failed {count} times within {within}: {reason}");
            let (path, command) = (view.path.clone(), liveoak("checks", &view.path, ""));
            all.push(Found { kind: FindingKind::FlappingCheck, path, since: first, evidence, command });
        }
    }
    all
}

/// The stops of a child that ended late.
#[derive(Default)]
struct Late {
    killed: u64,
    abandoned: u64,
    first: Time,
}

/// Children that did not end in time after they were asked to stop.
pub(super) fn late_stop(look: &Look<'_>) -> Vec<Found> {
    let mut asked: HashMap<ChildId, (Attempt, Time)> = HashMap::new();
    let mut late: HashMap<ChildId, Late> = HashMap::new();
    let mut note = |event: &Event, is_abandoned: bool| {
        let of = late.entry(event.id).or_insert_with(|| Late { first: event.at, ..Late::default() });
        *(if is_abandoned { &mut of.abandoned } else { &mut of.killed }) += 1;
    };
    for event in look.last(RECENT) {
        match &event.kind {
            EventKind::Stopping { attempt } => {
                asked.insert(event.id, (*attempt, event.at));
            }
            EventKind::Killed { attempt } => {
                let asked = asked.get(&event.id).filter(|(of, _)| of == attempt);
                if asked.is_some_and(|(_, at)| event.at.since(*at) >= AT_ONCE) {
                    note(event, false);
                }
            }
            EventKind::Abandoned { .. } => note(event, true),
            _ => {}
        }
    }
    let found = |view: &ChildView| {
        let late = late.get(&view.id);
        let (evidence, since, command) = still_runs(view)
            .or_else(|| stops_for_long(look, view))
            .or_else(|| late.map(|late| (stopped_late(view, late), late.first, look_at(view))))?;
        let path = view.path.clone();
        Some(Found { kind: FindingKind::LateStop, path, since, evidence, command })
    };
    look.snapshot.nodes().filter_map(found).collect()
}

/// Returns the processes of an abandoned attempt that keep a child down.
fn still_runs(view: &ChildView) -> Option<(String, Time, String)> {
    let ChildState::Idle(IdleReason::Quarantined) = view.state else { return None };
    let Some(Exit::StillRuns(left)) = &view.last_exit else { return None };
    let pids: Vec<String> = left.pids.iter().map(u32::to_string).collect();
    let command = format!("ps -o pid,user,stat,wchan:20,args -p {}", quoted(&pids.join(",")));
    Some((format!("it cannot start again: {left}"), view.since, command))
}

/// Returns a stop that has no deadline and takes long.
fn stops_for_long(look: &Look<'_>, view: &ChildView) -> Option<(String, Time, String)> {
    let ChildState::Stopping { remaining: None, stage } = &view.state else { return None };
    let lasts = look.now.since(view.since);
    let evidence =
        format!("its stop has lasted for {}, without a deadline; it was {}", span(lasts), stage.as_str());
    (lasts > WAITS && view.strategy.is_none()).then(|| (evidence, view.since, look_at(view)))
}

fn stopped_late(view: &ChildView, late: &Late) -> String {
    let mut parts = Vec::new();
    if late.killed > 0 {
        let within = span(view.spec.stop_within);
        let killed = count(late.killed, "time", "times");
        parts.push(format!(
            "killed {killed}, because it had not ended within {within} after it was asked to stop"
        ));
    }
    if late.abandoned > 0 {
        let abandoned = count(late.abandoned, "attempt", "attempts");
        parts.push(format!("{abandoned} abandoned, because it had not ended after a kill"));
    }

    format!("in the last {}: {}", span(RECENT), parts.join("; "))
}
