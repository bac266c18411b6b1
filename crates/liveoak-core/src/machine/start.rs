//! Starting: in order, gated on readiness and on `after` edges.
//!
//! An *ordered start* is the start of a supervisor or of a group restart; its members are the children whose
//! `was_ready` is false. A member waits until all members of the stop before it are gone, until the backoff of
//! the group is over, and (declared order) until every earlier child was ready. A child that is restarted alone
//! keeps `was_ready` and waits for its `after` edges only. Whoever rests with one that rests by wish has had its turn.

use super::node::{Flags, Kids, Mode, Phase};
use super::{Command, Effect, Machine, Outcome};
use crate::{
    Condition, Edge, EventKind, Exit, Health, IdleReason, Order, Ready, Restart, StartFailure, Strategy, Time,
};
use std::sync::Arc;
use std::time::Duration;

/// What an `after` edge, or all edges of a child together, say to its start; the last that holds of one edge holds of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Gate {
    /// Yes.
    Open,
    /// The other runs and is not well, or has failed and waits for its restart. Nobody knows how long that may take:
    /// whoever waits for it does so as long as its own start may take, in all.
    Ailing,
    /// The other is on its way, and has a deadline of its own; or it does its work, which takes as long as it takes.
    Closed,
    /// The other rests by wish (stopped on request, quarantined), or waits for one that does. Who comes after it waits
    /// for as long; nobody else waits for that one.
    Resting,
    /// The other has ended for good and has not done its part.
    Never,
}

/// How long a supervisor waits for ailing siblings, if nothing was said: as long as the start of a child may take. What its
/// own children take is theirs.
const PATIENCE_OF_A_SUPERVISOR: Duration = Duration::from_secs(30);

impl Machine {
    pub(super) fn start_tree(&mut self) {
        if self.node(self.root).attempt == 0 && !self.down {
            self.begin_start(self.root);
        }
    }

    /// Begins an attempt now.
    pub(super) fn begin_start(&mut self, i: u32) {
        self.set_phase(i, Phase::Starting);
        self.count_attempt(i);
        let node = self.node(i);
        let (within, ready, is_sup) = (node.spec.start_within, node.spec.ready, node.sup.is_some());
        let (id, attempt) = self.attempt_of(i);
        if is_sup {
            self.sup_mut(i).window.clear();
            self.sup_mut(i).runtime_lost = false;
            if within != Duration::MAX {
                self.set_timer_in(i, within);
            }
            if self.sup(i).rules.dedicated_runtime {
                // To make one fails or succeeds, and waits for nobody; the clock may stand or run while it is made.
                self.sup_mut(i).mode = Mode::Opening;
                self.push(Effect::Start { id, attempt });
            } else {
                self.open(i);
            }
        } else {
            self.push(Effect::Start { id, attempt });
            match ready {
                Ready::AtOnce => self.mark_ready(i),
                Ready::Reported => self.set_timer_in(i, within),
            }
        }
    }

    fn count_attempt(&mut self, i: u32) {
        let now = self.now;
        let node = self.node_mut(i);
        node.attempt += 1;
        node.started = now;
        node.flags.attempt_ready = false;
        node.flags.cut_short = false;
        let restart = std::mem::take(&mut node.flags.restarting);
        if restart {
            self.book(i).restarts += 1;
        }
        let (_, attempt) = self.attempt_of(i);
        self.emit(i, || EventKind::Starting { attempt, restart });
    }

    /// The place of a supervisor is there: its children may start.
    fn open(&mut self, i: u32) {
        if self.sup(i).is_group() {
            self.sup_mut(i).mode = Mode::Up;
            self.mark_ready(i);
            return;
        }
        self.sup_mut(i).mode = Mode::Starting;
        for kid in self.sup(i).ordered().to_vec() {
            let node = self.node_mut(kid);
            // None was added: those went with the end of the supervisor.
            node.flags = Flags { wanted: node.flags.wanted, ..Flags::default() };
            if let Some(book) = &mut node.book {
                book.streak = 0;
                book.window.clear();
                book.gave_up = None;
            }
            // Who was asked to rest goes on resting.
            if self.node(kid).flags.wanted {
                self.wait(kid);
            }
        }
        self.mark_dirty(i);
    }

    /// The child is to be started as soon as its supervisor finds that it may.
    pub(super) fn wait(&mut self, i: u32) {
        self.set_phase(i, Phase::Waiting);
        self.emit(i, || EventKind::Waiting);
        let parent = self.node(i).parent;
        self.mark_dirty(parent);
    }

    /// A child that owes nothing to anybody but its own turn may go: members at once, others by their supervisor.
    pub(super) fn ready_to_start(&mut self, i: u32) {
        if self.is_member(i) || i == self.root {
            self.begin_start(i);
        } else {
            self.wait(i);
        }
    }

    pub(super) fn reported_ready(&mut self, i: u32) {
        match &self.node(i).sup {
            Some(sup) if sup.mode == Mode::Opening => self.open(i),
            Some(_) => {}
            None => self.mark_ready(i),
        }
    }

    /// The attempt is ready. Late or repeated reports change nothing.
    pub(super) fn mark_ready(&mut self, i: u32) {
        if self.node(i).phase != Phase::Starting {
            return;
        }
        self.set_phase(i, Phase::Running);
        let node = self.node_mut(i);
        let first = !node.flags.ever_ready;
        node.flags.ever_ready = true;
        node.flags.was_ready = true;
        node.flags.attempt_ready = true;
        node.flags.on_trial = false;
        let (started, parent) = (node.started, node.parent);
        let took = self.now.since(started);
        let (id, attempt) = self.attempt_of(i);
        self.emit(i, || EventKind::Ready { attempt, took });
        if self.node(i).sup.is_none() {
            self.watch_heartbeat(i);
        }
        self.resolve(i, |command| match command {
            Command::Start | Command::Restart => Some(Ok(Outcome::Ready { id, attempt })),
            Command::Stop | Command::Remove => None,
        });
        if i == self.root {
            if first {
                self.push(Effect::TreeReady);
            }
        } else if !self.sup(parent).is_group() {
            self.mark_dirty(parent);
        }
    }

    /// Does the next steps that are due for a supervisor. Reads states, keeps no plan.
    pub(super) fn advance(&mut self, i: u32) {
        match self.sup(i).mode {
            Mode::Down | Mode::Opening | Mode::Closing => {}
            Mode::Stopping => self.continue_stop(i),
            Mode::Starting | Mode::Up => {
                if self.sup(i).sweeping > 0 {
                    self.stop_next(i, true);
                }
                if self.sup(i).waiting > 0 && self.start_next(i) {
                    // A start has failed: all is looked at anew.
                    return;
                }
                if self.sup(i).mode == Mode::Starting {
                    self.finish_start(i);
                }
                if self.sup(i).mode == Mode::Up && self.sup(i).rules.end_when_done {
                    self.end_if_done(i);
                }
            }
        }
    }

    /// Whether a member of an ordered start lets those behind it start.
    pub(super) fn has_had_its_turn(&self, i: u32) -> bool {
        let node = self.node(i);
        node.flags.was_ready || node.is_at_rest()
    }

    /// The child whose backoff an ordered start waits for.
    pub(super) fn group_backoff(&self, i: u32) -> Option<u32> {
        if self.sup(i).rules.strategy == Strategy::OneForOne {
            return None;
        }
        let holds_back = |kid: &u32| {
            let node = self.node(*kid);
            node.phase == Phase::BackingOff && !node.flags.was_ready
        };
        self.sup(i).ordered().iter().copied().find(holds_back)
    }

    /// Starts whoever may start. Whether a start has failed: then who may is to be found anew.
    fn start_next(&mut self, i: u32) -> bool {
        let held = self.sup(i).sweeping > 0 || self.group_backoff(i).is_some();
        let declared = self.sup(i).rules.order == Order::Declared;
        let mut turn_taken = false;
        for k in 0..self.sup(i).ordered().len() {
            let kid = self.sup(i).ordered()[k];
            let node = self.node(kid);
            if node.phase == Phase::Waiting {
                let its_turn = node.flags.was_ready || !(held || declared && turn_taken);
                if self.try_to_start(i, kid, its_turn) {
                    return true;
                }
            }
            turn_taken |= !self.has_had_its_turn(kid);
        }
        false
    }

    /// Starts a waiting child if it may, and fails its start if that is due. Whether it failed: then who may start is
    /// to be found anew.
    fn try_to_start(&mut self, i: u32, kid: u32, its_turn: bool) -> bool {
        let gate = self.gate(i, kid);
        self.node_mut(kid).flags.resting = gate == Gate::Resting;
        if !(gate == Gate::Ailing && its_turn) {
            self.pause_patience(kid);
        }
        let fails = match gate {
            Gate::Open | Gate::Closed => false,
            Gate::Ailing => its_turn && self.has_waited_too_long(kid),
            // It was not asked to start only now: it stays.
            Gate::Resting if !self.node(kid).flags.on_trial => {
                if self.waiters(kid) != 0 {
                    let exit = Exit::failed(self.why_not(i, kid, gate));
                    self.refuse_waiters(kid, &exit);
                }
                false
            }
            Gate::Resting => true,
            Gate::Never => its_turn,
        };
        if fails {
            let why = self.why_not(i, kid, gate);
            self.cannot_start(kid, why);
        } else if gate == Gate::Open && its_turn {
            self.begin_start(kid);
        }
        fails
    }

    pub(super) fn is_first_start(&self, i: u32, kid: u32) -> bool {
        self.sup(i).mode == Mode::Starting && !self.node(kid).flags.ever_ready
    }

    /// A start that cannot be is an attempt that has failed at once (laws 6 and 7): in a first start that fails the
    /// supervisor, a command is told, and else it is a failure like any other: charged, backed off, tried again.
    fn cannot_start(&mut self, kid: u32, why: String) {
        self.count_attempt(kid);
        let (_, attempt) = self.attempt_of(kid);
        let (exit, ran) = (Exit::failed(why), Duration::ZERO);
        self.emit(kid, || EventKind::Exited { attempt, exit: exit.clone(), ran, stopping: false });
        self.decide(kid, exit, ran);
    }

    fn why_not(&self, i: u32, kid: u32, gate: Gate) -> String {
        let mut edges = self.node(kid).spec.after.iter();
        let Some(edge) = edges.find(|edge| self.edge(i, edge) == gate) else { return String::new() };
        let (other, condition) = (&edge.child, edge.condition.as_str());
        let node = self.sup(i).names.get(other).map(|other| self.node(*other));
        let phase = node.map(|node| node.phase);
        let last_exit = node.and_then(|node| node.book.as_ref()?.last_exit.as_ref());
        let what = match (gate, phase) {
            (Gate::Ailing, Some(Phase::Running)) => "is ready but was not healthy in time".to_owned(),
            (Gate::Ailing, _) => "keeps failing".to_owned(),
            (Gate::Resting, Some(Phase::Idle(why))) => format!("is {}", why.as_str()),
            (Gate::Resting, _) => "waits for one that is stopped or quarantined".to_owned(),
            _ if node.is_some_and(|node| node.flags.cut_short) => "was stopped before it was done".to_owned(),
            _ => "has ended for good".to_owned(),
        };
        match last_exit.filter(|_| phase != Some(Phase::Running) && gate != Gate::Resting) {
            Some(exit) => format!("it comes after {other} ({condition}), which {what}: {}", shortened(exit)),
            None => format!("it comes after {other} ({condition}), which {what}"),
        }
    }

    /// Law 6 for a wait: what a child waits for has deadlines of its own, but for ailing ones it waits as long as its own
    /// start may take, all such waits since it began to wait together. That it was too long is for its timer to say: the
    /// timers of others that were due before come first.
    fn has_waited_too_long(&mut self, kid: u32) -> bool {
        let node = self.node(kid);
        let within = match node.spec.start_within {
            Duration::MAX if node.sup.is_some() => PATIENCE_OF_A_SUPERVISOR,
            within => within,
        };
        if within == Duration::MAX {
            return false;
        }
        let left = *self.book(kid).patience.get_or_insert(within);
        if !left.is_zero() && self.node(kid).timer == Time::NEVER {
            self.set_timer_in(kid, left);
        }
        left.is_zero()
    }

    /// Nothing ails that it waits for, or it is not its turn: its patience is kept for later.
    pub(super) fn pause_patience(&mut self, kid: u32) {
        let timer = self.node(kid).timer;
        if timer != Time::NEVER {
            // What is overdue by now has a moment left: until its timer can have its say.
            let left = timer.since(self.now).max(Duration::from_nanos(1));
            self.book(kid).patience = Some(left);
            self.set_timer(kid, Time::NEVER);
        }
    }

    /// What the edges of `kid` say together.
    pub(super) fn gate(&self, i: u32, kid: u32) -> Gate {
        let edges = self.node(kid).spec.after.iter();
        edges.map(|edge| self.edge(i, edge)).max().unwrap_or(Gate::Open)
    }

    /// What one edge says. The table: what is asked for × what the other child is doing.
    pub(super) fn edge(&self, i: u32, edge: &Edge) -> Gate {
        let Some(&other) = self.sup(i).names.get(&edge.child) else { return Gate::Never };
        let node = self.node(other);
        // A one-shot that a group restart cut short has not done its part, even if it says so.
        let succeeded = || {
            let exit = node.book.as_ref().and_then(|book| book.last_exit.as_ref());
            let well = exit.is_none_or(|exit| !exit.is_failure() && !matches!(exit, Exit::Stopped));
            well && !node.flags.cut_short
        };
        match (node.phase, edge.condition) {
            (Phase::Idle(IdleReason::Ignored), _) => Gate::Open,
            (Phase::Idle(IdleReason::Finished), _) if succeeded() => Gate::Open,
            (Phase::Idle(IdleReason::Finished), _) => Gate::Never,
            (Phase::Idle(IdleReason::StoppedByRequest | IdleReason::Quarantined), _) => Gate::Resting,
            (Phase::Waiting, _) if node.flags.resting => Gate::Resting,
            (Phase::Starting | Phase::Running, Condition::Started) => Gate::Open,
            (Phase::Running, Condition::Ready) => Gate::Open,
            (Phase::Running, Condition::Healthy) if self.health_of(other) == Health::Healthy => Gate::Open,
            (Phase::Running, Condition::Healthy) => Gate::Ailing,
            (Phase::BackingOff, Condition::Started | Condition::Ready | Condition::Healthy) => Gate::Ailing,
            (Phase::Running | Phase::BackingOff, Condition::Completed) => Gate::Closed,
            (
                Phase::Idle(IdleReason::SupervisorDown)
                | Phase::Waiting
                | Phase::Starting
                | Phase::Stopping { .. },
                Condition::Started | Condition::Ready | Condition::Healthy | Condition::Completed,
            ) => Gate::Closed,
        }
    }

    /// A supervisor whose children were all ready once (or need not be) has started.
    fn finish_start(&mut self, i: u32) {
        let settled = |kid: &u32| self.node(*kid).flags.ever_ready || self.node(*kid).is_at_rest();
        if self.sup(i).mode == Mode::Starting && self.sup(i).ordered().iter().all(settled) {
            self.sup_mut(i).mode = Mode::Up;
            self.mark_ready(i);
        }
    }

    /// Law 7: a failed first start stops what was started and fails the supervisor.
    pub(super) fn first_start_failed(&mut self, sup: u32, kid: u32, exit: Exit) {
        self.set_phase(kid, Phase::Idle(IdleReason::SupervisorDown));
        self.refuse_waiters(kid, &exit);
        let failure = match exit {
            Exit::StartFailed(failure) => failure,
            exit => Arc::new(StartFailure { path: self.path_of(kid), exit }),
        };
        self.emit(sup, || EventKind::StartFailed(Arc::clone(&failure)));
        self.fall(sup, Exit::StartFailed(failure));
    }

    /// Whether an exit before readiness is a failed start. A transient or temporary child that succeeds before
    /// it is ready has done its part; a permanent one was expected to stay.
    pub(super) fn is_failed_start(&self, i: u32, exit: &Exit) -> bool {
        match exit {
            Exit::Ignored => false,
            exit => exit.is_failure() || self.node(i).spec.restart == Restart::Permanent,
        }
    }

    /// Ends a supervisor of which all children have finished for good; its exit says whether all went well.
    fn end_if_done(&mut self, i: u32) {
        if !self.is_done(i) {
            return;
        }
        let exit = match self.first_bad_end(i) {
            None => Exit::Completed,
            Some(bad) => {
                let book = self.node(bad).book.as_ref();
                match book.and_then(|book| book.gave_up.clone()) {
                    Some(gave_up) => Exit::GaveUp(gave_up),
                    None => {
                        let exit = book.and_then(|book| book.last_exit.clone()).unwrap_or(Exit::Killed);
                        Exit::failed(format!("{} ended for good: {exit}", self.path_of(bad)))
                    }
                }
            }
        };
        self.fall(i, exit);
    }

    /// Whether nothing below `i` runs or will run again by itself. A group is never done: it awaits members.
    pub(super) fn is_done(&self, i: u32) -> bool {
        let node = self.node(i);
        match (&node.sup, node.phase) {
            (None, Phase::Idle(why)) => why != IdleReason::StoppedByRequest,
            (Some(sup), Phase::Running) => match &sup.kids {
                Kids::Ordered(kids) => kids.iter().all(|kid| self.is_done(*kid)),
                Kids::Group { .. } => false,
            },
            (Some(_), Phase::Idle(why)) => why != IdleReason::StoppedByRequest,
            // If it rests with one that was stopped on request, that one is not done.
            (_, Phase::Waiting) => node.flags.resting,
            (None | Some(_), _) => false,
        }
    }

    fn first_bad_end(&self, i: u32) -> Option<u32> {
        let node = self.node(i);
        let bad_exit = || {
            let exit = node.book.as_ref().and_then(|book| book.last_exit.as_ref());
            node.flags.cut_short || exit.is_some_and(Exit::is_failure)
        };
        match node.phase {
            Phase::Idle(IdleReason::Quarantined) => Some(i),
            Phase::Idle(IdleReason::Finished) if bad_exit() => Some(i),
            _ => node.sup.as_ref()?.ordered().iter().find_map(|kid| self.first_bad_end(*kid)),
        }
    }

    pub(super) fn reported_health(&mut self, i: u32, health: Health) {
        if std::mem::replace(&mut self.book(i).health, health) != health {
            self.emit(i, || EventKind::Health(health));
            let mut above = self.node(i).parent;
            while above != super::node::NONE {
                self.mark_dirty(above);
                above = self.node(above).parent;
            }
        }
    }
}

/// An exit as the part of another's: whoever fails because others have failed does not repeat all of their story.
fn shortened(exit: &Exit) -> String {
    const MOST: usize = 200;
    let text = exit.to_string();
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{} …", &text[..end]),
        None => text,
    }
}

impl Machine {
    /// Adds one member to a group and starts it at once. Called by [`add_member`](Self::add_member).
    pub(super) fn start_member(&mut self, i: u32) {
        self.tell_added(i);
        self.node_mut(i).flags.on_trial = true;
        self.node_mut(i).since = self.now;
        self.begin_start(i);
    }

    /// How long until `at`; none for never.
    pub(super) fn remaining(&self, at: Time) -> Option<Duration> {
        (at != Time::NEVER).then(|| at.since(self.now))
    }
}
