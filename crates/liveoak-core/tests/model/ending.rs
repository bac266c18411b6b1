//! The reference model: when the children of a supervisor are all done, and whether that is a failure.

use crate::child::{Kind, Phase, is_failure};
use crate::reference::Model;
use liveoak_core::IdleReason;

impl Model {
    /// Returns `true` if nothing at or below `path` runs or will run without a command.
    pub(crate) fn is_done(&self, path: &str) -> bool {
        let child = self.at(path);
        match child.phase {
            Phase::Idle(why) => {
                let by_command = matches!(why, IdleReason::StoppedByCommand | IdleReason::Paused);
                child.spec.manual || !by_command && !child.by_command
            }
            Phase::Waiting => self.waits_for_held(path),
            Phase::Running if child.rules().is_some() => self.kids(path).iter().all(|kid| self.is_done(kid)),
            _ => false,
        }
    }

    /// Returns the failure with which `end_when_done` ends a supervisor because of this child, if there is one.
    pub(crate) fn bad_end(&self, path: &str) -> Option<Kind> {
        let child = self.at(path);
        match child.phase {
            // It was given up on, or processes of it are still alive.
            _ if child.is_given_up_on() => Some(if child.gave_up { "gave-up" } else { "failed" }),
            Phase::Idle(IdleReason::Finished)
                if child.stopped_by_others || child.last_exit.is_some_and(is_failure) =>
            {
                Some(if child.gave_up { "gave-up" } else { "failed" })
            }
            _ if child.is_group() => None,
            _ => self.kids(path).iter().find_map(|kid| self.bad_end(kid)),
        }
    }

    /// Returns `true` if an added temporary child failed and left `path`, or a supervisor that runs below it.
    pub(crate) fn has_failed_job(&self, path: &str) -> bool {
        let child = self.at(path);
        child.phase == Phase::Running
            && (child.job_failed || self.kids(path).iter().any(|kid| self.has_failed_job(kid)))
    }
}
