//! The decision about an attempt that ended by itself: the table restart × exit.
//!
//! | | not a failure (`Completed`, `Stopped`, `AutoShutdown`) | `Ignored` | every failure |
//! |---|---|---|---|
//! | permanent | restart | absent | restart |
//! | transient | finish | absent | restart |
//! | temporary | finish | absent | finish |
//!
//! Source: the OTP rows C19–C21 and C36 of docs/conformance.md. Two deviations are deliberate: a supervisor that gave up
//! has failed (C27), and an auto-shutdown is not a failure (C47).

use crate::{Exit, Restart};

/// What follows an attempt that ended by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The child is restarted, if its limits allow it.
    Restart,
    /// The child has finished and stays down.
    Finish,
    /// The child is not needed here; it counts as started, without an attempt.
    Absent,
}

/// Decides by the table of restart × exit.
#[must_use]
pub const fn decide(restart: Restart, exit: &Exit) -> Verdict {
    match (restart, exit) {
        (Restart::Permanent | Restart::Transient | Restart::Temporary, Exit::Ignored) => Verdict::Absent,
        (Restart::Permanent, Exit::Completed | Exit::Stopped | Exit::AutoShutdown) => Verdict::Restart,
        (Restart::Transient | Restart::Temporary, Exit::Completed | Exit::Stopped | Exit::AutoShutdown) => {
            Verdict::Finish
        }
        (
            Restart::Permanent | Restart::Transient,
            Exit::Failed(_)
            | Exit::Panicked(_)
            | Exit::Code(_)
            | Exit::Signal { .. }
            | Exit::StartTimeout(_)
            | Exit::HeartbeatTimeout(_)
            | Exit::Killed
            | Exit::Abandoned
            | Exit::StartFailed(_)
            | Exit::GaveUp(_),
        ) => Verdict::Restart,
        (
            Restart::Temporary,
            Exit::Failed(_)
            | Exit::Panicked(_)
            | Exit::Code(_)
            | Exit::Signal { .. }
            | Exit::StartTimeout(_)
            | Exit::HeartbeatTimeout(_)
            | Exit::Killed
            | Exit::Abandoned
            | Exit::StartFailed(_)
            | Exit::GaveUp(_),
        ) => Verdict::Finish,
    }
}
