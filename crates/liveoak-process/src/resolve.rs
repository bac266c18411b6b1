//! Finds the program file of a command line, and explains why the kernel refused it.
//!
//! The file is found here and not by the C library, so that there is one rule and errors name the path. A program that is
//! found may still fail to start: then [`explain`] translates the kernel's error number into a [`SpawnError`].

use crate::command::CommandLine;
use crate::environment::Environment;
use crate::off_thread::{NoAnswer, off_thread};
use crate::os::Exec;
use crate::spawn_error::SpawnError;
use rustix::fs::{Access, OFlags, access};
use rustix::io::Errno;
use std::ffi::{CString, OsStr, OsString};
use std::fmt;
use std::fs;
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The search path if the program would see no `PATH`. It is the C library's default.
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// How much of a script's first line the kernel reads (`BINPRM_BUF_SIZE`).
const SHEBANG_ROOM: u64 = 256;

/// How long a look-up of a program may take.
pub(crate) const LOOK_UP_WITHIN: Duration = Duration::from_secs(10);

/// A command line with the paths that were looked up before the fork.
pub(crate) struct Prepared {
    pub(crate) located: Located,
    pub(crate) exec: Exec,
}

impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.located.fmt(f)
    }
}

/// Looks up the program of `command` on a thread of its own, and builds what its exec needs. `environment` includes the
/// variables of the command line.
///
/// # Cancel safety
/// Cancel safe.
pub(crate) async fn prepare(
    command: &Arc<CommandLine>,
    environment: Environment,
) -> Result<Prepared, SpawnError> {
    let theirs = Arc::clone(command);
    look_up(command, move || {
        let located = locate(&theirs, environment.search_path())?;
        let exec = build_exec(&theirs, &located, &environment)?;
        Ok(Prepared { located, exec })
    })
    .await
}

/// Explains on a thread of its own why the kernel refused a fork or exec.
pub(crate) async fn explained(command: &CommandLine, located: Located, source: io::Error) -> SpawnError {
    match look_up(command, move || Ok::<_, SpawnError>(explain(&located, source))).await {
        Ok(error) | Err(error) => error,
    }
}

async fn look_up<T: Send + 'static>(
    command: &CommandLine,
    look: impl FnOnce() -> Result<T, SpawnError> + Send + 'static,
) -> Result<T, SpawnError> {
    let mut about = command.program.clone();
    about.push("\0");
    about.push(command.cwd.as_deref().unwrap_or(Path::new("")));
    match off_thread(about, LOOK_UP_WITHIN, look).await {
        Ok(looked) => looked,
        Err(NoAnswer::TimedOut) => {
            Err(SpawnError::LookUpTimedOut { program: command.program.clone(), limit: LOOK_UP_WITHIN })
        }
        Err(NoAnswer::Failed(source)) => Err(SpawnError::ResourceLimit { source }),
    }
}

/// The program file and the working directory of a command line, as absolute paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Located {
    /// The file to execute.
    pub(crate) program: PathBuf,
    /// The directory to run in; `None` for the current process's own directory.
    pub(crate) cwd: Option<PathBuf>,
}

/// Finds the directory and the program file of `command`.
fn locate(command: &CommandLine, search_path: Option<&OsStr>) -> Result<Located, SpawnError> {
    if command.program.is_empty() {
        return Err(SpawnError::Empty);
    }
    if command.program.as_bytes().contains(&0) {
        return Err(SpawnError::NulByte { what: "the name of the program".to_owned() });
    }
    let cwd = command.cwd.as_deref().map(directory).transpose()?;
    let program = if command.program.as_bytes().contains(&b'/') {
        let path = absolute(cwd.as_deref(), Path::new(&command.program))?;
        usable(&path)?;
        path
    } else {
        search(&command.program, search_path, cwd.as_deref())?
    };
    // Read the file now: on a dead mount this hangs here, and not in the child process before its exec.
    match head(&program) {
        Some(head) if has_windows_line_end(&head) => Err(SpawnError::WindowsLineEnds { path: program }),
        Some(head) if has_byte_order_mark(&head) => Err(SpawnError::ByteOrderMark { path: program }),
        _ => Ok(Located { program, cwd }),
    }
}

/// Returns the path of the program that a start of `command` would run, on a thread of its own. The interpreter of a script
/// must be there too.
pub(crate) async fn find_program(
    command: &CommandLine,
    environment: Environment,
) -> Result<PathBuf, SpawnError> {
    let theirs = command.clone();
    look_up(command, move || {
        let located = locate(&theirs, environment.search_path())?;
        if let Some(interpreter) = shebang(&located.program)
            && usable(&absolute(located.cwd.as_deref(), &interpreter)?).is_err()
        {
            return Err(SpawnError::BadInterpreter { path: located.program, interpreter });
        }
        Ok(located.program)
    })
    .await
}

fn directory(cwd: &Path) -> Result<PathBuf, SpawnError> {
    let cwd = absolute(None, cwd)?;
    match fs::metadata(&cwd) {
        Ok(found) if found.is_dir() => Ok(cwd),
        Ok(_) => Err(SpawnError::CwdUnusable { cwd, source: Errno::NOTDIR.into() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(SpawnError::CwdMissing { cwd }),
        Err(source) => Err(SpawnError::CwdUnusable { cwd, source }),
    }
}

/// Returns `path` as an absolute path, seen from `cwd` or else from the current process's directory.
fn absolute(cwd: Option<&Path>, path: &Path) -> Result<PathBuf, SpawnError> {
    let path = cwd.map_or_else(|| path.to_owned(), |cwd| cwd.join(path));
    std::path::absolute(&path).map_err(|source| SpawnError::CwdUnusable { cwd: path, source })
}

/// Returns the first executable file of that name in `PATH`. If there is none, but a file that is not executable, the
/// error names the first such file.
fn search(program: &OsStr, search_path: Option<&OsStr>, cwd: Option<&Path>) -> Result<PathBuf, SpawnError> {
    let searched = search_path.unwrap_or(OsStr::new(DEFAULT_PATH)).to_owned();
    let mut denied = None;
    for entry in std::env::split_paths(&searched) {
        // An empty or relative PATH entry starts at the program's cwd, as in a shell that runs there.
        let candidate = absolute(cwd, &entry.join(program))?;
        match usable(&candidate) {
            Ok(()) => return Ok(candidate),
            Err(error @ SpawnError::NotExecutable { .. }) => denied = denied.or(Some(error)),
            Err(_) => {}
        }
    }
    Err(denied.unwrap_or_else(|| {
        let beside = absolute(cwd, Path::new(program)).ok().filter(|path| usable(path).is_ok());
        SpawnError::NotInPath { program: program.to_owned(), searched, beside }
    }))
}

/// Returns an error unless `path` is a file that this user may execute.
fn usable(path: &Path) -> Result<(), SpawnError> {
    use io::ErrorKind::{NotADirectory, NotFound, PermissionDenied};
    let (found, path) = (fs::metadata(path), path.to_owned());
    match found.map_err(|error| (error.kind(), error)) {
        Ok(found) if found.is_dir() => Err(SpawnError::IsDirectory { path }),
        Ok(found) if !found.is_file() => Err(SpawnError::NotAFile { path }),
        Ok(_) if access(&path, Access::EXEC_OK).is_ok() => Ok(()),
        Ok(_) | Err((PermissionDenied, _)) => Err(SpawnError::NotExecutable { path }),
        Err((NotADirectory | NotFound, _)) => Err(SpawnError::NotFound { path }),
        Err((_, source)) => Err(SpawnError::Os { path, source }),
    }
}

/// Translates the error of a refused fork or exec. The error of `execve(2)` alone is not enough: `ENOENT` may refer to
/// the file or to its interpreter.
fn explain(located: &Located, source: io::Error) -> SpawnError {
    let path = located.program.clone();
    match source.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::AGAIN | Errno::MFILE | Errno::NFILE | Errno::NOMEM) => {
            SpawnError::ResourceLimit { source }
        }
        Some(Errno::NOEXEC) => SpawnError::ExecFormat { path },
        Some(Errno::NOENT | Errno::ACCESS | Errno::NOTDIR | Errno::ISDIR | Errno::LIBBAD) => {
            refused_file(located, source)
        }
        _ => SpawnError::Os { path, source },
    }
}

/// Finds out which file the kernel refused: the directory, the program, or its interpreter.
fn refused_file(located: &Located, source: io::Error) -> SpawnError {
    let path = located.program.clone();
    if let Some(Err(error)) = located.cwd.as_deref().map(directory) {
        return error;
    }
    if let Err(error) = usable(&path) {
        return error;
    }
    if let Some(interpreter) = shebang(&path) {
        return SpawnError::BadInterpreter { path, interpreter };
    }
    if source.kind() == io::ErrorKind::NotFound {
        return SpawnError::BadInterpreter { path, interpreter: PathBuf::new() };
    }
    match located.cwd.clone().filter(|cwd| access(cwd, Access::EXEC_OK).is_err()) {
        Some(cwd) => SpawnError::CwdUnusable { cwd, source },
        None => SpawnError::NotExecutable { path },
    }
}

/// Returns the first bytes of a file, or `None` if it cannot be read.
fn head(path: &Path) -> Option<Vec<u8>> {
    let mut head = Vec::new();
    // The file may have become a FIFO meanwhile, whose opening would wait for a writer.
    let file = fs::File::options().read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(path);
    file.ok()?.take(SHEBANG_ROOM).read_to_end(&mut head).ok()?;
    Some(head)
}

/// Interpreters that ignore a carriage return after their options.
const IGNORE_CARRIAGE_RETURN: [&str; 2] = ["perl", "ruby"];

/// Returns `true` for a script whose first line ends with CRLF, unless its interpreter has an option and ignores the
/// carriage return after it.
fn has_windows_line_end(head: &[u8]) -> bool {
    let Some(line) = head.strip_prefix(b"#!").and_then(|rest| rest.split(|&byte| byte == b'\n').next())
    else {
        return false;
    };
    let Some(line) = line.strip_suffix(b"\r") else { return false };
    let mut words = line.split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty());
    let interpreter = words.next().unwrap_or_default();
    let name = interpreter.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    let ignores = |known: &&str| name.starts_with(known.as_bytes());
    words.next().is_none() || !IGNORE_CARRIAGE_RETURN.iter().any(ignores)
}

/// Returns `true` for a script with a byte order mark before its `#!`.
fn has_byte_order_mark(head: &[u8]) -> bool {
    [&b"\xef\xbb\xbf#!"[..], b"\xff\xfe#\0!\0", b"\xfe\xff\0#\0!"].iter().any(|mark| head.starts_with(mark))
}

/// Returns the interpreter in the `#!` line of a script, as the kernel reads it.
fn shebang(path: &Path) -> Option<PathBuf> {
    let head = head(path)?;
    let line = head.strip_prefix(b"#!")?.split(|&byte| byte == b'\n').next()?;
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let word = line.split(blank).find(|word| !word.is_empty()).unwrap_or_default();
    Some(PathBuf::from(OsString::from_vec(word.to_vec())))
}

/// Returns the `PWD` of a program that runs in `cwd`, or else in the current process's folder: an absolute path without
/// `.` and `..`, in which symbolic links stay as they were given (POSIX, *Environment Variables*).
fn folder_to_tell(cwd: Option<&Path>) -> Option<PathBuf> {
    let is_plain =
        |path: &Path| path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    match cwd {
        Some(cwd) if is_plain(cwd) => Some(cwd.components().collect()),
        Some(cwd) => fs::canonicalize(cwd).ok(),
        None => {
            let told = std::env::var_os("PWD").map(PathBuf::from);
            told.filter(|told| is_plain(told) && is_here(told)).or_else(|| std::env::current_dir().ok())
        }
    }
}

/// Returns `true` if `path` is the folder of the current process.
fn is_here(path: &Path) -> bool {
    let identity = |path: &Path| fs::metadata(path).ok().map(|found| (found.dev(), found.ino()));
    path.is_absolute() && identity(path).is_some_and(|found| identity(Path::new(".")) == Some(found))
}

/// Returns everything that the child process passes to `execve(2)`.
fn build_exec(
    command: &CommandLine,
    located: &Located,
    environment: &Environment,
) -> Result<Exec, SpawnError> {
    let mut argv = vec![c_string(&command.program, || "the name of the program".to_owned())?];
    for (number, argument) in (1..).zip(&command.args) {
        argv.push(c_string(argument, || format!("argument {number}"))?);
    }
    let folder = folder_to_tell(located.cwd.as_deref());
    let env = environment.variables(folder.as_deref().map(Path::as_os_str)).map(|(name, value)| {
        let mut variable = OsString::with_capacity(name.len() + 1 + value.len());
        variable.push(name);
        variable.push("=");
        variable.push(value);
        c_string(&variable, || match name.as_bytes().contains(&0) {
            true => "the name of a variable".to_owned(),
            false => format!("the value of the variable {}", name.display()),
        })
    });
    let env = env.collect::<Result<Vec<CString>, _>>()?;
    let path = c_string(located.program.as_os_str(), || "the path of the program".to_owned())?;
    Ok(Exec::new(path, argv, env))
}

/// Returns `text` as a C string. If it contains a NUL byte, returns an error that calls it `what`.
fn c_string(text: &OsStr, what: impl FnOnce() -> String) -> Result<CString, SpawnError> {
    CString::new(text.as_bytes()).map_err(|_| SpawnError::NulByte { what: what() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_carriage_return_after_the_interpreter_is_an_error_unless_the_interpreter_ignores_it() {
        for head in
            ["#!/bin/sh\r\n", "#!/bin/sh -e\r\nx", "#! /usr/bin/env node\r\n", "#!/usr/bin/perl\r\n", "#!a\r"]
        {
            assert!(has_windows_line_end(head.as_bytes()), "{head:?}");
        }
        for head in [
            "#!/bin/sh\nx\r\n",
            "#!/usr/bin/perl -w\r\n",
            "#!/usr/bin/ruby2.7 -W\r\n",
            "\r\n",
            "x\r\n",
            "#!",
            "",
        ] {
            assert!(!has_windows_line_end(head.as_bytes()), "{head:?}");
        }
    }
}
