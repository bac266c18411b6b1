//! Answers to commands as words.

use super::test_driver::Answer;
use crate::{Outcome, Refusal};

/// Returns the answer as one word.
pub(super) fn word(answer: &Answer) -> &'static str {
    match answer {
        Ok(Outcome::Ready { .. }) => "ready",
        Ok(Outcome::Ignored) => "ignored",
        Ok(Outcome::Finished { .. }) => "finished",
        Ok(Outcome::Exited { .. }) => "exited",
        Ok(Outcome::Stopped(_)) => "stopped",
        Ok(Outcome::Removed(_)) => "removed",
        Ok(Outcome::Paused) => "paused",
        Ok(Outcome::Resumed) => "resumed",
        Ok(Outcome::Quarantined(_)) => "quarantined",
        Err(Refusal::NotQuarantined { .. }) => "not quarantined",
        Err(Refusal::NotFound) => "not found",
        Err(Refusal::NotDown { .. }) => "not down",
        Err(Refusal::Down { .. }) => "down",
        Err(Refusal::AlreadyExists { .. }) => "exists",
        Err(Refusal::SupervisorDown) => "supervisor down",
        Err(Refusal::NeededBy(_)) => "needed",
        Err(Refusal::TreeEnded) => "tree down",
        Err(Refusal::Failed(_)) => "failed",
        Err(Refusal::StillRuns(_)) => "still runs",
        Err(Refusal::IsTemporary) => "is-temporary",
        Err(Refusal::DeclaresNeeds { .. }) => "declares-needs",
        Err(Refusal::WaitsFor { .. }) => "waits",
        Err(Refusal::KeptDown { .. }) => "kept down",
        Err(Refusal::Superseded { .. }) => "superseded",
        Err(Refusal::Full { .. }) => "full",
        Err(Refusal::Busy) => "busy",
        Err(Refusal::DestructorsWaiting) => "destructors waiting",
        Err(Refusal::IsRoot) => "is root",
        Err(Refusal::OnlyOnce) => "only once",
        Err(_) => "wrong",
    }
}
