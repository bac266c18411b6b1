//! Watching the output of the programs of a tree.

use crate::api::tree::TreeHandle;
use crate::engine::output::{OutputPiece, OutputWatched};

impl TreeHandle {
    /// Gives the output of all programs of the tree to `watch`, in addition to where it goes otherwise: each line, in the order
    /// of its stream, from now on. `watch` is called by the tasks that read the output, so it must not block. Called in
    /// [`Supervisor::on_begin`](crate::Supervisor::on_begin), it misses nothing. A tree has one watcher at most.
    ///
    /// # Errors
    /// When the output is watched already.
    pub fn watch_output(
        &self,
        watch: impl Fn(OutputPiece<'_>) + Send + Sync + 'static,
    ) -> Result<(), OutputWatched> {
        self.inner.output.set(Box::new(watch)).map_err(|_| OutputWatched)
    }
}
