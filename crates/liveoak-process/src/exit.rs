//! Waits for the exit of a process through its pidfd (`pidfd_open(2)`).
//!
//! A pidfd refers to one process and never to a later one with the same id, and becomes readable when that process
//! exits. So there is no polling, and no `SIGCHLD` handler: a program has only one, which its own code may need.
//!
//! It sees the exit of one process, the leader. For the end of the whole process group see `members.rs`.

use crate::leader::peek;
use crate::os::watch_readable;
use crate::status::Status;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::unix::AsyncFd;

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
