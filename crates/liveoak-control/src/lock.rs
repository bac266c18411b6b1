//! Lock files: which process owns a socket.
//!
//! The lock ends with the process, however it ends.

use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often a lock that another process holds is tried. A process that only checks a lock holds it for a moment.
const TRIES: u32 = 20;

/// The time between two tries.
const PAUSE: Duration = Duration::from_millis(10);

/// A lock file that this process holds. It is removed with this value.
#[derive(Debug)]
pub(crate) struct Lock {
    path: PathBuf,
    held: File,
    text: OsString,
}

/// The owner of a lock.
#[derive(Clone, Debug, Default)]
pub(crate) struct Owner {
    /// The process; 0 if it has not said so.
    pub(crate) pid: u32,
    /// The file of its tree, or its program.
    pub(crate) text: OsString,
}

impl Lock {
    /// Takes the lock at `path`, and notes `text` in it. The inner error is the process that has it.
    pub(crate) fn take(path: &Path, text: &OsStr) -> io::Result<Result<Self, Owner>> {
        for _ in 0..TRIES {
            let mut held = open(path, OFlags::RDWR | OFlags::CREATE)?;
            match flock(&held, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => {
                    std::thread::sleep(PAUSE);
                    continue;
                }
                Err(error) => return Err(error.into()),
            }
            // The owner before may have removed the file between our open and our lock.
            if is_at(&held, path) {
                held.set_len(0)?;
                held.rewind()?;
                held.write_all(
                    &[format!("{}\n", std::process::id()).as_bytes(), text.as_bytes(), b"\n"].concat(),
                )?;
                return Ok(Ok(Self { path: path.to_path_buf(), held, text: text.to_owned() }));
            }
        }
        Ok(Err(Self::owner(path).unwrap_or_default()))
    }

    /// Makes the lock file again, if it has vanished.
    pub(crate) fn restore(&mut self) {
        if std::fs::symlink_metadata(&self.path).is_ok() {
            return;
        }
        if let Ok(Ok(mut again)) = Self::take(&self.path, &self.text) {
            std::mem::swap(self, &mut again);
            // `again` now holds the lock of the file that is gone. Its drop removes nothing.
        }
    }

    /// Returns the process that has the lock at `path`, if one has.
    pub(crate) fn owner(path: &Path) -> Option<Owner> {
        let file = open(path, OFlags::RDONLY).ok()?;
        if flock(&file, FlockOperation::NonBlockingLockShared).is_ok() {
            return None;
        }
        let mut bytes = Vec::new();
        (&file).take(64 * 1024).read_to_end(&mut bytes).ok()?;
        let end = bytes.iter().position(|byte| *byte == b'\n')?;
        let (pid, text) = (std::str::from_utf8(&bytes[..end]).ok()?, &bytes[end + 1..]);
        let text = text.strip_suffix(b"\n").unwrap_or(text);
        Some(Owner { pid: pid.parse().ok()?, text: OsStr::from_bytes(text).to_owned() })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // The lock is held until after this, so the file is still ours.
        if is_at(&self.held, &self.path) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Opens a regular file. A pipe or a link in its place is refused, and blocks nothing.
fn open(path: &Path, flags: OFlags) -> io::Result<File> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = File::from(rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR)?);
    if file.metadata()?.is_file() {
        return Ok(file);
    }
    Err(io::Error::new(io::ErrorKind::AlreadyExists, "it exists and is no regular file"))
}

/// Returns `true` if `path` still leads to this file.
fn is_at(file: &File, path: &Path) -> bool {
    let there = std::fs::symlink_metadata(path);
    file.metadata()
        .is_ok_and(|file| there.is_ok_and(|there| (there.dev(), there.ino()) == (file.dev(), file.ino())))
}
