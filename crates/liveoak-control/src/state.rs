//! Where a tree keeps what outlives it: the token, the journal.

use crate::bind::short_hash;
use rustix::fs::Mode;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// The file in the folder of a tree that says which tree it is: its name, and the file that declares it.
const ABOUT: &str = "tree";

/// The most bytes of that file that are read.
const MAX_ABOUT: u64 = 16 * 1024;

/// Returns the folder of a tree that a file declares: `$XDG_STATE_HOME/liveoak/trees/NAME-HASH`, where `HASH` stands for the
/// file; without that variable, below `~/.local/state`, and without `HOME`, beside the socket. Makes it, for this user alone.
///
/// # Errors
/// When the folder cannot be made.
pub fn state_folder(name: &str, file: &Path) -> io::Result<PathBuf> {
    let trees = trees_folder()?;
    let file = std::fs::canonicalize(file).or_else(|_| std::path::absolute(file))?;
    let folder = trees.join(format!("{name}-{:08x}", short_hash(file.as_os_str())));
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&trees)?;
    match rustix::fs::mkdir(&folder, Mode::RWXU) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(folder),
        Err(error) => Err(error.into()),
    }
}

/// Returns the folder with the folders of all trees of this user.
fn trees_folder() -> io::Result<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let home = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")));
    // A program that was started without any variables keeps it beside its socket.
    let home = home.map_or_else(|| crate::socket::own_folder().map_err(|(_, error)| error), Ok)?;
    Ok(home.join("liveoak/trees"))
}

/// Notes in the folder of a tree which tree it is, for clients that read its history when it is gone.
pub(crate) fn describe(folder: &Path, name: &str, file: Option<&str>) {
    let text = format!("{name}\n{}\n", file.unwrap_or_default());
    let path = folder.join(ABOUT);
    if read_about(&path).as_deref() == Some(&*text) {
        return;
    }
    // A full disk costs no more than that the tree is found by its folder only. A new file takes the place of the old one at once.
    let new = folder.join(format!("{ABOUT}.{}", std::process::id()));
    let _ = std::fs::remove_file(&new);
    let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new);
    let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
    if written.and_then(|()| std::fs::rename(&new, &path)).is_err() {
        let _ = std::fs::remove_file(&new);
    }
}

/// Returns the folders of all trees of this user, with the name and the file of the tree. A folder that does not say which tree it
/// belongs to has the name in its own.
pub(crate) fn described() -> Vec<(PathBuf, String, Option<String>)> {
    let folders = trees_folder().and_then(std::fs::read_dir).into_iter().flatten();
    let about = |folder: PathBuf| {
        let Some(text) = read_about(&folder.join(ABOUT)) else {
            let name = folder.file_name()?.to_str()?.rsplit_once('-')?.0.to_owned();
            return Some((folder, name, None));
        };
        let (name, file) = text.strip_suffix('\n')?.split_once('\n')?;
        Some((folder, name.to_owned(), Some(file.to_owned()).filter(|file| !file.is_empty())))
    };
    folders.filter_map(|entry| about(entry.ok()?.path())).collect()
}

fn read_about(path: &Path) -> Option<String> {
    let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let file = rustix::fs::open(path, flags | rustix::fs::OFlags::CLOEXEC, Mode::empty()).ok()?;
    let mut text = String::new();
    std::fs::File::from(file).take(MAX_ABOUT).read_to_string(&mut text).ok()?;
    Some(text)
}
