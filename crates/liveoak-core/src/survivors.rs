//! Processes that are still alive although their attempt was abandoned.

use std::fmt;

/// The processes of an abandoned attempt that are still alive. While one of them lives, no new attempt of the child
/// starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survivors {
    /// Their process ids.
    pub pids: Vec<u32>,
    /// What the system said about each process that it refused to kill. `None` if the kill was not refused: the
    /// processes were killed, but have not ended.
    pub refused: Option<String>,
}

impl fmt::Display for Survivors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(refused) = &self.refused {
            return write!(f, "the system refused to kill {refused}");
        }
        let pids: Vec<String> = self.pids.iter().map(u32::to_string).collect();
        let (noun, verb, end) = match pids.len() {
            1 => ("process", "was", "has"),
            _ => ("processes", "were", "have"),
        };
        let pids = pids.join(", ");
        write!(f, "{noun} {pids} {verb} killed but {end} not ended; a process in state D cannot end")
    }
}
