//! How a process ended.

use crate::signal::Signal;
use std::fmt;

/// How the leader of a process group ended, as the kernel tells it. Whether that was a success is the
/// [`CommandLine`](crate::CommandLine)'s judgement: [`CommandLine::succeeded`](crate::CommandLine::succeeded).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// It exited by itself with this code, 0 to 255. An operator looks at what the program says about the code.
    Code(i32),
    /// A signal ended it: someone's `kill`, the kernel's out-of-memory killer (`SIGKILL`), or its own fault (`SIGSEGV`).
    Signal {
        /// Which signal.
        signal: Signal,
        /// Whether a core dump was written.
        core_dumped: bool,
    },
    /// It is gone, but somebody else collected its status: this program ignores `SIGCHLD` or has another place that
    /// waits for any child (`wait(2)`, `waitpid(-1)`). An operator removes that; no exit code can be known until then.
    Lost,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Status::Code(code) => write!(f, "exited with code {code}"),
            Status::Signal { signal, core_dumped: false } => write!(f, "ended by {signal}"),
            Status::Signal { signal, core_dumped: true } => write!(f, "ended by {signal}, core dumped"),
            Status::Lost => f.write_str("ended, and another part of this program took its status"),
        }
    }
}
