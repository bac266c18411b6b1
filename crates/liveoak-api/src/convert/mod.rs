//! Converts the library's values to wire types. No other module does.
//!
//! A [`Converter`] belongs to one look at a tree: it knows the tree, its run, and the moment. `event` and `spec` hold
//! the parts that are long; `metrics` counts and measures what the readers of metrics see.

mod event;
mod metrics;
mod spec;

pub use self::metrics::{Counters, Family, MAX_SERIES, Sample, families};

use self::event::of_kind;
use self::spec::{kind, reports_health, spec, window};
use crate::{
    Backoff, Check, CheckAnswer, Child, CommandRecord, CommandResult, Event, Exit, ExitRecord, Explanation,
    FirstFailure, Health, Outcome, PlanStep, Problem, Report, State, Status, StoppedChild, Timestamp, Tree,
    TreeFailure, TreeState, WaitingFor, seconds,
};
use liveoak_runtime as lib;
use liveoak_runtime::{
    BodyKind, ChildState, ChildView, Condition, IdleReason, Path, Refusal, Snapshot, Time, TreeHandle,
    TreePhase,
};
use std::sync::Arc;
use std::time::Duration;

/// Converts the values of one tree to wire types.
#[derive(Debug)]
pub struct Converter<'a> {
    tree: &'a TreeHandle,
    run: u64,
    now: Time,
}

/// What a status says of the program that runs the tree.
#[derive(Clone, Debug, Default)]
pub struct About {
    /// The file that declares the tree, or the program that contains it.
    pub file: Option<String>,
    /// The number of events that were lost.
    pub events_lost: u64,
}

impl<'a> Converter<'a> {
    /// Returns the converter for a look at `tree` now. `run` is the number of the run, for the ids of events.
    #[must_use]
    pub fn new(tree: &'a TreeHandle, run: u64) -> Self {
        Self { tree, run, now: tree.now() }
    }

    fn moment(&self, time: Time) -> Timestamp {
        Timestamp(self.tree.to_system_time(time))
    }

    /// Returns a whole tree.
    #[must_use]
    pub fn tree(&self, snapshot: &Snapshot) -> Tree {
        let root = self.child(&snapshot.root, true);
        Tree { run: self.run, n: snapshot.number, at: self.moment(snapshot.at), root }
    }

    /// Returns all children of a snapshot as a flat list, supervisors before their children.
    #[must_use]
    pub fn flat(&self, snapshot: &Snapshot) -> Vec<Child> {
        snapshot.nodes().map(|view| self.child(view, false)).collect()
    }

    /// Returns one child, with the children below it if they are `nested`.
    #[must_use]
    pub fn child(&self, view: &ChildView, nested: bool) -> Child {
        let text = |text: &Arc<str>| text.to_string();
        let children = || view.children.iter().map(|child| self.child(child, true)).collect();
        Child {
            path: view.path.to_string(),
            title: view.title().map(str::to_owned),
            kind: kind(&view.spec, view.strategy.is_some()).to_owned(),
            state: state(&view.state),
            why: view.state.as_str().to_owned(),
            paused: view.paused,
            health: health(view.health),
            health_reason: view.health_reason.as_ref().map(text),
            ready: view.ready,
            attempt: view.attempt.0,
            restarts: view.restarts,
            pid: self.tree.pid(view.id, view.attempt),
            since: self.moment(view.since),
            state_s: seconds(self.now.since(view.since)),
            remaining_s: remaining(&view.state).map(seconds),
            waiting_for: waiting_for(view).into_iter().collect(),
            last_exit: view.last_exit.as_ref().map(exit),
            tags: view.tags().iter().map(text).collect(),
            role: view.role().map(|role| role.as_str().to_owned()),
            criticality: view.criticality().map(|criticality| criticality.as_str().to_owned()),
            strategy: view.strategy.map(|strategy| strategy.as_str().to_owned()),
            retry_s: view.retry_in.map(seconds),
            trial: view.trial,
            reports_health: reports_health(&view.spec),
            exact: None,
            stuck: view.stuck.as_ref().map(ToString::to_string),
            stack: view.stuck.as_deref().map(stack).unwrap_or_default(),
            checks: self.checks(view),
            children: (nested && is_parent(view)).then(children),
        }
    }

    fn checks(&self, view: &ChildView) -> Vec<Check> {
        let check = |check: &lib::CheckView| Check {
            check: check.name.to_string(),
            kind: check.kind.as_str().to_owned(),
            failing: check.failing,
            tries: check.tries,
            failures: check.failures,
            at: check.last.as_ref().map(|(at, _)| self.moment(*at)),
            answer: check
                .last
                .as_ref()
                .and_then(|(_, answer)| answer.as_ref().err())
                .map(ToString::to_string),
        };
        view.checks.iter().map(check).collect()
    }

    /// Returns how the whole tree is.
    #[must_use]
    pub fn status(&self, snapshot: &Snapshot, about: About) -> Status {
        let whole = self.tree.health();
        let leaves = || snapshot.nodes().filter(|view| !is_parent(view));
        let count = |wanted: fn(&ChildView) -> bool| leaves().filter(|view| wanted(view)).count() as u64;
        let stuck = snapshot.nodes().filter(|view| view.stuck.is_some());
        Status {
            tree: snapshot.root.path.name().to_owned(),
            pid: std::process::id(),
            file: about.file,
            state: phase(whole.state),
            ready: whole.state == TreePhase::Alive && snapshot.root.ready,
            health: health(whole.health),
            since: self.moment(whole.since),
            began: self.moment(Time::ZERO),
            children: count(|_| true),
            running: count(|view| view.state == ChildState::Running),
            failing: count(is_failing),
            mode: self.tree.mode().map(|mode| mode.to_string()),
            modes: self.tree.modes().iter().map(ToString::to_string).collect(),
            failure: whole.failure.as_ref().map(failure),
            blocked_by: stuck.map(|view| view.path.to_string()).collect(),
            run: self.run,
            events_lost: about.events_lost,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    /// Returns an event.
    #[must_use]
    pub fn event(&self, event: &lib::Event) -> Event {
        let origin = event.origin.as_deref();
        let description = event.description.as_deref();
        let base = Event {
            run: self.run,
            n: event.number,
            at: Some(self.moment(event.at)),
            path: Some(event.path.to_string()),
            kind: event.kind.name().to_owned(),
            severity: Some(severity(event.severity).to_owned()),
            text: Some(lib::internal::event_text(event)),
            by: origin.and_then(|origin| origin.by.as_ref()).map(ToString::to_string),
            because: origin.and_then(|origin| origin.because.as_ref()).map(ToString::to_string),
            title: description.and_then(|of| of.title.as_ref()).map(ToString::to_string),
            tags: description.map(|of| of.tags.iter().map(ToString::to_string).collect()).unwrap_or_default(),
            ..Event::default()
        };
        of_kind(base, &event.kind, self.tree)
    }

    /// Returns an explanation. `checks` are those of the child's view.
    #[must_use]
    pub fn explanation(&self, of: &lib::Explanation, view: Option<&ChildView>) -> Explanation {
        let wait = |wait: &lib::Wait| WaitingFor {
            path: wait.path.to_string(),
            condition: wait.condition.to_owned(),
            state: Some(wait.state.to_owned()),
            since: Some(self.moment(wait.since)),
            remaining_s: wait.remaining.map(seconds),
        };
        Explanation {
            path: of.path.to_string(),
            state: state(&of.state),
            since: self.moment(of.since),
            why: of.why.clone(),
            waiting_for: of.waiting_for.iter().map(wait).collect(),
            more_waits: of.more_waits as u64,
            deadline_s: of.deadline.map(seconds),
            paused: of.paused,
            attempt: of.attempt.0,
            restarts: of.restarts,
            health: health(of.health),
            stuck: of.stuck.as_ref().map(ToString::to_string),
            stack: of.stuck.as_deref().map(stack).unwrap_or_default(),
            window: of.window.map(|used| window(used, of.window_is_shared)),
            intensity: of.intensity.map(|used| window(used, true)),
            backoff: of.backoff.map(|backoff| Backoff { next_s: seconds(backoff.next), nth: backoff.nth }),
            exits: of.exits.iter().map(|exit| self.exit_record(exit)).collect(),
            commands: of.commands.iter().map(|command| self.command_record(command)).collect(),
            checks: view.map(|view| self.checks(view)).unwrap_or_default(),
            spec: spec(&of.spec, of.strategy.map(lib::Strategy::as_str)),
            origin: of.origin.is_known().then(|| of.origin.to_string()),
            text: of.to_string(),
        }
    }

    /// Returns the exit of an earlier attempt.
    #[must_use]
    pub fn exit_record(&self, of: &lib::ExitRecord) -> ExitRecord {
        ExitRecord {
            attempt: of.attempt.0,
            at: self.moment(of.at),
            ran_s: seconds(of.ran),
            kind: of.kind.to_owned(),
            failure: of.failed,
            text: of.text.clone(),
            stopped_by_others: of.stopped_by_others,
        }
    }

    fn command_record(&self, of: &lib::CommandRecord) -> CommandRecord {
        CommandRecord {
            at: self.moment(of.at),
            path: of.path.to_string(),
            command: of.command.to_owned(),
            by: of.origin.by.as_ref().map(ToString::to_string),
            because: of.origin.because.as_ref().map(ToString::to_string),
            refused: of.refused.clone(),
        }
    }

    /// Returns how the tree has ended.
    #[must_use]
    pub fn report(&self, root: &Path, of: &lib::FinalReport) -> Report {
        let stopped = |entry: &lib::StopEntry| StoppedChild {
            path: entry.path.to_string(),
            took_s: seconds(entry.took),
            stage: entry.stage.as_str().to_owned(),
            exit: entry.exit.as_ref().map(exit),
            stuck: entry.stuck.as_ref().map(ToString::to_string),
        };
        let first = |first: &lib::FirstFailure| FirstFailure {
            path: first.path.to_string(),
            exit: self.exit_record(&first.exit),
        };
        Report {
            tree: root.to_string(),
            state: phase(of.state),
            exit: exit(&of.exit),
            began: Timestamp(of.began),
            ended: Timestamp(of.ended),
            took_s: seconds(of.stop.took),
            clean: of.stop.is_clean(),
            asked: of.asked.as_ref().map(|command| self.command_record(command)),
            first_failure: of.first_failure.as_deref().map(first),
            failure: of.failure.as_ref().map(failure),
            children: of.stop.entries.iter().map(stopped).collect(),
            unlisted: of.stop.unlisted,
            unlisted_forced: of.stop.unlisted_forced,
        }
    }

    /// Returns what came of a command on the child at `path`, which was at `before` when the command was given.
    #[must_use]
    pub fn result(&self, path: &Path, before: u64, result: &Result<lib::Outcome, Refusal>) -> CommandResult {
        let view = self.tree.child(path.clone()).ok().and_then(|child| child.view());
        let (outcome, attempt, error) = match result {
            Ok(done) => (outcome(done), attempt_of(done).unwrap_or(before), None),
            Err(Refusal::Failed(exit)) => {
                let problem = Problem::new("start-failed", format!("{path}: the attempt failed: {exit}"));
                // The attempt that the command made. The child may have had further ones since.
                (Outcome::Failed, before + 1, Some(problem.path(path.to_string())))
            }
            Err(refusal) => (Outcome::Refused, before, Some(problem(path, refusal))),
        };
        let state = view.as_ref().map(|view| state(&view.state));
        CommandResult { path: path.to_string(), outcome, attempt, state, reason: None, error }
    }
}

/// Returns `true` if the child has, or may have, children of its own.
#[must_use]
pub fn is_parent(view: &ChildView) -> bool {
    view.strategy.is_some() || view.spec.body == BodyKind::Group
}

/// Returns `true` if the child has failed and is not up again, or is unhealthy.
#[must_use]
pub fn is_failing(view: &ChildView) -> bool {
    let has_failed = || view.last_exit.as_ref().is_some_and(lib::Exit::is_failure);
    match &view.state {
        ChildState::BackingOff { .. } => has_failed(),
        ChildState::Idle(IdleReason::Quarantined) => true,
        ChildState::Idle(IdleReason::Finished) => has_failed(),
        _ => view.health == lib::Health::Unhealthy,
    }
}

/// Returns the word for the state of a child.
#[must_use]
pub const fn state(state: &ChildState) -> State {
    match state {
        ChildState::Waiting { .. } => State::Waiting,
        ChildState::Starting { .. } => State::Starting,
        ChildState::Running => State::Running,
        ChildState::BackingOff { .. } => State::BackingOff,
        ChildState::Stopping { .. } => State::Stopping,
        ChildState::Idle(IdleReason::Finished | IdleReason::Ignored) => State::Finished,
        ChildState::Idle(IdleReason::Quarantined) => State::Quarantined,
        ChildState::Idle(IdleReason::Paused) => State::Paused,
        ChildState::Idle(_) => State::Stopped,
    }
}

const fn remaining(state: &ChildState) -> Option<Duration> {
    match state {
        ChildState::Waiting { remaining, .. }
        | ChildState::Starting { remaining }
        | ChildState::Stopping { remaining, .. } => *remaining,
        ChildState::BackingOff { remaining } => Some(*remaining),
        ChildState::Idle(_) | ChildState::Running => None,
    }
}

/// Returns the functions of the stack of a poll.
fn stack(poll: &lib::StuckPoll) -> Vec<String> {
    poll.stack_lines().map(str::to_owned).collect()
}

fn waiting_for(view: &ChildView) -> Option<WaitingFor> {
    let ChildState::Waiting { what, remaining } = &view.state else { return None };
    let (name, condition) = match what {
        lib::WaitingFor::Turn(name) => (name, Condition::Ready.as_str()),
        lib::WaitingFor::Edge(name, condition) => (name, condition.as_str()),
        lib::WaitingFor::RestartBackoff(name) => (name, Condition::Started.as_str()),
        _ => return None,
    };
    let above = view.path.as_str().rsplit_once('/').map_or("", |(above, _)| above);
    Some(WaitingFor {
        path: format!("{above}/{name}"),
        condition: condition.to_owned(),
        state: None,
        since: None,
        remaining_s: remaining.map(seconds),
    })
}

/// Returns a health.
#[must_use]
pub const fn health(health: lib::Health) -> Health {
    match health {
        lib::Health::Unknown => Health::Unknown,
        lib::Health::Healthy => Health::Healthy,
        lib::Health::Degraded => Health::Degraded,
        lib::Health::Unhealthy => Health::Unhealthy,
    }
}

/// Returns the state of a tree.
#[must_use]
pub const fn phase(phase: TreePhase) -> TreeState {
    match phase {
        TreePhase::Starting => TreeState::Starting,
        TreePhase::Alive => TreeState::Alive,
        TreePhase::Stopping => TreeState::Stopping,
        TreePhase::Completed => TreeState::Completed,
        TreePhase::Failed => TreeState::Failed,
    }
}

const fn severity(severity: lib::Severity) -> &'static str {
    match severity {
        lib::Severity::Debug => "debug",
        lib::Severity::Info => "info",
        lib::Severity::Warn => "warn",
        lib::Severity::Error => "error",
    }
}

fn failure(of: &lib::TreeFailure) -> TreeFailure {
    TreeFailure {
        phase: phase(of.phase),
        reason: of.reason.clone(),
        panicked: of.panicked,
        recoverable: of.recoverable,
    }
}

/// Returns an exit.
#[must_use]
pub fn exit(of: &lib::Exit) -> Exit {
    let mut exit = Exit {
        kind: of.kind().to_owned(),
        failure: of.is_failure(),
        text: of.to_string(),
        code: None,
        signal: None,
        location: None,
        backtrace: None,
    };
    match of {
        lib::Exit::Code(code) => exit.code = Some(*code),
        lib::Exit::Signal { signal, .. } => exit.signal = Some(*signal),
        lib::Exit::Panicked(panic) => {
            exit.location.clone_from(&panic.location);
            exit.backtrace.clone_from(&panic.backtrace);
        }
        _ => {}
    }
    exit
}

const fn outcome(of: &lib::Outcome) -> Outcome {
    match of {
        lib::Outcome::Ready { .. } => Outcome::Ready,
        lib::Outcome::Ignored => Outcome::Ignored,
        lib::Outcome::Finished { .. } => Outcome::Finished,
        lib::Outcome::Removed(_) => Outcome::Removed,
        lib::Outcome::Paused => Outcome::Paused,
        lib::Outcome::Resumed => Outcome::Resumed,
        lib::Outcome::Quarantined(_) => Outcome::Quarantined,
        lib::Outcome::Exited { .. } | lib::Outcome::Stopped(_) => Outcome::Stopped,
    }
}

const fn attempt_of(of: &lib::Outcome) -> Option<u64> {
    match of {
        lib::Outcome::Ready { attempt, .. } | lib::Outcome::Exited { attempt, .. } => Some(attempt.0),
        _ => None,
    }
}

/// Returns the problem of a refusal.
#[must_use]
pub fn problem(path: &Path, refusal: &Refusal) -> Problem {
    let code = match refusal {
        Refusal::NotFound => "no-such-child",
        Refusal::NotDown { .. } => "not-down",
        Refusal::NotQuarantined { .. } => "not-quarantined",
        Refusal::Down { .. } => "down",
        Refusal::SupervisorDown => "supervisor-down",
        Refusal::IsRoot => "root",
        Refusal::OnlyOnce => "only-once",
        Refusal::Busy => "busy",
        Refusal::TreeEnded => "tree-ended",
        Refusal::Failed(_) => "start-failed",
        Refusal::StillRuns(_) => "still-runs",
        Refusal::WaitsFor { .. } => "waits-for",
        Refusal::KeptDown { .. } => "kept-down",
        Refusal::Superseded { .. } => "superseded",
        _ => "refused",
    };
    // The child that must be up first is the one to look at.
    let about = match refusal {
        Refusal::WaitsFor { path: other } | Refusal::KeptDown { path: other, .. } => other,
        _ => path,
    };
    Problem::new(code, format!("{path}: {refusal}")).path(about.to_string())
}

/// Returns the answer of a check.
#[must_use]
pub fn check_answer(of: &lib::CheckAnswer) -> CheckAnswer {
    CheckAnswer {
        path: of.path.to_string(),
        check: of.check.to_string(),
        kind: of.kind.as_str().to_owned(),
        ok: of.ok(),
        took_s: seconds(of.took),
        answer: of.answer.as_ref().err().map(ToString::to_string),
    }
}

/// Returns a step of the plan of a command.
#[must_use]
pub fn planned_step(of: &lib::PlannedStep) -> PlanStep {
    let (step, reason) = match &of.step {
        lib::Step::Do(command) => (command.as_str(), format!("it is {}", of.state)),
        lib::Step::With(above) => ("keep", format!("included in {above}")),
        lib::Step::Keep(why) | lib::Step::Cannot(why) => ("keep", (*why).to_owned()),
        _ => ("keep", String::new()),
    };
    PlanStep { path: of.path.to_string(), step: step.to_owned(), reason, state: Some(of.state.to_owned()) }
}

/// Returns a step of the plan of a mode.
#[must_use]
pub fn plan_step(of: &lib::PlanStep) -> PlanStep {
    PlanStep {
        path: of.path.to_string(),
        step: of.step.as_str().to_owned(),
        reason: of.reason.clone(),
        state: None,
    }
}
