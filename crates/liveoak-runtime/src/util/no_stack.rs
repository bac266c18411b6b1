//! Stands for the stack of another thread where there is none: without the feature `stacks`, and on other systems.

/// The stack of a thread. There is none.
pub(crate) enum Stack {}

impl Stack {
    /// Returns `None`.
    pub(crate) const fn of_thread(_thread: i32) -> Option<Self> {
        None
    }

    /// Cannot be called.
    pub(crate) const fn find_names(self, _done: impl FnOnce(String) + Send + 'static) {
        match self {}
    }
}
