//! The only unsafe code: what runs between fork and exec, and the system calls no safe wrapper offers.
//!
//! After a fork in a program with threads, the child may only do what `signal-safety(7)` lists: no allocation, no
//! lock, no formatting. So everything the child needs (argv, environment, the path) is built before the fork in
//! [`Exec`], and the closures here only make system calls on it.
//!
//! Order in the child, where it matters:
//!
//! 1. All signal dispositions to default, except `SIGPIPE`: ignored until step 3 is over, since the guardian may be gone.
//! 2. Parent-death signal, *then* the check that the parent still lives. The other way round leaves a gap.
//! 3. The child announces itself to the guardian, before any of the program's own code can run.
//! 4. `SIGPIPE` to default, empty signal mask, every descriptor from 3 on to close-on-exec, the limit of open files.
//! 5. `execve` itself, and not the C library's `execvp`: that one runs whatever the kernel refuses with `/bin/sh`.
#![expect(
    unsafe_code,
    reason = "fork-to-exec code and raw system calls; nothing else in this crate is unsafe"
)]

use crate::signal::Signal;
use rustix::process::{Pid, Resource, Rlimit, setrlimit};
use std::ffi::{CString, c_char};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process;
use std::sync::Arc;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// `pidfd_send_signal(2)`: the signal goes to the process group that the descriptor's process leads (Linux 6.9).
const PIDFD_SIGNAL_PROCESS_GROUP: libc::c_uint = 1 << 2;

/// The highest signal number of the kernel, whatever part of it libc keeps for itself.
const LAST_SIGNAL: i32 = 64;

/// Room for `+ SLOT PID\n`: two numbers of at most ten digits and four more bytes.
const LINE_ROOM: usize = 24;

/// A program image to execute: everything `execve(2)` needs, allocated before the fork.
pub(crate) struct Exec {
    path: CString,
    /// Points into `_strings`, ends with null.
    argv: Vec<*const c_char>,
    /// Points into `_strings`, ends with null.
    envp: Vec<*const c_char>,
    /// Owns what the two lists point to; never touched after construction.
    _strings: Vec<CString>,
}

// SAFETY: the pointers lead into heap buffers owned by `_strings` of the same value, which are neither changed nor
// freed before the value is dropped; moving a `CString` does not move its buffer. Nothing has thread affinity.
unsafe impl Send for Exec {}
// SAFETY: as above; through a shared reference the data is only read.
unsafe impl Sync for Exec {}

impl Exec {
    /// `argv` includes the program's own name.
    pub(crate) fn new(path: CString, argv: Vec<CString>, env: Vec<CString>) -> Exec {
        let list = |strings: &[CString]| {
            strings.iter().map(|string| string.as_ptr()).chain([std::ptr::null()]).collect::<Vec<_>>()
        };
        let (argv_list, envp) = (list(&argv), list(&env));
        let mut strings = argv;
        strings.extend(env);
        Exec { path, argv: argv_list, envp, _strings: strings }
    }

    /// Replaces the calling process; returns only when the kernel refused.
    fn run(&self) -> io::Error {
        // SAFETY: path and all list entries are NUL-terminated strings that live in `self`; both lists end with null.
        // `execve` is async-signal-safe.
        unsafe { libc::execve(self.path.as_ptr(), self.argv.as_ptr(), self.envp.as_ptr()) };
        io::Error::last_os_error()
    }
}

/// What the child does between fork and exec, beyond what the standard library does (stdio, directory, own group).
pub(crate) struct ChildSetup {
    /// What it becomes.
    pub(crate) exec: Exec,
    /// Who must be its parent still.
    pub(crate) parent: Pid,
    /// The guardian's pipe, non-blocking, and the slot to announce itself under.
    pub(crate) guardian: Option<(RawFd, u32)>,
    /// The limit of open files it gets; none for the one of this program.
    pub(crate) files: Option<Rlimit>,
}

impl ChildSetup {
    /// Makes `command` do this in the child. The child is executed in here, so what the command says about program,
    /// arguments and environment has no effect.
    pub(crate) fn install(self, command: &mut process::Command) {
        // SAFETY: `child` only makes async-signal-safe system calls on memory that was allocated before the fork; it
        // neither allocates, locks nor panics. The descriptor in `guardian` is open until the spawn is over, because
        // the thread that forks owns it.
        unsafe { command.pre_exec(move || self.child()) };
    }

    fn child(&self) -> io::Result<()> {
        for signal in 1..=LAST_SIGNAL {
            let wanted = if signal == libc::SIGPIPE { libc::SIG_IGN } else { libc::SIG_DFL };
            set_disposition(signal, wanted);
        }
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
        if rustix::process::getppid() != Some(self.parent) {
            // The parent died before the line above: nobody is left to be told, or to be killed by.
            // SAFETY: `_exit` is async-signal-safe and runs nothing of the forked copy's.
            unsafe { libc::_exit(127) };
        }
        if let Some((pipe, slot)) = self.guardian {
            announce(pipe, slot, rustix::process::getpid());
        }
        set_disposition(libc::SIGPIPE, libc::SIG_DFL);
        empty_signal_mask();
        close_on_exec_from(3);
        if let Some(files) = &self.files {
            // Lowering a limit is not refused, and a higher one would be no reason not to run.
            let _refused = setrlimit(Resource::Nofile, *files);
        }
        Err(self.exec.run())
    }
}

/// Makes `command` the leader of a new session that the signals of terminals and service managers do not end.
pub(crate) fn detach_guardian(command: &mut process::Command) {
    let child = || {
        rustix::process::setsid()?;
        for signal in [
            libc::SIGHUP,
            libc::SIGINT,
            libc::SIGQUIT,
            libc::SIGTERM,
            libc::SIGPIPE,
            libc::SIGALRM,
            libc::SIGUSR1,
            libc::SIGUSR2,
            libc::SIGTSTP,
            libc::SIGTTIN,
            libc::SIGTTOU,
        ] {
            set_disposition(signal, libc::SIG_IGN);
        }
        empty_signal_mask();
        close_on_exec_from(3);
        Ok(())
    };
    // SAFETY: the closure captures nothing and only makes async-signal-safe system calls.
    unsafe { command.pre_exec(child) };
}

/// Writes `+ SLOT PID` to the guardian. A failure is of no matter: the parent writes the same line again.
fn announce(pipe: RawFd, slot: u32, pid: Pid) {
    let mut line = [0u8; LINE_ROOM];
    let mut end = LINE_ROOM;
    let mut put = |bytes: &[u8]| {
        for &byte in bytes.iter().rev() {
            end = end.saturating_sub(1);
            line[end] = byte;
        }
    };
    put(b"\n");
    digits(pid.as_raw_nonzero().get().unsigned_abs(), &mut put);
    put(b" ");
    digits(slot, &mut put);
    put(b"+ ");
    // SAFETY: the buffer is valid for its length; `write` is async-signal-safe. A closed or foreign descriptor can not
    // be hit: the forking thread holds the pipe open, and the child has a copy of its descriptor table.
    unsafe { libc::write(pipe, line[end..].as_ptr().cast(), LINE_ROOM - end) };
}

/// Puts the decimal digits of `number`, last one first, without allocating.
fn digits(mut number: u32, put: &mut impl FnMut(&[u8])) {
    loop {
        put(&[b'0' + (number % 10) as u8]);
        number /= 10;
        if number == 0 {
            return;
        }
    }
}

/// `sigaction(2)` to default or ignore. Refusals (`SIGKILL`, `SIGSTOP`, libc's own) are expected and of no matter.
fn set_disposition(signal: i32, disposition: libc::sighandler_t) {
    // SAFETY: all-zero is a valid `sigaction` (no flags, empty mask), the pointers are valid or null, and no Rust code
    // becomes a handler. `sigaction` is async-signal-safe.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = disposition;
        libc::sigaction(signal, &action, std::ptr::null_mut());
    }
}

fn empty_signal_mask() {
    // SAFETY: `sigemptyset` initialises the set before it is used; both calls are async-signal-safe.
    unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &none, std::ptr::null_mut());
    }
}

/// `close_range(2)` (Linux 5.9, this flag 5.11). On an older kernel nothing happens: what Rust opens closes itself, and
/// only what a C library opened without close-on-exec is inherited then.
fn close_on_exec_from(first: libc::c_uint) {
    // SAFETY: marks descriptors of the child's own table; touches no memory.
    unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
}

/// Signals every member of the group led by the process behind `pidfd`, by identity and not by number.
///
/// # Errors
/// `ESRCH` when the group has no member, not even a dead leader that was not reaped; `EPERM` when no member may be
/// signalled; `EINVAL` or `ENOSYS` when the kernel is too old (before 6.9).
pub(crate) fn signal_group_by_identity(pidfd: BorrowedFd<'_>, signal: Signal) -> io::Result<()> {
    send(pidfd, signal, PIDFD_SIGNAL_PROCESS_GROUP)
}

/// Signals the one process behind `pidfd`.
///
/// # Errors
/// `ESRCH` when it was reaped, `EPERM` when it may not be signalled.
pub(crate) fn signal_process(pidfd: BorrowedFd<'_>, signal: Signal) -> io::Result<()> {
    send(pidfd, signal, 0)
}

fn send(pidfd: BorrowedFd<'_>, signal: Signal, flags: libc::c_uint) -> io::Result<()> {
    let info = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: the descriptor is open for the call, a null info is allowed, no memory is touched.
    let done = unsafe {
        libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal.number(), info, flags)
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// `kill(2)` on a group by number. Only for a group whose leader is this program's child and not reaped yet.
///
/// # Errors
/// Those of `kill(2)`.
pub(crate) fn signal_group_by_number(group: Pid, signal: Signal) -> io::Result<()> {
    // SAFETY: touches no memory; `Pid` is positive, so the argument can not be -1 (everybody) unless it is pid 1, which
    // is never a child.
    let done = unsafe { libc::kill(-group.as_raw_nonzero().get(), signal.number()) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Whether the process is in the group, dead or alive. (Not by rustix: it does not expect the answer 0, which the kernel
/// gives for its own threads and for groups of another namespace.)
pub(crate) fn is_in_group(pid: Pid, group: Pid) -> bool {
    // SAFETY: touches no memory.
    let found = unsafe { libc::getpgid(pid.as_raw_nonzero().get()) };
    found == group.as_raw_nonzero().get()
}

/// Lets the current Tokio runtime watch a descriptor for becoming readable.
///
/// # Errors
/// When the runtime can watch no further descriptor.
///
/// # Panics
/// Outside of a Tokio runtime with I/O enabled.
pub(crate) fn watch_readable(fd: Arc<OwnedFd>) -> io::Result<AsyncFd<Arc<OwnedFd>>> {
    // SAFETY: an `OwnedFd` is open as long as it lives and always the same descriptor. The watch holds a share of it, and
    // nobody can take the descriptor out of a share.
    Ok(unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }?)
}
