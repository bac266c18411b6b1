//! What is special about each kind of event.

use super::{exit, health, spec, stack};
use crate::{Event, Health, seconds};
use liveoak_runtime as lib;
use liveoak_runtime::{EventKind, Path, TreeHandle};

/// Adds what is special about the kind of an event.
pub(super) fn of_kind(event: Event, kind: &EventKind, tree: &TreeHandle) -> Event {
    let attempt = |attempt: &lib::Attempt| Some(attempt.0);
    let caused = |event: Event, path: &Path, why: String| Event {
        child: Some(path.to_string()),
        why: Some(why),
        ..event
    };
    match kind {
        EventKind::Added { strategy, .. } => added(event, strategy.is_some(), tree),
        EventKind::Starting { attempt: number, restart } => {
            Event { attempt: attempt(number), restart: Some(*restart), ..event }
        }
        EventKind::Ready { attempt: number, took } => {
            Event { attempt: attempt(number), took_s: Some(seconds(*took)), ..event }
        }
        EventKind::Exited { attempt: number, exit: of, ran, stopped_by_others } => Event {
            attempt: attempt(number),
            exit: Some(exit(of)),
            ran_s: Some(seconds(*ran)),
            stopped_by_others: Some(*stopped_by_others),
            ..event
        },
        EventKind::BackingOff { delay, nth } => {
            Event { delay_s: Some(seconds(*delay)), nth: Some(*nth), ..event }
        }
        EventKind::Stopping { attempt: number }
        | EventKind::Killed { attempt: number }
        | EventKind::Abandoned { attempt: number } => Event { attempt: attempt(number), ..event },
        EventKind::Stopped { stage, why } => {
            Event { stage: Some(stage.as_str().to_owned()), why: Some(why.as_str().to_owned()), ..event }
        }
        EventKind::NeedLost { need, grace } => {
            Event { child: Some(need.to_string()), delay_s: Some(seconds(*grace)), ..event }
        }
        EventKind::StoppedForNeed { need } => Event { child: Some(need.to_string()), ..event },
        EventKind::Quarantined(limit) => {
            let retry = limit.retry_after.map(seconds);
            Event { delay_s: retry, ..caused(event, &limit.path, limit.to_string()) }
        }
        EventKind::GaveUp(limit) => caused(event, &limit.path, limit.to_string()),
        EventKind::StartFailed(failure) => caused(event, &failure.path, failure.to_string()),
        EventKind::AutoShutdownFailed(failure) => caused(event, &failure.path, failure.to_string()),
        EventKind::StillRuns(survivors) => Event { why: Some(survivors.to_string()), ..event },
        EventKind::RestartSet { children } => Event { children: Some(*children as u64), ..event },
        EventKind::Health { health: of, reason } => {
            Event { health: Some(health(*of)), why: reason.as_ref().map(ToString::to_string), ..event }
        }
        EventKind::Unready { check, reason } => {
            Event { check: Some(check.to_string()), why: Some(reason.to_string()), ..event }
        }
        EventKind::Stuck(poll) => {
            let stack = stack(poll);
            let counts = poll.limit.when_stuck == lib::WhenStuck::Unhealthy;
            let health = counts.then_some(Health::Unhealthy);
            Event { health, attempt: attempt(&poll.attempt), why: Some(poll.to_string()), stack, ..event }
        }
        EventKind::Unstuck { attempt: number, after } => {
            Event { attempt: attempt(number), took_s: Some(seconds(*after)), ..event }
        }
        EventKind::TimeJump { late, .. } => Event { delay_s: Some(seconds(*late)), ..event },
        _ => event,
    }
}

/// Adds what runs a child that was added, and whether anything says how healthy it is.
fn added(event: Event, is_supervisor: bool, tree: &TreeHandle) -> Event {
    let path = event.path.as_deref().unwrap_or_default();
    let view = tree.child(path).ok().and_then(|child| child.view());
    let of = match &view {
        Some(view) => Some(spec::kind(&view.spec, is_supervisor)),
        // It has left the tree already.
        None => is_supervisor.then_some("supervisor"),
    };
    let reports = view.is_some_and(|view| spec::reports_health(&view.spec));
    Event { of: of.map(str::to_owned), health: reports.then_some(Health::Healthy), ..event }
}
