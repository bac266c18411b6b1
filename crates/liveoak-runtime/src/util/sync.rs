//! The locks and atomics of the code that is tested under loom: [`orders`](crate::attempt::orders),
//! [`subtasks`](crate::attempt::subtasks) and [`outbox`](crate::engine::outbox). The crate in `loom/` compiles the same
//! files with loom's types in place of these, and tries the orders in which threads can run, with up to three
//! preemptions.

pub(crate) use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
pub(crate) use std::sync::{Mutex, MutexGuard};
