//! System calls without a safe wrapper: clone and exec, signals, waits.
//!
//! Code that runs here may be the copy of one thread of a program with many threads. So everything only makes system
//! calls (`signal-safety(7)`): nothing allocates, locks or formats.
#![expect(unsafe_code, reason = "raw system calls; nothing else but memory.rs in this crate is unsafe")]

use crate::ending::{Ending, Usage};
use crate::memory::{Stack, Table};
use std::ffi::{CStr, c_char, c_int, c_void};
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::ptr;

/// The highest signal number.
const LAST_SIGNAL: c_int = 64;

/// The signals that the C library uses for threads (`nptl(7)`; musl one more).
const RESERVED_SIGNALS: [c_int; 3] = [32, 33, 34];

/// The size of a set of 64 signals, as `rt_sigaction(2)` expects it.
const KERNEL_SIGSET_BYTES: usize = 8;

/// The descriptors that are closed one by one on a kernel without `close_range(2)`.
const CLOSED_ONE_BY_ONE: RawFd = 1 << 16;

/// The bytes of a `signalfd_siginfo` (`signalfd(2)`).
const SIGNAL_BYTES: usize = 128;

/// What [`enter`] runs in a new process.
struct Entry<'a, T> {
    child: &'a T,
    run: fn(&T) -> i32,
}

extern "C" fn enter<T>(entry: *mut c_void) -> c_int {
    // SAFETY: `fork` passes a pointer to an `Entry` that lives in the calling process until `fork` returns there. Without
    // CLONE_VM this process has a copy of that memory of its own, which stays as long as it does not unmap it.
    let entry = unsafe { &*entry.cast::<Entry<'_, T>>() };
    (entry.run)(entry.child)
}

/// Creates a process that runs `child` on `stack`, and returns its id and pidfd. Only the calling thread is copied, and no
/// handlers of `pthread_atfork` run.
///
/// `run` must only make system calls and use memory of `memory.rs`: another thread may have held the lock of the
/// allocator at the moment of the fork. It is `Launch::run` or `ForkedGuardian::run`, and the lints at the top of `lib.rs`
/// refuse what could panic, and so allocate, in all that these two call.
pub(crate) fn fork<T>(stack: &Stack, child: &T, run: fn(&T) -> i32) -> Result<(u32, OwnedFd), i32> {
    let mut pidfd: c_int = -1;
    let entry = Entry { child, run };
    let argument = ptr::from_ref(&entry).cast_mut().cast();
    // SAFETY: the stack is aligned and belongs to no other code of the new process. The memory is not shared, so the new
    // process cannot change that of this one. The callers promise that `run` is safe after a fork. With CLONE_PIDFD the
    // kernel writes a descriptor to the third argument (`clone(2)`).
    let pid = unsafe {
        libc::clone(enter::<T>, stack.top(), libc::CLONE_PIDFD | libc::SIGCHLD, argument, &raw mut pidfd)
    };
    match u32::try_from(pid) {
        // SAFETY: the kernel has just opened the descriptor for the caller.
        Ok(pid) => Ok((pid, unsafe { OwnedFd::from_raw_fd(pidfd) })),
        Err(_) => Err(last_error()),
    }
}

/// Returns the error number of the last call of the C library on this thread.
fn last_error() -> i32 {
    io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

/// A list of strings as `execve(2)` expects it.
pub(crate) struct Pointers<'a> {
    list: Table<*const c_char>,
    strings: PhantomData<&'a CStr>,
}

impl<'a> Pointers<'a> {
    /// Creates the list for at most `count` strings.
    ///
    /// # Errors
    /// When the system has no memory left.
    pub(crate) fn new(count: usize, strings: impl Iterator<Item = &'a CStr>) -> io::Result<Pointers<'a>> {
        let mut list = Table::new(count + 1)?;
        strings.take(count).all(|string| list.push(string.as_ptr()));
        list.push(ptr::null());
        Ok(Pointers { list, strings: PhantomData })
    }
}

/// Executes a program. Returns only if the kernel refuses, with its error number.
pub(crate) fn exec(program: &CStr, arguments: &Pointers<'_>, environment: &Pointers<'_>) -> i32 {
    // SAFETY: all strings end with NUL and live as long as the lists, which end with null (`Pointers::new`).
    unsafe { libc::execve(program.as_ptr(), arguments.list.as_ptr(), environment.list.as_ptr()) };
    last_error()
}

/// Gives the process of a program the signal actions and the mask with which programs start: all actions default,
/// nothing blocked.
pub(crate) fn default_signals() {
    (1..=LAST_SIGNAL).for_each(|signal| set_action(signal, libc::SIG_DFL));
    RESERVED_SIGNALS.into_iter().for_each(restore_reserved_signal);
    // SAFETY: `sigemptyset` initialises the set before it is used.
    unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut());
    }
}

/// Makes the calling thread deaf to all signals, keeps the exit statuses of children, and returns a descriptor from which
/// `signals` are read.
///
/// # Errors
/// When there is no descriptor left.
pub(crate) fn take_signals(signals: &[c_int]) -> io::Result<OwnedFd> {
    // An ignored SIGCHLD would lose the exit statuses (`wait(2)`).
    set_action(libc::SIGCHLD, libc::SIG_DFL);
    // SAFETY: both sets are initialised before they are used, and the pointers are valid or null. The descriptor was just
    // opened if the result is not negative.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut set);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const set, ptr::null_mut());
        libc::sigemptyset(&raw mut set);
        for signal in signals {
            libc::sigaddset(&raw mut set, *signal);
        }
        match libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) {
            -1 => Err(io::Error::last_os_error()),
            descriptor => Ok(OwnedFd::from_raw_fd(descriptor)),
        }
    }
}

/// Reads a signal: its number and its code (`sigaction(2)`). Returns `None` if none is pending.
pub(crate) fn read_signal(signals: BorrowedFd<'_>) -> Option<(c_int, c_int)> {
    let mut bytes = [0; SIGNAL_BYTES];
    let len = rustix::io::read(signals, &mut bytes).ok()?;
    let word = |at: usize| Some(i32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?));
    (len == SIGNAL_BYTES).then(|| Some((word(0)?, word(8)?))).flatten()
}

/// Runs `with` while the calling thread gets no signal. A process that is forked meanwhile begins with this mask.
pub(crate) fn without_signals<T>(with: impl FnOnce() -> T) -> T {
    // SAFETY: both sets are initialised before they are used, and only the mask of this thread changes.
    unsafe {
        let (mut all, mut before) = (std::mem::zeroed::<libc::sigset_t>(), std::mem::zeroed());
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
        let result = with();
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, ptr::null_mut());
        result
    }
}

/// Forks a process that continues like the calling one, as `fork(2)`. Returns the id of the child, or `None` in the child.
/// The calling thread must be the only one of its process.
///
/// # Errors
/// The error number of `fork(2)`.
pub(crate) fn fork_alone() -> Result<Option<u32>, i32> {
    // SAFETY: with a single thread no lock can be held by another one, so the copy may go on with any code.
    match unsafe { libc::fork() } {
        0 => Ok(None),
        pid => u32::try_from(pid).map(Some).map_err(|_| last_error()),
    }
}

/// Makes `command` give `descriptor` to its process as number 3.
pub(crate) fn pass_as_3(command: &mut Command, descriptor: OwnedFd) {
    let pass = move || {
        let number = descriptor.as_raw_fd();
        let passed = match number {
            // SAFETY: async-signal-safe, and changes a descriptor of the new process alone.
            3 => unsafe { libc::fcntl(3, libc::F_SETFD, 0) },
            // SAFETY: as above.
            _ => unsafe { libc::dup2(number, 3) },
        };
        if passed < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    };
    // SAFETY: the closure only makes these calls, on a descriptor that it owns.
    unsafe { command.pre_exec(pass) };
}

/// Ends the current process at once, without running code of the program.
pub(crate) fn exit(code: i32) -> ! {
    // SAFETY: the call does not return and touches no memory.
    unsafe { libc::_exit(code) }
}

fn set_action(signal: c_int, action: libc::sighandler_t) {
    // SAFETY: all-zero is a valid `sigaction`, and no Rust code becomes a handler. Refusals (`SIGKILL`) are expected.
    unsafe {
        let mut new: libc::sigaction = std::mem::zeroed();
        new.sa_sigaction = action;
        libc::sigaction(signal, &raw const new, ptr::null_mut());
    }
}

/// Sets a signal to its default action, although the C library does not let programs change this signal.
fn restore_reserved_signal(signal: c_int) {
    let default = [0u64; 8];
    // SAFETY: all-zero is the default action in the kernel's form on each architecture, and the array is larger than that.
    // The kernel reads it and writes nothing.
    unsafe {
        let old = ptr::null::<u8>();
        libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), old, KERNEL_SIGSET_BYTES);
    }
}

/// Detaches the calling process from its controlling terminal, if it has one. It must not lead a session, so that other
/// processes keep the terminal (`ioctl_tty(2)`).
pub(crate) fn give_up_terminal() {
    // SAFETY: the path is a NUL-terminated constant, `TIOCNOTTY` takes no argument, and only the descriptor that was
    // opened here is closed.
    unsafe {
        let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_NONBLOCK | libc::O_CLOEXEC;
        let terminal = libc::open(c"/dev/tty".as_ptr(), flags);
        if terminal >= 0 {
            libc::ioctl(terminal, libc::TIOCNOTTY);
            libc::close(terminal);
        } else {
            // Without a controlling terminal these calls fail. With one, `/dev/tty` is missing, and a standard descriptor
            // may be the terminal.
            for descriptor in 0..3 {
                libc::ioctl(descriptor, libc::TIOCNOTTY);
            }
        }
    }
}

/// Moves `kept` to descriptor 3, close-on-exec, and closes all others from 4 on. All other values that own a descriptor
/// are invalid afterwards, so only a process that is about to execute a program or to exit may call this.
///
/// # Errors
/// The error number of `dup3(2)`.
pub(crate) fn keep_only(kept: BorrowedFd<'_>) -> Result<(), i32> {
    // SAFETY: changes descriptors of this process alone and touches no memory. The caller uses no other descriptor.
    unsafe {
        if kept.as_raw_fd() != 3 && libc::dup3(kept.as_raw_fd(), 3, libc::O_CLOEXEC) < 0 {
            return Err(last_error());
        }
    }
    close_from_4();
    Ok(())
}

/// Closes all descriptors from 4 on. All values that own one of them are invalid afterwards.
pub(crate) fn close_from_4() {
    // SAFETY: changes descriptors of this process alone and touches no memory. The callers have just begun to run in a
    // new process, or are about to execute a program, and use no such descriptor.
    unsafe {
        if libc::syscall(libc::SYS_close_range, 4, libc::c_uint::MAX, 0) != 0 {
            (4..CLOSED_ONE_BY_ONE).for_each(|descriptor| {
                libc::close(descriptor);
            });
        }
    }
}

/// Returns descriptor 3, which [`keep_only`] has left open.
pub(crate) fn kept_descriptor() -> BorrowedFd<'static> {
    // SAFETY: `keep_only` has opened it, and the process closes nothing after that.
    unsafe { BorrowedFd::borrow_raw(3) }
}

/// Takes the descriptor with this number from the process that has executed the current one.
///
/// # Errors
/// When it is not open.
pub(crate) fn inherited(descriptor: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: `fcntl` touches no memory and refuses a descriptor that is not open. The hidden verb of a program owns this
    // descriptor by contract (`serve_inherited`), so nothing else closes it.
    unsafe {
        if libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC) < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(OwnedFd::from_raw_fd(descriptor))
    }
}

/// Returns the address of this thread's `errno`, which stands in the memory that the C library needs for the thread.
pub(crate) fn thread_memory() -> usize {
    // SAFETY: the call returns an address and reads nothing.
    unsafe { libc::__errno_location() }.addr()
}

/// Sends a signal to a process by number. It must be a child of this process that was not reaped, or this process itself.
///
/// # Errors
/// The error number of `kill(2)`.
pub(crate) fn kill(pid: u32, signal: u8) -> Result<(), i32> {
    send(i32::try_from(pid).unwrap_or(0), signal)
}

/// Sends a signal to each member of a process group. The leader must be a child of this process that was not reaped.
///
/// # Errors
/// The error number of `kill(2)`.
pub(crate) fn kill_group(leader: u32, signal: u8) -> Result<(), i32> {
    send(i32::try_from(leader).unwrap_or(0).wrapping_neg(), signal)
}

fn send(target: i32, signal: u8) -> Result<(), i32> {
    // Zero is the own group, and the two others would be everything.
    if matches!(target, -1..=0) {
        return Err(libc::ESRCH);
    }
    // SAFETY: touches no memory.
    match unsafe { libc::kill(target, c_int::from(signal)) } {
        0 => Ok(()),
        _ => Err(last_error()),
    }
}

/// Sends a signal to the process behind a pidfd.
///
/// # Errors
/// The error number of `pidfd_send_signal(2)`.
pub(crate) fn kill_by_pidfd(pidfd: BorrowedFd<'_>, signal: u8) -> Result<(), i32> {
    let info = ptr::null::<libc::siginfo_t>();
    // SAFETY: the descriptor is open, and a null info is allowed.
    let done = unsafe {
        libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), c_int::from(signal), info, 0)
    };
    if done == 0 { Ok(()) } else { Err(last_error()) }
}

/// Returns the process group of a process, or zero.
pub(crate) fn group_of(pid: u32) -> u32 {
    // SAFETY: touches no memory.
    let group = unsafe { libc::getpgid(i32::try_from(pid).unwrap_or(-1)) };
    u32::try_from(group).unwrap_or(0)
}

/// Makes a child of this process the leader of a process group of its own, unless it has executed a program already.
pub(crate) fn make_group(pid: u32) {
    let pid = i32::try_from(pid).unwrap_or(-1);
    // SAFETY: touches no memory. A refusal means that the child has done it itself.
    unsafe { libc::setpgid(pid, pid) };
}

/// Returns how a child has ended and what it has used, without reaping it, or `None` while it runs.
pub(crate) fn peek(pid: u32) -> Option<(Ending, Usage)> {
    // SAFETY: all-zero is valid for both structures, and the pointers are valid. The raw call also fills in the usage.
    unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        let mut usage: libc::rusage = std::mem::zeroed();
        let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        let (info_at, usage_at) = (&raw mut info, &raw mut usage);
        let done = libc::syscall(libc::SYS_waitid, libc::P_PID, pid, info_at, options, usage_at);
        if done != 0 {
            return Some((Ending::Lost, Usage::default()));
        }
        (info.si_pid() != 0).then(|| (ending(&info), usage_of(&usage)))
    }
}

fn ending(info: &libc::siginfo_t) -> Ending {
    // SAFETY: `waitid` has filled in the structure for a child, so this field is set.
    let status = unsafe { info.si_status() };
    let number = u8::try_from(status & 0xff).unwrap_or(0);
    match info.si_code {
        libc::CLD_EXITED => Ending::Code(number),
        libc::CLD_KILLED | libc::CLD_DUMPED => {
            Ending::Signal { signal: number, core_dumped: info.si_code == libc::CLD_DUMPED }
        }
        _ => Ending::Lost,
    }
}

fn usage_of(usage: &libc::rusage) -> Usage {
    let micros = |time: &libc::timeval| {
        let (seconds, micros) = (u64::try_from(time.tv_sec).ok()?, u64::try_from(time.tv_usec).ok()?);
        seconds.checked_mul(1_000_000)?.checked_add(micros)
    };
    Usage {
        user_us: micros(&usage.ru_utime).unwrap_or(0),
        system_us: micros(&usage.ru_stime).unwrap_or(0),
        memory_kib: u64::try_from(usage.ru_maxrss).unwrap_or(0),
    }
}

/// Returns a child that was suspended (with the signal) or continued since the last call.
pub(crate) fn next_suspension() -> Option<(u32, Option<u8>)> {
    // SAFETY: all-zero is a valid `siginfo_t`, and the pointer is valid. The kernel sets both fields for a child.
    unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        let options = libc::WSTOPPED | libc::WCONTINUED | libc::WNOHANG;
        if libc::waitid(libc::P_ALL, 0, &raw mut info, options) != 0 || info.si_pid() == 0 {
            return None;
        }
        let stopped = info.si_code != libc::CLD_CONTINUED;
        let signal = stopped.then(|| u8::try_from(info.si_status() & 0xff).ok()).flatten();
        Some((u32::try_from(info.si_pid()).ok()?, signal))
    }
}

/// Reaps a dead child. Returns `false` if it is alive.
pub(crate) fn reap(pid: u32) -> bool {
    // SAFETY: all-zero is a valid `siginfo_t`, and the pointer is valid.
    unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        let done = libc::waitid(libc::P_PID, pid, &raw mut info, libc::WEXITED | libc::WNOHANG);
        // An error means that it is no child any more.
        done != 0 || info.si_pid() != 0
    }
}
