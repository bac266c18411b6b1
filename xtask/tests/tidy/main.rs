//! The project's rules about itself, as tests: each rule is one test whose name says it, beside a test that shows it can
//! fail. A rule gets what it looks at as an argument and returns findings; [`hold`](tree::hold) prints them as `file:line: what to do`.
//!
//! * `sources` – every Rust file: docs, sizes, leftovers, suppressions, names of tests.
//! * `absence` – what must not be somewhere: a clock in the core, a second place for effects, `unsafe` outside one file.
//! * `manifests` – who may depend on whom, with a reason, at one version.
//! * `closure` – what a user of the library gets: how many crates, under which licences.
//! * `conformance` – the page `docs/conformance.md`: complete, and the tests it names exist.
//! * `layers` – which way the arrows between files point: no cycles, the machine's layers, the runtime's storeys.
//! * `vocabulary` – the map in ARCHITECTURE.md: its files and functions exist, and public names are made of its words.
//! * `words` – plain words in pages, comments and names of tests.
//! * `texts` – everything else that is committed: leftovers, machine paths, changelog, README, links.
//!
//! Tools: `code` blanks comments and strings and cuts Rust into tokens; `imports` reads the arrows between
//! modules; `spdx` reads licence expressions; `tree` walks
//! the repository.

mod absence;
mod closure;
mod code;
mod conformance;
mod imports;
mod layers;
mod manifests;
mod sources;
mod spdx;
mod texts;
mod tree;
mod vocabulary;
mod words;
