//! Values that one attempt of a child leaves to the next, because its code asked for it.
//!
//! A child has at most one such value. It is taken by the attempt after the one that left it. It is dropped if that
//! attempt ends without having taken it, if the attempt that left it panics (unless asked otherwise), and when the child
//! leaves the tree or never starts again. A tree that never carries a value only reads a flag.

use crate::attempt::body::UserValue;
use crate::util::lock::lock;
use liveoak_core::{Attempt, ChildId, Exit};
use std::any::Any;
use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// A value, and the attempt that left it.
pub(crate) struct Carried {
    pub(crate) by: Attempt,
    pub(crate) value: Box<dyn Any + Send>,
    pub(crate) survives_panic: bool,
}

/// The values of a tree.
#[derive(Default)]
pub(crate) struct CarriedValues {
    any: AtomicBool,
    values: Mutex<HashMap<ChildId, Carried>>,
}

impl CarriedValues {
    /// Leaves a value to the next attempt, if `is_live` returns `true`. It is called under the lock that
    /// [`attempt_ended`](Self::attempt_ended) takes, so the attempt cannot end between the question and the insertion.
    /// Returns the value that this one replaces, or the refused value as the error.
    pub(crate) fn leave(
        &self,
        id: ChildId,
        carried: Carried,
        is_live: impl FnOnce() -> bool,
    ) -> Result<Option<Carried>, Carried> {
        let mut values = lock(&self.values);
        self.any.store(true, Ordering::SeqCst);
        if !is_live() {
            return Err(carried);
        }
        Ok(values.insert(id, carried))
    }

    /// Takes the value that was left to `attempt`, if it has the type `T`.
    pub(crate) fn take<T: 'static>(&self, id: ChildId, attempt: Attempt) -> Option<(Box<T>, bool)> {
        let mut values = lock(&self.values);
        let carried = values.get(&id)?;
        if carried.by.0 + 1 != attempt.0 || !carried.value.is::<T>() {
            return None;
        }
        let carried = values.remove(&id)?;
        let survives_panic = carried.survives_panic;
        carried.value.downcast().ok().map(|value| (value, survives_panic))
    }

    /// Judges the value of a child whose attempt has ended. Returns the value if it must be dropped.
    #[inline]
    pub(crate) fn attempt_ended(&self, id: ChildId, attempt: Attempt, exit: &Exit) -> Option<UserValue> {
        if self.any.load(Ordering::SeqCst) { self.judge(id, attempt, exit) } else { None }
    }

    fn judge(&self, id: ChildId, attempt: Attempt, exit: &Exit) -> Option<UserValue> {
        let mut values = lock(&self.values);
        let carried = values.get(&id)?;
        let panicked = matches!(exit, Exit::Panicked(_)) && !carried.survives_panic;
        if carried.by == attempt && !panicked {
            return None;
        }
        values.remove(&id).map(|carried| Box::new(carried.value) as UserValue)
    }

    /// Adds the value of a child that never starts again to the values to drop.
    #[inline]
    pub(crate) fn forget(&self, id: ChildId, dropped: &mut Vec<UserValue>) {
        if self.any.load(Ordering::Relaxed) {
            self.forget_value(id, dropped);
        }
    }

    fn forget_value(&self, id: ChildId, dropped: &mut Vec<UserValue>) {
        if let Some(carried) = lock(&self.values).remove(&id) {
            dropped.push(Box::new(carried.value));
        }
    }
}
