//! Finds the program file of a command line, and explains why the kernel refused it.
//!
//! The file is found here and not by the C library, so that there is one rule and errors name the path. A program that is
//! found may still fail to start: then [`explain`] translates the kernel's error number into a [`SpawnError`].

use crate::command::CommandLine;
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
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
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

/// Looks up the program of `command` on a thread of its own, and builds what its exec needs.
///
/// # Cancel safety
/// Cancel safe.
pub(crate) async fn prepare(command: &Arc<CommandLine>) -> Result<Prepared, SpawnError> {
    let theirs = Arc::clone(command);
    look_up(command, move || {
        let located = locate(&theirs)?;
        let exec = build_exec(&theirs, &located)?;
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
fn locate(command: &CommandLine) -> Result<Located, SpawnError> {
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
        search(command, cwd.as_deref())?
    };
    // A file whose server is gone hangs here, and not in the child process before its exec.
    let _unreadable = head(&program);
    Ok(Located { program, cwd })
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
fn search(command: &CommandLine, cwd: Option<&Path>) -> Result<PathBuf, SpawnError> {
    let searched = command.search_path().unwrap_or_else(|| DEFAULT_PATH.into());
    let mut denied = None;
    for entry in std::env::split_paths(&searched) {
        // An empty or relative PATH entry starts at the program's cwd, as for a shell there.
        let candidate = absolute(cwd, &entry.join(&command.program))?;
        match usable(&candidate) {
            Ok(()) => return Ok(candidate),
            Err(error @ SpawnError::NotExecutable { .. }) => denied = denied.or(Some(error)),
            Err(_) => {}
        }
    }
    Err(denied.unwrap_or(SpawnError::NotInPath { program: command.program.clone(), searched }))
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

/// Returns the interpreter in the `#!` line of a script, as the kernel reads it.
fn shebang(path: &Path) -> Option<PathBuf> {
    let head = head(path)?;
    let line = head.strip_prefix(b"#!")?.split(|&byte| byte == b'\n').next()?;
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let word = line.split(blank).find(|word| !word.is_empty()).unwrap_or_default();
    Some(PathBuf::from(OsString::from_vec(word.to_vec())))
}

/// Returns everything that the child process passes to `execve(2)`.
fn build_exec(command: &CommandLine, located: &Located) -> Result<Exec, SpawnError> {
    let mut argv = vec![c_string(&command.program, || "the name of the program".to_owned())?];
    for (number, argument) in (1..).zip(&command.args) {
        argv.push(c_string(argument, || format!("argument {number}"))?);
    }
    let env = command.environment().into_iter().map(|(name, value)| {
        let mut variable = OsString::with_capacity(name.len() + 1 + value.len());
        variable.push(&name);
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

/// Returns `text` as a C string, or an error that says `what` it is if it contains a NUL byte.
fn c_string(text: &OsStr, what: impl FnOnce() -> String) -> Result<CString, SpawnError> {
    CString::new(text.as_bytes()).map_err(|_| SpawnError::NulByte { what: what() })
}
