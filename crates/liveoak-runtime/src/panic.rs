//! What is known of a panic.
//!
//! `catch_unwind` yields the message only. Location and backtrace are seen by the panic hook, and a library
//! does not install one unasked: [`capture_panics`] is the asking, and [`Supervisor::run`](crate::Supervisor::run), which
//! takes the whole program, does it too.

use crate::latch::drop_payload;
use liveoak_core::Panic;
use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

struct Seen {
    /// The panic's message; tells whether what is caught is what was seen.
    message: Option<String>,
    location: Option<String>,
    backtrace: Option<String>,
}

thread_local! {
    /// What the hook saw of the last panic on this thread. One entry, replaced by the next.
    static SEEN: RefCell<Option<Seen>> = const { RefCell::new(None) };
}

/// From now on exits keep the location of a panic and, if backtraces are enabled (`RUST_BACKTRACE`), where it
/// came from. Adds a panic hook in front of the present one, which still runs. Doing it again changes nothing.
pub fn capture_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let backtrace = Backtrace::capture();
            let seen = Seen {
                message: text(info.payload()).map(str::to_owned),
                location: info.location().map(ToString::to_string),
                backtrace: (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string()),
            };
            // A panic while this thread's storage is torn down has nobody to tell.
            let _ = SEEN.try_with(|slot| slot.replace(Some(seen)));
            before(info);
        }));
    });
}

/// Runs `f`; a panic in it becomes a value.
pub(crate) fn catch<T>(during: Option<&'static str>, f: impl FnOnce() -> T) -> Result<T, Panic> {
    let outcome = catch_unwind(AssertUnwindSafe(f));
    outcome.map_err(|payload| {
        let panic = describe(&*payload, during);
        // If its destructor panics as well, that is one panic too many to report.
        drop_payload(payload);
        panic
    })
}

fn text(payload: &(dyn Any + Send)) -> Option<&str> {
    let text = payload.downcast_ref::<&'static str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str))
}

fn describe(payload: &(dyn Any + Send), during: Option<&'static str>) -> Panic {
    let message = text(payload);
    // A panic that is resumed passes no hook: what was seen last may be another.
    let seen = SEEN.try_with(RefCell::take).ok().flatten().filter(|seen| seen.message.as_deref() == message);
    let message = message.unwrap_or("a value that is not text").to_owned();
    let (location, backtrace) = seen.map_or((None, None), |seen| (seen.location, seen.backtrace));
    Panic { message, location, backtrace, during }
}
