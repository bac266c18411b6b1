//! Code of children that is compared by value.

use crate::api::child::{Child, ChildKind};
use crate::attempt::body::{Body, BodyValue, Try, UserValue};
use crate::engine::driver::{ChildBody, LiveAttempt, TreeInner};
use std::sync::Arc;
use tokio::runtime::Handle;

impl Child {
    /// Returns `true` if this child runs code of its own: it is neither a supervisor nor a group.
    #[must_use]
    pub const fn is_leaf(&self) -> bool {
        matches!(self.kind, ChildKind::Leaf(_))
    }

    /// Declares that the code of this child is made of plain values, so that [`TreeHandle::apply`](crate::TreeHandle::apply)
    /// sees whether it has changed. For builders in other crates that make other kinds of children. A supervisor and a group
    /// have no code of their own.
    #[must_use]
    pub fn made_of(mut self, value: Arc<dyn BodyValue>) -> Self {
        if let ChildKind::Leaf(inner) = self.kind {
            self.kind = ChildKind::Leaf(Arc::new(ValueBody { inner, value }));
        }
        self
    }
}

/// A body with the values that it is made of.
struct ValueBody {
    inner: Arc<ChildBody>,
    value: Arc<dyn BodyValue>,
}

impl Body<Arc<TreeInner>> for ValueBody {
    fn start(self: Arc<Self>, cell: Arc<LiveAttempt>, handle: &Handle) {
        Arc::clone(&self.inner).start(cell, handle);
    }

    fn check(self: Arc<Self>, index: u32, cell: &Arc<LiveAttempt>) -> Option<Try> {
        Arc::clone(&self.inner).check(index, cell)
    }

    fn dispose(self: Arc<Self>, values: &mut Vec<UserValue>) {
        if let Some(only) = Arc::into_inner(self) {
            only.inner.dispose(values);
        }
    }

    fn value(&self) -> Option<&Arc<dyn BodyValue>> {
        Some(&self.value)
    }

    fn runtime(&self) -> Option<&Handle> {
        self.inner.runtime()
    }

    fn has_polls(&self) -> bool {
        self.inner.has_polls()
    }

    fn needs_one_thread(&self) -> bool {
        self.inner.needs_one_thread()
    }
}
