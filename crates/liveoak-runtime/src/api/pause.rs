//! The commands that say whether the tree may start a child by itself: pause and resume, quarantine and release.

use crate::api::child_handle::ChildHandle;
use crate::api::tree::TreeHandle;
use liveoak_core::{Command, Outcome, Path, Refusal};

impl TreeHandle {
    /// Pauses a child and all children below it, at once. What runs goes on running, and keeps its state; what ends is not
    /// started again until it is resumed, and its state is then [`IdleReason::Paused`](crate::IdleReason::Paused). Meanwhile
    /// its limit is not charged, and its end touches no sibling. [`ChildView::paused`](crate::ChildView::paused) shows the
    /// pause.
    ///
    /// A command that starts the child ends its pause too.
    ///
    /// # Errors
    /// When there is no such child, or it is being removed.
    pub async fn pause_child(&self, path: impl Into<Path>) -> Result<Outcome, Refusal> {
        self.command(&path.into(), Command::Pause).await
    }

    /// Begins to pause a child like [`pause_child`](Self::pause_child), without waiting for it.
    ///
    /// # Errors
    /// When the command is refused.
    pub fn begin_pause_child(&self, path: impl Into<Path>) -> Result<(), Refusal> {
        self.begin_command(&path.into(), Command::Pause)
    }

    /// Ends the pause of a child and of all children below it. What ended meanwhile starts. If the child itself starts, returns
    /// when its attempt is ready; otherwise returns at once. If its attempt fails, its restart rule decides what follows.
    ///
    /// # Errors
    /// When there is no such child, when its new attempt fails, or when the child still waits for another child when its start
    /// deadline is over ([`Refusal::WaitsFor`]; the child then continues to wait).
    pub async fn resume_child(&self, path: impl Into<Path>) -> Result<Outcome, Refusal> {
        self.command(&path.into(), Command::Resume).await
    }

    /// Begins to resume a child like [`resume_child`](Self::resume_child), without waiting for it.
    ///
    /// # Errors
    /// When the command is refused.
    pub fn begin_resume_child(&self, path: impl Into<Path>) -> Result<(), Refusal> {
        self.begin_command(&path.into(), Command::Resume)
    }

    /// Stops a child and quarantines it: it is unhealthy, and stays down until a command starts it, also when its supervisor
    /// restarts. It makes no trial. When the child has ended, returns how it was stopped. A member of a group, or an added
    /// child, that is temporary leaves the tree instead ([`Outcome::Stopped`]).
    ///
    /// # Errors
    /// When there is no such child, when it is being removed, or when it is the root.
    pub async fn quarantine_child(&self, path: impl Into<Path>) -> Result<Outcome, Refusal> {
        self.command(&path.into(), Command::Quarantine).await
    }

    /// Begins to quarantine a child like [`quarantine_child`](Self::quarantine_child), without waiting for it.
    ///
    /// # Errors
    /// When the command is refused.
    pub fn begin_quarantine_child(&self, path: impl Into<Path>) -> Result<(), Refusal> {
        self.begin_command(&path.into(), Command::Quarantine)
    }

    /// Ends the quarantine of a child, whether a limit or a command began it, and forgets its failures. The child starts.
    /// Returns when its attempt is ready. If its attempt fails, its restart rule decides what follows.
    ///
    /// # Errors
    /// When the child is not quarantined ([`Refusal::NotQuarantined`]), when a process of its last attempt is still alive
    /// ([`Refusal::StillRuns`]), when it can run only once ([`Refusal::OnlyOnce`]), when its supervisor is down, when its new attempt fails, or when the child still waits for
    /// another child when its start deadline is over ([`Refusal::WaitsFor`]; the child then continues to wait).
    pub async fn release_child(&self, path: impl Into<Path>) -> Result<Outcome, Refusal> {
        self.command(&path.into(), Command::Release).await
    }

    /// Begins to release a child like [`release_child`](Self::release_child), without waiting for it.
    ///
    /// # Errors
    /// When the command is refused.
    pub fn begin_release_child(&self, path: impl Into<Path>) -> Result<(), Refusal> {
        self.begin_command(&path.into(), Command::Release)
    }
}

impl ChildHandle {
    /// Pauses the child; see [`TreeHandle::pause_child`].
    ///
    /// # Errors
    /// As [`TreeHandle::pause_child`].
    pub async fn pause(&self) -> Result<Outcome, Refusal> {
        self.command(Command::Pause).await
    }

    /// Begins to pause the child, without waiting for it.
    ///
    /// # Errors
    /// When the command is refused.
    pub fn begin_pause(&self) -> Result<(), Refusal> {
        self.begin(Command::Pause)
    }

    /// Resumes the child; see [`TreeHandle::resume_child`].
    ///
    /// # Errors
    /// As [`TreeHandle::resume_child`].
    pub async fn resume(&self) -> Result<Outcome, Refusal> {
        self.command(Command::Resume).await
    }

    /// Begins to resume the child, without waiting for it.
    ///
    /// # Errors
    /// When the command is refused.
    pub fn begin_resume(&self) -> Result<(), Refusal> {
        self.begin(Command::Resume)
    }

    /// Quarantines the child; see [`TreeHandle::quarantine_child`].
    ///
    /// # Errors
    /// As [`TreeHandle::quarantine_child`].
    pub async fn quarantine(&self) -> Result<Outcome, Refusal> {
        self.command(Command::Quarantine).await
    }

    /// Begins to quarantine the child, without waiting for it.
    ///
    /// # Errors
    /// When the command is refused.
    pub fn begin_quarantine(&self) -> Result<(), Refusal> {
        self.begin(Command::Quarantine)
    }

    /// Releases the child; see [`TreeHandle::release_child`].
    ///
    /// # Errors
    /// As [`TreeHandle::release_child`].
    pub async fn release(&self) -> Result<Outcome, Refusal> {
        self.command(Command::Release).await
    }

    /// Begins to release the child, without waiting for it.
    ///
    /// # Errors
    /// When the command is refused.
    pub fn begin_release(&self) -> Result<(), Refusal> {
        self.begin(Command::Release)
    }
}
