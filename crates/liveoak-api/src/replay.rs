//! The tree at an earlier moment: a recorded tree, and the events from there to the moment.
//!
//! The health of a child also depends on what it has said, on its checks, and on how it came to be down. A [`Replay`] notes
//! these things beside the tree.

use crate::{Child, Event, Health, State, Timestamp, Tree};
use std::collections::HashMap;
use std::time::SystemTime;

/// A recorded tree that is changed by the events after it.
#[derive(Clone, Debug)]
pub struct Replay {
    tree: Tree,
    notes: HashMap<String, Note>,
}

/// What the health of a child follows from, beside its state.
#[derive(Clone, Debug, Default)]
struct Note {
    /// The health that the child has reported in its attempt, and why.
    said: Option<(Health, Option<String>)>,
    /// A readiness check fails, and why.
    unready: Option<String>,
    /// The child is stuck, and this counts as unhealthy.
    is_stuck: bool,
    /// The child was given up on. An attempt is then a trial.
    given_up: bool,
    /// Its last attempt was stopped by others.
    stopped_by_others: bool,
}

impl Note {
    /// Returns what can be known from a recorded child.
    fn of(child: &Child) -> Self {
        let is_leaf = child.state == State::Running && child.children.is_none();
        let said = || (child.health, child.health_reason.clone());
        let is_unready = is_leaf && !child.ready;
        let reason = child.health_reason.as_deref().filter(|reason| reason.starts_with("check "));
        let is_stuck = is_leaf && child.stuck.is_some() && child.stuck == child.health_reason;
        let by_check = is_unready && reason.is_some();
        Self {
            said: (is_leaf && !by_check && !is_stuck && !child.trial).then(said),
            unready: is_unready.then(|| reason.unwrap_or_default().to_owned()),
            is_stuck,
            given_up: child.trial || (child.state == State::Quarantined && child.retry_s.is_some()),
            stopped_by_others: has_failed(child) && child.health == Health::Degraded && child.why == "down",
        }
    }

    /// Forgets what belongs to an attempt.
    fn end_attempt(&mut self) {
        (self.said, self.unready, self.is_stuck) = (None, None, false);
    }
}

impl Replay {
    /// Begins with a recorded tree.
    #[must_use]
    pub fn new(tree: Tree) -> Self {
        let notes = tree.root.all().map(|child| (child.path.clone(), Note::of(child))).collect();
        Self { tree, notes }
    }

    /// Changes the tree as an event says that comes after those that it includes.
    pub fn apply(&mut self, event: &Event) {
        self.tree.n = event.n;
        let Some(path) = event.path.as_deref() else { return };
        match event.kind.as_str() {
            "added" => self.add(event, path),
            "removed" => self.remove(path),
            _ => {
                let is_root = self.tree.root.path == path;
                let Some(child) = find(&mut self.tree.root, path) else { return };
                if event.kind == "starting" {
                    for below in child.children.iter().flatten() {
                        self.notes.entry(below.path.clone()).or_default().given_up = false;
                    }
                }
                let note = self.notes.entry(path.to_owned()).or_default();
                change(child, event, is_root);
                remember(note, event);
            }
        }
    }

    /// Returns the tree of the moment `at`. If it is not `exact`, events around that moment are missing.
    ///
    /// States, attempts, restarts, exits, pauses, readiness and health follow from the events. What no event tells is left
    /// out: the process, the checks, what a child waits for, and the time that a state can still take.
    #[must_use]
    pub fn at(&self, at: SystemTime, exact: bool) -> Tree {
        let mut tree = self.tree.clone();
        (tree.at, tree.root.exact) = (Timestamp(at), Some(exact));
        self.settle(&mut tree.root, at);
        tree
    }

    fn add(&mut self, event: &Event, path: &str) {
        let Some((above, _)) = path.rsplit_once('/') else { return };
        let Some(parent) = find(&mut self.tree.root, above) else { return };
        let children = parent.children.get_or_insert_default();
        if !children.iter().any(|child| child.path == path) {
            children.push(new_child(event, path));
        }
    }

    fn remove(&mut self, path: &str) {
        let above = path.rsplit_once('/').map_or("", |(above, _)| above);
        if let Some(children) = find(&mut self.tree.root, above).and_then(|parent| parent.children.as_mut()) {
            children.retain(|child| child.path != path);
        }
        self.notes.retain(|of, _| {
            !of.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        });
    }

    /// Computes what follows from the children below, from the notes, and from the time that has passed.
    fn settle(&self, child: &mut Child, at: SystemTime) {
        let unknown = Note::default();
        let note = self.notes.get(&child.path).unwrap_or(&unknown);
        child.state_s = at.duration_since(child.since.0).map_or(0.0, crate::seconds);
        (child.pid, child.remaining_s, child.retry_s) = (None, None, None);
        child.waiting_for.clear();
        child.checks.clear();
        let below = child.children.as_mut().map(|children| {
            children.iter_mut().for_each(|below| self.settle(below, at));
            children.iter().map(|below| below.health).fold(Health::Healthy, worse)
        });
        let is_idle =
            matches!(child.state, State::Stopped | State::Finished | State::Quarantined | State::Paused);
        child.trial = note.given_up && !is_idle;
        let (running, reason) = health_of_running(child, note);
        child.health = match child.state {
            _ if child.trial => Health::Unhealthy,
            State::Running => below.map_or(running, |below| worse(below, running)),
            _ => health_of_state(child, note),
        };
        child.health_reason = reason.filter(|_| child.state == State::Running);
        let are_ready =
            child.children.iter().flatten().all(|below| below.ready || below.state != State::Running);
        child.ready = child.state == State::Running && note.unready.is_none() && are_ready;
    }
}

/// Returns the health of a child that runs, without those below it, and why it has this health.
fn health_of_running(child: &Child, note: &Note) -> (Health, Option<String>) {
    let least = if child.reports_health { Health::Healthy } else { Health::Unknown };
    let (said, reason) = note.said.clone().unwrap_or((Health::Unknown, None));
    let checked = if note.unready.is_some() { Health::Degraded } else { Health::Unknown };
    let stuck = if note.is_stuck { Health::Unhealthy } else { Health::Unknown };
    let health = [said, checked, stuck].into_iter().fold(least, worse);
    let stuck_at = || child.stuck.clone().filter(|_| note.is_stuck);
    let spoken = if rank(checked) > rank(said) { note.unready.clone() } else { reason };
    let is_worse = worse(said, checked) != Health::Unhealthy;
    let reason = if is_worse { stuck_at().or(spoken) } else { spoken.or_else(stuck_at) };
    (health, reason)
}

/// Returns the health of a child that does not run.
fn health_of_state(child: &Child, note: &Note) -> Health {
    match (child.state, child.why.as_str()) {
        (State::Finished, "finished") if has_failed(child) => Health::Degraded,
        (State::Finished, _) | (State::Stopped, "not-wanted") => Health::Healthy,
        (State::Stopped, "down") if has_failed(child) && !note.stopped_by_others => Health::Unhealthy,
        (State::BackingOff | State::Quarantined, _) => Health::Unhealthy,
        _ => Health::Degraded,
    }
}

fn has_failed(child: &Child) -> bool {
    child.last_exit.as_ref().is_some_and(|exit| exit.failure)
}

const fn rank(health: Health) -> u8 {
    match health {
        Health::Unknown => 0,
        Health::Healthy => 1,
        Health::Degraded => 2,
        Health::Unhealthy => 3,
    }
}

fn worse(one: Health, other: Health) -> Health {
    if rank(one) < rank(other) { other } else { one }
}

/// Finds a child by its path.
fn find<'a>(child: &'a mut Child, path: &str) -> Option<&'a mut Child> {
    if child.path == path {
        return Some(child);
    }
    let is_above = path.strip_prefix(&child.path).is_some_and(|rest| rest.starts_with('/'));
    let children = child.children.as_mut().filter(|_| is_above)?;
    children.iter_mut().find_map(|below| find(below, path))
}

fn new_child(event: &Event, path: &str) -> Child {
    let at = event.at.unwrap_or(Timestamp(SystemTime::UNIX_EPOCH));
    Child {
        path: path.to_owned(),
        title: event.title.clone(),
        kind: event.of.clone().unwrap_or_default(),
        state: State::Stopped,
        why: "down".to_owned(),
        paused: false,
        health: Health::Unknown,
        health_reason: None,
        ready: false,
        attempt: 0,
        restarts: 0,
        pid: None,
        since: at,
        state_s: 0.0,
        remaining_s: None,
        waiting_for: vec![],
        last_exit: None,
        tags: event.tags.clone(),
        role: None,
        criticality: None,
        strategy: None,
        retry_s: None,
        trial: false,
        reports_health: event.health.is_some(),
        exact: None,
        stuck: None,
        stack: vec![],
        checks: vec![],
        children: matches!(event.of.as_deref(), Some("supervisor" | "group")).then(Vec::new),
    }
}

/// Changes a child as an event about it says.
fn change(child: &mut Child, event: &Event, is_root: bool) {
    let is_stopping = child.state == State::Stopping;
    let mut enter = |state: State, why: &str| {
        child.since = event.at.unwrap_or(child.since);
        (child.state, child.why) = (state, why.to_owned());
    };
    match event.kind.as_str() {
        "waiting" => enter(State::Waiting, "waiting"),
        "starting" => {
            enter(State::Starting, "starting");
            child.attempt = event.attempt.unwrap_or(child.attempt + 1);
            child.restarts += u64::from(event.restart == Some(true));
            free(child);
        }
        "ready" => enter(State::Running, "running"),
        "exited" => {
            // Nothing follows the end of the root.
            match event.exit.as_ref() {
                Some(exit) if is_root && exit.kind == "stopped" => enter(State::Stopped, "stopped"),
                Some(exit) if is_root && !exit.failure => enter(State::Finished, "finished"),
                _ => enter(State::Stopped, "down"),
            }
            child.last_exit.clone_from(&event.exit);
            free(child);
        }
        "backing-off" => enter(State::BackingOff, "backing-off"),
        "killed" if is_stopping => {}
        "stopping" | "killed" => enter(State::Stopping, "stopping"),
        "finished" => enter(State::Finished, "finished"),
        "ignored" => enter(State::Finished, "ignored"),
        "quarantined" | "still-runs" => enter(State::Quarantined, "quarantined"),
        "stopped" => match event.why.as_deref() {
            Some(why @ "quarantined") => enter(State::Quarantined, why),
            Some(why @ "paused") => enter(State::Paused, why),
            Some(why @ ("finished" | "ignored")) => enter(State::Finished, why),
            why => enter(State::Stopped, why.unwrap_or("stopped")),
        },
        "paused" => child.paused = true,
        "resumed" => child.paused = false,
        "stuck" => {
            child.stuck.clone_from(&event.why);
            child.stack.clone_from(&event.stack);
        }
        "unstuck" => free(child),
        _ => {}
    }
}

/// Notes that a child is not stuck.
fn free(child: &mut Child) {
    child.stuck = None;
    child.stack.clear();
}

/// Notes what the health of a child will follow from.
fn remember(note: &mut Note, event: &Event) {
    match event.kind.as_str() {
        "starting" => {
            note.end_attempt();
            note.stopped_by_others = false;
        }
        "exited" => {
            note.end_attempt();
            note.stopped_by_others = event.stopped_by_others == Some(true);
        }
        "stopped" | "released" => note.given_up = false,
        "quarantined" => note.given_up = true,
        "health" => note.said = event.health.map(|health| (health, event.why.clone())),
        "unready" => {
            let [check, why] = [&event.check, &event.why].map(|text| text.as_deref().unwrap_or_default());
            note.unready = Some(format!("check {check}: {why}"));
        }
        "ready-again" => note.unready = None,
        "stuck" => note.is_stuck = event.health == Some(Health::Unhealthy),
        "unstuck" => note.is_stuck = false,
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Exit;
    use std::time::Duration;

    fn event(n: u64, path: &str, kind: &str) -> Event {
        let at = Some(Timestamp(SystemTime::UNIX_EPOCH));
        Event { n, at, path: Some(path.to_owned()), kind: kind.to_owned(), ..Event::default() }
    }

    fn replay() -> Replay {
        let of = Some("supervisor".to_owned());
        let root = new_child(&Event { of, ..event(1, "/shop", "added") }, "/shop");
        Replay::new(Tree { run: 1, n: 1, at: Timestamp(SystemTime::UNIX_EPOCH), root })
    }

    fn paths(replay: &Replay) -> Vec<&str> {
        replay.tree.root.all().map(|child| child.path.as_str()).collect()
    }

    #[test]
    fn children_are_added_in_their_order_and_removed_with_all_below_them() {
        let mut replay = replay();
        for (nth, path) in ["/shop/pool", "/shop/web", "/shop/pool/1", "/shop/pool/1"].into_iter().enumerate()
        {
            replay.apply(&event(nth as u64 + 2, path, "added"));
        }
        assert_eq!(paths(&replay), ["/shop", "/shop/pool", "/shop/pool/1", "/shop/web"]);
        replay.apply(&event(6, "/shop/pool", "removed"));
        replay.apply(&event(7, "/shop/pool/1", "starting"));
        assert_eq!((paths(&replay), replay.tree.n), (vec!["/shop", "/shop/web"], 7));
    }

    #[test]
    fn a_supervisor_that_runs_is_as_healthy_and_as_ready_as_the_children_below_it() {
        let mut replay = replay();
        replay.apply(&event(2, "/shop/web", "added"));
        replay.apply(&event(3, "/shop", "ready"));
        replay.apply(&Event { attempt: Some(1), ..event(4, "/shop/web", "starting") });
        replay.apply(&event(5, "/shop/web", "ready"));
        replay.apply(&Event { why: Some("slow".to_owned()), ..event(6, "/shop/web", "unready") });
        let root = replay.at(SystemTime::UNIX_EPOCH, true).root;
        assert_eq!((root.ready, root.health), (false, Health::Degraded));
        replay.apply(&event(7, "/shop/web", "ready-again"));
        replay.apply(&Event { health: Some(Health::Degraded), ..event(8, "/shop/web", "health") });
        let root = replay.at(SystemTime::UNIX_EPOCH, true).root;
        assert_eq!((root.ready, root.health), (true, Health::Degraded));
        replay.apply(&Event { delay_s: Some(1.0), ..event(9, "/shop/web", "backing-off") });
        let root = replay.at(SystemTime::UNIX_EPOCH, true).root;
        assert_eq!((root.ready, root.health), (true, Health::Unhealthy));
    }

    #[test]
    fn a_kill_ends_no_stop_that_has_begun() {
        let mut replay = replay();
        let at = |seconds| Some(Timestamp(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)));
        replay.apply(&event(2, "/shop", "ready"));
        replay.apply(&Event { at: at(3), ..event(3, "/shop", "stopping") });
        replay.apply(&Event { at: at(5), ..event(4, "/shop", "killed") });
        let root = replay.at(SystemTime::UNIX_EPOCH + Duration::from_secs(9), false).root;
        assert_eq!((root.state, root.state_s, root.exact), (State::Stopping, 6.0, Some(false)));
    }

    #[test]
    fn the_last_exit_of_the_root_says_how_the_tree_has_ended() {
        for (kind, failure, expected) in [
            ("stopped", false, (State::Stopped, "stopped", Health::Degraded)),
            ("auto-shutdown", false, (State::Finished, "finished", Health::Healthy)),
            ("gave-up", true, (State::Stopped, "down", Health::Unhealthy)),
        ] {
            let mut replay = replay();
            let kind = kind.to_owned();
            let (text, code, signal, location, backtrace) = (kind.clone(), None, None, None, None);
            let exit = Some(Exit { kind, failure, text, code, signal, location, backtrace });
            replay.apply(&Event { exit, ..event(2, "/shop", "exited") });
            let root = replay.at(SystemTime::UNIX_EPOCH, true).root;
            assert_eq!((root.state, root.why.as_str(), root.health), expected);
        }
    }
}
