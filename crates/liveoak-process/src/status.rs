//! How a process ended: the kernel's exit status as a value.
//!
//! It is not an [`Exit`](liveoak_runtime::Exit): that also covers attempts that never started a process.

use crate::signal::Signal;
use std::fmt;

/// How the leader of a process group ended, as reported by the kernel.
///
/// [`CommandLine::succeeded`](crate::CommandLine::succeeded) decides if that was a success.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// It exited by itself with this code, 0 to 255. The program's documentation explains the code.
    Code(i32),
    /// A signal ended it: a `kill` command, the kernel's out-of-memory killer (`SIGKILL`), or a fault of its own
    /// (`SIGSEGV`).
    Signal {
        /// The signal that ended it.
        signal: Signal,
        /// `true` if a core dump was written.
        core_dumped: bool,
    },
    /// It ended, but other code of this program took its exit status: the program ignores `SIGCHLD`, or waits for any
    /// child process (`wait(2)`, `waitpid(-1)`). Until that code is removed, no exit status can be known.
    Lost,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Status::Code(code) => write!(f, "exited with code {code}"),
            Status::Signal { signal, core_dumped: false } => write!(f, "ended by {signal}"),
            Status::Signal { signal, core_dumped: true } => write!(f, "ended by {signal}, core dumped"),
            Status::Lost => f.write_str("ended, but other code of this program took its exit status"),
        }
    }
}
