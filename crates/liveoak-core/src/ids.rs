//! The names, paths and numbers that identify a child, one of its attempts, or a request.

use std::fmt;
use std::sync::Arc;

/// The name of a child among its siblings: 1 to 128 bytes, without `/`, without control characters, without white space
/// at its ends, and neither `.` nor `..`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

impl Name {
    /// The length of the longest name, in bytes. Chosen so that a path of usual depth fits on one line.
    pub const MAX_BYTES: usize = 128;

    /// Creates a name from `text`.
    ///
    /// # Errors
    /// When the text breaks one of the rules of [`Name`]; the error says which one.
    pub fn new(text: impl Into<Arc<str>>) -> Result<Self, NameError> {
        let text = text.into();
        let fault = if text.is_empty() {
            Some("it is empty")
        } else if text.len() > Self::MAX_BYTES {
            Some("it is longer than 128 bytes")
        } else if text.contains('/') {
            Some("it contains `/`, which separates the names of a path")
        } else if text.chars().any(char::is_control) {
            Some("it contains a control character")
        } else if text.trim() != &*text {
            Some("it begins or ends with white space")
        } else if &*text == "." || &*text == ".." {
            Some("`.` and `..` are not names")
        } else {
            None
        };
        match fault {
            Some(fault) => Err(NameError { name: text, fault }),
            None => Ok(Self(text)),
        }
    }

    /// Returns the name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// A text that cannot be the name of a child.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameError {
    /// The refused text.
    pub name: Arc<str>,
    /// The rule that it breaks.
    pub fault: &'static str,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} cannot be the name of a child: {}", self.name, self.fault)
    }
}

impl std::error::Error for NameError {}

/// The position of a child in its tree, as text: `/shop/ingest/kafka`. The first name is the root's.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path(Arc<str>);

impl Path {
    /// Creates a path from `text`, with a leading `/` if it has none. A child at this path need not exist.
    #[must_use]
    pub fn new(text: &str) -> Self {
        if text.starts_with('/') { Self(text.into()) } else { Self(format!("/{text}").into()) }
    }

    /// Returns the path as text, with its leading `/`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the names of the path, the root's first.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.split('/').skip(1)
    }

    /// Returns the last name of the path.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }

    /// Returns the path of the child called `name` below this one.
    #[must_use]
    pub fn join(&self, name: &str) -> Self {
        Self(format!("{}/{name}", self.0).into())
    }
}

impl From<&str> for Path {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<String> for Path {
    fn from(text: String) -> Self {
        Self::new(&text)
    }
}

impl From<&Path> for Path {
    fn from(path: &Path) -> Self {
        path.clone()
    }
}

/// Names and paths print as their text.
macro_rules! print_as_text {
    ($($type:ident)+) => {$(
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    )+};
}

print_as_text!(Name Path);

/// The id of one child of one tree, never used for another child.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChildId {
    /// The slot in which the child's state is kept. Drivers may use it as an index.
    pub slot: u32,
    /// The number of children that were in this slot before.
    pub serial: u32,
}

/// The number of one run of a child: 1, 2, 3 … for each child, never reused. `Attempt(0)` means that no attempt was
/// begun.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attempt(pub u64);

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The id of a request. The driver chooses it for a command, and the machine returns it with the reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_would_break_a_path_is_refused_with_the_reason() {
        for (text, word) in
            [("", "empty"), ("a/b", "`/`"), ("a\nb", "control"), (" a", "white space"), ("..", "not names")]
        {
            let error = Name::new(text).expect_err(text).to_string();
            assert!(error.contains(word), "{text:?}: {error}");
        }
        assert!(Name::new("x".repeat(129)).is_err());
        assert!(Name::new("x".repeat(128)).is_ok());
        assert!(Name::new("db.1").is_ok());
    }

    #[test]
    fn a_path_consists_of_its_names() {
        let path = Path::new("shop/ingest").join("kafka");
        assert_eq!(path.as_str(), "/shop/ingest/kafka");
        assert_eq!(path.names().collect::<Vec<_>>(), ["shop", "ingest", "kafka"]);
        assert_eq!(path.name(), "kafka");
    }
}
