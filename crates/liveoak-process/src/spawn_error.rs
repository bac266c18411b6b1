//! The reasons why a program could not be started. Every message follows the words "could not"; most name a path.

use liveoak_runtime::internal::shortage;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The reason why [`Process::spawn`](crate::Process::spawn) failed. In all cases no process is left.
#[derive(Debug)]
#[non_exhaustive]
pub enum SpawnError {
    /// The command line has no program: it is an empty list, or its first word is empty.
    Empty,
    /// A word, a variable or a path contains a NUL byte, which cannot be passed to a program.
    NulByte {
        /// What contains the NUL byte: "argument 2", "the value of the variable HOME". Its text may be a secret.
        what: String,
    },
    /// The program is a name without a slash, and no directory of `PATH` has an executable file of that name.
    NotInPath {
        /// The name as given.
        program: OsString,
        /// The `PATH` that was searched: the one that the program would see.
        searched: OsString,
        /// The executable file of that name in the directory to run in, if there is one. This directory is not searched, so the
        /// message tells to write `./NAME`.
        beside: Option<PathBuf>,
    },
    /// There is no file at the path.
    NotFound {
        /// The path, as resolved.
        path: PathBuf,
    },
    /// The file exists, but this user may not execute it, or it is on a `noexec` mount.
    NotExecutable {
        /// The path, as resolved.
        path: PathBuf,
    },
    /// The path is neither a file nor a directory: a FIFO, a socket or a device.
    NotAFile {
        /// The path, as resolved.
        path: PathBuf,
    },
    /// The look-up of the program took too long. The server of its file system may be down.
    LookUpTimedOut {
        /// The program as given.
        program: OsString,
        /// How long a look-up may take.
        limit: Duration,
    },
    /// The program would share the terminal of the current process ([`Stdin::Inherit`](crate::Stdin::Inherit)), which is
    /// not in the foreground of the terminal at the moment.
    NotInForeground,
    /// The Tokio runtime that the call runs on has no I/O, so the exit and the output could not be seen.
    NoIo,
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
    /// The directory to run in is a file, or this user may not enter it.
    CwdUnusable {
        /// The directory, as resolved.
        cwd: PathBuf,
        /// The error of the system call.
        source: io::Error,
    },
    /// The program is a script (or a binary of another system) whose interpreter is missing or cannot be executed.
    BadInterpreter {
        /// The script.
        path: PathBuf,
        /// The interpreter in its first line; empty for a binary whose loader is missing.
        interpreter: PathBuf,
    },
    /// The first line of a script ends with a carriage return, as on Windows. The kernel takes it for a part of the
    /// interpreter's name, or of its argument.
    WindowsLineEnds {
        /// The script.
        path: PathBuf,
    },
    /// A script begins with a byte order mark, which hides its `#!` from the kernel.
    ByteOrderMark {
        /// The script.
        path: PathBuf,
    },
    /// The file is executable but neither a binary for this machine nor a script with a `#!` line.
    ExecFormat {
        /// The path, as resolved.
        path: PathBuf,
    },
    /// The command of the ready check cannot be run, and a later check would not help.
    ReadyCheck {
        /// Why it cannot be run.
        source: Box<SpawnError>,
    },
    /// No process, memory or file descriptor is left at the moment. A later attempt may succeed.
    ResourceLimit {
        /// The error of the system call.
        source: io::Error,
    },
    /// The kernel, or a filter of system calls, lacks a call without which the end of a process cannot be seen. Linux 5.4
    /// has all of them.
    MissingSystemCall {
        /// The call.
        call: &'static str,
        /// Its error.
        source: io::Error,
    },
    /// The system call failed for another reason.
    Os {
        /// The path, as resolved.
        path: PathBuf,
        /// The error of the system call.
        source: io::Error,
    },
}

impl SpawnError {
    /// Returns `true` if the same command line may start later without a change of files or configuration.
    pub fn is_retryable(&self) -> bool {
        match self {
            SpawnError::ResourceLimit { .. }
            | SpawnError::LookUpTimedOut { .. }
            | SpawnError::NotInForeground => true,
            // Another process has the file open for writing; often that is only a fork that has not executed yet.
            SpawnError::Os { source, .. } => source.kind() == io::ErrorKind::ExecutableFileBusy,
            _ => false,
        }
    }
}

const UNEXPANDED: &str = "; `$` and `~` are not expanded";

/// Returns why a file of that name may be missing, if the name shows it.
fn hint(path: &Path) -> &'static str {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    if is_unexpanded(path) {
        UNEXPANDED
    } else if name.contains(&b' ') {
        "; its name has a blank: give arguments as words of their own"
    } else {
        ""
    }
}

/// Returns `true` if a part of the path looks like a variable, or like the home directory of a shell.
fn is_unexpanded(path: &Path) -> bool {
    path.iter().any(|part| part == "~" || part.as_encoded_bytes().starts_with(b"$"))
}

fn not_in_path(
    f: &mut fmt::Formatter<'_>,
    name: &OsStr,
    searched: &OsStr,
    beside: Option<&Path>,
) -> fmt::Result {
    let program = name.display();
    // The whole PATH would hide the name in every line of the log that has this error.
    match std::env::split_paths(searched).count() {
        1 => write!(f, "find {program} in PATH (1 folder)")?,
        many => write!(f, "find {program} in PATH ({many} folders)")?,
    }
    match beside {
        Some(path) => write!(f, "; there is {}: write ./{program}", path.display()),
        None => f.write_str(hint(Path::new(name))),
    }
}

impl fmt::Display for SpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SpawnError::Empty => f.write_str("run a command line without a program"),
            SpawnError::NulByte { what } => write!(f, "pass {what} to a program: it contains a NUL byte"),
            SpawnError::NotInPath { program, searched, beside } => {
                not_in_path(f, program, searched, beside.as_deref())
            }
            SpawnError::NotFound { path } => {
                write!(f, "run {}: there is no such file{}", path.display(), hint(path))
            }
            SpawnError::NotExecutable { path } => {
                write!(f, "run {}: it is not executable by this user", path.display())
            }
            SpawnError::NotAFile { path } => write!(f, "run {}: it is not a regular file", path.display()),
            SpawnError::LookUpTimedOut { program, limit } => {
                let program = program.display();
                write!(f, "look up {program} within {limit:?}: its file system does not answer")
            }
            SpawnError::NotInForeground => f.write_str(
                "hand over the terminal as standard input: this process is not in the foreground of the terminal",
            ),
            SpawnError::NoIo => f.write_str(
                "run a program: the Tokio runtime has no I/O; build it with enable_io() or enable_all()",
            ),
            SpawnError::IsDirectory { path } => write!(f, "run {}: it is a directory", path.display()),
            SpawnError::CwdMissing { cwd } => {
                let unexpanded = if is_unexpanded(cwd) { UNEXPANDED } else { "" };
                write!(f, "enter {}: there is no such directory{unexpanded}", cwd.display())
            }
            SpawnError::CwdUnusable { cwd, .. } => write!(f, "enter {}", cwd.display()),
            SpawnError::BadInterpreter { path, interpreter } if interpreter.as_os_str().is_empty() => {
                write!(f, "run {}: the loader of this binary is missing", path.display())
            }
            SpawnError::BadInterpreter { path, interpreter } => {
                write!(f, "run {}: its interpreter {interpreter:?} cannot be run", path.display())
            }
            SpawnError::WindowsLineEnds { path } => {
                let path = path.display();
                write!(
                    f,
                    "run {path}: its lines end as on Windows (CRLF), so its interpreter is not found; save it with LF line ends, as with: sed -i 's/\\r$//' {path}"
                )
            }
            SpawnError::ByteOrderMark { path } => {
                let path = path.display();
                write!(f, "run {path}: a byte order mark stands before its #!; save it as UTF-8 without one")
            }
            SpawnError::ExecFormat { path } => {
                let path = path.display();
                write!(f, "run {path}: it is neither a binary for this machine nor a script with #!")
            }
            SpawnError::ReadyCheck { source } => write!(f, "run the ready check: could not {source}"),
            SpawnError::ResourceLimit { source } => {
                let text = shortage(source);
                let own = text.strip_suffix(&format!(": {source}")).unwrap_or("a system limit is reached");
                write!(f, "start a process: {own}")
            }
            SpawnError::MissingSystemCall { call, .. } => write!(
                f,
                "start a process: this kernel, or a filter of system calls, does not offer {call}; Linux 5.4 or later is needed"
            ),
            SpawnError::Os { path, .. } => write!(f, "run {}", path.display()),
        }
    }
}

impl std::error::Error for SpawnError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            SpawnError::CwdUnusable { source, .. }
            | SpawnError::ResourceLimit { source }
            | SpawnError::MissingSystemCall { source, .. }
            | SpawnError::Os { source, .. } => Some(source),
            SpawnError::ReadyCheck { source } => std::error::Error::source(&**source),
            _ => None,
        }
    }
}
