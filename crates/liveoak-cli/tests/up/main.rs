//! End-to-end tests of `liveoak up` with real files, programs and signals.
//!
//! No test sleeps for a fixed time: it waits for what it expects, and fails if that does not come. Each test has a
//! folder of its own and marks its processes by an environment variable. At its end none of them may be left.

mod bad_files;
mod endings;
mod failed_starts;
mod many;
mod output;
mod report;
mod restarts;
mod stops;
mod support;
mod surroundings;
mod transcript;
mod waiting;
