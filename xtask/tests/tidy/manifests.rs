//! Rules about every Cargo.toml: which crate may depend on which, with a reason, at one version.

use crate::tree::{File, assert_none, tree};
use toml::{Table, Value};

/// The crates that each published crate may depend on outside its tests. Every published crate needs a line. `None` allows
/// any crate except the library's inner crates.
const ARROWS: [(&str, Option<&[&str]>); 10] = [
    ("liveoak-core", Some(&[])),
    (
        "liveoak-runtime",
        Some(&["liveoak-core", "tokio", "tokio-util", "tracing", "pin-project-lite", "libc", "backtrace"]),
    ),
    ("liveoak-process", Some(&["liveoak-runtime", "tokio", "tracing", "rustix", "regex-lite", "libc"])),
    (
        "liveoak-config",
        Some(&[
            "liveoak-core",
            "liveoak-process",
            "liveoak-runtime",
            "rustix",
            "toml",
            "annotate-snippets",
            "serde_core",
            "serde_json",
            "shlex",
            "strsim",
        ]),
    ),
    ("liveoak-journal", Some(&["rustix"])),
    // The library only with the feature `convert`, the schemas only for `openapi.json`.
    ("liveoak-api", Some(&["liveoak-runtime", "humantime", "schemars", "serde", "serde_json"])),
    (
        "liveoak-control",
        Some(&[
            "liveoak-api",
            "liveoak-journal",
            "liveoak-runtime",
            "constant_time_eq",
            "form_urlencoded",
            "getrandom",
            "http-body-util",
            "hyper",
            "hyper-util",
            "percent-encoding",
            "rustix",
            "serde_core",
            "serde_json",
            "strsim",
            "tokio",
            "tracing",
        ]),
    ),
    (
        "liveoak-otel",
        Some(&[
            "liveoak-api",
            "liveoak-runtime",
            "async-trait",
            "opentelemetry",
            "opentelemetry-http",
            "opentelemetry-otlp",
            "opentelemetry_sdk",
            "tokio",
            "tracing",
            "ureq",
        ]),
    ),
    // All but the first two only with features that are off by default.
    (
        "liveoak",
        Some(&[
            "liveoak-runtime",
            "liveoak-process",
            "liveoak-config",
            "liveoak-api",
            "liveoak-control",
            "liveoak-otel",
            "tracing",
            "tracing-subscriber",
        ]),
    ),
    ("liveoak-cli", None),
];

/// Keys that every crate must inherit from the workspace.
const INHERITED: [&str; 4] = ["version", "edition", "rust-version", "license"];

/// The fewest words of a reason.
const REASON_WORDS: usize = 3;

/// A parsed Cargo.toml.
struct Manifest<'a> {
    file: &'a File,
    table: Table,
}

/// A dependency as some crate declares it.
struct Dependency<'a> {
    name: &'a str,
    value: &'a Value,
    /// `true` if only tests, examples and benchmarks use it.
    dev: bool,
}

impl<'a> Manifest<'a> {
    fn read(file: &'a File) -> Manifest<'a> {
        let table =
            file.text().unwrap_or_default().parse().unwrap_or_else(|error| panic!("{}: {error}", file.path));
        Manifest { file, table }
    }

    /// Returns the package's name. The Cargo.toml of the workspace has none.
    fn package(&self) -> Option<&str> {
        self.table.get("package")?.get("name")?.as_str()
    }

    fn is_published(&self) -> bool {
        self.table.get("package").and_then(|package| package.get("publish")) != Some(&Value::Boolean(false))
    }

    /// Returns all dependencies of all kinds, also those of one platform only.
    fn dependencies(&self) -> Vec<Dependency<'_>> {
        let targets =
            self.table.get("target").and_then(Value::as_table).into_iter().flat_map(|all| all.values());
        let tables = std::iter::once(&self.table).chain(targets.filter_map(Value::as_table));
        let mut found = Vec::new();
        for table in tables {
            for (kind, dev) in
                [("dependencies", false), ("build-dependencies", false), ("dev-dependencies", true)]
            {
                let of_kind = table.get(kind).and_then(Value::as_table).into_iter().flatten();
                found.extend(of_kind.map(|(name, value)| Dependency { name, value, dev }));
            }
        }
        found
    }

    /// Returns a finding at the first line that begins with `key`.
    fn finding(&self, key: &str, what: impl std::fmt::Display) -> String {
        let text = self.file.text().unwrap_or_default();
        let line = text.lines().position(|line| line.starts_with(key)).map_or(1, |index| index + 1);
        self.file.finding(line, what)
    }
}

/// Returns every Cargo.toml without a package first, then the others.
fn manifests() -> Vec<Manifest<'static>> {
    let files = tree().iter().filter(|file| file.path == "Cargo.toml" || file.path.ends_with("/Cargo.toml"));
    let mut manifests: Vec<_> = files.map(Manifest::read).collect();
    manifests.sort_by_key(|manifest| manifest.package().is_some());
    manifests
}

fn members() -> Vec<Manifest<'static>> {
    manifests().into_iter().filter(|manifest| manifest.package().is_some()).collect()
}

fn arrows(manifest: &Manifest<'_>) -> Vec<String> {
    let Some(name) = manifest.package().filter(|_| manifest.is_published()) else { return vec![] };
    let Some((_, allowed)) = ARROWS.iter().find(|(known, _)| *known == name) else {
        let what = format!("`{name}` is new: give it a line in ARROWS, or `publish = false`");
        return vec![manifest.finding("name", what)];
    };
    // `liveoak-config` is not part of the library: a program may use both.
    let inner = |dependency: &str| dependency.starts_with("liveoak-") && dependency != "liveoak-config";
    let refused = |dependency: &Dependency<'_>| match allowed {
        Some(allowed) => !dependency.dev && !allowed.contains(&dependency.name),
        None => !dependency.dev && inner(dependency.name),
    };
    let found = manifest.dependencies().into_iter().filter(refused);
    found
        .map(|dependency| {
            let what =
                format!("`{name}` may not depend on `{}` (see ARROWS in the tidy test)", dependency.name);
            manifest.finding(dependency.name, what)
        })
        .collect()
}

#[test]
fn every_crate_has_only_allowed_dependencies() {
    assert_none(members().iter().flat_map(arrows).collect());
}

fn inheritance(manifest: &Manifest<'_>) -> Vec<String> {
    let inherits =
        |value: Option<&Value>| value.and_then(|value| value.get("workspace")) == Some(&Value::Boolean(true));
    let package = manifest.table.get("package");
    let mut findings = Vec::new();
    for key in INHERITED {
        if !inherits(package.and_then(|package| package.get(key))) {
            findings
                .push(manifest.finding(key, format!("write `{key}.workspace = true`: all crates share it")));
        }
    }
    if manifest.table.get("lints").and_then(|lints| lints.get("workspace")) != Some(&Value::Boolean(true)) {
        findings.push(
            manifest.finding("[lints]", "write `[lints]` and `workspace = true`: one set of lints for all"),
        );
    }
    for dependency in manifest.dependencies() {
        if !inherits(Some(dependency.value)) && dependency.value.get("path").is_none() {
            let what = format!(
                "write `{}.workspace = true`; its version and reason stand in the root",
                dependency.name
            );
            findings.push(manifest.finding(dependency.name, what));
        }
    }
    findings
}

#[test]
fn every_crate_takes_version_edition_lints_and_dependencies_from_the_workspace() {
    assert_none(members().iter().flat_map(inheritance).collect());
}

/// Returns the table `[workspace.dependencies]` of the root.
fn shared(root: &Manifest<'_>) -> Table {
    let table = root.table.get("workspace").and_then(|workspace| workspace.get("dependencies"));
    table.and_then(Value::as_table).cloned().unwrap_or_default()
}

fn reasons(root: &Manifest<'_>) -> Vec<String> {
    let lines: Vec<&str> = root.file.text().unwrap_or_default().lines().collect();
    let mut findings = Vec::new();
    for (name, _) in shared(root).iter().filter(|(_, value)| value.get("path").is_none()) {
        let is_its = |line: &&str| {
            line.strip_prefix(name.as_str()).is_some_and(|rest| rest.trim_start().starts_with('='))
        };
        let at = lines.iter().position(is_its).unwrap_or_default();
        let above = lines[..at].last().and_then(|line| line.strip_prefix('#')).unwrap_or_default();
        if above.split_whitespace().count() < REASON_WORDS {
            findings.push(
                root.file
                    .finding(at + 1, format!("say in a comment right above why the project needs `{name}`")),
            );
        }
    }
    findings
}

#[test]
fn every_dependency_stands_in_the_root_with_a_reason() {
    assert_none(manifests().iter().flat_map(reasons).collect());
}

fn unused(root: &Manifest<'_>, members: &[Manifest<'_>]) -> Vec<String> {
    let used = |name: &String| {
        members.iter().any(|member| member.dependencies().iter().any(|found| found.name == name))
    };
    let shared = shared(root);
    let unused = shared.iter().filter(|(name, value)| value.get("path").is_none() && !used(name));
    unused
        .map(|(name, _)| root.finding(name, format!("no crate depends on `{name}`: remove the line")))
        .collect()
}

#[test]
fn every_dependency_in_the_root_is_used_by_some_crate() {
    assert_none(unused(&manifests()[0], &members()));
}

/// Returns the findings of `rule` about a Cargo.toml with this text.
fn judge(rule: impl Fn(&Manifest<'_>) -> Vec<String>, text: &str) -> Vec<String> {
    let file = File::new("crates/a/Cargo.toml", text);
    rule(&Manifest::read(&file))
}

#[test]
fn a_forbidden_dependency_is_found() {
    let crates = |name: &str, rest: &str| format!("[package]\nname = \"{name}\"\n{rest}");
    for (name, good) in [
        ("liveoak-core", "[dev-dependencies]\ntokio.workspace = true"),
        ("liveoak-runtime", "[dependencies]\ntokio.workspace = true"),
        ("liveoak-config", "[dependencies]\nliveoak-core.workspace = true\ntoml.workspace = true"),
        ("liveoak-cli", "[dependencies]\nclap.workspace = true\nliveoak-config.workspace = true"),
        ("helper", "publish = false\n[dependencies]\nserde.workspace = true"),
    ] {
        assert_none(judge(arrows, &crates(name, good)));
    }
    for (name, bad) in [
        ("liveoak-core", "[dependencies]\ntracing.workspace = true"),
        ("liveoak-core", "[build-dependencies]\ncc.workspace = true"),
        ("liveoak-runtime", "[target.'cfg(unix)'.dependencies]\nrustix.workspace = true"),
        ("liveoak-process", "[dependencies]\nliveoak.workspace = true"),
        ("liveoak-config", "[dependencies]\nclap.workspace = true"),
        ("liveoak", "[dependencies]\nserde = { workspace = true, optional = true }"),
        ("liveoak-cli", "[dependencies]\nliveoak-core.workspace = true"),
        ("liveoak-new", ""),
    ] {
        assert_eq!(judge(arrows, &crates(name, bad)).len(), 1, "{name} {bad}");
    }
}

#[test]
fn a_key_that_is_not_inherited_from_the_workspace_is_found() {
    let good = "[package]\nname = \"a\"\nversion.workspace = true\nedition.workspace = true\nrust-version.workspace = true\n\
        license.workspace = true\n[dependencies]\nb.workspace = true\n[dev-dependencies]\na = { path = \".\" }\n[lints]\nworkspace = true\n";
    assert_none(judge(inheritance, good));
    let lines =
        ["version", "edition", "rust-version", "license", "b"].map(|key| format!("{key}.workspace = true"));
    for line in lines {
        let (key, _) = line.split_once('.').unwrap();
        let bad = good.replacen(&format!("\n{line}"), &format!("\n{key} = \"1.0.0\""), 1);
        assert_eq!(judge(inheritance, &bad).len(), 1, "{bad}");
    }
    assert_eq!(judge(inheritance, &good.replace("[lints]\nworkspace = true", "")).len(), 1);
}

#[test]
fn a_dependency_without_a_reason_is_found() {
    let head = "[workspace.dependencies]\nown = { path = \"own\" }\n";
    assert_none(judge(
        reasons,
        &format!("{head}# For the sake of tests.\na = \"1\"\n# Because b is\n# good at it.\nb = \"1\"\n"),
    ));
    for bad in [
        "a = \"1\"",
        "# For the sake of tests.\n\na = \"1\"",
        "# For tests.\na-b = \"1\"",
        "# Needed for a.\na = \"1\"\nb = \"1\"",
    ] {
        assert_eq!(judge(reasons, &format!("{head}{bad}\n")).len(), 1, "{bad}");
    }
}

#[test]
fn an_unused_dependency_in_the_root_is_found() {
    let (root, member) = (
        File::new("Cargo.toml", "[workspace.dependencies]\na = \"1\"\nb = \"1\""),
        File::new("a/Cargo.toml", "[dev-dependencies]\nb.workspace = true"),
    );
    let findings = unused(&Manifest::read(&root), &[Manifest::read(&member)]);
    assert_eq!(findings, ["Cargo.toml:2: no crate depends on `a`: remove the line"]);
}
