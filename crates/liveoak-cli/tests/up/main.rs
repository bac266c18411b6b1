//! `liveoak up`, end to end: real files, real programs, real signals.
//!
//! Nothing here sleeps for luck: every test waits for what it wants to see, and fails when it does not come. Each has
//! a folder of its own and marks its processes through their environment; when it ends, none may be left.

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
