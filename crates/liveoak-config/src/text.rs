//! Pieces of text that messages are made of.

/// Appends a key to a path, quoted where TOML would need it.
pub(crate) fn join(parent: &str, key: &str) -> String {
    let bare = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    let key = if bare { key.to_owned() } else { format!("\"{}\"", shown(key)) };
    if parent.is_empty() { key } else { format!("{parent}.{key}") }
}

/// Returns a text from the file for use in a message: escaped, and cut when long.
pub(crate) fn shown(text: &str) -> String {
    const LONGEST: usize = 64;
    let mut out: String = text.chars().take(LONGEST).flat_map(char::escape_debug).collect();
    if text.chars().count() > LONGEST {
        out.push('…');
    }
    out
}

/// Returns "one of `a`, `b`, `c`".
pub(crate) fn one_of<'w>(words: impl IntoIterator<Item = &'w str>) -> String {
    let words: Vec<String> = words.into_iter().map(|word| format!("`{word}`")).collect();
    match words.as_slice() {
        [only] => only.clone(),
        _ => format!("one of {}", words.join(", ")),
    }
}

/// Returns what a message calls a child.
pub(crate) fn child_called(name: &str) -> String {
    format!("child `{}`", shown(name))
}
