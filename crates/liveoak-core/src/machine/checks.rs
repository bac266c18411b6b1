//! When the checks of a child are tried.
//!
//! 1. Startup checks begin when the child would otherwise be ready: at the start of its attempt, or when it reports that it
//!    is ready. The child is ready when each of them has passed. The others begin when the child is ready.
//! 2. The next try of a check begins `every` after the beginning of the previous one, or at a later multiple of it if the
//!    previous try is not over.
//! 3. A try without an answer within `timeout` has failed. A deadline that is seen late, because the process did not run,
//!    is prolonged once, by at most a second.
//! 4. All checks end with the attempt. None is tried while the attempt stops.
//!
//! All checks of a child share one timer. What follows from an answer is in `verdict.rs`.

use super::Machine;
use super::check_run::{Due, RunningChecks};
use super::state::{Index, Phase, Purpose};
use crate::Time;
use std::time::Duration;

impl Machine {
    /// Begins the startup checks of a child, or its other checks. Returns `false` if it has none of them.
    #[inline]
    pub(super) fn begin_checks(&mut self, child: Index, startup: bool) -> bool {
        // Most children have no checks.
        let has_any = self.arena[child].spec.has_check(startup);
        if has_any {
            self.begin_given_checks(child, startup);
        }
        has_any
    }

    fn begin_given_checks(&mut self, child: Index, startup: bool) {
        let spec = &self.arena[child].spec;
        let seed = seed_of(self.arena.path_of(child).as_str());
        let checks = RunningChecks::begin(spec.checks(), startup, self.now, seed);
        self.arena.record_or_new(child).checks = Some(Box::new(checks));
        self.schedule_checks(child);
    }

    /// Returns the checks of a child, unless it is stopping or down.
    pub(super) fn running_checks(&mut self, child: Index) -> Option<&mut RunningChecks> {
        let state = &mut self.arena[child];
        if !matches!(state.phase, Phase::Starting | Phase::Running) {
            return None;
        }
        state.record.as_mut()?.checks.as_deref_mut()
    }

    /// Sets the timer of a child to what its checks wait for.
    pub(super) fn schedule_checks(&mut self, child: Index) {
        let at = self.running_checks(child).map_or(Time::NEVER, |checks| checks.next());
        self.set_timer(child, Purpose::Check, at);
    }

    /// Takes the next thing that is due for the checks of a child.
    pub(super) fn take_due_check(&mut self, child: Index) -> Option<Due> {
        let now = self.now;
        self.running_checks(child)?.take_due(now)
    }

    /// Prolongs the open tries of a child whose deadlines are seen late. Returns how many, and by how much the latest was
    /// late.
    pub(super) fn prolong_checks(
        &mut self,
        child: Index,
        late: Duration,
        further: Duration,
    ) -> (u64, Duration) {
        let now = self.now;
        self.running_checks(child).map_or((0, Duration::ZERO), |checks| checks.prolong(now, late, further))
    }
}

/// Returns a number that depends on a path (FNV-1a).
fn seed_of(path: &str) -> u64 {
    path.bytes()
        .fold(0xCBF2_9CE4_8422_2325, |seed, byte| (seed ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3))
}
