//! What happened to a child and to its tree before: the last exits, the last commands, and the use of limits.

use crate::exit::FAILED;
use crate::text::BoundedText;
use crate::{Attempt, ChildId, Exit, LimitExceeded, Origin, Path, Time};
use std::collections::VecDeque;
use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

/// The most exits that a child may keep ([`ChildSpec::history`](crate::ChildSpec::history)).
pub const MAX_HISTORY: u8 = 64;

/// How many commands a tree keeps: the last ones.
pub const MAX_KEPT_COMMANDS: usize = 32;

/// The most bytes of the text of a kept exit. A longer text is cut, and ends with `…`.
pub const MAX_EXIT_TEXT_BYTES: usize = 512;

/// The exit of an earlier attempt, as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExitRecord {
    /// The attempt.
    pub attempt: Attempt,
    /// When it ended.
    pub at: Time,
    /// How long it ran.
    pub ran: Duration,
    /// The kind of its exit, as one word: see [`Exit::kind`].
    pub kind: &'static str,
    /// The text of its exit, at most [`MAX_EXIT_TEXT_BYTES`] of it.
    pub text: String,
    /// `true` if the exit is a failure.
    pub failed: bool,
    /// `true` if a command, a restart set or the supervisor stopped the attempt.
    pub stopped_by_others: bool,
}

impl ExitRecord {
    /// Returns the record of an exit. Its text uses the memory of the text `used`, whose content is lost.
    pub(crate) fn new(
        attempt: Attempt,
        at: Time,
        ran: Duration,
        exit: &Exit,
        stopped_by_others: bool,
        used: String,
    ) -> Self {
        let text = bounded_exit_text(exit, used);
        Self { attempt, at, ran, kind: exit.kind(), text, failed: exit.is_failure(), stopped_by_others }
    }
}

/// Returns the text of an exit, at most [`MAX_EXIT_TEXT_BYTES`] of it, in the memory of the text `used`.
fn bounded_exit_text(exit: &Exit, mut used: String) -> String {
    used.clear();
    if let Exit::Failed(failure) = exit {
        let bytes = FAILED.len() + failure.text().len();
        // A child may fail very often, and the text of a failure exists already: it is copied and not formatted.
        if bytes <= MAX_EXIT_TEXT_BYTES {
            used.reserve_exact(bytes);
            used.push_str(FAILED);
            used.push_str(failure.text());
            return used;
        }
    }
    let mut out = BoundedText::in_memory_of(used, MAX_EXIT_TEXT_BYTES);
    // Once the text is cut, the writer refuses the rest.
    let _ = write!(out, "{exit}");
    out.into_text()
}

/// A command that a tree was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandRecord {
    /// When it was given.
    pub at: Time,
    /// The child.
    pub path: Path,
    /// The id of the child.
    pub id: ChildId,
    /// The command, as one word: `start`, `stop`, `restart`, `remove`, `add` or, for the whole tree, `stop` or `kill`.
    pub command: &'static str,
    /// Who gave it, and why; empty if the caller did not say so.
    pub origin: Arc<Origin>,
    /// Why it was refused at once; `None` if it was carried out.
    pub refused: Option<String>,
}

impl fmt::Display for CommandRecord {
    /// Writes `restart by ci: deploy`, and whether it was refused.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.command)?;
        if !self.origin.is_empty() {
            write!(f, " {}", self.origin)?;
        }
        match &self.refused {
            Some(refused) => write!(f, " (refused: {refused})"),
            None => Ok(()),
        }
    }
}

/// The first failure of a tree: no child had failed by itself before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstFailure {
    /// The child.
    pub path: Path,
    /// The exit of its attempt.
    pub exit: ExitRecord,
}

/// How much of a limit is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitUse {
    /// The restarts within the last `period`.
    pub used: u32,
    /// The restarts that are allowed within `period`, and for the limit of a child also the failures in a row.
    pub limit: u32,
    /// The period of the limit.
    pub period: Duration,
    /// The failures in a row, with neither a stable run nor a success between them. Always 0 for an intensity.
    pub in_a_row: u32,
}

impl fmt::Display for LimitUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { used, limit, period, in_a_row } = self;
        write!(f, "{used} of {limit} restarts in {}", Span(*period))?;
        match in_a_row {
            0 => Ok(()),
            1 => f.write_str(", 1 failure in a row"),
            _ => write!(f, ", {in_a_row} failures in a row"),
        }
    }
}

/// What happened to a child before. A child to which nothing has happened has none.
#[derive(Clone, Debug, Default)]
pub struct ChildHistory {
    /// The last exits, the earliest first; at most [`ChildSpec::history`](crate::ChildSpec::history). They are kept from the
    /// first failure on.
    pub exits: Arc<VecDeque<ExitRecord>>,
    /// The use of its own limit. `None` if it has no limit of its own, or if none of the limit is used up.
    pub limit: Option<LimitUse>,
    /// For a supervisor with an intensity: how much of it the restarts of its children have used up.
    pub intensity: Option<LimitUse>,
    /// The number of restarts in a row that the backoff counts.
    pub backoff_steps: u32,
    /// The limit that the child exceeded, because of which it was given up on. `None` if it was not.
    pub gave_up: Option<Arc<LimitExceeded>>,
    /// The last command that was carried out on the child.
    pub command: Option<Arc<CommandRecord>>,
}

/// A length of time for people: `120ms`, `1.5s`, `12s`, `3m 5s`, `2h 5m`, `3d 4h`.
#[derive(Clone, Copy, Debug)]
pub struct Span(pub Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, millis) = (self.0.as_secs(), self.0.subsec_millis());
        let two = |f: &mut fmt::Formatter<'_>, large, unit, small, smaller| match small {
            0 => write!(f, "{large}{unit}"),
            small => write!(f, "{large}{unit} {small}{smaller}"),
        };
        match seconds {
            0 => write!(f, "{millis}ms"),
            1..10 if millis >= 100 => write!(f, "{seconds}.{}s", millis / 100),
            1..60 => write!(f, "{seconds}s"),
            60..3600 => two(f, seconds / 60, 'm', seconds % 60, 's'),
            3600..86_400 => two(f, seconds / 3600, 'h', seconds % 3600 / 60, 'm'),
            _ => two(f, seconds / 86_400, 'd', seconds % 86_400 / 3600, 'h'),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_shown_in_its_two_largest_units() {
        for (millis, shown) in [
            (0, "0ms"),
            (999, "999ms"),
            (1_000, "1s"),
            (1_540, "1.5s"),
            (10_900, "10s"),
            (60_000, "1m"),
            (185_000, "3m 5s"),
            (7_500_000, "2h 5m"),
            (273_600_000, "3d 4h"),
        ] {
            assert_eq!(Span(Duration::from_millis(millis)).to_string(), shown);
        }
    }
    #[test]
    fn a_kept_exit_has_the_text_of_its_exit_whatever_memory_it_takes() {
        let long = "é".repeat(MAX_EXIT_TEXT_BYTES);
        let exits = [
            Exit::Completed,
            Exit::Code(7),
            Exit::failed("boom"),
            Exit::failed(""),
            Exit::failed("x".repeat(MAX_EXIT_TEXT_BYTES - 8)),
            Exit::failed("x".repeat(MAX_EXIT_TEXT_BYTES - 7)),
            Exit::failed(long),
        ];
        for exit in &exits {
            let shown = crate::bounded_text(exit, MAX_EXIT_TEXT_BYTES);
            for used in ["", "an earlier text", &"y".repeat(MAX_EXIT_TEXT_BYTES)] {
                let kept = bounded_exit_text(exit, used.to_owned());
                assert_eq!(kept, shown, "in the memory of {} bytes", used.len());
            }
        }
    }
}
