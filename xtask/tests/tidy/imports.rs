//! Finds which file of a crate uses which other file. An arrow leads from a module to a module that it uses; arrows are
//! read from `crate::` and `super::` paths.

use crate::code::{Token, after_group, begins, mask, outside_tests, tokens};
use crate::tree::File;
use std::collections::{BTreeMap, BTreeSet};

/// The source files of one crate and the modules that each uses. A module is named by its path below `src`, for example
/// `machine/stop`; `machine/mod.rs` is `machine`, `lib.rs` is the empty name.
pub(crate) struct Imports {
    pub(crate) arrows: BTreeMap<String, BTreeSet<String>>,
}

impl Imports {
    /// Reads the arrows between the files below `folder`, such as `crates/liveoak-core/src/`. Tests are left out.
    pub(crate) fn of<'a>(folder: &str, files: impl Iterator<Item = &'a File>) -> Imports {
        let files: BTreeMap<String, &File> = files
            .filter(|file| !file.is_test())
            .filter_map(|file| Some((module(file.path.strip_prefix(folder)?)?, file)))
            .collect();
        let names: BTreeSet<&str> = files.keys().map(String::as_str).collect();
        let arrows = files.iter().map(|(name, file)| (name.clone(), uses(name, file, &names))).collect();
        Imports { arrows }
    }

    /// Returns every set of files that use each other in a cycle.
    pub(crate) fn cycles(&self) -> Vec<BTreeSet<&str>> {
        let reach: BTreeMap<&str, BTreeSet<&str>> =
            self.arrows.keys().map(|name| (name.as_str(), self.reachable(name))).collect();
        let mut cycles: BTreeSet<BTreeSet<&str>> = BTreeSet::new();
        for (name, others) in &reach {
            let back = |other: &&&str| reach[**other].contains(name);
            let cycle: BTreeSet<&str> = others.iter().filter(back).copied().collect();
            if cycle.len() > 1 {
                cycles.insert(cycle);
            }
        }
        cycles.into_iter().collect()
    }

    fn reachable(&self, from: &str) -> BTreeSet<&str> {
        let mut seen = BTreeSet::new();
        let mut next = vec![from];
        while let Some(name) = next.pop() {
            for other in self.arrows.get(name).into_iter().flatten() {
                if seen.insert(other.as_str()) {
                    next.push(other);
                }
            }
        }
        seen
    }
}

/// Returns the name of the module in a file, given by its path below `src`.
fn module(path: &str) -> Option<String> {
    let name = path.strip_suffix(".rs")?;
    let name = name.strip_suffix("/mod").unwrap_or(name);
    Some(if matches!(name, "lib" | "main") { String::new() } else { name.to_owned() })
}

/// Returns the modules that a file uses. A `mod` line does not count, so a table of contents (`lib.rs`, `mod.rs`) does not
/// use the modules that it declares.
fn uses(name: &str, file: &File, names: &BTreeSet<&str>) -> BTreeSet<String> {
    let masked = mask(file.text().unwrap_or_default());
    let tokens = outside_tests(&tokens(&masked));
    let parent = name.rsplit_once('/').map_or("", |(parent, _)| parent);
    let mut found = BTreeSet::new();
    for at in 0..tokens.len() {
        let base = match tokens[at].text {
            "crate" => "",
            "super" => parent,
            _ => continue,
        };
        if begins(&tokens, at + 1, &["::"]) {
            let mut paths = Vec::new();
            read_paths(&tokens, at + 2, base, &mut paths);
            let hits = paths.iter().filter_map(|path| longest(path, names));
            found.extend(hits.filter(|hit| hit != name));
        }
    }
    found.remove("");
    found
}

/// Reads the paths `a::b` or `a::{b, c::d}` at `at`, and appends each path to `base`, joined by `/`. Returns the index
/// after them.
fn read_paths(tokens: &[Token<'_>], at: usize, base: &str, paths: &mut Vec<String>) -> usize {
    let Some(token) = tokens.get(at) else { return at };
    if token.text == "{" {
        let end = after_group(tokens, at);
        let mut inner = at + 1;
        while inner < end - 1 {
            inner = match tokens[inner].text {
                "," => inner + 1,
                _ => read_paths(tokens, inner, base, paths).max(inner + 1),
            };
        }
        return end;
    }
    if token.text == "super" && begins(tokens, at + 1, &["::"]) {
        let parent = base.rsplit_once('/').map_or("", |(parent, _)| parent);
        return read_paths(tokens, at + 2, parent, paths);
    }
    let path = if base.is_empty() { token.text.to_owned() } else { format!("{base}/{}", token.text) };
    if begins(tokens, at + 1, &["::"])
        && tokens.get(at + 2).is_some_and(|next| next.is_word() || next.text == "{")
    {
        return read_paths(tokens, at + 2, &path, paths);
    }
    paths.push(path);
    at + 1
}

/// Returns the longest prefix of a path that is a module.
fn longest(path: &str, names: &BTreeSet<&str>) -> Option<String> {
    let mut path = path;
    loop {
        if names.contains(path) {
            return Some(path.to_owned());
        }
        path = path.rsplit_once('/')?.0;
    }
}

#[test]
fn imports_are_read_from_paths_groups_and_super() {
    let files = [
        File::new("c/src/lib.rs", "mod a; mod b; pub use a::A;"),
        File::new(
            "c/src/a.rs",
            "use crate::b::{self, one::{B, C}};\n#[cfg(test)] mod tests { use crate::d::D; }",
        ),
        File::new("c/src/b/mod.rs", "mod one; use super::d;"),
        File::new("c/src/b/one.rs", "fn f() { super::super::a::g(); super::h(); }"),
        File::new("c/src/d.rs", "// use crate::a;"),
    ];
    let imports = Imports::of("c/src/", files.iter());
    let arrows = |name: &str| imports.arrows[name].iter().cloned().collect::<Vec<_>>().join(" ");
    assert_eq!(arrows("a"), "b b/one");
    assert_eq!(arrows("b"), "d");
    assert_eq!(arrows("b/one"), "a b");
    assert_eq!(arrows("d"), "");
    let cycles = imports.cycles();
    assert_eq!(cycles, [BTreeSet::from(["a", "b/one"])]);
}
