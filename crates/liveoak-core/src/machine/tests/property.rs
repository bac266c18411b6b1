//! Random trees, random children, random inputs: the laws hold after every step, and a stop ends in time.

use super::shape::{group, leaf, millis, name, secs, sup};
use super::test_driver::{Obeys, Policy, TestDriver};
use crate::spec::out_of_reach;
use crate::{
    AutoShutdown, Backoff, ChildDeclaration, ChildId, Command, Condition, Edge, Exit, FirstStart, GiveUp,
    Health, Input, Limit, Order, Ready, RequestId, Restart, Strategy as Group,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};
use std::ops::Range;
use std::time::Duration;

/// One random event. The `usize` picks the child among those to which it can happen.
#[derive(Clone, Debug)]
enum Step {
    Exit(usize, usize),
    Ending(usize, usize),
    Ready(usize),
    Health(usize, Health),
    LateExit(usize),
    Command(usize, Command),
    AddMember(usize, bool),
    AddChild(usize, Box<ChildDeclaration>),
    Advance(Duration),
    Jump(Duration),
    Stop,
    Kill,
}

fn exits() -> [Exit; 7] {
    let gone = Exit::failed_not_retryable("no such program");
    [Exit::Completed, Exit::failed("boom"), Exit::Ignored, Exit::Stopped, Exit::Code(3), Exit::Killed, gone]
}

fn durations() -> impl Strategy<Value = Duration> {
    select(vec![Duration::ZERO, millis(1), millis(50), secs(1), secs(3), Duration::MAX])
}

fn limits() -> impl Strategy<Value = Option<Limit>> {
    let retry_after = Some(millis(1_700));
    let give_up = select(vec![GiveUp::Escalate, GiveUp::QUARANTINE, GiveUp::Quarantine { retry_after }]);
    option::of((0u32..4, give_up).prop_map(|(n, give_up)| Limit::new(n, secs(5)).on_exceeded(give_up)))
}

fn restarts() -> impl Strategy<Value = Restart> {
    select(vec![Restart::Permanent, Restart::Transient, Restart::Temporary])
}

/// Returns leaves of any kind; [`connect`] adds names and edges.
fn leaves() -> impl Strategy<Value = ChildDeclaration> {
    let ready = select(vec![Ready::AtOnce, Ready::Reported]);
    let backoff = option::of(select(vec![millis(10), secs(2)]));
    let beat = option::weighted(0.2, Just(secs(1)));
    (restarts(), ready, backoff, durations(), durations(), limits(), any::<bool>(), beat).prop_map(
        |(restart, ready, backoff, start, stop, limit, significant, beat)| {
            leaf("x").with(|child| {
                child.restart = restart;
                child.ready = ready;
                child.backoff = backoff.map(|from| Backoff {
                    from,
                    to: secs(4),
                    reset_after: secs(3),
                    ..Backoff::default()
                });
                child.start_within = start.max(millis(1));
                child.stop_within = stop;
                child.limit = limit;
                child.significant = significant;
                child.heartbeat = beat;
            })
        },
    )
}

fn edges() -> impl Strategy<Value = Vec<(usize, usize, Condition)>> {
    let condition =
        select(vec![Condition::Started, Condition::Ready, Condition::Healthy, Condition::Completed]);
    vec((0usize..6, 0usize..6, condition), 0..3)
}

fn trees() -> impl Strategy<Value = ChildDeclaration> {
    let grouped = (leaves(), limits(), any::<bool>(), restarts(), places()).prop_map(
        |(member, limit, dedicated, group_restart, places)| {
            let mut group = group("x").members(|group| {
                group.template = member.spec;
                group.template.significant = false;
                group.intensity = limit;
                group.max_members = 4;
                group.max_starting = places.filter(|_| !group.template.is_ready_at_once());
                group.dedicated_runtime = dedicated;
            });
            group.spec.restart = group_restart;
            group
        },
    );
    let end = prop_oneof![4 => leaves(), 1 => grouped];
    end.prop_recursive(3, 24, 5, |child| supervisors(vec(child, 0..5)))
}

/// Returns how many children may be starting at a time.
fn places() -> impl Strategy<Value = Option<u32>> {
    option::weighted(0.3, 1u32..3)
}

fn supervisors(
    children: impl Strategy<Value = Vec<ChildDeclaration>>,
) -> impl Strategy<Value = ChildDeclaration> {
    let strategy = select(vec![Group::OneForOne, Group::OneForAll, Group::RestForOne]);
    let order = select(vec![Order::Declared, Order::Edges]);
    let auto = select(vec![AutoShutdown::Never, AutoShutdown::AnySignificant, AutoShutdown::AllSignificant]);
    let flags = (proptest::bool::weighted(0.2), proptest::bool::weighted(0.2), any::<bool>(), places());
    let order = (order, select(vec![FirstStart::Fail, FirstStart::Retry]));
    let edges = (edges(), option::weighted(0.4, (0usize..4, 1usize..4)));
    (children, leaves(), strategy, order, auto, limits(), flags, edges).prop_map(
        |(
            children,
            like,
            strategy,
            order,
            auto,
            limit,
            (done, dedicated, backwards, places),
            (edges, replicas),
        )| {
            let (order, first_start) = order;
            let replicas = replicas.map_or(0..0, |(from, count)| from..from + count);
            let mut tree = sup("x", children).rules(|rules| {
                rules.strategy = strategy;
                rules.order = order;
                rules.first_start = first_start;
                rules.auto_shutdown = auto;
                rules.intensity = limit;
                rules.end_when_done = done;
                rules.dedicated_runtime = dedicated;
                let takes_place = |child: &ChildDeclaration| match &child.form {
                    crate::ChildForm::Leaf => !child.spec.is_ready_at_once(),
                    crate::ChildForm::Supervisor(_) => true,
                    crate::ChildForm::Group(group) => group.dedicated_runtime,
                };
                rules.max_starting = places.filter(|_| rules.children.iter().any(takes_place));
                connect(&mut rules.children, &edges, backwards, replicas);
                for child in &mut rules.children {
                    child.spec.significant &=
                        auto != AutoShutdown::Never && child.spec.restart != Restart::Permanent;
                }
                rules.intensity = limit.filter(|_| out_of_reach(rules).is_none());
            });
            tree.spec = like.spec;
            tree.spec.heartbeat = None;
            tree.spec.reports_health = false;
            tree.spec.ready = Ready::AtOnce;
            if done && tree.spec.restart == Restart::Permanent {
                tree.spec.restart = Restart::Transient;
            }
            tree
        },
    )
}

/// Names the children, makes those in `replicas` one set, and adds edges. All edges point in one direction, so that there is
/// no cycle.
fn connect(
    children: &mut [ChildDeclaration],
    edges: &[(usize, usize, Condition)],
    backwards: bool,
    replicas: Range<usize>,
) {
    for (i, child) in children.iter_mut().enumerate() {
        child.name = name(&format!("c{i}"));
        child.spec.replica_of = replicas.contains(&i).then(|| name("set"));
    }
    let all = children.len();
    let place =
        |i: usize| if replicas.contains(&i) { replicas.start..replicas.end.min(all) } else { i..i + 1 };
    for &(a, b, condition) in edges {
        let (low, high) = (a.min(b), a.max(b));
        let (from, to) = if backwards { (low, high) } else { (high, low) };
        if high >= children.len() || place(low) == place(high) {
            continue;
        }
        let permanent = place(to).any(|to| children[to].spec.restart == Restart::Permanent);
        let condition =
            if permanent && condition == Condition::Completed { Condition::Ready } else { condition };
        for (from, to) in place(from).flat_map(|from| place(to).map(move |to| (from, to))) {
            let child = children[to].name.clone();
            children[from].spec.after.push(Edge { child, condition });
        }
    }
}

fn steps() -> impl Strategy<Value = Step> {
    let who = 0usize..64;
    let health = select(vec![Health::Healthy, Health::Degraded, Health::Unhealthy]);
    let command = select(vec![Command::Start, Command::Stop, Command::Restart, Command::Remove]);
    let time = select(vec![millis(1), millis(60), secs(1), secs(4), secs(40)]);
    prop_oneof![
        10 => (who.clone(), 0usize..6).prop_map(|(who, how)| Step::Exit(who, how)),
        3 => (who.clone(), 0usize..6).prop_map(|(who, how)| Step::Ending(who, how)),
        8 => who.clone().prop_map(Step::Ready),
        4 => (who.clone(), health).prop_map(|(who, how)| Step::Health(who, how)),
        1 => who.clone().prop_map(Step::LateExit),
        8 => (who.clone(), command).prop_map(|(who, what)| Step::Command(who, what)),
        4 => (who.clone(), any::<bool>()).prop_map(|(who, named)| Step::AddMember(who, named)),
        3 => (who, prop_oneof![leaves(), trees()]).prop_map(|(who, what)| Step::AddChild(who, Box::new(what))),
        5 => time.clone().prop_map(Step::Advance),
        2 => time.prop_map(Step::Jump),
        1 => Just(Step::Stop),
        1 => Just(Step::Kill),
    ]
}

struct World {
    driver: TestDriver,
    requests: Vec<RequestId>,
    added: usize,
}

impl World {
    fn pick(&mut self, who: usize, which: impl Fn(&TestDriver, ChildId) -> bool) -> Option<ChildId> {
        let snapshot = self.driver.snapshot();
        let ids: Vec<_> =
            snapshot.nodes().map(|node| node.id).filter(|id| which(&self.driver, *id)).collect();
        (!ids.is_empty()).then(|| ids[who % ids.len()])
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Exit(who, how) => {
                if let Some(id) = self.pick(*who, |driver, id| driver.lives(id).is_some()) {
                    let (attempt, exit) = (self.driver.lives(id).expect("picked"), exits()[*how].clone());
                    self.driver.input(Input::Exited(id, attempt, exit));
                }
            }
            Step::Ending(who, how) => {
                if let Some(id) = self.pick(*who, |driver, id| driver.lives(id).is_some()) {
                    let (attempt, exit) = (self.driver.lives(id).expect("picked"), exits()[*how].clone());
                    self.driver.input(Input::Ending(id, attempt, exit));
                }
            }
            Step::Ready(who) => {
                if let Some(id) = self.pick(*who, |driver, id| driver.lives(id).is_some()) {
                    let attempt = self.driver.lives(id).expect("picked");
                    self.driver.input(Input::Ready(id, attempt));
                }
            }
            Step::Health(who, health) => {
                if let Some(id) = self.pick(*who, |driver, id| driver.lives(id).is_some()) {
                    let attempt = self.driver.lives(id).expect("picked");
                    self.driver.input(Input::Health(id, attempt, *health, None));
                }
            }
            Step::LateExit(who) => {
                if let Some(id) = self.pick(*who, |driver, id| driver.lives(id).is_some_and(|a| a.0 > 1)) {
                    let attempt = crate::Attempt(self.driver.lives(id).expect("picked").0 - 1);
                    self.driver.input(Input::Exited(id, attempt, Exit::failed("late")));
                }
            }
            Step::Command(who, command) => {
                if let Some(id) = self.pick(*who, |_, _| true) {
                    let request = self.driver.command_to(id, *command);
                    self.requests.push(request);
                }
            }
            Step::AddMember(who, named) => self.add_member(*who, *named),
            Step::AddChild(who, what) => self.add_child(*who, what),
            Step::Advance(time) => self.driver.advance(*time),
            Step::Jump(time) => {
                let until = self.driver.now.after(*time);
                self.driver.jump(until);
            }
            Step::Stop => self.driver.stop(),
            Step::Kill => self.driver.kill(),
        }
    }

    fn add_member(&mut self, who: usize, named: bool) {
        let Some(group) = self.pick(who, |driver, id| driver.machine.is_group(id) == Some(true)) else {
            return;
        };
        self.added += 1;
        let member = named.then(|| name(&self.added.to_string()));
        let request = self.driver.request();
        if self.driver.machine.add_member(self.driver.now, group, member, Some(request)).is_ok() {
            self.requests.push(request);
        }
        self.driver.run();
    }

    fn add_child(&mut self, who: usize, what: &ChildDeclaration) {
        let Some(parent) = self.pick(who, |driver, id| driver.machine.is_group(id) == Some(false)) else {
            return;
        };
        self.added += 1;
        let mut what = what.clone();
        what.name = name(&format!("n{}", self.added % 5));
        what.spec.significant = false;
        let request = self.driver.request();
        if self.driver.machine.add_child(self.driver.now, parent, &what, Some(request)).is_ok() {
            self.requests.push(request);
        }
        self.driver.run();
    }
}

fn policies() -> impl Strategy<Value = Vec<Policy>> {
    let obeys = select(vec![Obeys::Ask, Obeys::Ask, Obeys::Kill, Obeys::Nothing, Obeys::Test]);
    let policy = (obeys, any::<bool>(), proptest::bool::weighted(0.8));
    vec(policy.prop_map(|(obeys, ready, beats)| Policy { obeys, ready, beats }), 1..6)
}

/// The number of cases with one seed, and the default number of seeds. Together they take about three seconds.
const CASES: u32 = 100;
const SEEDS: u64 = 6;

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} must be a number, but is {text:?}")))
}

/// Runs one tree through random events.
fn life(tree: ChildDeclaration, budget: Duration, policies: Vec<Policy>, random: u64, steps: &[Step]) {
    let mut tree = ChildDeclaration { name: name("t"), ..tree }.stop_within(budget);
    tree.spec.restart = Restart::Permanent;
    tree.spec.limit = None;
    tree.spec.significant = false;
    let mut world = World { driver: TestDriver::new(&tree), requests: Vec::new(), added: 0 };
    world.driver.random = random;
    world.driver.set_shuffled(policies);
    world.driver.start();
    for step in steps {
        world.step(step);
    }
    world.driver.stop();
    // A budget of zero kills at once; the end of a killed child may take `KILL_WAIT`.
    world.driver.advance(if budget.is_zero() { crate::KILL_WAIT } else { budget });
    assert!(world.driver.down.is_some(), "the tree is not down");
    assert!(world.driver.alive().is_empty());
    for request in &world.requests {
        assert!(world.driver.answer(*request).is_some(), "{request:?} was never answered");
    }
}

/// Runs the cases of one seed.
fn run(seed: u64) {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let tree = supervisors(vec(trees(), 0..5));
    let budget = select(vec![Duration::ZERO, millis(100), secs(10)]);
    let cases = (tree, budget, policies(), any::<u64>(), vec(steps(), 0..40));
    let outcome = runner.run(&cases, |(tree, budget, policies, random, steps)| {
        life(tree, budget, policies, random, &steps);
        Ok(())
    });
    let again = format!("again: LIVEOAK_PROPERTY_SEED={seed} cargo test -p liveoak-core --lib property");
    assert!(outcome.is_ok(), "{}\n{again}", outcome.unwrap_err());
}

/// `LIVEOAK_PROPERTY_SEED` runs one seed, `LIVEOAK_PROPERTY_SEEDS` as many as it says, from
/// `LIVEOAK_PROPERTY_FIRST_SEED` on.
#[test]
fn random_inputs_break_no_law_and_a_stop_ends_all_within_its_budget() {
    if let Some(seed) = number("LIVEOAK_PROPERTY_SEED") {
        return run(seed);
    }
    let first = number("LIVEOAK_PROPERTY_FIRST_SEED").unwrap_or(0);
    let count = number("LIVEOAK_PROPERTY_SEEDS").unwrap_or(SEEDS);
    (first..first + count).for_each(run);
}
