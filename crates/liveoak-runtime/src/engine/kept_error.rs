//! The errors of children that keep their errors.
//!
//! The machine keeps exits and drops them under the lock, where no destructor of the user may run. An exit holds text. If
//! the child keeps its errors, the exit also holds the error, inside a [`KeptError`].

use crate::attempt::panic::drop_catching_panics;
use crate::engine::drops::Drops;
use liveoak_core::{ChildId, Exit, Failure, FailureError};
use std::error::Error;
use std::sync::Arc;

/// An error that exits hold. [`Drops`] drops the error, wherever the last of these exits is dropped.
struct KeptError {
    /// `None` only while this is being dropped.
    error: Option<Arc<dyn FailureError>>,
    drops: Arc<Drops>,
    child: ChildId,
}

impl FailureError for KeptError {
    fn error(&self) -> &(dyn Error + Send + Sync + 'static) {
        match &self.error {
            Some(error) => error.error(),
            None => unreachable!("it is being dropped"),
        }
    }
}

impl Drop for KeptError {
    fn drop(&mut self) {
        if let Some(error) = self.error.take() {
            self.drops.push(self.child, vec![Box::new(error)]);
        }
    }
}

/// Returns the exit that the tree keeps. Called by the task or the thread of the attempt. Unless the child keeps its
/// errors, the error is dropped before this function returns. While too many values wait to be dropped, no error is kept.
pub(crate) fn settle_error(exit: Exit, keep_error: bool, child: ChildId, drops: &Arc<Drops>) -> Exit {
    match exit {
        Exit::Failed(failure) if failure.holder().is_some() => {
            let keep = |error| KeptError { error: Some(error), drops: Arc::clone(drops), child };
            let keep_error = keep_error && !drops.is_full();
            let kept = failure.holder().filter(|_| keep_error).cloned().map(keep);
            let kept = kept.map(|kept| Arc::new(kept) as Arc<dyn FailureError>);
            settle(failure, kept, drops)
        }
        exit => exit,
    }
}

/// Replaces the error of a failure by `kept`.
fn settle(mut failure: Arc<Failure>, kept: Option<Arc<dyn FailureError>>, drops: &Drops) -> Exit {
    if let Some(only) = Arc::get_mut(&mut failure) {
        let error = only.replace_error(kept);
        // The error may still be kept. If it is not, it may hold what must not be dropped by a task, such as a Tokio runtime.
        match error {
            Some(error) if error.has_destructor() && Arc::strong_count(&error) == 1 => {
                drops.drop_now(Box::new(error));
            }
            error => drop_catching_panics(error),
        }
        return Exit::Failed(failure);
    }
    let settled = failure.with_error(kept);
    drop_catching_panics(failure);
    Exit::Failed(Arc::new(settled))
}
