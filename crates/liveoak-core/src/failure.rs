//! The error that an attempt returned, as text.
//!
//! An error is user code: its `Display`, `source` and destructor may block, panic, or call the tree. So the task that
//! returned the error renders it once, when the exit is made. After that, the tree uses only the text.

use crate::text::error_text;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// The most bytes of a failure's text. A longer text is cut, and ends with `…`.
pub const MAX_FAILURE_BYTES: usize = 4096;

/// The error that an attempt returned, with its chain of sources, as text of at most 4 KiB.
pub struct Failure {
    text: String,
    error: HeldError,
    retryable: bool,
}

/// The error that a failure holds.
enum HeldError {
    None,
    /// The error as the attempt returned it. Without a destructor, no code of the user runs when the error is dropped.
    Own {
        error: Box<dyn Error + Send + Sync>,
        has_destructor: bool,
    },
    /// An error that a driver keeps.
    Kept(Arc<dyn FailureError>),
}

/// Holds an error for a failure. With a holder of its own, a driver decides where the error is dropped. Without one, the
/// error is dropped with its failure.
pub trait FailureError: Send + Sync {
    /// Returns the error.
    fn error(&self) -> &(dyn Error + Send + Sync + 'static);
}

impl Failure {
    pub(crate) fn new<E: Into<Box<dyn Error + Send + Sync>>>(error: E, retryable: bool) -> Self {
        // The name is only compared with the name of `String`, which has no code of the user in its destructor.
        let is_text = std::any::type_name::<E>() == std::any::type_name::<String>();
        let has_destructor = std::mem::needs_drop::<E>() && !is_text;
        let error = error.into();
        Self {
            text: error_text(&*error, MAX_FAILURE_BYTES),
            error: HeldError::Own { error, has_destructor },
            retryable,
        }
    }

    /// Returns a failure with the same text. It holds `error`, or no error if that is `None`.
    #[must_use]
    pub fn with_error(&self, error: Option<Arc<dyn FailureError>>) -> Self {
        let error = error.map_or(HeldError::None, HeldError::Kept);
        Self { text: self.text.clone(), error, retryable: self.retryable }
    }

    /// Takes the error out, so that it can be dropped elsewhere.
    pub fn take_error(&mut self) -> Option<Box<dyn Send>> {
        match std::mem::replace(&mut self.error, HeldError::None) {
            HeldError::None => None,
            HeldError::Own { error, .. } => Some(error),
            HeldError::Kept(error) => Some(Box::new(error)),
        }
    }

    /// Returns `false` if no code of the user runs when the error is dropped: there is none, or it was made of a text or
    /// of a value without a destructor.
    #[must_use]
    pub const fn has_destructor(&self) -> bool {
        match &self.error {
            HeldError::None => false,
            HeldError::Own { has_destructor, .. } => *has_destructor,
            HeldError::Kept(_) => true,
        }
    }

    /// Returns the text of the error and its sources, joined by colons. A source is left out if the text before it
    /// already contains the text of the source.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns `false` if every later attempt fails in the same way, unless files or the configuration are changed.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        self.retryable
    }

    /// Returns the error itself, for downcasting. Returns `None` if the child does not
    /// [keep](crate::ChildSpec::keep_error) its errors.
    #[must_use]
    pub fn error(&self) -> Option<&(dyn Error + Send + Sync + 'static)> {
        match &self.error {
            HeldError::None => None,
            HeldError::Own { error, .. } => Some(&**error),
            HeldError::Kept(error) => Some(error.error()),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Exit;

    #[derive(Debug)]
    struct Shown(&'static str, Option<Box<Shown>>);

    impl fmt::Display for Shown {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            match self.0 {
                "panics" => panic!("a text that panics"),
                "fails" => Err(fmt::Error),
                "endless" => loop {
                    f.write_str("é")?;
                },
                text => f.write_str(text),
            }
        }
    }

    impl Error for Shown {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            if self.0 == "round and round" { Some(self) } else { self.1.as_deref().map(|source| source as _) }
        }
    }

    fn text(chain: &[&'static str]) -> String {
        let chain = chain.iter().rev().fold(None, |source, text| Some(Box::new(Shown(text, source))));
        Exit::failed(*chain.expect("an error")).to_string()
    }

    #[test]
    fn an_error_is_shown_with_its_sources_and_without_repetitions() {
        for (chain, shown) in [
            (&["no such port", "invalid digit"] as &[_], "failed: no such port: invalid digit"),
            (&["no such port: invalid digit", "invalid digit"], "failed: no such port: invalid digit"),
            (&["a: b: c", "b: c", "c"], "failed: a: b: c"),
            (&["a: b", "b", "c"], "failed: a: b: c"),
            (&["a", "a: b", "b"], "failed: a: a: b"),
            (&["cannot open the reported file", "port"], "failed: cannot open the reported file: port"),
            (&["round and round"], "failed: round and round"),
            (&["a", "fails"], "failed: a: (an error whose text cannot be made)"),
        ] {
            assert_eq!(text(chain), shown);
        }
    }

    #[test]
    fn an_error_whose_text_panics_is_still_a_failure() {
        assert_eq!(text(&["panics"]), "failed:  (the error panicked while its text was made)");
        assert_eq!(text(&["a", "panics"]), "failed: a (the error panicked while its text was made)");
    }

    #[test]
    fn the_text_of_an_error_has_at_most_4_kib() {
        let Exit::Failed(failure) = Exit::failed(Shown("endless", None)) else { unreachable!("a failure") };
        assert!(failure.text().len() > MAX_FAILURE_BYTES - 4 && failure.text().len() <= MAX_FAILURE_BYTES);
        assert!(failure.text().ends_with("é…"));
        let long = "x".repeat(3 * MAX_FAILURE_BYTES);
        let Exit::Failed(failure) = Exit::failed(long) else { unreachable!("a failure") };
        assert_eq!(failure.text().len(), MAX_FAILURE_BYTES);
    }

    #[test]
    fn a_failure_without_its_error_keeps_the_text() {
        let Exit::Failed(failure) = Exit::failed(Shown("boom", None)) else { unreachable!("a failure") };
        assert!(failure.error().is_some_and(|error| error.is::<Shown>()));
        let text = failure.with_error(None);
        assert!(text.error().is_none());
        assert_eq!(text.to_string(), "boom");
        assert_eq!(format!("{text:?}"), "\"boom\"");
    }
}
