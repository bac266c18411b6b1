//! What Liveoak's runtime has written by hand with atomics, in every order in which threads may come: the same files, with
//! loom's locks and atomics in place of the standard library's. Run by `cargo xtask loom`.
#![cfg(test)]

/// What the files take their locks and atomics from.
mod sync {
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU8, Ordering};
    pub(crate) use loom::sync::{Mutex, MutexGuard};
}

#[path = "../../crates/liveoak-runtime/src/latch.rs"]
mod latch;
mod latch_tests;
#[path = "../../crates/liveoak-runtime/src/life.rs"]
mod life;
mod life_tests;
#[path = "../../crates/liveoak-runtime/src/outbox.rs"]
mod outbox;
mod outbox_tests;
