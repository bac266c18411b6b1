//! Log lines of this crate, and other calls of user code. Log subscribers, sinks and wakers are user code and may
//! panic. Such a panic must not end a thread or a task that supervises.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Lets the log thread write a line: `line` calls a `tracing` macro. A subscriber that blocks stops only the log.
pub(crate) fn log(line: impl FnOnce() + Send + 'static) {
    liveoak_runtime::internal::log(line);
}

/// Lets the log thread write a line that holds about `bytes` of text.
pub(crate) fn log_text(bytes: usize, line: impl FnOnce() + Send + 'static) {
    liveoak_runtime::internal::log_text(bytes, line);
}

/// Calls user code. Returns `false` if it panicked; the panic hook has reported that.
pub(crate) fn catch(user_code: impl FnOnce()) -> bool {
    let Err(payload) = catch_unwind(AssertUnwindSafe(user_code)) else { return true };
    if let Err(another) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        // Dropping the payload could panic again, without end.
        std::mem::forget(another);
    }
    false
}
