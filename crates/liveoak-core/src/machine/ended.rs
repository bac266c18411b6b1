//! What follows when an attempt is gone.

use super::node::{Kids, Mode, NONE, Phase};
use super::{Command, Effect, Machine, Outcome, Refusal};
use crate::EventKind;
use crate::backoff::jitter;
use crate::decide::{Verdict, decide};
use crate::window::Charge;
use crate::{
    AutoShutdown, Exit, GiveUp, IdleReason, Limit, LimitExceeded, Name, Restart, StopStage, Strategy,
};
use std::sync::Arc;
use std::time::Duration;

/// The shortest delay after a start that could not even be tried: whatever stood in its way needs time to change.
const UNTRIED_DELAY: Duration = Duration::from_secs(1);

/// A limit that was exceeded.
struct Over {
    limit: Limit,
    count: u32,
    own: bool,
}

impl Machine {
    pub(super) fn reported_exit(&mut self, i: u32, exit: Exit) {
        match &self.node(i).sup {
            None => self.gone(i, exit, StopStage::Asked),
            Some(sup) => match sup.mode {
                // Its place could not be made: nothing of it has started.
                Mode::Opening => {
                    self.sup_mut(i).mode = Mode::Down;
                    self.gone(i, exit, StopStage::Asked);
                }
                Mode::Closing => self.runtime_closed(i, exit),
                Mode::Down | Mode::Starting | Mode::Up | Mode::Stopping => {
                    self.sup_mut(i).runtime_lost = true;
                    self.fall(i, exit);
                }
            },
        }
    }

    /// The body of `i` has ended, but not all of the attempt: the ladder bounds the rest. A stop that was asked for
    /// before goes on as it is.
    pub(super) fn reported_ending(&mut self, i: u32, exit: Exit) {
        let node = self.node(i);
        if node.sup.is_none() && matches!(node.phase, Phase::Starting | Phase::Running) {
            self.book(i).cause = Some(exit);
            self.begin_stop(i);
        }
    }

    /// The attempt of `i` is gone; `exit` is what was seen of it. Every end of an attempt comes through here.
    pub(super) fn gone(&mut self, i: u32, exit: Exit, stage: StopStage) {
        let node = self.node(i);
        let stopping = node.phase.is_stopping();
        let stage = if node.phase == (Phase::Stopping { killed: true }) {
            stage.max(StopStage::Killed)
        } else {
            stage
        };
        let (ran, took) = (self.now.since(node.started), self.now.since(node.since));
        let (_, attempt) = self.attempt_of(i);
        let mut cause = None;
        if let Some(book) = &mut self.node_mut(i).book {
            book.health = crate::Health::Healthy;
            cause = book.cause.take();
        }
        // An end that was no failure until its cleaning up failed is one.
        cause =
            cause.map(|cause| if exit.is_failure() && !cause.is_failure() { exit.clone() } else { cause });
        let overruled = self.is_overruled(i);
        // Else it was stopped, if at all, for what it did.
        let cut_short = stopping && cause.is_none();
        let by_others = overruled || cut_short;
        let exit = cause.unwrap_or(exit);
        self.node_mut(i).flags.cut_short = cut_short;
        self.emit(i, || EventKind::Exited { attempt, exit: exit.clone(), ran, stopping: cut_short });
        if by_others {
            let took = if stopping { took } else { Duration::ZERO };
            self.log_stop(i, took, stage, Some(&exit));
            self.settle_stopped(i, stage, Some(exit));
        } else {
            self.decide(i, exit, ran);
        }
    }

    /// Whether somebody wants this child down (or started anew), whatever its own exit says.
    fn is_overruled(&self, i: u32) -> bool {
        let flags = self.node(i).flags;
        flags.removing || !flags.wanted || flags.sweep || flags.again || self.parent_is_ending(i)
    }

    /// A child that was stopped rests, or goes where it was stopped for.
    /// `exit` is none if it had no attempt.
    pub(super) fn settle_stopped(&mut self, i: u32, stage: StopStage, exit: Option<Exit>) {
        let node = self.node(i);
        let (flags, parent, temporary) = (node.flags, node.parent, node.spec.restart == Restart::Temporary);
        let leaves = flags.added || self.is_member(i);
        let ending = self.parent_is_ending(i);
        let back = flags.wanted && !flags.removing && !ending && (flags.sweep || flags.again);
        let remembered = !leaves || back || node.book.is_some();
        self.node_mut(i).flags.again = false;
        if back {
            self.close_log(i);
        }
        if let Some(exit) = exit.as_ref().filter(|_| remembered) {
            self.book(i).last_exit = Some(exit.clone());
        }
        if parent == NONE && !back {
            return self.tree_down(exit.unwrap_or(Exit::Stopped));
        }
        if back && flags.sweep {
            self.node_mut(i).flags.was_ready = false;
            if temporary && !flags.again {
                self.emit(i, || EventKind::Finished);
                self.rest(i, IdleReason::Finished, leaves);
            } else {
                self.wait(i);
            }
        } else if back {
            self.ready_to_start(i);
        } else {
            let why = if flags.wanted { IdleReason::SupervisorDown } else { IdleReason::StoppedByRequest };
            self.emit(i, || EventKind::Stopped { stage, why });
            let goes = flags.removing || leaves && (ending || temporary);
            self.rest(i, why, goes);
        }
        self.mark_dirty(parent);
    }

    /// The child is down; it is taken out of the tree if it `goes`.
    fn rest(&mut self, i: u32, why: IdleReason, goes: bool) {
        if !goes {
            self.set_phase(i, Phase::Idle(why));
        }
        let removing = self.node(i).flags.removing;
        if !removing {
            let report = self.close_log(i);
            let overtaken = || match why {
                IdleReason::SupervisorDown => Refusal::SupervisorDown,
                IdleReason::StoppedByRequest => Refusal::Superseded { by: "a stop" },
                IdleReason::Finished | IdleReason::Ignored | IdleReason::Quarantined => {
                    Refusal::Superseded { by: "a group restart" }
                }
            };
            self.resolve(i, |command| match command {
                Command::Stop => Some(Ok(Outcome::Stopped(report.clone()))),
                Command::Start | Command::Restart => Some(Err(overtaken())),
                Command::Remove => None,
            });
        }
        if goes {
            self.free(i);
        }
    }

    /// The attempt ended by itself: the table, the limits, the delay, the strategy.
    pub(super) fn decide(&mut self, i: u32, exit: Exit, ran: Duration) {
        self.book(i).last_exit = Some(exit.clone());
        let parent = self.node(i).parent;
        if parent == NONE {
            return self.tree_down(exit);
        }
        let flags = self.node(i).flags;
        if !flags.attempt_ready && self.is_failed_start(i, &exit) {
            if flags.on_trial {
                return self.trial_failed(i, exit);
            }
            if self.is_first_start(parent, i) {
                return self.first_start_failed(parent, i, exit);
            }
        }
        match decide(self.node(i).spec.restart, &exit) {
            Verdict::Restart => self.restart(i, exit, ran),
            Verdict::Finish => self.finish(i, exit),
            Verdict::Absent => self.absent(i),
        }
    }

    /// A start that a command asked for has failed: the command is told, and the child stays down (C10, C13).
    pub(super) fn trial_failed(&mut self, i: u32, exit: Exit) {
        let parent = self.node(i).parent;
        self.refuse_waiters(i, &exit);
        self.emit(i, || EventKind::Stopped {
            stage: StopStage::Cancelled,
            why: IdleReason::StoppedByRequest,
        });
        let flags = &mut self.node_mut(i).flags;
        let goes = flags.added && !flags.ever_ready;
        flags.on_trial = false;
        flags.wanted = false;
        self.rest(i, IdleReason::StoppedByRequest, goes);
        self.mark_dirty(parent);
    }

    /// The child is not needed here: it counts as started (C5, C36).
    fn absent(&mut self, i: u32) {
        let parent = self.node(i).parent;
        self.node_mut(i).flags.on_trial = false;
        self.emit(i, || EventKind::Ignored);
        self.resolve(i, |command| match command {
            Command::Start | Command::Restart => Some(Ok(Outcome::Ignored)),
            Command::Stop | Command::Remove => None,
        });
        let node = self.node(i);
        let goes = self.is_member(i) || node.flags.added && node.spec.restart == Restart::Temporary;
        self.rest(i, IdleReason::Ignored, goes);
        self.mark_dirty(parent);
    }

    /// The child has done its part. Source for what follows: OTP rows C45–C47.
    fn finish(&mut self, i: u32, exit: Exit) {
        let node = self.node(i);
        let (parent, significant) = (node.parent, node.spec.significant);
        let goes = self.is_member(i) || node.flags.added && node.spec.restart == Restart::Temporary;
        self.node_mut(i).flags.on_trial = false;
        self.emit(i, || EventKind::Finished);
        if exit.is_failure() {
            self.refuse_waiters(i, &exit);
        }
        self.resolve(i, |command| match command {
            Command::Start | Command::Restart => Some(Ok(Outcome::Finished { exit: exit.clone() })),
            Command::Stop | Command::Remove => None,
        });
        self.rest(i, IdleReason::Finished, goes);
        if significant && self.significant_end(parent) {
            self.emit(parent, || EventKind::AutoShutdown);
            self.fall(parent, Exit::AutoShutdown);
        }
        self.mark_dirty(parent);
    }

    fn significant_end(&self, parent: u32) -> bool {
        let sup = self.sup(parent);
        match sup.rules.auto_shutdown {
            AutoShutdown::Never => false,
            AutoShutdown::AnySignificant => true,
            AutoShutdown::AllSignificant => !sup.ordered().iter().any(|kid| {
                let node = self.node(*kid);
                let comes = node.phase.is_pending() && !node.is_at_rest();
                node.spec.significant && (node.phase.is_live() || comes)
            }),
        }
    }

    /// Charges the limits, then backs off, then restarts the child or its group (C25–C31).
    fn restart(&mut self, i: u32, exit: Exit, ran: Duration) {
        let parent = self.node(i).parent;
        if let Some(over) = self.charge(i, parent) {
            return self.give_up(i, parent, exit, &over);
        }
        let node = self.node(i);
        let untried = node.phase == Phase::Waiting;
        let random = jitter(self.random, self.names_above(i), node.attempt);
        let backoff = self.node(i).spec.backoff;
        self.node_mut(i).flags.restarting = true;
        let book = self.book(i);
        let mut delay = Duration::ZERO;
        if let Some(backoff) = backoff {
            if ran >= backoff.reset_after {
                book.streak = 0;
            }
            delay = backoff.delay(book.streak, random);
            book.streak = book.streak.saturating_add(1);
        }
        if untried {
            delay = delay.max(UNTRIED_DELAY);
        }
        if !self.node(i).flags.attempt_ready {
            self.refuse_waiters(i, &exit);
        }
        match self.sup(parent).rules.strategy {
            Strategy::OneForOne => self.delay_start(i, delay),
            Strategy::OneForAll => self.restart_group(parent, i, 0, delay),
            Strategy::RestForOne => {
                let from = self.sup(parent).ordered().iter().position(|kid| *kid == i).unwrap_or(0);
                self.restart_group(parent, i, from, delay);
            }
        }
    }

    fn charge(&mut self, i: u32, parent: u32) -> Option<Over> {
        let now = self.now;
        let joint = self.sup(parent).rules.intensity;
        let own = self.node(i).spec.limit.or_else(|| joint.is_none().then_some(Limit::DEFAULT_OF_A_CHILD));
        let own_over = own.and_then(|limit| match self.book(i).window.charge(&limit, now) {
            Charge::Allowed => None,
            Charge::Exceeded(count) => Some(Over { limit, count, own: true }),
        });
        let joint_over = joint.and_then(|limit| match self.sup_mut(parent).window.charge(&limit, now) {
            Charge::Allowed => None,
            Charge::Exceeded(count) => Some(Over { limit, count, own: false }),
        });
        own_over.or(joint_over)
    }

    fn delay_start(&mut self, i: u32, delay: Duration) {
        if delay.is_zero() {
            self.ready_to_start(i);
        } else {
            self.set_phase(i, Phase::BackingOff);
            self.set_timer_in(i, delay);
            let streak = self.book(i).streak;
            self.emit(i, || EventKind::BackingOff { delay, streak });
            let parent = self.node(i).parent;
            self.mark_dirty(parent);
        }
    }

    /// Law 13: marks every member of the group to be stopped and started again; [`advance`](Self::advance) does it.
    /// Which children start again that were down already: OTP rows C30 and C31 with our deviation.
    fn restart_group(&mut self, parent: u32, failed: u32, from: usize, delay: Duration) {
        let members = self.sup(parent).ordered()[from..].to_vec();
        let sup = self.sup_mut(parent);
        sup.asked_from = sup.ordered().len();
        let mut count = 1;
        for kid in members.into_iter().filter(|kid| *kid != failed) {
            let node = self.node(kid);
            let (flags, restart) = (node.flags, node.spec.restart);
            let joins = match node.phase {
                // Whoever is on its way out is waited for as well, even if it does not come back.
                Phase::Starting | Phase::Running | Phase::Stopping { .. } => {
                    self.sweep(kid);
                    flags.wanted && !flags.removing
                }
                Phase::Waiting | Phase::BackingOff => {
                    self.node_mut(kid).flags.was_ready = false;
                    self.wait(kid);
                    true
                }
                Phase::Idle(IdleReason::Finished | IdleReason::Ignored) => {
                    let joins = flags.wanted && restart != Restart::Temporary;
                    if joins {
                        self.node_mut(kid).flags.was_ready = false;
                        self.wait(kid);
                    }
                    joins
                }
                Phase::Idle(
                    IdleReason::SupervisorDown | IdleReason::StoppedByRequest | IdleReason::Quarantined,
                ) => false,
            };
            count += usize::from(joins);
        }
        self.node_mut(failed).flags.was_ready = false;
        if count > 1 {
            self.emit(parent, || EventKind::GroupRestart { children: count });
        }
        self.delay_start(failed, delay);
    }

    /// Law 11: giving up is loud.
    fn give_up(&mut self, i: u32, parent: u32, exit: Exit, over: &Over) {
        let gave_up = Arc::new(LimitExceeded {
            path: self.path_of(i),
            child: self.name_of(i),
            exit,
            count: over.count,
            allowed: over.limit.restarts,
            period: over.limit.period,
            own_limit: over.own,
        });
        self.book(i).gave_up = Some(Arc::clone(&gave_up));
        self.refuse_waiters(i, &gave_up.exit);
        self.node_mut(i).flags.on_trial = false;
        match over.limit.give_up {
            GiveUp::Quarantine => {
                self.emit(i, || EventKind::Quarantined(Arc::clone(&gave_up)));
                self.set_phase(i, Phase::Idle(IdleReason::Quarantined));
                self.mark_dirty(parent);
            }
            GiveUp::Escalate => {
                self.set_phase(i, Phase::Idle(IdleReason::SupervisorDown));
                self.emit(parent, || EventKind::GaveUp(Arc::clone(&gave_up)));
                self.fall(parent, Exit::GaveUp(gave_up));
            }
        }
    }

    /// A supervisor ends by itself, with `cause` as its exit, after stopping its children.
    pub(super) fn fall(&mut self, i: u32, cause: Exit) {
        if !self.node(i).phase.is_stopping() {
            self.book(i).cause = Some(cause);
            self.begin_stop(i);
        }
    }

    /// The root has ended.
    fn tree_down(&mut self, exit: Exit) {
        let root = self.root;
        self.set_phase(root, Phase::Idle(IdleReason::SupervisorDown));
        let report = Arc::new(self.close_log(root));
        self.down = true;
        for i in 0..self.slots.len() {
            if let super::node::Slot::Used(_) = self.slots[i] {
                self.resolve(i as u32, |command| match command {
                    Command::Stop => Some(Ok(Outcome::Stopped((*report).clone()))),
                    Command::Start | Command::Restart | Command::Remove => Some(Err(Refusal::TreeEnded)),
                });
            }
        }
        self.push(Effect::TreeEnded { exit, report });
    }

    pub(super) fn name_of(&self, i: u32) -> Name {
        let node = self.node(i);
        match node.label.name(i, node.serial) {
            Some(name) => name,
            None => unreachable!("the name made from a slot is made of digits"),
        }
    }

    /// The first member of a group; the others follow by `next`.
    pub(super) fn first_member(&self, i: u32) -> u32 {
        match &self.sup(i).kids {
            Kids::Group { head, .. } => *head,
            Kids::Ordered(_) => NONE,
        }
    }
}
