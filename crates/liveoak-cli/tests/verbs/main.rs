//! The verbs that speak to a running tree: against a server of the test with canned answers, and against real trees.
//!
//! Each test has a folder of its own, in which the sockets of its trees are too. No test sleeps for luck.

mod canned;
mod commands;
mod diagnosing;
mod fake;
mod history;
mod listings;
mod real;
mod streams;
mod support;
mod thirty;
mod trouble;
#[path = "../shared/waiting.rs"]
mod waiting;
