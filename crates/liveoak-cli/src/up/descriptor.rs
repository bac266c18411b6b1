//! A file that gets output: its identity, and the meaning of the result of a write to it.
//!
//! A write never blocks the tree, because each file has a thread of its own (`writer.rs`). The descriptor may be
//! non-blocking: another program that shares it may have changed that at any time.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, OFlags, fcntl_getfl, fstat};
use rustix::io::{Errno, ioctl_fionread};

/// How many bytes go into one write to a pipe, a terminal or a socket: `PIPE_BUF` of Linux. A write to a pipe of at most this
/// size is never mixed with the writes of other programs.
const PIPE_BUF: usize = 4096;

/// How many bytes go into one write to a regular file.
const FILE_CHUNK: usize = 256 * 1024;

/// The identity of a file of any kind. Two descriptors with the same identity are the same file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    /// Returns the identity of the file that a status is about.
    pub(crate) fn new(device: u64, inode: u64) -> Self {
        Self { device, inode }
    }

    /// Returns the identity of the file behind a descriptor that is open for writing.
    pub(crate) fn of_writable(fd: BorrowedFd<'_>) -> Option<Self> {
        let flags = fcntl_getfl(fd).ok()?;
        if flags & OFlags::ACCMODE == OFlags::RDONLY || flags.contains(OFlags::PATH) {
            return None;
        }
        let stat = fstat(fd).ok()?;
        Some(Self::new(stat.st_dev, stat.st_ino))
    }
}

/// The meaning of the result of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// This many bytes were written, at least one.
    Bytes(usize),
    /// A signal interrupted the write: it is repeated immediately.
    Interrupted,
    /// The file takes nothing at the moment, because its reader is slow.
    Full,
    /// The system refused the write, for example because the disk is full. That may change.
    Refused(Errno),
    /// No write can succeed any more: the reader is gone, or the descriptor is not open for writing.
    Ended(Errno),
}

/// Returns the meaning of the result of a write.
pub(crate) fn verdict(result: Result<usize, Errno>) -> Written {
    match result {
        Ok(0) => Written::Full,
        Ok(bytes) => Written::Bytes(bytes),
        Err(Errno::INTR) => Written::Interrupted,
        // On Linux, `EWOULDBLOCK` is the same number.
        Err(Errno::AGAIN) => Written::Full,
        Err(error @ (Errno::PIPE | Errno::BADF)) => Written::Ended(error),
        Err(error) => Written::Refused(error),
    }
}

/// A file that a writer writes to. Tests implement it with files that fail on request.
pub(crate) trait OutputFile: Send {
    /// Writes some of the bytes.
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Errno>;
    /// Waits until the file takes bytes again.
    fn wait(&mut self);
    /// Returns `true` if the file is a terminal that is gone.
    fn is_hung_up(&self) -> bool;
    /// Returns the largest size of a write of several lines.
    fn chunk(&self) -> usize;
    /// Returns the function that looks up how many written bytes the reader has not read yet.
    fn unread(&self) -> Unread {
        Box::new(|| 0)
    }
}

/// Looks up how many written bytes the reader has not read yet. The number is meaningful only for a pipe.
pub(crate) type Unread = Box<dyn Fn() -> u64 + Send + Sync>;

/// An open descriptor.
pub(crate) struct Descriptor<F> {
    fd: Arc<F>,
    chunk: usize,
}

impl<F: AsFd> Descriptor<F> {
    pub(crate) fn new(fd: F) -> Self {
        let regular = fstat(&fd).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode).is_file());
        Self { fd: Arc::new(fd), chunk: if regular { FILE_CHUNK } else { PIPE_BUF } }
    }
}

impl<F: AsFd + Send + Sync + 'static> OutputFile for Descriptor<F> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Errno> {
        rustix::io::write(&self.fd, bytes)
    }

    fn wait(&mut self) {
        let _ = poll_writable(self.fd.as_fd(), None);
    }

    fn is_hung_up(&self) -> bool {
        poll_writable(self.fd.as_fd(), Some(Duration::ZERO)).is_some_and(|seen| seen.contains(PollFlags::HUP))
    }

    fn chunk(&self) -> usize {
        self.chunk
    }

    fn unread(&self) -> Unread {
        let fd = Arc::clone(&self.fd);
        Box::new(move || ioctl_fionread(&fd).unwrap_or_default())
    }
}

/// Waits until a descriptor takes bytes or has an error, at most for `within`. Returns the flags of the poll, or `None`
/// after that time.
pub(crate) fn poll_writable(fd: BorrowedFd<'_>, within: Option<Duration>) -> Option<PollFlags> {
    let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::OUT)];
    let within = within.and_then(|within| Timespec::try_from(within).ok());
    // An interrupted poll counts as ready: the next write shows whether it is.
    match poll(&mut fds, within.as_ref()) {
        Ok(0) => None,
        _ => Some(fds[0].revents()),
    }
}

/// Returns the length of the next write, which begins with the first of `bytes`: as many whole lines as fit into `chunk`,
/// or the first line alone if it does not fit. `bytes` must not be empty.
pub(crate) fn next_write(bytes: &[u8], chunk: usize) -> usize {
    if bytes.len() <= chunk {
        return bytes.len();
    }
    let newline = |byte: &u8| *byte == b'\n';
    match bytes[..chunk].iter().rposition(newline) {
        Some(last) => last + 1,
        None => bytes[chunk..].iter().position(newline).map_or(bytes.len(), |rest| chunk + rest + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_reader_that_is_gone_and_a_descriptor_that_cannot_be_written_end_an_output() {
        for (error, expected) in [
            (Errno::PIPE, Written::Ended(Errno::PIPE)),
            (Errno::BADF, Written::Ended(Errno::BADF)),
            (Errno::AGAIN, Written::Full),
            (Errno::WOULDBLOCK, Written::Full),
            (Errno::INTR, Written::Interrupted),
        ] {
            assert_eq!(verdict(Err(error)), expected);
        }
        let known: Vec<i32> =
            [Errno::PIPE, Errno::BADF, Errno::AGAIN, Errno::INTR].map(Errno::raw_os_error).into();
        for number in (1..=133).filter(|number| !known.contains(number)) {
            let error = Errno::from_raw_os_error(number);
            assert_eq!(verdict(Err(error)), Written::Refused(error), "{error:?}");
        }
        assert_eq!((verdict(Ok(0)), verdict(Ok(7))), (Written::Full, Written::Bytes(7)));
    }

    #[test]
    fn a_write_has_whole_lines_up_to_pipe_buf_and_a_longer_line_alone() {
        let text: Vec<u8> = [10, 4000, 80, 4096, 5000, 1, 9000, 1]
            .into_iter()
            .flat_map(|length| std::iter::repeat_n(b'x', length - 1).chain([b'\n']))
            .collect();
        let (mut rest, mut writes) = (&text[..], Vec::new());
        while !rest.is_empty() {
            let length = next_write(rest, PIPE_BUF);
            assert_eq!(rest[length - 1], b'\n');
            writes.push(length);
            rest = &rest[length..];
        }
        assert_eq!(writes, [4090, 4096, 5000, 1, 9000, 1].map(|length| length).to_vec().as_slice());
    }

    #[test]
    fn descriptors_of_the_same_file_have_the_same_identity_and_one_that_is_not_writable_has_none() {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        let (_other_reader, other) = std::io::pipe().expect("a pipe");
        let copy = writer.try_clone().expect("a copy");
        let id = FileId::of_writable(writer.as_fd());
        assert!(id.is_some());
        assert_eq!(id, FileId::of_writable(copy.as_fd()));
        assert_ne!(id, FileId::of_writable(other.as_fd()));
        assert_eq!(FileId::of_writable(reader.as_fd()), None);
    }
}
