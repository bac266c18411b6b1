//! Log lines of this crate, and other calls of user code. A log subscriber, a sink and a waker are user code: they may
//! panic, and that must end neither a thread nor a task that supervises.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Writes a line of the log: `line` calls a `tracing` macro.
pub(crate) fn log(line: impl FnOnce() + Send + 'static) {
    let _panicked = catch(line);
}

/// Calls user code. Returns `false` if it panicked; the panic hook has reported that.
pub(crate) fn catch(user_code: impl FnOnce()) -> bool {
    let Err(payload) = catch_unwind(AssertUnwindSafe(user_code)) else { return true };
    if let Err(another) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        // Dropping it could panic again, without end.
        std::mem::forget(another);
    }
    false
}
