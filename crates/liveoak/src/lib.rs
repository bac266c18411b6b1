//! Liveoak.
