//! Rules about which file may use which.

use crate::code::{Token, begins, mask, outside_tests, tokens};
use crate::imports::Imports;
use crate::tree::{File, assert_none, rust};
use std::collections::{BTreeMap, BTreeSet};

/// The largest import cycle allowed inside one folder.
const CYCLE_FILES: usize = 5;
/// The machine's folder, and the file whose header lists its layers.
const MACHINE: &str = "crates/liveoak-core/src/machine/";
/// The runtime's folder.
const RUNTIME: &str = "crates/liveoak-runtime/src/";
/// The storeys of the runtime, lowest first.
const STOREYS: [&str; 3] = ["attempt", "engine", "api"];

/// Returns the `src` folder of every crate of the workspace.
fn sources() -> BTreeSet<String> {
    let folders = rust().filter_map(|file| Some(format!("{}/src/", file.path.split_once("/src/")?.0)));
    folders.filter(|folder| !folder.starts_with("peers/") && !folder.starts_with("fuzz/")).collect()
}

/// Returns a finding for each import cycle between folders, and for each large cycle inside one folder.
fn knots(folder: &str, imports: &Imports) -> Vec<String> {
    let folder_of = |name: &str| name.rsplit_once('/').map_or(String::new(), |(folder, _)| folder.to_owned());
    let mut findings = Vec::new();
    for cycle in imports.cycles() {
        let folders: BTreeSet<String> = cycle.iter().map(|name| folder_of(name)).collect();
        if folders.len() > 1 || cycle.len() > CYCLE_FILES {
            let files: Vec<&str> = cycle.into_iter().collect();
            findings.push(format!("{folder}: these files use each other in a cycle: {}", files.join(", ")));
        }
    }
    findings
}

#[test]
fn no_import_cycle_joins_two_folders_or_more_than_five_files() {
    assert_none(sources().iter().flat_map(|folder| knots(folder, &Imports::of(folder, rust()))).collect());
}

#[test]
fn a_cycle_between_two_folders_and_a_cycle_of_six_files_are_found() {
    let cycle = |paths: &[&str]| {
        let next = paths.iter().cycle().skip(1);
        let name = |path: &str| path.replace('/', "::");
        let files: Vec<File> = paths
            .iter()
            .zip(next)
            .map(|(path, next)| {
                File::new(&format!("c/src/{path}.rs"), &format!("use crate::{};", name(next)))
            })
            .collect();
        knots("c/src/", &Imports::of("c/src/", files.iter())).len()
    };
    assert_eq!(cycle(&["a", "b", "c", "d", "e"]), 0);
    assert_eq!(cycle(&["a", "b", "c", "d", "e", "f"]), 1);
    assert_eq!(cycle(&["m/a", "n/b"]), 1);
}

/// Returns the storey of a runtime module. Files outside the storeys have none.
fn storey(module: &str) -> Option<usize> {
    let first = module.split('/').next()?;
    STOREYS.iter().position(|storey| *storey == first)
}

fn climbing(imports: &Imports) -> Vec<String> {
    let mut findings = Vec::new();
    for (from, others) in &imports.arrows {
        for to in others {
            let above = storey(to).zip(storey(from)).is_some_and(|(to, from)| to > from);
            if above {
                findings.push(format!("{RUNTIME}{from}.rs uses {to}, which is a storey above it"));
            }
        }
    }
    findings
}

#[test]
fn no_file_of_the_runtime_uses_a_storey_above_it() {
    let imports = Imports::of(RUNTIME, rust());
    for storey in STOREYS {
        assert!(imports.arrows.keys().any(|name| name.starts_with(storey)), "there is no storey {storey}");
    }
    assert_none(climbing(&imports));
}

#[test]
fn a_file_that_uses_a_storey_above_it_is_found() {
    let file = |path: &str, text: &str| File::new(&format!("{RUNTIME}{path}"), text);
    let down = [
        file("api/tree.rs", "use crate::engine::driver::D;"),
        file("engine/driver.rs", "use crate::attempt::cell::C;"),
    ];
    assert!(climbing(&Imports::of(RUNTIME, down.iter())).is_empty());
    let up = [file("api/tree.rs", ""), file("attempt/cell.rs", "fn f() { crate::api::tree::g() }")];
    assert_eq!(climbing(&Imports::of(RUNTIME, up.iter())).len(), 1);
}

/// Returns the layers that the header of the machine lists, lowest first, from lines such as
/// "1. `arena` - where all children are kept".
fn machine_layers(header: &str) -> Vec<String> {
    let items = header.lines().filter_map(|line| line.strip_prefix("//! "));
    let numbered = items.filter(|item| {
        item.split_once(". `").is_some_and(|(number, _)| number.trim().parse::<u32>().is_ok())
    });
    numbered.filter_map(|item| Some(item.split('`').nth(1)?.to_owned())).collect()
}

/// Returns a finding for each call of a method that only a higher layer defines, for each path into a higher layer, and
/// for each file that the header does not list exactly once.
fn upward_calls(files: &[&File]) -> Vec<String> {
    let name_of = |file: &File| {
        file.path.strip_prefix(MACHINE).and_then(|path| path.strip_suffix(".rs")).map(str::to_owned)
    };
    let Some(header) = files.iter().find(|file| file.path == format!("{MACHINE}mod.rs")) else {
        return vec![format!("{MACHINE}mod.rs is missing")];
    };
    let layers = machine_layers(header.text().unwrap_or_default());
    let masked: BTreeMap<String, String> = files
        .iter()
        .filter_map(|file| Some((name_of(file)?, mask(file.text().unwrap_or_default()))))
        .collect();
    let mut findings: Vec<String> = masked
        .keys()
        .filter(|name| layers.iter().filter(|layer| layer == name).count() != 1)
        .map(|name| format!("{MACHINE}mod.rs: list the layer `{name}` once in the header"))
        .collect();
    let rank = |name: &str| layers.iter().position(|layer| layer == name).unwrap_or_default();
    let cut: BTreeMap<&str, Vec<Token<'_>>> =
        masked.iter().map(|(name, text)| (name.as_str(), outside_tests(&tokens(text)))).collect();
    let mut lowest: BTreeMap<&str, usize> = BTreeMap::new();
    for (name, tokens) in &cut {
        for pair in tokens.windows(2).filter(|pair| pair[0].text == "fn") {
            let known = lowest.entry(pair[1].text).or_insert(usize::MAX);
            *known = rank(name).min(*known);
        }
    }
    for (name, tokens) in &cut {
        for at in 0..tokens.len() {
            let line = tokens[at].line;
            if begins(tokens, at, &["self", "."]) && begins(tokens, at + 3, &["("]) {
                let method = tokens[at + 2].text;
                if lowest.get(method).is_some_and(|layer| *layer > rank(name)) {
                    findings.push(format!("{MACHINE}{name}.rs:{line}: `{method}` stands in a layer above"));
                }
            }
            let used = tokens.get(at + 2).map_or("", |token| token.text);
            if begins(tokens, at, &["super", "::"])
                && layers.iter().any(|layer| layer == used)
                && rank(used) > rank(name)
            {
                findings.push(format!("{MACHINE}{name}.rs:{line}: `{used}` is a layer above"));
            }
        }
    }
    findings
}

#[test]
fn no_file_of_the_machine_calls_a_layer_above_it() {
    let files: Vec<&File> = rust().filter(|file| file.path.starts_with(MACHINE) && !file.is_test()).collect();
    assert!(files.len() > 3, "there is no machine in {MACHINE}");
    assert_none(upward_calls(&files));
}

#[test]
fn a_call_of_a_higher_layer_and_an_unlisted_file_are_found() {
    let header = "//! The machine.\n//!\n//! 1. `arena` - keeps\n//! 2. `stop` - stops\n//! 3. `mod` - all\nfn handle(&self) { self.stop(); }\n";
    let file = |name: &str, text: &str| File::new(&format!("{MACHINE}{name}.rs"), text);
    let found = |arena: &str, stop: &str, more: Option<File>| {
        let mut files = vec![file("mod", header), file("arena", arena), file("stop", stop)];
        files.extend(more);
        upward_calls(&files.iter().collect::<Vec<_>>()).len()
    };
    let stop = "use super::arena::A;\nfn stop(&self) { self.get(); }";
    assert_eq!(found("fn get(&self) {}", stop, None), 0);
    assert_eq!(found("fn get(&self) { self.stop(); }", stop, None), 1);
    assert_eq!(found("use super::stop::S;\nfn get(&self) {}", stop, None), 1);
    assert_eq!(found("fn get(&self) {}", stop, Some(file("other", ""))), 1);
}
