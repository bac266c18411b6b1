//! From a path to text: what can go wrong before the first byte is looked at.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::Config;
use super::defaults::{FILE, MAX_FILE_BYTES};
use super::diagnostic::{Diagnostic, Report};
use super::read::{self, Place};

/// Reads and checks a whole file.
///
/// # Errors
/// Everything that is wrong with it. Nothing is started or written, whatever it says.
pub(crate) fn load(file: &Path) -> Result<Config, Report> {
    let name = file.display().to_string();
    let fail = |diagnostic| Report::of_file(&name, diagnostic);
    let text = read_text(file).map_err(|problem| {
        let help = match problem {
            Unreadable::Missing => Some(format!(
                "name a file, as in `liveoak check path/to/{FILE}`, or write one: docs/liveoak-toml.md has an example"
            )),
            Unreadable::Directory => Some(format!("name the file in it, such as {}", file.join(FILE).display())),
            _ => None,
        };
        let error = Diagnostic::of_file(format!("cannot read {name}: {problem}"));
        fail(match help {
            Some(help) => error.help(help),
            None => error,
        })
    })?;
    let folder = folder_of(file)
        .map_err(|error| fail(Diagnostic::of_file(format!("cannot tell the folder of {name}: {error}"))))?;
    read::read(&Place { file, folder: &folder, open: &read_text }, &name, &text)
}

/// The absolute folder of a file, symbolic links in its name left as they are.
fn folder_of(file: &Path) -> io::Result<PathBuf> {
    let absolute = std::path::absolute(file)?;
    Ok(absolute.parent().unwrap_or(Path::new("/")).to_path_buf())
}

/// Why a file gives no text.
#[derive(Debug)]
pub(crate) enum Unreadable {
    /// There is no such file.
    Missing,
    /// It is a directory.
    Directory,
    /// The system says no.
    Io(io::Error),
    /// It is larger than [`MAX_FILE_BYTES`].
    TooLarge(Option<u64>),
    /// It is no text.
    Binary {
        /// Where the first byte stands that no text has.
        offset: usize,
        /// That byte.
        byte: u8,
    },
}

impl std::fmt::Display for Unreadable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Missing => f.write_str("there is no such file"),
            Self::Directory => f.write_str("it is a directory"),
            Self::Io(error) => write!(f, "{error}"),
            Self::TooLarge(Some(size)) => {
                write!(f, "it has {size} bytes, and at most {MAX_FILE_BYTES} are read")
            }
            Self::TooLarge(None) => {
                write!(f, "it has more than the {MAX_FILE_BYTES} bytes that are read at most")
            }
            Self::Binary { offset, byte: 0 } => {
                write!(f, "it is a binary file (a NUL at byte offset {offset}), not text")
            }
            Self::Binary { offset, byte } => {
                write!(f, "it is not text: byte 0x{byte:02x} at byte offset {offset} is not valid UTF-8")
            }
        }
    }
}

/// Reads a file that must be text and not too large. A pipe is read up to the limit.
pub(crate) fn read_text(file: &Path) -> Result<String, Unreadable> {
    let metadata = std::fs::metadata(file).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Unreadable::Missing,
        _ => Unreadable::Io(error),
    })?;
    if metadata.is_dir() {
        return Err(Unreadable::Directory);
    }
    if metadata.is_file() && metadata.len() > MAX_FILE_BYTES {
        return Err(Unreadable::TooLarge(Some(metadata.len())));
    }
    let mut bytes = Vec::new();
    File::open(file)
        .and_then(|opened| opened.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes))
        .map_err(Unreadable::Io)?;
    text_of(bytes)
}

/// The text that these bytes are.
pub(crate) fn text_of(bytes: Vec<u8>) -> Result<String, Unreadable> {
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(Unreadable::TooLarge(None));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let offset = error.utf8_error().valid_up_to();
        Unreadable::Binary { offset, byte: error.as_bytes()[offset] }
    })?;
    match text.find('\0') {
        Some(offset) => Err(Unreadable::Binary { offset, byte: 0 }),
        None => Ok(text),
    }
}
