//! The errors that exits carry.
//!
//! The machine remembers exits and forgets them under the tree's lock; the destructor of an error is user code, which
//! must not run there. So each error is held here as well, until nobody else holds it; then it is dropped outside.

use crate::table::dispose;
use liveoak_core::{Exit, Failure};
use std::sync::Arc;

/// How many of those that are kept are looked at when one more comes in. With two, what nobody needs any more is found
/// faster than more comes: at most about twice as many are kept as are needed.
const LOOKS: usize = 2;

/// See the module.
#[derive(Default)]
pub(crate) struct Failures {
    kept: Vec<Arc<Failure>>,
    /// Where to look next.
    hand: usize,
}

/// Errors that nobody else holds, to be dropped outside the lock.
#[derive(Default)]
pub(crate) struct Unused([Option<Arc<Failure>>; LOOKS]);

impl Unused {
    /// Drops them.
    pub(crate) fn dispose(self) {
        // Filled from the front, and nearly always empty.
        if self.0[0].is_some() {
            self.0.into_iter().flatten().for_each(dispose);
        }
    }
}

impl Failures {
    /// Keeps the error of `exit`, if it has one, and returns some that are not needed any more.
    pub(crate) fn keep(&mut self, exit: &Exit) -> Unused {
        let mut unused = Unused::default();
        let Some(failure) = failure_of(exit) else { return unused };
        let mut found = 0;
        for _ in 0..LOOKS {
            if self.hand >= self.kept.len() {
                self.hand = 0;
            }
            match self.kept.get(self.hand) {
                Some(kept) if Arc::strong_count(kept) == 1 => {
                    unused.0[found] = Some(self.kept.swap_remove(self.hand));
                    found += 1;
                }
                Some(_) => self.hand += 1,
                None => break,
            }
        }
        self.kept.push(Arc::clone(failure));
        unused
    }

    /// All of them, one by one.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = Arc<Failure>> {
        self.kept.drain(..)
    }
}

fn failure_of(exit: &Exit) -> Option<&Arc<Failure>> {
    match exit {
        Exit::Failed(failure) => Some(failure),
        Exit::StartFailed(start) => failure_of(&start.exit),
        Exit::GaveUp(gave_up) => failure_of(&gave_up.exit),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_needs_any_more_is_given_back_and_what_somebody_needs_is_not() {
        let mut failures = Failures::default();
        let needed: Vec<Exit> = (0..10).map(|n| Exit::failed(format!("needed {n}"))).collect();
        for exit in &needed {
            assert!(failures.keep(exit).0.iter().flatten().next().is_none());
        }
        let mut given_back = 0;
        for n in 0..1000 {
            let exit = Exit::failed(format!("short-lived {n}"));
            for failure in failures.keep(&exit).0.iter().flatten() {
                assert!(failure.to_string().starts_with("short-lived"));
                given_back += 1;
            }
        }
        assert!(failures.kept.len() <= 2 * needed.len() + 2, "{} are kept", failures.kept.len());
        assert_eq!(given_back + failures.kept.len(), 1010);
    }
}
