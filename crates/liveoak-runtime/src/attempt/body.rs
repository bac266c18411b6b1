//! The bodies of children, and the values that the user's code may return.

use crate::attempt::cell::AttemptCell;
use liveoak_core::{BodyDifference, Exit};
use std::any::Any;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use tokio::runtime::Handle;

/// A value whose destructor is user code.
pub(crate) type UserValue = Box<dyn Send>;

/// Adds `value` to `values` if it has a destructor.
pub(crate) fn add_user_value<T: Send + 'static>(values: &mut Vec<UserValue>, value: T) {
    if std::mem::needs_drop::<T>() {
        values.push(Box::new(value));
    }
}

/// What the code of a child is made of, if that is plain values: a command line, or a kind with its arguments. Such code is
/// compared by value when another declaration of the tree takes the place of this one. Closures are not compared.
pub trait BodyValue: Any + Send + Sync {
    /// Returns how `now` differs from this value. `now` may be of another type.
    fn difference(&self, now: &dyn BodyValue) -> BodyDifference;
}

/// One try of a check: it asks once. The error is the answer as text.
pub(crate) type Try = Pin<Box<dyn Future<Output = Result<(), Arc<str>>> + Send>>;

/// Any error.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What a body may return: `()`, a `Result` with any error, an [`Exit`], or nothing, because it never returns (`!`, such as a
/// `loop` without `break`).
#[diagnostic::on_unimplemented(
    message = "a child cannot end with a value of type `{Self}`",
    label = "the body of this child returns `{Self}`",
    note = "a body returns `()`, a `Result` of one of these types with any error, an `Exit`, or never"
)]
pub trait IntoExit {
    /// Converts the value into an exit.
    fn into_exit(self) -> Exit;
}

impl IntoExit for () {
    fn into_exit(self) -> Exit {
        Exit::Completed
    }
}

impl IntoExit for Infallible {
    fn into_exit(self) -> Exit {
        match self {}
    }
}

/// The type that a function returns. It is public because the `impl` for it is; the module is not.
pub trait Returns {
    type Value;
}

impl<T> Returns for fn() -> T {
    type Value = T;
}

/// For a body that is a `loop` without end. Its type is `!`, which stable Rust cannot name in an `impl` in any other way.
impl IntoExit for <fn() -> ! as Returns>::Value {
    fn into_exit(self) -> Exit {
        self
    }
}

impl IntoExit for Exit {
    fn into_exit(self) -> Exit {
        self
    }
}

impl<T: IntoExit, E: Into<BoxError>> IntoExit for Result<T, E> {
    fn into_exit(self) -> Exit {
        match self {
            Ok(outcome) => outcome.into_exit(),
            Err(error) => Exit::failed(error),
        }
    }
}

/// Starts the attempts of a child of the tree `T`: each call of `start` begins one attempt, without the tree's lock.
/// All attempts are stopped and killed in the same way, through the [orders](AttemptCell::orders) of the cell.
pub(crate) trait Body<T>: Any + Send + Sync {
    /// Starts the attempt of `cell` on the runtime of `handle`. Passes the attempt to a task or a thread, and runs no code
    /// of the user itself, because the caller may be inside a call of another child.
    fn start(self: Arc<Self>, cell: Arc<AttemptCell<T>>, handle: &Handle);

    /// Returns a try of the check at this position in the spec, if the child has it. The code of the user begins to run
    /// when the try is polled.
    fn check(self: Arc<Self>, _index: u32, _cell: &Arc<AttemptCell<T>>) -> Option<Try> {
        None
    }

    /// Takes the body apart if no attempt uses it any more. Adds the values whose destructors are user code to `values`,
    /// and drops the rest.
    fn dispose(self: Arc<Self>, values: &mut Vec<UserValue>);

    /// Returns what the body is made of, if it can be compared with another one.
    fn value(&self) -> Option<&Arc<dyn BodyValue>> {
        None
    }

    /// Returns the runtime that the user has chosen for the attempts, if any.
    fn runtime(&self) -> Option<&Handle> {
        None
    }

    /// Returns `false` if the attempts are no futures that a runtime polls.
    fn has_polls(&self) -> bool {
        true
    }

    /// Returns `true` if the attempts can run only on a dedicated runtime of one thread.
    fn needs_one_thread(&self) -> bool {
        false
    }
}
