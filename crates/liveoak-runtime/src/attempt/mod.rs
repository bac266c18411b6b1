//! The lowest storey: one attempt of one child of any kind.
//!
//! * `body` – the trait that starts the attempts of a child, and the values that the user's code may return.
//! * `activity` – whether code of the attempt is running now.
//! * `cell` – the shared record of one attempt; reports its end to the tree that made it.
//! * `orders` – the orders to stop, to be killed, to be abandoned; and how a task waits for them.
//! * `span` – the `tracing` span of an attempt.
//! * `subtasks` – the tasks that an attempt has spawned, and when the attempt has ended.
//! * `dedicated_runtime` – the attempt of a supervisor with a Tokio runtime of its own.
//! * `polls` – which attempt each thread is polling now.
//! * `panic` – panics as values.

pub(crate) mod activity;
pub(crate) mod body;
pub(crate) mod cell;
pub(crate) mod dedicated_runtime;
pub(crate) mod orders;
pub(crate) mod panic;
pub(crate) mod polls;
pub(crate) mod span;
pub(crate) mod subtasks;
