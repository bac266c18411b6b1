//! `liveoak up`, end to end: real files, real programs, real signals.
//!
//! No test sleeps a fixed time: each waits for the text or the process that it expects, and fails when that does not come.
//! Each test has a folder of its own, and marks its processes through an environment variable. At its end no marked process
//! may be left.

mod applied;
mod asked;
mod background;
mod bad_files;
mod browser;
mod chromium;
mod control;
mod elsewhere;
mod endings;
mod environment;
mod failed_starts;
mod inherited;
mod limits;
mod many;
mod modes;
mod output;
mod outputs;
mod report;
mod report_file;
mod restarts;
mod signals;
mod starting;
mod stops;
mod support;
mod terminal;
mod transcript;
#[path = "../shared/waiting.rs"]
mod waiting;
mod wrapped;
