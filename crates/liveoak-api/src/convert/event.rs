//! What is special about each kind of event.

use super::{exit, health, stack};
use crate::{Event, seconds};
use liveoak_runtime as lib;
use liveoak_runtime::{EventKind, Path};

/// Adds what is special about the kind of an event.
pub(super) fn of_kind(event: Event, kind: &EventKind) -> Event {
    let attempt = |attempt: &lib::Attempt| Some(attempt.0);
    let caused = |event: Event, path: &Path, why: String| Event {
        child: Some(path.to_string()),
        why: Some(why),
        ..event
    };
    match kind {
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
            Event { attempt: attempt(&poll.attempt), why: Some(poll.to_string()), stack, ..event }
        }
        EventKind::Unstuck { attempt: number, after } => {
            Event { attempt: attempt(number), took_s: Some(seconds(*after)), ..event }
        }
        EventKind::TimeJump { late, .. } => Event { delay_s: Some(seconds(*late)), ..event },
        _ => event,
    }
}
