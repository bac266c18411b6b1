//! What must hold of whatever bytes stand in a `liveoak.toml`. For fuzzing, and for the tests that do the same with seeds.
//!
//! - What is accepted here is accepted by the library that runs it; its tree is built and checked, and nothing is started.
//! - What is refused is refused for a reason, at a place inside the text.
//! - Reading twice gives the same.

use std::path::Path;
use std::sync::Arc;

use liveoak::StartError;

use crate::config::diagnostic::{Report, Source, Span};
use crate::config::{self, Config, Unreadable, render};
use crate::up::build;

/// Where the bytes are said to stand: nothing is read there.
const FOLDER: &str = "/nowhere";

/// Whether `bytes` are a good file.
pub(crate) fn read_bytes(bytes: &[u8]) -> bool {
    match config::text_of(bytes.to_vec()) {
        Ok(text) => read(&text),
        Err(unreadable) => {
            assert!(!unreadable.to_string().is_empty(), "refused without a reason");
            false
        }
    }
}

fn read(text: &str) -> bool {
    // An env file is the same text; one whose name says so is missing.
    let open = |path: &Path| match path.to_string_lossy().contains("missing") {
        true => Err(Unreadable::Missing),
        false => Ok(text.to_owned()),
    };
    let once = || config::read_text_with(Path::new(FOLDER), text, &open);
    match (once(), once()) {
        (Ok(config), Ok(again)) => {
            assert_eq!(config, again, "read twice");
            accepted(&config);
            true
        }
        (Err(report), Err(again)) => {
            assert_eq!(render::json(&report), render::json(&again), "refused twice");
            refused(&report);
            false
        }
        (config, _) => panic!("accepted in one of two times: {}", config.is_ok()),
    }
}

/// The library accepts it as well.
fn accepted(config: &Config) {
    let expanded = config.expanded();
    assert_eq!(expanded, expanded.expanded(), "expanded twice");
    let tree = match build::tree(&expanded, Arc::new(|_, _| {})) {
        Ok(tree) => tree,
        Err(error) => panic!("accepted here, and refused by its builders: {error}"),
    };
    // Its tasks are never polled, so that nothing of it runs.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.unwrap_or_else(|error| panic!("no runtime: {error}"));
    let inside = runtime.enter();
    if let Err(StartError::Spec(errors)) = tree.begin() {
        panic!("accepted here, and refused by its tree: {errors}");
    }
    drop(inside);
}

/// Each error has a reason and a place, and both can be shown.
fn refused(report: &Report) {
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
        assert!(!render::text(report, coloured).is_empty());
    }
}

fn inside(source: &Source, span: &Span, what: &str) {
    let is_inside = span.start <= span.end && source.text.get(span.clone()).is_some();
    assert!(is_inside, "{span:?} is no place in the {} bytes of {}: {what}", source.text.len(), source.name);
    let (line, column) = render::position(&source.text, span.start);
    let lines = source.text.split('\n').nth(line - 1).map(|line| line.chars().count() + 1);
    assert!(lines.is_some_and(|length| column <= length), "{line}:{column} is no place: {what}");
}
