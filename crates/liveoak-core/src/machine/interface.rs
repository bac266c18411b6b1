//! The interface of the machine: inputs, effects, and commands with their replies.

use super::Moment;
use crate::{
    Attempt, ChildId, Event, Exit, Health, Name, Path, RequestId, SpecErrors, StopReport, StuckPoll,
    Survivors,
};
use std::fmt;
use std::sync::Arc;

/// Everything that can happen to a tree. An input about an attempt that is no longer the live attempt of its child is a
/// late message: it changes nothing.
#[derive(Debug)]
pub enum Input {
    /// Start the tree. Only the first one has an effect.
    Start,
    /// An attempt is ready. For a supervisor: its dedicated runtime was made.
    Ready(ChildId, Attempt),
    /// An attempt has ended with this exit. All its parts have ended.
    Exited(ChildId, Attempt, Exit),
    /// The body of an attempt has ended by itself, but other parts of the attempt still run and are being stopped. From
    /// now on the child is stopping, within its stop deadline. When all parts have ended, the exit of the body decides
    /// what follows.
    Ending(ChildId, Attempt, Exit),
    /// An attempt runs processes, which may live on if it is abandoned. If the system has refused to kill some of them, the
    /// attempt is abandoned as soon as it is killed.
    MaySurvive(ChildId, Attempt, Arc<Survivors>),
    /// The last process of an attempt is gone. Unlike the other inputs, this input also has an effect after the
    /// attempt was abandoned.
    Gone(ChildId, Attempt),
    /// The answer to [`Effect::CheckHeartbeat`]: `true` if there was a heartbeat since the last check.
    Heartbeat(ChildId, Attempt, bool),
    /// A child reports its health, and why. [`Health::Unknown`] withdraws what it reported before.
    Health(ChildId, Attempt, Health, Option<Arc<str>>),
    /// A poll of an attempt has exceeded its limit ([`Machine::poll_limit`](super::Machine::poll_limit)).
    Stuck(ChildId, Attempt, Arc<StuckPoll>),
    /// No poll of an attempt that was reported as [`Stuck`](Self::Stuck) exceeds its limit any more.
    Unstuck(ChildId, Attempt),
    /// The answer to [`Effect::Check`]: the same check and try, and what the try said.
    Checked(ChildId, Attempt, u32, u64, Result<(), Arc<str>>),
    /// A command on one child. Answered once, by [`Effect::Reply`].
    Command {
        /// The request that the reply answers.
        request: RequestId,
        /// The child.
        id: ChildId,
        /// What the child is to do.
        command: Command,
    },
    /// One step of a change to a mode: a declared child is wanted from now on, or no longer. Answered once, by
    /// [`Effect::Reply`], like a command to start or to stop the child.
    Want {
        /// The request that the reply answers.
        request: RequestId,
        /// The child.
        id: ChildId,
        /// Whether it is wanted.
        wanted: Wanted,
    },
    /// Wait for a moment in the life of a child. Answered once, by [`Effect::Reply`], unless the tree ends before.
    Watch {
        /// The request that the reply answers.
        request: RequestId,
        /// The child.
        id: ChildId,
        /// The moment.
        moment: Moment,
    },
    /// Stop the tree, in order, within its budget. The tree cannot be started again; a second stop changes nothing.
    Stop,
    /// Kill the whole tree now.
    Kill,
    /// Time has passed.
    Tick,
}

/// What a step of a change to a mode wants of a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The child stops, and stays down until a mode or a command wants it.
    No,
    /// The child starts. If the start fails, the child is not wanted any more, and no other child is touched.
    IfItStarts,
    /// The child starts, and its own rules decide what follows a failed start.
    Yes,
}

/// Work for the driver. Effects may be performed in any order; events are delivered in order.
#[derive(Debug)]
pub enum Effect {
    /// Start this attempt. For a supervisor: make its dedicated runtime.
    Start(ChildId, Attempt),
    /// Ask this attempt to stop. For a supervisor: close its dedicated runtime.
    Ask(ChildId, Attempt),
    /// Kill this attempt.
    Kill(ChildId, Attempt),
    /// Abandon this attempt: nothing waits for it any more, and what it still does changes nothing in the tree.
    Abandon(ChildId, Attempt),
    /// Forget a child: it is no longer part of the tree. The second id is that of its supervisor.
    Forget(ChildId, ChildId),
    /// Drop the body of a leaf, or the template of a group: the child never starts again, but stays listed.
    LetGo(ChildId),
    /// Check whether this attempt gave a heartbeat since the last check, and answer with [`Input::Heartbeat`].
    CheckHeartbeat(ChildId, Attempt),
    /// Begin a try of the check with this position in [`ChildSpec::checks`](crate::ChildSpec), and answer with
    /// [`Input::Checked`]. The last number is that of the try.
    Check(ChildId, Attempt, u32, u64),
    /// Drop the try of this check, because its time is over. All tries also end when the attempt is asked to stop, is killed
    /// or has ended.
    EndCheck(ChildId, Attempt, u32),
    /// Deliver the answer to a command.
    Reply {
        /// The request that it answers.
        request: RequestId,
        /// What the command did, or why it was refused.
        result: Result<Outcome, Refusal>,
    },
    /// Deliver an event to the subscribers.
    Event(Box<Event>),
    /// The whole tree is ready for the first time.
    TreeReady,
    /// The tree has ended. Only abandoned attempts may still run.
    TreeEnded {
        /// The exit of the root.
        exit: Exit,
        /// The report of the root's stop.
        report: Arc<StopReport>,
    },
}

/// The most commands that may wait for an answer about one child. A further command is refused as [`Refusal::Busy`].
pub const MAX_WAITERS: usize = 1024;

/// A command for a child that is part of the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Starts a child that is down. Answered when the child is ready, or when the start failed. After a failed start the
    /// child stays down, and the failure does not count against any limit. If the child still waits for its dependencies
    /// when its start deadline is over, the answer says so, and the child starts later.
    Start,
    /// Stops the child. It stays down until a command starts it. Answered when the child is down.
    Stop,
    /// Stops the child if it runs, and starts it again without backoff. The restart does not count against any limit.
    /// Answered when the new attempt is ready or has failed. If the new attempt failed and the child ran before the
    /// command, the restart rule of the child decides what follows.
    Restart,
    /// Stops the child if it runs, and takes it out of the tree. Answered when the child has left the tree.
    Remove,
    /// Pauses the child and all children below it: what runs goes on running, and what ends is not started again until
    /// [`Resume`](Self::Resume), or another command, starts it. Answered at once.
    Pause,
    /// Ends the pause of the child and of all children below it. What ended meanwhile starts. Answered at once, or, if the
    /// child itself starts, when its attempt is ready or has failed; after a failure its restart rule decides.
    Resume,
    /// Stops the child, and quarantines it: it is unhealthy, and stays down until a command starts it, also when its
    /// supervisor restarts. It makes no trial. Answered when the child is down.
    Quarantine,
    /// Ends the quarantine of a child, whether a limit or a command began it, and forgets its failures. The child starts.
    /// Answered when its attempt is ready or has failed; after a failure its restart rule decides.
    Release,
}

impl Command {
    /// Returns the command as one word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::Remove => "remove",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Quarantine => "quarantine",
            Self::Release => "release",
        }
    }

    /// Returns `true` if the command asks for an attempt.
    pub(super) const fn is_start(self) -> bool {
        matches!(self, Self::Start | Self::Restart | Self::Resume | Self::Release)
    }
}

/// What a command did.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// The child is ready.
    Ready {
        /// The child.
        id: ChildId,
        /// The number of its new attempt.
        attempt: Attempt,
    },
    /// The child reported that it is not needed here. It counts as started.
    Ignored,
    /// The child ended with success before it was ready.
    Finished {
        /// The exit of its attempt.
        exit: Exit,
    },
    /// The awaited attempt has ended.
    Exited {
        /// The child.
        id: ChildId,
        /// The number of the attempt.
        attempt: Attempt,
        /// Its exit.
        exit: Exit,
    },
    /// The child is down and stays down.
    Stopped(StopReport),
    /// The child is no longer part of the tree.
    Removed(StopReport),
    /// The child is paused, with all children below it. The members of a group follow one by one.
    Paused,
    /// The child is not paused any more, and no child below it is. It runs, or it is down for another reason.
    Resumed,
    /// The child is down and quarantined.
    Quarantined(StopReport),
}

/// Why a command was refused.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Refusal {
    /// The tree has no such child, or no longer has it.
    NotFound,
    /// The child runs, is about to run, or stops only to start again: there is nothing to start.
    NotDown {
        /// The state of the child, as one word.
        state: &'static str,
    },
    /// The child is not quarantined: there is nothing to release.
    NotQuarantined {
        /// The state of the child, as one word.
        state: &'static str,
    },
    /// The child is down, and only a command starts it: there is no readiness to wait for.
    Down {
        /// The state of the child, as one word.
        state: &'static str,
    },
    /// A child of this name already exists.
    AlreadyExists {
        /// The state of that child, as one word.
        state: &'static str,
    },
    /// The supervisor of the child is down or stopping, or the child is being removed, or is the root.
    SupervisorDown,
    /// The child is not a supervisor, so it has no children.
    NotASupervisor,
    /// The supervisor is a dynamic group, whose members are made from its template only.
    IsAGroup,
    /// The child is not a dynamic group, so it has no members.
    NotAGroup,
    /// The group, or the supervisor, is full.
    Full {
        /// The most members or children that it may have.
        max: u32,
    },
    /// The spec is wrong.
    Invalid(SpecErrors),
    /// These siblings come after the child and must be removed first.
    NeededBy(Vec<Name>),
    /// The child is the root, which can be stopped but not removed.
    IsRoot,
    /// The body of the child can be made only once, or was dropped when the child ended for good. Children that are
    /// declared with `keep()` can be started again.
    OnlyOnce,
    /// The supervisor, or one above it, declares `needs`. When it is stopped for a need, it must be able to come back as it
    /// was, so no child can be added below it.
    DeclaresNeeds {
        /// The supervisor that declares `needs`.
        path: Path,
    },
    /// The child is temporary, so it is never restarted, and cannot ask for its restart.
    IsTemporary,
    /// Too many commands wait for this child, or for children of this tree.
    Busy,
    /// Too many values of earlier children wait for their destructors, so no child is added.
    DestructorsWaiting,
    /// The tree has ended.
    TreeEnded,
    /// The start was tried, and the attempt failed.
    Failed(Exit),
    /// Processes of the last attempt, which was abandoned, are still alive. The child can start when they are gone.
    StillRuns(Arc<Survivors>),
    /// The child still waits for another child when its start deadline is over. If the other child is stopped or
    /// quarantined, or has ended for good, the answer comes immediately. The child continues to wait, and starts when
    /// its dependencies are satisfied.
    WaitsFor {
        /// What the child waits for.
        path: Path,
    },
    /// The child starts only when it is asked for, and it would wait for this sibling, which a command keeps down or which is
    /// quarantined. Start the sibling first.
    KeptDown {
        /// The sibling.
        path: Path,
        /// Its state, as one word.
        state: &'static str,
    },
    /// A later command or a restart superseded this one.
    Superseded {
        /// The command or the restart.
        by: &'static str,
    },
    /// The caller runs in a child that must end, or become ready, before there is an answer. The wait is refused, not
    /// the command. Use the `begin_` form of the command, or return. To wait until the stop of the calling child begins,
    /// wrap the call in `ctx.unless_stopping`.
    WouldWaitForItself {
        /// `true` if the awaited change has begun: the command was carried out, or the tree is starting. `false` if the
        /// caller only waits for the end of the tree, and no stop was requested by this call.
        begun: bool,
    },
    /// The attempt has ended, so it can leave nothing to the next one.
    TooLate,
    /// The caller runs in an attempt that was abandoned, and such an attempt cannot change the tree any more.
    Abandoned,
    /// The caller does not run inside a child of any tree, so there is no supervisor to which a child could be added.
    NotInATree,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("there is no such child"),
            Self::NotDown { state } => write!(f, "the child is not down: it is {state}"),
            Self::NotQuarantined { state } => write!(f, "the child is not quarantined: it is {state}"),
            Self::Down { state } => {
                write!(f, "the child is down: it is {state}, and only a command starts it")
            }
            Self::AlreadyExists { state } => write!(f, "a child of that name exists: it is {state}"),
            Self::SupervisorDown => f.write_str("its supervisor is down or stopping, or it is being removed, or it is a root that stops"),
            Self::NotASupervisor => f.write_str("it is not a supervisor, so it has no children"),
            Self::IsAGroup => {
                f.write_str("it is a dynamic group, so its members come from its template only")
            }
            Self::NotAGroup => f.write_str("it is not a dynamic group"),
            Self::Full { max } => write!(f, "it is full: it may have {max} members or children"),
            Self::Invalid(errors) => write!(f, "its spec is wrong: {errors}"),
            Self::NeededBy(names) => {
                f.write_str("these siblings come after it and must be removed first:")?;
                names.iter().try_for_each(|name| write!(f, " {name}"))
            }
            Self::IsRoot => f.write_str("it is the root of the tree, which can only be stopped"),
            Self::DeclaresNeeds { path } => {
                write!(f, "{path} declares needs, and a stop for a need would lose the added child")
            }
            Self::IsTemporary => f.write_str("it is temporary, so it is never restarted"),
            Self::Busy => f.write_str("too many commands wait for this child, or for its tree"),
            Self::DestructorsWaiting => {
                f.write_str("too many values of earlier children wait for their destructors")
            }
            Self::OnlyOnce => f.write_str(
                "it has ended for good, or runs only once; a child that is declared with keep() can be started again",
            ),
            Self::TreeEnded => f.write_str("the tree has ended"),
            Self::Failed(exit) => write!(f, "the attempt failed: {exit}"),
            Self::StillRuns(survivors) => write!(f, "processes of its last attempt are still alive: {survivors}"),
            Self::WaitsFor { path } => write!(f, "it still waits for {path}, and starts when it may"),
            Self::KeptDown { path, state } => {
                write!(f, "it would wait for {path}, which is {state}; start that one first")
            }
            Self::Superseded { by } => write!(f, "it was overtaken by {by}"),
            Self::WouldWaitForItself { begun } => {
                f.write_str(if *begun { "it has begun, but " } else { "" })?;
                f.write_str(
                    "the caller would wait for its own end or readiness: use the `begin_` form, which does not wait",
                )
            }
            Self::TooLate => f.write_str("the attempt has ended"),
            Self::Abandoned => f.write_str("the caller runs in an attempt that was abandoned"),
            Self::NotInATree => f.write_str("this code does not run inside a supervised child"),
        }
    }
}

impl std::error::Error for Refusal {}
