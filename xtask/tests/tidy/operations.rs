//! Rules about `docs/operations.md`: it has one complete entry for each state, health, exit and finding, and names only verbs
//! that exist.

use crate::tree::{File, assert_none, rust, tree};
use crate::vocabulary::{cells, quoted, section};

const PAGE: &str = "docs/operations.md";
/// The section of each list of words, the file of the words, and the text behind which they stand.
const LISTS: [(&str, &str, &str); 5] = [
    ("## States of a child", "liveoak-api/src/child.rs", "impl State {"),
    ("## States of a tree", "liveoak-runtime/src/engine/ended.rs", "impl TreePhase {"),
    ("## Health", "liveoak-api/src/child.rs", "impl Health {"),
    ("## Exits", "liveoak-core/src/exit.rs", "pub const fn kind("),
    ("## Findings", "liveoak-api/src/finding.rs", "pub const fn as_str("),
];
/// The file of the verbs that speak to a running tree, and the others.
const VERBS: (&str, &str) = ("liveoak-cli/src/client/args.rs", "pub(crate) enum ClientCommand {");
const OTHER_VERBS: [&str; 3] = ["up", "check", "schema"];

fn page() -> &'static File {
    tree().iter().find(|file| file.path == PAGE).unwrap_or_else(|| panic!("{PAGE} is missing"))
}

/// Returns the lines of an item, up to the line that closes it.
fn item<'a>(text: &'a str, begin: &str) -> Vec<&'a str> {
    let rest = text.split_once(begin).map_or("", |(_, rest)| rest);
    let lines: Vec<&str> = rest.lines().collect();
    let indent =
        text.lines().find(|line| line.contains(begin)).map_or(0, |line| line.len() - line.trim_start().len());
    let closes = |line: &&str| line.trim_start() == "}" && line.len() == indent + 1;
    let end = lines.iter().position(closes).unwrap_or(lines.len());
    lines[..end].to_vec()
}

/// Returns the words that the arms of a match return.
fn words(text: &str, begin: &str) -> Vec<String> {
    let arms = item(text, begin).into_iter().filter_map(|line| line.split_once("=> \"")?.1.split('"').next());
    arms.map(str::to_owned).collect()
}

fn source(path: &str) -> &'static str {
    let file = rust().find(|file| file.path.ends_with(path));
    file.and_then(File::text).unwrap_or_else(|| panic!("{path} is missing"))
}

/// Returns a finding for each word without an entry, for each entry without a word, and for each entry that is not complete.
fn wrong_entries(page: &File, heading: &str, words: &[String]) -> Vec<String> {
    let rows = section(page, heading).into_iter().filter_map(|(line, text)| Some((line, cells(text)?)));
    let (mut findings, mut seen) = (Vec::new(), Vec::new());
    for (line, cells) in rows.skip(1) {
        let [word, sees, means, look, helps] = cells[..] else {
            findings
                .push(page.finding(line, "five cells: word, what you see, what it means, look, what helps"));
            continue;
        };
        let Some(word) = quoted(word).next().filter(|word| words.iter().any(|known| known == word)) else {
            findings.push(page.finding(line, format!("{word} is no word of this list")));
            continue;
        };
        seen.push(word.to_owned());
        if [sees, means].iter().any(|cell| cell.is_empty()) {
            findings.push(page.finding(line, format!("`{word}`: say what is seen and what it means")));
        }
        if quoted(look).next().is_none() && !look.ends_with('.') || helps.is_empty() {
            findings.push(page.finding(line, format!("`{word}`: name the command to look, and what helps")));
        }
    }
    for word in words {
        let count = seen.iter().filter(|seen| *seen == word).count();
        if count != 1 {
            findings
                .push(page.finding(1, format!("`{word}` has {count} entries below {heading:?}, not one")));
        }
    }
    findings
}

/// Returns a finding for each command of the page whose verb does not exist.
fn unknown_verbs(page: &File, verbs: &[String]) -> Vec<String> {
    let mut findings = Vec::new();
    for (line, text) in (1..).zip(page.text().unwrap_or_default().lines()) {
        for command in quoted(text).filter_map(|command| command.strip_prefix("liveoak ")) {
            let verb = command.split(' ').next().unwrap_or_default();
            if !verbs.iter().any(|known| known == verb) {
                findings.push(page.finding(line, format!("there is no verb `{verb}`")));
            }
        }
    }
    findings
}

/// Returns the verbs of the command line.
fn verbs() -> Vec<String> {
    let lines = item(source(VERBS.0), VERBS.1);
    let names = lines.iter().filter(|line| line.starts_with("    ") && !line.starts_with("     "));
    let names = names.filter_map(|line| line.trim().split(['(', ' ']).next());
    let names = names.filter(|name| name.chars().next().is_some_and(char::is_uppercase));
    names.map(str::to_lowercase).chain(OTHER_VERBS.map(str::to_owned)).collect()
}

#[test]
fn the_page_of_operations_has_one_complete_entry_for_each_state_exit_and_finding() {
    for (heading, path, begin) in LISTS {
        let words = words(source(path), begin);
        assert!(words.len() > 3, "{path} has lost the words behind {begin:?}: {words:?}");
        assert_none(wrong_entries(page(), heading, &words));
    }
}

#[test]
fn every_verb_on_the_page_of_operations_exists() {
    let verbs = verbs();
    assert!(verbs.len() > 20, "{verbs:?}");
    assert_none(unknown_verbs(page(), &verbs));
}

#[test]
fn a_missing_a_double_an_unknown_and_an_incomplete_entry_are_found() {
    let known = ["up".to_owned(), "down".to_owned()];
    let found = |rows: &[&str]| {
        let head = "## A\n\n| a | b | c | d | e |\n|---|---|---|---|---|\n";
        wrong_entries(&File::new(PAGE, &format!("{head}{}\n", rows.join("\n"))), "## A", &known).len()
    };
    let (up, down) = ("| `up` | x | y | `liveoak ps` | z |", "| `down` | x | y | `liveoak ps` | z |");
    assert_eq!(found(&[up, down]), 0);
    assert_eq!(found(&[up]), 1);
    assert_eq!(found(&[up, up, down]), 1);
    assert_eq!(found(&[up, down, "| `away` | x | y | `liveoak ps` | z |"]), 1);
    assert_eq!(found(&[up, "| `down` |  | y | `liveoak ps` | z |"]), 1);
    assert_eq!(found(&[up, "| `down` | x | y | no command | z |"]), 1);
    assert_eq!(found(&[up, down, "| `down` | x |"]), 1);
    let page = File::new(PAGE, "`liveoak pss` and `liveoak ps -x`\n");
    assert_eq!(unknown_verbs(&page, &["ps".to_owned()]).len(), 1);
}
