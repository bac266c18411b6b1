//! The replies to commands. A reply is sent when the command has taken effect, not when it was received.

use super::state::Index;
use super::{Command, Effect, Machine, Outcome, Refusal};
use crate::{Exit, RequestId};

impl Machine {
    pub(super) fn waiter_count(&self, child: Index) -> usize {
        self.arena[child].record.as_ref().map_or(0, |record| record.waiters.len())
    }

    /// Notes that a request waits for an answer about `child`.
    pub(super) fn expect_answer(&mut self, child: Index, request: Option<RequestId>, command: Command) {
        if let Some(request) = request {
            self.arena.record(child).waiters.push((request, command));
        }
    }

    /// Answers the commands on `child` for which `answer` returns one; the others go on waiting.
    pub(super) fn answer(
        &mut self,
        child: Index,
        answer: impl Fn(Command) -> Option<Result<Outcome, Refusal>>,
    ) {
        if self.waiter_count(child) == 0 {
            return;
        }
        for (request, command) in std::mem::take(&mut self.arena.record(child).waiters) {
            match answer(command) {
                Some(result) => self.push(Effect::Reply { request, result }),
                None => self.arena.record(child).waiters.push((request, command)),
            }
        }
    }

    /// Answers the commands that start `child`; the others go on waiting.
    pub(super) fn answer_starts(&mut self, child: Index, answer: impl Fn() -> Result<Outcome, Refusal>) {
        self.answer(child, |command| match command {
            Command::Start | Command::Restart => Some(answer()),
            Command::Stop | Command::Remove => None,
        });
    }

    /// Refuses the commands that start `child`: its attempt failed.
    pub(super) fn refuse_starts(&mut self, child: Index, exit: &Exit) {
        self.answer_starts(child, || Err(Refusal::Failed(exit.clone())));
    }

    /// Answers all commands on a child that leaves the tree.
    pub(super) fn answer_removed(&mut self, child: Index) {
        let has_log = self.arena[child].record.as_ref().is_some_and(|record| record.log.is_some());
        if self.waiter_count(child) == 0 && !has_log {
            return;
        }
        let report = self.close_log(child);
        self.answer(child, |command| match command {
            Command::Remove => Some(Ok(Outcome::Removed(report.clone()))),
            Command::Stop => Some(Ok(Outcome::Stopped(report.clone()))),
            Command::Start | Command::Restart => Some(Err(Refusal::NotFound)),
        });
    }
}
