//! Rules about `docs/conformance.md`: its rows are complete, and the tests it names exist.

use crate::code::{mask, test_at, tokens};
use crate::tree::{File, assert_finds, assert_none, rust, tree};
use std::collections::BTreeSet;

const PAGE: &str = "docs/conformance.md";
/// The number of rows.
const ROWS: usize = 52;
/// The label before test names, and the folder of these tests.
const LABELS: [(&str, &str); 3] = [
    ("Core: ", "crates/liveoak-core/"),
    ("Runtime: ", "crates/liveoak-runtime/"),
    ("Program: ", "crates/liveoak-cli/"),
];
/// Words that replace a test in a row.
const WITHOUT: [&str; 2] = ["deviates", "not offered"];

/// One row of the page: `| C<number> | … | last |`.
struct Row<'a> {
    number: usize,
    /// The text of the last column.
    last: &'a str,
    line: usize,
}

impl<'a> Row<'a> {
    /// Returns the names of tests in the last column, each with the folder that its label stands for.
    fn tests(&self) -> Vec<(&'static str, &'a str)> {
        let (mut folder, mut tests) = ("", Vec::new());
        for (index, part) in self.last.split('`').enumerate() {
            if index % 2 == 1 && is_like_a_test(part) {
                tests.push((folder, part));
            } else if let Some((_, place)) = LABELS.iter().find(|(label, _)| part.ends_with(label)) {
                folder = place;
            }
        }
        tests
    }
}

fn is_like_a_test(name: &str) -> bool {
    let snake = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    name.chars().all(snake) && name.matches('_').count() >= 3
}

fn rows(page: &File) -> Vec<Row<'_>> {
    let lines = page.text().unwrap_or_default().lines().enumerate();
    let rows = lines.filter_map(|(index, line)| {
        let cells = line.strip_prefix("| C")?.strip_suffix(" |")?;
        let number = cells.split(' ').next()?.parse().ok()?;
        Some(Row { number, last: cells.rsplit(" | ").next()?, line: index + 1 })
    });
    rows.collect()
}

/// Returns the names of all tests of a file: functions under `#[test]` and similar attributes, also inside `proptest!`.
fn tests_of(file: &File) -> Vec<String> {
    let masked = mask(file.text().unwrap_or_default());
    let tokens = tokens(&masked);
    (0..tokens.len()).filter_map(|at| Some(test_at(&tokens, at)?.text.to_owned())).collect()
}

/// Returns the folder of `LABELS` that contains the file.
fn folder_of(file: &File) -> Option<&'static str> {
    LABELS.iter().map(|(_, folder)| *folder).find(|folder| file.path.starts_with(folder))
}

/// Returns every test of these files, with its folder.
fn tests<'a>(files: impl Iterator<Item = &'a File>) -> BTreeSet<(&'static str, String)> {
    let here = files.filter_map(|file| Some((folder_of(file)?, tests_of(file))));
    here.flat_map(|(folder, names)| names.into_iter().map(move |name| (folder, name))).collect()
}

fn page() -> &'static File {
    tree().iter().find(|file| file.path == PAGE).unwrap_or_else(|| panic!("{PAGE} is missing"))
}

/// Returns a page whose rows have these last columns.
fn page_of(last: impl Fn(usize) -> String) -> String {
    (1..=ROWS).map(|number| format!("| C{number} | it does so | a_case | {} |\n", last(number))).collect()
}

fn out_of_order(page: &File) -> Vec<String> {
    let rows = rows(page);
    let mut findings = Vec::new();
    for (row, expected) in rows.iter().zip(1..) {
        if row.number != expected {
            let what = format!("row C{} where C{expected} should be", row.number);
            return vec![page.finding(row.line, what)];
        }
    }
    if rows.len() != ROWS {
        findings.push(page.finding(1, format!("{} rows: write C1 to C{ROWS}, each once", rows.len())));
    }
    findings
}

#[test]
fn the_page_of_conformance_has_every_row_once_and_in_order() {
    assert_none(out_of_order(page()));
}

#[test]
fn a_missing_a_duplicate_and_a_misplaced_row_are_found() {
    let good = page_of(|_| "deviates".to_owned());
    let lines: Vec<&str> = good.lines().collect();
    let twice = [&lines[..], &lines[51..]].concat().join("\n");
    let in_the_middle = [&lines[..6], &lines[5..]].concat().join("\n");
    let missing = [&lines[..6], &lines[7..]].concat().join("\n");
    let last_missing = lines[..51].join("\n");
    let mut swapped = lines.clone();
    swapped.swap(3, 4);
    let swapped = swapped.join("\n");
    assert_finds(out_of_order, PAGE, &good, &[&twice, &in_the_middle, &missing, &last_missing, &swapped, ""]);
}

fn unknown_tests(page: &File, known: &BTreeSet<(&'static str, String)>) -> Vec<String> {
    let mut findings = Vec::new();
    for row in rows(page) {
        for (folder, name) in row.tests() {
            if !known.contains(&(folder, name.to_owned())) {
                let number = row.number;
                let what = if folder.is_empty() {
                    format!("C{number}: say `Core: ` or the like before `{name}`")
                } else {
                    format!("C{number}: no test in {folder} is called `{name}`: name the test that proves it")
                };
                findings.push(page.finding(row.line, what));
            }
        }
    }
    findings
}

#[test]
fn every_test_that_the_page_of_conformance_names_exists() {
    assert_none(unknown_tests(page(), &tests(rust())));
}

#[test]
fn a_name_on_the_page_that_no_test_has_is_found() {
    let source = File::new(
        "crates/liveoak-core/src/b.rs",
        "#[test]\n#[should_panic]\nfn a_child_comes_back() {}\n\
         proptest! {\n    #[test]\n    fn whatever_happens_it_holds(a in b()) {}\n}\n\
         #[tokio::test]\nasync fn a_task_comes_back() {}\n\
         fn a_helper_of_tests() {}\n#[cfg(test)]\nmod tests {}\nfn behind_a_test_module() {}\n\
         // #[test] fn a_test_in_comments() {}\n",
    );
    let other = File::new("crates/liveoak-runtime/a.rs", "#[test]\nfn a_task_goes_away() {}\n");
    let elsewhere = File::new("bench/a.rs", "#[test]\nfn a_test_of_others() {}\n");
    let known = tests([&source, &other, &elsewhere].into_iter());
    let names = |text: &str| page_of(|_| text.to_owned());
    let good = names(
        "deviates: `Exit::Ignored`. Core: `a_child_comes_back`, `a_task_comes_back`, `order = edges`, a_b_c_d, \
         `whatever_happens_it_holds`. Runtime: `a_task_goes_away`.",
    );
    let bad = [
        names("Core: `a_child_comes_back`, `a_child_comes_home`"),
        names("Runtime: `a_child_comes_back`"),
        names("`a_child_comes_back`"),
        names("Core: `a_helper_of_tests`"),
        names("Core: `behind_a_test_module`"),
        names("Core: `a_test_in_comments`"),
        names("Core: `a_test_of_others`"),
    ];
    let bad: Vec<&str> = bad.iter().map(String::as_str).collect();
    assert_finds(|page| unknown_tests(page, &known), PAGE, &good, &bad);
}

fn unproven_rows(page: &File) -> Vec<String> {
    let mut findings = Vec::new();
    for row in rows(page) {
        let says_why = WITHOUT.iter().any(|word| row.last.contains(word));
        if !says_why && row.tests().is_empty() {
            let what =
                format!("C{}: name the test that proves it, or say `deviates` or `not offered`", row.number);
            findings.push(page.finding(row.line, what));
        }
    }
    findings
}

#[test]
fn every_row_of_the_page_of_conformance_has_a_test_or_gives_a_reason() {
    assert_none(unproven_rows(page()));
}

#[test]
fn a_row_with_neither_a_test_nor_a_reason_is_found() {
    let says =
        |text: &str| page_of(|number| if number == 7 { text.to_owned() } else { "deviates".to_owned() });
    let good = says("Core: `a_child_comes_back`.").replace("| C8 | it does so | a_case | deviates |", "")
        + "| C8 | it does so | a_case | not offered yet |\n";
    let bad = [says(""), says("surely"), says("`a_child`"), says("a_child_comes_back")];
    let bad: Vec<&str> = bad.iter().map(String::as_str).collect();
    assert_finds(unproven_rows, PAGE, &good, &bad);
}

/// Returns the row in a test's name: a test `c12_…` belongs to row 12.
fn row_of(name: &str) -> Option<usize> {
    name.strip_prefix('c')?.split_once('_')?.0.parse().ok()
}

fn unlisted_tests<'a>(page: &File, files: impl Iterator<Item = &'a File>) -> Vec<String> {
    let rows = rows(page);
    let mut findings = Vec::new();
    for file in files {
        let Some(folder) = folder_of(file) else { continue };
        for name in tests_of(file) {
            let Some(number) = row_of(&name) else { continue };
            let row = rows.iter().find(|row| row.number == number);
            if !row.is_some_and(|row| row.tests().contains(&(folder, &*name))) {
                findings.push(file.finding(1, format!("name `{name}` in row C{number} of {PAGE}")));
            }
        }
    }
    findings
}

#[test]
fn every_test_with_the_number_of_a_row_is_named_in_that_row() {
    assert_none(unlisted_tests(page(), rust()));
}

#[test]
fn a_numbered_test_that_its_row_does_not_name_is_found() {
    let row = "Core: `c12_a_stop_ends_it`. Runtime: `c12_a_stop_ends_it`.";
    let page = page_of(|number| if number == 12 { row.to_owned() } else { "deviates".to_owned() });
    let page = File::new(PAGE, &page);
    let only_core = File::new(PAGE, &page_of(|_| "Core: `c12_a_stop_ends_it`.".to_owned()));
    let rule = |file: &File| unlisted_tests(&page, [file].into_iter());
    let good = "#[test]\nfn c12_a_stop_ends_it() {}\n#[test]\nfn cold_starts_are_slow() {}\nfn c12_some_help_of_it() {}\n";
    let bad = [
        "#[test]\nfn c12_a_stop_hides_it() {}\n",
        "#[test]\nfn c13_a_stop_ends_it() {}\n",
        "#[test]\nfn c53_a_stop_ends_it() {}\n",
    ];
    assert_finds(rule, "crates/liveoak-runtime/tests/conformance/stop.rs", good, &bad);
    assert_finds(rule, "crates/liveoak-core/src/machine/tests/stop.rs", good, &bad);
    assert_finds(rule, "bench/a.rs", bad[0], &[]);
    let rule = |file: &File| unlisted_tests(&only_core, [file].into_iter());
    assert_finds(rule, "crates/liveoak-runtime/tests/stop.rs", "", &[good]);
}
