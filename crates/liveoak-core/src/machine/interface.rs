//! What goes into the machine and what comes out of it: one closed set of inputs, one of effects.

use super::request::{Command, Outcome, Refusal};
use crate::{Attempt, ChildId, Event, Exit, Health, RequestId, StopReport};
use std::sync::Arc;

/// Everything that can happen to a tree. An input about an attempt that is no longer the child's living attempt is late,
/// and changes nothing.
#[derive(Debug)]
pub enum Input {
    /// Start the tree. Only the first one has an effect.
    Start,
    /// An attempt is ready, or the dedicated runtime of a supervisor is made.
    Ready {
        /// The child.
        id: ChildId,
        /// The attempt number.
        attempt: Attempt,
    },
    /// An attempt has ended: nothing of it runs any more.
    Exited {
        /// The child.
        id: ChildId,
        /// The attempt number.
        attempt: Attempt,
        /// The exit of the attempt.
        exit: Exit,
    },
    /// The body of an attempt has ended by itself, but other parts of the attempt still run and are being stopped. From
    /// now on the child counts as stopping, within its stop deadline; `exit` decides what follows after that.
    Ending {
        /// The child.
        id: ChildId,
        /// The attempt number.
        attempt: Attempt,
        /// The exit of the body.
        exit: Exit,
    },
    /// The answer to [`Effect::CheckHeartbeat`].
    Heartbeat {
        /// The child.
        id: ChildId,
        /// The attempt number.
        attempt: Attempt,
        /// There was a heartbeat since the last check.
        beaten: bool,
    },
    /// A child reports its health.
    Health {
        /// The child.
        id: ChildId,
        /// The attempt number.
        attempt: Attempt,
        /// The health that it reports.
        health: Health,
    },
    /// A command on one child. Answered once, by [`Effect::Reply`].
    Command {
        /// The request that the reply answers.
        request: RequestId,
        /// The child.
        id: ChildId,
        /// What the child is to do.
        command: Command,
    },
    /// Stop the tree, in order, within its budget. The tree cannot be started again; a second stop changes nothing.
    Stop,
    /// Kill the whole tree now.
    Kill,
    /// Time has passed.
    Tick,
}

/// Work for the driver. Effects may be performed in any order; events are delivered in order.
#[derive(Debug)]
pub enum Effect {
    /// Start this attempt (of a supervisor: make its dedicated runtime).
    Start {
        /// The child.
        id: ChildId,
        /// The attempt number.
        attempt: Attempt,
    },
    /// Ask this attempt to stop (of a supervisor: close its dedicated runtime).
    Ask {
        /// The child.
        id: ChildId,
        /// The attempt number.
        attempt: Attempt,
    },
    /// Kill this attempt.
    Kill {
        /// The child.
        id: ChildId,
        /// The attempt number.
        attempt: Attempt,
    },
    /// Abandon this attempt: nothing waits for it any more, and nothing that it still does has an effect.
    Abandon {
        /// The child.
        id: ChildId,
        /// The attempt number.
        attempt: Attempt,
    },
    /// Forget a child: it is no longer part of the tree.
    Forget {
        /// The child.
        id: ChildId,
    },
    /// Check if this attempt gave a heartbeat since the last check, and answer with [`Input::Heartbeat`].
    CheckHeartbeat {
        /// The child.
        id: ChildId,
        /// The attempt number.
        attempt: Attempt,
    },
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
    /// The tree has ended; nothing of it runs.
    TreeEnded {
        /// The exit of the root.
        exit: Exit,
        /// The report of the root's stop.
        report: Arc<StopReport>,
    },
}
