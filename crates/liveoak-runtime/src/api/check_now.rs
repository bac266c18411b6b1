//! Asking all checks of a subtree at once, on demand.

use crate::api::tree::TreeHandle;
use crate::engine::checks::BegunTry;
use crate::engine::driver::TreeInner;
use liveoak_core::{CheckKind, ChildView, Name, Path, Refusal};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;

/// What a check said when it was asked by [`TreeHandle::check_now`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckAnswer {
    /// The child.
    pub path: Path,
    /// The name of the check.
    pub check: Name,
    /// What follows when the check fails in a try of the tree. This answer has no consequence.
    pub kind: CheckKind,
    /// How long the answer took.
    pub took: Duration,
    /// The answer: why the check fails, or that there was no answer in time.
    pub answer: Result<(), Arc<str>>,
}

impl CheckAnswer {
    /// Returns `true` if the check passed.
    #[must_use]
    pub const fn ok(&self) -> bool {
        self.answer.is_ok()
    }
}

/// A check that was asked.
struct Asked {
    path: Path,
    check: Name,
    kind: CheckKind,
    task: JoinHandle<(Duration, Result<(), Arc<str>>)>,
}

impl TreeHandle {
    /// Asks all checks of the child at `path`, and of all children below it, once and side by side. Returns the answers in the
    /// order of the tree. The answers do not count as tries, so they change nothing. A child that does not run is not asked.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] if there is no such child.
    ///
    /// # Cancel safety
    /// Safe: the checks that were asked end by themselves, within their timeouts.
    pub async fn check_now(&self, path: impl Into<Path>) -> Result<Vec<CheckAnswer>, Refusal> {
        let snapshot = self.snapshot();
        let top = snapshot.get(path).ok_or(Refusal::NotFound)?;
        let mut asked = Vec::new();
        ask_below(&self.inner, top, &mut asked);
        let mut answers = Vec::with_capacity(asked.len());
        for Asked { path, check, kind, task } in asked {
            let (took, answer) =
                task.await.unwrap_or_else(|_| (Duration::ZERO, Err("its runtime has shut down".into())));
            answers.push(CheckAnswer { path, check, kind, took, answer });
        }
        Ok(answers)
    }
}

/// Asks the checks of a child and of all children below it.
fn ask_below(tree: &Arc<TreeInner>, view: &ChildView, asked: &mut Vec<Asked>) {
    for index in (0..).take(view.checks.len()) {
        let (begun, spec) = {
            let state = tree.state();
            let spec =
                state.machine.spec(view.id).and_then(|spec| spec.checks().get(index as usize).cloned());
            (state.new_try(view.id, view.attempt, index, 0), spec)
        };
        let (Some(BegunTry { ask, handle, .. }), Some(spec)) = (begun, spec) else { continue };
        let timeout = spec.timeout;
        let task = async move {
            let began = tokio::time::Instant::now();
            let late = |_| Err(format!("no answer within {timeout:?}").into());
            let answer = tokio::time::timeout(timeout, ask).await.unwrap_or_else(late);
            (began.elapsed(), answer)
        };
        let task = handle.as_ref().unwrap_or(&tree.clock.handle).spawn(task);
        asked.push(Asked { path: view.path.clone(), check: spec.name, kind: spec.kind, task });
    }
    view.children.iter().for_each(|below| ask_below(tree, below, asked));
}
