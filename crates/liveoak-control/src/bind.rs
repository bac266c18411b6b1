//! Chooses the socket of a tree, and makes sure that no other tree uses it.
//!
//! A locked file beside the socket names the process that owns the socket ([`Lock`]). A second lock belongs to the file
//! that declares the tree, whatever the name of the tree. Both locks are taken before the socket is looked at, so of
//! two starts only one goes on. A socket is replaced only if nothing answers there, so a live one whose lock file was
//! removed stays.

use crate::lock::{Lock, Owner};
use crate::socket::own_folder;
use rustix::net::sockopt::socket_peercred;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::Permissions;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// The longest path of a socket (`sun_path` of unix(7), with its final zero).
const MAX_PATH: usize = 107;

/// What a tree is started from. This decides whether a second tree of it may run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Identity {
    /// A file: it can run once at a time.
    File(OsString),
    /// A program that contains a tree, or a file from the standard input: it can run any number of times.
    Program(OsString),
}

impl Identity {
    fn text(&self) -> &OsStr {
        match self {
            Self::File(text) | Self::Program(text) => text,
        }
    }
}

/// Why there is no socket.
#[derive(Debug)]
#[non_exhaustive]
pub enum BindError {
    /// The same file runs already.
    Running {
        /// The process that runs it.
        pid: u32,
        /// The file.
        file: String,
        /// Its socket.
        socket: PathBuf,
    },
    /// The path of the socket is too long for the system.
    TooLong {
        /// The path.
        socket: PathBuf,
    },
    /// The folder, the lock or the socket cannot be made.
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Running { pid, file, socket } => {
                write!(f, "{file} runs already, as process {pid} (its socket is {})", socket.display())
            }
            Self::TooLong { socket } => write!(
                f,
                "the path of the socket, {}, is too long; expected at most {MAX_PATH} bytes",
                socket.display()
            ),
            Self::Io { path, error } => write!(f, "{}: {error}", path.display()),
        }
    }
}

impl std::error::Error for BindError {}

/// A socket that belongs to this process.
#[derive(Debug)]
pub(crate) struct Bound {
    path: PathBuf,
    /// The device and the inode of the socket.
    made: (u64, u64),
    /// The lock of the socket.
    lock: Lock,
    /// The lock of the file that declares the tree, if one does.
    _file: Option<Lock>,
}

impl Bound {
    /// Opens the socket of a tree: at `wanted`, or in the folder of this user.
    pub(crate) fn open(
        name: &str,
        identity: &Identity,
        wanted: Option<&Path>,
    ) -> Result<(Self, UnixListener), BindError> {
        let candidates = match wanted {
            Some(path) => vec![path.to_path_buf()],
            None => candidates(name, identity)?,
        };
        let mut file = match (identity, own_folder()) {
            (Identity::File(of), Ok(folder)) => {
                let path = folder.join(format!("file-{:08x}.lock", short_hash(of)));
                let socket = candidates.first().cloned().unwrap_or_default();
                Some(take(path, identity)?.map_err(|owner| running(owner, socket))?)
            }
            _ => None,
        };
        let mut last = None;
        for path in candidates {
            if path.as_os_str().len() > MAX_PATH {
                last = Some(BindError::TooLong { socket: path });
                continue;
            }
            let lock = match take(lock_path(&path), identity)? {
                Ok(lock) => lock,
                Err(owner) => {
                    last = Some(running(owner, path));
                    continue;
                }
            };
            match listen(&path) {
                Ok((listener, made)) => {
                    let bound = Self { path, made, lock, _file: file.take() };
                    return Ok((bound, listener));
                }
                Err(error @ BindError::Running { .. }) => last = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(last.unwrap_or_else(|| BindError::TooLong { socket: PathBuf::from(name) }))
    }

    /// Returns the path of the socket.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the socket and its lock file again, if they have vanished, for example because a cleaner of `/tmp` has removed
    /// them. Returns the new listener, if the socket was made again.
    pub(crate) fn restore(&mut self) -> Option<UnixListener> {
        // If another tree has taken the path meanwhile, that tree keeps it.
        self.lock.restore();
        if std::fs::symlink_metadata(&self.path).is_ok() {
            return None;
        }
        let (listener, made) = listen(&self.path).ok()?;
        self.made = made;
        Some(listener)
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        // The locks are held until after this. Another tree may have taken the path of a socket that was removed.
        if inode(&self.path) == Some(self.made) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Takes a lock for a tree. The inner error is its owner.
fn take(path: PathBuf, identity: &Identity) -> Result<Result<Lock, Owner>, BindError> {
    Lock::take(&path, identity.text()).map_err(|error| BindError::Io { path, error })
}

/// Returns the error for a lock that another tree has.
fn running(owner: Owner, socket: PathBuf) -> BindError {
    let file = match owner.text.is_empty() {
        true => "another tree".to_owned(),
        false => owner.text.to_string_lossy().into_owned(),
    };
    BindError::Running { pid: owner.pid, file, socket }
}

/// Makes a socket, in the place of a stale one. Returns it with its inode.
fn listen(path: &Path) -> Result<(UnixListener, (u64, u64)), BindError> {
    let failed = |error| BindError::Io { path: path.to_path_buf(), error };
    if let Ok(status) = std::fs::symlink_metadata(path) {
        if !status.file_type().is_socket() {
            return Err(failed(io::Error::new(io::ErrorKind::AlreadyExists, "it exists and is no socket")));
        }
        if let Ok(stream) = UnixStream::connect(path) {
            let peer = socket_peercred(&stream).map(|peer| peer.pid.as_raw_pid().unsigned_abs());
            let file = "another tree".to_owned();
            return Err(BindError::Running {
                pid: peer.unwrap_or_default(),
                file,
                socket: path.to_path_buf(),
            });
        }
        std::fs::remove_file(path).map_err(failed)?;
    }
    let make = || {
        let listener = UnixListener::bind(path)?;
        std::fs::set_permissions(path, Permissions::from_mode(0o600))?;
        listener.set_nonblocking(true)?;
        let made = inode(path).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        Ok((listener, made))
    };
    make().map_err(failed)
}

/// Returns the device and the inode of a file, without following links.
fn inode(path: &Path) -> Option<(u64, u64)> {
    let status = std::fs::symlink_metadata(path).ok()?;
    Some((status.dev(), status.ino()))
}

/// Returns the sockets that a tree may have, the first choice first.
fn candidates(name: &str, identity: &Identity) -> Result<Vec<PathBuf>, BindError> {
    let folder = own_folder().map_err(|(path, error)| BindError::Io { path, error })?;
    let socket = |name: String| folder.join(format!("{name}.sock"));
    let other = match identity {
        Identity::File(file) => format!("{name}-{:08x}", short_hash(file)),
        Identity::Program(_) => format!("{name}-{}", std::process::id()),
    };
    Ok(vec![socket(name.to_owned()), socket(other)])
}

/// Returns a short hash of a text that is the same in every version: FNV-1a of 32 bits. Two paths differ in it also where they
/// are not UTF-8.
pub(crate) fn short_hash(text: &OsStr) -> u32 {
    text.as_bytes().iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

fn lock_path(socket: &Path) -> PathBuf {
    let mut path = socket.as_os_str().to_owned();
    path.push(".lock");
    path.into()
}

/// Returns the socket that the process `pid` serves: at `wanted`, or in the folders of this user.
#[must_use]
pub fn socket_of(pid: u32, wanted: Option<&Path>) -> Option<PathBuf> {
    let sockets = match wanted {
        Some(path) => vec![path.to_path_buf()],
        None => {
            crate::socket::folders().iter().flat_map(|folder| crate::socket::sockets_in(folder)).collect()
        }
    };
    sockets.into_iter().find(|socket| Lock::owner(&lock_path(socket)).is_some_and(|owner| owner.pid == pid))
}

/// Returns the file or the program of the tree that owns a socket, even if its server does not answer.
#[must_use]
pub fn file_of(socket: &Path) -> Option<PathBuf> {
    Lock::owner(&lock_path(socket)).map(|owner| PathBuf::from(owner.text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("liveoak-bind-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[test]
    fn a_socket_is_private_and_goes_with_its_owner() {
        let folder = folder("private");
        let path = folder.join("shop.sock");
        let file = Identity::File("/srv/liveoak.toml".into());
        let (bound, _listener) = Bound::open("shop", &file, Some(&path)).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let again = Bound::open("shop", &file, Some(&path)).unwrap_err();
        let text = again.to_string();
        assert!(text.contains(&format!("runs already, as process {}", std::process::id())), "{text}");
        drop(bound);
        assert!(!path.exists(), "the socket is gone");
        drop(Bound::open("shop", &file, Some(&path)).unwrap());
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_stale_socket_is_replaced_and_another_file_is_kept() {
        let folder = folder("stale");
        let (stale, file) = (folder.join("a.sock"), folder.join("b.sock"));
        drop(UnixListener::bind(&stale).unwrap());
        assert!(stale.exists(), "nobody listens, but the socket is there");
        let identity = Identity::Program("x".into());
        let bound = Bound::open("a", &identity, Some(&stale)).unwrap();
        assert!(UnixStream::connect(&stale).is_ok());
        drop(bound);
        std::fs::write(&file, "precious").unwrap();
        let refused = Bound::open("b", &identity, Some(&file)).unwrap_err();
        assert!(refused.to_string().contains("no socket"), "{refused}");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_file_runs_once_whatever_its_tree_and_its_socket_are_called() {
        let folder = folder("once");
        let file = Identity::File(folder.join("liveoak.toml").into());
        let (first, _listener) = Bound::open("a", &file, Some(&folder.join("a.sock"))).unwrap();
        let again = Bound::open("b", &file, Some(&folder.join("b.sock"))).unwrap_err();
        assert!(matches!(again, BindError::Running { pid, .. } if pid == std::process::id()), "{again}");
        drop(first);
        drop(Bound::open("b", &file, Some(&folder.join("b.sock"))).unwrap());
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_live_socket_whose_lock_file_was_removed_is_not_taken() {
        let folder = folder("live");
        let path = folder.join("a.sock");
        let (mut first, _listener) = Bound::open("a", &Identity::Program("x".into()), Some(&path)).unwrap();
        std::fs::remove_file(lock_path(&path)).unwrap();
        let second = Bound::open("a", &Identity::Program("y".into()), Some(&path)).unwrap_err();
        assert!(matches!(second, BindError::Running { pid, .. } if pid == std::process::id()), "{second}");
        assert!(first.restore().is_none() && lock_path(&path).exists(), "only the lock file is made again");
        std::fs::remove_file(&path).unwrap();
        std::fs::remove_file(lock_path(&path)).unwrap();
        assert!(first.restore().is_some());
        assert!(UnixStream::connect(&path).is_ok() || path.exists());
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_pipe_or_a_link_in_the_place_of_a_lock_file_is_refused_and_blocks_nothing() {
        let folder = folder("pipe");
        let path = folder.join("a.sock");
        rustix::fs::mkfifoat(rustix::fs::CWD, lock_path(&path), rustix::fs::Mode::RWXU).unwrap();
        let refused = Bound::open("a", &Identity::Program("x".into()), Some(&path)).unwrap_err();
        assert!(refused.to_string().contains("no regular file"), "{refused}");
        assert!(socket_of(1, Some(&path)).is_none());
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_path_that_is_too_long_is_refused() {
        let path = Path::new("/tmp").join("x".repeat(120));
        let refused = Bound::open("x", &Identity::Program("x".into()), Some(&path)).unwrap_err();
        assert!(matches!(refused, BindError::TooLong { .. }), "{refused}");
    }
}
