//! The output of the programs of a tree, for an observer of the tree.

use crate::attempt::panic::catch;
use liveoak_core::{Attempt, Path};

/// One line that a program wrote, or a piece of a long line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputPiece<'a> {
    /// The child that wrote it.
    pub path: &'a Path,
    /// The attempt that wrote it.
    pub attempt: Attempt,
    /// The stream: `stdout` or `stderr`.
    pub stream: &'static str,
    /// The text without its line end.
    pub text: &'a str,
    /// `true` if the line continues in the next piece of this stream.
    pub continued: bool,
    /// `true` if this is not the first piece of its line. The last piece of a line may be empty.
    pub continues: bool,
}

/// Gets the output of programs.
pub(crate) type OutputWatch = Box<dyn Fn(OutputPiece<'_>) + Send + Sync>;

/// The output of a tree is watched already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputWatched;

impl std::fmt::Display for OutputWatched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the output of this tree is watched already")
    }
}

impl std::error::Error for OutputWatched {}

/// Gives a piece to a watcher, whose code is user code and may panic.
pub(crate) fn deliver(watch: &OutputWatch, piece: OutputPiece<'_>) {
    let _ = catch(None, || watch(piece));
}
