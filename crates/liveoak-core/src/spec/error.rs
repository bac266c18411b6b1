//! What can be wrong with a spec, as data: a caller that knows where each field was written can render it there.

use super::{MAX_CHILDREN, MAX_DEPTH};
use crate::{Limit, Name, NameError, Path};
use std::fmt;
use std::time::Duration;

/// One broken rule. It prints as `path: field: problem`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecError {
    /// The child (or supervisor) whose spec is wrong.
    pub path: Path,
    /// The field, as it is called in the spec. A field inside another is `outer.inner`.
    pub field: &'static str,
    /// What is wrong with it.
    pub problem: SpecProblem,
}

impl fmt::Display for SpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.path, self.field, self.problem)
    }
}

/// Everything that is wrong with a tree's spec. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecErrors(pub Vec<SpecError>);

impl fmt::Display for SpecErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("; ")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for SpecErrors {}

/// What is wrong with one field, with the values that a message needs. It prints as one sentence with the value and what
/// was expected.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SpecProblem {
    /// The text cannot be a name.
    Name(NameError),
    /// Two children of one supervisor have the same name.
    NameTwice {
        /// The name.
        name: Name,
        /// The positions of the two children among their siblings, counted from 1.
        children: (usize, usize),
    },
    /// The supervisor is nested deeper than a tree may be.
    TooDeep,
    /// The supervisor has more than [`MAX_CHILDREN`] children.
    TooManyChildren {
        /// How many it has.
        count: usize,
    },
    /// The limit of the backoff is below its begin.
    BackoffFallsBelow {
        /// The first delay's ceiling.
        from: Duration,
        /// The ceiling of all delays.
        to: Duration,
    },
    /// The child is significant and permanent, so it never ends.
    SignificantIsPermanent,
    /// The child is significant, and its supervisor's `auto_shutdown` is never.
    SignificantHasNoEffect,
    /// The child comes after itself.
    AfterItself,
    /// The child comes after a sibling that does not exist.
    UnknownSibling {
        /// The name that no sibling has.
        sibling: Name,
    },
    /// The child waits until a permanent sibling completes.
    NeverCompletes {
        /// The permanent sibling.
        sibling: Name,
    },
    /// Siblings wait for each other in a circle.
    Circle {
        /// The names: each child waits for the next, the last one for the first. Never empty.
        children: Vec<Name>,
    },
    /// The number of restarts is neither countable nor unlimited.
    TooManyRestarts {
        /// The number.
        restarts: u32,
    },
    /// Another value or combination that is refused: what it would mean, and what was expected.
    Refused(&'static str),
}

impl fmt::Display for SpecProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Name(error) => return error.fmt(f),
            Self::NameTwice { name, children: (first, second) } => {
                return write!(
                    f,
                    "the name {name:?} is used twice: by child {first} and by child {second} of this supervisor"
                );
            }
            Self::TooDeep => return write!(f, "supervisors are nested deeper than {MAX_DEPTH} levels"),
            Self::TooManyChildren { count } => {
                return write!(f, "{count} children are too many: at most {MAX_CHILDREN}, or a group");
            }
            Self::BackoffFallsBelow { from, to } => {
                return write!(f, "`to` is {to:?}, which is less than `from`, {from:?}");
            }
            Self::UnknownSibling { sibling } => {
                return write!(f, "there is no sibling called {:?}", sibling.as_str());
            }
            Self::NeverCompletes { sibling } => {
                return write!(
                    f,
                    "{sibling:?} is permanent, so it never completes; expected transient or temporary"
                );
            }
            Self::Circle { children } => return circle(children, f),
            Self::TooManyRestarts { restarts } => {
                let most = Limit::MAX_RESTARTS;
                return write!(f, "{restarts} restarts are too many to count; at most {most}, or unlimited");
            }
            Self::Refused(reason) => reason,
            Self::SignificantIsPermanent => {
                "a permanent child cannot be significant: it is always restarted, so it never ends"
            }
            Self::SignificantHasNoEffect => {
                "a significant child has no effect under a supervisor whose auto_shutdown is never"
            }
            Self::AfterItself => "a child cannot come after itself",
        };
        f.write_str(text)
    }
}

/// How many names of a circle are written at its begin and at its end.
const MAX_OF_CIRCLE: usize = 12;

/// Writes "children wait for each other in a circle: a after b after a". The middle of a long circle is left out.
fn circle(children: &[Name], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let names: Vec<&str> = children.iter().chain(children.first()).map(Name::as_str).collect();
    f.write_str("children wait for each other in a circle: ")?;
    if names.len() <= 2 * MAX_OF_CIRCLE {
        return f.write_str(&names.join(" after "));
    }
    let (head, tail) = (&names[..MAX_OF_CIRCLE], &names[names.len() - MAX_OF_CIRCLE..]);
    let left_out = names.len() - 2 * MAX_OF_CIRCLE;
    write!(f, "{} after ({left_out} more) after {}", head.join(" after "), tail.join(" after "))
}
