//! Where the sockets of trees are: the folders in which a tree opens its socket, and in which a client looks for it.
//!
//! A folder counts only if it belongs to the current user and is not a link: another user could have made it, and could put a
//! socket of its own into it.

use rustix::fs::Mode;
use rustix::io::Errno;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

/// What the names of socket files end in.
pub const EXTENSION: &str = "sock";

/// Why a folder or a file does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// It does not exist.
    Missing,
    /// It is not a folder. A link to a folder is none.
    NotAFolder,
    /// It belongs to another user.
    OfAnotherUser,
    /// Other users may use it. Its mode should be 0700.
    OpenToOthers,
    /// The system does not let this user look at it.
    Unreadable,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "does not exist",
            Self::NotAFolder => "is not a folder",
            Self::OfAnotherUser => "belongs to another user",
            Self::OpenToOthers => "can be used by other users, although its mode should be 0700",
            Self::Unreadable => "cannot be read",
        })
    }
}

/// Returns the folders in which trees of this user open their sockets, existing or not, the preferred one first:
/// `$XDG_RUNTIME_DIR/liveoak` if that variable is an absolute path, and `/tmp/liveoak-UID`.
#[must_use]
pub fn candidates() -> Vec<PathBuf> {
    candidates_of(std::env::var_os("XDG_RUNTIME_DIR"), user())
}

/// Returns those of [`candidates`] that exist and are [fit](fitness).
#[must_use]
pub fn folders() -> Vec<PathBuf> {
    candidates().into_iter().filter(|folder| fitness(folder).is_ok()).collect()
}

/// Returns why `folder` does not count as a folder of this user.
///
/// # Errors
/// When it does not exist, is no folder but for example a link to one, belongs to another user, or can be used by others.
pub fn fitness(folder: &Path) -> Result<(), Unfit> {
    fitness_for(folder, user())
}

/// Returns the folder in which this process makes its sockets. Makes it if it is missing.
pub(crate) fn own_folder() -> Result<PathBuf, (PathBuf, io::Error)> {
    let mut last = None;
    for folder in candidates() {
        match make(&folder) {
            Ok(()) => return Ok(folder),
            // The runtime folder of a user may be gone; the other place is still there.
            Err(error) => last = Some((folder, error)),
        }
    }
    Err(last.unwrap_or_else(|| (PathBuf::new(), io::Error::from(io::ErrorKind::NotFound))))
}

fn make(folder: &Path) -> io::Result<()> {
    match rustix::fs::mkdir(folder, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    fitness(folder).map_err(|why| io::Error::new(io::ErrorKind::PermissionDenied, format!("it {why}")))
}

/// Returns the sockets of a folder that belong to this user, in the order of their names. A file that is no socket, a link, and
/// a socket of another user are left out.
#[must_use]
pub fn sockets_in(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return vec![] };
    let of_user = |path: &PathBuf| {
        let is_named = path.extension().is_some_and(|extension| extension == EXTENSION);
        // Does not follow links.
        let found = std::fs::symlink_metadata(path);
        is_named && found.is_ok_and(|found| found.file_type().is_socket() && found.uid() == user())
    };
    let mut sockets: Vec<PathBuf> =
        entries.filter_map(|entry| Some(entry.ok()?.path())).filter(of_user).collect();
    sockets.sort();
    sockets
}

fn user() -> u32 {
    rustix::process::geteuid().as_raw()
}

fn candidates_of(runtime_folder: Option<OsString>, user: u32) -> Vec<PathBuf> {
    // The XDG base directory specification: a relative path is ignored.
    let runtime = runtime_folder.map(PathBuf::from).filter(|folder| folder.is_absolute());
    let mut folders: Vec<PathBuf> = runtime.map(|folder| folder.join("liveoak")).into_iter().collect();
    folders.push(PathBuf::from(format!("/tmp/liveoak-{user}")));
    folders
}

fn fitness_for(folder: &Path, user: u32) -> Result<(), Unfit> {
    // Does not follow links.
    let found = std::fs::symlink_metadata(folder).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Unfit::Missing,
        _ => Unfit::Unreadable,
    })?;
    match () {
        () if !found.is_dir() => Err(Unfit::NotAFolder),
        () if found.uid() != user => Err(Unfit::OfAnotherUser),
        () if found.mode() & 0o077 != 0 => Err(Unfit::OpenToOthers),
        () => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::net::UnixListener;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// A folder of one test, removed at its end.
    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Self {
            static NEXT: AtomicU32 = AtomicU32::new(0);
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let folder = std::env::temp_dir().join(format!("liveoak-socket-{}-{number}", std::process::id()));
            fs::create_dir_all(&folder).unwrap();
            Self(folder)
        }

        fn make(&self, name: &str, mode: u32) -> PathBuf {
            let path = self.0.join(name);
            fs::create_dir(&path).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            path
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn both_folders_are_candidates_and_the_runtime_folder_comes_first() {
        let of = |runtime: Option<&str>| {
            let all = candidates_of(runtime.map(Into::into), 7);
            all.into_iter().map(|path| path.to_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(of(Some("/run/user/7")), ["/run/user/7/liveoak", "/tmp/liveoak-7"]);
        for unset in [None, Some(""), Some("run")] {
            assert_eq!(of(unset), ["/tmp/liveoak-7"], "{unset:?}");
        }
    }

    #[test]
    fn a_folder_counts_only_if_it_is_of_this_user_and_no_link_and_closed_to_others() {
        let folder = Folder::new();
        let me = user();
        let good = folder.make("good", 0o700);
        assert_eq!(fitness_for(&good, me), Ok(()));
        assert_eq!(fitness_for(&good, me + 1), Err(Unfit::OfAnotherUser));
        assert_eq!(fitness_for(&folder.make("readable", 0o755), me), Err(Unfit::OpenToOthers));
        assert_eq!(fitness_for(&folder.make("of-group", 0o770), me), Err(Unfit::OpenToOthers));
        assert_eq!(fitness_for(&folder.make("of-all", 0o1777), me), Err(Unfit::OpenToOthers));
        let link = folder.0.join("link");
        std::os::unix::fs::symlink(&good, &link).unwrap();
        assert_eq!(fitness_for(&link, me), Err(Unfit::NotAFolder));
        let file = folder.0.join("file");
        fs::write(&file, "").unwrap();
        assert_eq!(fitness_for(&file, me), Err(Unfit::NotAFolder));
        assert_eq!(fitness_for(&folder.0.join("gone"), me), Err(Unfit::Missing));
        assert_eq!(fitness_for(&file.join("below"), me), Err(Unfit::Missing));
    }

    #[test]
    fn only_sockets_with_the_name_of_a_socket_are_found_and_links_are_not_followed() {
        let folder = Folder::new();
        let at = |name: &str| folder.0.join(name);
        let _listeners: Vec<_> =
            ["b.sock", "a.sock", "a.other"].map(|name| UnixListener::bind(at(name)).unwrap()).into();
        fs::write(at("file.sock"), "").unwrap();
        fs::create_dir(at("folder.sock")).unwrap();
        std::os::unix::fs::symlink(at("a.sock"), at("link.sock")).unwrap();
        assert_eq!(sockets_in(&folder.0), [at("a.sock"), at("b.sock")]);
        assert_eq!(sockets_in(&at("gone")), [] as [PathBuf; 0]);
    }
}
