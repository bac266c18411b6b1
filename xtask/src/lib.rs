//! The tasks of this repository that a developer or CI runs with `cargo xtask TASK`.
//!
//! * [`TASKS`] – the list of all tasks. A new task is a module with a function `run`, and a line in that list.
//! * [`readme`] – reads the commands that README.md promises from README.md.
//!
//! `tasks.rs` knows all tasks; a task knows only `run.rs` (runs commands), `failure.rs` (errors), and tasks that it
//! includes.
//!
//! The rules about sources, manifests and texts are not here: they are tests, in `xtask/tests/tidy`. Code that measures
//! or demonstrates the library belongs into a crate of its own that a task calls, so that this crate needs no
//! dependencies.

mod asan;
mod bench;
mod bless;
mod chaos;
mod ci;
mod examples;
mod failure;
mod fuzz;
mod loom;
mod mutants;
mod peers;
pub mod readme;
mod run;
mod soak;
mod tasks;
mod test;

pub use failure::Failure;
pub use run::root;
pub use tasks::{TASKS, Task, dispatch, usage};
