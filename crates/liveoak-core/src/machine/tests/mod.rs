//! The machine, driven by hand: without an executor, a clock, or randomness.
//!
//! [`test_driver`] is the driver and checks the rules after every input. [`audit`] checks the invariants of the
//! machine's own state. The other files hold the tests, by topic.

mod after;
mod audit;
mod command;
mod conformance_restart;
mod conformance_start;
mod conformance_stop;
mod dedicated_runtime;
mod kept;
mod matrix;
mod observing;
mod property;
mod regressions;
mod replica;
mod restart;
mod self_wait;
mod shape;
mod stop;
mod stop_stages;
mod table;
mod test_driver;
mod waiting;
