//! Plain files below the descriptor of a folder. No link is followed.

use crate::error::ReadError;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// How many files of one name are kept under other names, because they were in the way.
const MAX_SET_ASIDE: u32 = 8;

/// An open folder that readers and the writer of a log share. It is replaced when the folder was removed.
///
/// It does not hold the lock: a reader does not keep others from opening the folder.
#[derive(Clone, Debug)]
pub(crate) struct OpenDir(Arc<Mutex<Arc<OwnedFd>>>);

impl OpenDir {
    pub(crate) fn new(dir: OwnedFd) -> OpenDir {
        OpenDir(Arc::new(Mutex::new(Arc::new(dir))))
    }

    /// Returns the folder that is open now.
    pub(crate) fn get(&self) -> Arc<OwnedFd> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set(&self, dir: OwnedFd) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(dir);
    }
}

/// Opens a folder for reading, which needs no lock.
pub(crate) fn open_to_read(path: &Path) -> Result<OpenDir, ReadError> {
    let path: PathBuf = path.components().collect();
    match open_dir(&path) {
        Ok(dir) => Ok(OpenDir::new(dir)),
        Err(Errno::NOENT) => Err(ReadError::Missing { path }),
        Err(Errno::NOTDIR | Errno::LOOP) => Err(ReadError::NotAFolder { path }),
        Err(error) => Err(ReadError::System { path, error: error.into() }),
    }
}

/// Opens a folder that is no link.
pub(crate) fn open_dir(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty())
}

/// Why a name in the folder cannot be used as a file.
#[derive(Debug)]
pub(crate) enum Unusable {
    /// It is a folder, a link, a FIFO or a device, or it has a second name, or it belongs to another user.
    NotAFile,
    /// The system refuses.
    System(io::Error),
}

impl From<Unusable> for io::Error {
    fn from(unusable: Unusable) -> io::Error {
        match unusable {
            Unusable::NotAFile => io::Error::other("it is not a plain file of this user"),
            Unusable::System(error) => error,
        }
    }
}

/// Opens a plain file in the folder, without following links. A new file gets mode 0600.
pub(crate) fn open_file(dir: &OwnedFd, name: &str, flags: OFlags) -> Result<File, Unusable> {
    // Without `NONBLOCK`, opening a FIFO would wait for its other end.
    let always = OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = rustix::fs::openat(dir, name, flags | always, Mode::RUSR | Mode::WUSR);
    let file = File::from(file.map_err(|error| match error {
        Errno::ISDIR | Errno::LOOP | Errno::NXIO | Errno::NODEV => Unusable::NotAFile,
        error => Unusable::System(error.into()),
    })?);
    let data = file.metadata().map_err(Unusable::System)?;
    let ours = flags.contains(OFlags::WRONLY) || flags.contains(OFlags::RDWR);
    let foreign = ours && data.uid() != rustix::process::geteuid().as_raw();
    if !data.is_file() || data.nlink() > 1 || foreign {
        return Err(Unusable::NotAFile);
    }
    if ours && data.mode() & 0o077 != 0 {
        rustix::fs::fchmod(&file, Mode::RUSR | Mode::WUSR).map_err(|error| Unusable::System(error.into()))?;
    }
    Ok(file)
}

/// Returns the names in a folder, with the information whether each may be a plain file.
pub(crate) fn names(dir: &OwnedFd) -> io::Result<Vec<(String, bool)>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        // Names that are not UTF-8 are not ours.
        if let Ok(name) = entry.file_name().to_str() {
            let plain = matches!(entry.file_type(), FileType::RegularFile | FileType::Unknown);
            names.push((name.to_owned(), plain));
        }
    }
    Ok(names)
}

/// Removes a file of the folder. One that is gone already is no error.
pub(crate) fn remove(dir: &OwnedFd, name: &str) -> io::Result<()> {
    match rustix::fs::unlinkat(dir, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Renames what stands in the way of a file, and returns its new name.
pub(crate) fn set_aside(dir: &OwnedFd, name: &str) -> io::Result<String> {
    for number in 1..=MAX_SET_ASIDE {
        let aside = format!("{name}.set-aside-{number}");
        match rustix::fs::renameat_with(dir, name, dir, &aside, RenameFlags::NOREPLACE) {
            Ok(()) => return Ok(aside),
            Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(io::Error::other("too many files were set aside already"))
}
