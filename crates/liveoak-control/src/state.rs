//! Where a tree keeps what outlives it: the token, the journal.

use crate::bind::short_hash;
use rustix::fs::Mode;
use std::io;
use std::path::{Path, PathBuf};

/// Returns the folder of a tree that a file declares: `$XDG_STATE_HOME/liveoak/trees/NAME-HASH`, where `HASH` stands for the
/// file; without that variable, below `~/.local/state`, and without `HOME`, beside the socket. Makes it, for this user alone.
///
/// # Errors
/// When the folder cannot be made.
pub fn state_folder(name: &str, file: &Path) -> io::Result<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let home = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")));
    // A program that was started without any variables keeps it beside its socket.
    let home = home.map_or_else(|| crate::socket::own_folder().map_err(|(_, error)| error), Ok)?;
    let file = std::fs::canonicalize(file).or_else(|_| std::path::absolute(file))?;
    let folder = home.join("liveoak/trees").join(format!("{name}-{:08x}", short_hash(file.as_os_str())));
    std::fs::create_dir_all(folder.parent().unwrap_or(&folder))?;
    match rustix::fs::mkdir(&folder, Mode::RWXU) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(folder),
        Err(error) => Err(error.into()),
    }
}
