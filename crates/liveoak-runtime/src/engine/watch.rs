//! Waits for a moment in the life of a child, and for any state of a child. They change nothing in the tree.
//!
//! The machine reports the end of an attempt and its readiness exactly once, without a subscription. Any other
//! state is looked at again after each event that may concern it.

use crate::engine::command::PendingAnswer;
use crate::engine::driver::{State, TreeInner};
use crate::engine::events::Events;
use liveoak_core::{Asker, ChildId, ChildView, Input, Moment, Outcome, Path, Refusal};
use std::sync::Arc;

/// A wait that was begun.
pub(crate) enum Watch {
    Answered(Outcome),
    Waits(PendingAnswer),
}

impl TreeInner {
    /// Begins to wait for a moment in the life of a child. `asker` must not wait for itself.
    pub(crate) fn watch_child(
        self: &Arc<Self>,
        id: ChildId,
        moment: Moment,
        asker: Option<Asker>,
    ) -> Result<Watch, Refusal> {
        self.try_with_state(|state| self.begin_watch(state, id, moment, asker))
    }

    /// Begins to wait, with the lock already held.
    pub(crate) fn begin_watch(
        self: &Arc<Self>,
        state: &mut State,
        id: ChildId,
        moment: Moment,
        asker: Option<Asker>,
    ) -> Result<Watch, Refusal> {
        if state.runtime_lost {
            return Err(Refusal::TreeEnded);
        }
        let answer = state.requests.begin()?;
        let request = answer.request;
        let random = state.random();
        state.machine.handle(self.clock.now(), random, Input::Watch { request, id, moment });
        if let Some(answered) = state.machine.take_reply(request) {
            drop(state.requests.take(request));
            return answered.map(Watch::Answered);
        }
        if state.refuse_own_wait(asker, request, id) {
            return Err(Refusal::WouldWaitForItself { begun: false });
        }
        Ok(Watch::Waits(PendingAnswer::new(Arc::clone(self), id, answer)))
    }

    /// Returns a child as it is now.
    pub(crate) fn look_at(&self, id: ChildId) -> Option<ChildView> {
        self.guarded(|| self.look_at_unguarded(id)).flatten()
    }

    fn look_at_unguarded(&self, id: ChildId) -> Option<ChildView> {
        let now = self.clock.now();
        let mut state = self.state();
        if state.machine.is_group(id).is_none() {
            return state.machine.look_at(now, id);
        }
        drop(state);
        // The copy of a large tree must not hold the lock for long.
        let mut open = vec![self.snapshot().root];
        while let Some(view) = open.pop() {
            if view.id == id {
                return Some(view);
            }
            open.extend(view.children);
        }
        None
    }

    /// Returns the events from now on.
    pub(crate) fn subscribe(&self) -> Events {
        let mut state = self.state();
        let events = self.events.subscribe(state.machine.last_event());
        state.machine.set_interest(self.events.interest());
        events
    }

    /// Waits until the child at `path` is as `wanted` says.
    pub(crate) async fn wait_for(
        &self,
        path: &Path,
        mut wanted: impl FnMut(&ChildView) -> bool,
    ) -> Result<ChildView, Refusal> {
        // The subscription comes first, so that a change after the look causes another look.
        let mut events = self.subscribe();
        loop {
            let id = self.state().machine.find(path);
            if let Some(view) = id.and_then(|id| self.look_at(id)).filter(|view| wanted(view)) {
                return Ok(view);
            }
            let Some(()) = events.until(|event| concerns(&event.path, path)).await else {
                // The last events of the tree may have come after the last look.
                let id = self.state().machine.find(path);
                let last = id.and_then(|id| self.look_at(id)).filter(|view| wanted(view));
                return last.ok_or(Refusal::TreeEnded);
            };
        }
    }
}

/// Returns `true` if an event of the child `of` can change what is seen of the child at `path`: if it is this child, is
/// above or below it, or is a sibling, for which it may wait, or is below a sibling.
fn concerns(of: &Path, path: &Path) -> bool {
    let (of, path) = (of.as_str(), path.as_str());
    let family = path.rsplit_once('/').map_or("", |(above, _)| above);
    is_at_or_below(of, family) || is_at_or_below(path, of)
}

fn is_at_or_below(path: &str, above: &str) -> bool {
    path.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_events_of_the_family_of_a_child_concern_it() {
        let concerned = |of: &str| concerns(&Path::new(of), &Path::new("/t/s/a"));
        for of in ["/t/s/a", "/t/s/a/below", "/t/s", "/t", "/t/s/b", "/t/s/b/below"] {
            assert!(concerned(of), "{of}");
        }
        for of in ["/t/s2", "/t/other", "/t/other/s/a", "/u"] {
            assert!(!concerned(of), "{of}");
        }
        assert!(concerns(&Path::new("/t/any"), &Path::new("/t")));
    }
}
