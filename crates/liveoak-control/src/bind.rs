//! Where the socket of a tree is, and that no other tree has it.
//!
//! A locked file beside the socket says whose it is. The lock ends with the process, however it ends, so a socket whose lock is
//! free is stale, and is replaced. The lock is taken before the socket is looked at, so two starts never both win.

use crate::socket::own_folder;
use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use std::fmt;
use std::fs::{File, Permissions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

/// The longest path of a socket (`sun_path` of unix(7), with its final zero).
const MAX_PATH: usize = 107;

/// What a tree is started from, for the question whether it runs already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Identity {
    /// A file: it can run once at a time.
    File(String),
    /// A program that contains a tree, or a file from the standard input: it can run any number of times.
    Program(String),
}

impl Identity {
    fn text(&self) -> &str {
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
    lock: PathBuf,
    /// Holds the lock.
    _held: File,
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
        // The same file may run under another name of the list.
        for path in &candidates {
            if let Some(Owner { pid, text }) = owner_of(path)
                && matches!(identity, Identity::File(file) if *file == text)
            {
                return Err(BindError::Running { pid, file: text, socket: path.clone() });
            }
        }
        let mut last = None;
        for path in candidates {
            match Self::at(&path, identity) {
                Err(BindError::Running { pid, file, socket }) => {
                    last = Some(BindError::Running { pid, file, socket });
                }
                opened => return opened,
            }
        }
        Err(last.unwrap_or_else(|| BindError::TooLong { socket: PathBuf::from(name) }))
    }

    fn at(path: &Path, identity: &Identity) -> Result<(Self, UnixListener), BindError> {
        if path.as_os_str().len() > MAX_PATH {
            return Err(BindError::TooLong { socket: path.to_path_buf() });
        }
        let lock = lock_path(path);
        let io_error = |error| BindError::Io { path: lock.clone(), error };
        let Some(mut held) = take_lock(&lock).map_err(io_error)? else {
            let owner = owner_of(path);
            let (pid, file) = owner.map_or((0, "another tree".to_owned()), |owner| (owner.pid, owner.text));
            return Err(BindError::Running { pid, file, socket: path.to_path_buf() });
        };
        let write = |held: &mut File| {
            held.set_len(0)?;
            held.rewind()?;
            write!(held, "{}\n{}\n", std::process::id(), identity.text())
        };
        write(&mut held).map_err(io_error)?;
        let bound = Self { path: path.to_path_buf(), lock, _held: held };
        let listener = bound.listen()?;
        Ok((bound, listener))
    }

    /// Makes the socket, in the place of a stale one.
    pub(crate) fn listen(&self) -> Result<UnixListener, BindError> {
        let make = || {
            if let Ok(status) = std::fs::symlink_metadata(&self.path) {
                if !status.file_type().is_socket() {
                    return Err(io::Error::new(io::ErrorKind::AlreadyExists, "it exists and is no socket"));
                }
                std::fs::remove_file(&self.path)?;
            }
            let listener = UnixListener::bind(&self.path)?;
            std::fs::set_permissions(&self.path, Permissions::from_mode(0o600))?;
            listener.set_nonblocking(true)?;
            Ok(listener)
        };
        make().map_err(|error| BindError::Io { path: self.path.clone(), error })
    }

    /// Returns the path of the socket.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns `true` if the path leads to a socket.
    pub(crate) fn exists(&self) -> bool {
        std::fs::symlink_metadata(&self.path).is_ok_and(|status| status.file_type().is_socket())
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        // The lock is held until after this, so a socket here is still ours.
        if self.exists() {
            let _ = std::fs::remove_file(&self.path);
        }
        let _ = std::fs::remove_file(&self.lock);
    }
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

/// Returns a short hash of a text that is the same in every version: FNV-1a of 32 bits.
pub(crate) fn short_hash(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

fn lock_path(socket: &Path) -> PathBuf {
    let mut path = socket.as_os_str().to_owned();
    path.push(".lock");
    path.into()
}

/// Takes the lock at `path`. Returns `None` if another process has it.
fn take_lock(path: &Path) -> io::Result<Option<File>> {
    loop {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = File::from(rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR)?);
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        // The owner before may have removed the file between our open and our lock.
        let (ours, there) = (file.metadata()?, std::fs::symlink_metadata(path));
        if there.is_ok_and(|there| there.ino() == ours.ino() && there.dev() == ours.dev()) {
            return Ok(Some(file));
        }
    }
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
    sockets.into_iter().find(|socket| owner_of(socket).is_some_and(|owner| owner.pid == pid))
}

/// Whose socket it is.
struct Owner {
    pid: u32,
    text: String,
}

/// Returns the owner of a socket, if its lock is held.
fn owner_of(socket: &Path) -> Option<Owner> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(lock_path(socket), flags, Mode::empty()).ok()?);
    if flock(&file, FlockOperation::NonBlockingLockShared).is_ok() {
        return None;
    }
    let mut text = String::new();
    (&file).take(64 * 1024).read_to_string(&mut text).ok()?;
    let (pid, text) = text.split_once('\n')?;
    Some(Owner { pid: pid.parse().ok()?, text: text.trim_end_matches('\n').to_owned() })
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
        assert!(std::os::unix::net::UnixStream::connect(&stale).is_ok());
        drop(bound);
        std::fs::write(&file, "precious").unwrap();
        let refused = Bound::open("b", &identity, Some(&file)).unwrap_err();
        assert!(refused.to_string().contains("no socket"), "{refused}");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_path_that_is_too_long_is_refused() {
        let path = Path::new("/tmp").join("x".repeat(120));
        let refused = Bound::open("x", &Identity::Program("x".into()), Some(&path)).unwrap_err();
        assert!(matches!(refused, BindError::TooLong { .. }), "{refused}");
    }
}
