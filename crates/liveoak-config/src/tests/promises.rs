//! The properties that hold for any bytes in a `liveoak.toml`. The fuzz target and the tests with seeds check them.
//!
//! - Reading never panics, reads no file and starts nothing.
//! - The core accepts the tree of an accepted file, even with its replicas expanded.
//! - Each error of a refused file has a reason and a place inside the text.
//! - A second reading gives the same result.

use crate::bounds::DEFAULT_FILE;
use crate::config::Config;
use crate::diagnostic::{Diagnostics, Source, Span};
use crate::load;
use crate::render;
use crate::source::{Unreadable, text_of};
use std::path::Path;

/// The folder that the bytes are said to be in. It does not exist.
const FOLDER: &str = "/nowhere";

/// Reads `bytes` as a `liveoak.toml`, without opening any file. Returns `true` if the reader accepts them.
///
/// # Panics
/// Panics if the result breaks one of the properties above.
#[must_use]
pub fn read_bytes(bytes: &[u8]) -> bool {
    match text_of(bytes.to_vec()) {
        Ok(text) => read(&text),
        Err(unreadable) => {
            assert!(!unreadable.to_string().is_empty(), "refused without a reason");
            false
        }
    }
}

fn read(text: &str) -> bool {
    // Every env file has the same text as the file itself, except that a name with "missing" in it does not exist.
    let open = |path: &Path| match path.to_string_lossy().contains("missing") {
        true => Err(Unreadable::Missing),
        false => Ok(text.to_owned()),
    };
    let once = || load::read(Path::new(DEFAULT_FILE), Path::new(FOLDER), text, &open, None);
    match (once(), once()) {
        (Ok(config), Ok(again)) => {
            assert_eq!(config, again, "read twice");
            accepted(&config);
            true
        }
        (Err(report), Err(again)) => {
            assert_eq!(report.json(), again.json(), "refused twice");
            refused(&report);
            false
        }
        (config, _) => panic!("accepted in one of two times: {}", config.is_ok()),
    }
}

/// Asserts that the core accepts the expanded tree as well.
fn accepted(config: &Config) {
    let expanded = config.expanded();
    assert_eq!(expanded, expanded.expanded(), "expanded twice");
    if let Err(errors) = expanded.declaration().check() {
        panic!("accepted with replica sets, and refused with their members: {errors}");
    }
}

/// Asserts that each error has a reason and a place, and that both can be shown.
fn refused(report: &Diagnostics) {
    assert!(!report.diagnostics.is_empty(), "refused without a reason");
    for diagnostic in &report.diagnostics {
        assert!(!diagnostic.message.is_empty(), "an error that says nothing");
        let source = &report.sources[diagnostic.source];
        let Some(span) = &diagnostic.span else { panic!("an error without a place: {}", diagnostic.message) };
        inside(source, span, &diagnostic.message);
        for (span, label) in &diagnostic.related {
            inside(source, span, label);
        }
    }
    for coloured in [true, false] {
        assert!(!report.text(coloured).is_empty());
    }
}

fn inside(source: &Source, span: &Span, what: &str) {
    let is_inside = span.start <= span.end && source.text.get(span.clone()).is_some();
    assert!(is_inside, "{span:?} is no place in the {} bytes of {}: {what}", source.text.len(), source.name);
    let (line, column) = render::position(&source.text, span.start);
    let lines = source.text.split('\n').nth(line - 1).map(|line| line.chars().count() + 1);
    assert!(lines.is_some_and(|length| column <= length), "{line}:{column} is no place: {what}");
}
