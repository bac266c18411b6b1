//! The reference model: pause and resume, quarantine and release.

use crate::child::{Mode, NEVER, Path, Phase, later};
use crate::reference::{Model, ROOT, above};
use crate::stopping::Act;
use liveoak_core::{Command, IdleReason};

impl Model {
    fn is_below_a_live_supervisor(&self, path: &str) -> bool {
        above(path).is_some_and(|parent| matches!(self.at(&parent).mode, Mode::Starting | Mode::Up))
    }

    /// Returns the declared and added children of a supervisor; none for a group, whose members follow one by one.
    fn kids_at_once(&self, path: &str) -> Vec<Path> {
        if self.at(path).is_group() { Vec::new() } else { self.kids(path) }
    }

    pub(crate) fn command_pause(&mut self, path: &str, request: u64) -> Option<&'static str> {
        if self.at(path).removing {
            return Some("supervisor down");
        }
        self.with_all_below(path, Act::Pause);
        self.answers.insert(request, "paused");
        None
    }

    pub(crate) fn command_resume(&mut self, path: &str, request: u64) -> Option<&'static str> {
        let paused = self.at(path).phase == Phase::Idle(IdleReason::Paused);
        if paused && self.is_below_a_live_supervisor(path) {
            self.wait_for(path, request, Command::Resume);
        } else {
            self.answers.insert(request, "resumed");
        }
        self.with_all_below(path, Act::Resume);
        None
    }

    fn with_all_below(&mut self, path: &str, act: Act) {
        if act == Act::Pause {
            self.pause(path)
        } else {
            self.resume(path)
        }
        if self.at(path).is_group() {
            self.member_walks.push_back((path.to_owned(), act));
        }
        self.kids_at_once(path).iter().for_each(|kid| self.with_all_below(kid, act));
    }

    pub(crate) fn pause(&mut self, path: &str) {
        self.of(path).paused = true;
        match self.at(path).phase {
            Phase::Waiting if self.at(path).trial => self.end_trial(path),
            Phase::Waiting | Phase::BackingOff => drop(self.park_if_paused(path)),
            Phase::Idle(IdleReason::Quarantined) => self.of(path).trial_timer = NEVER,
            Phase::Idle(_) | Phase::Starting | Phase::Running | Phase::Stopping { .. } => {}
        }
    }

    pub(crate) fn resume(&mut self, path: &str) {
        if !std::mem::take(&mut self.of(path).paused) {
            return;
        }
        let up = self.is_below_a_live_supervisor(path);
        let child = self.at(path);
        match child.phase {
            Phase::Idle(IdleReason::Paused) if up => self.start_or_wait(path),
            Phase::Idle(IdleReason::Paused) => self.set(path, Phase::Idle(IdleReason::SupervisorDown)),
            Phase::Idle(IdleReason::Quarantined) if up && child.gave_up && !child.by_command => {
                self.schedule_trial(path);
            }
            _ => {}
        }
    }

    /// A command that starts a child ends its pause, and that of all children below it.
    pub(crate) fn end_pause(&mut self, path: &str) {
        self.of(path).paused = false;
        self.kids_at_once(path).iter().for_each(|kid| self.end_pause(kid));
    }

    /// Sets a child aside that would start now and is paused.
    pub(crate) fn park_if_paused(&mut self, path: &str) -> bool {
        let child = self.at(path);
        let (paused, down) = (child.paused, Phase::Idle(IdleReason::Paused));
        if paused && child.phase != down {
            let child = self.of(path);
            (child.start_by_command, child.restarting) = (false, false);
            self.set(path, down);
            self.answer(path, |command| match command {
                Command::Stop => Some("stopped"),
                Command::Remove => None,
                _ => Some("superseded"),
            });
        }
        paused
    }

    /// The limit is not charged, and no sibling is touched.
    pub(crate) fn end_while_paused(&mut self, path: &str) {
        if !self.at(path).attempt_ready {
            self.answer_failed_start(path);
        }
        if !self.quarantine_if_survived(path) {
            self.park_if_paused(path);
        }
    }

    pub(crate) fn command_quarantine(&mut self, path: &str, request: u64) -> Option<&'static str> {
        if path == ROOT {
            return Some("is root");
        }
        let child = self.of(path);
        if child.removing {
            return Some("supervisor down");
        }
        (child.wanted, child.by_command, child.start_when_down) = (false, true, false);
        (child.unwanted, child.brought_along) = (false, false);
        let idle = matches!(child.phase, Phase::Idle(_));
        self.wait_for(path, request, Command::Quarantine);
        if idle {
            self.after_stop(path, None);
        } else {
            self.stop(path);
        }
        None
    }

    pub(crate) fn command_release(&mut self, path: &str, request: u64) -> Option<&'static str> {
        let child = self.at(path);
        let phase = child.phase;
        if phase == Phase::Idle(IdleReason::Quarantined) {
            return self.start_anew(path, request, Command::Release);
        }
        let stops = child.stopping() && child.by_command;
        let trial = child.trial && child.wanted;
        if child.removing || !stops && !trial {
            return Some("not quarantined");
        }
        if self.parent_ends(path) {
            return Some("supervisor down");
        }
        if self.is_used_up(path) {
            return Some("only once");
        }
        if stops && self.waits_for_kept_down(path) {
            return Some("kept down");
        }
        if stops {
            self.start_after_stop(path, request, Command::Release);
            return None;
        }
        self.begin_anew(path);
        self.end_pause(path);
        self.end_quarantine(path);
        self.wait_for(path, request, Command::Release);
        let now = self.now;
        let child = self.of(path);
        match phase {
            Phase::Running => self.answer(path, |command| (command == Command::Release).then_some("ready")),
            Phase::Waiting if child.answer_timer == NEVER => {
                child.answer_timer = later(now, child.longest_wait());
            }
            _ => {}
        }
        None
    }
}
