//! Reads the files of the repository, without git, and prints findings.

use std::fs;
use std::path::Path;
use std::sync::OnceLock;

/// Folders with a leading dot that belong to the project; all others belong to an editor or a tool.
const OWN_DOT_FOLDERS: [&str; 4] = [".cargo", ".ci", ".config", ".github"];

/// A file: its path and its content.
pub(crate) struct File {
    /// The path relative to the root, with `/`.
    pub(crate) path: String,
    pub(crate) bytes: Vec<u8>,
}

impl File {
    /// Returns a file that exists only in a test of a rule.
    pub(crate) fn new(path: &str, text: &str) -> File {
        File { path: path.to_owned(), bytes: text.as_bytes().to_vec() }
    }

    /// Returns the text, or `None` for a binary file.
    pub(crate) fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.bytes).ok().filter(|text| !text.contains('\0'))
    }

    pub(crate) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Returns `true` for a file in a folder `tests`, or a file `tests.rs` or `*_tests.rs`.
    pub(crate) fn is_test(&self) -> bool {
        let folders = self.path.rsplit_once('/').map_or("", |(folders, _)| folders);
        let stem = self.path.rsplit('/').next().and_then(|name| name.strip_suffix(".rs")).unwrap_or_default();
        folders.split('/').any(|folder| folder == "tests") || stem == "tests" || stem.ends_with("_tests")
    }

    /// Returns `true` for an input file of a test. It may be invalid.
    pub(crate) fn is_fixture(&self) -> bool {
        !self.is_rust() && self.path.split('/').any(|folder| folder == "tests")
    }

    /// Returns the line `file:line: what`.
    pub(crate) fn finding(&self, line: usize, what: impl std::fmt::Display) -> String {
        format!("{}:{line}: {what}", self.path)
    }
}

/// Returns every file of the repository as it is on disk, without the files that .gitignore lists.
pub(crate) fn tree() -> &'static [File] {
    static TREE: OnceLock<Vec<File>> = OnceLock::new();
    TREE.get_or_init(|| {
        let mut files = Vec::new();
        let ignored = fs::read_to_string(xtask::root().join(".gitignore")).unwrap();
        let ignored: Vec<&str> =
            ignored.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
        walk(xtask::root(), "", &ignored, &mut files);
        files.sort_by(|one, other| one.path.cmp(&other.path));
        files
    })
}

/// Returns the Rust files of the repository.
pub(crate) fn rust() -> impl Iterator<Item = &'static File> {
    tree().iter().filter(|file| file.is_rust())
}

fn walk(folder: &Path, prefix: &str, ignored: &[&str], files: &mut Vec<File>) {
    // Other tools and tests write meanwhile. A file that has vanished is skipped.
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{prefix}{name}");
        let Ok(kind) = entry.file_type() else { continue };
        if ignored.iter().any(|pattern| matches(pattern, &path)) {
            continue;
        }
        if kind.is_dir() && (!name.starts_with('.') || OWN_DOT_FOLDERS.contains(&name.as_str())) {
            walk(&entry.path(), &format!("{path}/"), ignored, files);
        } else if kind.is_file()
            // In a linked worktree `.git` is a file.
            && name != ".git"
            && let Ok(bytes) = fs::read(entry.path())
        {
            files.push(File { path, bytes });
        }
    }
}

/// Returns `true` if a line of .gitignore matches a path. Supports `/path`, `/begin*` and `*end`.
fn matches(pattern: &str, path: &str) -> bool {
    match (pattern.strip_prefix('/'), pattern.strip_prefix('*')) {
        (Some(from_root), _) => match from_root.strip_suffix('*') {
            Some(begin) => path.starts_with(begin),
            None => path == from_root.trim_end_matches('/'),
        },
        (None, Some(end)) => !end.is_empty() && path.ends_with(end),
        (None, None) => panic!(".gitignore: write `{pattern}` as `/path`, `/begin*` or `*end`"),
    }
}

/// Panics if there are findings, and prints each on a line of its own.
#[track_caller]
pub(crate) fn assert_none(findings: Vec<String>) {
    assert!(findings.is_empty(), "{} finding(s):\n\n{}\n", findings.len(), findings.join("\n"));
}

/// Asserts that a rule finds something in each of the bad texts, and nothing in the good text.
#[track_caller]
pub(crate) fn assert_finds(rule: impl Fn(&File) -> Vec<String>, path: &str, good: &str, bad: &[&str]) {
    assert_none(rule(&File::new(path, good)));
    for snippet in bad {
        assert!(!rule(&File::new(path, snippet)).is_empty(), "the rule finds nothing wrong with:\n{snippet}");
    }
}

#[test]
fn the_walk_sees_this_file_and_nothing_that_was_built() {
    let paths: Vec<&str> = tree().iter().map(|file| file.path.as_str()).collect();
    for own in ["xtask/tests/tidy/tree.rs", ".ci/run", "Cargo.lock"] {
        assert!(paths.contains(&own), "{own} is missing");
    }
    assert!(!paths.iter().any(|path| path.starts_with("target") || path.starts_with(".git/")));
}

#[test]
fn a_file_of_tests_is_known_by_its_folder_or_its_name() {
    for path in ["crates/a/tests/it/main.rs", "crates/a/src/m/tests.rs", "crates/a/src/fuzz_tests.rs"] {
        assert!(File::new(path, "").is_test(), "{path}");
    }
    for path in ["crates/a/src/testing.rs", "crates/a/src/contests/a.rs", "crates/a/examples/tree.rs"] {
        assert!(!File::new(path, "").is_test(), "{path}");
    }
}

#[test]
fn files_that_gitignore_lists_are_not_walked() {
    for (pattern, path) in
        [("/target", "target"), ("/target-*", "target-x"), ("*.log", "a/b.log"), ("/a/b", "a/b")]
    {
        assert!(matches(pattern, path), "{pattern} {path}");
    }
    for (pattern, path) in
        [("/target", "xtask/target"), ("/target-*", "target"), ("*.log", "log/b"), ("/a/b", "a/bc")]
    {
        assert!(!matches(pattern, path), "{pattern} {path}");
    }
}
