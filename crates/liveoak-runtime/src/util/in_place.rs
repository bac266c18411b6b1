//! Tests with a paused clock have one thread, and the same test must run in the same way each time. So whatever other
//! threads do for a tree otherwise (write log lines, drop values), that one thread does there itself.

use std::cell::Cell;

thread_local! {
    static IN_PLACE: Cell<bool> = const { Cell::new(false) };
}

/// Returns `true` if this thread does itself what other threads do otherwise.
pub(crate) fn is_in_place() -> bool {
    IN_PLACE.try_with(Cell::get).unwrap_or_default()
}

/// While this exists, its thread does itself what other threads do otherwise.
#[cfg(feature = "testing")]
pub(crate) struct InPlace(bool);

#[cfg(feature = "testing")]
impl InPlace {
    pub(crate) fn begin() -> Self {
        Self(IN_PLACE.replace(true))
    }
}

#[cfg(feature = "testing")]
impl Drop for InPlace {
    fn drop(&mut self) {
        IN_PLACE.set(self.0);
    }
}
