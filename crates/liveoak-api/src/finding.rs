//! What is wrong in a tree.

use crate::{Timestamp, wire};

wire! {
    /// What a finding is about, as one word.
    #[derive(Copy, Eq, Hash)]
    #[serde(rename_all = "kebab-case")]
    pub enum FindingKind {
        /// A child was given up on, or has failed and is not started again.
        GivenUp,
        /// A poll of a child takes longer than it may.
        Stuck,
        /// A program does not get its port, because another process has it.
        PortTaken,
        /// A file system on which the tree works is full.
        DiskFull,
        /// A child fails again and again.
        RestartStorm,
        /// A child waits for longer than it should.
        WaitsTooLong,
        /// A check fails and passes again and again.
        FlappingCheck,
        /// A child did not end in time after it was asked to stop.
        LateStop,
        /// The memory of a program grows steadily.
        GrowingMemory,
        /// Events or lines of output were lost.
        Lost,
        /// The whole process did not run for a while.
        ClockJump,
    }

    /// One thing that is wrong in a tree.
    pub struct Finding {
        /// What it is about.
        pub finding: FindingKind,
        /// The child; of what concerns the whole tree, the root.
        pub path: String,
        /// Since when it is so, as far as that is known.
        pub since: Timestamp,
        /// What was seen, in numbers, as one sentence.
        pub evidence: String,
        /// The command that helps, or shows more.
        pub command: String,
    }
}

impl FindingKind {
    /// All kinds, the gravest first.
    pub const ALL: [Self; 11] = [
        Self::GivenUp,
        Self::Stuck,
        Self::PortTaken,
        Self::DiskFull,
        Self::RestartStorm,
        Self::WaitsTooLong,
        Self::FlappingCheck,
        Self::LateStop,
        Self::GrowingMemory,
        Self::Lost,
        Self::ClockJump,
    ];

    /// Returns the kind as one word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::GivenUp => "given-up",
            Self::Stuck => "stuck",
            Self::PortTaken => "port-taken",
            Self::DiskFull => "disk-full",
            Self::RestartStorm => "restart-storm",
            Self::WaitsTooLong => "waits-too-long",
            Self::FlappingCheck => "flapping-check",
            Self::LateStop => "late-stop",
            Self::GrowingMemory => "growing-memory",
            Self::Lost => "lost",
            Self::ClockJump => "clock-jump",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_written_with_the_word_of_its_kind() {
        for kind in FindingKind::ALL {
            assert_eq!(serde_json::to_string(&kind).unwrap(), format!("\"{}\"", kind.as_str()));
        }
    }
}
