//! Liveoak's core crate.
