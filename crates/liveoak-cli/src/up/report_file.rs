//! The file of `--report`.
//!
//! It is prepared first, even before the file of the tree is read. So a wrong path is an error before anything starts, and
//! no report of an earlier run stays after a crash or an error. The preparation depends on the kind of the path:
//!
//! | the path is | at the start | at the end |
//! |---|---|---|
//! | a regular file, or nothing yet | removed | written under another name in the same folder, and renamed |
//! | a regular file that cannot be removed | emptied | rewritten in place |
//! | `-`, or the file to which stdout or stderr is redirected | nothing | appended to the stream by its writer |
//! | another descriptor (`/dev/fd/N`), a device | opened | written to |
//! | a FIFO, a socket | nothing | opened and written to, once a reader is there |

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Seek as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{Access, OFlags, access};
use rustix::io::Errno;
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};

use super::descriptor::{FileId, Written, poll_writable, verdict};
use super::finish::NO_PROGRESS;
use super::outputs::Outputs;
use super::writer::StreamWriter;

/// How many bytes are written at once to a FIFO, a device or a socket that may block.
const CHUNK: usize = 4096;

/// The time between two checks for a reader of a FIFO. The system has no event for this.
const LOOK: Duration = Duration::from_millis(50);

/// The largest number of symbolic links that are followed, as in the kernel.
const MAX_LINKS: usize = 40;

/// The file of `--report`, ready to be written.
pub(crate) struct ReportFile {
    /// The path as the user named it.
    path: PathBuf,
    target: Target,
}

/// The kind of the path.
enum Target {
    /// The file to which an output is redirected.
    Stream(StreamWriter),
    /// A regular file that was removed, or nothing yet.
    Replaced {
        at: PathBuf,
        before: Option<Metadata>,
    },
    /// A regular file that cannot be removed, for example because it is a mount point.
    InPlace(File),
    /// An open descriptor: of a device, or the descriptor that `/dev/fd/N` names.
    Open(OwnedFd),
    Fifo(PathBuf),
    Socket(PathBuf),
}

impl ReportFile {
    /// Prepares the file. `tree` is the file of the tree, which a report must not replace.
    ///
    /// # Errors
    /// Returns a sentence that says why a report cannot be written to this path.
    pub(crate) fn open(path: &Path, outputs: &Outputs, tree: &Path) -> Result<Self, String> {
        let target = Target::of(path, outputs, tree).map_err(|error| refused(path, &error))?;
        Ok(Self { path: path.to_path_buf(), target })
    }

    /// Returns the path as the user named it.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the writer if the report is appended to an output.
    pub(crate) fn stream(&self) -> Option<&StreamWriter> {
        match &self.target {
            Target::Stream(stream) => Some(stream),
            _ => None,
        }
    }

    /// Returns `true` if the write may wait for a reader.
    pub(crate) fn may_wait(&self) -> bool {
        matches!(self.target, Target::Open(_) | Target::Fifo(_) | Target::Socket(_))
    }

    /// Writes the report. May wait up to [`NO_PROGRESS`] for a reader that does not read.
    ///
    /// # Errors
    /// Returns a sentence that says why the report could not be written.
    pub(crate) fn write(self, text: &str) -> Result<(), String> {
        let bytes = text.as_bytes();
        let written = match self.target {
            Target::Stream(stream) => {
                stream.text(bytes);
                Ok(())
            }
            Target::Replaced { at, before } => replace(&at, before.as_ref(), bytes),
            Target::InPlace(file) => rewrite(file, bytes),
            Target::Open(fd) => write_patiently(&fd, bytes),
            Target::Fifo(at) => open_fifo(&at).and_then(|fifo| write_patiently(&fifo, bytes)),
            Target::Socket(at) => UnixStream::connect(at).and_then(|socket| write_patiently(&socket, bytes)),
        };
        written.map_err(|error| refused(&self.path, &error))
    }

    /// Returns the sentence that says why the report could not be written.
    pub(crate) fn refusal(path: &Path, why: impl std::fmt::Display) -> String {
        format!("cannot write the report to {}: {why}", path.display())
    }
}

/// Returns the file that `--report` names on a command line that could not be read.
pub(crate) fn named_in(args: impl Iterator<Item = OsString>) -> Option<PathBuf> {
    let args: Vec<_> = args.skip(1).collect();
    if args.first().is_none_or(|command| command != "up") {
        return None;
    }
    let prefix = b"--report=";
    let path = args.iter().enumerate().find_map(|(at, arg)| {
        if arg == "--report" {
            return args.get(at + 1).map(|value| value.as_os_str());
        }
        let bytes = arg.as_encoded_bytes();
        let value = std::str::from_utf8(bytes.strip_prefix(prefix)?).ok()?;
        Some(OsStr::new(value))
    });
    path.filter(|path| !path.as_encoded_bytes().starts_with(b"-")).map(PathBuf::from)
}

/// Removes the report of an earlier run when nothing can be started. Only a regular file is removed. This needs neither a
/// descriptor nor a thread.
pub(crate) fn remove_stale(path: &Path) {
    let is_output = |meta: &Metadata| {
        let id = Some(FileId::new(meta.dev(), meta.ino()));
        [rustix::stdio::stdout(), rustix::stdio::stderr()].into_iter().any(|fd| FileId::of_writable(fd) == id)
    };
    let Ok(at) = behind_links(path) else { return };
    if descriptor_number(&at).is_none()
        && fs::metadata(&at).is_ok_and(|meta| meta.is_file() && !is_output(&meta))
    {
        // An error is ignored: the caller reports why nothing can be started.
        let _ = fs::remove_file(at);
    }
}

fn refused(path: &Path, error: &io::Error) -> String {
    ReportFile::refusal(path, error)
}

impl Target {
    fn of(path: &Path, outputs: &Outputs, tree: &Path) -> io::Result<Self> {
        let stdout = || Target::Stream(outputs.stdout.with_room(super::writer::Room::Run));
        if path == Path::new("-") {
            return Ok(stdout());
        }
        let at = behind_links(path)?;
        let stream =
            |meta: &Metadata| outputs.writer_to(FileId::new(meta.dev(), meta.ino())).map(Target::Stream);
        if let Some(number) = descriptor_number(&at) {
            return match number {
                1 => Ok(stdout()),
                2 => Ok(Target::Stream(outputs.stderr.with_room(super::writer::Room::Run))),
                _ => match stream(&fs::metadata(&at)?) {
                    Some(stream) => Ok(stream),
                    None => inherited(number, &at).map(Target::Open),
                },
            };
        }
        match fs::metadata(&at) {
            Ok(meta) => match stream(&meta) {
                Some(stream) => Ok(stream),
                None => Self::existing(at, meta, tree),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                refuse_folder(path)?;
                // Creating another file checks that the folder exists and is writable.
                let (file, temporary) = create_beside(&at)?;
                drop(file);
                fs::remove_file(temporary)?;
                Ok(Target::Replaced { at, before: None })
            }
            Err(error) => Err(error),
        }
    }

    fn existing(at: PathBuf, meta: Metadata, tree: &Path) -> io::Result<Self> {
        let kind = meta.file_type();
        if kind.is_dir() {
            return Err(Errno::ISDIR.into());
        }
        if fs::metadata(tree).is_ok_and(|tree| (tree.dev(), tree.ino()) == (meta.dev(), meta.ino())) {
            return Err(io::Error::other("this is the file of the tree"));
        }
        if kind.is_fifo() || kind.is_socket() {
            access(&at, Access::WRITE_OK)?;
            return Ok(if kind.is_fifo() { Target::Fifo(at) } else { Target::Socket(at) });
        }
        if !kind.is_file() {
            let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
            let device = OpenOptions::new().write(true).custom_flags(flags.bits().cast_signed()).open(&at)?;
            return Ok(Target::Open(device.into()));
        }
        match fs::remove_file(&at) {
            Ok(()) => Ok(Target::Replaced { at, before: Some(meta) }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Ok(Target::Replaced { at, before: Some(meta) })
            }
            // A read-only folder, or a mount point.
            Err(_) => Ok(Target::InPlace(OpenOptions::new().write(true).truncate(true).open(&at)?)),
        }
    }
}

/// Returns the path to which symbolic links lead, even if no file is there yet. Links of `/proc` to descriptors are not
/// followed.
fn behind_links(path: &Path) -> io::Result<PathBuf> {
    let mut at = path.to_path_buf();
    for _ in 0..MAX_LINKS {
        if descriptor_number(&at).is_some() {
            return Ok(at);
        }
        match fs::read_link(&at) {
            Ok(link) => at = at.parent().map_or_else(|| link.clone(), |folder| folder.join(&link)),
            // This is not a link, or there is no file.
            Err(_) => return Ok(at),
        }
    }
    Err(Errno::LOOP.into())
}

/// Returns the number if the path names a descriptor of this process, as `/dev/fd/3` and `/proc/self/fd/3` do.
fn descriptor_number(path: &Path) -> Option<i32> {
    match path.to_str() {
        Some("/dev/stdout") => return Some(1),
        Some("/dev/stderr") => return Some(2),
        _ => {}
    }
    let number = path.file_name()?.to_str()?.parse().ok()?;
    let folder = path.parent()?;
    let own = PathBuf::from(format!("/proc/{}/fd", std::process::id()));
    let names_it =
        folder == Path::new("/dev/fd") || folder == own || folder.canonicalize().is_ok_and(|it| it == own);
    names_it.then_some(number)
}

/// Returns a copy of an inherited descriptor. It writes where the other programs that have the descriptor write.
fn inherited(number: i32, path: &Path) -> io::Result<OwnedFd> {
    let copied = pidfd_open(getpid(), PidfdFlags::empty())
        .and_then(|own| pidfd_getfd(own, number, PidfdGetfdFlags::empty()));
    match copied {
        Ok(fd) => Ok(fd),
        Err(Errno::BADF) => Err(Errno::BADF.into()),
        // Some sandboxes refuse the call. Opening the file again has almost the same effect.
        Err(_) => Ok(OpenOptions::new().append(true).open(path)?.into()),
    }
}

/// Refuses a path that can only be a folder.
fn refuse_folder(path: &Path) -> io::Result<()> {
    let bytes = path.as_os_str().as_encoded_bytes();
    match bytes.last() {
        None => Err(Errno::NOENT.into()),
        Some(b'/') => Err(Errno::ISDIR.into()),
        Some(_) => Ok(()),
    }
}

/// Creates a file in the folder of `at`, which can be renamed to `at`.
fn create_beside(at: &Path) -> io::Result<(File, PathBuf)> {
    let temporary = at.with_file_name(format!(".liveoak-report-{}.tmp", std::process::id()));
    let file = OpenOptions::new().write(true).create_new(true).open(&temporary)?;
    Ok((file, temporary))
}

/// Writes a new file and gives it the name `at`, with permissions and owner of the file that was there `before`.
fn replace(at: &Path, before: Option<&Metadata>, bytes: &[u8]) -> io::Result<()> {
    let Ok((mut file, temporary)) = create_beside(at) else {
        return rewrite(open_in_place(at)?, bytes);
    };
    if let Some(before) = before {
        // If the system refuses this, the report has the permissions of a new file of this user.
        let _ = std::os::unix::fs::fchown(&file, Some(before.uid()), Some(before.gid()));
        let _ = file.set_permissions(fs::Permissions::from_mode(before.mode() & 0o777));
    }
    let written = file.write_all(bytes);
    drop(file);
    let renamed = written.is_ok() && fs::rename(&temporary, at).is_ok();
    if !renamed {
        // Remove the incomplete file. Only the error of the write is reported.
        let _ = fs::remove_file(&temporary);
        written?;
        return rewrite(open_in_place(at)?, bytes);
    }
    Ok(())
}

fn open_in_place(at: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(false).open(at)
}

/// Replaces the content of a file. If that fails, the file is empty: half a report could be taken for a whole one.
fn rewrite(mut file: File, bytes: &[u8]) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    let written = file.write_all(bytes);
    if written.is_err() {
        let _ = file.set_len(0);
    }
    written
}

/// Opens a FIFO. Waits up to [`NO_PROGRESS`] for a reader.
fn open_fifo(at: &Path) -> io::Result<File> {
    let begun = Instant::now();
    loop {
        let flags = OFlags::NONBLOCK.bits().cast_signed();
        match OpenOptions::new().write(true).custom_flags(flags).open(at) {
            Err(error) if error.raw_os_error() == Some(Errno::NXIO.raw_os_error()) => {
                if begun.elapsed() > NO_PROGRESS {
                    return Err(io::Error::other("this FIFO has no reader"));
                }
                std::thread::sleep(LOOK);
            }
            opened => return opened,
        }
    }
}

/// Writes all bytes. Fails if the reader reads nothing for [`NO_PROGRESS`].
fn write_patiently(fd: impl AsFd, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        if poll_writable(fd.as_fd(), Some(NO_PROGRESS)).is_none() {
            return Err(io::Error::other("its reader reads nothing"));
        }
        match verdict(rustix::io::write(&fd, &bytes[..bytes.len().min(CHUNK)])) {
            Written::Bytes(written) => bytes = &bytes[written..],
            Written::Interrupted => {}
            Written::Full => std::thread::sleep(LOOK),
            Written::Refused(error) | Written::Ended(error) => return Err(error.into()),
        }
    }
    Ok(())
}
