//! Locks and atomics of what is written by hand with them ([`latch`](crate::latch), [`life`](crate::life),
//! [`outbox`](crate::outbox)). They take them from here, so that the same files can be tried under loom, in every order in
//! which threads may come.

pub(crate) use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
pub(crate) use std::sync::{Mutex, MutexGuard};
