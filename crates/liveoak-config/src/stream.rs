//! Reads what may keep silent: the standard input, a pipe, a FIFO, a device.
//!
//! A FIFO without a writer would be waited for without end. So a wait without a byte is reported after [`SAID_AFTER`], and is
//! an error after [`SILENCE`]. A terminal is waited for without limit, because a person types there.

use crate::bounds::MAX_FILE_BYTES;
use crate::source::Unreadable;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long a stream may be silent.
pub(crate) const SILENCE: Duration = Duration::from_secs(30);

/// After how long a silence the wait is reported.
const SAID_AFTER: Duration = Duration::from_secs(2);

/// Gets a sentence once, if a stream is waited for.
pub(crate) type Tell<'a> = &'a dyn Fn(&str);

/// How a stream is waited for.
pub(crate) struct Patience<'a> {
    /// What messages call the stream.
    pub(crate) name: &'a str,
    /// The longest silence; ignored for a terminal.
    pub(crate) silence: Duration,
    /// The silence after which `tell` is called.
    pub(crate) said_after: Duration,
    pub(crate) tell: Tell<'a>,
}

impl<'a> Patience<'a> {
    /// Returns how a stream of this name is waited for.
    pub(crate) fn with(name: &'a str, tell: Tell<'a>) -> Self {
        Self { name, silence: SILENCE, said_after: SAID_AFTER, tell }
    }

    /// Opens a FIFO or a device, and reads it up to the limit for files.
    ///
    /// # Errors
    /// The error of the system, or [`Unreadable::Silent`].
    pub(crate) fn read_path(&self, path: &Path) -> Result<Vec<u8>, Unreadable> {
        // Without this flag, the open itself waits for the writer of a FIFO.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let opened = open(path, flags, Mode::empty()).map_err(|error| Unreadable::Io(error.into()))?;
        self.read(opened.as_fd())
    }

    /// Reads an open stream up to the limit for files.
    ///
    /// # Errors
    /// As [`read_path`](Self::read_path).
    pub(crate) fn read(&self, fd: BorrowedFd<'_>) -> Result<Vec<u8>, Unreadable> {
        let typed = rustix::termios::isatty(fd);
        let (mut bytes, mut chunk) = (Vec::new(), [0; 16 * 1024]);
        let (mut heard, mut said) = (Instant::now(), false);
        while bytes.len() as u64 <= MAX_FILE_BYTES {
            let silent = heard.elapsed();
            if silent >= self.silence && !typed {
                return Err(Unreadable::Silent(self.silence));
            }
            if silent >= self.said_after && !std::mem::replace(&mut said, true) {
                (self.tell)(&self.sentence(typed));
            }
            if !is_readable(fd, self.next_look(silent, said, typed))? {
                continue;
            }
            match rustix::io::read(fd, &mut chunk) {
                Ok(0) => break,
                Ok(read) => {
                    bytes.extend_from_slice(&chunk[..read]);
                    heard = Instant::now();
                }
                Err(Errno::INTR | Errno::AGAIN) => {}
                Err(error) => return Err(Unreadable::Io(error.into())),
            }
        }
        Ok(bytes)
    }

    /// Returns how long to wait for a byte until there is something else to do; `None` without a limit.
    fn next_look(&self, silent: Duration, said: bool, typed: bool) -> Option<Duration> {
        let limit = match (said, typed) {
            (false, _) => self.said_after,
            (true, false) => self.silence,
            // A wait for a person has no limit.
            (true, true) => return None,
        };
        // A wait that is rounded down to zero would be a busy loop.
        Some(limit.saturating_sub(silent).max(Duration::from_millis(1)))
    }

    fn sentence(&self, typed: bool) -> String {
        let name = self.name;
        if typed {
            return format!("reading {name} from the terminal; end it with Ctrl-D");
        }
        format!("waiting for {name} to be written, for at most {} s without a byte", self.silence.as_secs())
    }
}

/// Waits until a read would not block. Returns `false` after `wait`. At the end of the stream a read does not block.
fn is_readable(fd: BorrowedFd<'_>, wait: Option<Duration>) -> Result<bool, Unreadable> {
    let wait = wait
        .map(|wait| Timespec { tv_sec: wait.as_secs().cast_signed(), tv_nsec: wait.subsec_nanos().into() });
    match poll(&mut [PollFd::from_borrowed_fd(fd, PollFlags::IN)], wait.as_ref()) {
        Ok(ready) => Ok(ready > 0),
        Err(Errno::INTR) => Ok(false),
        Err(error) => Err(Unreadable::Io(error.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::io::Write as _;

    fn impatient<'a>(tell: Tell<'a>) -> Patience<'a> {
        let [said_after, silence] = [1, 30].map(Duration::from_millis);
        Patience { name: "the stream", silence, said_after, tell }
    }

    #[test]
    fn a_pipe_whose_writer_is_silent_is_announced_and_then_an_error() {
        let (reader, mut writer) = std::io::pipe().expect("a pipe");
        writer.write_all(b"half").expect("it is open");
        let said = RefCell::new(Vec::new());
        let tell = |text: &str| said.borrow_mut().push(text.to_owned());
        let read = impatient(&tell).read(reader.as_fd());
        assert!(matches!(read, Err(Unreadable::Silent(_))), "{read:?}");
        assert_eq!(*said.borrow(), ["waiting for the stream to be written, for at most 0 s without a byte"]);
    }

    #[test]
    fn after_the_report_only_a_byte_or_the_end_of_the_patience_ends_a_wait() {
        let [second, ms] = [Duration::from_secs(1), Duration::from_millis(1)];
        let patience = Patience::with("it", &|_| {});
        for (silent, said, typed, wait) in [
            (second, false, false, Some(second)),
            (second, false, true, Some(second)),
            (SAID_AFTER, true, false, Some(SILENCE - SAID_AFTER)),
            (SILENCE - Duration::from_nanos(1), true, false, Some(ms)),
            (SAID_AFTER, true, true, None),
            (SILENCE, true, true, None),
            (SILENCE * 100, true, true, None),
        ] {
            assert_eq!(patience.next_look(silent, said, typed), wait, "{silent:?} {said} {typed}");
        }
    }

    #[test]
    fn a_fifo_without_a_writer_is_an_error_and_no_endless_wait() {
        let folder = std::env::temp_dir().join(format!("liveoak-fifo-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let fifo = folder.join("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, Mode::RWXU, 0)
            .expect("a FIFO");
        let read = impatient(&|_| {}).read_path(&fifo);
        assert!(matches!(read, Err(Unreadable::Silent(_))), "{read:?}");
        // A writer that comes later is waited for.
        let name = fifo.clone();
        let writer = std::thread::spawn(move || std::fs::write(name, "A=1\n"));
        let read = Patience::with("it", &|_| {}).read_path(&fifo);
        assert_eq!(read.ok().as_deref(), Some(b"A=1\n".as_slice()));
        writer.join().expect("no panic").expect("written");
        std::fs::remove_dir_all(folder).expect("removed");
    }

    #[test]
    fn a_device_that_never_ends_is_read_up_to_the_limit() {
        let read = Patience::with("it", &|_| {}).read_path(Path::new("/dev/zero")).expect("zeros");
        assert!(read.len() as u64 > MAX_FILE_BYTES);
        assert_eq!(Patience::with("it", &|_| {}).read_path(Path::new("/dev/null")).expect("empty"), b"");
    }
}
