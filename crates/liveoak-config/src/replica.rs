//! Replaces `{replica}` in the strings of a child with the number of the replica, from 1.
//!
//! It is replaced in `command`, `shell`, `cwd`, the values of `env`, the probes of `ready`, `readiness` and
//! `liveness`, and the strings in `args`. Other braces do not change.
//! `${replica}`, a variable of a shell, does not change either. `{{replica}}` is the text `{replica}`. A word that was
//! probably meant to be `{replica}` is an error, because the program would get it literally.

use crate::diagnostic::Error;
use crate::keys::{READINESS, READY};
use crate::reader::Reader;
use crate::table::{Node, Table};
use std::borrow::Cow;
use toml::de::DeValue;

/// The keys of a child in whose strings the number is filled in.
const FILLED: [&str; 8] = ["command", "shell", "cwd", "env", "ready", "readiness", "liveness", "args"];
/// The placeholder of the number.
const WORD: &str = "replica";

/// Words that were probably meant to be [`WORD`], in addition to those that differ from it in one letter.
const NEAR: [&str; 7] = [
    "replica_id",
    "replica_index",
    "replica_no",
    "replica_num",
    "replica_number",
    "replica_name",
    "liveoak_replica",
];

/// Words that stand for such a number in other tools. They are not mistakes in a program without replicas.
const ELSEWHERE: [&str; 7] =
    ["instance", "instance_id", "index", "slot", "number", "process_num", "worker_id"];

/// How supervisord writes the number.
const SUPERVISORD: &str = "%(process_num)";

/// The values of a program's table for one replica.
pub(crate) struct Filled<'t> {
    /// The values of the nodes of the table; `None` for a value that does not change.
    values: Vec<Option<DeValue<'t>>>,
}

impl<'t> Filled<'t> {
    /// Fills in `number`, which is one of `replicas`.
    pub(crate) fn new(table: &Table<'t>, number: u16, replicas: u16) -> Self {
        let fill = |node: &Node<'t>| {
            FILLED.contains(&node.key).then(|| filled(node.key, node.value, number, replicas)).flatten()
        };
        Self { values: table.nodes.iter().map(fill).collect() }
    }

    /// Returns `true` if a value names the replica.
    pub(crate) fn has_any(&self) -> bool {
        self.values.iter().any(Option::is_some)
    }

    /// Returns `table` with the values of this replica.
    pub(crate) fn table<'a>(&'a self, table: &Table<'a>) -> Table<'a> {
        let nodes = table.nodes.iter().zip(&self.values);
        let nodes =
            nodes.map(|(node, value)| Node { value: value.as_ref().unwrap_or(node.value), ..node.clone() });
        Table { path: table.path.clone(), span: table.span.clone(), nodes: nodes.collect() }
    }
}

/// Returns the value at `key` with the number filled in, or `None` if it does not change.
fn filled<'t>(key: &str, value: &DeValue<'t>, number: u16, replicas: u16) -> Option<DeValue<'t>> {
    match value {
        DeValue::String(text) => {
            let text = scan(text, key == "shell", replicas).fill(number)?;
            Some(DeValue::String(Cow::Owned(text)))
        }
        DeValue::Array(array) => {
            let (mut array, mut changed) = (array.clone(), false);
            for element in array.iter_mut() {
                if let Some(new) = filled(key, element.get_ref(), number, replicas) {
                    *element.get_mut() = new;
                    changed = true;
                }
            }
            changed.then_some(DeValue::Array(array))
        }
        DeValue::Table(table) => {
            let (mut table, mut changed) = (table.clone(), false);
            for (name, value) in table.iter_mut() {
                if has_strings(key, name.get_ref())
                    && let Some(new) = filled(below(key, name.get_ref()), value.get_ref(), number, replicas)
                {
                    *value.get_mut() = new;
                    changed = true;
                }
            }
            changed.then_some(DeValue::Table(table))
        }
        _ => None,
    }
}

/// Returns the key that says how the texts at `name` are read, in the table at `key`. The keys of arguments have no
/// meaning here.
fn below<'k>(key: &'k str, name: &'k str) -> &'k str {
    if key == "args" { key } else { name }
}

/// Returns `true` if the key `name` of the table at `key` has a text in which the number is replaced.
fn has_strings(key: &str, name: &str) -> bool {
    match key {
        "ready" => READY.one_of.contains(&name) && name != "delay",
        "readiness" | "liveness" => READINESS.one_of.contains(&name),
        _ => true,
    }
}

/// A piece of a text.
#[derive(Debug, PartialEq, Eq)]
enum Piece<'s> {
    /// Text that does not change.
    Text(&'s str),
    /// The number.
    Number,
    /// A word that was probably meant to be the placeholder.
    Mistake(&'s str),
}

/// The pieces of a text.
struct Scan<'s> {
    pieces: Vec<Piece<'s>>,
    /// `true` if filling in the number changes the text.
    changes: bool,
}

impl Scan<'_> {
    /// Returns the text with the number filled in, or `None` if it does not change.
    fn fill(&self, number: u16) -> Option<String> {
        let text = |piece: &Piece<'_>| match piece {
            Piece::Text(text) | Piece::Mistake(text) => Cow::Owned((*text).to_owned()),
            Piece::Number => Cow::<str>::Owned(number.to_string()),
        };
        self.changes.then(|| self.pieces.iter().map(text).collect())
    }
}

/// Splits a text of a program with this many replicas into pieces. In a script, blanks after `{` begin a list of commands.
fn scan(text: &str, is_script: bool, replicas: u16) -> Scan<'_> {
    let mut found = Scan { pieces: Vec::new(), changes: false };
    let (mut start, mut at) = (0, 0);
    while let Some(open) = text[at..].find('{').map(|brace| at + brace) {
        at = open + 1;
        let before = &text[..open];
        // `${{replica}}` is not an escape either.
        if before.trim_end_matches('{').ends_with('$') {
            continue;
        }
        let Some((length, piece)) = piece_at(&text[open..], is_script, replicas) else { continue };
        let is_mistake = matches!(piece, Piece::Mistake(_));
        // `{{ replica }}` is a template of the program.
        if is_mistake && before.ends_with('{') {
            continue;
        }
        found.changes |= !is_mistake;
        found.pieces.extend([Piece::Text(&text[start..open]), piece]);
        (start, at) = (open + length, open + length);
    }
    found.pieces.push(Piece::Text(&text[start..]));
    found
}

/// Returns the piece that begins with the brace at the start of `text`, and its length.
fn piece_at(text: &str, is_script: bool, replicas: u16) -> Option<(usize, Piece<'_>)> {
    if let Some(escaped) = text.strip_prefix("{{") {
        let word = escaped.split_once("}}").map(|(word, _)| word)?;
        let known = word == WORD || is_near(word, replicas);
        return known.then(|| (word.len() + 4, Piece::Text(&text[1..word.len() + 3])));
    }
    let word = text[1..].split_once('}').map(|(word, _)| word)?;
    match word {
        WORD => Some((word.len() + 2, Piece::Number)),
        _ if is_near(word, replicas) || (word.trim() == WORD && !is_script) => {
            Some((word.len() + 2, Piece::Mistake(&text[..word.len() + 2])))
        }
        _ => None,
    }
}

/// Returns `true` if the word was probably meant to be [`WORD`].
fn is_near(word: &str, replicas: u16) -> bool {
    let lower = word.to_ascii_lowercase().replace('-', "_");
    let is_name = !word.is_empty()
        && word.bytes().all(|byte| byte.is_ascii_alphabetic() || matches!(byte, b'_' | b'-'));
    is_name
        && word != WORD
        && (strsim::damerau_levenshtein(&lower, WORD) <= 1
            || NEAR.contains(&lower.as_str())
            || (replicas > 1 && ELSEWHERE.contains(&lower.as_str())))
}

impl Reader<'_> {
    /// Records an error for each text of a program in which `{replica}` has no meaning or is misspelt.
    pub(crate) fn check_replica_words(&mut self, table: &Table<'_>, replicas: u16) {
        for node in &table.nodes {
            match node.key {
                "env_file" => self.refuse_number_in_env_file(node),
                key if FILLED.contains(&key) => self.check_words_of(key, node, replicas),
                _ => {}
            }
        }
    }

    fn refuse_number_in_env_file(&mut self, node: &Node<'_>) {
        if has_replica_word(node) {
            let error = node.error("`{replica}` has no meaning in `env_file`");
            let error = error.label("all replicas read the same file");
            let help = "put variables that differ into `env`, as in: env = { NAME = \"web-{replica}\" }";
            self.problems.push(error.help(help));
        }
    }

    fn check_words_of(&mut self, key: &str, node: &Node<'_>, replicas: u16) {
        match node.value {
            DeValue::String(text) => {
                let found = scan(text, key == "shell", replicas);
                for piece in &found.pieces {
                    if let Piece::Mistake(word) = piece {
                        self.problems.push(mistake(node, word, replicas));
                    }
                }
                if text.contains(SUPERVISORD) && replicas > 1 {
                    self.problems.push(mistake(node, SUPERVISORD, replicas));
                }
            }
            DeValue::Array(_) => {
                let elements = node.elements().unwrap_or_default();
                elements.iter().for_each(|element| self.check_words_of(key, element, replicas));
            }
            DeValue::Table(table) => {
                let table = Table::new(node.path.clone(), node.span.clone(), table);
                for node in table.nodes.iter().filter(|node| has_strings(key, node.key)) {
                    if key == "env" && node.key.contains("{replica}") {
                        let error = node.key_error("`{replica}` has no meaning in the name of a variable");
                        let help = "put it into the value, as in: NAME = \"web-{replica}\"";
                        self.problems.push(error.label("names are the same for all replicas").help(help));
                    }
                    self.check_words_of(below(key, node.key), node, replicas);
                }
            }
            _ => {}
        }
    }
}

/// Returns `true` if the value is a text that contains `{replica}`.
pub(crate) fn has_replica_word(node: &Node<'_>) -> bool {
    matches!(node.value, DeValue::String(text) if text.contains("{replica}"))
}

/// Returns the error for a word that was probably meant to be `{replica}`. The error does not show the text around the word,
/// because that text may be a secret.
fn mistake(node: &Node<'_>, word: &str, replicas: u16) -> Error {
    let error = node.error(format!("`{word}` is not replaced in `{}`", node.path));
    let literally = match word.strip_prefix('{') {
        Some(word) if !word.contains(' ') => format!(" If the text is meant as it is, write {{{{{word}}}"),
        _ => String::new(),
    };
    error
        .label("the program would get it literally")
        .expected(format!("{{replica}} for the number of the replica, 1 to {replicas}"))
        .help(format!("did you mean `{{replica}}`?{literally}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(text: &str) -> String {
        scan(text, false, 3).fill(2).unwrap_or_else(|| text.to_owned())
    }

    fn mistakes(text: &str, is_script: bool, replicas: u16) -> Vec<String> {
        let found = scan(text, is_script, replicas).pieces;
        found
            .iter()
            .filter_map(|piece| match piece {
                Piece::Mistake(word) => Some((*word).to_owned()),
                Piece::Text(_) | Piece::Number => None,
            })
            .collect()
    }

    #[test]
    fn the_number_is_filled_in_and_other_braces_stay() {
        for (text, expected) in [
            ("{replica}", "2"),
            ("127.0.0.1:700{replica}", "127.0.0.1:7002"),
            ("{replica}{replica}/{x}", "22/{x}"),
            ("{\"n\":{\"i\":{replica}}}", "{\"n\":{\"i\":2}}"),
            ("{{replica}}", "{replica}"),
            ("{{replica}} {replica}", "{replica} 2"),
            ("${replica} ${{replica}}", "${replica} ${{replica}}"),
            ("{{.Name}} {} {a,b} {{ x }} %{http_code} {", "{{.Name}} {} {a,b} {{ x }} %{http_code} {"),
            ("{{replica}", "{2"),
            ("ö{replica}ö", "ö2ö"),
            ("", ""),
        ] {
            assert_eq!(fill(text), expected, "{text}");
        }
    }

    #[test]
    fn a_word_similar_to_replica_is_a_mistake_unless_its_braces_are_doubled() {
        for word in [
            "{replicas}",
            "{Replica}",
            "{replca}",
            "{replica_id}",
            "{REPLICA}",
            "{LIVEOAK_REPLICA}",
            "{ replica }",
        ] {
            assert_eq!(mistakes(word, false, 1), [word], "{word}");
            assert_eq!(mistakes(&format!("{{{word}}}"), false, 1), [""; 0], "{word}");
        }
        assert_eq!(fill("{{replicas}}"), "{replicas}");
        assert_eq!(mistakes("{instance} {index}", false, 2), ["{instance}", "{index}"]);
        assert_eq!(mistakes("{instance} {index}", false, 1), [""; 0]);
        assert_eq!(mistakes("f() { replica }; ${replicas}", true, 2), [""; 0]);
        assert_eq!(mistakes("{replace} {republic} {rep} {id}", false, 2), [""; 0]);
    }
}
