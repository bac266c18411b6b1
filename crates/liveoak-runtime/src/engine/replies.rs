//! The answers to requests, and the callers that wait for them.

use crate::util::waker_guard::guard_waker;
use liveoak_core::{Outcome, Refusal, RequestId};
use std::collections::HashMap;
use tokio::sync::oneshot;

/// Sends the answer to one request.
pub(crate) type ReplySender = oneshot::Sender<Result<Outcome, Refusal>>;

/// The requests that have no answer yet: as many as there are waiting callers.
#[derive(Default)]
pub(crate) struct Replies {
    waiting: HashMap<RequestId, ReplySender>,
    /// The number of the next request.
    next: u64,
}

/// The answer to one request, which may still be on its way.
pub(crate) struct Answer(oneshot::Receiver<Result<Outcome, Refusal>>);

impl Answer {
    /// Waits for the answer. If the tree ends without one, the answer is [`Refusal::TreeEnded`].
    pub(crate) async fn wait(self) -> Result<Outcome, Refusal> {
        guard_waker(self.0).await.unwrap_or(Err(Refusal::TreeEnded))
    }
}

impl Replies {
    /// Returns the id of a new request, and its answer.
    pub(crate) fn expect(&mut self) -> (RequestId, Answer) {
        let request = RequestId(self.next);
        self.next += 1;
        let (sender, receiver) = oneshot::channel();
        self.waiting.insert(request, sender);
        (request, Answer(receiver))
    }

    /// Removes a request, to be answered or because it was never made.
    pub(crate) fn take(&mut self, request: RequestId) -> Option<ReplySender> {
        self.waiting.remove(&request)
    }

    /// Removes every request. A caller whose sender is dropped gets [`Refusal::TreeEnded`].
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = ReplySender> {
        self.waiting.drain().map(|(_, sender)| sender)
    }
}
