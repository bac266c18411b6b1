//! Formats errors: for people (the text underlined, colours on a terminal) and for programs (JSON).

use crate::bounds::MAX_SHOWN;
use crate::diagnostic::{Diagnostic, Diagnostics, Error, Source, Span};
use crate::text::one_line;
use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use serde_json::{Value, json};
use std::fmt;

/// A span over more lines than this is cut to its first line.
const MAX_UNDERLINED_LINES: usize = 6;

impl Diagnostics {
    /// Renders a report for people, with a count at the end.
    #[must_use]
    pub fn text(&self, colour: bool) -> String {
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        let mut out = String::new();
        for diagnostic in self.diagnostics.iter().take(MAX_SHOWN) {
            let source = &self.sources[diagnostic.source];
            out.push_str(&renderer.render(&[group(&diagnostic.printable(), source)]));
            out.push_str("\n\n");
        }
        let hidden = self.diagnostics.len().saturating_sub(MAX_SHOWN) + self.more;
        out + &count(self, hidden) + "\n"
    }

    /// Returns the number of errors, as one line.
    #[must_use]
    pub fn headline(&self) -> String {
        count(self, self.more)
    }

    /// Renders a report for programs: `{"ok": false, "errors": [...], "more": n}`.
    #[must_use]
    pub fn json(&self) -> Value {
        let error = |diagnostic: &Error| {
            let source = &self.sources[diagnostic.source];
            let span = diagnostic.span.as_ref().map(|span| fit_exact(&source.text, span));
            let start = span.as_ref().map(|span| position(&source.text, span.start));
            let end = span.as_ref().map(|span| position(&source.text, span.end));
            json!({
                "file": source.name,
                "line": start.map(|p| p.0),
                "column": start.map(|p| p.1),
                "end_line": end.map(|p| p.0),
                "end_column": end.map(|p| p.1),
                "path": diagnostic.path,
                "message": diagnostic.message,
                "found": (!diagnostic.label.is_empty()).then_some(&diagnostic.label),
                "expected": diagnostic.expected,
                "help": diagnostic.help,
            })
        };
        let errors: Vec<Value> = self.diagnostics.iter().map(error).collect();
        json!({ "ok": false, "errors": errors, "more": self.more })
    }
}

/// Shows the report for people, without colours.
impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text(false).trim_end())
    }
}

impl std::error::Error for Diagnostics {}

fn count(report: &Diagnostics, hidden: usize) -> String {
    let total = report.diagnostics.len() + report.more;
    let name = one_line(&report.sources[0].name);
    match (total, hidden) {
        (1, _) => format!("1 error in {name}"),
        (_, 0) => format!("{total} errors in {name}"),
        _ => format!("{total} errors in {name} ({hidden} not shown)"),
    }
}

/// Returns one error with its snippet and its closing lines.
fn group<'a>(diagnostic: &'a Diagnostic, source: &'a Source) -> Group<'a> {
    let title = Level::ERROR.primary_title(&diagnostic.message);
    let mut group = match &diagnostic.span {
        Some(span) => title.element(snippet(diagnostic, source, span)),
        None => title.element(Origin::path(one_line(&source.name))),
    };
    if let Some(expected) = &diagnostic.expected {
        group = group.element(Level::NOTE.with_name("expected").message(expected));
    }
    if let Some(help) = &diagnostic.help {
        group = group.element(Level::HELP.message(help));
    }
    group
}

/// Returns the source with the error underlined and its related places labelled.
fn snippet<'a>(
    diagnostic: &'a Diagnostic,
    source: &'a Source,
    span: &Span,
) -> Snippet<'a, annotate_snippets::Annotation<'a>> {
    let mut snippet = Snippet::source(&source.shown)
        .path(one_line(&source.name))
        .annotation(AnnotationKind::Primary.span(fit(&source.shown, span)).label(diagnostic.label.as_str()));
    for (span, label) in &diagnostic.related {
        snippet =
            snippet.annotation(AnnotationKind::Context.span(fit(&source.shown, span)).label(label.as_str()));
    }
    snippet
}

/// Moves a span into the text and onto character boundaries, and cuts it to a readable number of lines.
fn fit(text: &str, span: &Span) -> Span {
    let Span { start, end } = fit_exact(text, span);
    let mut lines = text[start..end].lines();
    let first = lines.next().map_or(0, str::len);
    if lines.count() < MAX_UNDERLINED_LINES { start..end } else { start..start + first }
}

/// Moves a span into the text and onto character boundaries.
fn fit_exact(text: &str, span: &Span) -> Span {
    let start = text.floor_char_boundary(span.start);
    start..text.ceil_char_boundary(span.end.max(start))
}

/// Returns the line and the column of a byte offset, both counted from 1; columns count characters.
pub(crate) fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = &text[..text.floor_char_boundary(offset)];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = before.bytes().filter(|&byte| byte == b'\n').count() + 1;
    (line, before[line_start..].chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_counts_lines_and_characters_from_one() {
        let text = "a\nöx\n";
        assert_eq!(position(text, 0), (1, 1));
        assert_eq!(position(text, 2), (2, 1));
        assert_eq!(position(text, 3), (2, 1), "inside a character counts as its start");
        assert_eq!(position(text, 4), (2, 2));
        assert_eq!(position(text, 999), (3, 1));
    }

    #[test]
    fn a_span_outside_the_text_is_moved_into_the_text() {
        assert_eq!(fit("abc", &(7..9)), 3..3);
        assert_eq!(fit("ö", &(1..1)), 0..2);
        assert_eq!(fit("", &(0..1)), 0..0);
        assert_eq!(fit("1\n2\n3\n4\n5\n6\n7\n8", &(0..15)), 0..1);
    }
}
