//! Who gives a command and why, and the question what a child does now.

use crate::api::tree::TreeHandle;
use liveoak_core::{Attempt, ChildId, Explanation, Origin, Path, Text};
use std::sync::Arc;

impl TreeHandle {
    /// Returns a handle whose commands say who gives them, for example `ci` or the name of a person.
    ///
    /// The actor and the reason are texts of at most 256 bytes. They are in the events that follow from the command
    /// ([`Event::origin`](crate::Event::origin)), in the last commands of the tree
    /// ([`Snapshot::commands`](crate::Snapshot::commands)), and in the final report if the command ended the tree.
    ///
    /// ```no_run
    /// # async fn deploy(tree: &liveoak_runtime::TreeHandle) -> Result<(), liveoak_runtime::Refusal> {
    /// tree.by("ci").because("deploy of release 7").restart_child("/shop/api").await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn by(&self, who: impl Into<Text>) -> Self {
        self.with_origin(|origin| origin.by = Some(who.into()))
    }

    /// Returns a handle whose commands say why they are given, for example `deploy`. See [`by`](Self::by).
    #[must_use]
    pub fn because(&self, why: impl Into<Text>) -> Self {
        self.with_origin(|origin| origin.because = Some(why.into()))
    }

    fn with_origin(&self, change: impl FnOnce(&mut Origin)) -> Self {
        let mut origin = self.origin.as_deref().cloned().unwrap_or_default();
        change(&mut origin);
        Self { origin: Some(Arc::new(origin)), ..self.clone() }
    }

    /// Returns the process as which the live attempt of this child runs: `attempt` is its number. `None` for an attempt that is
    /// over, and for children that are not programs.
    #[must_use]
    pub fn pid(&self, id: ChildId, attempt: Attempt) -> Option<u32> {
        let pid = self.inner.processes.of(id, attempt)?;
        self.inner.state().live_cell(id, attempt).map(|_| pid)
    }

    /// Returns the processes as which live attempts run, in the order of their numbers: the child, its attempt, and the process.
    #[must_use]
    pub fn pids(&self) -> Vec<(ChildId, Attempt, u32)> {
        let mut all = self.inner.processes.all();
        let state = self.inner.state();
        all.retain(|(id, attempt, _)| state.live_cell(*id, *attempt).is_some());
        drop(state);
        all.sort_unstable_by_key(|(_, _, pid)| *pid);
        all
    }

    /// Returns what a child does now and why: its state and the reason of it, what it waits for, the use of its limit, its
    /// last exits and commands, and what is declared of it and where. `None` if there is no such child. The value prints as
    /// one screen of text.
    ///
    /// ```no_run
    /// # fn look(tree: &liveoak_runtime::TreeHandle) {
    /// if let Some(explanation) = tree.explain("/shop/api") {
    ///     println!("{explanation}");
    /// }
    /// # }
    /// ```
    #[must_use]
    pub fn explain(&self, path: impl Into<Path>) -> Option<Explanation> {
        let (path, now) = (path.into(), self.inner.clock.now());
        let explain = || {
            let mut state = self.inner.state();
            let id = state.machine.find(&path)?;
            state.machine.explain(now, id)
        };
        self.inner.guarded(explain).flatten()
    }
}
