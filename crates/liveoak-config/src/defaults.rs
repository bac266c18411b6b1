//! The `[defaults]` of a file and of a supervisor: settings that all children below inherit until they set them themselves.
//!
//! A child takes each setting from the nearest table that has it: its own table, then its role, then the `[defaults]` of its
//! supervisor, then those of the supervisors above, up to the top level of the file. The core resolves what is part of a
//! spec ([`ChildSpec::resolve`](liveoak_core::ChildSpec::resolve)); this file resolves what is part of a command. `stop`
//! and `output` are merged key by key; a `limit` or a `backoff` is replaced as a whole. `start_within` and the times of
//! `stop` apply to programs and to children of a kind; the rest of `stop`, and `output`, to programs only.

use crate::keys::GIVE_UP;
use liveoak_core::{Above, ChildSpec};
use liveoak_process::{Ask, CommandLine, Signal};

/// The defaults that apply to the children of one supervisor. `None` is the default of the program.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Defaults {
    pub(crate) of_specs: liveoak_core::Defaults,
    /// `true` if the supervisor has an intensity, so that its children need no limits of their own.
    pub(crate) has_intensity: bool,
    pub(crate) stop_signal: Option<Signal>,
    pub(crate) stop_ask: Option<Ask>,
    pub(crate) merge_output: Option<bool>,
}

impl Defaults {
    /// Fills the settings that a child of the supervisor does not set itself.
    pub(crate) fn resolve(&self, spec: &mut ChildSpec, is_supervisor: bool) {
        let (defaults, has_intensity) = (self.of_specs, self.has_intensity);
        spec.resolve(&Above { defaults, has_intensity, give_up_of_file: Some(GIVE_UP) }, !is_supervisor);
    }

    /// Changes the defaults of a command.
    pub(crate) fn apply_to_command(&self, mut command: CommandLine) -> CommandLine {
        command.stop_signal = self.stop_signal.unwrap_or(command.stop_signal);
        command.ask = self.stop_ask.unwrap_or(command.ask);
        command.merge_output = self.merge_output.unwrap_or(command.merge_output);
        command
    }
}
