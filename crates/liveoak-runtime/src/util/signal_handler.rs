//! The signal handler: it runs when SIGINT, SIGTERM or SIGHUP reaches this process while a tree listens for it, and for
//! the `liveoak` program also at SIGQUIT and SIGUSR1.
//!
//! The handlers of `tokio::signal` stay installed until the process ends. A tree ends earlier, and after its end a signal
//! must have its former effect again. So this file has a separate handler. The first listener installs it. When the last
//! listener is dropped, the former action is restored (`util/signals.rs` counts the listeners, under its lock).
//!
//! # Why the handler is async-signal-safe
//!
//! `signal-safety(7)` lists what a handler may call. [`on_signal`] calls `getpid`, `pthread_self`, `sigaction`, `raise`
//! and `write`, all on that list, and the handler that was installed before, which has to keep the same rule. Apart from
//! this, it reads and writes atomics in statics that are lock-free and need no initialisation. It does not allocate, lock
//! or panic (it has no indexing, and no arithmetic that can overflow), and does not use thread-local storage. It restores
//! `errno`, because the interrupted code may be about to read it.
//!
//! The handler writes to a descriptor that is never closed, because a handler on another thread may be about to use it.
//! The descriptor is non-blocking: if the socket is full, a wake-up is already pending.
//!
//! # Which handler is restored, and when
//!
//! 1. A stop signal that was ignored at the time of the installation stays ignored: nothing is installed. SIGQUIT and
//!    SIGUSR1 are taken over even then. A script ignores SIGQUIT in each command that it runs in the background, and
//!    printing the state does no harm there.
//! 2. The handlers for SIGHUP, SIGQUIT and SIGUSR1 are not installed over a handler of the process. A process that handles
//!    such a signal itself uses it for something else.
//! 3. A handler that was installed before is still called. That handler may in turn call this one, if it was installed over
//!    this one during an earlier run and calls the handler that it replaced. Then the call ends here, because each slot
//!    knows the thread that is calling the former handler.
//! 4. [`restore`] puts the former action back only if this handler is the installed one. Otherwise other code has taken
//!    over the signal and keeps it.
//! 5. While nothing listens, and in a forked copy of the process, the handler does what the former action did. If the
//!    former action is the default, and no other handler is above this one, it restores the default and raises the signal
//!    again. So it does no harm if other code installs this handler again after the end.
#![expect(unsafe_code, reason = "a signal handler, and the system calls that install it")]

use libc::{c_int, c_void, siginfo_t};
use std::io;
use std::os::fd::{IntoRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};

/// The signals that ask a process to end.
pub(crate) const STOP_SIGNALS: [c_int; 3] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP];

/// The signals that ask a process for information: SIGQUIT for the state of its tree. SIGUSR1 has no effect yet.
pub(crate) const TELL_SIGNALS: [c_int; 2] = [libc::SIGQUIT, libc::SIGUSR1];

/// All signals that this file handles.
pub(crate) const SIGNALS: [c_int; 5] =
    [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT, libc::SIGUSR1];

/// What the handler knows of one signal.
struct Slot {
    /// `true` if the signal came and was not taken yet.
    arrived: AtomicBool,
    /// The former action: `SIG_DFL`, or the address of a handler.
    before: AtomicUsize,
    /// `true` if the former handler takes three arguments (`SA_SIGINFO`).
    before_takes_info: AtomicBool,
    /// The thread that is calling the former handler; 0 for none.
    calling: AtomicUsize,
}

impl Slot {
    const fn new() -> Self {
        Self {
            arrived: AtomicBool::new(false),
            before: AtomicUsize::new(libc::SIG_DFL),
            before_takes_info: AtomicBool::new(false),
            calling: AtomicUsize::new(0),
        }
    }
}

/// One slot for each of [`SIGNALS`].
static SLOTS: [Slot; SIGNALS.len()] = [const { Slot::new() }; SIGNALS.len()];

/// The id of the process while a listener exists, otherwise 0. A forked copy has another id.
static LISTENING: AtomicI32 = AtomicI32::new(0);

/// The descriptor that wakes the thread which takes the signals; -1 before there is one. Never closed.
static WAKE: AtomicI32 = AtomicI32::new(-1);

/// A signal whose action was replaced, with the action before.
pub(crate) struct Replaced {
    signal: c_int,
    before: libc::sigaction,
}

impl Replaced {
    /// Returns the signal.
    pub(crate) fn signal(&self) -> c_int {
        self.signal
    }
}

/// Sets the socket that the handler writes to. Called once, before the first installation.
pub(crate) fn set_wake(socket: UnixStream) {
    WAKE.store(socket.into_raw_fd(), Ordering::SeqCst);
}

/// Wakes the thread that takes the signals, as a signal does.
pub(crate) fn wake() {
    write_wake(WAKE.load(Ordering::SeqCst));
}

fn write_wake(descriptor: RawFd) {
    // SAFETY: one byte of a static is read; a descriptor of -1 is refused by the kernel. `write` is async-signal-safe.
    unsafe { libc::write(descriptor, c"!".as_ptr().cast(), 1) };
}

/// Makes the handler record signals, or do what the former action did.
pub(crate) fn set_listening(listening: bool) {
    // SAFETY: `getpid` has no preconditions.
    let process = if listening { unsafe { libc::getpid() } } else { 0 };
    LISTENING.store(process, Ordering::SeqCst);
}

/// Returns which of [`SIGNALS`] came since the last call.
pub(crate) fn take_arrived() -> impl Iterator<Item = c_int> {
    let arrived =
        |(signal, slot): (c_int, &Slot)| slot.arrived.swap(false, Ordering::SeqCst).then_some(signal);
    SIGNALS.into_iter().zip(&SLOTS).filter_map(arrived)
}

/// Notes the arrival of a signal as the handler does, but wakes no listener.
#[cfg(test)]
pub(crate) fn arrive_unheard(signal: c_int) {
    let slots = SIGNALS.into_iter().zip(&SLOTS);
    slots.filter(|(of, _)| *of == signal).for_each(|(_, slot)| slot.arrived.store(true, Ordering::SeqCst));
}

/// Sends a signal to this process.
pub(crate) fn raise(signal: c_int) {
    // SAFETY: touches no memory. `kill` with the own id reaches any thread that does not block the signal.
    unsafe { libc::kill(libc::getpid(), signal) };
}

/// Installs the handler for `signal`, or returns `None` if the signal keeps its action (rules 1 and 2).
///
/// # Errors
/// When the system refuses. It does not for these signals.
pub(crate) fn install(signal: c_int) -> io::Result<Option<Replaced>> {
    let before = exchange(signal, None)?;
    let taken_over = match before.sa_sigaction {
        libc::SIG_IGN => TELL_SIGNALS.contains(&signal),
        libc::SIG_DFL => true,
        _ => matches!(signal, libc::SIGINT | libc::SIGTERM),
    };
    if !taken_over {
        return Ok(None);
    }
    // If other code installed this handler again after the end of a tree, the recorded former action stays valid.
    if !is_ours(&before) {
        remember(signal, &before);
    }
    let before = exchange(signal, Some(&ours()))?;
    Ok(Some(Replaced { signal, before }))
}

/// Puts the former action back if the installed one is still the handler of this file.
pub(crate) fn restore(replaced: &Replaced) {
    let Replaced { signal, before } = replaced;
    if !exchange(*signal, None).is_ok_and(|now| is_ours(&now)) {
        return;
    }
    if let Ok(was) = exchange(*signal, Some(before))
        && !is_ours(&was)
    {
        // Other code took over the signal between the two calls, so the action of that code stays.
        let _refused = exchange(*signal, Some(&was));
    }
}

/// Returns `true` if the handler of this file is the installed one, and not called by another above it.
pub(crate) fn is_installed(signal: c_int) -> bool {
    exchange(signal, None).is_ok_and(|now| is_ours(&now))
}

/// The signal mask with which a thread began.
pub(crate) struct ThreadMask(libc::sigset_t);

impl ThreadMask {
    /// Returns the mask of this thread.
    pub(crate) fn of_this_thread() -> Self {
        // SAFETY: all-zero is a valid `sigset_t`; with a null set the mask is only read.
        unsafe {
            let mut now: libc::sigset_t = std::mem::zeroed();
            libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), &mut now);
            Self(now)
        }
    }

    /// Lets this thread receive `signals`, even if the process was started with them blocked. All other signals are
    /// blocked or not as when the thread began: other code may wait for them with `sigwait`, and block them everywhere.
    pub(crate) fn unblock_only(&self, signals: impl Iterator<Item = c_int>) {
        let mut mask = self.0;
        // SAFETY: the set is initialised, and only this thread's mask is changed.
        unsafe {
            for signal in signals {
                libc::sigdelset(&mut mask, signal);
            }
            libc::pthread_sigmask(libc::SIG_SETMASK, &mask, std::ptr::null_mut());
        }
    }
}

fn remember(signal: c_int, before: &libc::sigaction) {
    for (known, slot) in SIGNALS.into_iter().zip(&SLOTS) {
        if known == signal {
            slot.before.store(before.sa_sigaction, Ordering::SeqCst);
            slot.before_takes_info.store(before.sa_flags & libc::SA_SIGINFO != 0, Ordering::SeqCst);
        }
    }
}

/// Returns the action that calls [`on_signal`]. Interrupted system calls are restarted (`SA_RESTART`).
fn ours() -> libc::sigaction {
    // SAFETY: all-zero is a valid `sigaction`: no flags, an empty mask.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = on_signal as *const () as libc::sighandler_t;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
    action
}

fn is_ours(action: &libc::sigaction) -> bool {
    action.sa_sigaction == on_signal as *const () as libc::sighandler_t
}

/// Returns the action of `signal`, and replaces it if there is a `new` one.
fn exchange(signal: c_int, new: Option<&libc::sigaction>) -> io::Result<libc::sigaction> {
    let new = new.map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: all-zero is a valid `sigaction`, both pointers are valid or null, and each new action is either one that
    // the system returned, the default, or [`ours`], whose handler has the signature that `SA_SIGINFO` requires.
    // `sigaction` is async-signal-safe.
    unsafe {
        let mut before: libc::sigaction = std::mem::zeroed();
        match libc::sigaction(signal, new, &mut before) {
            0 => Ok(before),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// Handles a signal.
extern "C" fn on_signal(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    let errno = errno();
    // SAFETY: the address of this thread's `errno` is valid as long as the thread runs.
    let saved = unsafe { *errno };
    for (known, slot) in SIGNALS.into_iter().zip(&SLOTS) {
        if known == signal {
            handle(signal, slot, info, context);
        }
    }
    // SAFETY: as above.
    unsafe { *errno = saved };
}

fn handle(signal: c_int, slot: &Slot, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: `getpid` has no preconditions and is async-signal-safe.
    let listening = LISTENING.load(Ordering::SeqCst) == unsafe { libc::getpid() };
    if listening {
        slot.arrived.store(true, Ordering::SeqCst);
        write_wake(WAKE.load(Ordering::SeqCst));
    }
    match slot.before.load(Ordering::SeqCst) {
        libc::SIG_DFL if !listening && is_installed(signal) => by_default(signal),
        libc::SIG_DFL | libc::SIG_IGN => {}
        before => call_before(before, signal, slot, info, context),
    }
}

/// Does what the default action does: the signal is pending until the handler returns, and then ends the process.
fn by_default(signal: c_int) {
    // SAFETY: all-zero is a valid `sigaction` with the default action. `raise` is async-signal-safe.
    unsafe {
        let default: libc::sigaction = std::mem::zeroed();
        if exchange(signal, Some(&default)).is_ok() {
            libc::raise(signal);
        }
    }
}

/// Calls the former handler, unless this thread is already calling it (rule 3). If another thread is calling it with the
/// same signal, both signals count as one, like pending signals.
fn call_before(before: usize, signal: c_int, slot: &Slot, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: `pthread_self` has no preconditions and is async-signal-safe.
    let this_thread = unsafe { libc::pthread_self() } as usize;
    if slot.calling.compare_exchange(0, this_thread, Ordering::SeqCst, Ordering::SeqCst).is_err() {
        return;
    }
    // SAFETY: `before` is the address of a handler that the system had installed for this signal, with the signature
    // that its flag says. The arguments are those that the system gave to this handler.
    unsafe {
        if slot.before_takes_info.load(Ordering::SeqCst) {
            let handler: extern "C" fn(c_int, *mut siginfo_t, *mut c_void) = std::mem::transmute(before);
            handler(signal, info, context);
        } else {
            let handler: extern "C" fn(c_int) = std::mem::transmute(before);
            handler(signal);
        }
    }
    slot.calling.store(0, Ordering::SeqCst);
}

/// Returns the address of this thread's `errno`.
fn errno() -> *mut c_int {
    // SAFETY: these functions only return an address.
    #[cfg(any(target_os = "linux", target_os = "emscripten", target_os = "l4re", target_os = "hurd"))]
    return unsafe { libc::__errno_location() };
    // SAFETY: as above.
    #[cfg(any(target_vendor = "apple", target_os = "freebsd", target_os = "dragonfly"))]
    return unsafe { libc::__error() };
    // SAFETY: as above.
    #[cfg(any(target_os = "android", target_os = "netbsd", target_os = "openbsd"))]
    return unsafe { libc::__errno() };
}
