//! The verbs that speak to a running tree: against a server of the test with canned answers, and against real trees.
//!
//! Each test has a folder of its own, in which the sockets of its trees are too. No test sleeps for luck.

mod canned;
mod commands;
mod fake;
mod listings;
mod real;
mod streams;
mod support;
mod trouble;
#[path = "../shared/waiting.rs"]
mod waiting;
