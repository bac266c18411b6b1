//! The page that is written: docs/comparison.md.

use crate::adapters;
use crate::scenarios::{self, Scenario};
use std::fmt::Write;

/// This crate's own manifest: it says at which versions the others are compared.
const MANIFEST: &str = include_str!("../Cargo.toml");

const HEAD: &str = "\
# Liveoak beside other supervisors

This page compares Liveoak with other supervisors for Rust from crates.io, under the same failures. Each scenario ran once, in
a process of its own. A cell shows what counters in the children recorded and what the supervisor said. No verdict is written by
hand. Only \"does not offer\" comes from a supervisor's documentation; it is not a fault.
[How each is used](#how-each-is-used) lists the settings that matter.

Each child has half a second to stop. The whole tree has the same time, if this can be set. An answer is in time if it comes at
most 2.5 seconds after that. An answer that takes more than 8 seconds counts as never given. Of logs, only warnings and errors
count. Features that only one supervisor has (such as programs as children) and speed are not compared.

`cargo xtask peers` builds and runs everything again in a quarter of an hour, and writes this page.

";

/// The version of a crate in the manifest.
fn version(name: &str) -> &'static str {
    let lines = MANIFEST.lines().filter_map(|line| line.strip_prefix(name));
    let values = lines.filter_map(|line| line.trim_start().strip_prefix('='));
    let versions = values.filter_map(|value| value.split_once("\"=")?.1.split('"').next());
    versions.into_iter().next().unwrap_or("this repository")
}

/// The whole page.
pub(crate) fn page(rows: &[(&Scenario, Vec<String>)]) -> String {
    let mut page = HEAD.to_owned();
    // Writing to a string cannot fail.
    let _ = write!(page, "|");
    for peer in adapters::ALL {
        let _ = write!(page, " | **{}** {}", peer.name(), version(peer.name()));
    }
    let _ = writeln!(page, " |\n|{}", "---|".repeat(adapters::ALL.len() + 1));
    for (scenario, cells) in rows {
        let _ = write!(page, "| [{}](#{})", scenario.title, anchor(scenario.title));
        for cell in cells {
            let _ = write!(page, " | {}", cell.replace('|', "\\|"));
        }
        let _ = writeln!(page, " |");
    }
    page.push_str("\n## How each is used\n\n");
    for peer in adapters::ALL {
        let _ = writeln!(page, "- **{}**: {}", peer.name(), peer.usage());
    }
    let _ = writeln!(page, "\nThe actors of ractor-supervisor are those of ractor {}.", version("ractor"));
    page.push_str("\n## What each scenario does\n");
    for scenario in scenarios::all() {
        let _ = writeln!(page, "\n### {}\n\n{}", scenario.title, scenario.about);
    }
    page
}

/// What a heading is linked by.
fn anchor(title: &str) -> String {
    let kept = title.chars().filter(|c| c.is_alphanumeric() || " -".contains(*c));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}
