//! Notices programs that succeed at once, again and again, although they should run permanently, and logs a hint.
//!
//! A permanent child that is really a job looks healthy, because no attempt fails. So the hint names the likely causes,
//! once. Nothing else depends on the count.

use crate::command::{CommandLine, Stdin};
use crate::log::log;
use liveoak_runtime::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// An attempt that succeeds within this time has ended at once.
const AT_ONCE: Duration = Duration::from_secs(1);

/// The number of such attempts in a row after which the hint is logged.
const ENOUGH: u32 = 3;

/// Counts the attempts of a permanent child in a row that succeeded at once.
#[derive(Debug, Default)]
pub(crate) struct QuickEnds(AtomicU32);

impl QuickEnds {
    /// Counts one attempt that ended by itself. Returns `true` once, when the hint is due.
    fn count(&self, succeeded: bool, ran_for: Duration) -> bool {
        let counted = self.0.load(Ordering::Relaxed);
        if counted >= ENOUGH {
            return false;
        }
        let now = if succeeded && ran_for < AT_ONCE { counted + 1 } else { 0 };
        // The attempts of a child run one after another, so no other count comes in between.
        self.0.store(now, Ordering::Relaxed);
        now == ENOUGH
    }

    /// Counts one attempt of `command` that ended by itself, and logs the hint when it is due.
    pub(crate) fn count_and_log(
        &self,
        path: &Path,
        command: &CommandLine,
        succeeded: bool,
        ran_for: Duration,
    ) {
        if !self.count(succeeded, ran_for) {
            return;
        }
        let (path, hint) = (path.clone(), hint(command.stdin));
        log(
            move || tracing::warn!(target: "liveoak", path = %path, event = "ends-at-once", "{path}: ended without failure within a second of its start, {ENOUGH} times in a row, and is restarted each time. {hint}"),
        );
    }
}

/// Returns the possible causes, and what to do about each.
fn hint(stdin: Stdin) -> &'static str {
    match stdin {
        Stdin::Null => {
            "If it is a job, so that its end is expected: restart = \"transient\". If it ends because its input ends: stdin = \"open\". If it puts itself into the background: run it in the foreground (look for such an option of the program)."
        }
        Stdin::Open | Stdin::Inherit => {
            "If it is a job, so that its end is expected: restart = \"transient\". If it puts itself into the background: run it in the foreground (look for such an option of the program)."
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(20);

    fn counts(attempts: &[(bool, Duration)]) -> Vec<bool> {
        let ends = QuickEnds::default();
        attempts.iter().map(|&(succeeded, ran_for)| ends.count(succeeded, ran_for)).collect()
    }

    #[test]
    fn the_hint_is_printed_once_after_three_immediate_successes_in_a_row() {
        assert_eq!(counts(&[(true, SOON); 7]), [false, false, true, false, false, false, false]);
    }

    #[test]
    fn a_failure_or_a_longer_run_resets_the_count() {
        for between in [(false, SOON), (true, AT_ONCE)] {
            let attempts = [(true, SOON), (true, SOON), between, (true, SOON), (true, SOON), (true, SOON)];
            assert_eq!(counts(&attempts), [false, false, false, false, false, true], "{between:?}");
        }
    }
}
