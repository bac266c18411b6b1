//! Panics as values: catches a panic of user code and describes it. (`util/waker_guard.rs` catches panics of wakers, and
//! drops them.)
//!
//! `catch_unwind` returns the message only. The panic hook sees location and backtrace, but a library must not install a
//! hook unasked. So the user calls [`capture_panics`], or [`Supervisor::run`](crate::Supervisor::run), which calls it.

use crate::util::lock::lock;
use crate::util::waker_guard::drop_payload;
use liveoak_core::{Exit, MAX_BACKTRACE_BYTES, MAX_PANIC_BYTES, Panic, bounded_text};
use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::sync::{Arc, Mutex};

struct Seen {
    /// The message. It is compared with the message of the caught panic, to find out whether both are the same panic.
    message: Option<String>,
    location: Option<String>,
    backtrace: Option<String>,
}

thread_local! {
    /// The last panic on this thread. One entry, replaced by the next.
    static SEEN: RefCell<Option<Seen>> = const { RefCell::new(None) };

    /// `true` while a panic on this thread is an expected answer, and not a failure.
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Makes exits keep the location of a panic from now on and, if backtraces are enabled (`RUST_BACKTRACE`), its
/// backtrace.
///
/// Adds a panic hook in front of the current hook, which still runs. If the hook of this function is the current hook,
/// nothing changes. Call it again if another hook is installed later that does not call the previous hook.
///
/// A process that is built with `panic = "abort"` ends at its first panic. In such a process nothing is captured, and no
/// child is restarted after a panic.
pub fn capture_panics() {
    /// The address of the hook that was installed last. It shows whether that hook is still the present one.
    static OURS: Mutex<usize> = Mutex::new(0);
    let mut ours = lock(&OURS);
    let before = std::panic::take_hook();
    if std::ptr::from_ref(&*before).cast::<()>().addr() == *ours {
        return std::panic::set_hook(before);
    }
    let hook: Box<dyn Fn(&PanicHookInfo<'_>) + Send + Sync> = Box::new(move |info| {
        // An earlier call may have put the same hook deeper in the chain. That hook then records the same panic again.
        see(info);
        if !QUIET.try_with(Cell::get).unwrap_or(false) {
            before(info);
        }
    });
    *ours = std::ptr::from_ref(&*hook).cast::<()>().addr();
    std::panic::set_hook(hook);
}

fn see(info: &PanicHookInfo<'_>) {
    let backtrace = Backtrace::capture();
    let seen = Seen {
        message: text(info.payload()).map(bounded_message),
        location: info.location().map(ToString::to_string),
        backtrace: (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace_text(&backtrace)),
    };
    // While this thread's local storage is torn down, `SEEN` cannot be used.
    let _ = SEEN.try_with(|slot| slot.replace(Some(seen)));
}

/// Runs `f` and returns its panic as an exit. `during` names the part of the user's code that `f` runs.
pub(crate) fn catch<T>(during: Option<&'static str>, f: impl FnOnce() -> T) -> Result<T, Exit> {
    catch_unwind(AssertUnwindSafe(f)).map_err(|payload| panicked(payload, during))
}

#[cold]
fn panicked(payload: Box<dyn Any + Send>, during: Option<&'static str>) -> Exit {
    let panic = describe(&*payload, during);
    drop_payload(payload);
    Exit::Panicked(Arc::new(panic))
}

/// Runs `f` like [`catch`]. While `f` runs a named part of the user's code, it sets the name of that part.
pub(crate) fn catch_part<T>(f: impl FnOnce(&Cell<Option<&'static str>>) -> T) -> Result<T, Exit> {
    let during = Cell::new(None);
    catch_unwind(AssertUnwindSafe(|| f(&during))).map_err(|payload| panicked(payload, during.get()))
}

/// Returns `true` if `f` panics. The hook of [`capture_panics`] does not show the panic. `f` runs no code of the user.
pub(crate) fn panics(f: impl FnOnce()) -> bool {
    QUIET.set(true);
    let panicked = catch(None, f).is_err();
    QUIET.set(false);
    panicked
}

/// Runs `f`, which ends an attempt, and returns how it ended.
pub(crate) fn catch_exit(during: Option<&'static str>, f: impl FnOnce() -> Exit) -> Exit {
    catch(during, f).unwrap_or_else(|panicked| panicked)
}

/// Drops a value that the user gave. Its destructor is user code and may panic; the panic is caught.
pub(crate) fn drop_catching_panics<T>(value: T) {
    let _ = catch(Some("destructor"), || drop(value));
}

/// Returns the panic that unwinds this thread, as far as the hook of [`capture_panics`] has seen it.
pub(crate) fn seen_last(during: &'static str) -> Exit {
    let seen = SEEN.try_with(RefCell::take).ok().flatten();
    let message = seen.as_ref().and_then(|seen| seen.message.clone());
    let message = message.unwrap_or_else(|| "the panic hook has shown the message".to_owned());
    let (location, backtrace) = seen.map_or((None, None), |seen| (seen.location, seen.backtrace));
    Exit::Panicked(Arc::new(Panic { message, location, backtrace, during: Some(during) }))
}

fn text(payload: &(dyn Any + Send)) -> Option<&str> {
    let text = payload.downcast_ref::<&'static str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str))
}

fn backtrace_text(backtrace: &dyn std::fmt::Display) -> String {
    bounded_text(backtrace, MAX_BACKTRACE_BYTES)
}

fn bounded_message(text: &str) -> String {
    bounded_text(&text, MAX_PANIC_BYTES)
}

fn describe(payload: &(dyn Any + Send), during: Option<&'static str>) -> Panic {
    let message = text(payload).map(bounded_message);
    // A panic that is resumed passes no hook, so what the hook saw last may be another panic.
    let seen = SEEN.try_with(RefCell::take).ok().flatten().filter(|seen| seen.message == message);
    let message = message.unwrap_or_else(|| "a value that is not text".to_owned());
    let (location, backtrace) = seen.map_or((None, None), |seen| (seen.location, seen.backtrace));
    Panic { message, location, backtrace, during }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_and_the_backtrace_of_a_panic_are_cut_to_their_bounds() {
        capture_panics();
        let long = "x".repeat(10 * MAX_PANIC_BYTES);
        let Err(Exit::Panicked(panic)) = catch(None, || std::panic::panic_any(long)) else {
            unreachable!("it panics")
        };
        assert_eq!(panic.message.len(), MAX_PANIC_BYTES);
        assert!(panic.message.ends_with("x…") && panic.location.is_some(), "{:?}", panic.location);
        struct Frames;
        impl std::fmt::Display for Frames {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                (0..1_000_000).try_for_each(|n| writeln!(f, "{n}: a::frame"))
            }
        }
        assert!(backtrace_text(&Frames).len() <= MAX_BACKTRACE_BYTES);
    }
}
