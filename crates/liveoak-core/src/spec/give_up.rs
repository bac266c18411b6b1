//! What happens when a limit is exceeded.

use std::fmt;
use std::time::Duration;

/// What happens when a limit is exceeded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GiveUp {
    /// The supervisor stops all its children and fails; its own supervisor decides what follows.
    #[default]
    Escalate,
    /// The child stays down, visibly, until a command or the next start of its supervisor starts it; its siblings go on.
    Quarantine {
        /// The time after which one trial attempt is made: more than zero. With `None` there is no trial.
        ///
        /// A stable run or a success of the trial ends the quarantine. A trial that fails goes straight back into
        /// quarantine, and the next trial is made after the same time. It counts against no limit, and restarts no
        /// sibling. Until the trial is stable, the child is unhealthy, and siblings that come `after` it wait.
        retry_after: Option<Duration>,
    },
}

impl GiveUp {
    /// A quarantine without a trial attempt.
    pub const QUARANTINE: Self = Self::Quarantine { retry_after: None };

    /// One value for each word, in the order in which messages list them.
    pub const ALL: &'static [Self] = &[Self::Escalate, Self::QUARANTINE];

    /// Returns the word for the value, without the time of the trial.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Escalate => "escalate",
            Self::Quarantine { .. } => "quarantine",
        }
    }

    /// Returns what the value means: one or two sentences, for pages and editors.
    #[must_use]
    pub const fn description(self) -> &'static str {
        match self {
            Self::Escalate => {
                "The supervisor stops all its children and fails; its own supervisor decides what follows."
            }
            Self::Quarantine { .. } => {
                "The child stays down, visibly, until a command, the next start of its supervisor, or a trial attempt \
                 after `retry_after` starts it; its siblings go on."
            }
        }
    }

    /// Returns the time after which a trial attempt is made.
    #[must_use]
    pub const fn retry_after(self) -> Option<Duration> {
        match self {
            Self::Escalate => None,
            Self::Quarantine { retry_after } => retry_after,
        }
    }
}

impl fmt::Display for GiveUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
