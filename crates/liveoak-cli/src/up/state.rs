//! The state of the tree, written to stderr at each SIGQUIT: each child with its state, since when it has this state, and
//! what it waits for.

use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use liveoak::internal::StateRequests;
use liveoak::{ChildState, ChildView, IdleReason, Snapshot, Tree, WaitingFor};
use liveoak_config::{Config, Form, SupervisorConfig, format_duration, one_line};
use serde_json::{Value, json};
use tracing::Level;

use super::status::StatusLog;
use crate::output::table;

/// The name of the message in JSON.
const EVENT: &str = "tree-state";

/// Writes the state of the tree each time it is asked for. Never returns.
pub(crate) async fn tell_when_asked<T>(
    tree: &Tree,
    config: &Config,
    status: &StatusLog,
    requests: &mut StateRequests,
) -> T {
    loop {
        requests.next().await;
        let snapshot = tree.snapshot();
        let state = TreeState::new(config, &snapshot);
        let more = state.json(|view| tree.to_system_time(view.since));
        status.document(Level::INFO, EVENT, &state.headline(), &state.text(), &more);
    }
}

/// The state of all children at one moment.
struct TreeState<'a> {
    snapshot: &'a Snapshot,
    /// The readiness probe of each program as text, by path.
    checks: HashMap<String, String>,
}

impl<'a> TreeState<'a> {
    fn new(config: &Config, snapshot: &'a Snapshot) -> Self {
        let mut checks = HashMap::new();
        collect_checks(&config.root, &format!("/{}", config.name), &mut checks);
        Self { snapshot, checks }
    }

    fn headline(&self) -> String {
        let root = &self.snapshot.root;
        let count = self.snapshot.nodes().count() - 1;
        let children = if count == 1 { "child" } else { "children" };
        format!("{} is {}: {count} {children}", root.path, root.state.as_str())
    }

    fn text(&self) -> String {
        let head = ["PATH", "STATE", "SINCE", "ATTEMPT", "RESTARTS", "ABOUT"].map(str::to_owned);
        let rows = self.snapshot.nodes().map(|view| {
            [
                view.path.to_string(),
                word(&view.state).to_owned(),
                rounded(self.state_time(view)),
                view.attempt.to_string(),
                view.restarts.to_string(),
                self.about(view),
            ]
        });
        let rows: Vec<_> = std::iter::once(head).chain(rows).collect();
        format!("{}\n{}", self.headline(), table("  ", &rows))
    }

    fn json(&self, since: impl Fn(&ChildView) -> SystemTime) -> Value {
        let children = self.snapshot.nodes().map(|view| {
            json!({
                "path": view.path.as_str(),
                "title": view.title(),
                "kind": if view.strategy.is_some() { "supervisor" } else { "program" },
                "state": word(&view.state),
                "ready": matches!(view.state, ChildState::Running),
                "attempt": view.attempt.0,
                "restarts": view.restarts,
                "since": rfc_3339(since(view)),
                "state_s": self.state_time(view).as_secs_f64(),
                "waiting_for": self.waiting_for(view),
                "remaining_s": remaining(&view.state).map(|left| left.as_secs_f64()),
                "last_exit": view.last_exit.as_ref().map(ToString::to_string),
            })
        });
        let root = &self.snapshot.root;
        json!({
            "tree": root.path.as_str(),
            "state": word(&root.state),
            "children": children.collect::<Vec<_>>(),
        })
    }

    /// Returns how long the child has been in its state.
    fn state_time(&self, view: &ChildView) -> Duration {
        Duration::from_nanos(self.snapshot.at.as_nanos().saturating_sub(view.since.as_nanos()))
    }

    /// Returns what the child waits for, to follow "waits for".
    fn waiting_for(&self, view: &ChildView) -> Option<String> {
        let sibling = |name: &str| match view.path.as_str().rsplit_once('/') {
            Some((above, _)) => format!("{above}/{name}"),
            None => name.to_owned(),
        };
        match &view.state {
            ChildState::Waiting { what, .. } => Some(match what {
                WaitingFor::Nothing => "its start".to_owned(),
                WaitingFor::Turn(name) => format!("{} to be ready", sibling(name.as_str())),
                WaitingFor::Edge(name, condition) => format!("{} to be {condition}", sibling(name.as_str())),
                WaitingFor::Place => "a place among its siblings that are starting".to_owned(),
                WaitingFor::RestartStop => "the stop of siblings that are restarted with it".to_owned(),
                WaitingFor::RestartBackoff(name) => format!("the restart of {}", sibling(name.as_str())),
            }),
            ChildState::Starting { .. } => Some(match self.checks.get(view.path.as_str()) {
                Some(check) => check.clone(),
                None if view.strategy.is_some() => "its children to be ready".to_owned(),
                None => "its program to run".to_owned(),
            }),
            ChildState::BackingOff { .. } => Some("its restart".to_owned()),
            ChildState::Stopping { .. } => Some("its end".to_owned()),
            ChildState::Idle(_) | ChildState::Running => None,
        }
    }

    fn about(&self, view: &ChildView) -> String {
        let left = remaining(&view.state).map(|left| match view.state {
            ChildState::Stopping { .. } => format!(" (next stage in {})", rounded(left)),
            ChildState::BackingOff { .. } => format!(" in {}", rounded(left)),
            _ => format!(" (for at most {} more)", rounded(left)),
        });
        let waits =
            self.waiting_for(view).map(|what| format!("waits for {what}{}", left.unwrap_or_default()));
        let manual = view.state == ChildState::Idle(IdleReason::NotWanted) && view.spec.manual;
        let manual = manual.then(|| "manual: starts when it is asked for".to_owned());
        let exit = view.last_exit.as_ref().map(|exit| format!("last exit: {exit}"));
        let title = view.title().map(|title| format!("\"{title}\""));
        let parts: Vec<String> = title.into_iter().chain(waits).chain(manual).chain(exit).collect();
        one_line(&parts.join("; ")).into_owned()
    }
}

/// Collects the readiness probe of each program as text.
fn collect_checks(supervisor: &SupervisorConfig, above: &str, checks: &mut HashMap<String, String>) {
    for child in &supervisor.children {
        let path = format!("{above}/{}", child.name);
        match &child.form {
            Form::Program(program) => {
                checks.extend(program.ready.iter().map(|probe| (path.clone(), probe.to_string())))
            }
            Form::Supervisor(supervisor) => collect_checks(supervisor, &path, checks),
            Form::Kind(_) => {}
        }
    }
}

/// Returns the state as one word. A child whose supervisor is not up is stopped.
fn word(state: &ChildState) -> &'static str {
    match state.as_str() {
        "down" => "stopped",
        word => word,
    }
}

/// Returns the remaining time of a state that has a limit.
fn remaining(state: &ChildState) -> Option<Duration> {
    match state {
        ChildState::Waiting { remaining, .. }
        | ChildState::Starting { remaining }
        | ChildState::Stopping { remaining, .. } => *remaining,
        ChildState::BackingOff { remaining } => Some(*remaining),
        ChildState::Idle(_) | ChildState::Running => None,
    }
}

/// Returns a time for people: in milliseconds below ten seconds, else in seconds.
fn rounded(time: Duration) -> String {
    let unit = if time < Duration::from_secs(10) { 1 } else { 1000 };
    let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    format_duration(Duration::from_millis(millis / unit * unit))
}

/// Returns a moment as `2026-01-31T23:59:59.123Z`.
fn rfc_3339(moment: SystemTime) -> String {
    let since = moment.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, seconds) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    // Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", civil_from_days: years begin in March, so that a leap
    // day is the last day of its year. An era has 400 years.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let millis = since.subsec_millis();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_written_in_utc_with_milliseconds() {
        for (seconds, written) in [
            (0, "1970-01-01T00:00:00.007Z"),
            (951_782_400, "2000-02-29T00:00:00.007Z"),
            (1_709_251_199, "2024-02-29T23:59:59.007Z"),
            (4_107_542_400, "2100-03-01T00:00:00.007Z"),
        ] {
            let moment = UNIX_EPOCH + Duration::from_secs(seconds) + Duration::from_millis(7);
            assert_eq!(rfc_3339(moment), written);
        }
    }
}
