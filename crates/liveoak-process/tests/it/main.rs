//! The tests of this crate on real processes. They are one binary, because a single binary links faster.

mod checks;
mod child;
mod death;
mod identity;
mod output;
mod probe_servers;
mod probes;
mod process_group;
mod program;
mod spawn_errors;
mod support;
