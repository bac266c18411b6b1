//! How a change to a mode ends, and what it did.

use liveoak_core::{ChildId, Name, PlanStep, Refusal};
use std::fmt;

/// What follows when a step of a change to a mode fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OnFailure {
    /// The change goes back to the former mode, as far as possible. What it stopped is started again and supervised by the
    /// ordinary rules. What it started is stopped; what a command had started before the change runs on.
    #[default]
    Back,
    /// The change ends at the failed step. The new mode is in force, but the child of the failed step stays down, and the
    /// steps that are left are not done. A further change to the same mode tries them again.
    Stay,
}

/// How a change to a mode ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ModeEnd {
    /// All steps were done.
    Complete,
    /// A step failed, and the change ended there ([`OnFailure::Stay`]).
    Stayed,
    /// A step failed, and the change went back ([`OnFailure::Back`]).
    WentBack,
    /// A later change began, or the tree ended.
    Superseded,
}

/// A step that failed.
#[derive(Clone, Debug)]
pub struct FailedStep {
    /// The step.
    pub step: PlanStep,
    /// Why it failed.
    pub refusal: Refusal,
    pub(crate) id: ChildId,
}

/// What a change to a mode did.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ModeReport {
    /// The mode that is in force now; `None` if all declared children are wanted.
    pub mode: Option<Name>,
    /// How the change ended.
    pub end: ModeEnd,
    /// The steps that were done, in order. A child that a command stopped meanwhile, or that has left the tree, is kept.
    pub done: Vec<PlanStep>,
    /// The step that failed.
    pub failed: Option<FailedStep>,
    /// The steps that were not done, in order: also those on the way back, if that was superseded.
    pub not_done: Vec<PlanStep>,
    /// The steps that were done to go back, in order.
    pub back: Vec<PlanStep>,
    /// The children that should run after going back, and are not up. Their own rules decide when they start.
    pub not_up: Vec<FailedStep>,
}

impl ModeReport {
    pub(crate) const fn new(mode: Option<Name>, end: ModeEnd) -> Self {
        Self {
            mode,
            end,
            done: Vec::new(),
            failed: None,
            not_done: Vec::new(),
            back: Vec::new(),
            not_up: Vec::new(),
        }
    }

    /// Returns `true` if all steps were done.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        matches!(self.end, ModeEnd::Complete)
    }
}

impl fmt::Display for FailedStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.step.step, self.step.path, self.refusal)
    }
}

/// Shows one line for the end, and one for each step.
impl fmt::Display for ModeReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = match self.end {
            ModeEnd::Complete => "all steps were done",
            ModeEnd::Stayed => "a step failed, and the change ended there",
            ModeEnd::WentBack => "a step failed, and the change went back",
            ModeEnd::Superseded => "a later change, or the end of the tree, ended this one",
        };
        match &self.mode {
            Some(mode) => writeln!(f, "mode `{mode}` is in force: {end}")?,
            None => writeln!(f, "no mode is in force: {end}")?,
        }
        let mut steps = |word: &str, steps: &[PlanStep]| -> fmt::Result {
            steps.iter().try_for_each(|step| writeln!(f, "  {word}: {} {}", step.step, step.path))
        };
        steps("done", &self.done)?;
        steps("not done", &self.not_done)?;
        steps("back", &self.back)?;
        self.failed.iter().try_for_each(|step| writeln!(f, "  failed: {step}"))?;
        self.not_up.iter().try_for_each(|step| writeln!(f, "  not up: {step}"))
    }
}
