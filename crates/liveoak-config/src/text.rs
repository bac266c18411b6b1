//! Pieces of text that messages are made of.

use std::borrow::Cow;

/// Appends a key to a path, quoted where TOML would need it.
pub(crate) fn join(parent: &str, key: &str) -> String {
    let bare = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    let key = if bare { key.to_owned() } else { format!("\"{}\"", escaped(key)) };
    if parent.is_empty() { key } else { format!("{parent}.{key}") }
}

/// Returns a text from the file for use in a message: escaped, and cut if it is long.
pub(crate) fn escaped(text: &str) -> String {
    const LONGEST: usize = 64;
    let mut out: String = text.chars().take(LONGEST).flat_map(char::escape_debug).collect();
    if text.chars().count() > LONGEST {
        out.push('…');
    }
    out
}

/// Returns a text as one line that a terminal prints as it is. Control characters, which names of files and arguments may contain, are
/// escaped, so that they give a terminal no orders.
#[must_use]
pub fn one_line(text: &str) -> Cow<'_, str> {
    if !text.chars().any(char::is_control) {
        return Cow::Borrowed(text);
    }
    let escaped = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    Cow::Owned(text.chars().map(escaped).collect())
}

/// Returns "one of `a`, `b`, `c`".
pub(crate) fn one_of<'w>(words: impl IntoIterator<Item = &'w str>) -> String {
    let words: Vec<String> = words.into_iter().map(|word| format!("`{word}`")).collect();
    match words.as_slice() {
        [only] => only.clone(),
        _ => format!("one of {}", words.join(", ")),
    }
}

/// Returns the name of a child in a message.
pub(crate) fn child_called(name: &str) -> String {
    format!("child `{}`", escaped(name))
}

/// The longest name that is compared with others, in bytes; longer names get no suggestion.
const MAX_COMPARED: usize = 128;

/// Returns the name among `candidates` that `name` was probably meant to be.
pub(crate) fn near_miss<'c>(name: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    if name.len() > MAX_COMPARED {
        return None;
    }
    let name = name.to_lowercase().replace('-', "_");
    let allowed = (name.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| {
            let lower = candidate.to_lowercase().replace('-', "_");
            (strsim::damerau_levenshtein(&name, &lower), candidate)
        })
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::{PROGRAM, ROOT, SUPERVISOR};

    #[test]
    fn a_similar_key_is_suggested_and_a_different_one_is_not() {
        assert_eq!(near_miss("restrat", PROGRAM.names()), Some("restart"));
        assert_eq!(near_miss("auto-shutdown", ROOT.names()), Some("auto_shutdown"));
        assert_eq!(near_miss("Backoff", SUPERVISOR.names()), Some("backoff"));
        assert_eq!(near_miss("colour", PROGRAM.names()), None);
    }
}
