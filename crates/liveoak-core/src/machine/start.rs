//! Starting: in order, gated on readiness and on `after` edges.
//!
//! An *ordered start* is the start of a supervisor or of a group restart; its members are the children whose
//! `was_ready` is false. A member waits until all members of the stop before it are gone, until the backoff of
//! the group is over, and (declared order) until every earlier child was ready. A child that is restarted alone
//! keeps `was_ready` and waits for its `after` edges only.

use super::node::{Flags, Kids, Mode, Phase};
use super::{Command, Done, Effect, Machine};
use crate::{
    Condition, Edge, EventKind, Exit, Health, Name, Order, Ready, Restart, Rung, StartFailure, Time, WhyIdle,
};
use std::sync::Arc;
use std::time::Duration;

/// Whether an `after` edge lets its child start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gate {
    Open,
    Closed,
    /// It will never open by itself.
    Never,
}

/// How long a supervisor waits for the health of a sibling that is ready: as long as the start of a child may take if
/// nothing else was said.
const HEALTH_WITHIN: Duration = Duration::from_secs(30);

impl Machine {
    pub(super) fn start_tree(&mut self) {
        if self.node(self.root).attempt == 0 && !self.down {
            self.begin_start(self.root);
        }
    }

    /// Begins an attempt now.
    pub(super) fn begin_start(&mut self, i: u32) {
        self.set_phase(i, Phase::Starting);
        let now = self.now;
        let node = self.node_mut(i);
        node.attempt += 1;
        node.started = now;
        node.flags.attempt_ready = false;
        let restart = std::mem::take(&mut node.flags.restarting);
        let (within, ready, is_sup) = (node.spec.start_within, node.spec.ready, node.sup.is_some());
        let (id, attempt) = self.attempt_of(i);
        if restart {
            self.book(i).restarts += 1;
        }
        self.emit(i, || EventKind::Starting { attempt, restart });
        if is_sup {
            if within != Duration::MAX {
                self.set_timer_in(i, within);
            }
            self.sup_mut(i).window.clear();
            self.sup_mut(i).place_lost = false;
            if self.sup(i).rules.place {
                self.sup_mut(i).mode = Mode::Opening;
                self.push(Effect::Spawn { id, attempt });
            } else {
                self.open(i);
            }
        } else {
            self.push(Effect::Spawn { id, attempt });
            match ready {
                Ready::AtOnce => self.mark_ready(i),
                Ready::Reported => self.set_timer_in(i, within),
            }
        }
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
            Command::Start | Command::Restart => Some(Ok(Done::Ready { id, attempt })),
            Command::Stop | Command::Remove => None,
        });
        if i == self.root {
            if first {
                self.push(Effect::Up);
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
                if self.sup(i).waiting > 0 {
                    self.start_next(i);
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
        node.flags.was_ready || matches!(node.phase, Phase::Idle(_))
    }

    /// The child whose backoff an ordered start waits for.
    pub(super) fn group_backoff(&self, i: u32) -> Option<u32> {
        let holds_back = |kid: &u32| {
            let node = self.node(*kid);
            node.phase == Phase::BackingOff && !node.flags.was_ready
        };
        self.sup(i).ordered().iter().copied().find(holds_back)
    }

    fn start_next(&mut self, i: u32) {
        let held = self.sup(i).sweeping > 0 || self.group_backoff(i).is_some();
        let declared = self.sup(i).rules.order == Order::Declared;
        let mut turn_taken = false;
        for k in 0..self.sup(i).ordered().len() {
            let kid = self.sup(i).ordered()[k];
            let node = self.node(kid);
            let alone = node.flags.was_ready;
            if node.phase == Phase::Waiting {
                let its_turn = alone || !(held || declared && turn_taken);
                let gate = if its_turn { self.gate(i, kid) } else { Gate::Closed };
                match gate {
                    Gate::Open => self.begin_start(kid),
                    Gate::Closed => self.bound_the_wait(i, kid, its_turn),
                    Gate::Never => {
                        self.set_timer(kid, Time::NEVER);
                        let why = self.why_never(i, kid);
                        if self.cannot_start(i, kid, why) {
                            return;
                        }
                    }
                }
            }
            turn_taken |= !self.has_had_its_turn(kid);
        }
    }

    /// Whether somebody is to be told when a waiting child cannot start: its supervisor, in a first start, or those whose
    /// commands wait for it.
    fn owes_a_start(&self, i: u32, kid: u32) -> bool {
        let flags = self.node(kid).flags;
        flags.on_trial || self.is_first_start(i, kid) || self.waiters(kid) > 0
    }

    fn is_first_start(&self, i: u32, kid: u32) -> bool {
        self.sup(i).mode == Mode::Starting && !self.node(kid).flags.ever_ready
    }

    /// A child whose edges can never hold, or did not in time, cannot start. In a first start that fails the
    /// supervisor; a command is told; else the child keeps waiting, and says for what: there is nothing to try again but
    /// the waiting. Whether something changed, so that who may start is to be found anew.
    fn cannot_start(&mut self, i: u32, kid: u32, why: String) -> bool {
        let exit = Exit::failed(why);
        if self.node(kid).flags.on_trial {
            self.trial_failed(kid, exit);
        } else if self.is_first_start(i, kid) {
            self.first_start_failed(i, kid, exit);
        } else {
            self.refuse_waiters(kid, &exit);
            return false;
        }
        true
    }

    fn why_never(&self, i: u32, kid: u32) -> String {
        let mut edges = self.node(kid).spec.after.iter();
        let Some(edge) = edges.find(|edge| self.edge(i, edge) == Gate::Never) else { return String::new() };
        let (other, condition) = (&edge.child, edge.condition.as_str());
        let book = self.sup(i).names.get(other).and_then(|other| self.node(*other).book.as_ref());
        let how = book.and_then(|book| book.last_exit.as_ref());
        let how = how.map_or_else(String::new, |exit| format!(": {exit}"));
        format!("it comes after {other} ({condition}), which has ended for good{how}")
    }

    /// Law 6 for a wait: what `kid` waits for has a deadline of its own as long as it is not ready; how long it takes to
    /// complete is its work. But when nothing keeps it but the health of children that are ready, it waits as long as
    /// its own start may take.
    fn bound_the_wait(&mut self, i: u32, kid: u32, its_turn: bool) {
        let node = self.node(kid);
        let within = match node.spec.start_within {
            // The children of a supervisor have deadlines of their own; this wait is the supervisor's.
            Duration::MAX if node.sup.is_some() => HEALTH_WITHIN,
            within => within,
        };
        let timer = node.timer;
        if !its_turn || !self.owes_a_start(i, kid) || self.unwell(i, kid).is_none() {
            self.set_timer(kid, Time::NEVER);
        } else if timer == Time::NEVER && within != Duration::MAX {
            self.set_timer_in(kid, within);
        }
    }

    /// A child that is ready, but not as healthy as `kid` needs it, if nothing else keeps `kid`.
    pub(super) fn unwell(&self, i: u32, kid: u32) -> Option<&Name> {
        let after = &self.node(kid).spec.after;
        let mut closed = after.iter().filter(|edge| self.edge(i, edge) != Gate::Open);
        let runs = |edge: &Edge| {
            let other = self.sup(i).names.get(&edge.child);
            other.is_some_and(|other| self.node(*other).phase == Phase::Running)
        };
        let first = closed.clone().next()?;
        closed.all(|edge| edge.condition == Condition::Healthy && runs(edge)).then_some(&first.child)
    }

    /// The wait for the health of another was as long as a start may take.
    pub(super) fn waited_too_long(&mut self, kid: u32) {
        let parent = self.node(kid).parent;
        if let Some(other) = self.unwell(parent, kid) {
            let why = format!("it comes after {other} (healthy), which is ready but was not healthy in time");
            self.cannot_start(parent, kid, why);
        }
    }

    /// Whether the edges of `kid` hold.
    pub(super) fn gate(&self, i: u32, kid: u32) -> Gate {
        let mut gate = Gate::Open;
        for edge in &self.node(kid).spec.after {
            match self.edge(i, edge) {
                Gate::Open => {}
                Gate::Closed => gate = Gate::Closed,
                Gate::Never => return Gate::Never,
            }
        }
        gate
    }

    /// Whether one edge holds. The table: what is asked for × what the other child is doing.
    pub(super) fn edge(&self, i: u32, edge: &Edge) -> Gate {
        let Some(&other) = self.sup(i).names.get(&edge.child) else { return Gate::Never };
        let node = self.node(other);
        let well = || self.health_of(other) == Health::Healthy;
        // A one-shot that a group restart cut short (`Stopped`) has not done its part.
        let succeeded = || {
            let exit = node.book.as_ref().and_then(|book| book.last_exit.as_ref());
            exit.is_none_or(|exit| !exit.is_failure() && !matches!(exit, Exit::Stopped))
        };
        let open = |yes: bool| if yes { Gate::Open } else { Gate::Closed };
        match (edge.condition, node.phase) {
            (_, Phase::Idle(WhyIdle::Ignored)) => Gate::Open,
            (_, Phase::Idle(WhyIdle::Finished)) if succeeded() => Gate::Open,
            (Condition::Started, Phase::Starting | Phase::Running) => Gate::Open,
            (Condition::Ready, Phase::Running) => Gate::Open,
            (Condition::Healthy, Phase::Running) => open(well()),
            (_, Phase::Idle(WhyIdle::Finished | WhyIdle::Quarantined)) => Gate::Never,
            (
                Condition::Started | Condition::Ready | Condition::Healthy | Condition::Completed,
                Phase::Idle(WhyIdle::Down | WhyIdle::Stopped)
                | Phase::Waiting
                | Phase::Starting
                | Phase::Running
                | Phase::BackingOff
                | Phase::Stopping { .. },
            ) => Gate::Closed,
        }
    }

    /// A supervisor whose children were all ready once (or need not be) has started.
    fn finish_start(&mut self, i: u32) {
        let settled =
            |kid: &u32| self.node(*kid).flags.ever_ready || matches!(self.node(*kid).phase, Phase::Idle(_));
        if self.sup(i).mode == Mode::Starting && self.sup(i).ordered().iter().all(settled) {
            self.sup_mut(i).mode = Mode::Up;
            self.mark_ready(i);
        }
    }

    /// Law 7: a failed first start stops what was started and fails the supervisor.
    pub(super) fn first_start_failed(&mut self, sup: u32, kid: u32, exit: Exit) {
        if self.node(kid).phase.is_pending() {
            self.emit(kid, || EventKind::Stopped { rung: Rung::Cancelled, why: WhyIdle::Down });
        }
        self.set_phase(kid, Phase::Idle(WhyIdle::Down));
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
            (None, Phase::Idle(why)) => why != WhyIdle::Stopped,
            (Some(sup), Phase::Running) => match &sup.kids {
                Kids::Ordered(kids) => kids.iter().all(|kid| self.is_done(*kid)),
                Kids::Group { .. } => false,
            },
            (Some(_), Phase::Idle(why)) => why != WhyIdle::Stopped,
            (None | Some(_), _) => false,
        }
    }

    fn first_bad_end(&self, i: u32) -> Option<u32> {
        let node = self.node(i);
        let bad_exit = || {
            let exit = node.book.as_ref().and_then(|book| book.last_exit.as_ref());
            exit.is_some_and(Exit::is_failure)
        };
        match node.phase {
            Phase::Idle(WhyIdle::Quarantined) => Some(i),
            Phase::Idle(WhyIdle::Finished) if bad_exit() => Some(i),
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

impl Condition {
    /// The condition as one word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Ready => "ready",
            Self::Healthy => "healthy",
            Self::Completed => "completed",
        }
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
