//! Liveoak's runtime crate.
