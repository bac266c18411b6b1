//! The checks of one live attempt: when each is tried, and which of them fail. Plain data; `checks.rs` and `verdict.rs`
//! say what follows.
//!
//! The first try of a readiness or liveness check is delayed by a part of `every` that depends on the path of the child.
//! So a thousand children with the same check do not ask at the same moment.

use crate::{CheckKind, CheckSpec, CheckView, Health, Time};
use std::sync::Arc;
use std::time::Duration;

/// What a try said.
pub(super) type Answer = Result<(), Arc<str>>;

/// One check of a live attempt.
#[derive(Clone, Debug)]
struct CheckRun {
    spec: CheckSpec,
    /// The end of the time for an answer while a try is open; otherwise the beginning of the next try. [`Time::NEVER`] if
    /// the check does not run.
    at: Time,
    is_open: bool,
    /// `true` if the time for the answer was prolonged, because its end was seen late. It is prolonged only once.
    prolonged: bool,
    /// When the last try began.
    began: Time,
    tries: u64,
    /// The failed tries in a row, and the passed ones.
    failures: u32,
    passes: u32,
    /// `true` for a startup check that has not passed yet, and for another check that has failed and not passed again.
    failing: bool,
    /// When a try last passed.
    passed_at: Option<Time>,
    last: Option<(Time, Answer)>,
}

/// What a try changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Nothing,
    /// The check passes now. It did not before.
    Passes,
    /// The check fails now, or (at startup) has failed too often.
    Fails,
}

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// This try of this check has begun.
    Begun { index: u32, number: u64 },
    /// The open try of this check had no answer in time.
    Late { index: u32 },
}

/// The checks of one live attempt.
#[derive(Clone, Debug)]
pub(super) struct RunningChecks {
    runs: Box<[CheckRun]>,
    /// Since when no readiness check fails.
    ready_since: Time,
    /// The last moment at which the attempt is known to have been in order, if a check fails.
    in_order_until: Option<Time>,
    /// The attempt was stable before it ceased to be ready.
    pub(super) was_stable: bool,
}

impl RunningChecks {
    /// Begins the startup checks, or the other checks. `seed` decides the part of `every` by which each is delayed.
    pub(super) fn begin(specs: &[CheckSpec], startup: bool, now: Time, seed: u64) -> Self {
        let run = |(spec, index): (&CheckSpec, u64)| {
            let runs = (spec.kind == CheckKind::Startup) == startup;
            let spread = if startup { Duration::ZERO } else { part_of(spec.every, seed, index) };
            let at = if runs { now.after(spec.delay).after(spread) } else { Time::NEVER };
            CheckRun {
                spec: spec.clone(),
                at,
                is_open: false,
                prolonged: false,
                began: now,
                tries: 0,
                failures: 0,
                passes: 0,
                failing: startup && runs,
                passed_at: None,
                last: None,
            }
        };
        Self {
            runs: specs.iter().zip(0..).map(run).collect(),
            ready_since: now,
            in_order_until: None,
            was_stable: false,
        }
    }

    /// Returns the earliest time at which something is due.
    pub(super) fn next(&self) -> Time {
        self.runs.iter().map(|run| run.at).min().unwrap_or(Time::NEVER)
    }

    /// Returns the first thing that is due. If it is a try, the try has begun.
    pub(super) fn take_due(&mut self, now: Time) -> Option<Due> {
        let (run, index) = self.runs.iter_mut().zip(0..).find(|(run, _)| run.at <= now)?;
        if run.is_open {
            return Some(Due::Late { index });
        }
        run.is_open = true;
        run.prolonged = false;
        run.began = now;
        run.tries += 1;
        run.at = now.after(run.spec.timeout);
        Some(Due::Begun { index, number: run.tries })
    }

    /// Prolongs the open tries whose time ended more than `late` ago, by at most `further`, once each. Returns how many,
    /// and by how much the latest was late.
    pub(super) fn prolong(&mut self, now: Time, late: Duration, further: Duration) -> (u64, Duration) {
        let mut prolonged = (0, Duration::ZERO);
        for run in self.runs.iter_mut().filter(|run| run.is_open && !run.prolonged) {
            let by = now.since(run.at);
            if by > late {
                run.at = now.after(run.spec.timeout.min(further));
                run.prolonged = true;
                prolonged = (prolonged.0 + 1, prolonged.1.max(by));
            }
        }
        prolonged
    }

    /// Returns `true` if this try of this check is open.
    pub(super) fn is_open(&self, index: u32, number: u64) -> bool {
        let run = self.runs.get(index as usize);
        run.is_some_and(|run| run.is_open && run.tries == number)
    }

    /// Ends all open tries, because no answer counts any more. Returns the checks that had one.
    pub(super) fn end_open(&mut self) -> Vec<u32> {
        let ended = |(index, run): (u32, &mut CheckRun)| std::mem::take(&mut run.is_open).then_some(index);
        (0u32..).zip(&mut self.runs).filter_map(ended).collect()
    }

    /// Ends the open try of a check, and schedules the next.
    pub(super) fn close(&mut self, index: u32, now: Time, answer: Answer) -> Change {
        let ready_since = self.ready_since;
        let Some(run) = self.runs.get_mut(index as usize) else { return Change::Nothing };
        run.is_open = false;
        run.at = next_beginning(run.began, run.spec.every, now);
        let passed = answer.is_ok();
        run.last = Some((now, answer));
        if passed {
            (run.failures, run.passes) = (0, run.passes.saturating_add(1));
            run.passed_at = Some(now);
            if !run.failing || run.passes < run.spec.successes {
                return Change::Nothing;
            }
            run.failing = false;
            if run.spec.kind == CheckKind::Startup {
                run.at = Time::NEVER;
            }
            if self.in_order_until.is_some() && !self.is_unready() {
                (self.ready_since, self.in_order_until) = (now, None);
            }
            return Change::Passes;
        }
        (run.failures, run.passes) = (run.failures.saturating_add(1), 0);
        let startup = run.spec.kind == CheckKind::Startup;
        if run.failures < run.spec.failures || run.failing && !startup {
            return Change::Nothing;
        }
        run.failing = true;
        let until = run.passed_at.unwrap_or(ready_since).max(ready_since);
        self.in_order_until = Some(self.in_order_until.map_or(until, |before| before.min(until)));
        Change::Fails
    }

    /// Returns the spec of a check.
    pub(super) fn spec(&self, index: u32) -> Option<&CheckSpec> {
        self.runs.get(index as usize).map(|run| &run.spec)
    }

    /// Returns `true` if every startup check has passed.
    pub(super) fn has_started(&self) -> bool {
        !self.runs.iter().any(|run| run.failing && run.spec.kind == CheckKind::Startup)
    }

    /// Returns `true` if a readiness check fails.
    pub(super) fn is_unready(&self) -> bool {
        self.failing_readiness().is_some()
    }

    fn failing_readiness(&self) -> Option<&CheckRun> {
        self.runs.iter().find(|run| run.failing && run.spec.kind == CheckKind::Readiness)
    }

    /// Returns the health that the checks show.
    pub(super) fn health(&self) -> Health {
        if self.is_unready() { Health::Degraded } else { Health::Unknown }
    }

    /// Returns why the health is not better.
    pub(super) fn reason(&self) -> Option<Arc<str>> {
        let run = self.failing_readiness()?;
        let answer = match &run.last {
            Some((_, Err(answer))) => answer,
            Some((_, Ok(()))) | None => "it has not passed often enough again",
        };
        Some(format!("check {}: {answer}", run.spec.name).into())
    }

    /// Returns the time during which the attempt was ready without a break, as far as the checks know.
    pub(super) const fn ready_span(&self) -> (Time, Option<Time>) {
        (self.ready_since, self.in_order_until)
    }

    pub(super) fn views(&self) -> Vec<CheckView> {
        let view = |run: &CheckRun| CheckView {
            name: run.spec.name.clone(),
            kind: run.spec.kind,
            failing: run.failing,
            tries: run.tries,
            failures: run.failures,
            last: run.last.clone(),
        };
        self.runs.iter().map(view).collect()
    }
}

/// Returns a part of `every` that depends on `seed` and `index`.
fn part_of(every: Duration, seed: u64, index: u64) -> Duration {
    const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
    let mut mixed = seed.wrapping_add(index.wrapping_add(1).wrapping_mul(GOLDEN));
    mixed = (mixed ^ (mixed >> 32)).wrapping_mul(GOLDEN);
    let nanos = every.as_nanos().saturating_mul(u128::from(mixed >> 32)) >> 32;
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// Returns the first multiple of `every` after `began` that is not before `now`.
fn next_beginning(began: Time, every: Duration, now: Time) -> Time {
    let (elapsed, every) = (now.since(began).as_nanos(), every.as_nanos().max(1));
    let nanos = elapsed.div_ceil(every).max(1).saturating_mul(every);
    began.after(Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)))
}
