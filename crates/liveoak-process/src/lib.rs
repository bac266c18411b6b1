//! Liveoak's process crate.
