//! The `tracing` span of an attempt. All code of the attempt runs inside it, so the lines that this code logs carry the path
//! of the child and the number of the attempt.
//!
//! Nothing is made unless a subscriber wants the span: one load of an atomic number decides. The span has the level
//! ERROR, so that it is there whatever level the log has. A subscriber is user code, so a panic of it is ignored. It is called
//! by the threads that run the code of children, as it is when this code logs.

use crate::attempt::cell::{AttemptCell, AttemptListener};
use crate::util::waker_guard::ignore_panic;
use std::sync::Arc;
use tracing::{Level, Span};

/// The target of the spans.
const TARGET: &str = "liveoak::child";

/// The span of one attempt.
pub(crate) struct AttemptSpan(Span);

impl Drop for AttemptSpan {
    fn drop(&mut self) {
        let span = std::mem::replace(&mut self.0, Span::none());
        ignore_panic(move || drop(span));
    }
}

/// Returns the span of an attempt, if a subscriber wants it.
pub(crate) fn wanted_span<T: AttemptListener>(cell: &AttemptCell<T>) -> Option<Arc<AttemptSpan>> {
    if tracing::span_enabled!(target: TARGET, Level::ERROR) { span_of(cell) } else { None }
}

/// Runs `f` inside a span. `f` must not panic.
#[inline]
pub(crate) fn in_span<R>(span: Option<&AttemptSpan>, f: impl FnOnce() -> R) -> R {
    let mut entered = None;
    // Mostly there is no span. `f` is called at one place, so that it is inlined.
    if let Some(AttemptSpan(span)) = span {
        ignore_panic(|| entered = Some(span.enter()));
    }
    let outcome = f();
    if entered.is_some() {
        ignore_panic(|| drop(entered));
    }
    outcome
}

/// Returns the span of the attempt, which is made once. `None` if the subscriber panicked.
#[cold]
fn span_of<T: AttemptListener>(cell: &AttemptCell<T>) -> Option<Arc<AttemptSpan>> {
    if let Some(span) = cell.subtasks.identity(|known| known.span.clone()) {
        return Some(span);
    }
    let path = cell.path();
    let mut made = None;
    ignore_panic(|| {
        let attempt = cell.attempt.0;
        let span = tracing::error_span!(target: TARGET, parent: None, "child", path = %path, attempt);
        made = Some(Arc::new(AttemptSpan(span)));
    });
    // If another thread made a span meanwhile, that one counts, and this one is dropped after the lock is released.
    let made = made?;
    Some(cell.subtasks.identity(|known| Arc::clone(known.span.get_or_insert_with(|| Arc::clone(&made)))))
}
