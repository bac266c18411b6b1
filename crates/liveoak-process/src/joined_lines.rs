//! Lines of output as the log probe needs them: whole, although long lines arrive in pieces.

use crate::lines::MAX_LINE;
use crate::output::OutputLine;

/// Joins the pieces of a line for the probe, which needs the whole line.
#[derive(Default)]
pub(crate) struct JoinedLines {
    /// The line so far, by stream: at most `MAX_LINE` bytes and the latest piece.
    so_far: [String; 2],
}

impl JoinedLines {
    /// Calls `observe` with all that has arrived of the line to which `piece` belongs.
    pub(crate) fn with_line(&mut self, piece: OutputLine<'_>, observe: impl FnOnce(&str)) {
        if !piece.continues && !piece.continued {
            return observe(piece.text);
        }
        let so_far = &mut self.so_far[piece.stream as usize];
        if !piece.continues || so_far.len() > MAX_LINE {
            so_far.clear();
        }
        so_far.push_str(piece.text);
        observe(so_far);
        if !piece.continued {
            *so_far = String::new();
        }
    }
}
