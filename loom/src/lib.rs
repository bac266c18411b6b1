//! Tests the hand-written synchronisation of Liveoak's runtime in all orders in which threads can run, with at most
//! three preemptions: the same source files, with loom's locks and atomics in place of the standard library's. Run by
//! `cargo xtask loom`.
#![cfg(test)]

#[path = "../../crates/liveoak-runtime/src/util"]
mod util {
    pub(crate) mod lock;
    /// The locks and atomics that the files use.
    pub(crate) mod sync {
        pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU8, Ordering};
        pub(crate) use loom::sync::{Mutex, MutexGuard};
    }
    pub(crate) mod waker_guard;
}

#[path = "../../crates/liveoak-runtime/src/attempt"]
mod attempt {
    pub(crate) mod orders;
    pub(crate) mod subtasks;
}

#[path = "../../crates/liveoak-runtime/src/engine"]
mod engine {
    pub(crate) mod outbox;
}

mod orders_tests;
mod outbox_tests;
mod subtasks_tests;
