//! The project's rules about itself, as tests: the name of a test is the rule, and a second test shows that the rule can
//! fail. A rule gets the files that it judges as an argument and returns findings. [`assert_none`](tree::assert_none) prints
//! them as `file:line: what to do`.
//!
//! * `sources` – every Rust file: docs, sizes, leftovers, suppressions, names of tests.
//! * `forbidden` – code that is allowed in one place only: no clock in the core, effects in one file, `unsafe` in two files.
//! * `manifests` – which crate may depend on which, with a reason, at one version.
//! * `dependencies` – what a user of the library builds: how many crates, under which licences.
//! * `conformance` – the page `docs/conformance.md`: it is complete, and the tests that it names exist.
//! * `layers` – which file may use which: no cycles, the machine's layers, the runtime's storeys.
//! * `vocabulary` – the map in ARCHITECTURE.md: its files and functions exist, and public names are made of its words.
//! * `bounds` – the table of bounds in ARCHITECTURE.md: each has a constant and a test.
//! * `operations` – the page `docs/operations.md`: one entry for each state, exit and finding.
//! * `words` – plain words in pages, comments and names of tests.
//! * `texts` – all committed files: leftovers, machine paths, changelog, README, links.
//!
//! Tools: `code` blanks comments and strings and cuts Rust into tokens; `imports` reads which module uses which; `spdx`
//! reads licence expressions; `tree` walks the repository.

mod bounds;
mod code;
mod conformance;
mod dependencies;
mod forbidden;
mod imports;
mod layers;
mod manifests;
mod operations;
mod sources;
mod spdx;
mod texts;
mod tree;
mod vocabulary;
mod words;
