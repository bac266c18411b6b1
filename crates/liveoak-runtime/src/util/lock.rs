//! Locks whose poison is ignored.
//!
//! A lock is poisoned when a thread panics while holding it. No user code runs under a lock of this crate, and each
//! critical section leaves its data valid, so the data can still be used.

use crate::util::sync::{Mutex, MutexGuard};
use std::sync::PoisonError;

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    ignore_poison(mutex.lock())
}

pub(crate) fn ignore_poison<G>(result: Result<G, PoisonError<G>>) -> G {
    result.unwrap_or_else(PoisonError::into_inner)
}
