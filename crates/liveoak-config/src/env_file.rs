//! Reads an `env_file`: lines of `KEY=VALUE`, with an optional `export ` in front, optional quotes around the value, and
//! comments from `#`.
//!
//! Nothing is expanded. A bare value ends at the end of the line or at ` #`. Inside `'…'` every character is literal.
//! Inside `"…"` there are the escapes `\n`, `\t`, `\r`, `\"`, `\\` and `\$`. A value cannot span lines. `source` has already
//! removed byte order marks and CRLF line ends.

use crate::diagnostic::Span;
use std::collections::HashMap;

/// One error of an env file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct EnvError {
    /// The offending bytes.
    pub(crate) span: Span,
    /// What is wrong, as one line.
    pub(crate) message: String,
    /// What to do about it.
    pub(crate) help: &'static str,
}

fn error(span: Span, message: impl Into<String>, help: &'static str) -> EnvError {
    EnvError { span, message: message.into(), help }
}

impl EnvError {
    fn shifted(self, by: usize) -> Self {
        Self { span: self.span.start + by..self.span.end + by, ..self }
    }
}

/// The variables of an env file.
#[derive(Clone, Debug, Default)]
pub(crate) struct EnvFile {
    /// The names and values, in the order of the file.
    pub(crate) variables: Vec<(String, String)>,
    /// The names of those whose value a shell would expand, and whose value is not in single quotes.
    pub(crate) unexpanded: Vec<String>,
}

impl EnvFile {
    /// Reads the whole text. Returns what could be read, and an error for each line that could not.
    pub(crate) fn parse(text: &str) -> (Self, Vec<EnvError>) {
        let mut file = Self::default();
        let mut places: HashMap<String, usize> = HashMap::new();
        let mut unexpanded = Vec::new();
        let errors = each_variable(text, |key, value, is_literal| {
            let expands = would_expand(&value) && !is_literal;
            // As in a shell that sources the file, the last value counts.
            match places.get(&key) {
                Some(&at) => (file.variables[at].1, unexpanded[at]) = (value, expands),
                None => {
                    places.insert(key.clone(), unexpanded.len());
                    file.variables.push((key, value));
                    unexpanded.push(expands);
                }
            }
        });
        let named = file.variables.iter().zip(unexpanded).filter(|(_, expands)| *expands);
        file.unexpanded = named.map(|((name, _), _)| name.clone()).collect();
        (file, errors)
    }
}

/// Returns `true` if a shell would probably expand the value of a variable: it contains `$NAME` in capital letters,
/// `${...}` or `$(...)`, it is a command in backquotes, or a path in it begins with `~`.
pub(crate) fn would_expand(value: &str) -> bool {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let after_dollar = |rest: &str| {
        let name = rest.split(|c| !is_word(c)).next().unwrap_or_default();
        let is_name = name.len() > 1 && !name.starts_with(|c: char| c.is_ascii_digit());
        let closed = |open: char, close: char| {
            let inner = rest.strip_prefix(open).and_then(|rest| rest.split_once(close));
            inner.is_some_and(|(inner, _)| inner.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_'))
        };
        // A password may contain a `$`. Its letters are seldom all capitals.
        let capitals = !name.chars().any(|c| c.is_ascii_lowercase());
        (is_name && capitals) || closed('{', '}') || closed('(', ')')
    };
    let in_backquotes = value.len() > 2 && value.starts_with('`') && value.ends_with('`');
    let is_home = |path: &str| path == "~" || path.starts_with("~/");
    value.split('$').skip(1).any(after_dollar) || in_backquotes || value.split(':').any(is_home)
}

/// Calls `found` with the name and the value of each line, and whether the value is meant literally. Returns an error for each
/// line that could not be read.
fn each_variable(text: &str, mut found: impl FnMut(String, String, bool)) -> Vec<EnvError> {
    let mut errors = Vec::new();
    let mut start = 0;
    while start < text.len() {
        let line = text[start..].split_inclusive('\n').next().unwrap_or_default();
        let mut read = line.len();
        match read_line(line) {
            Ok(None) => {}
            Ok(Some((key, value, is_literal))) => found(key, value, is_literal),
            Err(error) => {
                if error.help == CLOSE_IT {
                    // A value over several lines gets only one error.
                    read += rest_of_value(&text[start..], error.span.start, line.len());
                }
                errors.push(error.shifted(start));
            }
        }
        start += read;
    }
    errors
}

/// Returns how many bytes a value that begins on the first line of `text` occupies on the following lines. `first` is the length of
/// the first line, `quote` the place of the opening quote. Returns 0 if the value has no end, or if the lines look like lines of their own.
fn rest_of_value(text: &str, quote: usize, first: usize) -> usize {
    let quote = &text[quote..=quote];
    let mut length = 0;
    for line in text[first..].split_inclusive('\n') {
        // The last line of an encoded key ends with one or two `=`.
        let is_variable =
            |(key, value): (&str, &str)| key_problem(key).is_none() && !matches!(value.trim(), "" | "=");
        if line.trim().trim_start_matches("export ").split_once('=').is_some_and(is_variable) {
            return 0;
        }
        length += line.len();
        if line.contains(quote) {
            return length;
        }
    }
    0
}

/// Reads one line: the name, the value, and whether the value is meant literally, because it is in single quotes or has a
/// backslash before a `$`. The place of an error is counted from the start of the line.
fn read_line(line: &str) -> Result<Option<(String, String, bool)>, EnvError> {
    let content = line.trim_end();
    if let Some(at) = content.find('\r') {
        let message = "this line contains a carriage return (`\\r`)";
        return Err(error(at..at + 1, message, "end each line with a line feed; inside \"…\" write \\r"));
    }
    // A byte order mark may stand inside the text if files were joined.
    let mut start = content.len() - content.trim_start_matches('\u{feff}').trim_start().len();
    if start == content.len() || content[start..].starts_with('#') {
        return Ok(None);
    }
    let declared = &content[start..];
    if let Some(rest) = declared.strip_prefix("export").filter(|rest| rest.starts_with([' ', '\t'])) {
        start = content.len() - rest.trim_start().len();
    }
    let declared = &content[start..];
    let Some((key, value)) = declared.split_once('=') else {
        let help = "write KEY=VALUE, or # before a comment";
        return Err(error(start..content.len(), "this line has no `=`", help));
    };
    if let Some(problem) = key_problem(key) {
        let help = match key_problem(key.trim_end()) {
            None => "remove the blanks before `=`",
            Some(_) => "a name has letters, digits, `_`, `.` and `-`, and touches the `=`",
        };
        return Err(error(start..start + key.len().max(1), problem, help));
    }
    // If a comment follows immediately, the value is empty.
    let bare = value.trim_start();
    let value = if bare.starts_with('#') && bare.len() < value.len() { "" } else { bare };
    let read = read_value(value).map_err(|error| error.shifted(content.len() - value.len()))?;
    let is_literal = value.starts_with('\'') || (value.starts_with('"') && value.contains("\\$"));
    Ok(Some((key.to_owned(), read, is_literal)))
}

fn key_problem(key: &str) -> Option<String> {
    if key.is_empty() {
        return Some("this line has no name before `=`".to_owned());
    }
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    key.chars()
        .find(|&c| !fits(c))
        .map(|c| format!("the name of this variable contains `{}`", c.escape_debug()))
}

/// Reads a value that goes to the end of the line. The place of an error is counted from the start of the value.
fn read_value(value: &str) -> Result<String, EnvError> {
    let (text, used) = match value.chars().next() {
        Some('\'') => {
            let end = value[1..].find('\'').ok_or_else(|| unclosed(value))?;
            (value[1..1 + end].to_owned(), end + 2)
        }
        Some('"') => double_quoted(value)?,
        _ => {
            let end = value.find(" #").or_else(|| value.find("\t#")).unwrap_or(value.len());
            (value[..end].trim_end().to_owned(), value.len())
        }
    };
    let rest = value[used..].trim_start();
    let is_comment = rest.starts_with('#') && rest.len() < value.len() - used;
    if !rest.is_empty() && !is_comment {
        let at = value.len() - rest.len();
        let help = match rest.starts_with('#') {
            true => "put a blank before the comment; inside '…' a backslash does not escape a quote",
            false => "quote the whole value; inside '…' every character is literal",
        };
        return Err(error(at..value.len(), "something follows the closing quote", help));
    }
    match text.find('\0') {
        Some(_) => {
            Err(error(0..value.len(), "this value contains a NUL character", "a variable cannot contain one"))
        }
        None => Ok(text),
    }
}

/// What to do about a quote that is not closed.
const CLOSE_IT: &str = "close it on the same line; for a value of several lines write \\n inside \"…\"";

fn unclosed(value: &str) -> EnvError {
    let message = format!("this value has an opening {} without a closing one", &value[..1]);
    error(0..value.len(), message, CLOSE_IT)
}

/// Reads `"…"` with its escapes. Returns the text and the number of bytes read.
fn double_quoted(value: &str) -> Result<(String, usize), EnvError> {
    let mut text = String::new();
    let mut chars = value.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((text, at + 1)),
            '\\' => match chars.next().map(|(_, escaped)| escaped) {
                Some('n') => text.push('\n'),
                Some('t') => text.push('\t'),
                Some('r') => text.push('\r'),
                Some(itself @ ('"' | '\\' | '$')) => text.push(itself),
                _ => {
                    let help = "known are \\n \\t \\r \\\" \\\\ \\$; in '…' nothing is escaped";
                    return Err(error(at..value.len(), "this escape is not known", help));
                }
            },
            other => text.push(other),
        }
    }
    Err(unclosed(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> (Vec<(String, String)>, Vec<EnvError>) {
        let (file, errors) = EnvFile::parse(text);
        (file.variables, errors)
    }

    fn read(text: &str) -> Vec<(String, String)> {
        let (variables, errors) = parse(text);
        assert_eq!(errors, [], "{text:?}");
        variables
    }

    fn pair(key: &str, value: &str) -> (String, String) {
        (key.to_owned(), value.to_owned())
    }

    #[test]
    fn lines_comments_exports_and_quotes_are_read() {
        let text = "# a comment\n\n  A=1\nexport B = \n";
        assert_eq!(parse(text).1.len(), 1, "a name must touch the `=`");
        assert_eq!(
            read("A=1\r\nexport B=two words # said\nC='$A #'\nD=\"a\\n\\\"b\\\"\" # x\nE=\nF=a#b\nG= g\n"),
            [
                pair("A", "1"),
                pair("B", "two words"),
                pair("C", "$A #"),
                pair("D", "a\n\"b\""),
                pair("E", ""),
                pair("F", "a#b"),
                pair("G", "g"),
            ]
        );
    }

    #[test]
    fn if_a_name_occurs_twice_the_last_value_counts() {
        assert_eq!(read("A=1\nA=2"), [pair("A", "2")]);
    }

    #[test]
    fn a_comment_may_follow_an_empty_value() {
        assert_eq!(
            read("A= # c\nB=\t#c\nC=#c\nD='' # c\n"),
            [pair("A", ""), pair("B", ""), pair("C", "#c"), pair("D", "")]
        );
    }

    #[test]
    fn a_comment_after_a_quoted_value_needs_a_blank_before_it() {
        assert_eq!(read("A=\"a #b\" # c\nB='a#\"b' #c"), [pair("A", "a #b"), pair("B", "a#\"b")]);
        for text in ["A=\"a\"#b", "A='a\\'#b\\'c'"] {
            let (variables, errors) = parse(text);
            assert!(variables.is_empty() && errors[0].help.contains("blank before the comment"), "{text}");
        }
    }

    #[test]
    fn a_byte_order_mark_between_joined_files_is_dropped() {
        assert_eq!(read("A=1\n\u{feff}B=2\n\u{feff}# c\n"), [pair("A", "1"), pair("B", "2")]);
    }

    #[test]
    fn characters_that_other_readers_of_env_files_expand_or_strip_are_taken_literally() {
        assert_eq!(
            read(
                "A=$HOME/${B}\nB=`date`\nC=a=b==\nD=it's \"so\"\nE={\"a\": 1}\nF=a\\nb\nG=\"#\"\nH='a\"b'\n"
            ),
            [
                pair("A", "$HOME/${B}"),
                pair("B", "`date`"),
                pair("C", "a=b=="),
                pair("D", "it's \"so\""),
                pair("E", "{\"a\": 1}"),
                pair("F", "a\\nb"),
                pair("G", "#"),
                pair("H", "a\"b"),
            ]
        );
    }

    #[test]
    fn a_value_over_several_lines_is_one_error() {
        let key = "KEY=\"-----BEGIN KEY-----\nMIIEpAIBAAKCAQEA\nqL3+/x==\n-----END KEY-----\"\nB=2\n";
        let (variables, errors) = parse(key);
        assert_eq!((variables, errors.len()), (vec![pair("B", "2")], 1));
        assert!(errors[0].help.contains("same line"), "{}", errors[0].help);
        let (variables, errors) = parse("A=\"x\nB=2\nC=\"3\"\n");
        assert_eq!(
            (variables, errors.len()),
            (vec![pair("B", "2"), pair("C", "3")], 1),
            "the quote was forgotten"
        );
        assert_eq!(parse("A='x\nnot\nclosed").1.len(), 3);
    }

    #[test]
    fn the_errors_for_blanks_before_the_sign_and_for_a_carriage_return_name_the_cause() {
        let help = |text: &str| parse(text).1.first().map(|error| (error.span.clone(), error.help));
        assert_eq!(help("A = 1"), Some((0..2, "remove the blanks before `=`")));
        assert!(help("A=1\rB=2\r").is_some_and(|(span, _)| span == (3..4)));
    }

    #[test]
    fn each_wrong_line_is_an_error_with_its_place() {
        let text = "OK=1\nnonsense\n=x\nA B=1\nC='x\nD=\"x\\q\"\nE='a'b\n";
        let (variables, errors) = parse(text);
        assert_eq!(variables, [pair("OK", "1")]);
        let marked: Vec<&str> = errors.iter().map(|e| &text[e.span.clone()]).collect();
        assert_eq!(marked, ["nonsense", "=", "A B", "'x", "\\q\"", "b"]);
    }
}
