//! A tree that is rebuilt from its events. A snapshot and all events after it give the whole state of the tree,
//! except for what a child waits for and how long it may still wait.

use crate::{
    Attempt, ChildId, ChildState, ChildView, Event, EventKind, Exit, Health, IdleReason, Snapshot, StopStage,
    StuckPoll, Time, WaitingFor, WhenStuck,
};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

/// A snapshot that is kept up to date by events alone.
pub(crate) struct Replica {
    number: u64,
    root: ChildView,
    /// The health that each child reported.
    said: HashMap<ChildId, Health>,
    /// The children that are not ready any more.
    unready: HashSet<ChildId>,
    /// The children whose last attempt was stopped by others.
    stopped_by_others: HashSet<ChildId>,
    /// The children that were given up on. If such a child has an attempt, or waits for one, this is a trial.
    given_up: HashSet<ChildId>,
}

impl Replica {
    /// Starts from a snapshot in which no child runs.
    pub(crate) fn new(snapshot: &Snapshot) -> Self {
        Self {
            number: snapshot.number,
            root: snapshot.root.clone(),
            said: HashMap::new(),
            unready: HashSet::new(),
            stopped_by_others: HashSet::new(),
            given_up: HashSet::new(),
        }
    }

    #[track_caller]
    pub(crate) fn apply(&mut self, event: &Event) {
        self.number += 1;
        assert_eq!(event.number, self.number, "events are numbered without a gap");
        let at = event.at;
        match &event.kind {
            EventKind::Added { restart, strategy } => {
                let node = ChildView {
                    path: event.path.clone(),
                    id: event.id,
                    restart: *restart,
                    strategy: *strategy,
                    state: ChildState::Idle(IdleReason::SupervisorDown),
                    since: at,
                    started: None,
                    attempt: Attempt(0),
                    asked_in: None,
                    retry_in: None,
                    trial: false,
                    restarts: 0,
                    last_exit: None,
                    health: Health::Degraded,
                    spec: Arc::default(),
                    health_reason: None,
                    history: None,
                    ready: false,
                    paused: false,
                    stuck: None,
                    checks: Vec::new(),
                    children: Vec::new(),
                };
                self.parent(event).children.push(node);
            }
            EventKind::Removed => {
                self.said.remove(&event.id);
                self.unready.remove(&event.id);
                self.stopped_by_others.remove(&event.id);
                self.given_up.remove(&event.id);
                self.parent(event).children.retain(|kid| kid.id != event.id);
            }
            EventKind::Waiting => {
                self.set(event, ChildState::Waiting { what: WaitingFor::Nothing, remaining: None });
            }
            EventKind::Starting { attempt, restart } => {
                let node = self.set(event, ChildState::Starting { remaining: None });
                (node.attempt, node.started) = (*attempt, Some(at));
                node.restarts += u64::from(*restart);
                let below: Vec<ChildId> = node.children.iter().map(|kid| kid.id).collect();
                self.given_up.retain(|id| !below.contains(id));
                self.stopped_by_others.remove(&event.id);
            }
            EventKind::Ready { attempt, took } => {
                self.expect(event, *attempt, Some(*took));
                self.set(event, ChildState::Running);
            }
            EventKind::Exited { attempt, exit, ran, stopped_by_others } => {
                self.expect(event, *attempt, Some(*ran));
                self.said.remove(&event.id);
                self.unready.remove(&event.id);
                if *stopped_by_others {
                    self.stopped_by_others.insert(event.id);
                } else {
                    self.stopped_by_others.remove(&event.id);
                }
                let why = match exit {
                    _ if exit.is_failure() || event.id != self.root.id => IdleReason::SupervisorDown,
                    Exit::Stopped => IdleReason::StoppedByCommand,
                    _ => IdleReason::Finished,
                };
                let node = self.set(event, ChildState::Idle(why));
                (node.started, node.last_exit, node.stuck) = (None, Some(exit.clone()), None);
            }
            EventKind::BackingOff { delay, .. } => {
                self.set(event, ChildState::BackingOff { remaining: *delay });
            }
            EventKind::Stopping { attempt } => {
                self.expect(event, *attempt, None);
                self.set(event, ChildState::Stopping { stage: StopStage::Asked, remaining: None });
            }
            EventKind::Killed { attempt } => {
                self.expect(event, *attempt, None);
                let node = self.node(event.id);
                let since = node.since;
                let stopping = matches!(node.state, ChildState::Stopping { .. });
                let node =
                    self.set(event, ChildState::Stopping { stage: StopStage::Killed, remaining: None });
                node.since = if stopping { since } else { at };
            }
            EventKind::Stopped { why, .. } => {
                self.given_up.remove(&event.id);
                self.set(event, ChildState::Idle(*why));
            }
            EventKind::Finished => {
                self.set(event, ChildState::Idle(IdleReason::Finished));
            }
            EventKind::NeedLost { .. } | EventKind::StoppedForNeed { .. } => {}
            EventKind::Ignored => {
                self.set(event, ChildState::Idle(IdleReason::Ignored));
            }
            EventKind::Released => {
                let given_up = self.given_up.remove(&event.id);
                let node = self.node(event.id);
                let by_command = node.state == ChildState::Idle(IdleReason::Quarantined);
                assert!(given_up || by_command, "{} was not quarantined", event.path);
                node.trial = false;
            }
            EventKind::Paused | EventKind::Resumed => {
                let paused = matches!(event.kind, EventKind::Paused);
                let before = std::mem::replace(&mut self.node(event.id).paused, paused);
                assert_ne!(before, paused, "{event:?} comes twice");
            }
            EventKind::Quarantined(_) | EventKind::StillRuns(_) => {
                if matches!(event.kind, EventKind::Quarantined(_)) {
                    self.given_up.insert(event.id);
                }
                self.set(event, ChildState::Idle(IdleReason::Quarantined));
            }
            EventKind::Unready { .. } => assert!(self.unready.insert(event.id), "{event:?} comes twice"),
            EventKind::ReadyAgain => assert!(self.unready.remove(&event.id), "{event:?} comes twice"),
            EventKind::Health { health, .. } => {
                let before = self.said.insert(event.id, *health).unwrap_or_default();
                assert_ne!(before, *health, "{} reports the same health twice", event.path);
            }
            EventKind::Stuck(poll) => {
                self.expect(event, poll.attempt, None);
                self.node(event.id).stuck = Some(Arc::clone(poll));
            }
            EventKind::Unstuck { attempt, .. } => {
                self.expect(event, *attempt, None);
                self.node(event.id).stuck = None;
            }
            EventKind::Abandoned { attempt } => self.expect(event, *attempt, None),
            other => {
                let why = [
                    "time-jump",
                    "gave-up",
                    "start-failed",
                    "auto-shutdown",
                    "auto-shutdown-failed",
                    "restart-set",
                ];
                assert!(
                    why.contains(&other.name()),
                    "{other:?} gives a reason and does not change the state"
                );
            }
        }
    }

    /// Checks that an event about an attempt is about the live attempt, and checks its duration.
    #[track_caller]
    fn expect(&mut self, event: &Event, attempt: Attempt, lived: Option<Duration>) {
        let node = self.node(event.id);
        assert_eq!(node.attempt, attempt, "{event:?}");
        let so_far = node.started.map(|started| event.at.since(started));
        assert_eq!(lived.or(so_far), so_far, "{event:?}");
    }

    fn set(&mut self, event: &Event, state: ChildState) -> &mut ChildView {
        let trial = self.given_up.contains(&event.id) && !matches!(state, ChildState::Idle(_));
        let node = self.node(event.id);
        assert_eq!(node.path, event.path, "an event tells of a child at its path");
        node.trial = trial;
        (node.state, node.since) = (state, event.at);
        node
    }

    #[track_caller]
    fn node(&mut self, id: ChildId) -> &mut ChildView {
        find(&mut self.root, &|node| node.id == id).expect("events tell of children that are there")
    }

    fn parent(&mut self, event: &Event) -> &mut ChildView {
        let (parent, _) = event.path.as_str().rsplit_once('/').expect("a path");
        find(&mut self.root, &|node| node.path.as_str() == parent)
            .expect("the supervisor of a child is there")
    }

    /// Checks that a snapshot of the machine equals the state that the events give.
    #[track_caller]
    pub(crate) fn compare(&self, snapshot: &Snapshot) {
        assert_eq!(snapshot.number, self.number, "the snapshot is as of the last event");
        self.compare_nodes(&self.root, &snapshot.root);
    }

    #[track_caller]
    fn compare_nodes(&self, told: &ChildView, is: &ChildView) {
        for (told, is) in told.children.iter().zip(&is.children) {
            self.compare_nodes(told, is);
        }
        let seen = |node: &ChildView, health: Health| Seen {
            id: node.id,
            stage: matches!(node.state, ChildState::Stopping { stage: StopStage::Killed, .. }),
            state: node.state.as_str(),
            since: node.since,
            started: node.started,
            attempt: node.attempt.0,
            restarts: node.restarts,
            trial: node.trial,
            paused: node.paused,
            last_exit: node.last_exit.as_ref().map(Exit::kind),
            health,
            rules: (node.restart, node.strategy),
            children: node.children.len(),
            stuck: node.stuck.is_some(),
        };
        assert_eq!(
            seen(told, self.health(told)),
            // The events do not say whether a child reports its health.
            seen(is, is.health.max(Health::Healthy)),
            "{}: state by the events, and state in the snapshot",
            is.path
        );
    }

    /// Returns the health of a child, from its reports and its state.
    fn health(&self, node: &ChildView) -> Health {
        let failed = node.last_exit.as_ref().is_some_and(Exit::is_failure);
        match node.state {
            _ if node.trial => Health::Unhealthy,
            ChildState::Running => {
                let said = self.said.get(&node.id).copied().unwrap_or_default().max(Health::Healthy);
                let said = if self.unready.contains(&node.id) { said.max(Health::Degraded) } else { said };
                let counts = |poll: &Arc<StuckPoll>| poll.limit.when_stuck == WhenStuck::Unhealthy;
                let said = if node.stuck.as_ref().is_some_and(counts) { Health::Unhealthy } else { said };
                node.children.iter().map(|kid| self.health(kid)).fold(said, Health::max)
            }
            ChildState::Idle(IdleReason::Ignored | IdleReason::NotWanted) => Health::Healthy,
            ChildState::Idle(IdleReason::Finished) if !failed => Health::Healthy,
            ChildState::Idle(IdleReason::SupervisorDown)
                if !failed || self.stopped_by_others.contains(&node.id) =>
            {
                Health::Degraded
            }
            ChildState::Idle(IdleReason::SupervisorDown | IdleReason::Quarantined)
            | ChildState::BackingOff { .. } => Health::Unhealthy,
            _ => Health::Degraded,
        }
    }
}

/// Returns the part of a child that is compared.
#[derive(Debug, PartialEq)]
struct Seen {
    id: ChildId,
    state: &'static str,
    stage: bool,
    since: Time,
    started: Option<Time>,
    attempt: u64,
    restarts: u64,
    trial: bool,
    paused: bool,
    last_exit: Option<&'static str>,
    health: Health,
    rules: (crate::Restart, Option<crate::Strategy>),
    children: usize,
    stuck: bool,
}

fn find<'a>(node: &'a mut ChildView, which: &dyn Fn(&ChildView) -> bool) -> Option<&'a mut ChildView> {
    if which(node) {
        return Some(node);
    }
    node.children.iter_mut().find_map(|kid| find(kid, which))
}
