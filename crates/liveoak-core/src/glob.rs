//! Patterns for the paths of children: `/shop/ingest/*`, `/shop/**/db`.

use crate::Path;
use std::fmt;

/// A pattern that matches paths of children.
///
/// | in the pattern | matches |
/// |---|---|
/// | `*` | any characters of one name, also none |
/// | `?` | one character of a name |
/// | `**` as a whole name | any number of names, also none; at the end at least one |
/// | `\` before a character | this character itself |
///
/// A pattern begins at the root, with or without a leading `/`. So `/shop/*` matches the children of `/shop`, `/shop/**`
/// matches all children below it, and `**` matches every child, the root included. The time of a match is at most
/// proportional to the length of the pattern times the length of the path.
///
/// ```
/// use liveoak_core::{Glob, Path};
///
/// let ingest = Glob::new("/shop/ingest/*")?;
/// assert!(ingest.matches(&Path::new("/shop/ingest/kafka")));
/// assert!(!ingest.matches(&Path::new("/shop/ingest/kafka/reader")));
/// # Ok::<(), liveoak_core::GlobError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob {
    text: String,
    names: Vec<NamePattern>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum NamePattern {
    /// `**`: any number of names.
    AnyNames,
    Name(Vec<Piece>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece {
    Any,
    One,
    Character(char),
}

/// A text that is not a pattern for paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GlobError {
    /// The refused text.
    pub pattern: String,
    /// The rule that it breaks.
    pub fault: &'static str,
}

impl fmt::Display for GlobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not a pattern for paths: {}", self.pattern, self.fault)
    }
}

impl std::error::Error for GlobError {}

impl Glob {
    /// Creates a pattern from `text`.
    ///
    /// # Errors
    /// When the text is empty, has an empty name (`//` or a `/` at the end), has `**` beside other characters in one name,
    /// or ends with a single `\`.
    pub fn new(text: impl Into<String>) -> Result<Self, GlobError> {
        let text = text.into();
        let names = text.strip_prefix('/').unwrap_or(&text);
        match names.split('/').map(name_pattern).collect::<Result<Vec<_>, _>>() {
            Ok(names) => Ok(Self { text, names }),
            Err(fault) => Err(GlobError { pattern: text, fault }),
        }
    }

    /// Returns the pattern that matches `path` alone.
    #[must_use]
    pub fn exactly(path: &Path) -> Self {
        let pieces = |name: &str| NamePattern::Name(name.chars().map(Piece::Character).collect());
        let escaped =
            path.as_str().chars().flat_map(|c| ['\\', c].into_iter().skip(usize::from(!is_special(c))));
        Self { text: escaped.collect(), names: path.names().map(pieces).collect() }
    }

    /// Returns the pattern as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns `true` if the pattern matches `path`.
    #[must_use]
    pub fn matches(&self, path: &Path) -> bool {
        let names: Vec<&str> = path.names().collect();
        // At the end, `**` stands for at least one name, unless it is the whole pattern.
        let ends_inside = self.names.len() > 1 && self.names.last() == Some(&NamePattern::AnyNames);
        let needed = if ends_inside { names.len().checked_sub(1) } else { Some(names.len()) };
        let Some(needed) = needed else { return false };
        match_pieces(
            &self.names,
            &names[..needed],
            |pattern| *pattern == NamePattern::AnyNames,
            |pattern, name| match pattern {
                NamePattern::AnyNames => false,
                NamePattern::Name(pieces) => is_name(pieces, name),
            },
        )
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::str::FromStr for Glob {
    type Err = GlobError;

    fn from_str(text: &str) -> Result<Self, GlobError> {
        Self::new(text)
    }
}

impl From<&Path> for Glob {
    fn from(path: &Path) -> Self {
        Self::exactly(path)
    }
}

const fn is_special(c: char) -> bool {
    matches!(c, '*' | '?' | '\\')
}

fn name_pattern(text: &str) -> Result<NamePattern, &'static str> {
    if text == "**" {
        return Ok(NamePattern::AnyNames);
    }
    if text.is_empty() {
        return Err("a name in it is empty");
    }
    let mut pieces = Vec::new();
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        let piece = match c {
            '*' if pieces.last() == Some(&Piece::Any) => {
                return Err("`**` must be a whole name, as in `/shop/**/db`");
            }
            '*' => Piece::Any,
            '?' => Piece::One,
            '\\' => Piece::Character(characters.next().ok_or("it ends with `\\`, and nothing follows")?),
            c => Piece::Character(c),
        };
        pieces.push(piece);
    }
    Ok(NamePattern::Name(pieces))
}

fn is_name(pieces: &[Piece], name: &str) -> bool {
    let characters: Vec<char> = name.chars().collect();
    match_pieces(
        pieces,
        &characters,
        |piece| *piece == Piece::Any,
        |piece, c| match piece {
            Piece::Any => false,
            Piece::One => true,
            Piece::Character(expected) => expected == c,
        },
    )
}

/// Matches a pattern in which some pieces stand for any number of items. Remembers only the last such piece: what an
/// earlier one takes never has to be changed again.
fn match_pieces<P, I>(
    pattern: &[P],
    items: &[I],
    takes_any: impl Fn(&P) -> bool,
    matches: impl Fn(&P, &I) -> bool,
) -> bool {
    let (mut at, mut item) = (0, 0);
    let mut last_any: Option<(usize, usize)> = None;
    while item < items.len() {
        match pattern.get(at) {
            Some(piece) if takes_any(piece) => {
                last_any = Some((at, item));
                at += 1;
            }
            Some(piece) if matches(piece, &items[item]) => {
                at += 1;
                item += 1;
            }
            Some(_) | None => match &mut last_any {
                Some((any, from)) => {
                    *from += 1;
                    (at, item) = (*any + 1, *from);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(takes_any)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, path: &str) -> bool {
        Glob::new(pattern).expect(pattern).matches(&Path::new(path))
    }

    #[test]
    fn a_pattern_matches_by_the_table_of_its_signs() {
        let table = [
            ("/shop", "/shop", true),
            ("shop", "/shop", true),
            ("/shop", "/shop/a", false),
            ("/shop/*", "/shop/a", true),
            ("/shop/*", "/shop", false),
            ("/shop/*", "/shop/a/b", false),
            ("/shop/a*c", "/shop/abbc", true),
            ("/shop/a*c", "/shop/ac", true),
            ("/shop/a*c", "/shop/acd", false),
            ("/shop/*a*b*", "/shop/xaxbx", true),
            ("/shop/pool.?", "/shop/pool.2", true),
            ("/shop/pool.?", "/shop/pool.12", false),
            ("/shop/?", "/shop/ö", true),
            ("**", "/shop", true),
            ("**", "/shop/a/b", true),
            ("/shop/**", "/shop", false),
            ("/shop/**", "/shop/a", true),
            ("/shop/**", "/shop/a/b/c", true),
            ("/shop/**", "/other/a", false),
            ("**/db", "/db", true),
            ("**/db", "/shop/a/db", true),
            ("**/db", "/shop/db/a", false),
            ("/shop/**/db", "/shop/db", true),
            ("/shop/**/db", "/shop/a/b/db", true),
            ("/shop/**/a/**/b", "/shop/x/a/y/a/z/b", true),
            ("/shop/**/a/**/b", "/shop/x/b/y/a", false),
            ("/**/**", "/shop", true),
            (r"/shop/\*", "/shop/*", true),
            (r"/shop/\*", "/shop/a", false),
            (r"/shop/a\\b", r"/shop/a\b", true),
        ];
        for (pattern, path, expected) in table {
            assert_eq!(matches(pattern, path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn a_text_that_can_match_nothing_is_refused_with_the_reason() {
        for (text, word) in [("", "empty"), ("/", "empty"), ("/a//b", "empty"), ("/a/", "empty")] {
            assert!(Glob::new(text).expect_err(text).to_string().contains(word), "{text}");
        }
        for (text, word) in [("/a/b**", "whole name"), ("/a/***", "whole name"), ("/a\\", "nothing follows")]
        {
            assert!(Glob::new(text).expect_err(text).to_string().contains(word), "{text}");
        }
    }

    #[test]
    fn the_pattern_of_one_path_matches_it_alone_and_its_text_is_a_pattern_too() {
        for text in ["/shop/a*", r"/shop/a\?", "/shop/**", "/shop/plain"] {
            let path = Path::new(text);
            let glob = Glob::exactly(&path);
            assert!(glob.matches(&path), "{text}");
            assert!(!glob.matches(&Path::new("/shop/ab")), "{text}");
            assert_eq!(Glob::new(glob.as_str()).expect(text).names, glob.names);
        }
    }

    #[test]
    fn a_pattern_with_many_stars_takes_no_longer_than_its_length_times_that_of_the_name() {
        let pattern = format!("/shop/{}b", "a*".repeat(60));
        let path = format!("/shop/{}", "a".repeat(128));
        assert!(!matches(&pattern, &path));
        let pattern = format!("/{}x", "**/a/".repeat(30));
        let path = "/a".repeat(64);
        assert!(!matches(&pattern, &path));
    }
}
