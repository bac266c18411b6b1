//! Typed access to parsed TOML. A [`Node`] is a value with its place and its path; a [`Table`] is one whose keys are
//! in the order of the file. A getter that meets a wrong type records the error and returns `None`, so that reading goes
//! on and finds the next error.

use crate::diagnostic::{Diagnostic, Problems, Span};
use crate::duration::duration;
use crate::text::{join, near_miss, one_of, shown};
use crate::types::{Keys, Word};
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
    /// Where the value stands; of a `[header]` table, the header.
    pub(crate) span: Span,
    /// The value.
    pub(crate) value: &'t DeValue<'t>,
}

/// A table of the file, its keys in the order in which they stand there.
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

    /// Returns the value of a key as one of a closed list of words, if the file has the key.
    pub(crate) fn word<T: Word>(&self, key: &str, problems: &mut Problems) -> Option<T> {
        self.get(key)?.word(problems)
    }

    /// Records an error for every key that is not among `known`.
    fn refuse_unknown(&self, what: &str, known: &Keys, problems: &mut Problems) {
        for node in self.nodes.iter().filter(|node| !known.has(node.key)) {
            problems.push(node.unknown_key(what, &known.names()));
        }
    }
}

impl<'t> Node<'t> {
    fn new(parent: &str, key: &'t str, key_span: Span, value: &'t Spanned<DeValue<'t>>) -> Self {
        Self { path: join(parent, key), key, key_span, span: value.span(), value: value.get_ref() }
    }

    /// Returns an error at this value.
    pub(crate) fn error(&self, message: impl Into<String>) -> Diagnostic {
        Diagnostic::at(self.span.clone(), &self.path, message)
    }

    /// Returns an error at this value's key.
    pub(crate) fn key_error(&self, message: impl Into<String>) -> Diagnostic {
        Diagnostic::at(self.key_span.clone(), &self.path, message)
    }

    /// Returns the error for a key that `what` does not have.
    pub(crate) fn unknown_key(&self, what: &str, known: &[&'static str]) -> Diagnostic {
        let error = self
            .key_error(format!("unknown key `{}`", shown(self.key)))
            .label(format!("not a key of {what}"))
            .expected(one_of(known.iter().copied()));
        match near_miss(self.key, known.iter().copied()) {
            Some(near) => error.help(format!("did you mean `{near}`?")),
            None => error.help("remove it; `liveoak schema` describes every key"),
        }
    }

    /// Returns the error for a value of the wrong type. `expected` is such as "a string", `example` such as `cwd =
    /// "data"`.
    pub(crate) fn wrong_type(&self, expected: &str, example: &str) -> Diagnostic {
        self.error(format!("`{}` must be {expected}", self.path))
            .label(format!("found {}", describe(self.value)))
            .expected(format!("{expected}, as in: {example}"))
    }

    /// Returns the value as a string without NUL characters.
    pub(crate) fn string(&self, example: &str, problems: &mut Problems) -> Option<&'t str> {
        let DeValue::String(text) = self.value else {
            let error = self.wrong_type("a string", example);
            problems.push(match self.value {
                DeValue::Integer(number) if number.radix() == 10 => error.help(quote_it(number.as_str())),
                DeValue::Float(number) => error.help(quote_it(number.as_str())),
                DeValue::Boolean(value) => error.help(quote_it(&value.to_string())),
                _ => error,
            });
            return None;
        };
        if text.contains('\0') {
            let error = self.error(format!("`{}` has a NUL character in it", self.path));
            problems.push(error.help("remove `\\u0000`; no program can be given one"));
            return None;
        }
        Some(text)
    }

    /// Returns the value as a string that is not empty.
    pub(crate) fn filled(&self, example: &str, problems: &mut Problems) -> Option<&'t str> {
        let text = self.string(example, problems)?;
        if text.trim().is_empty() {
            let error = self.error(format!("`{}` is empty", self.path));
            problems.push(
                error.expected(format!("a value, as in: {example}")).help("fill it in, or leave the key out"),
            );
            return None;
        }
        Some(text)
    }

    /// Returns the value as `true` or `false`.
    pub(crate) fn boolean(&self, example: &str, problems: &mut Problems) -> Option<bool> {
        let DeValue::Boolean(value) = self.value else {
            problems.push(self.wrong_type("true or false", example));
            return None;
        };
        Some(*value)
    }

    /// Returns the value as a whole number from `low` to `high`. `or` names what else may stand here, such as ` or
    /// "unlimited"`.
    pub(crate) fn integer(&self, low: u64, high: u64, or: &str, problems: &mut Problems) -> Option<u64> {
        let expected = format!("a whole number from {low} to {high}{or}");
        let DeValue::Integer(digits) = self.value else {
            let example = format!("{} = {}", self.key, low.max(3).min(high));
            problems.push(self.wrong_type(&expected, &example));
            return None;
        };
        let number = i128::from_str_radix(digits.as_str(), digits.radix()).ok();
        let fitting = number.and_then(|n| u64::try_from(n).ok()).filter(|n| (low..=high).contains(n));
        if fitting.is_none() {
            let error = self.error(format!("`{}` is out of range", self.path));
            problems.push(error.label(format!("found {}", describe(self.value))).expected(expected));
        }
        fitting
    }

    /// Returns the value as a duration; `Some(None)` is `"infinity"`. `infinity` decides whether that word may stand here.
    pub(crate) fn duration(&self, infinity: Infinity, problems: &mut Problems) -> Option<Option<Duration>> {
        let example = format!("{} = \"5s\"", self.key);
        let text = match self.value {
            DeValue::Integer(digits) => {
                let number: String = digits.as_str().chars().take(12).collect();
                let error = self.wrong_type("a duration with its unit", &example);
                problems.push(
                    error.help(format!("write \"{number}s\" for seconds, \"{number}ms\" for milliseconds")),
                );
                return None;
            }
            DeValue::String(text) => text.as_ref(),
            _ => {
                problems.push(self.wrong_type("a duration in a string", &example));
                return None;
            }
        };
        if matches!(text, "infinity" | "infinite" | "forever" | "never" | "inf") {
            match infinity {
                Infinity::Allowed if text == "infinity" => return Some(None),
                Infinity::Allowed => {
                    let error = self.error(format!("`{}` is no duration", self.path));
                    problems.push(error.label("this word is not known").help("did you mean \"infinity\"?"));
                }
                Infinity::Refused(why) => {
                    let error = self.error(format!("`{}` must end some time", self.path));
                    problems.push(
                        error.label("no end").expected(format!("a duration, as in: {example}")).help(why),
                    );
                }
            }
            return None;
        }
        match duration(text) {
            Ok(duration) => Some(Some(duration)),
            Err(problem) => {
                let error = self.error(format!("`{}` is no duration", self.path));
                problems.push(
                    error
                        .label(format!("this {problem}"))
                        .expected("whole numbers with units, as in: \"500ms\", \"5s\", \"1m30s\", \"2h\""),
                );
                None
            }
        }
    }

    /// Returns the value as a duration that ends.
    pub(crate) fn finite(&self, problems: &mut Problems) -> Option<Duration> {
        self.duration(Infinity::Refused("write a time, however long"), problems).flatten()
    }

    /// Returns the value as a duration above zero; `why` explains what zero would mean.
    pub(crate) fn positive(&self, why: &str, problems: &mut Problems) -> Option<Duration> {
        let duration = self.finite(problems)?;
        if duration.is_zero() {
            let error = self.error(format!("`{}` is zero", self.path)).label("no time at all");
            problems.push(error.expected(format!("more than zero, as in: {} = \"5s\"", self.key)).help(why));
            return None;
        }
        Some(duration)
    }

    /// Returns the value as one of a closed list of words.
    pub(crate) fn word<T: Word>(&self, problems: &mut Problems) -> Option<T> {
        let words = || T::ALL.iter().map(|value| value.word());
        let DeValue::String(text) = self.value else {
            let example = format!("{} = {:?}", self.key, words().next().unwrap_or_default());
            problems.push(self.wrong_type("a string", &example).expected(one_of(words())));
            return None;
        };
        if let Some(value) = T::ALL.iter().find(|value| value.word() == text.as_ref()) {
            return Some(*value);
        }
        let error = self
            .error(format!("`{}` has an unknown value", self.path))
            .label("not one of the words for it")
            .expected(one_of(words()));
        let near = near_miss(text, words())
            .or_else(|| words().find(|word| word.strip_prefix("SIG") == Some(&text.to_uppercase())));
        problems.push(match near {
            Some(near) => error.help(format!("did you mean \"{near}\"?")),
            None => error,
        });
        None
    }

    /// Returns the value as a table, and records an error for each key that is not `known`.
    pub(crate) fn table_of(
        &self,
        what: &str,
        known: &Keys,
        example: &str,
        problems: &mut Problems,
    ) -> Option<Table<'t>> {
        let table = self.table(what, example, problems)?;
        table.refuse_unknown(what, known, problems);
        Some(table)
    }

    /// Returns the value as a table with any keys.
    pub(crate) fn table(&self, what: &str, example: &str, problems: &mut Problems) -> Option<Table<'t>> {
        match self.value {
            DeValue::Table(table) => Some(Table::new(self.path.clone(), self.span.clone(), table)),
            DeValue::Array(_) if self.is_array_of_tables() => {
                let error = self.wrong_type("a table", example);
                problems.push(error.help(format!("{what} is written with single brackets: [{}]", self.path)));
                None
            }
            _ => {
                problems.push(self.wrong_type("a table", example));
                None
            }
        }
    }

    /// Returns `true` if the value was written with `[[double]]` brackets. The parser does not report it, but then the
    /// array and its first element both have the place of the first header, while an element in brackets begins after
    /// its bracket.
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

/// Decides whether `"infinity"` may stand for a duration.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Infinity {
    /// The word may stand for a duration.
    Allowed,
    /// The word may not; the text advises what to do instead.
    Refused(&'static str),
}

/// Returns the advice for a value that lacks only its quotes.
fn quote_it(value: &str) -> String {
    format!("put it in double quotes: \"{}\"", shown(value))
}

/// Returns what was found, to follow "found".
fn describe(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("the string \"{}\"", shown(text)),
        DeValue::Integer(number) => format!("the integer {}", shown(number.as_str())),
        DeValue::Float(number) => format!("the float {}", shown(number.as_str())),
        DeValue::Boolean(value) => format!("the boolean {value}"),
        DeValue::Datetime(_) => "a date or time".to_owned(),
        DeValue::Array(_) => "an array".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}
