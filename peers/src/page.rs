//! Formats the results as docs/comparison.md. All texts of that page come from this crate, so do not edit the page
//! itself.

use crate::adapters;
use crate::scenarios::{self, Scenario};
use std::fmt::Write;

/// The manifest of this crate, which has the versions of the compared supervisors.
const MANIFEST: &str = include_str!("../Cargo.toml");

const HEAD: &str = "\
# Liveoak beside other supervisors

This page shows what Liveoak and other supervisors for Rust from crates.io do under the same failures. Each scenario ran once, in
a process of its own. A cell shows what counters in the children measured and what the supervisor reported. No result is written
by hand, except that \"does not offer\" comes from the supervisor's documentation; that is not a failure of the supervisor.
[How each is used](#how-each-is-used) lists the settings that matter. A child may take half a second to stop; the supervisor's
own limit, if it has one, is the same. A stop is in time if it returns within 3 s; after 8 s it counts as never returning. In
logs, only warnings and errors count.

Not compared: features that only one of them has (such as programs as children), and speed.

`cargo xtask peers` builds and runs everything again, in a quarter of an hour, and writes this page.

";

/// Returns the version of a crate in the manifest.
fn version(name: &str) -> &'static str {
    let lines = MANIFEST.lines().filter_map(|line| line.strip_prefix(name));
    let values = lines.filter_map(|line| line.trim_start().strip_prefix('='));
    let versions = values.filter_map(|value| value.split_once("\"=")?.1.split('"').next());
    versions.into_iter().next().unwrap_or("this repository")
}

/// Returns the whole page.
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

/// Returns the link target of a heading.
fn anchor(title: &str) -> String {
    let kept = title.chars().filter(|c| c.is_alphanumeric() || " -".contains(*c));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}
