//! What a new process does between its fork and its exec.
//!
//! The order of the steps matters:
//!
//! 1. The process keeps its standard streams and the pipe on which it answers, and closes everything else. So a process
//!    that hangs before its exec, for example on a dead mount, keeps no stream of another program open.
//! 2. It gives up the terminal, and leads a process group of its own.
//! 3. It sets the parent-death signal, *then* checks that the guardian is alive. In the other order the guardian could
//!    die unnoticed between the two.
//! 4. It sets limits, mask and mark, and only then enters the folder and executes the program, which can both hang.
//!
//! If a step fails, the process writes the step and the error number to the pipe. The exec closes the pipe without a
//! word.

use crate::memory::map_for_exec;
use crate::message::Step;
use crate::os::{self, Pointers};
use crate::spec::{SEALS, SpecBytes};
use crate::wire::{step_from_byte, step_to_byte};
use rustix::fs::{Mode, fcntl_get_seals, fstat};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, Signal, getrlimit, set_parent_process_death_signal, setrlimit};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};
use std::os::fd::BorrowedFd;

/// The exit code of a process that could not execute its program.
pub(crate) const NOT_EXECUTED: i32 = 127;

/// The bytes of an answer: the step and the error number.
pub(crate) const ANSWER_BYTES: usize = 5;

/// A failed step, and the error number.
type Failed = (Step, i32);

/// What a new process needs.
pub(crate) struct Launch<'a> {
    pub(crate) spec: BorrowedFd<'a>,
    /// The folder, if the spec names none.
    pub(crate) folder: Option<BorrowedFd<'a>>,
    /// Above the standard descriptors, so that none of them is overwritten before it is used.
    pub(crate) streams: [BorrowedFd<'a>; 3],
    /// The pipe on which the process answers.
    pub(crate) answer: BorrowedFd<'a>,
    pub(crate) guardian: u32,
    pub(crate) mark: u64,
    /// The limit of open files with which the guardian was started.
    pub(crate) open_files: Rlimit,
}

impl Launch<'_> {
    /// Executes the program. Returns only if that failed, after the answer was written.
    pub(crate) fn run(&self) -> i32 {
        match self.take_over() {
            Err(failed) => answer(self.answer, failed),
            Ok(spec) => {
                let Err(failed) = self.execute(&spec);
                // Only this descriptor is left.
                answer(os::kept_descriptor(), failed);
            }
        }
        NOT_EXECUTED
    }

    /// Takes what the guardian gives: the spec, the folder and the streams. Everything else is closed.
    fn take_over(&self) -> Result<SpecBytes<'static>, Failed> {
        let spec = self.read_spec()?;
        if let Some(folder) = self.folder {
            rustix::process::fchdir(folder).map_err(|errno| (Step::Folder, errno.raw_os_error()))?;
        }
        self.take_streams()?;
        Ok(spec)
    }

    fn execute(&self, spec: &SpecBytes<'_>) -> Result<std::convert::Infallible, Failed> {
        os::give_up_terminal();
        os::make_group(0);
        self.tie_to_guardian()?;
        self.set_limits(spec)?;
        if let Some(folder) = spec.folder {
            rustix::process::chdir(folder).map_err(|errno| (Step::Folder, errno.raw_os_error()))?;
        }
        let no_memory = |_| (Step::Setup, libc::ENOMEM);
        let arguments = Pointers::new(spec.arguments.count, spec.arguments).map_err(no_memory)?;
        let environment = Pointers::new(spec.environment.count, spec.environment).map_err(no_memory)?;
        os::default_signals();
        Err((Step::Exec, os::exec(spec.program, &arguments, &environment)))
    }

    /// Reads the spec, and checks that the program gets the rights that the client has now.
    fn read_spec(&self) -> Result<SpecBytes<'static>, Failed> {
        let unreadable = |errno: Errno| (Step::Spec, errno.raw_os_error());
        let seals = fcntl_get_seals(self.spec).map_err(unreadable)?;
        if !seals.contains(SEALS) {
            return Err((Step::Spec, libc::EPERM));
        }
        let bytes = usize::try_from(fstat(self.spec).map_err(unreadable)?.st_size).unwrap_or(0);
        let content = map_for_exec(self.spec, bytes).map_err(|_| (Step::Spec, libc::ENOMEM))?;
        let spec = SpecBytes::read(content).ok_or((Step::Spec, libc::EINVAL))?;
        // The client may have given up rights after it started the guardian. Its programs must not have more than it.
        let (user, group) = (rustix::process::geteuid(), rustix::process::getegid());
        if (user.as_raw(), group.as_raw()) != (spec.user, spec.group) {
            return Err((Step::Identity, libc::EPERM));
        }
        Ok(spec)
    }

    fn take_streams(&self) -> Result<(), Failed> {
        let failed = |errno: Errno| (Step::Streams, errno.raw_os_error());
        let [stdin, stdout, stderr] = self.streams;
        dup2_stdin(stdin).map_err(failed)?;
        dup2_stdout(stdout).map_err(failed)?;
        dup2_stderr(stderr).map_err(failed)?;
        os::keep_only(self.answer).map_err(|errno| (Step::Streams, errno))
    }

    fn tie_to_guardian(&self) -> Result<(), Failed> {
        set_parent_process_death_signal(Some(Signal::KILL))
            .map_err(|errno| (Step::Setup, errno.raw_os_error()))?;
        let parent = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get().unsigned_abs());
        if parent == Some(self.guardian) { Ok(()) } else { Err((Step::Setup, libc::ESRCH)) }
    }

    fn set_limits(&self, spec: &SpecBytes<'_>) -> Result<(), Failed> {
        let files = spec
            .open_files
            .map_or(self.open_files, |(soft, hard)| Rlimit { current: finite(soft), maximum: finite(hard) });
        setrlimit(Resource::Nofile, files).map_err(|errno| (Step::Setup, errno.raw_os_error()))?;
        if let Some(umask) = spec.umask {
            rustix::process::umask(Mode::from_raw_mode(umask));
        }
        let locks = getrlimit(Resource::Locks);
        // A refusal means that the system administrator has lowered the hard limit. The program is then known by its
        // process group alone.
        let _unmarked =
            setrlimit(Resource::Locks, Rlimit { current: Some(self.mark), maximum: locks.maximum });
        Ok(())
    }
}

/// Returns a limit as the kernel's interface expects it: `u64::MAX` is no limit.
fn finite(limit: u64) -> Option<u64> {
    Some(limit).filter(|limit| *limit != u64::MAX)
}

/// Writes why the process does not execute its program.
fn answer(pipe: BorrowedFd<'_>, (step, errno): Failed) {
    let [a, b, c, d] = errno.to_le_bytes();
    let _guardian_is_dead = rustix::io::write(pipe, &[step_to_byte(step), a, b, c, d]);
}

/// Reads such an answer.
pub(crate) fn read_answer(bytes: &[u8]) -> Option<Failed> {
    let (step, errno) = bytes.split_first()?;
    Some((step_from_byte(*step)?, i32::from_le_bytes(*errno.first_chunk()?)))
}
