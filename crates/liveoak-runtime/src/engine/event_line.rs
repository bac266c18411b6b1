//! The line of the log for each event.

use crate::engine::pids;
use liveoak_core::{Event, EventKind, Exit, Health, IdleReason, Severity};
use std::fmt;

/// The target of the lines about the start and the end of a whole tree. Other lines about children have the target
/// `liveoak`.
const OF_TREE: &str = "liveoak::tree";

/// Writes the line of an event of the tree at this address. Runs on the thread that writes the log.
pub(crate) fn trace(tree: usize, event: &Event) {
    let pid = pids::of(tree, event);
    let description = event.description.as_deref();
    let title = description.and_then(|description| description.title.as_deref());
    let tags = description.and_then(liveoak_core::Description::joined_tags);
    let role = description.and_then(|description| description.role).map(liveoak_core::Role::as_str);
    let criticality = description.and_then(|description| description.criticality);
    let criticality = criticality.map(liveoak_core::Criticality::as_str);
    macro_rules! line {
        ($level:ident, $target:expr) => {
            tracing::$level!(
                target: $target,
                number = event.number,
                path = %event.path,
                event = event.kind.name(),
                title,
                tags = tags.as_deref(),
                role,
                criticality,
                pid,
                "{}{}",
                Line(event),
                pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default()
            )
        };
    }
    let frames_the_tree = is_of_root(event)
        && event.severity == Severity::Info
        && matches!(event.kind, EventKind::Starting { .. } | EventKind::Exited { .. });
    match event.severity {
        Severity::Debug => line!(debug, "liveoak"),
        Severity::Info if frames_the_tree => line!(info, OF_TREE),
        Severity::Info => line!(info, "liveoak"),
        Severity::Warn => line!(warn, "liveoak"),
        Severity::Error => line!(error, "liveoak"),
    }
}

fn is_of_root(event: &Event) -> bool {
    event.path.names().count() == 1
}

/// A path, with the title of the child beside it.
struct Shown<'a>(&'a str, Option<&'a str>);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(path, title) = self;
        f.write_str(path)?;
        title.map_or(Ok(()), |title| write!(f, " ({title})"))
    }
}

/// Returns the text of the line of an event.
pub fn event_text(event: &Event) -> String {
    Line(event).to_string()
}

struct Line<'a>(&'a Event);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let title = self.0.description.as_ref().and_then(|description| description.title.as_deref());
        let path = Shown(self.0.path.as_str(), title);
        match &self.0.kind {
            // An event before said why.
            EventKind::Exited {
                exit: Exit::GaveUp(_) | Exit::StartFailed(_) | Exit::AutoShutdownFailed(_),
                ran,
                ..
            } if is_of_root(self.0) => write!(f, "{path}: ended, after {ran:.1?}"),
            EventKind::Starting { attempt, .. } => write!(f, "{path}: starting, attempt {attempt}"),
            EventKind::Ready { took, .. } => write!(f, "{path}: ready after {took:.1?}"),
            EventKind::Exited { exit, ran, .. } => write!(f, "{path}: {exit}, after {ran:.1?}"),
            EventKind::BackingOff { delay, .. } => write!(f, "{path}: restarts in {delay:.1?}"),
            EventKind::Stopped { why: IdleReason::Paused, .. } => {
                write!(f, "{path}: paused, and starts again when it is resumed")
            }
            EventKind::Stopped { stage, why: IdleReason::Quarantined } => {
                write!(f, "{path}: quarantined by command ({})", stage.as_str())
            }
            EventKind::Paused => write!(f, "{path}: paused: it is not started again when it ends"),
            EventKind::Resumed => write!(f, "{path}: not paused any more"),
            EventKind::Stopped { stage, .. } => write!(f, "{path}: stopped ({})", stage.as_str()),
            EventKind::NeedLost { need, grace } => {
                write!(
                    f,
                    "{path}: {need}, which it needs, is not ready; if that lasts {grace:?}, it is stopped"
                )
            }
            EventKind::StoppedForNeed { need } => {
                write!(f, "{path}: stopping for lack of {need}; it starts again when {need} is back")
            }
            EventKind::Killed { .. } => write!(f, "{path}: killing"),
            EventKind::Quarantined(gave_up) => {
                write!(f, "{path}: quarantined: {gave_up}")?;
                gave_up.retry_after.map_or(Ok(()), |after| write!(f, "; one more attempt in {after:.1?}"))
            }
            EventKind::Released => write!(f, "{path}: the quarantine is over"),
            EventKind::StillRuns(survivors) => {
                write!(f, "{path}: quarantined until its processes are gone: {survivors}")
            }
            EventKind::GaveUp(gave_up) => write!(f, "{path}: {gave_up}"),
            EventKind::StartFailed(failure) => write!(f, "{path}: {failure}"),
            EventKind::AutoShutdown => write!(f, "{path}: ends, because its significant children have ended"),
            EventKind::AutoShutdownFailed(failure) => {
                let (child, exit) = (&failure.path, &failure.exit);
                write!(f, "{path}: ends, because its significant child {child} has ended: {exit}")
            }
            EventKind::RestartSet { children } => {
                write!(f, "{path}: restarts {children} children together")
            }
            EventKind::Health { .. }
            | EventKind::Unready { .. }
            | EventKind::ReadyAgain
            | EventKind::Stuck(_)
            | EventKind::Unstuck { .. } => write_health(f, &path, &self.0.kind),
            EventKind::TimeJump { late, deadlines } => {
                write!(
                    f,
                    "{path}: this process did not run for {late:.1?}; {deadlines} deadlines were prolonged"
                )
            }
            kind => write!(f, "{path}: {}", kind.name()),
        }
    }
}

/// Writes the line of an event about the health of a child.
fn write_health(f: &mut fmt::Formatter<'_>, path: &Shown<'_>, kind: &EventKind) -> fmt::Result {
    match kind {
        // A child that withdraws its report is only known to run.
        EventKind::Health { health: Health::Unknown, .. } => write!(f, "{path}: running"),
        EventKind::Health { health, reason: None } => write!(f, "{path}: {}", health.as_str()),
        EventKind::Health { health, reason: Some(reason) } => {
            write!(f, "{path}: {}: {reason}", health.as_str())
        }
        EventKind::Unready { check, reason } => {
            write!(f, "{path}: not ready any more: the check {check} failed: {reason}")
        }
        EventKind::ReadyAgain => write!(f, "{path}: ready again"),
        EventKind::Stuck(poll) if poll.stack.is_none() => write!(f, "{path}: stuck: {poll}"),
        EventKind::Stuck(poll) => {
            write!(f, "{path}: stuck; the thread was")?;
            poll.stack_lines().try_for_each(|function| write!(f, "\n    in {function}"))
        }
        EventKind::Unstuck { after, .. } => {
            write!(f, "{path}: not stuck any more: the poll took {after:.1?}")
        }
        kind => write!(f, "{path}: {}", kind.name()),
    }
}
