//! Connecting to a unix socket, however long its path is.
//!
//! The address of a unix socket has room for 107 bytes, but a path may be much longer: a server binds a relative path in
//! a deep folder. So a longer path is opened first, and the connection goes to `/proc/self/fd/N`, which leads to the
//! opened file. The opening is a look-up on a thread of its own, because the path may be on a dead mount.

use super::error::ProbeFailure;
use crate::off_thread::{NoAnswer, off_thread};
use rustix::fs::{Mode, OFlags, open};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::time::Duration;
use tokio::net::UnixStream;

/// The longest path in the address of a unix socket, without the NUL at its end.
const MAX_ADDRESS: usize = 107;

/// Connects to the socket at `path`. The look-up of the path takes at most `limit`.
pub(super) async fn connect(path: &Path, limit: Duration) -> Result<UnixStream, ProbeFailure> {
    let connected = match opened(path, limit).await {
        Err(error) => Err(error),
        Ok(_) if path.as_os_str().len() <= MAX_ADDRESS => UnixStream::connect(path).await,
        Ok(socket) => UnixStream::connect(format!("/proc/self/fd/{}", socket.as_raw_fd())).await,
    };
    connected.map_err(|error| ProbeFailure::refused(&error, format_args!("at {}", path.display())))
}

/// Opens a file of any kind without touching its content.
async fn opened(path: &Path, limit: Duration) -> io::Result<OwnedFd> {
    let theirs = path.to_owned();
    let open = move || open(&theirs, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
    match off_thread(path.into(), limit, open).await {
        Ok(opened) => Ok(opened?),
        Err(NoAnswer::TimedOut) => Err(io::ErrorKind::TimedOut.into()),
        Err(NoAnswer::Failed(error)) => Err(error),
    }
}
