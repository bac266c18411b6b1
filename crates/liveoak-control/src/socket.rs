//! Where sockets of trees are.

use rustix::fs::Mode;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Returns the folders in which sockets of this user may be: `$XDG_RUNTIME_DIR/liveoak`, if the variable is set, and
/// `/tmp/liveoak-UID`. Only folders that exist and that belong to this user alone.
#[must_use]
pub fn folders() -> Vec<PathBuf> {
    places().into_iter().filter(|folder| check(folder).is_ok()).collect()
}

fn places() -> Vec<PathBuf> {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute());
    let user = rustix::process::geteuid().as_raw();
    runtime
        .map(|folder| folder.join("liveoak"))
        .into_iter()
        .chain([PathBuf::from(format!("/tmp/liveoak-{user}"))])
        .collect()
}

/// Returns the folder in which this process makes its sockets. Makes it if it is missing.
pub(crate) fn own_folder() -> Result<PathBuf, (PathBuf, io::Error)> {
    let mut last = None;
    for folder in places() {
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
        Ok(()) | Err(rustix::io::Errno::EXIST) => check(folder),
        Err(error) => Err(error.into()),
    }
}

/// Refuses a folder that others may have made, or may write to.
fn check(folder: &Path) -> io::Result<()> {
    let status = std::fs::symlink_metadata(folder)?;
    let problem = if !status.is_dir() {
        "it is no folder"
    } else if status.uid() != rustix::process::geteuid().as_raw() {
        "it belongs to another user"
    } else if status.permissions().mode() & 0o077 != 0 {
        "others may use it; expected the mode 0700"
    } else {
        return Ok(());
    };
    Err(io::Error::new(io::ErrorKind::PermissionDenied, problem))
}
