//! Programs that succeed at once, again and again, although they should run permanently: what the cause may be.
//!
//! A permanent child that is really a job looks healthy, because no attempt fails. So the log says once what is
//! probably wrong. Nothing else depends on this.

use crate::command::{CommandLine, Stdin};
use crate::log::log;
use liveoak_runtime::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// An attempt that succeeds within this time has ended at once.
const AT_ONCE: Duration = Duration::from_secs(1);

/// After so many such attempts in a row the log says it.
const ENOUGH: u32 = 3;

/// Counts the attempts of a permanent child in a row that succeeded at once.
#[derive(Debug, Default)]
pub(crate) struct QuickEnds(AtomicU32);

impl QuickEnds {
    /// Counts one attempt that ended by itself. Returns `true` if the hint is due, which is once.
    fn count(&self, succeeded: bool, ran_for: Duration) -> bool {
        let counted = self.0.load(Ordering::Relaxed);
        if counted >= ENOUGH {
            return false;
        }
        let now = if succeeded && ran_for < AT_ONCE { counted + 1 } else { 0 };
        // The attempts of a child run one after another, so no other count comes between.
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

/// Returns what the cause may be, and what to do about each.
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
