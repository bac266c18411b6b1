//! Gives the tree of a file the outputs of this run. It decides nothing.

use liveoak::Supervisor;
use liveoak::process::{Backpressure, OutputSink};
use liveoak_config::Config;

/// Where the output of all programs goes.
pub(crate) struct ProgramOutput {
    /// Receives the lines.
    pub(crate) sink: OutputSink,
    /// Slows the reading down.
    pub(crate) backpressure: Backpressure,
}

/// Returns the tree that `config` declares, in this mode.
pub(crate) fn tree(config: &Config, mode: Option<&str>, io: &ProgramOutput) -> Supervisor {
    let tree =
        config.supervisor(&|program| program.output(io.sink.clone()).backpressure(io.backpressure.clone()));
    let tree = tree.end_when_done();
    match mode {
        Some(mode) => tree.start_in_mode(mode),
        None => tree,
    }
}
