//! Where a tree keeps what outlives it: the token, the journal.

use crate::bind::short_hash;
use rustix::fs::Mode;
use std::io;
use std::path::{Path, PathBuf};

/// Returns the folder of a tree that a file declares: `$XDG_STATE_HOME/liveoak/trees/NAME-HASH`, where `HASH` stands for the
/// file; without that variable, below `~/.local/state`. Makes it, for this user alone.
///
/// # Errors
/// When there is neither of the two variables, or the folder cannot be made.
pub fn state_folder(name: &str, file: &Path) -> io::Result<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let home = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")));
    let home = home.ok_or_else(|| {
        io::Error::new(io::ErrorKind::NotFound, "neither XDG_STATE_HOME nor HOME names a folder")
    })?;
    let file = std::fs::canonicalize(file).or_else(|_| std::path::absolute(file))?;
    let folder =
        home.join("liveoak/trees").join(format!("{name}-{:08x}", short_hash(&file.to_string_lossy())));
    std::fs::create_dir_all(folder.parent().unwrap_or(&folder))?;
    match rustix::fs::mkdir(&folder, Mode::RWXU) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(folder),
        Err(error) => Err(error.into()),
    }
}
