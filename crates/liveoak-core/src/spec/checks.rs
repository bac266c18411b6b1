//! Checks: what is asked of a child again and again, how often, and what counts as failed.
//!
//! The driver asks; the machine decides when, and what follows. The rules are in `machine/checks.rs`.

use super::Source;
use crate::Name;
use std::time::Duration;

/// The most checks that one child may have.
pub const MAX_CHECKS: usize = 64;

/// The beginning of the name that replaces a name that is not allowed. The check of the specs refuses such a name.
const INVALID_NAME: &str = "(invalid name ";

/// What follows from a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CheckKind {
    /// The child is ready when the check has passed. The check ends then. Until then no other check runs, and the start
    /// deadline of the child applies.
    Startup,
    /// While the check fails, the child is not ready, but it continues to run.
    Readiness,
    /// When the check fails, the child is stopped, which counts as a failure.
    Liveness,
}

impl CheckKind {
    /// Returns the kind as one word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Startup => "startup",
            Self::Readiness => "readiness",
            Self::Liveness => "liveness",
        }
    }
}

/// A check of a child. One *try* asks once. A try fails if its answer is an error, or if there is no answer in time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckSpec {
    /// The name, unique among the checks of the child.
    pub name: Name,
    /// What follows from the check.
    pub kind: CheckKind,
    /// The time from the beginning of one try to the beginning of the next, more than zero. A try never begins before the
    /// previous one is over.
    pub every: Duration,
    /// How long a try may take, more than zero. A try without an answer by then has failed.
    pub timeout: Duration,
    /// How many tries in a row must fail until the check fails, at least 1. When a startup check fails, the start has
    /// failed.
    pub failures: u32,
    /// How many tries in a row must pass until a check that has not passed yet, or that fails, passes: at least 1. A
    /// liveness check that fails ends the attempt, so for liveness this is 1.
    pub successes: u32,
    /// How long the first try is delayed, from the moment at which the child is ready; for a startup check, from the start
    /// of the attempt, or from the moment at which the child itself reports that it is ready.
    pub delay: Duration,
    /// Where `every` and `failures` come from.
    pub sources: CheckSources,
}

/// Where settings of a check come from. All values of this type are equal, as those of [`Sources`](super::Sources) are.
#[derive(Clone, Copy, Debug, Default)]
pub struct CheckSources {
    /// Of `every`.
    pub every: Source,
    /// Of `failures`.
    pub failures: Source,
}

impl PartialEq for CheckSources {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for CheckSources {}

impl CheckSpec {
    /// The default of `every`: 10 s.
    pub const DEFAULT_EVERY: Duration = Duration::from_secs(10);
    /// The default of `timeout`: 1 s.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(1);
    /// The default of `failures` for readiness and liveness: 3. A startup check has no limit by default.
    pub const DEFAULT_FAILURES: u32 = 3;

    /// Creates a check with the defaults: every 10 s, 1 s for an answer, 3 failures, 1 success, without delay. A
    /// startup check has no limit of failures.
    #[must_use]
    pub const fn new(name: Name, kind: CheckKind) -> Self {
        let failures = match kind {
            CheckKind::Startup => u32::MAX,
            CheckKind::Readiness | CheckKind::Liveness => Self::DEFAULT_FAILURES,
        };
        let (every, timeout) = (Self::DEFAULT_EVERY, Self::DEFAULT_TIMEOUT);
        let sources = CheckSources { every: Source::BuiltIn, failures: Source::BuiltIn };
        Self { name, kind, every, timeout, failures, successes: 1, delay: Duration::ZERO, sources }
    }

    /// Sets how often the check is tried, as a setting of the check itself.
    pub const fn set_every(&mut self, every: Duration) {
        (self.every, self.sources.every) = (every, Source::Own);
    }

    /// Sets how many tries in a row must fail, as a setting of the check itself.
    pub const fn set_failures(&mut self, failures: u32) {
        (self.failures, self.sources.failures) = (failures, Source::Own);
    }

    /// Sets the name. A name that is not allowed is an error when the specs are checked.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        let invalid = |_| {
            let mut text = format!("{INVALID_NAME}{name:?})").replace('/', "|");
            text.truncate(text.floor_char_boundary(Name::MAX_BYTES));
            Name::new(text.trim())
        };
        if let Ok(name) = Name::new(name).or_else(invalid) {
            self.name = name;
        }
        self
    }

    /// Returns what is wrong with the check: the field, and the reason.
    pub(super) fn problems(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let liveness = self.kind == CheckKind::Liveness;
        let wrong_name = self.name.as_str().starts_with(INVALID_NAME);
        [
            (
                wrong_name,
                "checks.name",
                "a name has 1 to 128 bytes, without `/`, control characters, or white space at its ends",
            ),
            (self.every.is_zero(), "checks.every", "it is zero; expected more"),
            (
                self.timeout.is_zero(),
                "checks.timeout",
                "it is zero, so no answer could be in time; expected more",
            ),
            (
                self.failures == 0,
                "checks.failures",
                "it is zero, so the check would always fail; expected at least 1",
            ),
            (self.successes == 0, "checks.successes", "it is zero; expected at least 1"),
            (
                liveness && self.successes > 1,
                "checks.successes",
                "a liveness check that fails restarts the child, so it never has to pass again; expected 1",
            ),
        ]
        .into_iter()
        .filter_map(|(wrong, field, reason)| wrong.then_some((field, reason)))
    }
}
