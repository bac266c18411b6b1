//! How the declaration of a tree is read again.

use liveoak_runtime::{Path, Supervisor};
use std::fmt;
use std::sync::Arc;

/// Why there is no declaration. Nothing was done.
///
/// Every error can be turned into one: its text is shown to the caller.
#[derive(Debug)]
pub struct ReloadError {
    pub(crate) code: &'static str,
    pub(crate) detail: String,
    pub(crate) text: Option<String>,
    pub(crate) near: Option<String>,
}

impl ReloadError {
    /// Returns the error of a declaration with errors: one sentence, and all errors with their places.
    pub fn wrong(headline: impl Into<String>, errors: impl Into<String>) -> Self {
        Self { text: Some(errors.into()), ..Self::new("bad-file", headline) }
    }

    /// Returns the error of a declaration that can never be read again.
    pub fn never(why: impl Into<String>) -> Self {
        Self::new("no-file", why)
    }

    /// Returns the error of a child that cannot have this number of replicas.
    pub fn cannot_scale(why: impl Into<String>) -> Self {
        Self::new("cannot-scale", why)
    }

    /// Returns the error of a child that the declaration does not have. `near` is the path that was probably meant.
    pub fn no_such_child(path: &Path, near: Option<String>) -> Self {
        Self { near, ..Self::new("no-such-child", format!("the declaration has no child {path}")) }
    }

    fn new(code: &'static str, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), text: None, near: None }
    }

    /// Returns one sentence.
    #[must_use]
    pub fn headline(&self) -> &str {
        &self.detail
    }

    /// Returns the errors of the declaration with their places, if there are any.
    #[must_use]
    pub fn errors(&self) -> Option<&str> {
        self.text.as_deref()
    }
}

impl<E: std::error::Error> From<E> for ReloadError {
    fn from(error: E) -> Self {
        Self::wrong("the declaration of the tree has errors", error.to_string())
    }
}

/// Reads a declaration again, with other numbers of replicas for some of its children.
#[derive(Clone)]
pub(crate) struct Reader(pub(crate) Arc<ReadAgain>);

type ReadAgain = dyn Fn(&[(Path, u32)]) -> Result<Supervisor, ReloadError> + Send + Sync;

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reader")
    }
}
