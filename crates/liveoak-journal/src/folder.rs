//! The folder of one tree: who may use it, who holds it, and the files in it.
//!
//! All files are opened below the descriptor of the folder, and no link is followed. The writer holds a lock on the file
//! `lock`. Readers take no lock: files are only appended to and removed.

use crate::error::OpenError;
use crate::files::{self, OpenDir, Unusable, open_dir, open_file};
use crate::segment::last_run;
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use std::fs::{DirBuilder, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The name of the file with the lock. It says which process holds the lock, and the number of its run.
const LOCK: &str = "lock";
/// The kinds of logs in a folder.
pub(crate) const KINDS: [&str; 2] = ["journal", "output"];
/// How long an opening waits for a lock: a killed holder may have left a child process that is about to exec.
const LOCK_PATIENCE: Duration = Duration::from_millis(300);
/// How often a lock is tried within that time.
const LOCK_EVERY: Duration = Duration::from_millis(15);
/// The largest run number that is believed.
const MAX_RUN: u64 = u32::MAX as u64;

/// The folder of one tree, held by this process: no other process writes in it while this value or a log opened with it
/// exists.
///
/// Each opening begins a new *run*, with a larger number than every run before.
#[derive(Clone, Debug)]
pub struct Folder {
    held: Arc<Held>,
}

#[derive(Debug)]
struct Held {
    path: PathBuf,
    run: u64,
    dir: OpenDir,
    /// The locked file. It is replaced when the folder was removed.
    lock: Mutex<File>,
}

impl Folder {
    /// Opens the folder, makes it if it does not exist, takes its lock and begins a new run.
    ///
    /// The folder gets mode 0700. Folders above it that do not exist are made with this mode too.
    ///
    /// # Errors
    ///
    /// [`OpenError::Locked`] if another process (or this one) has it open already; the other variants say why the folder
    /// cannot be used. Nothing is wrong with a tree that runs without a journal.
    pub fn open(path: impl AsRef<Path>) -> Result<Folder, OpenError> {
        // Without a slash at the end: `O_NOFOLLOW` would follow a link before it.
        let path: PathBuf = path.as_ref().components().collect();
        let (dir, lock, last) = open_and_lock(&path)?;
        // The file of the lock may have been damaged or removed, so the logs are asked too.
        let last = KINDS.iter().map(|kind| last_run(&dir, kind)).fold(last, u64::max).min(MAX_RUN);
        let run = last + 1;
        write_holder(&lock, run).map_err(|error| OpenError::system(&path.join(LOCK), "write", error))?;
        let held = Held { path, run, dir: OpenDir::new(dir), lock: Mutex::new(lock) };
        Ok(Folder { held: Arc::new(held) })
    }

    /// Returns the number of this run.
    #[must_use]
    pub fn run(&self) -> u64 {
        self.held.run
    }

    /// Returns the path of the folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.held.path
    }

    /// Returns the open folder.
    pub(crate) fn dir(&self) -> OpenDir {
        self.held.dir.clone()
    }

    /// Opens the folder anew if it was removed, and returns it.
    ///
    /// Another process may have made the folder again and hold its lock; then this fails.
    pub(crate) fn refreshed(&self) -> Result<Arc<OwnedFd>, OpenError> {
        let mut lock = self.held.lock.lock().unwrap_or_else(PoisonError::into_inner);
        let is_gone = rustix::fs::fstat(&*self.held.dir.get()).is_ok_and(|stat| stat.st_nlink == 0);
        if is_gone {
            let path = &self.held.path;
            let (dir, found, _) = open_and_lock(path)?;
            write_holder(&found, self.held.run)
                .map_err(|error| OpenError::system(&path.join(LOCK), "write", error))?;
            self.held.dir.set(dir);
            *lock = found;
        }
        Ok(self.held.dir.get())
    }
}

/// Opens and locks the folder, and returns the number of its last run too.
fn open_and_lock(path: &Path) -> Result<(OwnedFd, File, u64), OpenError> {
    let failed = |what: &'static str| move |error: io::Error| OpenError::system(path, what, error);
    if let Err(error) = DirBuilder::new().recursive(true).mode(0o700).create(path)
        && error.kind() != io::ErrorKind::AlreadyExists
    {
        return Err(failed("make")(error));
    }
    let dir = open_dir(path).map_err(|error| match error {
        Errno::NOTDIR | Errno::LOOP => OpenError::NotAFolder { path: path.to_owned() },
        error => failed("open")(error.into()),
    })?;
    let stat = rustix::fs::fstat(&dir).map_err(|error| failed("read")(error.into()))?;
    let user = rustix::process::geteuid().as_raw();
    if stat.st_uid != user {
        return Err(OpenError::ForeignOwner { path: path.to_owned(), owner: stat.st_uid, user });
    }
    if stat.st_mode & 0o077 != 0 {
        rustix::fs::fchmod(&dir, Mode::RWXU).map_err(|error| failed("protect")(error.into()))?;
    }
    let (lock, run) = lock(&dir, path)?;
    Ok((dir, lock, run))
}

/// Writes down the process and the run that hold the lock.
fn write_holder(lock: &File, run: u64) -> io::Result<()> {
    let text = format!("pid {}\nrun {run}\n", std::process::id());
    lock.write_all_at(text.as_bytes(), 0)?;
    // Not synced: that would make every start slower, and the logs also know the run once they have records of it.
    lock.set_len(text.len() as u64)
}

/// Takes the lock, and returns it with the number of the last run that its file names.
fn lock(dir: &OwnedFd, path: &Path) -> Result<(File, u64), OpenError> {
    let flags = OFlags::RDWR | OFlags::CREATE;
    let mut opened = open_file(dir, LOCK, flags);
    if matches!(opened, Err(Unusable::NotAFile)) {
        files::set_aside(dir, LOCK).map_err(|error| OpenError::system(&path.join(LOCK), "rename", error))?;
        opened = open_file(dir, LOCK, flags);
    }
    let file = opened.map_err(|error| OpenError::system(&path.join(LOCK), "open", error.into()))?;
    let until = Instant::now() + LOCK_PATIENCE;
    loop {
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {
                let run = number_after(&file, "run ").filter(|run| *run < MAX_RUN).unwrap_or(0);
                return Ok((file, run));
            }
            Err(Errno::WOULDBLOCK) if Instant::now() >= until => {
                let pid = number_after(&file, "pid ").and_then(|pid| u32::try_from(pid).ok());
                return Err(OpenError::Locked { path: path.to_owned(), pid });
            }
            Err(Errno::WOULDBLOCK) => std::thread::sleep(LOCK_EVERY),
            Err(error) => return Err(OpenError::system(&path.join(LOCK), "lock", error.into())),
        }
    }
}

/// Reads the number behind a word in the file of the lock. The file may contain anything.
fn number_after(file: &File, word: &str) -> Option<u64> {
    let mut bytes = [0; 128];
    let count = file.read_at(&mut bytes, 0).ok()?;
    let text = String::from_utf8_lossy(&bytes[..count]).into_owned();
    text.lines().find_map(|line| line.strip_prefix(word)?.parse().ok())
}
