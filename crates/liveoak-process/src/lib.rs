//! Operating system processes, managed as whole process groups.
//!
//! This crate starts programs, reads their output, notices their exit, stops them, and makes sure that none of their
//! processes is left, even if the process that started them is killed. Other crates decide about restarts, backoff and
//! start order. This crate needs Linux 5.4 or later. From Linux 6.9 on, process groups are signalled through the pidfd,
//! not by number.
//!
//! * [`CommandLine`] describes what to run. It is plain data.
//! * [`Process::spawn`] runs it as the leader of a process group of its own. A [`Process`] can be signalled, waited for
//!   (the leader's [`Status`]), and ended with [`finish`](Process::finish). Dropping it kills the process group.
//! * [`OutputLine`]s go to a sink. The length of a line is bounded, and so is the time that a pipe is read after the
//!   leader's exit.
//! * A [`Probe`] tells when a program is ready.
//! * [`ProcessChild`] adds a program to a supervision tree.
//!
//! These run in the background:
//!
//! * the thread `liveoak-spawn`, which starts and reaps all child processes;
//! * the thread `liveoak-fork`, which forks. It never ends, because child processes die with the thread that forked them.
//!   There are more such threads, up to 64, only if forks hang;
//! * threads `liveoak-lookup`, up to 64, each while a look-up of a program, of a file of a probe or of a host name takes;
//! * one task per process, which reads its output;
//! * the thread `liveoak-stops`, which notices suspended programs of a tree;
//! * one small shell process, the guardian, which kills all process groups when the current process dies, even by
//!   `kill -9`.
//!
//! ```
//! use liveoak_process::{CommandLine, Process, Status};
//! use std::time::Duration;
//!
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
//! # runtime.block_on(async {
//! let server = CommandLine::shell("echo ready; sleep 1000 & wait");
//! let mut process = Process::spawn(&server, |line| assert_eq!(line.text, "ready")).await?;
//! let finished = process.finish(Duration::from_secs(5)).await; // SIGTERM to both processes, SIGKILL after 5 s
//! assert!(matches!(finished.status, Status::Signal { .. }));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Limits: processes that left the process group (`setsid`) are not reached. Programs of another user may not be
//! signalled, and a set-user-id program clears the parent-death signal (`prctl(2)`). A process that hangs in the kernel
//! (state `D`) cannot be ended. In a tree, a child does not start again while such a process of it is alive. If your
//! own program becomes a daemon by forking, do that before the first spawn: the copy has no spawner thread. A program
//! file is looked up on a thread of its own, within ten seconds. If its file system stops answering between the look-up
//! and the exec, this start hangs. The starts after it continue within about a second on another thread.
//!
//! When not to use it: for a program that must outlive this one, and for a single command whose output is the result
//! (use `std::process::Command`).

#[cfg(not(target_os = "linux"))]
compile_error!(
    "liveoak-process supports Linux only: it needs pidfd, the parent-death signal and /proc. Turn the `process` feature off."
);

mod checks;
mod child;
mod command;
mod environment;
mod exit_watch;
mod file_limit;
mod forker;
mod guardian;
mod jobs;
mod joined_lines;
mod lines;
mod log;
mod members;
mod off_thread;
mod orphans;
mod os;
mod output;
mod probe;
mod process;
mod quick_ends;
mod resolve;
mod signal;
mod spawn_error;
mod spawn_failed;
mod spawner;
mod stop_settings;
mod suspension;
mod value;

pub use child::{OutputSink, ProcessChild, Program};
pub use command::{Argv, Ask, CommandLine, OutputMode, Stdin};
pub use environment::IDENTITY_VARIABLES;
pub use exit_watch::Status;
pub use file_limit::raise_file_limit;
pub use guardian::guardian_id;
pub use lines::MAX_LINE;
pub use orphans::reap_orphans;
pub use os::ignore_write_signals;
pub use output::{Backpressure, OUTPUT_GRACE, OutputEnd, OutputLine, Stream, UNFINISHED_AFTER};
pub use probe::{HttpUrl, LogPattern, Probe, ProbeError, ProbeFailure, ProbeKind, ProbeRun, TcpTarget};
pub use process::{Finished, Process, SignalError};
pub use signal::{ParseSignalError, Signal};
pub use spawn_error::SpawnError;
pub use spawn_failed::SpawnFailed;
pub use value::ProgramValue;
