//! The errors of a file, as data: one [`Diagnostic`] per error, collected in a [`Diagnostics`].
//! [`render`](crate::render) formats them.

use crate::bounds::{MAX_KEPT, MAX_SHOWN};
use crate::secrets::{without_env, without_values};
use crate::text::one_line;
use std::fmt;
use std::ops::Range;

/// A diagnostic under construction. Boxed, because many `Result`s contain one.
pub(crate) type Error = Box<Diagnostic>;

/// A value that was read, or the error that explains why it cannot be used.
pub(crate) type Checked<T> = Result<T, Error>;

/// A range of bytes in one source.
pub(crate) type Span = Range<usize>;

/// A text that errors point into.
pub(crate) struct Source {
    /// The file's name as the user wrote it.
    pub(crate) name: String,
    /// The whole text; empty when the file could not be read as text.
    pub(crate) text: String,
    /// The text for messages: it has the same length, and values of variables are hidden.
    pub(crate) shown: String,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("name", &self.name).finish_non_exhaustive()
    }
}

/// One error.
#[derive(Clone, Debug, Default)]
pub(crate) struct Diagnostic {
    /// Index into [`Diagnostics::sources`].
    pub(crate) source: usize,
    /// The wrong bytes; `None` if the error is about the whole file.
    pub(crate) span: Option<Span>,
    /// The keys that lead to the place, for example `child.db.restart`; empty at the top.
    pub(crate) path: String,
    /// What is wrong, as one line.
    pub(crate) message: String,
    /// The label of the underlined text.
    pub(crate) label: String,
    /// The expected value.
    pub(crate) expected: Option<String>,
    /// What to do about it.
    pub(crate) help: Option<String>,
    /// Other places of the same source that belong to the error.
    pub(crate) related: Vec<(Span, String)>,
}

impl Diagnostic {
    /// Creates an error at `span` of the main file.
    pub(crate) fn at(span: Span, path: impl Into<String>, message: impl Into<String>) -> Error {
        Box::new(Self { span: Some(span), path: path.into(), ..*Self::of_file(message) })
    }

    /// Creates an error about the whole main file.
    pub(crate) fn of_file(message: impl Into<String>) -> Error {
        Box::new(Self { message: message.into(), ..Self::default() })
    }

    pub(crate) fn in_source(mut self: Box<Self>, source: usize) -> Error {
        self.source = source;
        self
    }

    pub(crate) fn label(mut self: Box<Self>, label: impl Into<String>) -> Error {
        self.label = label.into();
        self
    }

    pub(crate) fn expected(mut self: Box<Self>, expected: impl Into<String>) -> Error {
        self.expected = Some(expected.into());
        self
    }

    pub(crate) fn help(self: Box<Self>, help: impl Into<String>) -> Error {
        self.help_if(Some(help.into()))
    }

    /// Sets the advice, if there is one.
    pub(crate) fn help_if(mut self: Box<Self>, help: Option<String>) -> Error {
        self.help = help.or(self.help);
        self
    }

    /// Returns the error with the control characters in its texts escaped, because the texts may quote the file or name files.
    pub(crate) fn printable(&self) -> Self {
        let line = |text: &String| one_line(text).into_owned();
        Self {
            message: line(&self.message),
            label: line(&self.label),
            expected: self.expected.as_ref().map(line),
            help: self.help.as_ref().map(line),
            related: self.related.iter().map(|(span, label)| (span.clone(), line(label))).collect(),
            ..self.clone()
        }
    }

    /// Points at another place of the same source.
    pub(crate) fn related(mut self: Box<Self>, span: Span, label: impl Into<String>) -> Error {
        self.related.push((span, label.into()));
        self
    }
}

/// All errors of a file. At most a thousand are kept; the others are only counted.
#[derive(Debug, Default)]
pub struct Diagnostics {
    /// The texts that errors point into; the main file first.
    pub(crate) sources: Vec<Source>,
    /// The errors.
    pub(crate) diagnostics: Vec<Error>,
    /// The number of further errors that were found but not kept.
    pub(crate) more: usize,
}

impl Diagnostics {
    /// Creates a report without errors, whose main source is `name`.
    pub(crate) fn new(name: &str, text: &str) -> Self {
        let main = Source { name: name.to_owned(), text: text.to_owned(), shown: without_env(text) };
        Self { sources: vec![main], ..Self::default() }
    }

    /// Creates a report of one error about the whole file.
    pub(crate) fn of_file(name: &str, error: Error) -> Self {
        Self { diagnostics: vec![error], ..Self::new(name, "") }
    }

    /// Adds an env file that errors may point into, and returns its index.
    pub(crate) fn add_env_file(&mut self, name: String, text: String) -> usize {
        let shown = without_values(&text);
        self.sources.push(Source { name, text, shown });
        self.sources.len() - 1
    }

    /// Records an error.
    pub(crate) fn push(&mut self, error: Error) {
        if self.diagnostics.len() < MAX_KEPT {
            self.diagnostics.push(error);
        } else {
            self.more += 1;
        }
    }

    /// Keeps only the first error, and sets its advice.
    pub(crate) fn keep_first(&mut self, help: &str) {
        self.diagnostics.sort_by_key(|d| d.span.as_ref().map(|span| span.start));
        self.diagnostics.truncate(1);
        self.more = 0;
        if let Some(first) = self.diagnostics.first_mut() {
            first.help = Some(help.to_owned());
            first.expected = None;
        }
    }

    /// Returns `true` if so many errors were found that computing expensive help for another one is not worth it.
    pub(crate) fn has_too_many(&self) -> bool {
        self.diagnostics.len() >= 2 * MAX_SHOWN
    }

    /// Returns the number of errors so far.
    pub(crate) fn count(&self) -> usize {
        self.diagnostics.len() + self.more
    }

    /// Returns `true` if no error was recorded so far.
    pub(crate) fn is_empty(&self) -> bool {
        self.diagnostics.is_empty()
    }

    /// Returns the report with its errors in order of file and position.
    pub(crate) fn sorted(mut self) -> Self {
        self.diagnostics.sort_by_key(|d| (d.source, d.span.as_ref().map(|s| (s.start, s.end))));
        self
    }
}
