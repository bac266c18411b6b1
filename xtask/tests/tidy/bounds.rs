//! The table of bounds in ARCHITECTURE.md: each row names the constant of its bound and the test that holds it.

use crate::tree::{File, assert_none, rust};
use crate::vocabulary::{cells, page, quoted, section};

/// The section with the table.
const BOUNDS: &str = "## What happens when full";

/// Returns a finding for each row that does not name a constant and a test that exist.
fn wrong_rows<'a>(page: &File, files: impl Iterator<Item = &'a File>) -> Vec<String> {
    let texts: Vec<&str> = files.filter_map(File::text).collect();
    let exists = |what: &str| texts.iter().any(|text| text.contains(what));
    let mut findings = Vec::new();
    let rows = section(page, BOUNDS).into_iter().filter_map(|(line, text)| Some((line, cells(text)?)));
    for (line, cells) in rows.skip(1) {
        let [_, _, _, constant, test] = cells[..] else {
            findings.push(page.finding(line, "five cells: what, bound, when full, constant, test"));
            continue;
        };
        match quoted(constant).next() {
            Some(name) if exists(&format!("const {name}: ")) => {}
            _ => findings.push(page.finding(line, format!("there is no constant {constant}"))),
        }
        match quoted(test).next() {
            Some(name) if exists(&format!("fn {name}()")) => {}
            _ => findings.push(page.finding(line, format!("there is no test {test}"))),
        }
    }
    findings
}

#[test]
fn every_bound_on_the_map_has_a_constant_and_a_test() {
    assert!(section(page(), BOUNDS).len() > 18, "the table of bounds has lost its rows");
    assert_none(wrong_rows(page(), rust()));
}

#[test]
fn a_bound_without_a_constant_or_a_test_is_found() {
    let found = |row: &str| {
        let head = "| what | bound | when full | constant | test |\n|---|---|---|---|---|";
        let page = File::new("ARCHITECTURE.md", &format!("{BOUNDS}\n\n{head}\n{row}\n"));
        let file = File::new("crates/a/src/a.rs", "const MOST: usize = 7;\nfn the_eighth_is_refused() {}\n");
        wrong_rows(&page, [&file].into_iter()).len()
    };
    assert_eq!(found("| a | 7 | it is refused | `MOST` | `the_eighth_is_refused` |"), 0);
    assert_eq!(found("| a | 7 | it is refused | `LEAST` | `the_eighth_is_refused` |"), 1);
    assert_eq!(found("| a | 7 | it is refused | `MOST` | `the_ninth_is_refused` |"), 1);
    assert_eq!(found("| a | 7 | it is refused |"), 1);
}
