//! Rules about every committed file, of any kind.

use crate::tree::{File, assert_finds, assert_none, tree};

/// Endings of files that a person writes. Rules about form hold for these only, except inputs of tests.
const WRITTEN: [&str; 6] = [".rs", ".toml", ".md", ".sh", ".yml", ".ci/run"];
/// Endings of files that editors, patches and merges leave behind.
const LEFT_BEHIND: [&str; 7] = [".orig", ".rej", ".bak", ".swp", ".tmp", "~", ".DS_Store"];
/// Beginnings of absolute paths of one machine. Written in two parts, so that the rule does not find itself.
const MACHINE_PATHS: [&str; 4] =
    [concat!("/", "work/"), concat!("/", "root/"), concat!("/", "Users/"), concat!("/", "builds/")];
/// Words that mark unfinished work. Written in two parts for the same reason.
const NOTES: [&str; 3] = [concat!("FIX", "ME"), concat!("XX", "X"), concat!("TO", "DO")];
/// Words of a registry setting. Written in two parts for the same reason.
const REGISTRIES: [&str; 8] = [
    concat!("registry", "+"),
    concat!("sparse", "+"),
    concat!("index.", "crates.io"),
    concat!("static.", "crates.io"),
    concat!("crates.io", "-index"),
    concat!("replace", "-with"),
    concat!("[source", "."),
    concat!("[regis", "tries"),
];
/// The address of crates.io, the only source allowed in a lock file.
const PUBLIC_SOURCE: &str = concat!("registry", "+https://github.com/rust-lang/", "crates.io", "-index");

/// Returns `true` for the lock file of a workspace.
fn is_lock(file: &File) -> bool {
    file.path.rsplit('/').next() == Some("Cargo.lock")
}

/// Returns the number and the text of every line.
fn lines(file: &File) -> impl Iterator<Item = (usize, &str)> {
    file.text().unwrap_or_default().split('\n').enumerate().map(|(index, line)| (index + 1, line))
}

fn left_behind(file: &File) -> Vec<String> {
    if LEFT_BEHIND.iter().any(|ending| file.path.ends_with(ending)) {
        return vec![file.finding(1, "left behind by a tool: remove it")];
    }
    if !file.is_fixture() && file.bytes.iter().all(u8::is_ascii_whitespace) {
        return vec![file.finding(1, "an empty file: fill it or remove it")];
    }
    vec![]
}

#[test]
fn no_file_is_empty_or_left_behind_by_a_tool() {
    assert_none(tree().iter().flat_map(left_behind).collect());
}

#[test]
fn an_empty_or_forgotten_file_is_found() {
    assert_finds(left_behind, "a.rs", "fn a() {}", &["", "\n\n"]);
    for name in ["a.rs.orig", "a.rs.rej", "a.rs~", ".a.rs.swp"] {
        assert_eq!(left_behind(&File::new(name, "fn a() {}")).len(), 1, "{name}");
    }
}

fn form(file: &File) -> Vec<String> {
    if file.is_fixture() || !WRITTEN.iter().any(|ending| file.path.ends_with(ending)) {
        return vec![];
    }
    let mut findings = Vec::new();
    for (number, line) in lines(file) {
        if line.contains('\t') {
            findings.push(file.finding(number, "a tab: write spaces (or `\\t` in a string)"));
        }
        if line.ends_with([' ', '\t', '\r']) {
            findings.push(file.finding(number, "blanks at the end of the line: remove them"));
        }
    }
    if !file.text().is_some_and(|text| text.ends_with('\n') && !text.ends_with("\n\n"))
        && !file.bytes.is_empty()
    {
        findings.push(file.finding(lines(file).count(), "end the file with one line break"));
    }
    findings
}

#[test]
fn no_line_has_a_tab_or_ends_in_blanks() {
    assert_none(tree().iter().flat_map(form).collect());
}

#[test]
fn a_tab_a_trailing_blank_and_a_missing_last_line_break_are_found() {
    assert_finds(form, "a.md", "a b\n\nc\n", &["a\tb\n", "a \n", "a\r\n", "a", "a\n\n"]);
    assert_finds(form, "transcript.txt", "a \tb ", &[]);
    assert_finds(form, "crates/a/tests/bad/blanks.toml", "a = \t1 ", &[]);
}

fn notes(file: &File) -> Vec<String> {
    let mut findings = Vec::new();
    for (number, line) in lines(file) {
        let mut words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
        if let Some(note) = words.find(|word| NOTES.contains(word)) {
            findings.push(file.finding(number, format!("`{note}`: do it, or say in plain words how it is")));
        }
    }
    findings
}

#[test]
fn no_text_contains_a_mark_of_unfinished_work() {
    assert_none(tree().iter().filter(|file| !is_lock(file)).flat_map(notes).collect());
}

#[test]
fn a_mark_of_unfinished_work_is_found_as_a_word() {
    let bad: Vec<String> = NOTES.iter().map(|note| format!("// {note}: later")).collect();
    let bad: Vec<&str> = bad.iter().map(String::as_str).collect();
    assert_finds(notes, "a.rs", &format!("a{}b todo", NOTES[1]), &bad);
}

fn machine_paths(file: &File) -> Vec<String> {
    let mut findings = Vec::new();
    for (number, line) in lines(file) {
        for path in MACHINE_PATHS {
            let begins_there = |&(at, _): &(usize, &str)| {
                let before = line[..at].chars().next_back();
                !before.is_some_and(|c| c.is_alphanumeric() || "._-~}".contains(c))
            };
            if line.match_indices(path).any(|found| begins_there(&found)) {
                findings.push(
                    file.finding(number, format!("`{path}…` is a path on one machine: make it relative")),
                );
            }
        }
    }
    findings
}

#[test]
fn no_text_names_a_path_of_one_machine() {
    assert_none(tree().iter().flat_map(machine_paths).collect());
}

#[test]
fn a_path_of_one_machine_is_found() {
    let bad: Vec<String> = MACHINE_PATHS.iter().map(|path| format!("see \"{path}a.rs\"")).collect();
    let bad: Vec<&str> = bad.iter().map(String::as_str).collect();
    assert_finds(machine_paths, "a.md", &format!("in data{}, or /usr/bin", MACHINE_PATHS[0]), &bad);
}

fn registries(file: &File) -> Vec<String> {
    if is_lock(file) {
        let sources = lines(file).filter(|(_, line)| line.starts_with("source = "));
        let foreign = sources.filter(|(_, line)| *line != format!("source = \"{PUBLIC_SOURCE}\""));
        return foreign
            .map(|(number, line)| file.finding(number, format!("not crates.io: {line}")))
            .collect();
    }
    let found = |line: &str| REGISTRIES.iter().find(|word| line.contains(*word));
    lines(file)
        .filter_map(|(number, line)| {
            Some(file.finding(
                number,
                format!("`{}`: where crates come from is the user's own setting", found(line)?),
            ))
        })
        .collect()
}

#[test]
fn no_text_says_where_to_download_crates_from() {
    assert_none(tree().iter().flat_map(registries).collect());
}

#[test]
fn a_dependency_on_another_registry_is_reported() {
    let bad: Vec<String> = REGISTRIES.iter().map(|word| format!("a {word}b")).collect();
    let bad: Vec<&str> = bad.iter().map(String::as_str).collect();
    assert_finds(registries, "a.toml", "see https://crates.io/crates/tokio\n", &bad);
    let lock = format!("source = \"{PUBLIC_SOURCE}\"\n");
    for path in ["Cargo.lock", "peers/Cargo.lock"] {
        assert_finds(registries, path, &lock, &[&lock.replace("github.com", "mirror.example")]);
    }
}

/// Returns the text of a file, and panics if the file is missing.
fn text(path: &str) -> &'static str {
    let file = tree().iter().find(|file| file.path == path);
    file.and_then(File::text).unwrap_or_else(|| panic!("{path} is missing"))
}

/// Returns `true` if a changelog has a heading for the version: `## 1.2.3`, perhaps with more words after it.
fn has_version(changelog: &str, version: &str) -> bool {
    changelog
        .lines()
        .filter_map(|line| line.strip_prefix("## "))
        .any(|heading| heading.split_whitespace().next() == Some(version))
}

#[test]
fn the_changelog_has_the_version_of_the_workspace() {
    let version = env!("CARGO_PKG_VERSION");
    assert!(
        has_version(text("CHANGELOG.md"), version),
        "CHANGELOG.md:1: write a heading `## {version}` and what it brings"
    );
}

#[test]
fn a_changelog_without_the_version_is_found() {
    assert!(has_version("# Changes\n\n## 0.2.0 (unreleased)\n", "0.2.0"));
    assert!(!has_version("# Changes\n\n## 0.2.0-rc1\n\n0.2.0\n", "0.2.0"));
}

#[test]
fn both_licences_are_there() {
    assert!(text("LICENSE-MIT").contains("MIT License"));
    assert!(text("LICENSE-APACHE").contains("Apache License"));
}

#[test]
fn the_readme_promises_the_two_commands_that_ci_runs() {
    if let Err(what) = xtask::readme::commands(text("README.md")) {
        panic!("README.md:1: {what}");
    }
    assert!(text(".ci/run").lines().any(|line| line.starts_with("exec cargo xtask ci")));
}

/// Returns a finding for each link from Markdown to a file that does not exist.
fn dead_links(file: &File, exists: impl Fn(&str) -> bool) -> Vec<String> {
    let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut findings = Vec::new();
    for (number, line) in lines(file) {
        let targets = line.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|target| !target.contains("://") && !target.starts_with(['#', '<'])) {
            let path = target.split('#').next().unwrap_or(target);
            if !exists(&resolve(folder, path)) {
                findings.push(file.finding(number, format!("`{target}` does not exist")));
            }
        }
    }
    findings
}

/// Joins a folder and a relative path: `a/b` and `../c` give `a/c`.
fn resolve(folder: &str, path: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[test]
fn every_link_in_the_documentation_leads_to_an_existing_file() {
    let pages = tree().iter().filter(|file| file.path.ends_with(".md"));
    assert_none(pages.flat_map(|page| dead_links(page, |path| xtask::root().join(path).exists())).collect());
}

#[test]
fn a_dead_link_is_found() {
    let exists = |path: &str| ["docs/a.md", "README.md"].contains(&path);
    let rule = |file: &File| dead_links(file, exists);
    let good = "[a](a.md#part) [b](../README.md) [c](https://example.org/x) [d](#part)\n";
    assert_finds(rule, "docs/b.md", good, &["[a](b.md)\n", "x [a](a.md), [b](README.md)\n"]);
}
