//! The plan: what is done at each step, from the seed, the part and the number of the step alone. What is there to be
//! harmed when the step comes changes none of it.

use crate::programs::names;
use std::fmt;
use std::time::Duration;

/// How often luck is left aside: at some steps of each so many comes what must have happened in every run.
const ROUND: u64 = 300;

/// So long nobody reads the output, when more than `liveoak` keeps is to come.
const DEAF: Duration = Duration::from_secs(5);

/// SplitMix64.
pub(crate) struct Luck(u64);

impl Luck {
    /// The dice of one step.
    pub(crate) fn of(seed: u64, part: u64, step: u64) -> Self {
        let mut luck = Self(seed);
        for more in [part, step] {
            luck.0 = luck.below(u64::MAX) ^ more;
        }
        luck
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

/// Which process of a program's group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whom {
    Leader,
    /// Counted through the group as it then is.
    Member(u64),
}

/// What is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Harm {
    Kill(String, Whom),
    Terminate(String, Whom),
    /// For so long; none is until the harm is over.
    Suspend(String, Whom, Option<Duration>),
    /// `liveoak` itself: it comes late to everything.
    SuspendLiveoak(Duration),
    /// `liveoak` can open nothing.
    StarveFiles(Duration),
    /// `liveoak` can fork nothing.
    StarveProcesses(Duration),
    /// The output of the programs is not read: the pipes fill up.
    Deafen(Duration),
    KillGuardian,
}

/// One step: something is done, then nothing for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) harm: Harm,
    pub(crate) rest: Duration,
}

/// What step `number` of `part` is. In the first part `liveoak` lives on; in the others it is killed, and its guardian
/// is spared: who kills both at once has killed what would have tidied up.
pub(crate) fn step(seed: u64, part: u64, number: u64) -> Step {
    let (mut luck, all) = (Luck::of(seed, part, number), names(|_| true));
    let (roll, name) = (luck.below(100), all[luck.below(all.len() as u64) as usize].clone());
    let (whom, time, rest) = (luck.below(u64::MAX), luck.millis(900), luck.millis(40));
    let until = (luck.below(3) > 0).then_some(time);
    let whom = if whom % 2 == 0 { Whom::Leader } else { Whom::Member(whom / 2) };
    let harm = match (number % ROUND, roll) {
        (20, _) => Harm::StarveFiles(Duration::from_millis(900)),
        (45, _) => Harm::StarveProcesses(Duration::from_millis(900)),
        (65, _) if (number / ROUND).is_multiple_of(2) => Harm::Deafen(DEAF),
        (90, _) if part == 0 => Harm::KillGuardian,
        (_, 0..2) => Harm::SuspendLiveoak(time),
        (_, 2) => Harm::StarveFiles(time),
        (_, 3) => Harm::StarveProcesses(time),
        (_, 4..6) => Harm::Deafen(time),
        (_, 6..60) => Harm::Kill(name, whom),
        (_, 60..75) => Harm::Terminate(name, whom),
        _ => Harm::Suspend(name, whom, until),
    };
    Step { harm, rest }
}

impl fmt::Display for Whom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Leader => f.write_str("the leader"),
            Self::Member(number) => write!(f, "member {number}"),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.harm {
            Harm::Kill(name, whom) => write!(f, "kill {whom} of {name}"),
            Harm::Terminate(name, whom) => write!(f, "terminate {whom} of {name}"),
            Harm::Suspend(name, whom, Some(time)) => write!(f, "suspend {whom} of {name} for {time:?}"),
            Harm::Suspend(name, whom, None) => write!(f, "suspend {whom} of {name}"),
            Harm::SuspendLiveoak(time) => write!(f, "suspend liveoak for {time:?}"),
            Harm::StarveFiles(time) => write!(f, "no file descriptors for {time:?}"),
            Harm::StarveProcesses(time) => write!(f, "no processes for {time:?}"),
            Harm::Deafen(time) => write!(f, "output unread for {time:?}"),
            Harm::KillGuardian => f.write_str("kill the guardian"),
        }?;
        write!(f, ", rest {:?}", self.rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(seed: u64, part: u64) -> Vec<String> {
        (0..1000).map(|number| step(seed, part, number).to_string()).collect()
    }

    #[test]
    fn a_seed_always_has_the_same_plan_and_another_seed_or_part_another() {
        assert_eq!(plan(1, 0), plan(1, 0));
        assert_ne!(plan(1, 0), plan(2, 0));
        assert_ne!(plan(1, 0), plan(1, 1));
    }

    #[test]
    fn the_plan_of_a_seed_is_the_one_it_had_yesterday() {
        let first: Vec<String> = (18..21).map(|number| step(1, 0, number).to_string()).collect();
        let expected = [
            "kill the leader of forks2, rest 25ms",
            "kill the leader of steady4, rest 10ms",
            "no file descriptors for 900ms, rest 10ms",
        ];
        assert_eq!(first, expected);
    }

    #[test]
    fn the_guardian_is_spared_where_liveoak_is_killed() {
        let kills = |part| plan(7, part).iter().filter(|step| step.starts_with("kill the guardian")).count();
        assert_eq!((kills(0), kills(1)), (4, 0));
    }
}
