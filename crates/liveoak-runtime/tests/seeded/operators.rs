//! The operators of a seeded run, which send random commands, and its watcher, which checks events and snapshots.

use crate::dice::Dice;
use crate::ledger::Ledger;
use crate::replica::Replica;
use crate::trees::{Captured, MemberArgument, Members, Plan, child};
use liveoak_runtime::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Waits for a random time: none, until other tasks have run, or some milliseconds.
pub(crate) async fn pause(dice: &mut Dice) {
    for _ in 0..dice.roll(4) {
        tokio::task::yield_now().await;
    }
    if dice.roll(3) == 0 {
        tokio::time::sleep(Duration::from_millis(dice.roll(40))).await;
    }
}

/// A task that sends random commands to the tree.
pub(crate) struct Operator {
    pub(crate) plan: Arc<Plan>,
    pub(crate) tree: TreeHandle,
    pub(crate) members: Members,
    pub(crate) dice: Dice,
}

impl Operator {
    pub(crate) async fn work(mut self) {
        for _ in 0..self.dice.roll(10) {
            pause(&mut self.dice).await;
            self.command().await;
        }
    }

    /// Records the answer of a command. A refusal is an answer as well.
    fn note(&self, command: &str, path: &str, answer: Result<Outcome, Refusal>) {
        let word = match answer {
            Ok(Outcome::Ready { .. }) => "answer ready",
            Ok(_) => "answer done",
            Err(Refusal::Superseded { .. }) => "answer superseded",
            Err(Refusal::Failed(_)) => "answer failed",
            Err(_) => "answer refused",
        };
        self.plan.ledger.word(word);
        self.plan.ledger.line(format!("{:?} {command} {path}: {word}", self.tree.now()));
    }

    fn pick(&mut self, paths: &[&'static str]) -> &'static str {
        paths[self.dice.roll(paths.len() as u64) as usize]
    }

    fn path(&mut self) -> &'static str {
        self.pick(&["/t/a", "/t/b", "/t/c", "/t/n", "/t/n/x", "/t/n/y", "/t/n/z", "/t/g", "/t/d", "/t/n/d"])
    }

    async fn command(&mut self) {
        let path = self.path();
        match self.dice.roll(16) {
            12 => self.note("pause", path, self.tree.pause_child(path).await),
            13 => self.note("resume", path, self.tree.resume_child(path).await),
            14 => self.note("quarantine", path, self.tree.quarantine_child(path).await),
            15 => self.note("release", path, self.tree.release_child(path).await),
            0 => self.note("start", path, self.tree.start_child(path).await),
            1 => self.note("stop", path, self.tree.stop_child(path).await),
            2 | 3 => self.note("restart", path, self.tree.restart_child(path).await),
            4 => {
                // The answer is not awaited.
                let tree = self.tree.clone();
                tokio::spawn(async move { tree.restart_child(path).await });
            }
            5 | 6 => self.add().await,
            7 => self.add_one_shot().await,
            8 => self.note("remove", path, self.tree.remove_child(path).await),
            9 => {
                for _ in 0..self.dice.roll(24) {
                    let group = &self.members.group;
                    let respawns = self.dice.roll(4) == 0;
                    let argument = if respawns {
                        MemberArgument::spawning(group.clone())
                    } else {
                        MemberArgument::inert()
                    };
                    drop(group.spawn(argument));
                }
            }
            10 => {
                let name = Name::new(self.pick(&["one", "two"])).unwrap();
                drop(self.members.group.start(Some(name), MemberArgument::inert()).await);
            }
            _ => {
                let path = self.pick(&["/t/g/one", "/t/g/two", "/t/g/1", "/t/g/2"]);
                match self.dice.roll(3) {
                    0 => self.note("remove", path, self.tree.remove_child(path).await),
                    1 if !self.members.are_temporary => {
                        self.note("restart", path, self.tree.restart_child(path).await);
                    }
                    _ => self.note("stop", path, self.tree.stop_child(path).await),
                }
            }
        }
    }

    /// Adds a child, and may remove it again. After the removal the tree must have dropped the values that its closure
    /// captured.
    async fn add(&mut self) {
        let parent = self.pick(&["/t", "/t/n"]);
        let (ledger, path) = (self.plan.ledger.clone(), format!("{parent}/d"));
        let stops = (self.dice.roll(12) == 0).then(|| self.tree.clone());
        let captured = Captured::new(ledger, path.clone(), stops);
        let probe = captured.probe();
        let added = self.tree.add_child(parent, child(&self.plan, "d", &mut self.dice, captured)).await;
        let is_added = added.is_ok();
        self.note("add", parent, added.map(|added| added.outcome).map_err(Refusal::from));
        if is_added {
            probe.mark_kept();
        }
        pause(&mut self.dice).await;
        if is_added && self.dice.roll(2) == 0 {
            let removed = self.tree.remove_child(path.as_str()).await;
            let is_removed = removed.is_ok();
            self.note("remove", parent, removed);
            if is_removed && probe.is_there() {
                // Its last attempt may have been abandoned just now, and is then dropped by its own task.
                tokio::task::yield_now().await;
                if probe.is_there() {
                    self.plan.ledger.fault(format!("{path}: removed, but its closure still exists"));
                }
            }
        }
    }

    /// Adds a child that runs once. It replaces a temporary child of the same name that has finished.
    async fn add_one_shot(&mut self) {
        let name = self.pick(&["a", "b", "c", "o"]);
        let path = format!("/t/{name}");
        let captured = Captured::new(self.plan.ledger.clone(), path.clone(), None);
        let child = child(&self.plan, name, &mut self.dice, captured).restart(Restart::Temporary);
        self.note(
            "add",
            &path,
            self.tree.add_child("/t", child).await.map(|added| added.outcome).map_err(Refusal::from),
        );
    }
}

/// Watches the tree until its end. Checks that the events add up to each snapshot, that no deadline is missed, and that
/// each attempt's exit is the one that the attempt recorded. The first snapshot is taken before any child begins.
pub(crate) fn watch(tree: TreeHandle, ledger: Ledger, dice: Dice) -> impl Future<Output = ()> + Send {
    let first = tree.watch();
    watch_until_end(tree, first, ledger, dice)
}

async fn watch_until_end(
    tree: TreeHandle,
    (snapshot, events): (Snapshot, Events),
    ledger: Ledger,
    mut dice: Dice,
) {
    let mut watcher = Watcher { replica: Replica::new(&snapshot), number: snapshot.number, events, ledger };
    let mut due = BTreeMap::new();
    loop {
        tokio::time::sleep(Duration::from_millis(1 + dice.roll(7))).await;
        let snapshot = tree.snapshot();
        while watcher.number < snapshot.number && watcher.next().await {}
        watcher.replica.compare(&snapshot);
        watcher.ledger.check_starts();
        due = watcher.overdue(&snapshot, &due);
        if matches!(snapshot.root.state, ChildState::Idle(_)) {
            break;
        }
    }
    while watcher.next().await {}
}

/// The states that had no time left at a snapshot.
type Due = BTreeMap<(String, u64, &'static str, Time), Instant>;

/// The reader of the events: it rebuilds the tree from them and checks each against the ledger.
struct Watcher {
    replica: Replica,
    number: u64,
    events: Events,
    ledger: Ledger,
}

impl Watcher {
    /// Reads one event. Returns `false` at the end of the stream.
    async fn next(&mut self) -> bool {
        match self.events.next().await {
            Some(EventOrLost::Event(event)) => {
                self.replica.apply(&event);
                self.ledger.check_time(&event);
                self.number = event.number;
                self.ledger.word(event.kind.name());
                let mut line = format!("{} {} {}", event.at.as_nanos(), event.path, event.kind.name());
                if let EventKind::Exited { attempt, exit, .. } = &event.kind {
                    self.ledger.word(exit.kind());
                    self.check_exit(&event, *attempt, exit);
                    line = format!("{line} {}", exit.kind());
                }
                self.ledger.line(line);
                true
            }
            Some(EventOrLost::Lost(count)) => panic!("{count} events are lost"),
            None => false,
        }
    }

    /// Checks that a reported exit is the one that the attempt recorded, unless the attempt was ended from outside.
    fn check_exit(&self, event: &Event, attempt: Attempt, exit: &Exit) {
        let ended = ["killed", "abandoned", "start-timeout", "heartbeat-timeout"].contains(&exit.kind());
        let said = self.ledger.said(event.id, attempt.0);
        let wrong = match said {
            Some(said) => !ended && said != exit.kind(),
            // A start that fails because of its dependencies has no body.
            None if exit.to_string().starts_with("failed: it comes after ") => false,
            None => ["panicked", "failed"].contains(&exit.kind()),
        };
        let may_be = exit.kind() == "panicked" && self.ledger.may_panic(event.id, attempt.0);
        if wrong && !may_be {
            self.ledger
                .fault(format!("{}: its attempt ended as {said:?}, but is reported as {exit}", event.path));
        }
    }

    /// Reports children that have no time left in the same state at two snapshots. Returns those of this snapshot.
    fn overdue(&self, snapshot: &Snapshot, before: &Due) -> Due {
        let mut due = Due::new();
        for node in snapshot.nodes() {
            let left = match &node.state {
                ChildState::Starting { remaining } | ChildState::Stopping { remaining, .. } => *remaining,
                ChildState::BackingOff { remaining } => Some(*remaining),
                _ => None,
            };
            if left == Some(Duration::ZERO) {
                let key = (node.path.to_string(), node.attempt.0, node.state.as_str(), node.since);
                if before.contains_key(&key) {
                    self.ledger.fault(format!("{} is {} and overdue", node.path, node.state.as_str()));
                }
                due.insert(key, Instant::now());
            }
        }
        due
    }
}
