//! What each command does to its child, and the stop of the whole tree.

use super::state::{Index, Intent, Mode, Phase};
use super::{Command, Effect, MAX_WAITERS, Machine, Refusal};
use crate::{ChildId, RequestId, StopStage};

impl Machine {
    pub(super) fn start_tree(&mut self) {
        if self.arena[self.root].attempt == 0 && !self.ended {
            self.begin_attempt(self.root);
        }
    }

    pub(super) fn stop_tree(&mut self) {
        if self.ended {
            return;
        }
        self.arena[self.root].intent = Intent::Stop;
        if self.arena[self.root].phase.is_live() {
            self.begin_stop(self.root);
        } else {
            self.after_requested_stop(self.root, StopStage::Cancelled, None);
        }
    }

    pub(super) fn kill_tree(&mut self) {
        self.stop_tree();
        if !self.ended {
            self.kill(self.root);
        }
    }

    /// Carries out a command, or refuses it at once.
    pub(super) fn command(&mut self, request: RequestId, id: ChildId, command: Command) {
        let result = match self.arena.index_of(id) {
            _ if self.ended => Err(Refusal::TreeEnded),
            None => Err(Refusal::NotFound),
            Some(child) if self.waiter_count(child) >= MAX_WAITERS => Err(Refusal::Busy),
            Some(child) => match command {
                Command::Start => self.command_start(child, request),
                Command::Stop => {
                    self.command_stop(child, request);
                    Ok(())
                }
                Command::Restart => self.command_restart(child, request),
                Command::Remove => self.command_remove(child, request),
            },
        };
        if let Err(refusal) = result {
            self.push(Effect::Reply { request, result: Err(refusal) });
        }
    }

    fn command_start(&mut self, child: Index, request: RequestId) -> Result<(), Refusal> {
        let state = &self.arena[child];
        match (state.phase, state.intent) {
            (Phase::Idle(_), _) => self.start_anew(child, request),
            (Phase::Stopping { .. }, Intent::Remove) => Err(Refusal::SupervisorDown),
            (Phase::Stopping { .. }, Intent::Stop) => {
                self.check_may_start_again(child)?;
                self.start_after_stop(child, request, Command::Start);
                Ok(())
            }
            (
                Phase::Waiting
                | Phase::Starting
                | Phase::Running
                | Phase::BackingOff
                | Phase::Stopping { .. },
                _,
            ) => Err(Refusal::NotDown { state: state.phase.as_str() }),
        }
    }

    fn command_stop(&mut self, child: Index, request: RequestId) {
        let state = &mut self.arena[child];
        let phase = state.phase;
        // A stop does not take back a removal.
        if state.intent != Intent::Remove {
            state.intent = Intent::Stop;
        }
        self.expect_answer(child, Some(request), Command::Stop);
        if phase.is_live() || phase.is_pending() {
            self.open_log(child);
            self.begin_stop(child);
        } else {
            self.after_requested_stop(child, StopStage::Cancelled, None);
        }
    }

    fn command_restart(&mut self, child: Index, request: RequestId) -> Result<(), Refusal> {
        self.check_may_start_again(child)?;
        match self.arena[child].phase {
            Phase::Idle(_) => self.start_anew(child, request),
            // There is no attempt to stop, and a start by command has no backoff.
            Phase::Waiting | Phase::BackingOff => {
                self.expect_answer(child, Some(request), Command::Restart);
                self.request_start(child);
                Ok(())
            }
            Phase::Starting | Phase::Running | Phase::Stopping { .. } => {
                // Earlier commands wait for an attempt that is stopped now.
                self.answer_starts(child, || Err(Refusal::Superseded { by: "a restart" }));
                self.start_after_stop(child, request, Command::Restart);
                self.begin_stop(child);
                Ok(())
            }
        }
    }

    fn command_remove(&mut self, child: Index, request: RequestId) -> Result<(), Refusal> {
        let Some(sup) = self.arena[child].parent else { return Err(Refusal::IsRoot) };
        let needed_by = self.siblings_after(sup, &self.arena.name_of(child));
        if !needed_by.is_empty() {
            return Err(Refusal::NeededBy(needed_by));
        }
        let state = &mut self.arena[child];
        let phase = state.phase;
        state.intent = Intent::Remove;
        self.expect_answer(child, Some(request), Command::Remove);
        if phase.is_live() || phase.is_pending() {
            self.open_log(child);
            self.begin_stop(child);
        } else {
            self.remove_child(child);
        }
        Ok(())
    }

    /// Refuses to start a child again if its supervisor is ending, if it leaves the tree, if it is the root and was stopped, or
    /// if its body can be made only once.
    fn check_may_start_again(&self, child: Index) -> Result<(), Refusal> {
        let state = &self.arena[child];
        let sup_is_ending = match self.arena.parent_of(child) {
            Some(sup) => sup.is_ending(),
            None => !state.intent.is_to_run(),
        };
        if sup_is_ending || state.intent == Intent::Remove {
            return Err(Refusal::SupervisorDown);
        }
        if state.spec.once { Err(Refusal::OnlyOnce) } else { Ok(()) }
    }

    /// Starts a child that is down, with a clean record.
    fn start_anew(&mut self, child: Index, request: RequestId) -> Result<(), Refusal> {
        match self.arena.parent_of(child) {
            Some(sup) if matches!(sup.mode, Mode::Starting | Mode::Up) => {}
            Some(_) | None => return Err(Refusal::SupervisorDown),
        }
        let state = &mut self.arena[child];
        state.intent = Intent::Run;
        state.flags.start_requested = true;
        // Failures before a start by command do not count against it.
        state.flags.restarts_next = false;
        let record = self.arena.record(child);
        record.backoff_step = 0;
        record.window.clear();
        record.gave_up = None;
        self.expect_answer(child, Some(request), Command::Start);
        self.request_start(child);
        Ok(())
    }

    /// Lets a child start again as soon as its stop is over.
    fn start_after_stop(&mut self, child: Index, request: RequestId, command: Command) {
        let state = &mut self.arena[child];
        state.intent = Intent::Restart;
        state.flags.start_requested |= command == Command::Start;
        self.answer(child, |command| match command {
            Command::Stop => Some(Err(Refusal::Superseded { by: "a start" })),
            Command::Start | Command::Restart | Command::Remove => None,
        });
        self.expect_answer(child, Some(request), command);
    }
}
