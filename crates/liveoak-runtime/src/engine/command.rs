//! Commands on one child. A command is given immediately, and answered when it has taken effect.

use crate::engine::action::TurnLimit;
use crate::engine::driver::TreeInner;
use crate::engine::drops::Awaited;
use crate::engine::state::Answer;
use liveoak_core::{Asker, ChildId, Command, Input, Origin, Outcome, Path, Refusal, RequestId};
use std::sync::Arc;
use std::time::Duration;

/// Whether the caller of a command waits for the answer.
#[derive(Clone, Copy)]
pub(crate) enum Wait {
    No,
    /// The caller waits. The value is the attempt of this tree whose code calls, or that has begun the tree whose code
    /// calls; `None` for other code.
    For(Option<Asker>),
}

/// A command that was carried out.
pub(crate) enum Begun {
    Answered(Outcome, StopWait),
    Waits(PendingAnswer, StopWait),
    /// The caller does not wait, or would wait for itself.
    NotWaitedFor,
}

/// The destructors for which the answer to a stop waits, after the attempts have ended.
pub(crate) struct StopWait {
    awaited: Awaited,
    budget: Duration,
}

/// An input on one child that is answered when it has taken effect.
pub(crate) struct Given<I> {
    pub(crate) id: ChildId,
    /// Makes the input.
    pub(crate) input: I,
    /// The number of the change to a mode to which the input belongs. A later change supersedes it.
    pub(crate) of_change: Option<u64>,
    pub(crate) origin: Option<Arc<Origin>>,
    /// The time for the stop of the child, instead of the declared one.
    pub(crate) within: Option<Duration>,
}

impl TreeInner {
    /// Returns the id of the child at `path`.
    pub(crate) fn find(&self, path: &Path) -> Result<ChildId, Refusal> {
        let find = || {
            let state = self.state();
            state.machine.find(path).ok_or(state.refusal_of_absent())
        };
        self.guarded(find).unwrap_or(Err(Refusal::TreeEnded))
    }

    /// Gives a command on one child. The answer comes when the command has taken effect.
    pub(crate) fn command(
        self: &Arc<Self>,
        id: ChildId,
        command: Command,
        wait: Wait,
        origin: Option<Arc<Origin>>,
    ) -> Result<Begun, Refusal> {
        let input = |request| Input::Command { request, id, command };
        self.give(Given { id, input, of_change: None, origin, within: None }, wait)
    }

    /// Gives an input on one child that is answered when it has taken effect.
    pub(crate) fn give(
        self: &Arc<Self>,
        given: Given<impl FnOnce(RequestId) -> Input>,
        wait: Wait,
    ) -> Result<Begun, Refusal> {
        self.guarded(|| self.give_unguarded(given, wait)).unwrap_or(Err(Refusal::TreeEnded))
    }

    fn give_unguarded(
        self: &Arc<Self>,
        Given { id, input, of_change, origin, within }: Given<impl FnOnce(RequestId) -> Input>,
        wait: Wait,
    ) -> Result<Begun, Refusal> {
        let now = self.clock.now();
        let mut state = self.state();
        if state.runtime_lost {
            return Err(Refusal::TreeEnded);
        }
        if of_change.is_some_and(|change| change != state.modes.last_change) {
            return Err(Refusal::Superseded { by: "a later change of the mode" });
        }
        let budget = within.unwrap_or_else(|| state.stop_budget(id));
        let answer = state.requests.begin()?;
        let request = answer.request;
        let awaited = self.drops.await_child(id);
        state.machine.set_interest(self.events.interest());
        let random = state.random();
        state.machine.set_origin(origin);
        state.machine.set_stop_budget(within);
        state.machine.handle(now, random, input(request));
        let begun = match (state.machine.take_reply(request), wait) {
            (Some(answered), _) => {
                drop(state.requests.take(request));
                answered.map(|outcome| Begun::Answered(outcome, StopWait { awaited, budget }))
            }
            (None, Wait::No) => {
                drop(state.withdraw(request, id));
                Ok(Begun::NotWaitedFor)
            }
            (None, Wait::For(asker)) if state.refuse_own_wait(asker, request, id) => Ok(Begun::NotWaitedFor),
            (None, Wait::For(_)) => {
                let pending = PendingAnswer::new(Arc::clone(self), id, answer);
                Ok(Begun::Waits(pending, StopWait { awaited, budget }))
            }
        };
        self.perform_effects(state, TurnLimit::CALL);
        begun
    }

    /// Waits for the destructors for which the answer to a stop waits, and returns the answer.
    pub(crate) async fn settled(
        self: &Arc<Self>,
        path: &Path,
        mut outcome: Outcome,
        stop_wait: StopWait,
    ) -> Outcome {
        let StopWait { awaited, budget } = stop_wait;
        if let Outcome::Stopped(report) | Outcome::Removed(report) | Outcome::Quarantined(report) =
            &mut outcome
        {
            self.wait_for_drops(&awaited, path, budget, report).await;
        }
        outcome
    }
}

/// A caller that waits for an answer. When the caller stops waiting, the machine forgets the request, because the number
/// of callers that wait for a child is bounded.
pub(crate) struct PendingAnswer {
    tree: Arc<TreeInner>,
    id: ChildId,
    /// `None` when the answer has come.
    answer: Option<Answer>,
}

impl PendingAnswer {
    pub(crate) const fn new(tree: Arc<TreeInner>, id: ChildId, answer: Answer) -> Self {
        Self { tree, id, answer: Some(answer) }
    }

    /// Waits for the answer. If the tree ends without one, the answer is [`Refusal::TreeEnded`].
    pub(crate) async fn wait(mut self) -> Result<Outcome, Refusal> {
        self.answered().await
    }

    /// Waits for the answer like [`wait`](Self::wait). The answer comes once.
    ///
    /// # Cancel safety
    /// Safe: the answer still comes.
    pub(crate) async fn answered(&mut self) -> Result<Outcome, Refusal> {
        let Some(answer) = &mut self.answer else { return Err(Refusal::TreeEnded) };
        let answered = answer.wait().await;
        self.answer = None;
        answered
    }
}

impl Drop for PendingAnswer {
    fn drop(&mut self) {
        if let Some(answer) = &self.answer {
            let sender = self.tree.state().withdraw(answer.request, self.id);
            // Outside the lock: wakes the caller's waker, which is user code.
            drop(sender);
        }
    }
}
