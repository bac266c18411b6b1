//! When everything ends: the deadline, the death of the client, and the end of the time that programs are kept.

use super::{Action, ClientState, Machine, Phase, Slot};
use crate::message::OnDeadline;

impl Machine {
    /// Acts on the moments that have passed (invariant 3).
    pub(super) fn look_at_clock(&mut self, now: u64) {
        if let Some((_, action)) = self.deadline.filter(|(at, _)| *at <= now) {
            (self.deadline, self.expired) = (None, true);
            self.kill_all();
            self.reply_expired();
            if action == OnDeadline::KillProgramsAndClient {
                self.act(Action::KillClient);
            }
            if matches!(self.client, ClientState::Closed | ClientState::Dead) {
                self.end_everything();
            }
        }
        if self.held_until.is_some_and(|at| at <= now) {
            self.end_everything();
        }
    }

    fn kill_all(&mut self) {
        for at in 0..self.programs.len() {
            self.kill_program(Slot(at as u32));
        }
    }

    /// Kills everything. Nothing is started any more (invariant 5).
    pub(super) fn end_everything(&mut self) {
        self.held_until = None;
        if !std::mem::replace(&mut self.ending, true) {
            self.counted = false;
            self.kill_all();
        }
        if self.is_unread() {
            self.forget_events();
        }
    }

    /// Returns `true` if no client will read an event.
    pub(super) fn is_unread(&self) -> bool {
        self.ending && self.client != ClientState::Connected
    }

    fn forget_events(&mut self) {
        self.clear_queue();
        for at in 0..self.programs.len() {
            let phase = self.programs.get(at).map(|program| program.phase);
            if matches!(phase, Some(Phase::Gone | Phase::Refused)) {
                self.free(Slot(at as u32));
            }
        }
    }

    /// Notes that the client's socket is closed. A client that keeps its programs may have died in this moment, and its
    /// process is not known dead yet, so the time begins in which they are kept.
    pub(super) fn client_closed(&mut self, now: u64) {
        if !matches!(self.client, ClientState::Dead) {
            self.client = ClientState::Closed;
            self.client_lost(now);
        }
    }

    /// Notes that the client's process has ended. From now on a successor may take over.
    pub(super) fn client_died(&mut self, now: u64) {
        self.client = ClientState::Dead;
        self.client_lost(now);
    }

    fn client_lost(&mut self, now: u64) {
        if self.ending || self.hold_ns == 0 || self.expired {
            self.end_everything();
        } else if self.held_until.is_none() {
            self.held_until = Some(now.saturating_add(self.hold_ns));
        }
    }

    /// Ends the guardian when everything has ended and each event was sent that is still read.
    pub(super) fn exit_if_over(&mut self) {
        let living = self.ids.iter().any(|id| *id != 0);
        if self.ending && !self.over && !living && self.counted && self.strays == 0 && self.is_all_sent() {
            self.over = true;
            self.act(Action::Exit);
        }
    }
}
