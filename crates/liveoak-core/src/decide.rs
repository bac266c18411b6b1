//! The decision about an attempt that ended by itself: the table restart × exit.
//!
//! | | not a failure (`Completed`, `Stopped`, `AutoShutdown`) | `Ignored` | `AutoShutdownFailed` | `RestartRequested` | every other failure |
//! |---|---|---|---|---|---|
//! | permanent | restart | ignored | restart | restart | restart |
//! | transient | finish | ignored | finish | restart | restart |
//! | temporary | finish | ignored | finish | finish | finish |
//!
//! Source: the OTP rows C19–C21 and C36 of docs/conformance.md. Two deviations are deliberate. A supervisor that gave
//! up has failed (C27). An auto-shutdown is a failure exactly if a significant child had failed (C47). A transient
//! supervisor is still not restarted after it, because the supervisor was declared to end then.

use crate::exit::ExitClass;
use crate::{Exit, Restart};

/// What follows an attempt that ended by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The child is restarted, if its limits allow it.
    Restart,
    /// The child has finished and stays down.
    Finish,
    /// The child is not needed here; it counts as started, without an attempt.
    Ignored,
}

/// Returns what the table restart × exit says.
#[must_use]
pub const fn decide(restart: Restart, exit: &Exit) -> Verdict {
    use {ExitClass as Class, Restart as R};
    match (restart, exit.class()) {
        (R::Permanent | R::Transient | R::Temporary, Class::Ignored) => Verdict::Ignored,
        (R::Permanent | R::Transient, Class::RestartRequest) => Verdict::Restart,
        (R::Permanent, Class::Ended | Class::Failure | Class::FailedEnd) => Verdict::Restart,
        (R::Transient, Class::Failure) => Verdict::Restart,
        (R::Transient, Class::Ended | Class::FailedEnd) => Verdict::Finish,
        (R::Temporary, Class::Ended | Class::Failure | Class::FailedEnd | Class::RestartRequest) => {
            Verdict::Finish
        }
    }
}
