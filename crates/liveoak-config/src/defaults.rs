//! The `[defaults]` of a file and of a supervisor: settings that all children below inherit until they set them themselves.
//!
//! A child takes each setting from the nearest table that has it: its own table, then the `[defaults]` of its supervisor,
//! then those of the supervisors above, up to the top level of the file. `stop` and `output` are merged key by key;
//! `limit` and `backoff` replace as a whole. `stop`, `start_within` and `output` apply to programs only.
//!
//! A default has no effect on a child that it does not fit (a limit on a temporary child, a start deadline on a child
//! that is ready at once). This is not an error; only a key in the table of the child itself must have an effect.

use liveoak_core::{Backoff, ChildSpec, Limit, Restart};
use liveoak_process::{Ask, CommandLine, Signal};
use std::time::Duration;

/// The defaults that apply to the children of one supervisor. `None` is the default of the program.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Defaults {
    pub(crate) restart: Option<Restart>,
    /// `Some(None)` is `backoff = false`.
    pub(crate) backoff: Option<Option<Backoff>>,
    pub(crate) limit: Option<Limit>,
    pub(crate) start_within: Option<Duration>,
    pub(crate) stop_signal: Option<Signal>,
    pub(crate) stop_ask: Option<Ask>,
    pub(crate) stop_within: Option<Duration>,
    pub(crate) kill_wait: Option<Duration>,
    pub(crate) unready_for: Option<Duration>,
    pub(crate) merge_output: Option<bool>,
}

impl Defaults {
    /// Changes the defaults of a program, or of a supervisor.
    pub(crate) fn apply(&self, spec: &mut ChildSpec, is_supervisor: bool) {
        spec.restart = self.restart.unwrap_or(spec.restart);
        spec.backoff = self.backoff.unwrap_or(spec.backoff);
        spec.limit = self.limit.or(spec.limit);
        if !is_supervisor {
            spec.start_within = self.start_within.unwrap_or(spec.start_within);
            spec.stop_within = self.stop_within.unwrap_or(spec.stop_within);
            spec.kill_wait = self.kill_wait.unwrap_or(spec.kill_wait);
            spec.unready_for = self.unready_for.unwrap_or(spec.unready_for);
        }
    }

    /// Changes the defaults of a command.
    pub(crate) fn apply_to_command(&self, mut command: CommandLine) -> CommandLine {
        command.stop_signal = self.stop_signal.unwrap_or(command.stop_signal);
        command.ask = self.stop_ask.unwrap_or(command.ask);
        command.merge_output = self.merge_output.unwrap_or(command.merge_output);
        command
    }
}
