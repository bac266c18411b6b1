//! Texts that user code makes, within a bound: of errors with their sources, of panics.

use std::error::Error;
use std::fmt::{self, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The most sources of an error that are read: a chain may lead back to itself.
const MAX_SOURCES: usize = 64;

const CUT: &str = "…";

/// A text with a limit on its bytes. A longer text is cut, and ends with `…`.
pub(crate) struct BoundedText {
    text: String,
    max: usize,
    is_cut: bool,
}

impl BoundedText {
    /// Returns an empty text that takes at most `max` bytes.
    const fn new(max: usize) -> Self {
        Self::in_memory_of(String::new(), max)
    }

    /// Returns an empty text that takes at most `max` bytes, in the memory of the empty text `text`.
    pub(crate) const fn in_memory_of(text: String, max: usize) -> Self {
        Self { text, max, is_cut: false }
    }

    pub(crate) fn into_text(self) -> String {
        self.text
    }
}

impl fmt::Write for BoundedText {
    /// Fails once the text is cut, so that a `Display` without an end ends.
    fn write_str(&mut self, more: &str) -> fmt::Result {
        if self.is_cut {
            return Err(fmt::Error);
        }
        if more.len() <= self.max - self.text.len() {
            // Most texts come in one piece. Such a text gets exactly the memory that it needs.
            if self.text.capacity() == 0 {
                self.text = more.to_owned();
            } else {
                self.text.push_str(more);
            }
            return Ok(());
        }
        self.is_cut = true;
        let room = self.max.saturating_sub(CUT.len());
        // The end of the text may have to be cut to make room for the `…`.
        let kept = self.text.floor_char_boundary(room);
        self.text.truncate(kept);
        let end = more.floor_char_boundary(room - kept);
        self.text.push_str(&more[..end]);
        self.text.push_str(CUT);
        Err(fmt::Error)
    }
}

/// Returns the text of a value, cut to `max` bytes.
#[must_use]
pub fn bounded_text(value: &dyn fmt::Display, max: usize) -> String {
    let mut out = BoundedText::new(max);
    let _ = write!(out, "{value}");
    out.text
}

/// Returns the text of an error and its sources, joined by colons and cut to `max` bytes. A source is left out if the
/// text before it already contains its text. Catches panics of the error's code, and mentions them in the text.
#[must_use]
pub fn error_text(error: &(dyn Error + 'static), max: usize) -> String {
    let mut out = BoundedText::new(max);
    let rendered = guarded(|| write_chain(error, &mut out));
    if !rendered {
        let _ = out.write_str(" (the error panicked while its text was made)");
    }
    out.text
}

fn write_chain(error: &(dyn Error + 'static), out: &mut BoundedText) {
    write_own_text(error, out);
    let mut next = error.source();
    let mut before = next.map(|_| out.text.clone()).unwrap_or_default();
    for _ in 0..MAX_SOURCES {
        let Some(error) = next else { return };
        let mut own = BoundedText::new(out.max);
        write_own_text(error, &mut own);
        // Many errors write their source into their own text. It is shown once.
        if !contains_words(&before, &own.text) && write!(out, ": {}", own.text).is_err() {
            return;
        }
        before = own.text;
        next = error.source();
    }
}

fn write_own_text(error: &dyn Error, out: &mut BoundedText) {
    if write!(out, "{error}").is_err() && !out.is_cut {
        let _ = out.write_str("(an error whose text cannot be made)");
    }
}

/// Returns `true` if a text contains another one that neither begins nor ends inside a word of it.
fn contains_words(text: &str, part: &str) -> bool {
    let inside_word = |at: usize| {
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let (before, after) = text.split_at(at);
        before.ends_with(is_word) && after.starts_with(is_word)
    };
    // Matches may overlap.
    let mut starts = text.char_indices().map(|(at, _)| at);
    part.is_empty()
        || starts.any(|at| text[at..].starts_with(part) && !inside_word(at) && !inside_word(at + part.len()))
}

/// Runs code of the user. Returns `false` if it panicked.
fn guarded(f: impl FnOnce()) -> bool {
    let Err(payload) = catch_unwind(AssertUnwindSafe(f)) else { return true };
    // The payload is the user's too. If its destructor panics, that second payload is leaked; otherwise this could go on without end.
    if let Err(another) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        std::mem::forget(another);
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_counts_as_contained_only_in_whole_words() {
        for (text, part, told) in [
            ("cannot open the reported file", "port", false),
            ("no such port", "port", true),
            ("no such port: 7", "port", true),
            ("port_7", "port", false),
            ("a reported port", "port", true),
            ("connect: refused (os error 111)", "refused (os error 111)", true),
            ("error 1117", "error 111", false),
            ("xaa aa", "aa", true),
            ("überall", "all", false),
            ("x (a)", "(a)", true),
            ("x(a)y", "(a)", true),
            ("a, a, ab, a, a", "a, a", true),
            ("xa a a", "a a", true),
            ("anything", "", true),
            ("", "a", false),
        ] {
            assert_eq!(contains_words(text, part), told, "{part:?} in {text:?}");
        }
    }

    #[test]
    fn a_long_text_is_cut_between_characters_and_ends_with_an_ellipsis() {
        for (text, max, bounded) in [
            ("1234", 4, "1234"),
            ("12345", 4, "1…"),
            ("éééé", 8, "éééé"),
            ("ééééé", 8, "éé…"),
            ("12345", 3, "…"),
        ] {
            assert_eq!(bounded_text(&text, max), bounded);
        }
        let mut pieces = BoundedText::new(4);
        assert!(pieces.write_str("123").is_ok() && pieces.write_str("4").is_ok());
        assert!(pieces.write_str("5").is_err() && pieces.write_str("").is_err());
        assert_eq!(pieces.text, "1…");
    }
}
