//! Operating system processes, whole groups at a time.
//!
//! This crate starts programs, reads their output, sees their end at once, stops them, and makes sure that nothing of
//! them is left, whatever happens to the program that started them. It knows nothing of supervision: restarts, backoff
//! and the order of things are `liveoak-runtime`'s. Linux only (5.3 or later; 6.9 or later signals groups by identity).
//!
//! * [`CommandLine`] is what to run: plain data.
//! * [`Process::spawn`] runs it as the leader of a process group of its own. [`Process`] is the group: signal it, wait for
//!   the leader's [`Status`], [`finish`](Process::finish) it, or drop it, which kills it.
//! * [`OutputLine`]s go to a sink, with a bound on a line's length and on the time that a held-open pipe is read.
//! * A [`Probe`] says when a program is ready.
//!
//! Three threads of control are behind it: one thread `liveoak-spawn` that forks and reaps everything (it must not end,
//! because children die with the thread that forked them), one task per process that reads its output, and one small
//! shell process, the guardian, that kills the groups when this program dies, even by `kill -9`.
//!
//! ```
//! use liveoak_process::{CommandLine, Process, Status};
//! use std::time::Duration;
//!
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
//! # runtime.block_on(async {
//! let server = CommandLine::shell("echo ready; sleep 1000 & wait");
//! let mut process = Process::spawn(&server, |line| assert_eq!(line.text, "ready")).await?;
//! let finished = process.finish(Duration::from_secs(5)).await; // SIGTERM for both, then SIGKILL for who is left
//! assert!(matches!(finished.status, Status::Signal { .. }));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What it does not reach: descendants that left the group (`setsid`, double fork), and programs of another user (a
//! set-user-id program clears the parent-death signal, `prctl(2)`, and may not be signalled). A program that forks itself
//! without an exec (to become a daemon) must do so before the first spawn: the copy would have no spawner thread.
//!
//! When not to use it: for a program that is to outlive this one, and for one-off commands whose output is the result
//! (`std::process::Command` does that).

#[cfg(not(target_os = "linux"))]
compile_error!(
    "liveoak-process supports Linux only: it needs pidfd, the parent-death signal and /proc. Turn the `process` feature off."
);

mod child;
mod command;
mod exit;
mod files;
mod group;
mod guardian;
mod leader;
mod lines;
mod os;
mod output;
mod probe;
mod process;
mod resolve;
mod signal;
mod spawn_error;
mod spawner;
mod status;

pub use child::{NotStarted, OutputSink, ProcessChild, Program};
pub use command::{CommandLine, OutputMode, Stdin};
pub use files::raise_file_limit;
pub use guardian::guardian_id;
pub use lines::MAX_LINE;
pub use output::{OUTPUT_GRACE, OutputEnd, OutputLine, Stream};
pub use probe::{HttpUrl, LogPattern, Probe, ProbeError, ProbeFailure, ProbeKind, ProbeRun, TcpTarget};
pub use process::{Finished, Process, SignalError};
pub use signal::{ParseSignalError, Signal};
pub use spawn_error::SpawnError;
pub use status::Status;
