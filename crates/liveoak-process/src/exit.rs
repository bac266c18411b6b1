//! Seeing the end of a process: by its pidfd, at once, as often as asked.
//!
//! No `SIGCHLD` handler (there is one per program, and the program may want it), no polling, and no doubt whose end it
//! was: a pidfd is the process itself (`pidfd_open(2)`).

use crate::leader::peek;
use crate::os::watch_readable;
use crate::status::Status;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::unix::AsyncFd;

/// The descriptor of a leader, watched by the runtime it was made in.
#[derive(Debug)]
pub(crate) struct ExitWatch {
    fd: AsyncFd<Arc<OwnedFd>>,
}

impl ExitWatch {
    /// # Errors
    /// When the runtime can watch no further descriptor.
    ///
    /// # Panics
    /// Outside of a Tokio runtime with I/O enabled.
    pub(crate) fn new(pidfd: Arc<OwnedFd>) -> io::Result<ExitWatch> {
        Ok(ExitWatch { fd: watch_readable(pidfd)? })
    }

    /// How it ended, if it has. [`Status::Lost`] once it was reaped.
    pub(crate) fn peek(&self) -> Option<Status> {
        peek(self.fd.get_ref().as_fd())
    }

    /// Waits for the end. Cancel safe.
    ///
    /// # Errors
    /// When the runtime that watches the descriptor is gone.
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

    /// Ready when it has ended. For the one task that reads the output: a second poller would take its waker.
    pub(crate) fn poll_ended(&self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match ready!(self.fd.poll_read_ready(cx)) {
                Ok(mut ready) if self.peek().is_none() => ready.clear_ready(),
                _ => return Poll::Ready(()),
            }
        }
    }
}
