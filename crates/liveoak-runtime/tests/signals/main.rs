//! Signals: each test starts this test program as a child process, and sends signals to it.
//!
//! - `support`: starts the programs, and reads what they print
//! - `wishes`: what signals ask for while a tree runs
//! - `afterwards`: what a signal does after `run`, and together with handlers of the program
//! - `whole_program`: `liveoak::main`

mod afterwards;
mod support;
mod whole_program;
mod wishes;
