//! The trees of the seeded runs.

use crate::actors::{Act, Actor, HEARTBEAT, Kind, START_WITHIN, Traits};
use crate::dice::Dice;
use crate::ledger::Ledger;
use liveoak_runtime::*;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// What a child is given, and the tree lets go of with it.
#[derive(Clone)]
pub(crate) struct Gift(Arc<Given>);

struct Given {
    ledger: Ledger,
    path: String,
    /// Whether the child at the path is the one that has it.
    is_kept: AtomicBool,
    /// Whose tree its destructor stops.
    bomb: Option<TreeHandle>,
}

impl Drop for Given {
    fn drop(&mut self) {
        if self.is_kept.load(Ordering::SeqCst) && !self.ledger.is_told_gone(&self.path) {
            self.ledger.fault(format!("{}: dropped before its removal was told", self.path));
        }
        if let Some(tree) = self.bomb.take() {
            tree.begin_stop();
        }
    }
}

/// A look at a gift that somebody else has.
pub(crate) struct Look(Weak<Given>);

impl Look {
    pub(crate) fn is_there(&self) -> bool {
        self.0.strong_count() > 0
    }

    /// The child that has it was added.
    pub(crate) fn is_kept(&self) {
        if let Some(given) = self.0.upgrade() {
            given.is_kept.store(true, Ordering::SeqCst);
        }
    }
}

impl Gift {
    pub(crate) fn new(ledger: Ledger, path: String, bomb: Option<TreeHandle>) -> Self {
        Self(Arc::new(Given { ledger, path, is_kept: AtomicBool::new(false), bomb }))
    }

    /// Whether somebody else has it.
    pub(crate) fn is_given(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }

    pub(crate) fn look(&self) -> Look {
        Look(Arc::downgrade(&self.0))
    }
}

/// What one run is made of.
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) ledger: Ledger,
    /// In every child of the tree.
    pub(crate) gift: Gift,
    /// How many ends by kill, in time or not, the tree's stop may take.
    pub(crate) budget: Duration,
}

fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// One child, as the dice have it.
pub(crate) fn child(plan: &Plan, name: &str, dice: &mut Dice, gift: Gift) -> Child {
    let kinds = [Kind::Task, Kind::Task, Kind::Task, Kind::Adapter, Kind::Service];
    let traits = Traits {
        kind: kinds[dice.roll(5) as usize],
        told: dice.roll(3) == 0,
        beats: dice.roll(3) == 0,
        stop_within: dice.roll(3) * 10,
        fails_start: 30,
        seed: plan.seed,
    };
    let child = body(&plan.ledger, name, &traits, gift);
    let restart = [Restart::Permanent, Restart::Transient, Restart::Temporary][dice.roll(3) as usize];
    let child = child.restart(restart).backoff(backoff(name, dice)).stop_within(millis(traits.stop_within));
    let child = if traits.told { child.reports_ready().start_within(millis(START_WITHIN)) } else { child };
    let child = if traits.beats { child.heartbeat(millis(HEARTBEAT)) } else { child };
    match dice.roll(3) {
        0 => child.limit(Limit::new(3, millis(60)).on_exceeded(GiveUp::Quarantine)),
        1 => child.limit(Limit::new(20, millis(40))),
        _ => child,
    }
}

fn body(ledger: &Ledger, name: &str, traits: &Traits, gift: Gift) -> Child {
    let (ledger, traits, kind) = (ledger.clone(), traits.clone(), traits.kind);
    let live = {
        let (ledger, traits) = (ledger.clone(), traits.clone());
        move |ctx: Ctx| Act::new(&ledger, &traits, ctx).live()
    };
    match kind {
        Kind::Task => Child::task(name, move |ctx| (&gift, live(ctx)).1),
        Kind::Adapter => Child::task_with_kill(name, move |ctx| (&gift, live(ctx)).1),
        Kind::Service => Child::service(name, move || {
            let _kept = &gift;
            Actor { ledger: ledger.clone(), traits: traits.clone(), act: None }
        }),
    }
}

/// The delay of most is nothing, so that all that follows from a seed does. That of one child in each tree is within the
/// millisecond by which the runtime's clock moves on.
fn backoff(name: &str, dice: &mut Dice) -> Option<Backoff> {
    let to = if name == "a" { millis(1) } else { Duration::from_nanos(1) };
    (dice.roll(2) == 0).then_some(Backoff { from: to, to, reset_after: millis(20) })
}

/// The members of the tree's group, which are tasks.
#[derive(Clone)]
pub(crate) struct Members {
    pub(crate) group: GroupHandle<Heir>,
    pub(crate) are_temporary: bool,
}

/// What a member is given: with it goes, maybe, a place in the group, which is taken by another at once.
pub(crate) struct Heir(Option<GroupHandle<Self>>);

impl Heir {
    pub(crate) const fn nobody() -> Self {
        Self(None)
    }

    pub(crate) const fn of(group: GroupHandle<Self>) -> Self {
        Self(Some(group))
    }
}

impl Clone for Heir {
    fn clone(&self) -> Self {
        Self::nobody()
    }
}

impl Drop for Heir {
    fn drop(&mut self) {
        if let Some(group) = self.0.take() {
            let _ = group.spawn(Self::nobody());
        }
    }
}

fn group(plan: &Plan, dice: &mut Dice, are_temporary: bool) -> Group<Heir> {
    let (told, beats, stop_within) = (dice.roll(2) == 0, dice.roll(3) == 0, dice.roll(3) * 10);
    let traits = Traits { kind: Kind::Task, told, beats, stop_within, fails_start: 30, seed: plan.seed };
    let ledger = plan.ledger.clone();
    let body = move |ctx: Ctx, _: Heir| Act::new(&ledger, &traits, ctx).live();
    let group = if are_temporary { Group::temporary("g", body) } else { Group::new("g", body) };
    let group =
        group.backoff(None).limit(Limit::new(4, millis(60))).stop_within(millis(stop_within)).max_members(40);
    let group = if told { group.reports_ready(millis(START_WITHIN)) } else { group };
    if beats { group.heartbeat(millis(HEARTBEAT)) } else { group }
}

/// A supervisor of three children, with an edge between two of them sometimes.
fn supervisor(plan: &Plan, name: &str, names: [&str; 3], dice: &mut Dice) -> Supervisor {
    let strategies = [Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne];
    let supervisor = Supervisor::new(name).strategy(strategies[dice.roll(3) as usize]);
    let supervisor = if dice.roll(4) == 0 { supervisor.order(Order::Edges) } else { supervisor };
    let auto_shutdown = dice.roll(6);
    let supervisor = match auto_shutdown {
        0 => supervisor.auto_shutdown(AutoShutdown::AnySignificant),
        1 => supervisor.auto_shutdown(AutoShutdown::AllSignificant),
        _ => supervisor,
    };
    let supervisor = match dice.roll(4) {
        0 => supervisor.intensity(Limit::new(4, millis(50))),
        1 => supervisor.intensity(Limit::new(60, millis(50))),
        _ => supervisor,
    };
    let conditions = [Condition::Started, Condition::Ready, Condition::Healthy, Condition::Completed];
    let (later, needed) = (dice.roll(6) as usize, dice.roll(3) as usize);
    let condition = conditions[dice.roll(4) as usize];
    names.iter().enumerate().fold(supervisor, |supervisor, (n, name)| {
        let child = child(plan, name, dice, plan.gift.clone());
        let is_significant = auto_shutdown < 2 && (n == 0 || dice.roll(3) == 0);
        let child = if is_significant { child.significant() } else { child };
        // Both may end for good, as they must for it.
        let ends = is_significant || (n == needed && condition == Condition::Completed);
        let child = if ends { child.restart(Restart::Transient) } else { child };
        let is_later = n == later && n != needed;
        supervisor.child(if is_later { child.after_when(names[needed], condition) } else { child })
    })
}

/// The tree of a run, and its members.
pub(crate) fn tree(plan: &Plan, dice: &mut Dice) -> (Supervisor, Members) {
    let are_temporary = dice.roll(2) == 0;
    let group = group(plan, dice, are_temporary);
    let members = Members { group: group.handle(), are_temporary };
    let nested = supervisor(plan, "n", ["x", "y", "z"], dice);
    let nested = match dice.roll(3) {
        0 => nested.backoff(None),
        1 => nested.backoff(None).restart(Restart::Transient),
        _ => nested.backoff(None).limit(Limit::new(2, millis(200))),
    };
    let tree =
        supervisor(plan, "t", ["a", "b", "c"], dice).child(nested).child(Child::from(group).backoff(None));
    (tree.stop_within(plan.budget), members)
}
