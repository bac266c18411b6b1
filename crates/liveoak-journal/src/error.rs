//! Why a folder or a log cannot be opened or written.

use std::path::{Path, PathBuf};
use std::{error, fmt, io};

/// Why a tree cannot write its journal or output log. The tree can run without them.
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process holds the folder. Nothing is damaged.
    Locked {
        /// The path of the folder.
        path: PathBuf,
        /// The process that holds it, if it is known.
        pid: Option<u32>,
    },
    /// The folder belongs to another user.
    ForeignOwner {
        /// The path of the folder.
        path: PathBuf,
        /// The user that owns the folder.
        owner: u32,
        /// The user of this process.
        user: u32,
    },
    /// The path is a file, a link or something else, and not a folder.
    NotAFolder {
        /// The path that was opened.
        path: PathBuf,
    },
    /// The system refuses a step.
    System {
        /// The path that the step concerns.
        path: PathBuf,
        /// The step, as a verb.
        step: &'static str,
        /// The error of the system.
        error: io::Error,
    },
}

impl OpenError {
    pub(crate) fn system(path: &Path, step: &'static str, error: io::Error) -> OpenError {
        OpenError::System { path: path.to_owned(), step, error }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::Locked { path, pid: Some(pid) } => {
                write!(f, "{} is in use by process {pid}; it is not damaged", path.display())
            }
            OpenError::Locked { path, pid: None } => {
                write!(f, "{} is in use by another process; it is not damaged", path.display())
            }
            OpenError::ForeignOwner { path, owner, user } => {
                write!(f, "{} belongs to user {owner}, expected user {user}", path.display())
            }
            OpenError::NotAFolder { path } => write!(
                f,
                "{} is not a folder (links are not followed): remove it, or choose another place",
                path.display()
            ),
            OpenError::System { path, step, error } => {
                write!(f, "failed to {step} {}: {error}", path.display())
            }
        }
    }
}

// The text of the system is part of the message, so there is no source that would repeat it.
impl error::Error for OpenError {}

/// Why a journal or an output log cannot be read.
#[derive(Debug)]
#[non_exhaustive]
pub enum ReadError {
    /// There is no such folder: no tree of this name has run, or its history was removed.
    Missing {
        /// The path of the folder.
        path: PathBuf,
    },
    /// The path is a file, a link or something else, and not a folder.
    NotAFolder {
        /// The path that was opened.
        path: PathBuf,
    },
    /// The system refuses.
    System {
        /// The path of the folder.
        path: PathBuf,
        /// The error of the system.
        error: io::Error,
    },
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReadError::Missing { path } => write!(f, "there is no folder {}", path.display()),
            ReadError::NotAFolder { path } => {
                write!(f, "{} is not a folder (links are not followed)", path.display())
            }
            ReadError::System { path, error } => write!(f, "failed to read {}: {error}", path.display()),
        }
    }
}

impl error::Error for ReadError {}

/// Why records are not in the journal, or are not known to be on disk.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum AppendError {
    /// A record is longer than the limit. No record of the batch was appended.
    TooLong {
        /// The bytes of the record.
        bytes: usize,
        /// The most bytes that a record may have.
        most: usize,
    },
    /// The disk refuses. The records wait in memory and are written if the disk recovers in time.
    Failed {
        /// The message of the system.
        message: String,
    },
    /// The disk has not answered in time. The records may or may not be on disk.
    Late,
    /// Too many records wait already. No record of the batch was appended, and the loss is recorded.
    Full,
    /// The journal is closed.
    Closed,
}

impl fmt::Display for AppendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AppendError::TooLong { bytes, most } => {
                write!(f, "a record of {bytes} bytes is too long for the journal: at most {most}")
            }
            AppendError::Failed { message } => write!(f, "the journal cannot be written: {message}"),
            AppendError::Late => write!(f, "the disk of the journal has not answered in time"),
            AppendError::Full => write!(f, "too many records wait for the disk of the journal"),
            AppendError::Closed => write!(f, "the journal is closed"),
        }
    }
}

impl error::Error for AppendError {}
