//! The decision about an attempt that ended by itself: the table restart × exit.
//!
//! | | not a failure (`Completed`, `Stopped`, `AutoShutdown`) | `Ignored` | every failure |
//! |---|---|---|---|
//! | permanent | restart | ignored | restart |
//! | transient | finish | ignored | restart |
//! | temporary | finish | ignored | finish |
//!
//! Source: the OTP rows C19–C21 and C36 of docs/conformance.md. Two deviations are deliberate: a supervisor that gave
//! up has failed (C27), and an auto-shutdown is not a failure (C47).

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

/// Decides by the table of restart × exit.
#[must_use]
pub const fn decide(restart: Restart, exit: &Exit) -> Verdict {
    use {ExitClass as Class, Restart as R};
    match (restart, exit.class()) {
        (R::Permanent | R::Transient | R::Temporary, Class::Ignored) => Verdict::Ignored,
        (R::Permanent, Class::Ended | Class::Failure) | (R::Transient, Class::Failure) => Verdict::Restart,
        (R::Transient, Class::Ended) | (R::Temporary, Class::Ended | Class::Failure) => Verdict::Finish,
    }
}
