//! Looking: paths, handles, health, and the snapshot of everything.

use super::Machine;
use super::node::{Kids, Label, NONE, Node, Phase};
use super::start::Gate;
use crate::{
    Attempt, ChildId, ChildState, ChildView, Condition, Exit, Health, IdleReason, Name, Order, Path,
    Snapshot, StopStage, Time, WaitingFor,
};
use std::borrow::Cow;

impl Machine {
    /// The handle of the root.
    #[must_use]
    pub fn root(&self) -> ChildId {
        self.id_of(self.root)
    }

    /// The child at `path`, if there is one.
    #[must_use]
    pub fn find(&self, path: &Path) -> Option<ChildId> {
        let mut names = path.names();
        let root = self.node(self.root);
        if names.next()? != root.label.text(self.root, root.serial) {
            return None;
        }
        let mut i = self.root;
        for name in names {
            i = self.kid_called(i, name)?;
        }
        Some(self.id_of(i))
    }

    pub(super) fn kid_called(&self, i: u32, name: &str) -> Option<u32> {
        let sup = self.node(i).sup.as_ref()?;
        if let Some(kid) = sup.names.get(name) {
            return Some(*kid);
        }
        let kid = self.slot_of(Label::parse_auto(name)?)?;
        let node = self.node(kid);
        let canonical = matches!(node.label, Label::Auto) && node.label.text(kid, node.serial) == name;
        (node.parent == i && canonical).then_some(kid)
    }

    /// Where a child stands; none if it is no longer part of the tree.
    #[must_use]
    pub fn path(&self, id: ChildId) -> Option<Path> {
        self.slot_of(id).map(|i| self.path_of(i))
    }

    /// How the last finished attempt of a child ended.
    #[must_use]
    pub fn last_exit(&self, id: ChildId) -> Option<&Exit> {
        self.node(self.slot_of(id)?).book.as_ref()?.last_exit.as_ref()
    }

    /// The supervisor of a child; none for the root.
    #[must_use]
    pub fn parent(&self, id: ChildId) -> Option<ChildId> {
        let parent = self.node(self.slot_of(id)?).parent;
        (parent != NONE).then(|| self.id_of(parent))
    }

    /// Everything, as it is after the last input (`now` is only used to say how long something still waits).
    pub fn snapshot(&mut self, now: Time) -> Snapshot {
        self.at(now, self.random);
        Snapshot { number: self.events, at: self.now, root: self.view(self.root, &self.path_of(self.root)) }
    }

    /// The names of its path, its own first; nameless members by their slot.
    pub(super) fn names_above(&self, i: u32) -> impl Iterator<Item = Cow<'_, [u8]>> {
        let line = std::iter::successors(Some(i), |at| Some(self.node(*at).parent).filter(|at| *at != NONE));
        line.map(|at| match &self.node(at).label {
            Label::Named(name) => Cow::Borrowed(name.as_str().as_bytes()),
            Label::Auto => Cow::Owned(at.to_le_bytes().to_vec()),
        })
    }

    pub(super) fn path_of(&self, i: u32) -> Path {
        let mut line = Vec::with_capacity(8);
        let mut at = i;
        while at != NONE {
            line.push(at);
            at = self.node(at).parent;
        }
        let mut text = String::with_capacity(64);
        for at in line.into_iter().rev() {
            let node = self.node(at);
            text.push('/');
            text.push_str(&node.label.text(at, node.serial));
        }
        Path::new(&text)
    }

    pub(super) fn state_word(&self, i: u32) -> &'static str {
        match self.node(i).phase {
            Phase::Idle(why) => why.as_str(),
            Phase::Waiting => "waiting",
            Phase::Starting => "starting",
            Phase::Running => "running",
            Phase::BackingOff => "backing-off",
            Phase::Stopping { .. } => "stopping",
        }
    }

    /// Calls `f` for every child of `i`, in order.
    fn each_kid(&self, i: u32, mut f: impl FnMut(u32)) {
        match self.node(i).sup.as_ref().map(|sup| &sup.kids) {
            None => {}
            Some(Kids::Ordered(kids)) => kids.iter().copied().for_each(f),
            Some(Kids::Group { head, .. }) => {
                let mut kid = *head;
                while kid != NONE {
                    f(kid);
                    kid = self.node(kid).next;
                }
            }
        }
    }

    /// How a child is: what it says of itself while it runs, what its state says else; a supervisor, the worst
    /// of its children. Never green over a dead part.
    pub(super) fn health_of(&self, i: u32) -> Health {
        let node = self.node(i);
        let mut health = own_health(node);
        if node.sup.is_some() && node.phase == Phase::Running {
            self.each_kid(i, |kid| health = health.max(self.health_of(kid)));
        }
        health
    }

    fn view(&self, i: u32, path: &Path) -> ChildView {
        let node = self.node(i);
        let book = node.book.as_ref();
        let mut children = Vec::new();
        self.each_kid(i, |kid| {
            let name = self.node(kid).label.text(kid, self.node(kid).serial);
            children.push(self.view(kid, &path.join(&name)));
        });
        let mut health = own_health(node);
        if node.phase == Phase::Running {
            health = children.iter().map(|kid| kid.health).fold(health, Health::max);
        }
        ChildView {
            path: path.clone(),
            id: self.id_of(i),
            restart: node.spec.restart,
            strategy: node.sup.as_ref().map(|sup| sup.rules.strategy),
            state: self.state_of(i),
            since: node.since,
            started: node.phase.is_live().then_some(node.started),
            attempt: Attempt(node.attempt),
            restarts: book.map_or(0, |book| book.restarts),
            last_exit: book.and_then(|book| book.last_exit.clone()),
            health,
            children,
        }
    }

    fn state_of(&self, i: u32) -> ChildState {
        let node = self.node(i);
        let remaining = self.remaining(node.timer);
        match node.phase {
            Phase::Idle(why) => ChildState::Idle(why),
            Phase::Waiting => {
                let what = self.waiting_for(node.parent, i);
                let remaining = self.remaining(self.end_of_wait(i, &what));
                ChildState::Waiting { what, remaining }
            }
            Phase::Starting => ChildState::Starting { remaining },
            Phase::Running => ChildState::Running,
            Phase::BackingOff => ChildState::BackingOff { remaining: remaining.unwrap_or_default() },
            Phase::Stopping { killed } => {
                let stage = if killed { StopStage::Killed } else { StopStage::Asked };
                ChildState::Stopping { stage, remaining }
            }
        }
    }

    /// Until when `i` waits for `what` at most, as far as can be said.
    fn end_of_wait(&self, i: u32, what: &WaitingFor) -> Time {
        let node = self.node(i);
        let (other, delay) = match what {
            WaitingFor::Edge(..) if node.timer != Time::NEVER => return node.timer,
            WaitingFor::Edge(_, Condition::Completed) | WaitingFor::GroupStop | WaitingFor::Nothing => {
                return Time::NEVER;
            }
            WaitingFor::Turn(other) | WaitingFor::Edge(other, _) => (other, false),
            WaitingFor::GroupBackoff(other) => (other, true),
        };
        let Some(other) = self.sup(node.parent).names.get(other) else { return Time::NEVER };
        let other = self.node(*other);
        match other.phase {
            Phase::Starting | Phase::Waiting => other.timer,
            Phase::BackingOff if delay => other.timer,
            Phase::BackingOff | Phase::Idle(_) | Phase::Running | Phase::Stopping { .. } => Time::NEVER,
        }
    }

    /// What a waiting child waits for: the same questions, in the same order, that its start is gated on.
    pub(super) fn waiting_for(&self, parent: u32, i: u32) -> WaitingFor {
        let sup = self.sup(parent);
        if !self.node(i).flags.was_ready {
            if sup.sweeping > 0 {
                return WaitingFor::GroupStop;
            }
            if let Some(kid) = self.group_backoff(parent) {
                return WaitingFor::GroupBackoff(self.name_of(kid));
            }
            if sup.rules.order == Order::Declared {
                let mut earlier = sup.ordered().iter().copied().take_while(|kid| *kid != i);
                if let Some(kid) = earlier.find(|kid| !self.has_had_its_turn(*kid)) {
                    return WaitingFor::Turn(self.name_of(kid));
                }
            }
        }
        match self.closed_edge(parent, i) {
            Some((name, condition)) => WaitingFor::Edge(name, condition),
            None => WaitingFor::Nothing,
        }
    }

    fn closed_edge(&self, parent: u32, i: u32) -> Option<(Name, Condition)> {
        let gate = self.gate(parent, i);
        let mut edges = self.node(i).spec.after.iter().filter(|_| gate != Gate::Open);
        let closed = edges.find(|edge| self.edge(parent, edge) == gate)?;
        Some((closed.child.clone(), closed.condition))
    }
}

/// The table phase → health of one node by itself.
fn own_health(node: &Node) -> Health {
    match node.phase {
        Phase::Running => node.book.as_ref().map_or(Health::Healthy, |book| book.health),
        Phase::Idle(IdleReason::Ignored) => Health::Healthy,
        Phase::Idle(IdleReason::Finished) => {
            let exit = node.book.as_ref().and_then(|book| book.last_exit.as_ref());
            if exit.is_some_and(Exit::is_failure) { Health::Degraded } else { Health::Healthy }
        }
        Phase::Idle(IdleReason::StoppedByRequest)
        | Phase::Waiting
        | Phase::Starting
        | Phase::Stopping { .. } => Health::Degraded,
        Phase::Idle(IdleReason::SupervisorDown | IdleReason::Quarantined) | Phase::BackingOff => {
            Health::Unhealthy
        }
    }
}
