//! The machine, driven by hand: no executor, no clock, no chance.
//!
//! [`rig`] plays the driver and checks the laws after every input; [`audit`] checks the invariants of the
//! machine's own state. The other files hold the tests, by topic.

mod after;
mod audit;
mod command;
mod conformance_restart;
mod conformance_start;
mod conformance_stop;
mod dedicated_runtime;
mod ladder;
mod matrix;
mod museum;
mod property;
mod replica;
mod restart;
mod rig;
mod seeing;
mod shape;
mod stop;
mod table;
mod waiting;
