//! The tasks of this repository that a developer or CI runs with `cargo xtask TASK`.
//!
//! * [`TASKS`] – the list of all tasks. A new task is a function in a module, and a line in that list.
//! * [`readme`] – finds the demonstration and the test command in README.md.
//!
//! `tasks.rs` knows all tasks; a task knows only `run.rs` (runs commands), `failure.rs` (errors), `readme.rs`, and tasks
//! that it includes.
//!
//! The rules about sources, manifests and texts are not here: they are tests, in `xtask/tests/tidy`. Code that measures
//! or demonstrates the library belongs in a crate of its own that a task calls, so that this crate needs no
//! dependencies.

mod api;
mod chaos;
mod checkers;
mod ci;
mod compare;
mod examples;
mod failure;
mod fuzz;
mod mutants;
pub mod readme;
mod run;
mod soak;
mod tasks;
mod test;

pub use failure::Failure;
pub use run::root;
pub use tasks::{TASKS, Task, dispatch, usage};
