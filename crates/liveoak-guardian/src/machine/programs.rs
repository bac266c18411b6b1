//! The life of a program: from its fork to the moment when no process of it is left.

use super::events::Queued;
use super::{Action, FREE, MAX_REPLIES, Machine, Phase, Program, Slot};
use crate::ending::{Ending, Usage};
use crate::message::Step;

impl Machine {
    fn program(&mut self, slot: Slot) -> Option<&mut Program> {
        self.programs.get_mut(slot.index()).filter(|program| program.phase != Phase::Free)
    }

    pub(super) fn forked(&mut self, slot: Slot, pid: u32) {
        let Some(program) = self.program(slot) else { return };
        program.pid = pid;
        let killing = program.killing;
        self.leaders.insert(pid);
        if killing {
            // The kill was decided when there was no process yet.
            self.act(Action::KillProgram { slot });
        }
    }

    /// Notes that a program was not started, and has no process.
    pub(super) fn not_started(&mut self, slot: Slot, step: Step, errno: i32) {
        let Some(program) = self.program(slot) else { return };
        (program.phase, program.step, program.errno) = (Phase::Refused, step, errno);
        self.tell_end(slot, Queued::Refused(slot));
    }

    pub(super) fn executed(&mut self, slot: Slot) {
        let Some(program) = self.program(slot).filter(|program| program.phase == Phase::Starting) else {
            return;
        };
        program.phase = Phase::Running;
        self.tell(slot, Queued::Started(slot));
    }

    pub(super) fn not_executed(&mut self, slot: Slot, step: Step, errno: i32) {
        let Some(program) = self.program(slot).filter(|program| program.phase == Phase::Starting) else {
            return;
        };
        (program.phase, program.step, program.errno) = (Phase::Failing, step, errno);
    }

    pub(super) fn leader_ended(&mut self, slot: Slot, ending: Ending, usage: Usage) {
        // A process that is killed before its exec closes its pipe as an exec does.
        self.executed(slot);
        let Some(program) = self.program(slot) else { return };
        match program.phase {
            Phase::Running => (program.phase, program.ending, program.usage) = (Phase::Ended, ending, usage),
            // It never executed anything, so it has no descendants.
            Phase::Failing => {
                let (pid, step, errno) = (program.pid, program.step, program.errno);
                self.leaders.remove(pid);
                self.act(Action::Reap { slot, pid });
                self.not_started(slot, step, errno);
            }
            Phase::Free | Phase::Starting | Phase::Ended | Phase::Gone | Phase::Refused => {}
        }
    }

    pub(super) fn suspended(&mut self, slot: Slot, by: Option<u8>) {
        let Some(program) = self.program(slot).filter(|program| program.phase == Phase::Running) else {
            return;
        };
        program.suspended = by;
        if !std::mem::replace(&mut program.suspension_queued, true) {
            self.tell(slot, Queued::Suspended(slot));
        }
    }

    pub(super) fn signalled(&mut self, slot: Slot, errno: i32) {
        if let Some(id) = self.program(slot).map(|program| program.id) {
            self.reply(Queued::Signalled { id, errno });
        }
    }

    /// Kills a program, from now on until none of its processes is left (invariant 4).
    pub(super) fn kill_program(&mut self, slot: Slot) {
        let Some(program) = self.program(slot) else { return };
        if matches!(program.phase, Phase::Gone | Phase::Refused) {
            return;
        }
        program.killing = true;
        if program.pid != 0 {
            self.act(Action::KillProgram { slot });
        }
    }

    pub(super) fn kill_refused(&mut self, slot: Slot, pid: u32, errno: i32) {
        let Some(program) = self.program(slot).filter(|program| program.refused_kill.is_none()) else {
            return;
        };
        program.refused_kill = Some((pid, errno));
        self.tell(slot, Queued::KillRefused(slot));
    }

    pub(super) fn begin_census(&mut self) {
        (self.strays, self.counted) = (0, false);
        self.programs.iter_mut().for_each(|program| program.members = 0);
    }

    /// Counts a living child that is not a leader, and kills it if its program is being killed.
    pub(super) fn count_orphan(&mut self, pid: u32, slot: Option<Slot>) {
        let ending = self.ending;
        let owner = slot.and_then(|slot| {
            let program = self.program(slot)?;
            (!matches!(program.phase, Phase::Gone | Phase::Refused)).then_some((slot, program))
        });
        if let Some((slot, program)) = owner {
            program.members = program.members.saturating_add(1);
            if program.killing {
                self.act(Action::KillOrphan { pid, slot: Some(slot) });
            }
            return;
        }
        self.strays = self.strays.saturating_add(1);
        if ending {
            self.act(Action::KillOrphan { pid, slot: None });
        } else if !self.told_strays.contains(pid) && self.replies < MAX_REPLIES {
            self.told_strays.insert(pid);
            self.reply(Queued::Stray { pid });
        }
    }

    /// Notes that a child that was not a leader was reaped. Its id may come again.
    pub(crate) fn orphan_reaped(&mut self, pid: u32) {
        self.told_strays.remove(pid);
    }

    /// Tells the exits of the leaders that have ended, and reaps those whose set is empty.
    ///
    /// When a leader ends, the kernel makes each of its children a child of the guardian before it reports the end. So a
    /// set is empty if the leader has ended and no child of the guardian belongs to it.
    pub(super) fn end_census(&mut self) {
        self.counted = self.ending;
        for at in 0..self.programs.len() {
            let Some(program) = self.programs.get_mut(at).filter(|program| program.phase == Phase::Ended)
            else {
                continue;
            };
            let slot = Slot(at as u32);
            let (pid, empty) = (program.pid, program.members == 0);
            let first = !std::mem::replace(&mut program.exit_told, true);
            if first {
                program.left = program.members;
                self.tell(slot, Queued::Exited(slot));
            }
            if empty {
                self.leaders.remove(pid);
                self.act(Action::Reap { slot, pid });
                if let Some(program) = self.program(slot) {
                    program.phase = Phase::Gone;
                }
                self.tell_end(slot, Queued::Gone(slot));
            }
        }
    }

    /// Tells the last event of a program. If nothing reads it, frees the slot.
    fn tell_end(&mut self, slot: Slot, event: Queued) {
        if self.is_unread() {
            self.free(slot);
        } else {
            self.tell(slot, event);
        }
    }

    /// Frees a slot and closes its descriptors. No process of the program is left, and none of its events waits.
    pub(super) fn free(&mut self, slot: Slot) {
        if let (Some(program), Some(id)) =
            (self.programs.get_mut(slot.index()), self.ids.get_mut(slot.index()))
        {
            (*program, *id) = (FREE, 0);
            self.act(Action::Free { slot });
        }
    }
}
