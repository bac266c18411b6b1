//! The map in ARCHITECTURE.md: the files and functions that it names exist, and public names are made of its words.

use crate::code::{Token, begins, mask, outside_tests, tokens};
use crate::tree::{File, assert_none, rust, tree};
use std::collections::BTreeSet;

const PAGE: &str = "ARCHITECTURE.md";
/// The section that explains the project's words and lists the ordinary ones.
const WORDS: &str = "## Vocabulary";
/// The section with the table of rules and the function that decides each.
const RULES: &str = "## Where each rule is decided";
/// The crates whose public types are checked.
const LIBRARIES: [&str; 5] =
    ["liveoak-core", "liveoak-runtime", "liveoak-process", "liveoak-config", "liveoak-journal"];

pub(crate) fn page() -> &'static File {
    tree().iter().find(|file| file.path == PAGE).unwrap_or_else(|| panic!("{PAGE} is missing"))
}

/// Returns the lines of a section, with their numbers.
pub(crate) fn section<'a>(page: &'a File, heading: &str) -> Vec<(usize, &'a str)> {
    let lines = (1..).zip(page.text().unwrap_or_default().lines());
    let from_heading = lines.skip_while(|(_, line)| *line != heading).skip(1);
    from_heading.take_while(|(_, line)| !line.starts_with("## ")).collect()
}

/// Returns the texts between backticks.
pub(crate) fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Returns the cells of a table's row, or `None` for the line below the head.
pub(crate) fn cells(line: &str) -> Option<Vec<&str>> {
    let inner = line.strip_prefix("| ")?.strip_suffix(" |")?;
    (!inner.starts_with("---")).then(|| inner.split(" | ").map(str::trim).collect())
}

/// Returns a finding for each file and function in the table of rules that does not exist.
fn dead_rules<'a>(page: &File, files: impl Iterator<Item = &'a File>) -> Vec<String> {
    let files: Vec<&File> = files.collect();
    let mut findings = Vec::new();
    let rows = section(page, RULES).into_iter().filter_map(|(line, text)| Some((line, cells(text)?)));
    for (line, cells) in rows.skip(1) {
        let [_, file, functions] = cells[..] else {
            findings.push(page.finding(line, "three cells: rule, file, function"));
            continue;
        };
        for path in quoted(file) {
            let Some(file) = files.iter().find(|file| file.path.ends_with(path)) else {
                findings.push(page.finding(line, format!("there is no file `{path}`")));
                continue;
            };
            let masked = mask(file.text().unwrap_or_default());
            let tokens = outside_tests(&tokens(&masked));
            for name in quoted(functions) {
                let last = name.rsplit("::").next().unwrap_or(name);
                if !defines(&tokens, last) {
                    findings.push(page.finding(line, format!("`{last}` is not defined in `{path}`")));
                }
            }
        }
    }
    findings
}

/// Returns a finding for every source file that the page names and that does not exist.
fn dead_files<'a>(page: &File, files: impl Iterator<Item = &'a File>) -> Vec<String> {
    let files: Vec<&File> = files.collect();
    let mut findings = Vec::new();
    for (line, text) in (1..).zip(page.text().unwrap_or_default().lines()) {
        for path in quoted(text).filter(|path| path.ends_with(".rs")) {
            if !files.iter().any(|file| format!("/{}", file.path).ends_with(&format!("/{path}"))) {
                findings.push(page.finding(line, format!("there is no file `{path}`")));
            }
        }
    }
    findings
}

/// Returns `true` if a file defines a function, type or constant of this name.
fn defines(tokens: &[Token<'_>], name: &str) -> bool {
    let words = ["fn", "struct", "enum", "trait", "const", "static", "type"];
    (0..tokens.len()).any(|at| words.iter().any(|word| begins(tokens, at, &[word, name])))
}

#[test]
fn every_rule_on_the_map_is_where_the_map_says() {
    assert!(section(page(), RULES).len() > 30, "{PAGE} has lost its table of rules");
    assert_none(dead_rules(page(), rust()));
    assert_none(dead_files(page(), rust()));
}

#[test]
fn a_rule_on_the_map_that_has_moved_is_found() {
    let page = |row: &str| {
        File::new(PAGE, &format!("{RULES}\n\n| rule | file | function |\n|---|---|---|\n{row}\n"))
    };
    let file = File::new("crates/a/src/stop.rs", "pub fn kill() {}");
    let found = |row: &str| dead_rules(&page(row), [&file].into_iter()).len();
    assert_eq!(found("| it stops | `a/src/stop.rs` | `kill` |"), 0);
    assert_eq!(found("| it stops | `a/src/start.rs` | `kill` |"), 1);
    assert_eq!(found("| it stops | `a/src/stop.rs` | `ask` |"), 1);
    let named =
        |path: &str| dead_files(&File::new(PAGE, &format!("Read `{path}`.\n")), [&file].into_iter()).len();
    assert_eq!((named("src/stop.rs"), named("top.rs"), named("gone.rs")), (0, 1, 1));
}

/// Returns the words of the vocabulary in small letters.
fn known_words(page: &File) -> BTreeSet<String> {
    let lines = section(page, WORDS);
    let rows = lines.iter().filter_map(|(_, line)| cells(line)?.first().copied());
    let listed = lines.iter().filter_map(|(_, line)| line.strip_prefix("Ordinary words:"));
    let words = rows.chain(listed).flat_map(|text| text.split(|c: char| !c.is_alphanumeric()));
    words.filter(|word| !word.is_empty()).map(str::to_lowercase).collect()
}

/// Returns the words of a name in camel case.
fn words_of(name: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for c in name.chars() {
        match words.last_mut() {
            Some(word) if !c.is_uppercase() => word.push(c),
            _ => words.push(c.to_lowercase().collect()),
        }
    }
    words
}

/// Returns `true` if a word is on the list, in the singular or the plural.
fn is_known(word: &str, known: &BTreeSet<String>) -> bool {
    known.contains(word) || word.strip_suffix('s').is_some_and(|one| known.contains(one))
}

/// Returns a finding for each public type whose name has a word that is not in the vocabulary.
fn unknown_names(page: &File, file: &File) -> Vec<String> {
    if !LIBRARIES.iter().any(|library| file.path == format!("crates/{library}/src/lib.rs")) {
        return vec![];
    }
    let known = known_words(page);
    let masked = mask(file.text().unwrap_or_default());
    let tokens = outside_tests(&tokens(&masked));
    let mut findings = Vec::new();
    let depth = |at: usize| {
        let count = |bracket| tokens[..at].iter().filter(|token| token.text == bracket).count();
        count("{") - count("}")
    };
    // What a hidden module inside exports is not public.
    let top_level = |at: &usize| begins(&tokens, *at, &["pub", "use"]) && depth(*at) == 0;
    for at in (0..tokens.len()).filter(top_level) {
        for token in tokens[at..].iter().take_while(|token| token.text != ";") {
            let is_type =
                token.text.starts_with(char::is_uppercase) && token.text.contains(char::is_lowercase);
            let unknown = words_of(token.text).into_iter().find(|word| !is_known(word, &known));
            if let (true, Some(word)) = (is_type, unknown) {
                let advice = format!("`{}`: `{word}` is not a word of the vocabulary in {PAGE}", token.text);
                findings.push(file.finding(token.line, advice));
            }
        }
    }
    findings
}

#[test]
fn public_types_are_named_with_words_of_the_vocabulary() {
    assert!(section(page(), WORDS).len() > 20, "{PAGE} has lost its vocabulary");
    assert_none(rust().flat_map(|file| unknown_names(page(), file)).collect());
}

#[test]
fn a_public_type_with_a_private_word_is_found() {
    let page = File::new(
        PAGE,
        &format!(
            "{WORDS}\n\n| word | meaning | where |\n|---|---|---|\n| stop stage | how | - |\n\nOrdinary words: error, id.\n"
        ),
    );
    let found = |text: &str| unknown_names(&page, &File::new("crates/liveoak-core/src/lib.rs", text)).len();
    assert_eq!(found("pub use report::{MAX, StopStage, stages, StageErrors};"), 0);
    assert_eq!(found("pub use report::StopRung;"), 1);
}
