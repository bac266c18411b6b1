//! How a process ended, and what it has used.

use std::fmt;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ending {
    /// It exited with this code, 0 to 255.
    Code(u8),
    /// A signal ended it.
    Signal {
        /// The number of the signal.
        signal: u8,
        /// `true` if a core dump was written.
        core_dumped: bool,
    },
    /// It ended, and its status is not known.
    Lost,
}

impl Ending {
    /// Returns the exit code with which a process reports that its child ended like this: that of a shell.
    pub(crate) fn exit_code(self) -> i32 {
        match self {
            Ending::Code(code) => i32::from(code),
            Ending::Signal { signal, .. } => 128 + i32::from(signal),
            Ending::Lost => 1,
        }
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ending::Code(code) => write!(f, "exited with code {code}"),
            Ending::Signal { signal, core_dumped: false } => write!(f, "ended by signal {signal}"),
            Ending::Signal { signal, core_dumped: true } => {
                write!(f, "ended by signal {signal}, core dumped")
            }
            Ending::Lost => f.write_str("ended with an unknown exit status"),
        }
    }
}

/// What a process and the children that it has waited for have used (`getrusage(2)`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Usage {
    /// Time of the processor in the program, in microseconds.
    pub user_us: u64,
    /// Time of the processor in the kernel, in microseconds.
    pub system_us: u64,
    /// The most memory at once, in KiB.
    pub memory_kib: u64,
}
