//! The dependencies of the library and their licences, as cargo lists them.

use crate::spdx::satisfied;
use crate::tree::{assert_none, tree};
use serde_json::Value;
use std::collections::BTreeSet;
use std::process::Command;

/// The largest number of crates that a program may gain by depending on `liveoak` with its default features.
/// `liveoak` itself is counted.
const FACADE_CRATES: usize = 20;

/// Runs a cargo command on this workspace, without changing the lock file, and returns its output.
fn cargo(arguments: &[&str]) -> String {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output =
        Command::new(program).args(arguments).arg("--locked").current_dir(xtask::root()).output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo {}: {complaint}", arguments.join(" "));
    String::from_utf8(output.stdout).unwrap()
}

/// Returns the name that cargo gives to this platform. The crates of other platforms may not be downloaded.
fn host() -> String {
    let output = Command::new("rustc").arg("-vV").output().unwrap();
    let answer = String::from_utf8(output.stdout).unwrap();
    answer.lines().find_map(|line| line.strip_prefix("host: ")).unwrap().to_owned()
}

/// Returns the crates that `cargo tree --prefix none` lists, each once. A line is `NAME vVERSION …`.
fn crates(listing: &str) -> BTreeSet<String> {
    let named = listing.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        Some(format!("{} {}", words.next()?, words.next()?))
    });
    named.collect()
}

#[test]
fn the_library_with_default_features_is_at_most_20_crates() {
    let found = crates(&cargo(&["tree", "--package", "liveoak", "--edges", "normal", "--prefix", "none"]));
    let list = found.iter().map(String::as_str).collect::<Vec<_>>().join("\n");
    assert!(found.len() <= FACADE_CRATES, "{} crates, at most {FACADE_CRATES}:\n\n{list}\n", found.len());
}

#[test]
fn a_crate_that_is_listed_twice_is_counted_once() {
    let listing = "liveoak v0.1.0 (/a/b)\ntokio v1.54.1\nmio v1.2.4\ntokio v1.54.1 (*)\nmacros v2.0.0 (proc-macro)\n\n\
        bitflags v1.3.2\nbitflags v2.13.2\n";
    assert_eq!(crates(listing).len(), 6);
}

/// Returns the licences that deny.toml allows.
fn allowed(deny: &str) -> Vec<String> {
    let table: toml::Table = deny.parse().unwrap();
    let list =
        table.get("licenses").and_then(|licenses| licenses.get("allow")).and_then(toml::Value::as_array);
    list.into_iter().flatten().filter_map(toml::Value::as_str).map(str::to_owned).collect()
}

fn licences(metadata: &Value, allowed: &[String]) -> Vec<String> {
    let mut findings = Vec::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let licence = package["license"].as_str().unwrap_or("none given");
        if !satisfied(licence, allowed) {
            let name = package["name"].as_str().unwrap_or("?");
            findings.push(format!(
                "deny.toml:1: `{name}` is under `{licence}`, which no allowed licence satisfies"
            ));
        }
    }
    findings
}

#[test]
fn every_crate_we_build_with_is_under_a_licence_that_deny_toml_allows() {
    let deny = tree().iter().find(|file| file.path == "deny.toml").and_then(|file| file.text()).unwrap();
    let metadata = cargo(&["metadata", "--format-version", "1", "--filter-platform", &host()]);
    let metadata: Value = serde_json::from_str(&metadata).unwrap();
    assert!(metadata["packages"].as_array().is_some_and(|packages| packages.len() > 5));
    assert_none(licences(&metadata, &allowed(deny)));
}

#[test]
fn a_licence_that_is_not_allowed_or_not_given_is_found() {
    let allowed = allowed("[licenses]\nallow = [\"MIT\", \"Zlib\"]\n");
    let metadata = serde_json::json!({ "packages": [
        { "name": "good", "license": "MIT OR GPL-3.0-only" },
        { "name": "bad", "license": "MIT AND GPL-3.0-only" },
        { "name": "silent", "license": null },
    ]});
    let findings = licences(&metadata, &allowed);
    assert_eq!(findings.len(), 2, "{findings:?}");
    assert!(findings[0].contains("`bad`") && findings[1].contains("`silent`"), "{findings:?}");
}
