//! The only unsafe code of this crate: what runs between fork and exec, and system calls without a safe wrapper.
//!
//! After a fork in a program with threads, the child process may only do what `signal-safety(7)` lists: it must not
//! allocate, lock or format. Therefore everything that it needs (arguments, environment, path) is built before the fork
//! in [`Exec`], and the closures here only make system calls on it. Code that needs no `unsafe` belongs into another
//! file.
//!
//! The order of steps in the child process matters:
//!
//! 1. Set all signal dispositions to default, but ignore `SIGPIPE` until step 4 is over, because the guardian may be
//!    dead.
//! 2. Give up the controlling terminal. The standard library has already given the child process its own process group.
//! 3. Set the parent-death signal, *then* check that the parent is alive. In the other order the parent could die
//!    unnoticed between the two.
//! 4. Write the guardian's line, before any code of the program can run.
//! 5. Set `SIGPIPE` to default, empty the signal mask, mark every descriptor from 3 on close-on-exec, and set the limit
//!    of open files.
//! 6. Call `execve`. The C library's `execvp` is not used, because it runs files that the kernel refuses with
//!    `/bin/sh`.
#![expect(
    unsafe_code,
    reason = "fork-to-exec code and raw system calls; nothing else in this crate is unsafe"
)]

use crate::signal::Signal;
use rustix::process::{Pid, Resource, Rlimit, setrlimit};
use std::ffi::{CString, c_char};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// `pidfd_send_signal(2)`: the signal goes to the process group that the descriptor's process leads (Linux 6.9).
const PIDFD_SIGNAL_PROCESS_GROUP: libc::c_uint = 1 << 2;

/// The highest signal number of the kernel, including the numbers that libc reserves.
const LAST_SIGNAL: i32 = 64;

/// The signals that the C library uses for threads (`nptl(7)`; musl one more). The current process may have been
/// started with one of them ignored.
const RESERVED_SIGNALS: [i32; 3] = [32, 33, 34];

/// The size of a set of 64 signals, as `rt_sigaction(2)` expects it.
const KERNEL_SIGSET_BYTES: usize = 8;

/// The descriptors that are marked on a kernel without `close_range(2)`. The system gives the lowest free number, so a
/// process has a higher one only if it has that many open files. Marking them takes some milliseconds for each start.
const MARKED_ONE_BY_ONE: RawFd = 1 << 16;

/// Room for `+ SLOT PID\n`: two numbers of at most ten digits and four more bytes.
const LINE_ROOM: usize = 24;

/// What `execve(2)` needs, allocated before the fork.
pub(crate) struct Exec {
    path: CString,
    /// The arguments. Points into `_strings`, ends with null.
    argv: Vec<*const c_char>,
    /// The environment. Points into `_strings`, ends with null.
    envp: Vec<*const c_char>,
    /// Owns the strings that both lists point to; never changed after construction.
    _strings: Vec<CString>,
}

// SAFETY: the pointers lead into heap buffers owned by `_strings` of the same value, which are neither changed nor
// freed before the value is dropped; moving a `CString` does not move its buffer. Nothing has thread affinity.
unsafe impl Send for Exec {}
// SAFETY: as above; through a shared reference the data is only read.
unsafe impl Sync for Exec {}

impl Exec {
    /// Creates the value. `argv` includes the program's own name.
    pub(crate) fn new(path: CString, argv: Vec<CString>, env: Vec<CString>) -> Exec {
        let list = |strings: &[CString]| {
            strings.iter().map(|string| string.as_ptr()).chain([std::ptr::null()]).collect::<Vec<_>>()
        };
        let (argv_list, envp) = (list(&argv), list(&env));
        let mut strings = argv;
        strings.extend(env);
        Exec { path, argv: argv_list, envp, _strings: strings }
    }

    /// Replaces the calling process. Returns only if the kernel refused, with its error.
    fn run(&self) -> io::Error {
        // SAFETY: path and all list entries are NUL-terminated strings that live in `self`; both lists end with null.
        // `execve` is async-signal-safe.
        unsafe { libc::execve(self.path.as_ptr(), self.argv.as_ptr(), self.envp.as_ptr()) };
        io::Error::last_os_error()
    }
}

/// What the child process does between fork and exec, in addition to the standard library (stdio, directory, own
/// group).
pub(crate) struct ChildSetup {
    /// The program to execute.
    pub(crate) exec: Exec,
    /// The process id that its parent must have.
    pub(crate) parent: Pid,
    /// The guardian's pipe, non-blocking, and the slot of the new process group.
    pub(crate) guardian: Option<(RawFd, u32)>,
    /// Its limit of open files; `None` to inherit the limit of the current process.
    pub(crate) open_file_limit: Option<Rlimit>,
}

impl ChildSetup {
    /// Makes `command` run this setup in the child process. The setup executes the program itself, so program,
    /// arguments and environment of `command` have no effect.
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
        RESERVED_SIGNALS.into_iter().for_each(restore_reserved_signal);
        give_up_terminal();
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
        if rustix::process::getppid() != Some(self.parent) {
            // The parent died before the parent-death signal was set: no error can be reported, and nothing would kill us.
            // SAFETY: `_exit` is async-signal-safe and runs no code of the forked copy (destructors, exit handlers).
            unsafe { libc::_exit(127) };
        }
        if let Some((pipe, slot)) = self.guardian {
            write_guardian_line(pipe, slot, rustix::process::getpid());
        }
        set_disposition(libc::SIGPIPE, libc::SIG_DFL);
        empty_signal_mask();
        close_on_exec_from(3);
        if let Some(limit) = &self.open_file_limit {
            // Lowering a limit is never refused. If it were, the program could still run with the higher limit.
            let _refused = setrlimit(Resource::Nofile, *limit);
        }
        Err(self.exec.run())
    }
}

/// Detaches the calling process from its controlling terminal, if it has one. Other processes keep the terminal.
///
/// The process group of a program is never in the foreground of the terminal. With a controlling terminal, the kernel
/// would stop the program at its first read or change of the terminal, until another process continues it. Without one,
/// `/dev/tty` cannot be opened, and the program can say so. A session for each program would do the same, but a session
/// leader acquires each terminal that it opens (a serial port, for example), and has a scheduling group of its own.
///
/// The caller was just forked, so it does not lead a session. In this case `TIOCNOTTY` changes only the caller
/// (`ioctl_tty(2)`).
fn give_up_terminal() {
    // SAFETY: `open`, `ioctl` and `close` are system calls that are async-signal-safe. The path is a NUL-terminated
    // constant, `TIOCNOTTY` takes no argument, and only the descriptor that was opened here is closed.
    unsafe {
        let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_NONBLOCK | libc::O_CLOEXEC;
        let terminal = libc::open(c"/dev/tty".as_ptr(), flags);
        if terminal >= 0 {
            libc::ioctl(terminal, libc::TIOCNOTTY);
            libc::close(terminal);
        } else {
            // Without a controlling terminal these calls fail and change nothing. With one, `/dev/tty` is missing here,
            // and one of the standard descriptors may be the terminal.
            for descriptor in 0..3 {
                libc::ioctl(descriptor, libc::TIOCNOTTY);
            }
        }
    }
}

/// Returns the process group in the foreground of the terminal `terminal`. Returns `None` if it is not the controlling
/// terminal of the current process, or has no such group.
pub(crate) fn foreground_group(terminal: BorrowedFd<'_>) -> Option<Pid> {
    // SAFETY: the descriptor is open for the call; no memory is touched.
    Pid::from_raw(unsafe { libc::tcgetpgrp(terminal.as_raw_fd()) }.max(0))
}

/// Makes `command` the leader of a new session that ignores the signals of terminals and service managers.
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

/// Writes `+ SLOT PID` to the guardian. A failure is ignored, because the parent writes the same line again.
fn write_guardian_line(pipe: RawFd, slot: u32, pid: Pid) {
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
    // SAFETY: the buffer is valid for its length; `write` is async-signal-safe. The descriptor is the
    // guardian's pipe: the forking thread holds it open, and the child process has a copy of its descriptor table.
    unsafe { libc::write(pipe, line[end..].as_ptr().cast(), LINE_ROOM - end) };
}

/// Passes the decimal digits of `number` to `put`, the last one first, without allocating.
fn digits(mut number: u32, put: &mut impl FnMut(&[u8])) {
    loop {
        put(&[b'0' + (number % 10) as u8]);
        number /= 10;
        if number == 0 {
            return;
        }
    }
}

/// Sets a signal to default or ignore with `sigaction(2)`. Refusals (`SIGKILL`, `SIGSTOP`, signals of libc) are
/// expected.
fn set_disposition(signal: i32, disposition: libc::sighandler_t) {
    // SAFETY: all-zero is a valid `sigaction` (no flags, empty mask), the pointers are valid or null, and no Rust code
    // becomes a handler. `sigaction` is async-signal-safe.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = disposition;
        libc::sigaction(signal, &action, std::ptr::null_mut());
    }
}

/// Gives `SIGCHLD` its default action if it is ignored. The current process may have been started with an ignored
/// `SIGCHLD`, and then the kernel would keep no exit status of its child processes (`wait(2)`).
pub(crate) fn keep_exit_statuses() {
    // SAFETY: all-zero is a valid `sigaction`, and the pointers are valid or null.
    let ignored = unsafe {
        let mut now: libc::sigaction = std::mem::zeroed();
        let known = libc::sigaction(libc::SIGCHLD, std::ptr::null(), &mut now) == 0;
        known && (now.sa_sigaction == libc::SIG_IGN || now.sa_flags & libc::SA_NOCLDWAIT != 0)
    };
    if ignored {
        set_disposition(libc::SIGCHLD, libc::SIG_DFL);
    }
}

/// The descriptor that [`on_child_exit`] writes to; -1 for none.
static CHILD_EXIT: AtomicI32 = AtomicI32::new(-1);

/// Makes `SIGCHLD` write to the event counter `wake`, and lets the calling thread receive it. If another handler is
/// installed, it stays.
pub(crate) fn wake_at_child_exits(wake: OwnedFd) {
    // The handler may write to the descriptor at any time, so it is never closed.
    CHILD_EXIT.store(wake.into_raw_fd(), Ordering::SeqCst);
    // SAFETY: all-zero is a valid `sigaction`, the pointers are valid or null, the handler has the signature of a handler
    // without `SA_SIGINFO`, and `sigemptyset` initialises the set before it is used. Only this thread's mask is changed.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        if libc::sigaction(libc::SIGCHLD, std::ptr::null(), &mut action) == 0
            && action.sa_sigaction == libc::SIG_DFL
        {
            action.sa_sigaction = on_child_exit as *const () as libc::sighandler_t;
            action.sa_flags = libc::SA_RESTART | libc::SA_NOCLDSTOP;
            libc::sigaction(libc::SIGCHLD, &action, std::ptr::null_mut());
        }
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, libc::SIGCHLD);
        libc::pthread_sigmask(libc::SIG_UNBLOCK, &set, std::ptr::null_mut());
    }
}

/// Handles `SIGCHLD`.
extern "C" fn on_child_exit(_: libc::c_int) {
    let one = 1u64;
    // SAFETY: `write` is async-signal-safe, the buffer is valid for its length, and the descriptor is never closed. The
    // address of this thread's `errno` is valid as long as the thread runs; the interrupted code may be about to read it.
    unsafe {
        let errno = libc::__errno_location();
        let saved = *errno;
        libc::write(CHILD_EXIT.load(Ordering::SeqCst), (&raw const one).cast(), size_of::<u64>());
        *errno = saved;
    }
}

/// Returns a child process that is dead and was not reaped, if there is one. Does not reap it.
pub(crate) fn dead_child() -> Option<Pid> {
    // SAFETY: all-zero is a valid `siginfo_t`; the pointer is valid. `si_pid` is set for each child that is reported, and
    // stays zero if there is none (`waitid(2)`).
    let pid = unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        match libc::waitid(libc::P_ALL, 0, &mut info, options) {
            0 => info.si_pid(),
            _ => 0,
        }
    };
    Pid::from_raw(pid)
}

/// Sets a signal to its default action, although the C library does not let programs change this signal.
fn restore_reserved_signal(signal: i32) {
    let default = [0u64; 8];
    // SAFETY: all-zero is the default action in the kernel's form on each architecture, and the array is larger than that.
    // The kernel reads it and writes nothing. A raw system call is async-signal-safe.
    unsafe {
        let old = std::ptr::null::<u8>();
        libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), old, KERNEL_SIGSET_BYTES);
    }
}

/// Ignores the signals that a write can raise, SIGPIPE and SIGXFSZ, so that such a write fails with an error instead
/// (`EPIPE`, `EFBIG`). Call this only in a program that handles these errors. The programs that it starts have the
/// default action.
pub fn ignore_write_signals() {
    set_disposition(libc::SIGPIPE, libc::SIG_IGN);
    set_disposition(libc::SIGXFSZ, libc::SIG_IGN);
}

fn empty_signal_mask() {
    // SAFETY: `sigemptyset` initialises the set before it is used; both calls are async-signal-safe.
    unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &none, std::ptr::null_mut());
    }
}

/// Marks all descriptors from `first` on close-on-exec with `close_range(2)` (Linux 5.9, this flag 5.11). If the kernel or
/// a system call filter refuses that, marks the first [`MARKED_ONE_BY_ONE`] one after another.
fn close_on_exec_from(first: libc::c_uint) {
    // SAFETY: marks descriptors of the child's own table; touches no memory.
    let refused = unsafe {
        libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) != 0
    };
    if refused {
        mark_one_by_one(first.cast_signed());
    }
}

/// Marks descriptors close-on-exec without `close_range(2)`.
fn mark_one_by_one(first: RawFd) {
    for descriptor in first..MARKED_ONE_BY_ONE {
        // SAFETY: touches no memory; `fcntl` is async-signal-safe, and refuses a descriptor that is not open.
        unsafe { libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
}

/// Signals every member of the process group that the process behind `pidfd` leads, by identity and not by number.
///
/// # Errors
/// Those of `kill(2)`; `EINVAL` or `ENOSYS` when the kernel is too old (before 6.9).
pub(crate) fn signal_group_by_identity(pidfd: BorrowedFd<'_>, signal: Signal) -> io::Result<()> {
    send(pidfd, signal, PIDFD_SIGNAL_PROCESS_GROUP)
}

/// Signals only the process behind `pidfd`.
///
/// # Errors
/// Those of `kill(2)`.
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

/// Signals a process group by number with `kill(2)`. Its leader must be a child process of the current process that was not
/// reaped: otherwise the number may belong to other processes.
///
/// # Errors
/// Those of `kill(2)`.
pub(crate) fn signal_group_by_number(group: Pid, signal: Signal) -> io::Result<()> {
    // SAFETY: touches no memory; `Pid` is positive, so the argument is -1 (all processes) only for pid 1, which is
    // never a child process.
    let done = unsafe { libc::kill(-group.as_raw_nonzero().get(), signal.number()) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Returns `true` if the process, dead or alive, is in the process group. (Rustix is not used, because it does not
/// expect the answer 0, which the kernel gives for its own threads and for process groups of another namespace.)
pub(crate) fn is_in_group(pid: Pid, group: Pid) -> bool {
    // SAFETY: touches no memory.
    let found = unsafe { libc::getpgid(pid.as_raw_nonzero().get()) };
    found == group.as_raw_nonzero().get()
}

/// Lets the current Tokio runtime watch when a descriptor becomes readable.
///
/// # Errors
/// When the runtime cannot watch another descriptor.
///
/// # Panics
/// Panics outside of a Tokio runtime with I/O enabled.
pub(crate) fn watch_readable(fd: Arc<OwnedFd>) -> io::Result<AsyncFd<Arc<OwnedFd>>> {
    // SAFETY: an `OwnedFd` is open as long as it lives and always the same descriptor. The watch holds a reference to
    // it, so it is neither closed nor moved out while it is watched.
    Ok(unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }?)
}
