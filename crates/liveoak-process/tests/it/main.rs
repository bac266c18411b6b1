//! Tests of the crate with real processes. They are one binary, so that it is linked once.

mod child;
mod death;
mod group;
mod output;
mod probes;
mod program;
mod spawn_errors;
mod support;
