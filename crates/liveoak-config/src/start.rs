//! The key `start`: whether a child starts with its supervisor.

use crate::types::Word;

/// When a child starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    Auto,
    Manual,
}

impl Word for Start {
    const ALL: &'static [Self] = &[Self::Auto, Self::Manual];

    fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Manual => "manual",
        }
    }

    fn meaning(self) -> &'static str {
        match self {
            Self::Auto => "With its supervisor.",
            Self::Manual => {
                "Only when it is asked for: by command, by a mode that names it, or by a sibling that comes `after` it."
            }
        }
    }
}
