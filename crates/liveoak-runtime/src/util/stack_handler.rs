//! The signal handler that takes the stack of its thread. Only with the feature `stacks`, on Linux.
//!
//! A thread can walk only its own stack. So the thread that asks sends a signal to the other one, and the handler there
//! stores the return addresses in a static. The asker waits for at most [`PATIENCE`]; a thread that blocks the signal, or that
//! hangs in the kernel, has no stack.
//!
//! # Which signal
//!
//! The highest real-time signal that has its default action when the first stack is wanted. The handler stays installed until
//! the process ends, because a signal may still be pending on a thread that was asked in vain, and its default action
//! would end the process. If other code has installed a handler over it, no signal is sent any more. Interrupted system calls are
//! restarted (`SA_RESTART`), except those that Linux never restarts (`signal(7)`: `nanosleep`, `poll`, `epoll_wait` and
//! others), which return `EINTR`; std and Tokio handle that. The handler runs on the stack of its thread, because the
//! alternate stack that std sets up (`sigaltstack(2)`) may be too small for the walk.
//!
//! # Why the handler is async-signal-safe
//!
//! It reads and writes atomics in statics that are lock-free and need no initialisation, and calls `gettid`, which is a plain
//! system call. It neither allocates nor panics, and restores `errno`. The walk itself is `_Unwind_Backtrace`. It
//! allocates nothing, and finds the tables of a function without a lock where the C library has `_dl_find_object` (glibc
//! 2.35 and later). On older systems it takes the lock of the dynamic loader, so a thread that is interrupted inside
//! the loader while another thread waits for it could hang. Therefore the feature is off by default.
//!
//! # Why only the asked thread writes, and only for its asker
//!
//! [`STATE`] holds the thread that is asked and the step. The handler goes from [`ASKED`] to [`WRITING`] by one exchange that
//! fails for each other thread and after the asker has given up. The asker gives up by the opposite exchange. If that
//! fails, the handler writes at this moment, and the asker waits until it is done. A handler that is not done after
//! [`WRITE_PATIENCE`] keeps the static for ever, and no stack is taken any more.
#![expect(
    unsafe_code,
    reason = "a signal handler that walks the stack of its thread, and the calls that install it"
)]

use crate::util::lock::lock;
use libc::{c_int, c_void, siginfo_t};
use std::sync::Mutex;
use std::sync::atomic::{AtomicI32, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// The most frames that are stored.
const MAX_FRAMES: usize = 128;

/// How long the asked thread may take to run the handler.
const PATIENCE: Duration = Duration::from_millis(50);

/// How long a handler that has begun may take.
const WRITE_PATIENCE: Duration = Duration::from_secs(1);

/// How long the asker rests between two looks.
const LOOK: Duration = Duration::from_micros(50);

/// The steps of a request, in the low bits of [`STATE`]; the thread is above them. 0: nothing is asked.
const ASKED: u64 = 1;
const WRITING: u64 = 2;
const DONE: u64 = 3;

static STATE: AtomicU64 = AtomicU64::new(0);
static FRAMES: [AtomicUsize; MAX_FRAMES] = [const { AtomicUsize::new(0) }; MAX_FRAMES];
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// The signal; 0 before the first stack, -1 if there is none.
static SIGNAL: AtomicI32 = AtomicI32::new(0);

/// Held by the thread that asks. `false` once a handler has not come back.
static ASKER: Mutex<bool> = Mutex::new(true);

fn state(thread: i32, step: u64) -> u64 {
    (u64::from(thread.unsigned_abs()) << 2) | step
}

/// Installs the handler. Returns the signal, or -1 if none is free.
fn prepare() -> i32 {
    let free = (libc::SIGRTMIN()..=libc::SIGRTMAX()).rev().find(|signal| install(*signal));
    let signal = free.unwrap_or(-1);
    SIGNAL.store(signal, Ordering::SeqCst);
    signal
}

/// Returns the number by which the system knows this thread.
pub(crate) fn this_thread() -> i32 {
    // SAFETY: `gettid` has no preconditions, and is a plain system call.
    i32::try_from(unsafe { libc::syscall(libc::SYS_gettid) }).unwrap_or(-1)
}

/// Returns the return addresses of another thread of this process, the innermost first: those of the handler too.
pub(crate) fn of_thread(thread: i32) -> Option<Vec<usize>> {
    let mut may_ask = lock(&ASKER);
    let signal = match SIGNAL.load(Ordering::SeqCst) {
        0 => prepare(),
        signal => signal,
    };
    if !*may_ask || signal <= 0 || !is_ours(&action(signal)?) {
        return None;
    }
    STATE.store(state(thread, ASKED), Ordering::SeqCst);
    // SAFETY: touches no memory of this process. The handler of the signal is the one of this file.
    let sent = unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, signal) };
    let is_done = sent == 0 && wait(thread, PATIENCE);
    if !is_done {
        let asked = (state(thread, ASKED), 0);
        let withdrawn = STATE.compare_exchange(asked.0, asked.1, Ordering::SeqCst, Ordering::SeqCst);
        if withdrawn.is_ok() {
            return None;
        }
        *may_ask = wait(thread, WRITE_PATIENCE);
        if !*may_ask {
            return None;
        }
    }
    let count = COUNT.load(Ordering::SeqCst);
    let frames = FRAMES.iter().take(count).map(|frame| frame.load(Ordering::SeqCst)).collect();
    STATE.store(0, Ordering::SeqCst);
    Some(frames)
}

/// Waits until the handler is done. Returns `false` if it takes too long.
fn wait(thread: i32, patience: Duration) -> bool {
    let end = Instant::now() + patience;
    loop {
        if STATE.load(Ordering::SeqCst) == state(thread, DONE) {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        std::thread::sleep(LOOK);
    }
}

/// Installs the handler for a signal that has its default action. Returns `false` for each other.
fn install(signal: c_int) -> bool {
    if action(signal).is_none_or(|action| action.sa_sigaction != libc::SIG_DFL) {
        return false;
    }
    // SAFETY: all-zero is a valid `sigaction` with an empty mask; the handler has the signature that `SA_SIGINFO` requires.
    unsafe {
        let mut ours: libc::sigaction = std::mem::zeroed();
        ours.sa_sigaction = on_signal as *const () as libc::sighandler_t;
        ours.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
        libc::sigaction(signal, &ours, std::ptr::null_mut()) == 0
    }
}

/// Returns the action of a signal.
fn action(signal: c_int) -> Option<libc::sigaction> {
    // SAFETY: all-zero is a valid `sigaction`; a null pointer as the new action only reads the present one.
    unsafe {
        let mut now: libc::sigaction = std::mem::zeroed();
        (libc::sigaction(signal, std::ptr::null(), &mut now) == 0).then_some(now)
    }
}

fn is_ours(action: &libc::sigaction) -> bool {
    action.sa_sigaction == on_signal as *const () as libc::sighandler_t
}

/// Handles the signal.
extern "C" fn on_signal(_signal: c_int, _info: *mut siginfo_t, _context: *mut c_void) {
    // SAFETY: the address of this thread's `errno` is valid as long as the thread runs.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: as above.
    let saved = unsafe { *errno };
    let thread = this_thread();
    let (asked, writing) = (state(thread, ASKED), state(thread, WRITING));
    if STATE.compare_exchange(asked, writing, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
        let mut count = 0;
        // SAFETY: the variant without synchronisation may only not run beside another use of the functions that turn
        // addresses into names, and this closure only reads addresses.
        unsafe {
            backtrace::trace_unsynchronized(|frame| {
                if let Some(place) = FRAMES.get(count) {
                    place.store(frame.ip().addr(), Ordering::SeqCst);
                    count += 1;
                }
                count < MAX_FRAMES
            });
        }
        COUNT.store(count, Ordering::SeqCst);
        STATE.store(state(thread, DONE), Ordering::SeqCst);
    }
    // SAFETY: as above.
    unsafe { *errno = saved };
}

/// Blocks the signal on this thread, for a test. The returned function lets it through again.
#[cfg(test)]
pub(crate) fn block_on_this_thread() -> impl FnOnce() {
    if SIGNAL.load(Ordering::SeqCst) == 0 {
        prepare();
    }
    let change = |how| {
        // SAFETY: all-zero is a valid `sigset_t` for `sigemptyset`; only the mask of this thread is changed.
        unsafe {
            let mut set: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&mut set);
            libc::sigaddset(&mut set, SIGNAL.load(Ordering::SeqCst));
            libc::pthread_sigmask(how, &set, std::ptr::null_mut());
        }
    };
    change(libc::SIG_BLOCK);
    move || change(libc::SIG_UNBLOCK)
}
