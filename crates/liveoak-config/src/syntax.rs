//! Parses text as TOML, and reports the first syntax error of each line.

use crate::diagnostic::{Diagnostic, Diagnostics, Error, Span};
use crate::text::escaped;
use toml::de::{DeTable, DeValue};

/// A key that no file has, for [`first_place`].
const PLACEHOLDER: &str = "liveoak-stand-in-for-a-repeated-key";

/// Parses `text`. The table is whole only if no error was recorded.
pub(crate) fn parse<'t>(text: &'t str, problems: &mut Diagnostics) -> DeTable<'t> {
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut last_line = None;
    let mut repeated_until = 0;
    for error in &errors {
        let span = error.span().unwrap_or(0..0);
        let line_start = text.get(..span.start).and_then(|before| before.rfind('\n'));
        // After the first error of a line the parser guesses, and its further errors in that line mislead. The keys of a
        // table that is declared twice need no errors of their own.
        if last_line == Some(line_start) || span.start < repeated_until {
            continue;
        }
        last_line = Some(line_start);
        problems.push(if error.message() == "duplicate key" {
            repeated_until = end_of_table(text, line_start, &span);
            duplicate(text, span, !problems.has_too_many())
        } else {
            syntax_error(&problems.sources[0].shown, error.message(), span)
        });
    }
    table.into_inner()
}

/// Returns the end of the table whose header holds `span`, or the end of `span` if it is in no header.
fn end_of_table(text: &str, line_start: Option<usize>, span: &Span) -> usize {
    let line_start = line_start.map_or(0, |newline| newline + 1);
    let in_header =
        text.get(line_start..span.start).is_some_and(|before| before.trim_start().starts_with('['));
    let rest = text.get(span.end..).filter(|_| in_header);
    rest.map_or(span.end, |rest| rest.find("\n[").map_or(text.len(), |at| span.end + at))
}

/// Returns the error for a broken line of `text`, as messages may show it. The parser's message is "what is wrong, expected a, b".
fn syntax_error(text: &str, message: &str, span: Span) -> Error {
    let (message, expected) = match message.split_once(", expected ") {
        Some((message, expected)) => (message, Some(expected)),
        None => (message, None),
    };
    let found = text.get(span.clone()).unwrap_or_default();
    let label = match found {
        "" => "here".to_owned(),
        "\n" | "\r\n" => "the line ends here".to_owned(),
        _ => format!("found `{}`", escaped(found.trim_end())),
    };
    let mut error = Diagnostic::at(span, "", format!("not TOML: {message}")).label(label);
    error.expected = expected.map(str::to_owned);
    error.help("the file is TOML: key = \"value\" lines under [child.NAME] headers; see https://toml.io")
}

/// Returns the error for a repeated key or table. With `find_first`, the error also shows the first place, which costs another
/// parse.
fn duplicate(text: &str, span: Span, find_first: bool) -> Error {
    let key = text.get(span.clone()).unwrap_or_default();
    let name = key.trim_matches(['"', '\'']);
    let error = Diagnostic::at(span.clone(), "", format!("`{}` is declared twice", escaped(name)))
        .label("declared again here")
        .expected("each key, and each child, once")
        .help("rename or remove one of the two");
    match find_first.then(|| first_place(text, &span)).flatten() {
        Some(first) => error.related(first, "first declared here"),
        None => error,
    }
}

/// Returns where a repeated key stands first. The parser does not report it, so the repeated key is renamed and the
/// text parsed again: the table that holds the new name also holds the first place of the old one.
fn first_place(text: &str, span: &Span) -> Option<Span> {
    let (before, key, after) = (text.get(..span.start)?, text.get(span.clone())?, text.get(span.end..)?);
    let key_line = format!("{key} = 0");
    let name = DeTable::parse(&key_line).ok()?.get_ref().keys().next()?.get_ref().to_string();
    // Keep the rest of the line so that open brackets are closed. The first place is always before it.
    let after = after.split_inclusive('\n').next().unwrap_or_default();
    let renamed = format!("{before}{PLACEHOLDER}{after}");
    let (table, _) = DeTable::parse_recoverable(&renamed);
    let mut open = vec![table.get_ref()];
    while let Some(table) = open.pop() {
        if table.keys().any(|key| key.get_ref() == PLACEHOLDER) {
            let first = table.keys().find(|key| *key.get_ref() == name)?.span();
            return (first.end <= span.start).then_some(first);
        }
        for value in table.values() {
            push_tables(value.get_ref(), &mut open);
        }
    }
    None
}

fn push_tables<'t>(value: &'t DeValue<'t>, open: &mut Vec<&'t DeTable<'t>>) {
    match value {
        DeValue::Table(table) => open.push(table),
        DeValue::Array(array) => array.iter().for_each(|value| push_tables(value.get_ref(), open)),
        _ => {}
    }
}
