//! Work in place. Tests with a paused clock have one thread, and the same test must run in the same way each time. So
//! this thread itself writes the log lines and drops the values. Usually other threads do that.

use std::cell::Cell;

thread_local! {
    static IN_PLACE: Cell<bool> = const { Cell::new(false) };
}

/// Returns `true` if this thread writes log lines and drops values itself.
pub(crate) fn is_in_place() -> bool {
    IN_PLACE.try_with(Cell::get).unwrap_or_default()
}

/// While this value exists, its thread writes log lines and drops values itself.
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
