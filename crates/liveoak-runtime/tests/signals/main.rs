//! Signals: each test starts this test program as a child process, and sends signals to it.
//!
//! - `support`: starts the programs, and reads what they print
//! - `wishes`: the effect of signals while a tree runs
//! - `afterwards`: the effect of signals after `run`, and together with handlers of the program
//! - `whole_program`: `liveoak::main`

mod afterwards;
mod support;
mod whole_program;
mod wishes;
