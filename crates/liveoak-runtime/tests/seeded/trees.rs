//! The random trees of the seeded runs, and the values that their closures capture.

use crate::bodies::{Body, BodyService, HEARTBEAT, Kind, START_WITHIN, Traits};
use crate::dice::Dice;
use crate::ledger::Ledger;
use liveoak_runtime::*;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// A value that a child's closure captures. It shows that the tree drops the closure with the child, not before.
#[derive(Clone)]
pub(crate) struct Captured(Arc<CapturedValue>);

struct CapturedValue {
    ledger: Ledger,
    path: String,
    /// The child that captured it has been added.
    is_kept: AtomicBool,
    /// The tree that its destructor stops.
    stops: Option<TreeHandle>,
}

impl Drop for CapturedValue {
    fn drop(&mut self) {
        if self.is_kept.load(Ordering::SeqCst) && !self.ledger.is_reported_removed(&self.path) {
            self.ledger.fault(format!("{}: dropped before its removal was reported", self.path));
        }
        if let Some(tree) = self.stops.take() {
            tree.begin_stop();
        }
    }
}

/// A weak reference to a captured value.
pub(crate) struct CapturedProbe(Weak<CapturedValue>);

impl CapturedProbe {
    pub(crate) fn is_there(&self) -> bool {
        self.0.strong_count() > 0
    }

    /// Notes that the child that captured it was added.
    pub(crate) fn mark_kept(&self) {
        if let Some(value) = self.0.upgrade() {
            value.is_kept.store(true, Ordering::SeqCst);
        }
    }
}

impl Captured {
    pub(crate) fn new(ledger: Ledger, path: String, stops: Option<TreeHandle>) -> Self {
        Self(Arc::new(CapturedValue { ledger, path, is_kept: AtomicBool::new(false), stops }))
    }

    /// Returns `true` if a closure still holds it.
    pub(crate) fn is_held(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }

    pub(crate) fn probe(&self) -> CapturedProbe {
        CapturedProbe(Arc::downgrade(&self.0))
    }
}

/// The parameters of one run.
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) ledger: Ledger,
    /// The value that every declared child captures.
    pub(crate) captured: Captured,
    /// The tree's stop budget.
    pub(crate) budget: Duration,
}

fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// Returns a random child.
pub(crate) fn child(plan: &Plan, name: &str, dice: &mut Dice, captured: Captured) -> Child {
    let (child, spec) = child_and_spec(plan, name, dice, captured);
    child.with_spec(spec)
}

/// Returns a random child and its spec, which the child does not have yet.
fn child_and_spec(plan: &Plan, name: &str, dice: &mut Dice, captured: Captured) -> (Child, ChildSpec) {
    let kinds = [Kind::Task, Kind::Task, Kind::Task, Kind::TaskWithKill, Kind::Service];
    let traits = Traits {
        kind: kinds[dice.roll(5) as usize],
        reports_ready: dice.roll(3) == 0,
        beats: dice.roll(3) == 0,
        stop_within: dice.roll(3) * 10,
        fails_start: 30,
        seed: plan.seed,
    };
    let child = body(&plan.ledger, name, &traits, captured);
    let mut spec = ChildSpec {
        restart: [Restart::Permanent, Restart::Transient, Restart::Temporary][dice.roll(3) as usize],
        backoff: backoff(name, dice),
        stop_within: millis(traits.stop_within),
        heartbeat: traits.beats.then(|| millis(HEARTBEAT)),
        reports_health: true,
        ..ChildSpec::default()
    };
    if traits.reports_ready {
        spec.start_within = millis(START_WITHIN);
    }
    // A service is ready when its `init` has returned.
    if traits.reports_ready || traits.kind == Kind::Service {
        spec.ready = Ready::Reported;
    }
    spec.limit = match dice.roll(3) {
        0 => Some(Limit::new(3, millis(60)).on_exceeded(GiveUp::QUARANTINE)),
        1 => Some(Limit::new(20, millis(40))),
        _ => None,
    };
    (child, spec)
}

fn body(ledger: &Ledger, name: &str, traits: &Traits, captured: Captured) -> Child {
    let (ledger, traits, kind) = (ledger.clone(), traits.clone(), traits.kind);
    let live = {
        let (ledger, traits) = (ledger.clone(), traits.clone());
        move |ctx: Ctx| Body::new(&ledger, &traits, ctx).live()
    };
    match kind {
        Kind::Task => Child::task(name, move |ctx| (&captured, live(ctx)).1),
        Kind::TaskWithKill => Child::task_with_kill(name, move |ctx| (&captured, live(ctx)).1),
        Kind::Service => Child::service(name, move || {
            let _kept = &captured;
            BodyService { ledger: ledger.clone(), traits: traits.clone(), body: None }
        }),
    }
}

/// Returns a random backoff. Most children have next to none, so that a run depends on its seed only; the child `a` of each
/// tree has at most a millisecond, the step of the paused clock.
fn backoff(name: &str, dice: &mut Dice) -> Option<Backoff> {
    let to = if name == "a" { millis(1) } else { Duration::from_nanos(1) };
    (dice.roll(2) == 0).then_some(Backoff { from: to, to, reset_after: millis(20), ..Backoff::default() })
}

/// The group of the tree. Its members are tasks.
#[derive(Clone)]
pub(crate) struct Members {
    pub(crate) group: GroupHandle<MemberArgument>,
    pub(crate) are_temporary: bool,
}

/// The argument of a member. When it is dropped it may spawn another member at once, in the middle of the member's end.
pub(crate) struct MemberArgument(Option<GroupHandle<Self>>);

impl MemberArgument {
    pub(crate) const fn inert() -> Self {
        Self(None)
    }

    pub(crate) const fn spawning(group: GroupHandle<Self>) -> Self {
        Self(Some(group))
    }
}

impl Clone for MemberArgument {
    fn clone(&self) -> Self {
        Self::inert()
    }
}

impl Drop for MemberArgument {
    fn drop(&mut self) {
        if let Some(group) = self.0.take() {
            let _ = group.spawn(Self::inert());
        }
    }
}

fn group(plan: &Plan, dice: &mut Dice, are_temporary: bool) -> Group<MemberArgument> {
    let (reports_ready, beats, stop_within) = (dice.roll(2) == 0, dice.roll(3) == 0, dice.roll(3) * 10);
    let traits =
        Traits { kind: Kind::Task, reports_ready, beats, stop_within, fails_start: 30, seed: plan.seed };
    let ledger = plan.ledger.clone();
    let body = move |ctx: Ctx, _: MemberArgument| Body::new(&ledger, &traits, ctx).live();
    let group = match are_temporary {
        true => Group::temporary("g", body),
        false => Group::new("g", body).backoff(None).limit(Limit::new(4, millis(60))),
    };
    let group = group.stop_within(millis(stop_within)).max_members(40);
    let group = if reports_ready { group.reports_ready(millis(START_WITHIN)) } else { group };
    if beats { group.heartbeat(millis(HEARTBEAT)) } else { group }
}

/// Returns a supervisor of three children, sometimes with an edge between two of them. Two of the children may be replicas
/// of one set; then an edge from or to one of them stands for edges from or to both.
fn supervisor(plan: &Plan, name: &str, names: [&str; 3], dice: &mut Dice) -> Supervisor {
    let strategies = [Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne];
    let supervisor = Supervisor::new(name).strategy(strategies[dice.roll(3) as usize]);
    let supervisor = if dice.roll(4) == 0 { supervisor.order(Order::Edges) } else { supervisor };
    let supervisor = if dice.roll(3) == 0 { supervisor.first_start(FirstStart::Retry) } else { supervisor };
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
    let set = [0..2, 1..3, 0..0, 0..0][dice.roll(4) as usize].clone();
    let place = |n: usize| if set.contains(&n) { set.clone() } else { n..n + 1 };
    let (later, needed) = (place(later), place(needed));
    names.iter().enumerate().fold(supervisor, |supervisor, (n, name)| {
        let (child, mut spec) = child_and_spec(plan, name, dice, plan.captured.clone());
        spec.significant = auto_shutdown < 2 && (n == 0 || dice.roll(3) == 0);
        // A significant child, and the dependency of a `Completed` edge, must be able to finish.
        if spec.significant || (needed.contains(&n) && condition == Condition::Completed) {
            spec.restart = Restart::Transient;
        }
        if later != needed && later.contains(&n) {
            spec.after = names[needed.clone()]
                .iter()
                .map(|name| Edge { child: Name::new(*name).unwrap(), condition })
                .collect();
        }
        spec.replica_of = set.contains(&n).then(|| Name::new("set").unwrap());
        supervisor.child(child.with_spec(spec))
    })
}

/// Returns the random tree of a run, and its group.
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
