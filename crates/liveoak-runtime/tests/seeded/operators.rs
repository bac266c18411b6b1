//! Those who command and watch the tree of a seeded run.

use crate::dice::Dice;
use crate::ledger::Ledger;
use crate::replica::Replica;
use crate::trees::{Gift, Heir, Members, Plan, child};
use liveoak_runtime::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// A moment: now, after some others, or later.
pub(crate) async fn pause(dice: &mut Dice) {
    for _ in 0..dice.roll(4) {
        tokio::task::yield_now().await;
    }
    if dice.roll(3) == 0 {
        tokio::time::sleep(Duration::from_millis(dice.roll(40))).await;
    }
}

/// Somebody who commands.
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

    /// Refusals are answers as well.
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
        match self.dice.roll(12) {
            0 => self.note("start", path, self.tree.start_child(path).await),
            1 => self.note("stop", path, self.tree.stop_child(path).await),
            2 | 3 => self.note("restart", path, self.tree.restart_child(path).await),
            4 => {
                // Nobody waits for the answer.
                let tree = self.tree.clone();
                tokio::spawn(async move { tree.restart_child(path).await });
            }
            5 | 6 => self.add().await,
            7 => self.add_one_shot().await,
            8 => self.note("remove", path, self.tree.remove_child(path).await),
            9 => {
                for _ in 0..self.dice.roll(24) {
                    let group = &self.members.group;
                    let is_heired = self.dice.roll(4) == 0;
                    let heir = if is_heired { Heir::of(group.clone()) } else { Heir::nobody() };
                    drop(group.spawn(heir));
                }
            }
            10 => {
                let name = Name::new(self.pick(&["one", "two"])).unwrap();
                drop(self.members.group.start(Some(name), Heir::nobody()).await);
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

    /// Adds a child, and may take it away again; then the tree has let go of it.
    async fn add(&mut self) {
        let parent = self.pick(&["/t", "/t/n"]);
        let (ledger, path) = (self.plan.ledger.clone(), format!("{parent}/d"));
        let bomb = (self.dice.roll(12) == 0).then(|| self.tree.clone());
        let gift = Gift::new(ledger, path.clone(), bomb);
        let look = gift.look();
        let added = self.tree.add_child(parent, child(&self.plan, "d", &mut self.dice, gift)).await;
        let is_added = added.is_ok();
        self.note("add", parent, added);
        if is_added {
            look.is_kept();
        }
        pause(&mut self.dice).await;
        if is_added && self.dice.roll(2) == 0 {
            let removed = self.tree.remove_child(path.as_str()).await;
            let is_removed = removed.is_ok();
            self.note("remove", parent, removed);
            if is_removed && look.is_there() {
                // Its last attempt may have been written off a moment ago, and be dropped by its own task.
                tokio::task::yield_now().await;
                if look.is_there() {
                    self.plan.ledger.fault(format!("{path}: removed, and is kept"));
                }
            }
        }
    }

    /// Adds a child that runs once. A declared one that has ended so makes room for it.
    async fn add_one_shot(&mut self) {
        let name = self.pick(&["a", "b", "c", "o"]);
        let path = format!("/t/{name}");
        let gift = Gift::new(self.plan.ledger.clone(), path.clone(), None);
        let child = child(&self.plan, name, &mut self.dice, gift).restart(Restart::Temporary);
        self.note("add", &path, self.tree.add_child("/t", child).await);
    }
}

/// Looks at the tree as long as it lives: what the events told is what is, nobody is late, and each attempt has ended as
/// it said. The first look comes before any child's first.
pub(crate) fn watch(tree: TreeHandle, ledger: Ledger, dice: Dice) -> impl Future<Output = ()> + Send {
    let first = tree.watch();
    look_on(tree, first, ledger, dice)
}

async fn look_on(tree: TreeHandle, (snapshot, events): (Snapshot, Events), ledger: Ledger, mut dice: Dice) {
    let mut told = Told { replica: Replica::new(&snapshot), number: snapshot.number, events, ledger };
    let mut due = BTreeMap::new();
    loop {
        tokio::time::sleep(Duration::from_millis(1 + dice.roll(7))).await;
        let snapshot = tree.snapshot();
        while told.number < snapshot.number && told.next().await {}
        told.replica.compare(&snapshot);
        told.ledger.nobody_is_late();
        due = told.overdue(&snapshot, &due);
        if matches!(snapshot.root.state, ChildState::Idle(_)) {
            break;
        }
    }
    while told.next().await {}
}

/// What had no time left, and since when.
type Due = BTreeMap<(String, u64, &'static str, Time), Instant>;

struct Told {
    replica: Replica,
    number: u64,
    events: Events,
    ledger: Ledger,
}

impl Told {
    /// Takes in one more event; whether there was one.
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

    /// What the tree says of an exit is what the attempt says, unless it was ended.
    fn check_exit(&self, event: &Event, attempt: Attempt, exit: &Exit) {
        let ended = ["killed", "abandoned", "start-timeout", "heartbeat-timeout"].contains(&exit.kind());
        let said = self.ledger.said(event.id, attempt.0);
        let wrong = match said {
            Some(said) => !ended && said != exit.kind(),
            // A start that its edges do not let be fails without a body.
            None if exit.to_string().starts_with("failed: it comes after ") => false,
            None => ["panicked", "failed"].contains(&exit.kind()),
        };
        let may_be = exit.kind() == "panicked" && self.ledger.may_panic(event.id, attempt.0);
        if wrong && !may_be {
            self.ledger.fault(format!("{}: it said {said:?}, and is told to be {exit}", event.path));
        }
    }

    /// Whoever has no time left in two looks is overdue.
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
