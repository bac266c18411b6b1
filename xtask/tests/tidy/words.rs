//! Plain words: rules about every sentence that people read, in pages, comments and the names of tests.
//!
//! The rules find what a program can find. They do not make a sentence good.

use crate::code::{mask, test_at, tokens};
use crate::tree::{File, assert_finds, assert_none, rust, tree};

/// Words that hide who acts: name the actor instead (the driver, the calling thread, the waiting child, the user).
const HIDDEN_ACTORS: [&str; 4] = ["whoever", "whomever", "somebody", "nobody"];
/// Phrases that say nothing, or that only the author understands.
const EMPTY_PHRASES: [&str; 4] = ["see the module.", "rests by wish", "what ails", "one that rests"];
/// First words that show that the doc of a function has no verb.
const NO_VERB: [&str; 24] = [
    "a", "all", "always", "an", "any", "as", "every", "for", "from", "how", "if", "in", "its", "no", "of",
    "one", "that", "the", "these", "this", "those", "what", "when", "whether",
];

/// A line of prose: its number and its text.
type Prose<'a> = (usize, &'a str);

/// Returns the lines of prose in a file: all lines of a page, or the comments of a source.
fn prose(file: &File) -> Vec<Prose<'_>> {
    let lines = (1..).zip(file.text().unwrap_or_default().lines());
    if file.path.ends_with(".md") {
        return lines.collect();
    }
    if !file.is_rust() {
        return vec![];
    }
    lines.filter_map(|(line, text)| Some((line, text.trim_start().strip_prefix("//")?))).collect()
}

/// Returns the words of a text in small letters.
fn words(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_lowercase)
}

/// Finds hidden actors and empty phrases. This file names them, so it is left out.
fn private_words(file: &File) -> Vec<String> {
    if file.path.ends_with("tidy/words.rs") || file.path.starts_with("LICENSE") {
        return vec![];
    }
    let mut findings = Vec::new();
    for (line, text) in prose(file) {
        let hidden = words(text).find(|word| HIDDEN_ACTORS.contains(&word.as_str()));
        findings.extend(hidden.map(|word| file.finding(line, format!("`{word}`: name who or what acts"))));
        let text = text.to_lowercase();
        let empty = EMPTY_PHRASES.iter().find(|phrase| text.contains(**phrase));
        findings.extend(empty.map(|phrase| file.finding(line, format!("`{phrase}`: say it in plain words"))));
    }
    if file.is_rust() {
        let masked = mask(file.text().unwrap_or_default());
        let tokens = tokens(&masked);
        for name in (0..tokens.len()).filter_map(|at| test_at(&tokens, at)) {
            let hidden = name.text.split('_').find(|word| HIDDEN_ACTORS.contains(word));
            let advice = |word| format!("`{word}` in the name of a test: name who acts");
            findings.extend(hidden.map(|word| file.finding(name.line, advice(word))));
        }
    }
    findings
}

#[test]
fn no_sentence_hides_who_acts() {
    assert_none(tree().iter().flat_map(private_words).collect());
}

#[test]
fn a_hidden_actor_is_found_in_pages_comments_and_names_of_tests() {
    let good = "//! The driver wakes the task.\nfn nobody() { let somebody = \"whoever\"; }\n";
    let bad = [
        "//! Whoever wakes it.\n",
        "/// See the module.\nstruct A;\n",
        "#[test]\nfn a_child_harms_nobody() {}\n",
    ];
    assert_finds(private_words, "crates/a/src/a.rs", good, &bad);
    assert_finds(
        private_words,
        "docs/a.md",
        "The driver.\n",
        &["Nobody waits.\n", "It waits for one that rests.\n"],
    );
}

/// A doc comment of one paragraph or more, and the line of the item below it.
struct Doc<'a> {
    line: usize,
    text: Vec<&'a str>,
    item: &'a str,
}

/// Returns all outer doc comments of a source.
fn docs(file: &File) -> Vec<Doc<'_>> {
    let lines: Vec<&str> = file.text().unwrap_or_default().lines().map(str::trim).collect();
    let mut docs = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        let line = at + 1;
        let mut text = Vec::new();
        while let Some(doc) = lines.get(at).and_then(|text| text.strip_prefix("///")) {
            text.push(doc.trim());
            at += 1;
        }
        if text.is_empty() {
            at += 1;
            continue;
        }
        while lines
            .get(at)
            .is_some_and(|line| line.starts_with("#[") || line.ends_with(")]") && !line.contains("fn "))
        {
            at += 1;
        }
        docs.push(Doc { line, text, item: lines.get(at).copied().unwrap_or_default() });
    }
    docs
}

/// Returns `true` if a line declares a field.
fn is_field(item: &str) -> bool {
    let item = item.strip_prefix("pub(crate) ").or_else(|| item.strip_prefix("pub(super) ")).unwrap_or(item);
    let item = item.strip_prefix("pub ").unwrap_or(item);
    let name = item.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_').count();
    name > 0 && item[name..].starts_with(": ")
}

fn one_word_docs(file: &File) -> Vec<String> {
    let short = docs(file).into_iter().filter(|doc| is_field(doc.item));
    let short = short.filter(|doc| doc.text.len() == 1 && words(doc.text[0]).count() == 1);
    short
        .map(|doc| file.finding(doc.line, format!("`{}` says nothing: name the thing", doc.text[0])))
        .collect()
}

#[test]
fn the_doc_of_a_field_is_more_than_one_word() {
    assert_none(rust().flat_map(one_word_docs).collect());
}

#[test]
fn a_one_word_doc_of_a_field_is_found() {
    let good =
        "enum A {\n    /// Always.\n    B,\n}\nstruct C {\n    /// The attempt number.\n    pub d: u8,\n}\n";
    let bad = [
        "struct A {\n    /// Which.\n    pub b: u8,\n}\n",
        "enum A {\n    B {\n        /// When.\n        c: u8,\n    },\n}\n",
    ];
    assert_finds(one_word_docs, "crates/a/src/a.rs", good, &bad);
}

/// Finds docs of functions that begin without a verb.
fn verbless_docs(file: &File) -> Vec<String> {
    if file.is_test() {
        return vec![];
    }
    let of_functions = docs(file).into_iter().filter(|doc| {
        doc.item.split_once("fn ").is_some_and(|(before, _)| {
            before.split_whitespace().all(|word| {
                matches!(
                    word,
                    "pub" | "pub(crate)" | "pub(super)" | "const" | "async" | "unsafe" | "extern" | "\"C\""
                )
            })
        })
    });
    let verbless = of_functions
        .filter(|doc| words(doc.text[0]).next().is_some_and(|first| NO_VERB.contains(&first.as_str())));
    let advice = "begin with a verb: `Returns …`, `Starts …`, `Waits until …`";
    verbless.map(|doc| file.finding(doc.line, format!("`{}`: {advice}", doc.text[0]))).collect()
}

#[test]
fn the_doc_of_a_function_begins_with_a_verb() {
    assert_none(rust().flat_map(verbless_docs).collect());
}

#[test]
fn a_doc_of_a_function_without_a_verb_is_found() {
    let good = "/// Returns the path.\n#[must_use]\npub const fn a() -> P {}\n/// The path.\nstruct B;\n";
    let bad = [
        "/// Whether it lives.\nfn a() -> bool {}\n",
        "/// The path.\n#[must_use]\npub(crate) async fn a() {}\n",
    ];
    assert_finds(verbless_docs, "crates/a/src/a.rs", good, &bad);
}
