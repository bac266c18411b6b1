//! What can be wrong with a spec, as data: a caller that knows where each field was written can render it there.

use crate::{Name, NameError, Path};
use std::borrow::Cow;
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
    /// The backoff ends below its begin.
    BackoffFallsBelow {
        /// The ceiling of the first delay.
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
    /// The child comes after this sibling, which does not exist.
    UnknownSibling(Name),
    /// The child waits until this sibling completes, which is permanent.
    NeverCompletes(Name),
    /// Siblings wait for each other in a circle: each waits for the next, the last one for the first. Never empty.
    Circle(Vec<Name>),
    /// Another value or combination that is refused: what it would mean, and what was expected.
    Refused(Cow<'static, str>),
}

impl fmt::Display for SpecProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(error) => error.fmt(f),
            Self::BackoffFallsBelow { from, to } => {
                write!(f, "`to` is {to:?}, which is less than `from`, {from:?}")
            }
            Self::SignificantIsPermanent => f.write_str(
                "a permanent child cannot be significant: it is always restarted, so it never ends",
            ),
            Self::SignificantHasNoEffect => f.write_str(
                "a significant child has no effect under a supervisor whose auto_shutdown is never",
            ),
            Self::AfterItself => f.write_str("a child cannot come after itself"),
            Self::UnknownSibling(sibling) => write!(f, "there is no sibling called {sibling:?}"),
            Self::NeverCompletes(sibling) => {
                write!(f, "{sibling:?} is permanent, so it never completes; expected transient or temporary")
            }
            Self::Circle(children) => circle(children, f),
            Self::Refused(reason) => f.write_str(reason),
        }
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
