//! How a process ended, and the wait for its end through its pidfd (`pidfd_open(2)`).
//!
//! A pidfd refers to one process and never to a later one with the same id. It becomes readable when that process
//! exits, so no polling is needed. No `SIGCHLD` handler is installed: a program can have only one, and may need it
//! itself.
//!
//! This file watches only the leader. For the end of the whole process group see `members.rs`.

use crate::os::watch_readable;
use crate::signal::Signal;
use rustix::io::Errno;
use rustix::process::{WaitId, WaitIdOptions, WaitIdStatus, waitid};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::unix::AsyncFd;

/// How the leader of a process group ended, as reported by the kernel.
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
    /// It ended, but its exit status is lost: the supervising program ignores `SIGCHLD`, or other code in it calls
    /// `wait(2)` or `waitpid(-1)`.
    Lost,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Status::Code(code) => write!(f, "exited with code {code}"),
            Status::Signal { signal, core_dumped: false } => write!(f, "ended by {signal}"),
            Status::Signal { signal, core_dumped: true } => write!(f, "ended by {signal}, core dumped"),
            Status::Lost => f.write_str("ended with an unknown exit status, because other code in the supervising program waited for it"),
        }
    }
}

/// Returns how the process behind `pidfd` ended, or `None` while it runs. The process must be a child of the current
/// process, and is not reaped.
pub(crate) fn peek(pidfd: BorrowedFd<'_>) -> Option<Status> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    loop {
        match waitid(WaitId::PidFd(pidfd), options) {
            Ok(status) => return status.as_ref().map(status_of),
            Err(Errno::INTR) => {}
            Err(_) => return Some(Status::Lost),
        }
    }
}

fn status_of(status: &WaitIdStatus) -> Status {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Status::Code(code),
        (None, Some(signal)) => {
            Status::Signal { signal: Signal::reported(signal), core_dumped: status.dumped() }
        }
        (None, None) => Status::Lost,
    }
}

/// The pidfd of a leader, watched by the Tokio runtime in which this was created.
#[derive(Debug)]
pub(crate) struct ExitWatch {
    fd: AsyncFd<Arc<OwnedFd>>,
}

impl ExitWatch {
    /// # Errors
    /// When the runtime cannot watch another descriptor.
    ///
    /// # Panics
    /// Panics outside of a Tokio runtime with I/O enabled.
    pub(crate) fn new(pidfd: Arc<OwnedFd>) -> io::Result<ExitWatch> {
        Ok(ExitWatch { fd: watch_readable(pidfd)? })
    }

    /// Returns how the process ended, `None` while it runs, and [`Status::Lost`] after it was reaped.
    pub(crate) fn peek(&self) -> Option<Status> {
        peek(self.fd.get_ref().as_fd())
    }

    /// Waits for the exit. Cancel safe.
    ///
    /// # Errors
    /// When the runtime that watches the descriptor was shut down.
    pub(crate) async fn ended(&self) -> io::Result<Status> {
        loop {
            if let Some(status) = self.peek() {
                return Ok(status);
            }
            let mut ready = self.fd.readable().await?;
            if self.peek().is_none() {
                ready.clear_ready();
            }
        }
    }

    /// Polls for the exit. Only the task that reads the output may call this: the descriptor keeps one waker, and a
    /// second caller would replace it.
    pub(crate) fn poll_ended(&self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match ready!(self.fd.poll_read_ready(cx)) {
                Ok(mut ready) if self.peek().is_none() => ready.clear_ready(),
                _ => return Poll::Ready(()),
            }
        }
    }
}
