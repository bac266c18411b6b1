//! What each request of the client does.

use super::events::Queued;
use super::{Action, ClientState, FREE, MAX_PROGRAMS, Machine, Phase, Program, Slot};
use crate::message::{NotAdopted, Request, Secret, Step, Tag};

/// The highest signal number.
const LAST_SIGNAL: u8 = 64;

impl Machine {
    /// Carries out a request.
    pub(super) fn request(&mut self, now: u64, request: Request) {
        let begins = matches!(request, Request::Begin { .. });
        if begins != (self.client == ClientState::New) {
            let id = if let Request::Spawn { id, .. } = request { id } else { 0 };
            return self.reply(Queued::Invalid { kind: u8::from(begins), id });
        }
        match request {
            Request::Begin { mark, hold_ns, secret } => {
                self.mark = mark & !(MAX_PROGRAMS as u64 - 1);
                (self.hold_ns, self.secret, self.client) = (hold_ns, secret, ClientState::Connected);
                self.reply(Queued::Hello);
            }
            Request::Spawn { id, tag, .. } => self.spawn(id, tag),
            Request::Signal { id, signal, reach } => match self.living(id) {
                Some((slot, _)) if (1..=LAST_SIGNAL).contains(&signal) => {
                    self.act(Action::Signal { slot, signal, reach });
                }
                Some(_) => self.reply(Queued::Invalid { kind: 3, id }),
                None => self.reply(Queued::Signalled { id, errno: libc::ESRCH }),
            },
            Request::Kill { id } => match self.slot_of_id(id) {
                Some(slot) => self.kill_program(slot),
                None => self.reply(Queued::Invalid { kind: 4, id }),
            },
            Request::CloseStreams { id } => match self.slot_of_id(id) {
                Some(slot) => self.act(Action::CloseStreams { slot }),
                None => self.reply(Queued::Invalid { kind: 5, id }),
            },
            Request::Release { id } => match self.slot_of_id(id) {
                Some(slot) if self.programs.get(slot.index()).is_some_and(|program| program.over_told) => {
                    self.free(slot);
                }
                _ => self.reply(Queued::Invalid { kind: 6, id }),
            },
            Request::Arm { deadline_ns, action } => {
                (self.deadline, self.expired) = (Some((deadline_ns, action)), false);
                self.look_at_clock(now);
            }
            Request::Disarm => (self.deadline, self.expired) = (None, false),
            Request::Ping { nonce } => self.reply(Queued::Pong { nonce }),
            Request::End => self.end_everything(),
            Request::TakeOver { .. } => self.reply(Queued::Invalid { kind: 11, id: 0 }),
        }
    }

    fn spawn(&mut self, id: u64, tag: Tag) {
        let refused = |step| Queued::RefusedAtOnce { id, step };
        if self.ending || self.expired {
            return self.reply(refused(Step::Ending));
        }
        if id == 0 || self.ids.contains(&id) {
            return self.reply(refused(Step::Request));
        }
        let Some(slot) = self.take_slot() else {
            return self.reply(refused(Step::Full));
        };
        let at = slot.index();
        if let (Some(program), Some(known), Some(old)) =
            (self.programs.get_mut(at), self.ids.get_mut(at), self.tags.get_mut(at))
        {
            (*program, *known, *old) = (Program { id, phase: Phase::Starting, ..FREE }, id, tag);
            self.act(Action::Start { slot });
        }
    }

    /// Returns a free slot.
    fn take_slot(&mut self) -> Option<Slot> {
        let at = match self.ids.iter().position(|id| *id == 0) {
            Some(free) => free,
            None => {
                let at = self.ids.len();
                // The three tables have the same capacity, so either all of them have room or none.
                let room = self.programs.push(FREE) && self.ids.push(0) && self.tags.push(Tag::EMPTY);
                room.then_some(at)?
            }
        };
        u32::try_from(at).ok().map(Slot)
    }

    /// Returns the slot of a program.
    pub(super) fn slot_of_id(&self, id: u64) -> Option<Slot> {
        let at = self.ids.iter().position(|known| *known == id && id != 0)?;
        u32::try_from(at).ok().map(Slot)
    }

    /// Returns the slot of a program of which a process may be alive.
    fn living(&self, id: u64) -> Option<(Slot, &Program)> {
        let slot = self.slot_of_id(id)?;
        let program = self.programs.get(slot.index())?;
        (!matches!(program.phase, Phase::Gone | Phase::Refused)).then_some((slot, program))
    }

    /// Judges a process that wants to become the client.
    pub(super) fn successor(&mut self, secret: &Secret) {
        let refusal = if self.client != ClientState::Dead {
            Some(NotAdopted::ClientAlive)
        } else if self.ending || self.expired {
            Some(NotAdopted::Ending)
        } else if !self.secret.matches(secret) {
            Some(NotAdopted::Secret)
        } else {
            None
        };
        match refusal {
            Some(reason) => self.act(Action::Refuse { reason }),
            None => {
                (self.client, self.held_until) = (ClientState::Connected, None);
                self.begin_hand_over();
                self.act(Action::Adopt);
            }
        }
    }
}
