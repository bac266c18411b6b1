//! The decision about an attempt that ended by itself: one table, restart × exit.
//!
//! | | what was wanted (`Completed`, `Stopped`, `AutoShutdown`) | `Ignored` | every failure |
//! |---|---|---|---|
//! | permanent | restart | absent | restart |
//! | transient | finish | absent | restart |
//! | temporary | finish | absent | finish |
//!
//! Source: OTP rows C19–C21 and C36. That giving up is a failure, and an auto-shutdown is none, are decided
//! deviations (C27, C47).

use crate::{Exit, Restart};

/// What becomes of a child whose attempt ended by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is to be restarted (if its limits allow it).
    Restart,
    /// It has done its part and stays down.
    Finish,
    /// It is not needed here; it counts as started, without an attempt.
    Absent,
}

/// The table above.
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
