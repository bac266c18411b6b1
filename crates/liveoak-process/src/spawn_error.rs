//! Why a program did not start: one sentence each, with the path that was tried.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why [`Process::spawn`](crate::Process::spawn) started nothing. Nothing is left behind in any of these cases.
#[derive(Debug)]
#[non_exhaustive]
pub enum SpawnError {
    /// The command has no program: an empty list or an empty string.
    Empty,
    /// A word, a variable or a path has a NUL byte in it, which no program can be given.
    NulByte {
        /// The text with the NUL.
        text: OsString,
    },
    /// A bare name is in none of the directories searched.
    NotInPath {
        /// The name as given.
        program: OsString,
        /// What was searched: the `PATH` the program would see.
        searched: OsString,
    },
    /// There is no file at the path.
    NotFound {
        /// The path, as resolved.
        path: PathBuf,
    },
    /// The file is there but may not be executed by this user, or lies where nothing may be (a `noexec` mount).
    NotExecutable {
        /// The path, as resolved.
        path: PathBuf,
    },
    /// The path is a directory.
    IsDirectory {
        /// The path, as resolved.
        path: PathBuf,
    },
    /// The directory to run in does not exist.
    CwdMissing {
        /// The directory, as resolved.
        cwd: PathBuf,
    },
    /// The directory to run in is a file, or may not be entered.
    CwdUnusable {
        /// The directory, as resolved.
        cwd: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The program is a script (or a binary of another system) whose interpreter is missing or can not be executed.
    BadInterpreter {
        /// The script.
        path: PathBuf,
        /// What its first line asks for; empty for a binary whose loader is missing.
        interpreter: PathBuf,
    },
    /// The file is executable but neither a binary for this machine nor a script with a `#!` line.
    ExecFormat {
        /// The path, as resolved.
        path: PathBuf,
    },
    /// The system has no process, memory or file descriptor to spare just now: worth another attempt.
    ResourceLimit {
        /// What the system said.
        source: io::Error,
    },
    /// Anything else.
    Os {
        /// What was tried.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl SpawnError {
    /// Whether the same command may well start later without anybody changing anything.
    pub fn is_retryable(&self) -> bool {
        match self {
            SpawnError::ResourceLimit { .. } => true,
            // Somebody has the file open for writing, often only a fork of theirs that has not executed yet.
            SpawnError::Os { source, .. } => source.kind() == io::ErrorKind::ExecutableFileBusy,
            _ => false,
        }
    }
}

impl fmt::Display for SpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SpawnError::Empty => f.write_str("run a command without a program"),
            SpawnError::NulByte { text } => write!(f, "pass {text:?}: it has a NUL byte in it"),
            SpawnError::NotInPath { program, searched } => {
                write!(f, "find {} in PATH ({})", program.display(), searched.display())
            }
            SpawnError::NotFound { path } => write!(f, "run {}: there is no such file", path.display()),
            SpawnError::NotExecutable { path } => {
                write!(f, "run {}: it is not executable by this user", path.display())
            }
            SpawnError::IsDirectory { path } => write!(f, "run {}: it is a directory", path.display()),
            SpawnError::CwdMissing { cwd } => {
                write!(f, "run in {}: there is no such directory", cwd.display())
            }
            SpawnError::CwdUnusable { cwd, .. } => write!(f, "run in {}", cwd.display()),
            SpawnError::BadInterpreter { path, interpreter } if interpreter.as_os_str().is_empty() => {
                write!(f, "run {}: the loader this binary asks for is missing", path.display())
            }
            SpawnError::BadInterpreter { path, interpreter } => {
                write!(f, "run {}: its interpreter {interpreter:?} can not be run", path.display())
            }
            SpawnError::ExecFormat { path } => {
                write!(
                    f,
                    "run {}: it is neither a binary for this machine nor a script with #!",
                    path.display()
                )
            }
            SpawnError::ResourceLimit { .. } => f.write_str("start a process for want of a system resource"),
            SpawnError::Os { path, .. } => write!(f, "run {}", path.display()),
        }
    }
}

impl std::error::Error for SpawnError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            SpawnError::CwdUnusable { source, .. }
            | SpawnError::ResourceLimit { source }
            | SpawnError::Os { source, .. } => Some(source),
            _ => None,
        }
    }
}
