//! Reads a file as text, and reports the errors that occur before the text is parsed.
//!
//! Files come from other systems and other programs. So a byte order mark is dropped, a line may end with CRLF, and the
//! file may be a pipe or the standard input.

use crate::bounds::MAX_FILE_BYTES;
use crate::render::position;
use crate::stream::{Patience, Tell};
use std::cell::RefCell;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;
use std::time::Duration;

/// The byte order mark that some editors put before a text in UTF-8.
const UTF8_MARK: &[u8] = b"\xef\xbb\xbf";

/// The name of the standard input, as in many other programs.
const STDIN: &str = "-";

/// Other names of the standard input. They are read like `-`, because a socket cannot be opened by its path.
const STDIN_PATHS: [&str; 4] = ["/dev/stdin", "/dev/fd/0", "/proc/self/fd/0", "/proc/thread-self/fd/0"];

/// Returns the text of a file that `liveoak.toml` names.
pub(crate) type ReadEnvFile<'a> = &'a dyn Fn(&Path) -> Result<String, Unreadable>;

/// Why the text of a file could not be read.
#[derive(Debug)]
pub(crate) enum Unreadable {
    /// There is no such file.
    Missing,
    /// It is a directory.
    Directory,
    /// It is a socket.
    Socket,
    /// The system refused to read it.
    Io(io::Error),
    /// It is a pipe, a FIFO or a device on which nothing arrived for this long.
    Silent(Duration),
    /// It is a stream that another name has read to its end.
    ReadBefore(String),
    /// It is larger than [`MAX_FILE_BYTES`]; the size, if it is known.
    TooLarge(Option<u64>),
    /// It has a NUL at this offset, so it is not text.
    Binary(usize),
    /// It is text in UTF-16 or UTF-32.
    Wide,
    /// It is text, but not in UTF-8.
    NotUtf8(NotUtf8),
}

/// The first place of a text that is not UTF-8.
#[derive(Debug)]
pub(crate) struct NotUtf8 {
    /// The text, with U+FFFD in place of bytes that are not UTF-8.
    pub(crate) text: String,
    /// The offset of the first U+FFFD.
    pub(crate) offset: usize,
    /// The byte that was found there.
    pub(crate) byte: u8,
}

impl Unreadable {
    /// Returns the advice, if there is one.
    pub(crate) const fn help(&self) -> Option<&'static str> {
        match self {
            Self::Wide | Self::NotUtf8(_) => {
                Some("save it as UTF-8, in the editor or with `iconv -f OLD -t UTF-8`")
            }
            Self::Silent(_) => Some("start what writes to it, or name a regular file"),
            Self::Socket => Some("name a regular file, or a FIFO"),
            Self::ReadBefore(_) => {
                Some("name another file; children that share a stream name it by the same path")
            }
            _ => None,
        }
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("there is no such file"),
            Self::Directory => f.write_str("it is a directory"),
            Self::Socket => f.write_str("it is a socket, which cannot be read by its path"),
            Self::Io(error) => write!(f, "{error}"),
            Self::Silent(time) => {
                write!(f, "nothing was written to it for {} s, and its end did not come", time.as_secs())
            }
            Self::ReadBefore(reader) => write!(f, "{reader} was read from it, so nothing is left"),
            Self::TooLarge(Some(size)) => {
                write!(f, "it has {size} bytes, and at most {MAX_FILE_BYTES} are read")
            }
            Self::TooLarge(None) => {
                write!(f, "it has more than the {MAX_FILE_BYTES} bytes that are read at most")
            }
            Self::Binary(offset) => {
                write!(f, "it is a binary file (a NUL at byte offset {offset}), not text")
            }
            Self::Wide => f.write_str("it is text in UTF-16 or UTF-32, and only UTF-8 is read"),
            Self::NotUtf8(NotUtf8 { text, offset, byte }) => {
                let (line, column) = position(text, *offset);
                write!(f, "line {line}, column {column}: the byte 0x{byte:02x} is not valid UTF-8")
            }
        }
    }
}

/// Returns `true` if `file` names the standard input.
pub(crate) fn is_stdin(file: &Path) -> bool {
    file == Path::new(STDIN) || STDIN_PATHS.iter().any(|path| file == Path::new(path))
}

/// Returns the name of the file in messages.
pub(crate) fn shown_name(file: &Path) -> String {
    if is_stdin(file) { "standard input".to_owned() } else { file.display().to_string() }
}

/// Returns `true` if `file` is a stream: the standard input, an inherited descriptor, a pipe, or a device. Relative
/// paths in such a file are not relative to the folder of its own path.
pub(crate) fn is_stream(file: &Path) -> bool {
    let parent = file.parent().unwrap_or(Path::new(""));
    let is_descriptor =
        parent == Path::new("/dev/fd") || (parent.starts_with("/proc") && parent.ends_with("fd"));
    let is_other = || std::fs::metadata(file).is_ok_and(|found| !found.is_file() && !found.is_dir());
    is_stdin(file) || is_descriptor || is_other()
}

/// Reads the main file and the files that it names. A pipe or the standard input can be read only once, so a second reader
/// would find it empty.
pub(crate) struct Sources<'a> {
    tell: Tell<'a>,
    /// Device and inode of each stream that was read, and what was read from it.
    streams: RefCell<Vec<((u64, u64), String)>>,
}

impl<'a> Sources<'a> {
    /// Creates the state before anything is read. `tell` is called when a stream is waited for.
    pub(crate) const fn new(tell: Tell<'a>) -> Self {
        Self { tell, streams: RefCell::new(Vec::new()) }
    }

    /// Reads the main file: a file, a pipe, or the standard input.
    ///
    /// # Errors
    /// Returns the reason why the text could not be read.
    pub(crate) fn read_main(&self, file: &Path) -> Result<String, Unreadable> {
        self.read(file, "the file itself")
    }

    /// Reads an env file.
    ///
    /// # Errors
    /// Returns the reason why the text could not be read.
    pub(crate) fn read_env_file(&self, file: &Path) -> Result<String, Unreadable> {
        self.read(file, &format!("the env_file {}", file.display()))
    }

    fn read_stdin(&self, reader: &str) -> Result<String, Unreadable> {
        let metadata = rustix::fs::fstat(io::stdin()).map_err(|error| Unreadable::Io(error.into()))?;
        self.note((metadata.st_dev, metadata.st_ino), reader)?;
        text_of(Patience::with("the standard input", self.tell).read(io::stdin().as_fd())?)
    }

    /// Reads a file that must be text and not too large. A pipe is read up to the limit.
    fn read(&self, file: &Path, reader: &str) -> Result<String, Unreadable> {
        if is_stdin(file) {
            return self.read_stdin(reader);
        }
        let metadata = std::fs::metadata(file).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Unreadable::Missing,
            _ => Unreadable::Io(error),
        })?;
        if metadata.is_dir() {
            return Err(Unreadable::Directory);
        }
        if metadata.file_type().is_socket() {
            return Err(Unreadable::Socket);
        }
        if metadata.file_type().is_fifo() {
            self.note((metadata.dev(), metadata.ino()), reader)?;
        }
        if !metadata.is_file() {
            return text_of(Patience::with(&shown_name(file), self.tell).read_path(file)?);
        }
        if metadata.len() > MAX_FILE_BYTES {
            return Err(Unreadable::TooLarge(Some(metadata.len())));
        }
        let (mut bytes, opened) = (Vec::new(), File::open(file).map_err(Unreadable::Io)?);
        opened.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(Unreadable::Io)?;
        text_of(bytes)
    }

    /// Notes that a stream is read.
    fn note(&self, stream: (u64, u64), reader: &str) -> Result<(), Unreadable> {
        let mut streams = self.streams.borrow_mut();
        if let Some((_, first)) = streams.iter().find(|(known, _)| *known == stream) {
            return Err(Unreadable::ReadBefore(first.clone()));
        }
        streams.push((stream, reader.to_owned()));
        Ok(())
    }
}

/// Returns the bytes as text, without a byte order mark, and with `\n` at the end of each line.
///
/// # Errors
/// Returns an error if there are too many bytes, or if they are not text.
pub(crate) fn text_of(mut bytes: Vec<u8>) -> Result<String, Unreadable> {
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(Unreadable::TooLarge(None));
    }
    if is_wide(&bytes) {
        return Err(Unreadable::Wide);
    }
    if let Some(offset) = bytes.iter().position(|&byte| byte == 0) {
        return Err(Unreadable::Binary(offset));
    }
    if bytes.starts_with(UTF8_MARK) {
        bytes.drain(..UTF8_MARK.len());
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let offset = error.utf8_error().valid_up_to();
        let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
        Unreadable::NotUtf8(NotUtf8 { text, offset, byte: error.as_bytes()[offset] })
    })?;
    // TOML allows a reader to normalize line ends inside a string. A script for `sh` must not contain `\r`.
    Ok(if text.contains("\r\n") { text.replace("\r\n", "\n") } else { text })
}

/// Returns `true` for text in UTF-16 or UTF-32: it begins with the byte order mark of one of them, or every second of its
/// first bytes is a NUL.
fn is_wide(bytes: &[u8]) -> bool {
    let marked = [&b"\xff\xfe"[..], b"\xfe\xff", b"\0\0\xfe\xff"].iter().any(|mark| bytes.starts_with(mark));
    let latin = |low: u8, high: u8| high == 0 && matches!(low, b'\t' | b'\n' | b'\r' | b' '..=b'~');
    let all = |is: &dyn Fn(&[u8]) -> bool| bytes.len() >= 8 && bytes[..8].chunks_exact(2).all(is);
    marked || all(&|pair| latin(pair[0], pair[1])) || all(&|pair| latin(pair[1], pair[0]))
}
