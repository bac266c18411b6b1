//! What the crate promises, on real processes. One binary, so that it links once.

mod child;
mod death;
mod group;
mod output;
mod probes;
mod program;
mod spawn_errors;
mod support;
