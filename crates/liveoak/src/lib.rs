//! One supervision tree for Rust, from a task to a fleet.

pub use liveoak_runtime::*;
