//! The pattern of a log probe. It is matched with a line as written, and as a terminal shows it, without colours.

use regex_lite::Regex;
use std::fmt;

const ESCAPE: char = '\u{1b}';
const BELL: char = '\u{7}';

/// A regular expression for lines of output. Two are equal if their texts are.
#[derive(Clone, Debug)]
pub struct LogPattern(Regex);

impl PartialEq for LogPattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for LogPattern {}

impl fmt::Display for LogPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

impl LogPattern {
    pub(super) fn parse(pattern: &str) -> Result<LogPattern, regex_lite::Error> {
        Regex::new(pattern).map(LogPattern)
    }

    /// Returns `true` if the pattern matches a part of the line: as it was written, or as a terminal shows it.
    pub(super) fn matches(&self, line: &str) -> bool {
        if self.0.is_match(line) {
            return true;
        }
        let styled = |c: char| c.is_control() && c != '\t';
        // A carriage return goes back to the start of the line, so each part is a line of its own.
        line.contains(styled) && without_escapes(line).split('\r').any(|part| self.0.is_match(part))
    }
}

/// Returns the text without colours, other escape sequences (ECMA-48) and control characters. Carriage returns and tabs
/// stay.
fn without_escapes(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            ESCAPE => skip_sequence(&mut rest),
            // The same as ESC [, in one character.
            '\u{9b}' => skip_control_sequence(&mut rest),
            '\r' | '\t' => out.push(c),
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out
}

/// Skips what follows an escape character.
fn skip_sequence(rest: &mut std::str::Chars<'_>) {
    match rest.next() {
        Some('[') => skip_control_sequence(rest),
        // A title or a link: it ends with a bell, or with ESC and a backslash.
        Some(']' | 'P' | 'X' | '^' | '_') => {
            let mut before = ' ';
            for c in rest.by_ref() {
                if c == BELL || c == '\u{9c}' || (before == ESCAPE && c == '\\') {
                    return;
                }
                before = c;
            }
        }
        // A choice of a character set: ESC ( B.
        Some(' '..='/') => {
            let _last = rest.find(|c| !(' '..='/').contains(c));
        }
        Some(_) | None => {}
    }
}

/// Skips parameters and the final character of a control sequence: `1;32m`.
fn skip_control_sequence(rest: &mut std::str::Chars<'_>) {
    let _last = rest.find(|c| !(' '..='?').contains(c));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, line: &str) -> bool {
        LogPattern::parse(pattern).unwrap().matches(line)
    }

    #[test]
    fn a_pattern_sees_through_colours_and_other_escape_sequences() {
        for line in [
            "\u{1b}[32mready\u{1b}[0m",
            "\u{1b}[1;38;5;208mre\u{1b}[mady",
            "\u{1b}(B\u{1b}[mready\u{1b}[K",
            "\u{1b}]0;the title\u{7}ready",
            "\u{1b}]8;;http://a/\u{1b}\\ready\u{1b}]8;;\u{1b}\\",
            "\u{9b}1mready",
            "\u{1b}[?25hready\u{f}",
            "\u{1b}=ready",
            "loading 50%\rready",
            "\u{1b}[2K\rready\r",
        ] {
            assert!(matches("^ready$", line), "{line:?}");
        }
        assert!(matches("^\u{1b}\\[32mready", "\u{1b}[32mready"), "a pattern may name the escape sequence");
        assert!(matches("a\tb", "\u{1b}[1ma\tb"));
        assert!(!matches("^ready$", "\u{1b}[32mnot ready"));
        assert!(!matches("^ready$", "ready\u{1b}[0m not"));
        // Sequences that are cut off end with the text.
        for cut in ["\u{1b}", "\u{1b}[", "\u{1b}[3", "\u{1b}]0;t", "\u{1b}(", "\u{9b}"] {
            assert!(matches("^ready$", &format!("ready{cut}")), "{cut:?}");
        }
    }
}
