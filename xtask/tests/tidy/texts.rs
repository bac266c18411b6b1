//! Rules about everything that is committed, whatever its kind.

use crate::tree::{File, can_fail, hold, tree};

/// Files that a person writes; lock files, and inputs of tests, are excepted from rules about form.
const WRITTEN: [&str; 6] = [".rs", ".toml", ".md", ".sh", ".yml", ".ci/run"];
/// What editors, patches and merges leave behind.
const LEFT_BEHIND: [&str; 7] = [".orig", ".rej", ".bak", ".swp", ".tmp", "~", ".DS_Store"];
/// Where only one machine's files are. Split, so that this file has none of them.
const MACHINE_PATHS: [&str; 4] =
    [concat!("/", "work/"), concat!("/", "root/"), concat!("/", "Users/"), concat!("/", "builds/")];
/// Words of a note to oneself. Split for the same reason.
const NOTES: [&str; 3] = [concat!("FIX", "ME"), concat!("XX", "X"), concat!("TO", "DO")];
/// What names a place to download crates from. Split for the same reason.
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
/// The one source that a lock file may name: everybody's.
const PUBLIC_SOURCE: &str = concat!("registry", "+https://github.com/rust-lang/", "crates.io", "-index");

/// The lock file of the workspace, or of `peers`, which is one of its own.
fn is_lock(file: &File) -> bool {
    file.path.rsplit('/').next() == Some("Cargo.lock")
}

/// Number and text of every line.
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
    hold(tree().iter().flat_map(left_behind).collect());
}

#[test]
fn an_empty_or_forgotten_file_is_found() {
    can_fail(left_behind, "a.rs", "fn a() {}", &["", "\n\n"]);
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
    hold(tree().iter().flat_map(form).collect());
}

#[test]
fn a_tab_a_trailing_blank_and_a_missing_last_line_break_are_found() {
    can_fail(form, "a.md", "a b\n\nc\n", &["a\tb\n", "a \n", "a\r\n", "a", "a\n\n"]);
    can_fail(form, "transcript.txt", "a \tb ", &[]);
    can_fail(form, "crates/a/tests/bad/blanks.toml", "a = \t1 ", &[]);
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
fn no_note_to_oneself_is_left_in_any_text() {
    hold(tree().iter().filter(|file| !is_lock(file)).flat_map(notes).collect());
}

#[test]
fn a_note_to_oneself_is_found_as_a_word() {
    let bad: Vec<String> = NOTES.iter().map(|note| format!("// {note}: later")).collect();
    let bad: Vec<&str> = bad.iter().map(String::as_str).collect();
    can_fail(notes, "a.rs", &format!("a{}b todo", NOTES[1]), &bad);
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
    hold(tree().iter().flat_map(machine_paths).collect());
}

#[test]
fn a_path_of_one_machine_is_found() {
    let bad: Vec<String> = MACHINE_PATHS.iter().map(|path| format!("see \"{path}a.rs\"")).collect();
    let bad: Vec<&str> = bad.iter().map(String::as_str).collect();
    can_fail(machine_paths, "a.md", &format!("in data{}, or /usr/bin", MACHINE_PATHS[0]), &bad);
}

fn registries(file: &File) -> Vec<String> {
    if is_lock(file) {
        let sources = lines(file).filter(|(_, line)| line.starts_with("source = "));
        let foreign = sources.filter(|(_, line)| *line != format!("source = \"{PUBLIC_SOURCE}\""));
        return foreign
            .map(|(number, line)| file.finding(number, format!("not everybody's registry: {line}")))
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
    hold(tree().iter().flat_map(registries).collect());
}

#[test]
fn a_registry_is_found() {
    let bad: Vec<String> = REGISTRIES.iter().map(|word| format!("a {word}b")).collect();
    let bad: Vec<&str> = bad.iter().map(String::as_str).collect();
    can_fail(registries, "a.toml", "see https://crates.io/crates/tokio\n", &bad);
    let lock = format!("source = \"{PUBLIC_SOURCE}\"\n");
    for path in ["Cargo.lock", "peers/Cargo.lock"] {
        can_fail(registries, path, &lock, &[&lock.replace("github.com", "mirror.example")]);
    }
}

/// The text of a file that must be there.
fn text(path: &str) -> &'static str {
    let file = tree().iter().find(|file| file.path == path);
    file.and_then(File::text).unwrap_or_else(|| panic!("{path} is missing"))
}

/// Whether a changelog has a heading for the version: `## 1.2.3`, perhaps with more behind it.
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

/// Links from Markdown into the repository that lead nowhere.
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

/// `a/b` and `../c` give `a/c`.
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
fn every_link_in_the_documentation_leads_somewhere() {
    let pages = tree().iter().filter(|file| file.path.ends_with(".md"));
    hold(pages.flat_map(|page| dead_links(page, |path| xtask::root().join(path).exists())).collect());
}

#[test]
fn a_dead_link_is_found() {
    let exists = |path: &str| ["docs/a.md", "README.md"].contains(&path);
    let rule = |file: &File| dead_links(file, exists);
    let good = "[a](a.md#part) [b](../README.md) [c](https://example.org/x) [d](#part)\n";
    can_fail(rule, "docs/b.md", good, &["[a](b.md)\n", "x [a](a.md), [b](README.md)\n"]);
}
