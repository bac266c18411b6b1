//! A guardian that was forked from a program, and one that a program executed for this purpose.

use crate::maps;
use crate::os;
use crate::serve::Server;
use std::io;
use std::ops::Range;
use std::os::fd::{BorrowedFd, OwnedFd};

/// The exit code of a guardian that could not begin.
const NOT_BEGUN: i32 = 125;

/// What a forked guardian gets from the program.
pub(crate) struct ForkedGuardian<'a> {
    pub(crate) socket: BorrowedFd<'a>,
    /// The stack that it runs on.
    pub(crate) stack: Range<usize>,
}

impl ForkedGuardian<'_> {
    /// Runs in the forked process, and returns its exit code.
    pub(crate) fn run(&self) -> i32 {
        let stack = self.stack.clone();
        let Ok(socket) = keep_only(self.socket) else { return NOT_BEGUN };
        // From here on nothing of the program is used. Without `/proc` the memory stays.
        let _without_proc = maps::give_back(&[stack, thread_memory()]);
        serve(socket, None)
    }
}

/// Returns the memory that the C library needs for this thread.
fn thread_memory() -> Range<usize> {
    let within = os::thread_memory();
    within..within + 1
}

/// Closes all descriptors but the standard ones and the socket.
fn keep_only(socket: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    os::keep_only(socket).map_err(io::Error::from_raw_os_error)?;
    os::inherited(3)
}

fn serve(socket: OwnedFd, client: Option<u32>) -> i32 {
    match Server::new(socket, client) {
        Ok(server) => server.run(),
        Err(_) => NOT_BEGUN,
    }
}

/// Runs a guardian in a process that [`Client::execute`](crate::Client::execute) has started, until everything has ended,
/// and returns the exit code of the process. The channel is descriptor 3. The process must do nothing else before and after.
pub fn serve_inherited() -> i32 {
    let Ok(socket) = os::inherited(3) else { return NOT_BEGUN };
    os::close_from_4();
    serve(socket, None)
}

/// Runs a guardian in the parent process of the client, until everything has ended.
pub(crate) fn serve_as_parent(socket: BorrowedFd<'_>, client: u32) -> i32 {
    keep_only(socket).map_or(NOT_BEGUN, |socket| serve(socket, Some(client)))
}
