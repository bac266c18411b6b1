//! How a program is stopped, and which of its exits ask for a restart: the settings of its builder.

use crate::child::Program;
use crate::command::Ask;
use liveoak_runtime::RestartCodes;
use std::time::Duration;

impl Program {
    /// Sets how long the child may take to end after a kill, until it is abandoned: more than zero. The budgets of the
    /// supervisors above may end this wait earlier. Default: 2 s.
    #[must_use]
    pub const fn kill_wait(mut self, wait: Duration) -> Self {
        self.spec.set_kill_wait(wait);
        self
    }

    /// Sets how long the process group may take to end after the stop signal, before it is killed. With zero it is
    /// killed immediately; with [`Duration::MAX`] it is killed only by the budgets of the supervisors above it.
    /// Default: 5 s.
    #[must_use]
    pub const fn stop_within(mut self, within: Duration) -> Self {
        self.spec.set_stop_within(within);
        self
    }

    /// Sets how long the program is not ready any more before it gets the stop signal, as a part of its
    /// [`stop_within`](Self::stop_within); see [`unready_for` of a child](liveoak_runtime::Child::unready_for). Default: zero.
    #[must_use]
    pub const fn unready_for(mut self, time: Duration) -> Self {
        self.spec.set_unready_for(time);
        self
    }

    /// Sets the exit codes with which the program asks for its restart ([`Exit::RestartRequested`](liveoak_runtime::Exit::RestartRequested)). A code that is also a
    /// success is an error when the tree starts, and so are codes of a temporary child. Default: none.
    #[must_use]
    pub fn restart_codes(mut self, codes: impl IntoIterator<Item = i32>) -> Self {
        let codes = codes.into_iter().collect();
        self.spec.restart_codes = Some(Box::new(RestartCodes { codes, success: Vec::new() }));
        self
    }

    /// Sets which processes get the stop signal first. Default: [`Ask::Group`].
    #[must_use]
    pub fn ask(self, whom: Ask) -> Self {
        self.with(|command| command.ask(whom))
    }
}
