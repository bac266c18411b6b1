//! How a tree has ended.

use crate::{CommandRecord, Exit, ExitRecord, Timestamp, TreeState, wire};

wire! {
    /// The whole story of a tree that has ended.
    pub struct Report {
        /// The path of the root.
        pub tree: String,
        /// `completed` or `failed`.
        pub state: TreeState,
        /// How the root ended.
        pub exit: Exit,
        /// When the tree began.
        pub began: Timestamp,
        /// When it had ended.
        pub ended: Timestamp,
        /// How long the stop of the whole tree took.
        pub took_s: f64,
        /// `true` if no child was killed or abandoned.
        pub clean: bool,
        /// The command that began the end; null if the tree began to end by itself.
        pub asked: Option<CommandRecord>,
        /// The first failure of any child in the whole life of the tree.
        pub first_failure: Option<FirstFailure>,
        /// Why the tree failed; null if it did not.
        pub failure: Option<TreeFailure>,
        /// The children that ran or waited to run when the stop began, in the order in which they ended.
        pub children: Vec<StoppedChild>,
        /// The number of children that stopped cleanly and are not listed.
        pub unlisted: u64,
        /// The number of children that were killed and are not listed.
        pub unlisted_forced: u64,
    }

    /// The stop of one child.
    pub struct StoppedChild {
        /// The path.
        pub path: String,
        /// The time from the request to stop until it had ended.
        pub took_s: f64,
        /// The stage that the stop reached: `cancelled`, `asked`, `killed` or `abandoned`.
        pub stage: String,
        /// How its attempt ended; null if it had none.
        pub exit: Option<Exit>,
        /// Where it is stuck, if one of its polls had exceeded its limit.
        pub stuck: Option<String>,
    }

    /// The first failure of a tree.
    pub struct FirstFailure {
        /// The child.
        pub path: String,
        /// The exit of its attempt.
        pub exit: ExitRecord,
    }

    /// Why a tree failed.
    pub struct TreeFailure {
        /// What the tree was doing when it failed: `starting`, `alive` or `stopping`.
        pub phase: TreeState,
        /// One sentence, which names the child that caused it.
        pub reason: String,
        /// `true` if the cause was a panic.
        pub panicked: bool,
        /// `false` if the tree will fail in the same way again, unless files or the configuration change.
        pub recoverable: bool,
    }
}

impl Report {
    /// Returns the exit code of `liveoak up` for this end: 1 for a failure, 3 for a forced stop, else 0.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match () {
            () if self.exit.failure && self.exit.kind != "killed" => 1,
            () if !self.clean => 3,
            () => 0,
        }
    }
}
