//! The events that wait to be sent, in their order.

use super::{ClientState, FREE, Machine, Phase, Program, Slot};
use crate::message::{Event, HeldState, Step};

/// How many events of one program can wait at the same time: started or refused, suspended, kill refused, exited, gone.
pub(super) const EVENTS_OF_A_PROGRAM: usize = 5;

/// An event that waits. The content of those about a program stands in the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Queued {
    Started(Slot),
    Refused(Slot),
    Suspended(Slot),
    KillRefused(Slot),
    Exited(Slot),
    Gone(Slot),
    Hello,
    RefusedAtOnce { id: u64, step: Step },
    Signalled { id: u64, errno: i32 },
    Pong { nonce: u64 },
    Expired,
    Invalid { kind: u8, id: u64 },
    Stray { pid: u32 },
}

/// An event to be sent now, and the program whose descriptors go with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sending {
    /// The event. The loop fills in which streams are pipes.
    pub(crate) event: Event,
    /// The program whose pidfd and streams are sent.
    pub(crate) with: Option<Slot>,
}

impl Machine {
    /// Queues an answer. There is room: while [`MAX_REPLIES`](super::MAX_REPLIES) wait, no request is read, and what is
    /// not an answer to a request comes at most as often again.
    pub(super) fn reply(&mut self, event: Queued) {
        if self.is_unread() {
            return;
        }
        self.replies += usize::from(self.queue.push(event));
    }

    /// Queues the news that the deadline has passed, unless it waits already.
    pub(super) fn reply_expired(&mut self) {
        if self.client == ClientState::Connected {
            self.reply(Queued::Expired);
        }
    }

    /// Queues an event of a program. A program that is not yet handed over to a successor is told as it is then.
    pub(super) fn tell(&mut self, slot: Slot, event: Queued) {
        if self.is_unread() {
            return;
        }
        let handed_over = self.hand_over.is_none_or(|(next, _)| slot.index() < next);
        if handed_over || matches!(event, Queued::Refused(_)) {
            let _room = self.queue.push(event);
        }
    }

    pub(super) fn clear_queue(&mut self) {
        self.queue.clear();
        (self.replies, self.hand_over) = (0, None);
        for program in self.programs.iter_mut() {
            program.suspension_queued = false;
        }
    }

    pub(super) fn is_all_sent(&self) -> bool {
        self.queue.front().is_none() && self.hand_over.is_none()
    }

    /// Begins to tell a successor about all programs. What the last client had not read is part of that.
    pub(super) fn begin_hand_over(&mut self) {
        self.clear_queue();
        for at in 0..self.programs.len() {
            let Some(program) = self.programs.get_mut(at) else { continue };
            (program.over_told, program.refused_kill) = (false, None);
            if program.phase == Phase::Refused {
                // Its step and error are not part of what is handed over.
                let _room = self.queue.push(Queued::Refused(Slot(at as u32)));
            }
        }
        self.hand_over = Some((0, false));
    }

    /// Returns the next slot to hand over.
    fn next_held(&self) -> Option<usize> {
        let (next, _) = self.hand_over.filter(|(_, head_sent)| *head_sent)?;
        let rest = self.programs.iter().enumerate().skip(next);
        rest.filter(|(_, program)| program.phase != Phase::Free).map(|(at, _)| at).next()
    }

    /// Returns the event that must be sent next.
    pub(crate) fn next_event(&mut self) -> Option<Sending> {
        if !matches!(self.client, ClientState::Connected | ClientState::New) {
            return None;
        }
        if let Some((_, head_sent)) = self.hand_over {
            if !head_sent {
                let programs = self.ids.iter().filter(|id| **id != 0).count();
                let programs = u32::try_from(programs).unwrap_or(u32::MAX);
                let event = Event::Adopted { pid: self.own_pid, programs };
                return Some(Sending { event, with: None });
            }
            match self.next_held() {
                Some(at) => return self.held(Slot(at as u32)),
                None => self.hand_over = None,
            }
        }
        self.queue.front().and_then(|queued| self.event_of(queued))
    }

    fn held(&self, slot: Slot) -> Option<Sending> {
        let program = self.programs.get(slot.index())?;
        let state = match program.phase {
            Phase::Starting | Phase::Failing => HeldState::Starting,
            Phase::Ended if program.exit_told => HeldState::Ended,
            // The exit follows as an event of its own.
            Phase::Running | Phase::Ended => HeldState::Running,
            Phase::Gone => HeldState::Gone,
            Phase::Refused => HeldState::Refused,
            Phase::Free => return None,
        };
        let ended = matches!(state, HeldState::Ended | HeldState::Gone);
        let event = Event::Held {
            id: program.id,
            pid: program.pid,
            state,
            ending: ended.then_some(program.ending),
            usage: program.usage,
            pipes: [false; 3],
            tag: *self.tags.get(slot.index())?,
        };
        Some(Sending { event, with: Some(slot) })
    }

    fn event_of(&self, queued: Queued) -> Option<Sending> {
        let mut with = None;
        let event = match queued {
            Queued::Started(slot) => {
                with = Some(slot);
                let Program { id, pid, .. } = *self.told(slot);
                Event::Started { id, pid, pipes: [false; 3] }
            }
            Queued::Refused(slot) => {
                let Program { id, step, errno, .. } = *self.told(slot);
                Event::Refused { id, step, errno }
            }
            Queued::Suspended(slot) => {
                let Program { id, suspended, .. } = *self.told(slot);
                Event::Suspended { id, by: suspended }
            }
            Queued::KillRefused(slot) => {
                let program = self.told(slot);
                let (pid, errno) = program.refused_kill.unwrap_or_default();
                Event::KillRefused { id: program.id, pid, errno }
            }
            Queued::Exited(slot) => {
                let Program { id, ending, usage, left, .. } = *self.told(slot);
                Event::Exited { id, ending, usage, left }
            }
            Queued::Gone(slot) => Event::Gone { id: self.told(slot).id },
            Queued::Hello => Event::Hello { pid: self.own_pid },
            Queued::RefusedAtOnce { id, step } => Event::Refused { id, step, errno: 0 },
            Queued::Signalled { id, errno } => Event::Signalled { id, errno },
            Queued::Pong { nonce } => Event::Pong { nonce },
            Queued::Expired => Event::Expired,
            Queued::Invalid { kind, id } => Event::Invalid { kind, id },
            Queued::Stray { pid } => Event::Stray { pid },
        };
        Some(Sending { event, with })
    }

    /// Returns a program about which an event waits. Its slot is not freed before the event was sent (invariant 2).
    fn told(&self, slot: Slot) -> &Program {
        self.programs.get(slot.index()).unwrap_or(&FREE)
    }

    /// Notes that the event of [`next_event`](Machine::next_event) was sent.
    pub(crate) fn sent(&mut self) {
        if let Some((next, head_sent)) = self.hand_over {
            if !head_sent {
                self.hand_over = Some((next, true));
            } else if let Some(at) = self.next_held() {
                self.hand_over = Some((at + 1, true));
                self.handed_over(Slot(at as u32));
            }
            return;
        }
        match self.queue.pop() {
            Some(Queued::Gone(slot) | Queued::Refused(slot)) => self.last_event_sent(slot),
            Some(Queued::Suspended(slot)) => {
                if let Some(program) = self.programs.get_mut(slot.index()) {
                    program.suspension_queued = false;
                }
            }
            Some(Queued::Started(_) | Queued::KillRefused(_) | Queued::Exited(_)) | None => {}
            Some(_) => self.replies = self.replies.saturating_sub(1),
        }
        self.exit_if_over();
    }

    fn last_event_sent(&mut self, slot: Slot) {
        if let Some(program) = self.programs.get_mut(slot.index()) {
            program.over_told = true;
        }
        if self.ending {
            self.free(slot);
        }
    }

    fn handed_over(&mut self, slot: Slot) {
        let Some(program) = self.programs.get_mut(slot.index()) else { return };
        if program.suspended.is_some() && !std::mem::replace(&mut program.suspension_queued, true) {
            let _room = self.queue.push(Queued::Suspended(slot));
        }
        if self.programs.get(slot.index()).is_some_and(|program| program.phase == Phase::Gone) {
            self.last_event_sent(slot);
        }
    }
}
