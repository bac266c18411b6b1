//! Typed access to parsed TOML. A [`Node`] is a value with its place and its path; a [`Table`] is a list of nodes in
//! file order. A getter returns the value or the error. The [`Reader`](crate::reader::Reader) records errors
//! and continues, to find the next one.

use crate::diagnostic::{Checked, Diagnostic, Error, Span};
use crate::duration::parse_duration;
use crate::other_words::{self, OtherWords};
use crate::text::{escaped, join, near_miss, one_of};
use crate::types::Word;
use std::time::Duration;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A value of the file.
#[derive(Clone, Debug)]
pub(crate) struct Node<'t> {
    /// The keys that lead here, for example `child.db.restart`.
    pub(crate) path: String,
    /// The last of the keys.
    pub(crate) key: &'t str,
    /// Where the last key stands.
    pub(crate) key_span: Span,
    /// Where the value stands; for a `[header]` table: the header.
    pub(crate) span: Span,
    /// The value.
    pub(crate) value: &'t DeValue<'t>,
}

/// A table of the file, with its keys in the order of the file.
#[derive(Debug)]
pub(crate) struct Table<'t> {
    /// The keys that lead here; empty at the top.
    pub(crate) path: String,
    /// Where the table stands.
    pub(crate) span: Span,
    /// Its values.
    pub(crate) nodes: Vec<Node<'t>>,
}

impl<'t> Table<'t> {
    /// Puts a parsed table into the order of the file.
    pub(crate) fn new(path: String, span: Span, table: &'t DeTable<'t>) -> Self {
        let mut nodes: Vec<Node<'t>> =
            table.iter().map(|(key, value)| Node::new(&path, key.get_ref(), key.span(), value)).collect();
        nodes.sort_by_key(|node| node.key_span.start);
        Self { path, span, nodes }
    }

    /// Returns the value of a key, if the file has it.
    pub(crate) fn get(&self, key: &str) -> Option<&Node<'t>> {
        self.nodes.iter().find(|node| node.key == key)
    }
}

impl<'t> Node<'t> {
    fn new(parent: &str, key: &'t str, key_span: Span, value: &'t Spanned<DeValue<'t>>) -> Self {
        Self { path: join(parent, key), key, key_span, span: value.span(), value: value.get_ref() }
    }

    /// Returns an error at this value.
    pub(crate) fn error(&self, message: impl Into<String>) -> Error {
        Diagnostic::at(self.span.clone(), &self.path, message)
    }

    /// Returns an error at this value's key.
    pub(crate) fn key_error(&self, message: impl Into<String>) -> Error {
        Diagnostic::at(self.key_span.clone(), &self.path, message)
    }

    /// Returns the error for a key that `what` does not have. `others` contains the words of other tools for its keys.
    pub(crate) fn unknown_key(
        &self,
        what: &str,
        known: &[&'static str],
        others: &[&'static [OtherWords]],
    ) -> Error {
        let near = near_miss(self.key, known.iter().copied());
        self.key_error(format!("unknown key `{}`", escaped(self.key)))
            .label(format!("not a key of {what}"))
            .expected(one_of(known.iter().copied()))
            .help("remove it; `liveoak schema` describes every key")
            .help_if(near.map(|near| format!("did you mean `{near}`?")))
            .help_if(other_words::advice(self.key, others, known).map(str::to_owned))
    }

    /// Returns the error for a value of the wrong type. An example of `expected` is "a string", one of `example` is
    /// `cwd = "data"`.
    pub(crate) fn wrong_type(&self, expected: &str, example: &str) -> Error {
        self.error(format!("`{}` must be {expected}", self.path))
            .label(format!("found {}", describe(self.value)))
            .expected(format!("{expected}, as in: {example}"))
    }

    /// Returns the value as a string without NUL characters.
    pub(crate) fn string(&self, example: &str) -> Checked<&'t str> {
        let DeValue::String(text) = self.value else {
            let unquoted = match self.value {
                DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str()),
                DeValue::Float(number) => Some(number.as_str()),
                DeValue::Boolean(value) => Some(if *value { "true" } else { "false" }),
                _ => None,
            };
            let help = unquoted.map(|value| format!("put it in double quotes: \"{}\"", escaped(value)));
            return Err(self.wrong_type("a string", example).help_if(help));
        };
        if text.contains('\0') {
            let error = self.error(format!("`{}` contains a NUL character", self.path));
            return Err(error.help("remove `\\u0000`; a program cannot get a NUL character"));
        }
        Ok(text)
    }

    /// Returns the value as a string without NUL characters. No error shows the value.
    pub(crate) fn secret_string(&self, example: &str) -> Checked<&'t str> {
        self.string(example).map_err(|error| match self.value {
            DeValue::String(_) => error,
            other => {
                let mut error = error.label(format!("found {}", kind(other)));
                error.help = Some("put it in double quotes".to_owned());
                error
            }
        })
    }

    /// Returns the value as a string that is not empty.
    pub(crate) fn filled(&self, example: &str) -> Checked<&'t str> {
        let text = self.string(example)?;
        if text.trim().is_empty() {
            let error = self.error(format!("`{}` is empty", self.path));
            let expected = format!("a value, as in: {example}");
            return Err(error.expected(expected).help("fill it in, or leave the key out"));
        }
        Ok(text)
    }

    /// Returns the value as `true` or `false`.
    pub(crate) fn boolean(&self, example: &str) -> Checked<bool> {
        match self.value {
            DeValue::Boolean(value) => Ok(*value),
            _ => Err(self.wrong_type("true or false", example)),
        }
    }

    /// Returns the value as a whole number from `low` to `high`. `or` names another allowed value, such as ` or
    /// "unlimited"`.
    pub(crate) fn integer<T: TryFrom<u64>>(&self, low: u64, high: u64, or: &str) -> Checked<T> {
        let expected = format!("a whole number from {low} to {high}{or}");
        let DeValue::Integer(digits) = self.value else {
            return Err(self.wrong_type(&expected, &format!("{} = {}", self.key, low.max(3).min(high))));
        };
        let number = u64::from_str_radix(digits.as_str(), digits.radix()).ok();
        let fitting = number.filter(|number| (low..=high).contains(number));
        fitting.and_then(|number| number.try_into().ok()).ok_or_else(|| {
            let error = self.error(format!("`{}` is out of range", self.path));
            error.label(format!("found {}", describe(self.value))).expected(expected)
        })
    }

    /// Returns the value as a finite duration.
    pub(crate) fn finite(&self) -> Checked<Duration> {
        self.duration(Some("write a time, however long"))
    }

    /// Returns the value as a duration above zero; `why` explains what zero would mean.
    pub(crate) fn positive(&self, why: &str) -> Checked<Duration> {
        let duration = self.finite()?;
        if duration.is_zero() {
            let error = self.error(format!("`{}` is zero", self.path)).label("no time at all");
            return Err(error.expected(format!("more than zero, as in: {} = \"5s\"", self.key)).help(why));
        }
        Ok(duration)
    }

    /// Returns the value as a duration; [`Duration::MAX`] is `"infinity"`. If that word is not allowed, `no_infinity` is the
    /// advice.
    pub(crate) fn duration(&self, no_infinity: Option<&str>) -> Checked<Duration> {
        let example = format!("{} = \"5s\"", self.key);
        let text = match self.value {
            DeValue::String(text) => text.as_ref(),
            DeValue::Integer(digits) => {
                let number: String = digits.as_str().chars().take(12).collect();
                let help = format!("write \"{number}s\" for seconds, \"{number}ms\" for milliseconds");
                return Err(self.wrong_type("a duration with its unit", &example).help(help));
            }
            _ => return Err(self.wrong_type("a duration in a string", &example)),
        };
        let no_duration = || self.error(format!("`{}` is not a duration", self.path));
        match (text, no_infinity) {
            ("infinity", None) => Ok(Duration::MAX),
            ("infinity" | "infinite" | "forever" | "never" | "inf", Some(advice)) => {
                let error = self.error(format!("`{}` must be finite", self.path)).label("no end");
                Err(error.expected(format!("a duration, as in: {example}")).help(advice))
            }
            ("infinite" | "forever" | "never" | "inf", None) => {
                Err(no_duration().label("this word is not known").help("did you mean \"infinity\"?"))
            }
            _ => parse_duration(text).map_err(|problem| {
                let expected = "whole numbers with units, as in: \"500ms\", \"5s\", \"1m30s\", \"2h\"";
                no_duration().label(format!("this {problem}")).expected(expected)
            }),
        }
    }

    /// Returns the value as one of a closed list of words.
    pub(crate) fn word<T: Word>(&self) -> Checked<T> {
        let words = || T::ALL.iter().map(|value| value.word());
        let elsewhere = |text: &str| {
            let meant = other_words::value(text, words());
            meant.map(|word| format!("write \"{word}\" instead"))
        };
        let DeValue::String(text) = self.value else {
            let example = format!("{} = {:?}", self.key, words().next().unwrap_or_default());
            let help = match self.value {
                DeValue::Boolean(value) => elsewhere(if *value { "true" } else { "false" }),
                DeValue::Integer(digits) => elsewhere(digits.as_str()),
                _ => None,
            };
            return Err(self.wrong_type("a string", &example).expected(one_of(words())).help_if(help));
        };
        T::ALL.iter().find(|value| value.word() == text.as_ref()).copied().ok_or_else(|| {
            let without_sig = || words().find(|word| word.strip_prefix("SIG") == Some(&text.to_uppercase()));
            let near = near_miss(text, words()).or_else(without_sig);
            self.error(format!("`{}` has an unknown value", self.path))
                .label("not one of the words for it")
                .expected(one_of(words()))
                .help_if(near.map(|near| format!("did you mean \"{near}\"?")))
                .help_if(elsewhere(text))
        })
    }

    /// Returns the value as a table, whatever its keys.
    pub(crate) fn table(&self, what: &str, example: &str) -> Checked<Table<'t>> {
        if let DeValue::Table(table) = self.value {
            return Ok(Table::new(self.path.clone(), self.span.clone(), table));
        }
        let single = || format!("{what} is written with single brackets: [{}]", self.path);
        Err(self.wrong_type("a table", example).help_if(self.is_array_of_tables().then(single)))
    }

    /// Returns `true` if the value was written with `[[double]]` brackets. The parser does not report this, but the places show
    /// it. With `[[double]]` brackets, the array and its first element both have the place of the first header. An element in
    /// single brackets begins after its bracket.
    fn is_array_of_tables(&self) -> bool {
        let DeValue::Array(array) = self.value else { return false };
        array.iter().next().is_some_and(|first| first.span().start == self.span.start)
    }

    /// Returns the elements of an array, each as a node whose key is this node's.
    pub(crate) fn elements(&self) -> Option<Vec<Node<'t>>> {
        let DeValue::Array(array) = self.value else { return None };
        let element = |(index, value): (usize, &'t Spanned<DeValue<'t>>)| Node {
            path: format!("{}[{index}]", self.path),
            key: self.key,
            key_span: value.span(),
            span: value.span(),
            value: value.get_ref(),
        };
        Some(array.iter().enumerate().map(element).collect())
    }
}

/// Returns the description of a value, to follow "found".
fn describe(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("the string \"{}\"", escaped(text)),
        DeValue::Integer(number) => format!("the integer {}", escaped(number.as_str())),
        DeValue::Float(number) => format!("the float {}", escaped(number.as_str())),
        DeValue::Boolean(value) => format!("the boolean {value}"),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => kind(value).to_owned(),
    }
}

/// Returns the kind of a value.
const fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}
