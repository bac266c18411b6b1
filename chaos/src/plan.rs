//! The plan: the fault of each step, computed from the seed, the part of the run (0: `liveoak` lives; 1 and 2: it is
//! killed) and the number of the step.
//!
//! It does not depend on which processes exist when the step comes. So a seed always gives the same plan; but what a
//! fault meets may differ between two runs.

use crate::programs::names;
use std::fmt;
use std::time::Duration;

/// In each round of this many steps, some steps have fixed faults, so that every run contains them.
const ROUND: u64 = 300;

/// How long the output stays unread so that more is written than `liveoak` buffers.
const OUTPUT_PAUSE: Duration = Duration::from_secs(5);

/// The random numbers of one step (SplitMix64).
pub(crate) struct StepRng(u64);

impl StepRng {
    pub(crate) fn of(seed: u64, part: u64, step: u64) -> Self {
        let mut rng = Self(seed);
        for more in [part, step] {
            rng.0 = rng.below(u64::MAX) ^ more;
        }
        rng
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % limit
    }

    fn millis(&mut self, limit: u64) -> Duration {
        Duration::from_millis(self.below(limit))
    }
}

/// A process of a program's process group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Leader,
    /// The member with this number, modulo the number of members at that time.
    Member(u64),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Kill(String, Target),
    Terminate(String, Target),
    /// Suspends a process for this time; `None` means until the end of the run.
    Suspend(String, Target, Option<Duration>),
    /// Suspends `liveoak` itself, so that it reacts late to everything.
    SuspendLiveoak(Duration),
    /// `liveoak` cannot open files.
    StarveFiles(Duration),
    /// `liveoak` cannot fork.
    StarveProcesses(Duration),
    /// The output of `liveoak` is not read, so that the pipes fill up.
    PauseOutput(Duration),
    KillGuardian,
}

/// One step: a fault, then a pause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) fault: Fault,
    pub(crate) pause: Duration,
}

/// Returns step `number` of `part`. Only part 0 kills the guardian. In the other parts `liveoak` is killed, and its
/// guardian must kill the programs.
pub(crate) fn step(seed: u64, part: u64, number: u64) -> Step {
    let (mut rng, all) = (StepRng::of(seed, part, number), names(|_| true));
    let (roll, name) = (rng.below(100), all[rng.below(all.len() as u64) as usize].clone());
    let (target, time, pause) = (rng.below(u64::MAX), rng.millis(900), rng.millis(40));
    let until = (rng.below(3) > 0).then_some(time);
    let target = if target % 2 == 0 { Target::Leader } else { Target::Member(target / 2) };
    let fault = match (number % ROUND, roll) {
        (20, _) => Fault::StarveFiles(Duration::from_millis(900)),
        (45, _) => Fault::StarveProcesses(Duration::from_millis(900)),
        (65, _) if (number / ROUND).is_multiple_of(2) => Fault::PauseOutput(OUTPUT_PAUSE),
        (90, _) if part == 0 => Fault::KillGuardian,
        (_, 0..2) => Fault::SuspendLiveoak(time),
        (_, 2) => Fault::StarveFiles(time),
        (_, 3) => Fault::StarveProcesses(time),
        (_, 4..6) => Fault::PauseOutput(time),
        (_, 6..60) => Fault::Kill(name, target),
        (_, 60..75) => Fault::Terminate(name, target),
        _ => Fault::Suspend(name, target, until),
    };
    Step { fault, pause }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Leader => f.write_str("the leader"),
            Self::Member(number) => write!(f, "member {number}"),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.fault {
            Fault::Kill(name, target) => write!(f, "kill {target} of {name}"),
            Fault::Terminate(name, target) => write!(f, "terminate {target} of {name}"),
            Fault::Suspend(name, target, Some(time)) => write!(f, "suspend {target} of {name} for {time:?}"),
            Fault::Suspend(name, target, None) => write!(f, "suspend {target} of {name}"),
            Fault::SuspendLiveoak(time) => write!(f, "suspend liveoak for {time:?}"),
            Fault::StarveFiles(time) => write!(f, "no file descriptors for {time:?}"),
            Fault::StarveProcesses(time) => write!(f, "no processes for {time:?}"),
            Fault::PauseOutput(time) => write!(f, "output unread for {time:?}"),
            Fault::KillGuardian => f.write_str("kill the guardian"),
        }?;
        write!(f, ", pause {:?}", self.pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(seed: u64, part: u64) -> Vec<String> {
        (0..1000).map(|number| step(seed, part, number).to_string()).collect()
    }

    #[test]
    fn equal_seeds_give_equal_plans_and_other_seeds_or_parts_give_others() {
        assert_eq!(plan(1, 0), plan(1, 0));
        assert_ne!(plan(1, 0), plan(2, 0));
        assert_ne!(plan(1, 0), plan(1, 1));
    }

    #[test]
    fn the_plan_of_a_seed_does_not_change() {
        let first: Vec<String> = (18..21).map(|number| step(1, 0, number).to_string()).collect();
        let expected = [
            "kill the leader of forks2, pause 25ms",
            "kill the leader of steady4, pause 10ms",
            "no file descriptors for 900ms, pause 10ms",
        ];
        assert_eq!(first, expected);
    }

    #[test]
    fn the_guardian_is_not_killed_in_parts_that_kill_liveoak() {
        let kills = |part| plan(7, part).iter().filter(|step| step.starts_with("kill the guardian")).count();
        assert_eq!((kills(0), kills(1)), (4, 0));
    }
}
