//! The reference model, part 3: what follows an exit, and how children stop.

use crate::auto_shutdown::{too_many, too_many_of_one};
use crate::child::{Body, Kind, Mode, Phase, Plan, is_failure, is_start, is_success, later};
use crate::reference::{Model, ROOT, above};
use liveoak_core::{Command, IdleReason, KILL_WAIT, Limit, Restart, Strategy, jitter};
use std::time::Duration;

/// What a stopping supervisor does to its children.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Ask,
    Kill,
    Abandon,
    Pause,
    Resume,
}

impl Model {
    /// Handles the end of an attempt. After a stop, [`Self::after_stop`] decides what follows. Otherwise the exit decides.
    pub(crate) fn attempt_ended(&mut self, path: &str, exit: Kind) {
        let parent_ends = self.parent_ends(path);
        let stable = if self.at(path).phase == Phase::Running {
            self.is_stable_now(path)
        } else {
            self.at(path).stable
        };
        let child = self.of(path);
        let stopping = child.stopping();
        child.health = liveoak_core::Health::Healthy;
        if exit != "abandoned" {
            child.survivors = None;
        }
        let cause = match child.cause.take() {
            // What still runs is more important than why it was stopped.
            Some(_) if child.survivors.is_some() => Some(exit),
            Some(cause) if is_failure(exit) && !is_failure(cause) => Some(exit),
            cause => cause,
        };
        let overruled =
            child.removing || !child.wanted || child.in_restart_set || child.start_when_down || parent_ends;
        child.stopped_by_others = stopping && cause.is_none();
        let success = is_success(cause.unwrap_or(exit)) && !child.stopped_by_others;
        if stable || success {
            (child.had_stable_run, child.failures_in_a_row, child.failure_steps) = (true, 0, 0);
        }
        if stable {
            (child.end_steps, child.needs.steps) = (0, 0);
        }
        if child.trial && (stable || success) {
            self.end_quarantine(path);
        }
        let by_others = overruled || stopping && cause.is_none();
        let exit = cause.unwrap_or(exit);
        let retryable =
            exit != "not-retryable" && !(exit == "start-failed" && self.at(path).start_not_retryable);
        let exit = if exit == "not-retryable" { "failed" } else { exit };
        if by_others {
            self.after_stop(path, Some(exit));
        } else {
            self.decide(path, exit, retryable);
        }
    }

    /// Decides what follows a stop, or a start that was cancelled: stay idle, be removed, or start again.
    pub(crate) fn after_stop(&mut self, path: &str, exit: Option<Kind>) {
        let ends = self.parent_ends(path);
        let member = self.is_member(path);
        let child = self.of(path);
        let (in_restart_set, again) = (child.in_restart_set, std::mem::take(&mut child.start_when_down));
        let (wanted, removing) = (child.wanted, child.removing);
        let temporary = child.spec.restart == Restart::Temporary;
        let passing = child.added || member;
        let for_need = child.needs.stopped && exit.is_some() && !in_restart_set && !again;
        let back = wanted && !removing && !ends && (in_restart_set || again || for_need);
        if exit.is_some() {
            child.last_exit = exit;
        }
        if path == ROOT {
            return if back { self.begin(path) } else { self.end_of_tree(exit.unwrap_or("stopped")) };
        }
        if back && in_restart_set {
            child.was_ready = false;
            if self.at(path).trial {
                self.end_trial(path);
            } else if temporary && !again {
                self.set_idle(path, IdleReason::Finished, passing);
            } else if !self.quarantine_if_survived(path) && !self.park_if_paused(path) {
                self.set(path, Phase::Waiting);
            }
        } else if back && for_need && self.at(path).trial {
            self.end_trial(path);
        } else if back {
            if !self.quarantine_if_survived(path) && !self.park_if_paused(path) {
                if for_need { self.back_off_for_need(path) } else { self.start_or_wait(path) }
            }
        } else {
            let child = self.at(path);
            if child.unwanted && child.trial {
                self.end_trial(path);
                return self.answer(path, |command| match command {
                    Command::Stop => Some("stopped"),
                    _ => Some("superseded"),
                });
            }
            let why = match (wanted, child.by_command && !removing) {
                _ if child.unwanted => IdleReason::NotWanted,
                (true, _) => IdleReason::SupervisorDown,
                (false, true) => IdleReason::Quarantined,
                (false, false) => IdleReason::StoppedByCommand,
            };
            self.set_idle(path, why, removing || passing && (ends || temporary));
        }
    }

    /// Makes a child idle and answers its commands; `leaves` removes it from the tree.
    fn set_idle(&mut self, path: &str, why: IdleReason, leaves: bool) {
        self.set(path, Phase::Idle(why));
        if !self.at(path).removing {
            let overtaken = if why == IdleReason::SupervisorDown { "supervisor down" } else { "superseded" };
            self.answer(path, |command| match command {
                Command::Stop => Some("stopped"),
                Command::Quarantine if leaves => Some("stopped"),
                Command::Quarantine if why == IdleReason::Quarantined => Some("quarantined"),
                Command::Remove => None,
                _ => Some(overtaken),
            });
        }
        if leaves {
            self.forget(path);
        } else {
            self.let_go_if_over(path);
        }
    }

    /// Decides about an exit: failed start, finished, or restart.
    pub(crate) fn decide(&mut self, path: &str, exit: Kind, retryable: bool) {
        self.of(path).last_exit = Some(exit);
        let Some(parent) = above(path) else { return self.end_of_tree(exit) };
        if self.at(path).trial {
            return self.end_trial(path);
        }
        if !self.at(path).attempt_ready && self.is_failed_start(path, exit) {
            if self.at(path).start_by_command {
                return self.commanded_start_failed(path);
            }
            let fails = !self.at(path).paused && (self.may_fail_first_start(&parent, path) || !retryable);
            if fails && self.is_first_start(&parent, path) {
                if !self.at(&parent).stopping() {
                    self.of(&parent).start_not_retryable = !retryable;
                }
                return self.first_start_failed(&parent, path);
            }
        }
        let restart = self.at(path).spec.restart;
        match (restart, exit) {
            (_, "ignored") => self.finish(&parent, path, IdleReason::Ignored, "ignored"),
            (Restart::Temporary, _) => self.finish(&parent, path, IdleReason::Finished, exit),
            (Restart::Transient, exit)
                if !is_failure(exit) && exit != "restart-requested" || exit == "auto-shutdown-failed" =>
            {
                self.finish(&parent, path, IdleReason::Finished, exit);
            }
            _ if self.at(path).paused => self.end_while_paused(path),
            (Restart::Permanent | Restart::Transient, _) => self.restart(&parent, path, exit),
        }
    }

    /// Ends a child for good, and its supervisor too if auto-shutdown says so.
    fn finish(&mut self, parent: &str, path: &str, why: IdleReason, exit: Kind) {
        let member = self.is_member(path);
        let child = self.of(path);
        child.start_by_command = false;
        let significant = child.spec.significant && why == IdleReason::Finished;
        let leaves = member || child.added && child.spec.restart == Restart::Temporary;
        if is_failure(exit) {
            self.answer_failed_start(path);
        }
        let word = if why == IdleReason::Ignored { "ignored" } else { "finished" };
        self.answer(path, |command| is_start(command).then_some(word));
        let held = self.held_significant(parent);
        self.set_idle(path, why, leaves);
        self.of(parent).job_failed |= leaves && !member && is_failure(exit);
        if self.ends_a_significant_child(parent, significant, held) && self.ends_by_auto_shutdown(parent) {
            self.end_by_auto_shutdown(parent, significant && is_failure(exit));
        } else if significant && leaves && is_failure(exit) {
            self.of(parent).failure_left = true;
        }
    }

    /// Counts a restart against both limits, computes the backoff, and takes down the rest of the restart set.
    fn restart(&mut self, parent: &str, path: &str, exit: Kind) {
        let now = self.now;
        let intensity = match &self.at(parent).body {
            Body::Supervisor(rules) => rules.intensity,
            Body::Group(group) => group.intensity,
            Body::Leaf => None,
        };
        let own = match (self.at(path).spec.limit, intensity) {
            (None, None) => Some(Limit::DEFAULT_OF_A_CHILD),
            (limit, _) => limit,
        };
        // A restart that the child asked for is free, up to ten times a minute, unless it is a failed first start.
        let mut free = false;
        if exit == "restart-requested" {
            let first = !self.at(path).attempt_ready && self.is_first_start(parent, path);
            let minute = Limit::new(10, Duration::from_secs(60));
            free = !too_many(&mut self.of(path).request_times, &minute, now) && !first;
        }
        let failed = is_failure(exit) || exit == "restart-requested";
        let own = own.filter(|limit| !free && too_many_of_one(self.of(path), limit, now, failed));
        let intensity = intensity.filter(|_| !free);
        let intensity = intensity.filter(|limit| too_many(&mut self.of(parent).intensity_times, limit, now));
        if own.is_some() {
            // The full number is allowed again after a restart of its supervisor.
            let child = self.of(path);
            child.failures_in_a_row = 0;
            child.restart_times.clear();
        }
        if let Some(limit) = own.or(intensity) {
            return self.give_up(parent, path, limit.give_up);
        }
        let random = self.random;
        let child = self.of(path);
        child.restarting = true;
        let mut delay = Duration::ZERO;
        if let Some(backoff) = child.spec.backoff.filter(|_| !free) {
            let names = path.rsplit('/').filter(|name| !name.is_empty());
            let random = jitter(random, names, child.attempt);
            if failed {
                delay = backoff.delay(child.failure_steps, random);
                child.failure_steps += 1;
            } else {
                delay = backoff.delay(child.end_steps, random);
                child.end_steps += 1;
            }
        }
        if !child.attempt_ready {
            self.answer_failed_start(path);
        }
        let strategy = self.at(parent).rules().map_or(Strategy::OneForOne, |rules| rules.strategy);
        let kids = self.kids(parent);
        let together = match strategy {
            Strategy::OneForOne => Vec::new(),
            Strategy::OneForAll => kids,
            Strategy::RestForOne => {
                let later = kids.into_iter().skip_while(|kid| kid != path);
                later.filter(|kid| !self.are_replicas(kid, path)).collect()
            }
        };
        for kid in together.iter().filter(|kid| *kid != path) {
            self.restart_in_set(kid);
        }
        if strategy != Strategy::OneForOne {
            self.of(path).was_ready = false;
        }
        if self.quarantine_if_survived(path) {
            return;
        }
        if delay.is_zero() {
            self.start_or_wait(path);
        } else {
            self.set(path, Phase::BackingOff);
            self.of(path).timer = later(now, delay);
        }
    }

    /// Restarts a sibling that belongs to the restart set of a failed child.
    fn restart_in_set(&mut self, kid: &str) {
        let child = self.of(kid);
        let comes_back = child.wanted && child.spec.restart != Restart::Temporary && !child.paused;
        match child.phase {
            Phase::Starting | Phase::Running | Phase::Stopping { .. } => child.in_restart_set = true,
            Phase::Waiting if child.trial => self.end_trial(kid),
            Phase::Waiting | Phase::BackingOff => {
                child.was_ready = false;
                self.set(kid, Phase::Waiting);
            }
            Phase::Idle(IdleReason::Finished | IdleReason::Ignored) if comes_back => {
                child.was_ready = false;
                self.set(kid, Phase::Waiting);
            }
            Phase::Idle(_) => {}
        }
    }

    pub(crate) fn commanded_start_failed(&mut self, path: &str) {
        self.answer_failed_start(path);
        let child = self.of(path);
        let leaves = child.added && !child.ever_ready;
        (child.start_by_command, child.wanted, child.brought_along) = (false, false, false);
        child.unwanted = child.spec.manual;
        let why = if child.unwanted { IdleReason::NotWanted } else { IdleReason::StoppedByCommand };
        self.set_idle(path, why, leaves);
    }

    pub(crate) fn first_start_failed(&mut self, parent: &str, path: &str) {
        self.set(path, Phase::Idle(IdleReason::SupervisorDown));
        self.answer_failed_start(path);
        self.fail_supervisor(parent, "start-failed");
    }

    pub(crate) fn fail_supervisor(&mut self, path: &str, cause: Kind) {
        if !self.at(path).stopping() {
            self.of(path).cause = Some(cause);
            self.stop(path);
        }
    }

    fn end_of_tree(&mut self, exit: Kind) {
        let why = match exit {
            _ if is_failure(exit) => IdleReason::SupervisorDown,
            "stopped" => IdleReason::StoppedByCommand,
            _ => IdleReason::Finished,
        };
        self.set(ROOT, Phase::Idle(why));
        self.down = Some(exit);
        for path in self.children.keys().cloned().collect::<Vec<_>>() {
            self.answer(&path, |command| {
                Some(if command == Command::Stop { "stopped" } else { "tree down" })
            });
        }
    }

    /// Removes a child that is down, and all below it, from the tree.
    pub(crate) fn forget(&mut self, path: &str) {
        for kid in self.kids(path) {
            self.forget(&kid);
        }
        self.answer(path, |command| {
            Some(match command {
                Command::Remove => "removed",
                Command::Stop | Command::Quarantine => "stopped",
                _ => "not found",
            })
        });
        self.children.remove(path);
        if let Some((parent, name)) = path.rsplit_once('/')
            && self.children.contains_key(parent)
        {
            self.of(parent).kids.retain(|kid| kid != name);
        }
    }

    // Stopping.

    pub(crate) fn plan_above(&self, path: &str) -> Plan {
        let above = above(path).filter(|parent| self.at(parent).mode == Mode::Stopping);
        above.map_or(crate::child::NO_PLAN, |parent| self.at(&parent).plan)
    }

    /// Returns `true` for a group member that stops under its group's deadline.
    pub(crate) fn stops_with_its_group(&self, path: &str) -> bool {
        self.is_member(path) && above(path).is_some_and(|group| self.at(&group).mode == Mode::Stopping)
    }

    pub(crate) fn kill(&mut self, path: &str) {
        if !self.at(path).is_leaf() {
            return self.kill_supervisor(path);
        }
        self.of(path).drains = false;
        match self.at(path).phase {
            Phase::Idle(_) | Phase::Stopping { killed: true } => {}
            Phase::Waiting | Phase::BackingOff => self.stop(path),
            _ if self.at(path).is_kill_refused() => {
                // To wait for the end of a kill is useless, so it is abandoned at once.
                if !self.at(path).stopping() {
                    self.set(path, Phase::Stopping { killed: false });
                }
                self.of(path).timer = self.now;
            }
            Phase::Starting | Phase::Running | Phase::Stopping { killed: false } => {
                self.set(path, Phase::Stopping { killed: true });
                self.acts.push(format!("kill {path}"));
                if !self.stops_with_its_group(path) {
                    let end = self.plan_above(path).abandon;
                    let wait = self.at(path).spec.kill_wait;
                    self.of(path).timer = later(self.now, wait).min(end);
                }
            }
        }
    }

    fn kill_supervisor(&mut self, path: &str) {
        let (now, outer) = (self.now, self.plan_above(path));
        if !self.at(path).lives() {
            return self.stop(path);
        }
        if !self.at(path).stopping() {
            self.stop(path);
            if self.at(path).plan.kill <= now {
                return;
            }
        }
        let abandon = later(now, self.at(path).spec.kill_wait).min(outer.abandon);
        let at_once = Plan { ask_all: now, kill: now, abandon };
        let child = self.of(path);
        child.plan = child.plan.within(at_once);
        child.timer = child.plan.abandon;
        self.act_on_children(path, Act::Kill);
        self.kill_runtime(path);
    }

    /// Shuts down a dedicated runtime whose children have all ended.
    pub(crate) fn close_runtime(&mut self, path: &str) {
        self.acts.push(format!("ask {path}"));
        let now = self.now;
        let child = self.of(path);
        child.mode = Mode::Closing;
        let plan = &mut child.plan;
        plan.ask_all = plan.ask_all.min(now);
        plan.kill = plan.kill.min(later(now, KILL_WAIT));
        plan.abandon = plan.abandon.min(later(plan.kill.max(now), child.spec.kill_wait));
        child.timer = plan.next(now).min(plan.abandon);
    }

    /// Kills a dedicated runtime that is being shut down.
    fn kill_runtime(&mut self, path: &str) {
        let child = self.at(path);
        if child.mode == Mode::Closing && child.phase != (Phase::Stopping { killed: true }) {
            let timer = child.timer;
            self.set(path, Phase::Stopping { killed: true });
            self.of(path).timer = timer;
            self.acts.push(format!("kill {path}"));
        }
    }

    /// Handles the end of a leaf's attempt or of a dedicated runtime.
    pub(crate) fn exited(&mut self, path: &str, exit: Kind) {
        match self.at(path).mode {
            _ if self.at(path).is_leaf() => self.attempt_ended(path, exit),
            Mode::Opening => {
                self.of(path).mode = Mode::Down;
                self.attempt_ended(path, exit);
            }
            Mode::Closing => {
                self.of(path).mode = Mode::Down;
                self.attempt_ended(path, if is_failure(exit) { exit } else { "stopped" });
            }
            Mode::Down | Mode::Starting | Mode::Up | Mode::Stopping => {
                self.of(path).runtime_lost = true;
                self.fail_supervisor(path, exit);
            }
        }
    }

    pub(crate) fn abandon(&mut self, path: &str) {
        if self.at(path).is_leaf() {
            self.kill(path);
            if self.at(path).phase == (Phase::Stopping { killed: false }) {
                self.acts.push(format!("kill {path}"));
            }
            self.acts.push(format!("abandon {path}"));
            return self.attempt_ended(path, "abandoned");
        }
        if !self.at(path).stopping() {
            self.kill(path);
        }
        let now = self.now;
        let child = self.of(path);
        child.plan = child.plan.within(Plan { ask_all: now, kill: now, abandon: now });
        if child.mode != Mode::Closing {
            return self.act_on_children(path, Act::Abandon);
        }
        self.kill_runtime(path);
        self.of(path).mode = Mode::Down;
        self.acts.push(format!("abandon {path}"));
        self.attempt_ended(path, "abandoned");
    }

    pub(crate) fn act_on_children(&mut self, path: &str, act: Act) {
        if self.at(path).is_group() {
            return self.member_walks.push_back((path.to_owned(), act));
        }
        for kid in self.kids(path) {
            if self.children.contains_key(&kid) {
                self.act_on(&kid, act);
            }
        }
    }

    pub(crate) fn act_on(&mut self, path: &str, act: Act) {
        let child = self.at(path);
        match act {
            Act::Pause => self.pause(path),
            Act::Resume => self.resume(path),
            _ if self.is_member(path) && matches!(child.phase, Phase::Idle(_)) => self.forget(path),
            Act::Ask => self.stop(path),
            Act::Kill => self.kill(path),
            Act::Abandon if child.lives() => self.abandon(path),
            Act::Abandon => {}
        }
    }
}
