//! How the tests of the program wait for a state that sends no event: they look again and again, up to a limit.

use std::time::{Duration, Instant};

/// The limit of every wait. What a test waits for takes milliseconds, or a few seconds on a loaded machine.
pub(crate) const TIME_LIMIT: Duration = Duration::from_secs(60);

/// The time between two looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// Looks until `look` returns a value, at most for [`TIME_LIMIT`].
#[track_caller]
pub(crate) fn look_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        match look() {
            Some(seen) => return seen,
            None if begin.elapsed() > TIME_LIMIT => panic!("no {what} after {TIME_LIMIT:?}"),
            None => std::thread::sleep(LOOK_INTERVAL),
        }
    }
}
