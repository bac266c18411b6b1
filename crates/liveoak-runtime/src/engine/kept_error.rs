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
    /// The failure as the attempt returned it, which owns the error. `None` only while this is being dropped.
    failure: Option<Arc<Failure>>,
    drops: Arc<Drops>,
    child: ChildId,
}

impl FailureError for KeptError {
    fn error(&self) -> &(dyn Error + Send + Sync + 'static) {
        match self.failure.as_ref().and_then(|failure| failure.error()) {
            Some(error) => error,
            None => unreachable!("it has an error until it is dropped"),
        }
    }
}

impl Drop for KeptError {
    fn drop(&mut self) {
        if let Some(failure) = self.failure.take() {
            self.drops.push(self.child, vec![Box::new(failure)]);
        }
    }
}

/// Returns the exit that the tree keeps. Called by the task or the thread of the attempt. Unless the child keeps its
/// errors, the error is dropped before this function returns. While too many values wait to be dropped, no error is kept.
pub(crate) fn settle_error(exit: Exit, keep_error: bool, child: ChildId, drops: &Arc<Drops>) -> Exit {
    match exit {
        Exit::Failed(failure) if failure.error().is_some() => {
            Exit::Failed(if keep_error && !drops.is_full() {
                keep(failure, child, drops)
            } else {
                let_go(failure, drops)
            })
        }
        exit => exit,
    }
}

/// Returns the same failure, but lets [`Drops`] drop its error.
fn keep(failure: Arc<Failure>, child: ChildId, drops: &Arc<Drops>) -> Arc<Failure> {
    let kept = KeptError { failure: Some(Arc::clone(&failure)), drops: Arc::clone(drops), child };
    Arc::new(failure.with_error(Some(Arc::new(kept))))
}

/// Drops the error of a failure. If the user's code holds the failure too, the error lives on there.
fn let_go(mut failure: Arc<Failure>, drops: &Drops) -> Arc<Failure> {
    let Some(only) = Arc::get_mut(&mut failure) else {
        let text = Arc::new(failure.with_error(None));
        drop_catching_panics(failure);
        return text;
    };
    let has_destructor = only.has_destructor();
    match only.take_error() {
        // It may hold what must not be dropped by a task, such as a Tokio runtime.
        Some(error) if has_destructor => drops.drop_now(error),
        error => drop_catching_panics(error),
    }
    failure
}
