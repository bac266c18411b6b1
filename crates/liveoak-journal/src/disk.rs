//! The calls of the writer that a disk can refuse. Tests replace them.

use crate::files;
use rustix::fs::OFlags;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

/// A disk.
pub(crate) trait Disk: Send {
    /// Makes a new file.
    fn create(&self, dir: &OwnedFd, name: &str) -> io::Result<File>;
    /// Writes some of the bytes, and returns how many.
    fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<usize>;
    /// Waits until the content of a file is on disk.
    fn sync(&self, file: &File) -> io::Result<()>;
    /// Waits until the names in a folder are on disk.
    fn sync_dir(&self, dir: &OwnedFd) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, dir: &OwnedFd, name: &str) -> io::Result<()>;
    /// Returns the size beyond which the system kills a process that writes (`ulimit -f`).
    fn max_file_size(&self) -> u64;
}

/// The disk of the system.
pub(crate) struct SystemDisk;

impl Disk for SystemDisk {
    fn create(&self, dir: &OwnedFd, name: &str) -> io::Result<File> {
        Ok(files::open_file(dir, name, OFlags::RDWR | OFlags::CREATE | OFlags::EXCL)?)
    }

    fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<usize> {
        file.write_at(bytes, offset)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }

    fn sync_dir(&self, dir: &OwnedFd) -> io::Result<()> {
        Ok(rustix::fs::fsync(dir)?)
    }

    fn remove(&self, dir: &OwnedFd, name: &str) -> io::Result<()> {
        files::remove(dir, name)
    }

    fn max_file_size(&self) -> u64 {
        rustix::process::getrlimit(rustix::process::Resource::Fsize).current.unwrap_or(u64::MAX)
    }
}
