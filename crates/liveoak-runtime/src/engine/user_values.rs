//! How values of the user are dropped: outside the tree's lock, and with their panics caught.
//!
//! The machine remembers exits and forgets them under the lock, where the destructor of an exit's error must not run.
//! So each error is also held by [`ErrorKeepAlive`]. When nothing else holds the error, it is dropped outside the lock.

use crate::attempt::panic::catch;
use liveoak_core::{Exit, Failure};
use std::sync::Arc;

/// Drops a value that the user gave. Its destructor is user code and may panic; the panic is caught.
pub(crate) fn drop_catching_panics<T>(value: T) {
    let _ = catch(Some("destructor"), || drop(value));
}

/// How many errors are checked whenever one is added. With two checks per addition, errors are released faster than
/// they come: at most about twice as many are held as the machine remembers.
const CHECKS: usize = 2;

#[derive(Default)]
pub(crate) struct ErrorKeepAlive {
    errors: Vec<Arc<Failure>>,
    next: usize,
}

/// Errors that are referenced nowhere else. The caller drops them outside the lock.
#[derive(Default)]
pub(crate) struct Released([Option<Arc<Failure>>; CHECKS]);

impl Released {
    pub(crate) fn drop_errors(self) {
        // Filled from the front, and nearly always empty.
        if self.0[0].is_some() {
            self.0.into_iter().flatten().for_each(drop_catching_panics);
        }
    }
}

impl ErrorKeepAlive {
    /// Adds the error of `exit`, if it has one. Returns errors that are no longer needed.
    pub(crate) fn add(&mut self, exit: &Exit) -> Released {
        let mut released = Released::default();
        let Some(error) = error_of(exit) else { return released };
        let mut found = 0;
        for _ in 0..CHECKS {
            if self.next >= self.errors.len() {
                self.next = 0;
            }
            match self.errors.get(self.next) {
                Some(error) if Arc::strong_count(error) == 1 => {
                    released.0[found] = Some(self.errors.swap_remove(self.next));
                    found += 1;
                }
                Some(_) => self.next += 1,
                None => break,
            }
        }
        self.errors.push(Arc::clone(error));
        released
    }

    pub(crate) fn drain(&mut self) -> impl Iterator<Item = Arc<Failure>> {
        self.errors.drain(..)
    }
}

fn error_of(exit: &Exit) -> Option<&Arc<Failure>> {
    match exit {
        Exit::Failed(failure) => Some(failure),
        Exit::StartFailed(start) => error_of(&start.exit),
        Exit::GaveUp(gave_up) => error_of(&gave_up.exit),
        Exit::AutoShutdownFailed(failure) => error_of(&failure.exit),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_released_when_they_are_not_referenced_elsewhere() {
        let mut errors = ErrorKeepAlive::default();
        let needed: Vec<Exit> = (0..10).map(|n| Exit::failed(format!("needed {n}"))).collect();
        for exit in &needed {
            assert!(errors.add(exit).0.iter().flatten().next().is_none());
        }
        let mut released = 0;
        for n in 0..1000 {
            let exit = Exit::failed(format!("short-lived {n}"));
            for error in errors.add(&exit).0.iter().flatten() {
                assert!(error.to_string().starts_with("short-lived"));
                released += 1;
            }
        }
        assert!(errors.errors.len() <= 2 * needed.len() + 2, "{} are held", errors.errors.len());
        assert_eq!(released + errors.errors.len(), 1010);
    }
}
