//! From a path to text: what can go wrong before the text is parsed.

use crate::bounds::MAX_FILE_BYTES;
use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

/// Returns the text of a file that `liveoak.toml` names.
pub(crate) type ReadEnvFile<'a> = &'a dyn Fn(&Path) -> Result<String, Unreadable>;

/// Why a file gives no text.
#[derive(Debug)]
pub(crate) enum Unreadable {
    /// There is no such file.
    Missing,
    /// It is a directory.
    Directory,
    /// The system refused to read it.
    Io(io::Error),
    /// It is larger than [`MAX_FILE_BYTES`]; the size, if it is known.
    TooLarge(Option<u64>),
    /// It is not text.
    Binary {
        /// The offset of the first byte that is not text.
        offset: usize,
        /// The byte.
        byte: u8,
    },
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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
///
/// # Errors
/// Why the file gives no text.
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

/// Returns the bytes as text.
///
/// # Errors
/// When there are too many of them, or they are not text.
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
