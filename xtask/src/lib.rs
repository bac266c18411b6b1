//! The project's own tasks: what a person or CI runs on the whole repository.
//!
//! * [`TASKS`] – the closed list of `cargo xtask` commands; a new one is a module and a line there.
//! * [`readme`] – the commands that README.md promises, read from README.md.
//!
//! The rules about sources, manifests and texts are not here: they are tests, in `xtask/tests/tidy`.
//!
//! What measures or demonstrates the library belongs into a crate of its own that a task calls, so that this one stays
//! free of dependencies.

mod asan;
mod bench;
mod bless;
mod chaos;
mod ci;
mod examples;
mod fuzz;
mod loom;
mod mutants;
mod peers;
pub mod readme;
mod run;
mod soak;
mod task;
mod test;

pub use run::root;
pub use task::{Failure, TASKS, Task, dispatch, usage};
