//! Who gave a command and why, and where a child was declared.

use crate::text::bounded_text;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;

/// A short text of at most [`Text::MAX_BYTES`] bytes. A longer one is cut, and ends with `…`. Line breaks and other control
/// characters become spaces. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Text(Arc<str>);

impl Text {
    /// The most bytes of a text.
    pub const MAX_BYTES: usize = 256;

    /// Creates a text from a value.
    #[must_use]
    pub fn new(value: impl fmt::Display) -> Self {
        Self(bounded_text(&value, Self::MAX_BYTES).replace(char::is_control, " ").into())
    }

    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

/// Who gave a command, and why. Both are texts of the caller; Liveoak only shows them: in the events that follow from the
/// command, in the history, and in the report of the tree's end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Origin {
    /// Who gave the command, for example `ci` or the name of a person.
    pub by: Option<Text>,
    /// The reason, for example `deploy`.
    pub because: Option<Text>,
}

impl Origin {
    /// Returns `true` if neither an actor nor a reason is given.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.by.is_none() && self.because.is_none()
    }
}

impl fmt::Display for Origin {
    /// Writes `by ci: deploy`, as far as it is known.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.by, &self.because) {
            (Some(by), Some(because)) => write!(f, "by {by}: {because}"),
            (Some(by), None) => write!(f, "by {by}"),
            (None, Some(because)) => write!(f, "because: {because}"),
            (None, None) => Ok(()),
        }
    }
}

/// Where a child was declared: in a file, or in code. Two values are always equal, so that two specs are equal wherever they
/// were declared.
#[derive(Clone, Default)]
pub struct DeclaredAt(Place);

#[derive(Clone, Default)]
enum Place {
    #[default]
    Unknown,
    Code(&'static Location<'static>),
    File(Arc<str>, usize),
}

impl DeclaredAt {
    /// Returns the place of the caller in the code.
    #[must_use]
    #[track_caller]
    pub const fn caller() -> Self {
        Self(Place::Code(Location::caller()))
    }

    /// Returns a line of a file, counted from 1.
    #[must_use]
    pub fn file(file: impl Into<Arc<str>>, line: usize) -> Self {
        Self(Place::File(file.into(), line))
    }

    /// Returns `false` if the place is not known.
    #[must_use]
    pub const fn is_known(&self) -> bool {
        !matches!(self.0, Place::Unknown)
    }

    /// Returns this place, or `other` if this place is not known.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        if self.is_known() { self } else { other }
    }
}

impl fmt::Display for DeclaredAt {
    /// Writes `FILE:LINE`, and for code also the column.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Place::Unknown => f.write_str("unknown"),
            Place::Code(location) => location.fmt(f),
            Place::File(file, line) => write!(f, "{file}:{line}"),
        }
    }
}

impl fmt::Debug for DeclaredAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl PartialEq for DeclaredAt {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for DeclaredAt {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_actor_and_a_reason_are_one_line_of_a_bounded_length() {
        let origin = Origin { by: Some("ci\nrm -rf".into()), because: Some(Text::new("x".repeat(1000))) };
        assert!(!origin.is_empty() && Origin::default().is_empty());
        let text = origin.to_string();
        assert!(text.starts_with("by ci rm -rf: xxx") && text.ends_with('…'), "{text}");
        assert!(text.len() <= 2 * Text::MAX_BYTES + 5 && !text.contains(char::is_control));
    }

    #[test]
    fn specs_are_equal_wherever_they_were_declared() {
        let (file, code) = (DeclaredAt::file("liveoak.toml", 7), DeclaredAt::caller());
        assert_eq!(file, code);
        assert_eq!(file.to_string(), "liveoak.toml:7");
        assert!(code.to_string().contains("origin.rs:"), "{code}");
        assert_eq!(DeclaredAt::default().or(file).to_string(), "liveoak.toml:7");
    }
}
