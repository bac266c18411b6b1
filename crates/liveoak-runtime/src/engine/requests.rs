//! The callers that wait for the answer to a command.

use crate::util::waker_guard::WakerGuard;
use liveoak_core::{Outcome, Refusal, RequestId};
use std::collections::HashMap;
use tokio::sync::oneshot;

/// The most callers of one tree that may wait for an answer. A further caller is refused as busy.
pub(crate) const MAX_REQUESTS: usize = 65_536;

/// The most requests of one tree up to which a handle of an added temporary child keeps the exit of the child. The other
/// half of [`MAX_REQUESTS`] is left to callers, so kept handles never make a command busy.
pub(crate) const MAX_KEPT_EXITS: usize = MAX_REQUESTS / 2;

pub(crate) type ReplySender = oneshot::Sender<Result<Outcome, Refusal>>;

/// The answer to one request, which may still be on its way.
pub(crate) struct Answer {
    pub(crate) request: RequestId,
    receiver: oneshot::Receiver<Result<Outcome, Refusal>>,
}

impl Answer {
    /// Waits for the answer. If the tree ends without one, the answer is [`Refusal::TreeEnded`].
    pub(crate) async fn wait(&mut self) -> Result<Outcome, Refusal> {
        WakerGuard::new().wait(&mut self.receiver).await.unwrap_or(Err(Refusal::TreeEnded))
    }
}

#[derive(Default)]
pub(crate) struct Requests {
    waiting: HashMap<RequestId, ReplySender>,
    next: u64,
}

impl Requests {
    /// Returns the answer to a new request.
    pub(crate) fn begin(&mut self) -> Result<Answer, Refusal> {
        if self.waiting.len() >= MAX_REQUESTS {
            return Err(Refusal::Busy);
        }
        let request = RequestId(self.next);
        self.next += 1;
        let (sender, receiver) = oneshot::channel();
        self.waiting.insert(request, sender);
        Ok(Answer { request, receiver })
    }

    /// Returns `true` if one more handle may keep the exit of its child.
    pub(crate) fn can_keep_exit(&self) -> bool {
        self.waiting.len() < MAX_KEPT_EXITS
    }

    pub(crate) fn take(&mut self, request: RequestId) -> Option<ReplySender> {
        self.waiting.remove(&request)
    }

    /// Takes all requests. Their callers get [`Refusal::TreeEnded`] when the senders are dropped.
    pub(crate) fn take_all(&mut self) -> impl Iterator<Item = ReplySender> + use<> {
        std::mem::take(&mut self.waiting).into_values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_request_more_than_the_limit_is_refused_until_another_was_answered() {
        let mut requests = Requests::default();
        let answers: Vec<_> = (0..MAX_REQUESTS).map(|_| requests.begin().expect("there is room")).collect();
        assert!(matches!(requests.begin(), Err(Refusal::Busy)));
        drop(requests.take(answers[0].request));
        assert!(requests.begin().is_ok());
    }

    #[test]
    fn half_of_the_requests_are_left_to_callers_when_handles_keep_exits() {
        let mut requests = Requests::default();
        let kept = std::iter::from_fn(|| requests.can_keep_exit().then(|| requests.begin().ok()).flatten());
        assert_eq!(kept.count(), MAX_KEPT_EXITS);
        let callers = std::iter::from_fn(|| requests.begin().ok());
        assert_eq!(callers.count(), MAX_REQUESTS - MAX_KEPT_EXITS);
    }
}
