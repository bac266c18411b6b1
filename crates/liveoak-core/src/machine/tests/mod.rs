//! The machine, driven by hand: without an executor, a clock, or randomness.
//!
//! [`test_driver`] is the driver and checks the rules after every input. [`audit`] checks the invariants of the
//! machine's own state. The other files hold the tests, by topic.

mod adding;
mod after;
mod answers;
mod audit;
mod auto_shutdown;
mod by_command;
mod checks;
mod command;
mod conformance_restart;
mod conformance_start;
mod conformance_stop;
mod copies;
mod corners;
mod dedicated_runtime;
mod description;
mod down_by_command;
mod drain;
mod ends;
mod enough;
mod explain;
mod first_start;
mod history;
mod kept;
mod left_behind;
mod manual;
mod matrix;
mod needs;
mod observing;
mod places;
mod property;
mod regressions;
mod replica;
mod replica_sets;
mod restart;
mod restart_request;
mod self_wait;
mod shape;
mod stable_runs;
mod stop;
mod stop_budget;
mod stop_stages;
mod stuck;
mod survivors;
mod table;
mod test_driver;
mod time_jump;
mod trial;
mod waiting;
mod watch;
