//! The answer to "what does this child do now, and why?", as a value that prints as one screen.

use crate::{
    Attempt, CheckSpec, ChildId, ChildSpec, ChildState, CommandRecord, DeclaredAt, Edge, ExitRecord, Health,
    LimitUse, Path, PollLimit, Ready, RestartCodes, Source, Span, Strategy, StuckPoll, Time,
};
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The most children that an explanation lists as waited for. The others are counted.
pub const MAX_WAITS: usize = 16;

/// How many exits and commands are printed: those that came last.
const PRINTED: usize = 8;

/// What a child does now, and why. Its `Display` is one screen of text, for a person. Times are shown as distances from `at`.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The path of the child.
    pub path: Path,
    /// The id of the child.
    pub id: ChildId,
    /// The moment of the explanation.
    pub at: Time,
    /// The state of the child.
    pub state: ChildState,
    /// When the child entered this state.
    pub since: Time,
    /// The reason of the state, as one sentence.
    pub why: String,
    /// The children for which the child waits, at most [`MAX_WAITS`]: before its start, its siblings; a supervisor that
    /// starts or stops waits for its own children.
    pub waiting_for: Vec<Wait>,
    /// How many more children it waits for.
    pub more_waits: usize,
    /// The time until the deadline of the state: of the start, of the stage of a stop, or of a wait that would fail the first
    /// start of the supervisor. `None` if there is none.
    pub deadline: Option<Duration>,
    /// `true` if it is paused: what ends is not started again.
    pub paused: bool,
    /// The last attempt; 0 if none was begun.
    pub attempt: Attempt,
    /// The number of restarts after attempts that ended by themselves.
    pub restarts: u64,
    /// The health of the child.
    pub health: Health,
    /// The poll that takes too long, if the child is stuck.
    pub stuck: Option<Arc<StuckPoll>>,
    /// The use of the limit that counts for the child: its own, or the intensity of its supervisor. `None` if none counts.
    pub window: Option<LimitUse>,
    /// `true` if `window` is the intensity of the supervisor, which counts the restarts of all its children.
    pub window_is_shared: bool,
    /// For a supervisor with an intensity: how much of it is used up.
    pub intensity: Option<LimitUse>,
    /// The next delay of a child that backs off.
    pub backoff: Option<BackoffUse>,
    /// The last exits, the earliest first. Kept from the first failure on.
    pub exits: Arc<VecDeque<ExitRecord>>,
    /// The last commands on the child and on the supervisors above it, the earliest first.
    pub commands: Vec<Arc<CommandRecord>>,
    /// What is declared of the child.
    pub spec: Arc<ChildSpec>,
    /// For supervisors, their strategy.
    pub strategy: Option<Strategy>,
    /// Where the child was declared.
    pub origin: DeclaredAt,
}

/// A child for which another child waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// The child that is waited for.
    pub path: Path,
    /// What it must be: `started`, `ready`, `healthy`, `completed`, or `down`.
    pub condition: &'static str,
    /// What it is now: the word of its [`ChildState`].
    pub state: &'static str,
    /// When it entered this state.
    pub since: Time,
    /// The longest time that the wait can still take; `None` if it has no bound.
    pub remaining: Option<Duration>,
}

/// The delay of a child that backs off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackoffUse {
    /// The time until the next attempt.
    pub next: Duration,
    /// The number of restarts in a row, including the next one; 0 for a child without backoff.
    pub nth: u32,
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ago = |at: Time| Span(self.at.since(at));
        let description = self.spec.description.as_deref();
        let title = description.and_then(|description| description.title.as_deref());
        let title = title.map_or_else(String::new, |title| format!(" ({title})"));
        writeln!(f, "{}{title} is {} for {}", self.path, self.state.as_str(), ago(self.since))?;
        line(f, "why", &self.why)?;
        for (nth, wait) in self.waiting_for.iter().enumerate() {
            line(f, if nth == 0 { "waits for" } else { "" }, &wait.shown(self.at))?;
        }
        if self.more_waits > 0 {
            line(f, "", &format!("… and {} more", self.more_waits))?;
        }
        if let Some(left) = self.deadline {
            line(f, "deadline", &format!("in {}", Span(left)))?;
        }
        if let Some(BackoffUse { next, nth }) = self.backoff {
            line(f, "backoff", &format!("next attempt in {}, restart {nth} in a row", Span(next)))?;
        }
        if self.paused && !matches!(self.state, ChildState::Idle(_)) {
            line(f, "paused", "it is not started again when it ends")?;
        }
        let restarts = match self.restarts {
            0 => String::new(),
            1 => ", 1 restart".to_owned(),
            restarts => format!(", {restarts} restarts"),
        };
        line(f, "attempt", &format!("{}{restarts}", self.attempt))?;
        line(f, "health", self.health.as_str())?;
        if let Some(stuck) = &self.stuck {
            line(f, "stuck", &stuck.to_string())?;
            stuck.stack_lines().try_for_each(|function| line(f, "", &format!("in {function}")))?;
        }
        if let Some(window) = self.window {
            let whose = if self.window_is_shared { ", of all children of its supervisor" } else { "" };
            line(f, "limit", &format!("{window}{whose}"))?;
        }
        if let Some(intensity) = self.intensity {
            line(f, "intensity", &format!("{intensity}, of its children"))?;
        }
        for (nth, exit) in self.exits.iter().rev().take(PRINTED).enumerate() {
            let (attempt, ran) = (exit.attempt, Span(exit.ran));
            let stopped = if exit.stopped_by_others { ", stopped" } else { "" };
            let text = format!("{} ago: attempt {attempt} ran {ran}{stopped}: {}", ago(exit.at), exit.text);
            line(f, if nth == 0 { "exits" } else { "" }, &text)?;
        }
        for (nth, command) in self.commands.iter().rev().take(PRINTED).enumerate() {
            let path = if command.path == self.path { String::new() } else { format!("{}: ", command.path) };
            let text = format!("{} ago: {path}{command}", ago(command.at));
            line(f, if nth == 0 { "commands" } else { "" }, &text)?;
        }
        let what = description.map(ToString::to_string).unwrap_or_default();
        if !what.is_empty() {
            line(f, "what", &what)?;
        }
        line(f, "declared", &self.declared())?;
        let inherited = self.inherited();
        if !inherited.is_empty() {
            line(f, "from", &inherited)?;
        }
        if self.origin.is_known() { line(f, "at", &self.origin.to_string()) } else { Ok(()) }
    }
}

impl Explanation {
    /// Returns which settings come from the role, the criticality or inherited defaults, as one line.
    fn inherited(&self) -> String {
        let ChildSpec { sources, limit, checks, .. } = &*self.spec;
        let give_up = limit.map_or(Source::BuiltIn, |limit| limit.give_up_source);
        let check = |of: fn(&CheckSpec) -> Source| {
            checks.iter().flat_map(|checks| checks.iter()).map(of).max().unwrap_or_default()
        };
        let settings = [
            ("restart", sources.restart),
            ("backoff", sources.backoff),
            ("limit", sources.limit),
            ("give-up", give_up),
            ("start deadline", sources.start_within),
            ("stop deadline", sources.stop_within),
            ("wait after a kill", sources.kill_wait),
            ("drain", sources.unready_for),
            ("interval of checks", check(|check| not_own(check.sources.every))),
            ("failures of checks", check(|check| not_own(check.sources.failures))),
        ];
        let from = |source: Source| {
            let of = settings.iter().filter(|(_, from)| *from == source).map(|(setting, _)| *setting);
            let of: Vec<&str> = of.collect();
            (!of.is_empty()).then(|| format!("{source}: {}", of.join(", ")))
        };
        let sources = [Source::Role, Source::Criticality, Source::Defaults, Source::File, Source::Own];
        let parts: Vec<String> = sources.into_iter().filter_map(from).collect();
        // A child whose settings are all its own or built in needs no line.
        let only_own = parts.iter().all(|part| part.starts_with(Source::Own.as_str()));
        if only_own { String::new() } else { parts.join("; ") }
    }

    /// Returns what is declared, as one line.
    fn declared(&self) -> String {
        let spec = &self.spec;
        let mut parts = vec![spec.restart.as_str().to_owned()];
        parts.extend(self.strategy.map(|strategy| strategy.as_str().to_owned()));
        parts.push(spec.backoff.map_or_else(
            || "no backoff".to_owned(),
            |backoff| format!("backoff {} to {}", Span(backoff.from), Span(backoff.to)),
        ));
        if let Some(limit) = spec.limit {
            parts.push(format!("then {}", limit.give_up.as_str()));
        }
        let mut bound = |what: &str, within: Duration| {
            if within != Duration::MAX {
                parts.push(format!("{what} {}", Span(within)));
            }
        };
        if spec.ready == Ready::Reported || self.strategy.is_some() {
            bound("ready within", spec.start_within);
        }
        bound("stop within", spec.stop_within);
        bound("run within", spec.run_within.unwrap_or(Duration::MAX));
        if !spec.unready_for.is_zero() {
            bound("unready for", spec.unready_for);
        }
        if let Some(period) = spec.heartbeat {
            bound("heartbeat every", period);
        }
        let polls = |limit: PollLimit| {
            format!("polls within {}, then {}", Span(limit.longest), limit.when_stuck.as_str())
        };
        parts.extend(spec.poll_limit.map(polls));
        let codes = |codes: &RestartCodes| format!("restart codes {:?}", codes.codes);
        parts.extend(spec.restart_codes.as_deref().map(codes));
        let is_needed = |edge: &&Edge| spec.needs.iter().any(|need| need.child == edge.child);
        let only_after = spec.after.iter().filter(|edge| !is_needed(edge));
        parts.extend(only_after.map(|edge| format!("after {} {}", edge.child, edge.condition)));
        parts.extend(
            spec.needs.iter().map(|need| format!("needs {} (grace {})", need.child, Span(need.grace))),
        );
        parts.join(", ")
    }
}

/// Returns the source, or the default if the check itself is the source: then another check may have another source.
fn not_own(source: Source) -> Source {
    if source == Source::Own { Source::default() } else { source }
}

impl Wait {
    fn shown(&self, now: Time) -> String {
        let Self { path, condition, state, since, remaining } = self;
        let bound = remaining.map_or_else(String::new, |left| format!(", at most {} more", Span(left)));
        format!("{path} to be {condition}; it is {state} for {}{bound}", Span(now.since(*since)))
    }
}

/// Writes one line: a name of at most nine letters, and a text. The lines of a text of several lines are joined.
fn line(f: &mut fmt::Formatter<'_>, name: &str, text: &str) -> fmt::Result {
    write!(f, "  {name:<9} ")?;
    for (nth, part) in text.lines().map(str::trim).filter(|part| !part.is_empty()).enumerate() {
        write!(f, "{}{part}", if nth == 0 { "" } else { " " })?;
    }
    writeln!(f)
}
