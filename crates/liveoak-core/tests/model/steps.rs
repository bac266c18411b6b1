//! The steps of a run, and the random trees that they are applied to. The model decides which steps fit its state.

use crate::child::{Child, Kind, Mode, Path, Phase};
use crate::reference::Model;
use liveoak_core::{
    AutoShutdown, Backoff, ChildDeclaration, ChildForm, ChildSpec, Command, Condition, Edge, FirstStart,
    GiveUp, GroupSpec, Health, KILL_WAIT, Limit, Name, Need, Order, Ready, Restart, Strategy as Together,
    SupervisorSpec,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use std::ops::Range;
use std::time::Duration;

/// One step: an input to the tree, or time that passes. A step that does not fit the state changes nothing.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Step {
    /// An attempt ends.
    Exit(Path, Kind),
    /// An attempt reports the exit with which it will end.
    Ending(Path, Kind),
    Ready(Path),
    Health(Path, Health),
    /// The child gives no heartbeats from now on, or gives them again.
    Hang(Path, bool),
    /// The attempt runs a process that may outlive it; `true` if the system has refused to kill the process.
    MaySurvive(Path, bool),
    /// The last process of the attempt that said so is gone.
    Gone(Path),
    /// All kinds of late messages from the previous attempt.
    Late(Path),
    Command(Path, Command),
    AddChild(Path, Box<ChildDeclaration>),
    AddMember(Path, String),
    /// Time passes, and timers fire at their deadlines.
    Advance(Duration),
    /// Time passes at once, and timers fire late.
    Jump(Duration),
    /// All attempts that were asked or killed end.
    Obey,
    Stop,
    Kill,
}

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn exits() -> impl Strategy<Value = Kind> {
    let kinds = [
        "completed",
        "failed",
        "failed",
        "failed",
        "not-retryable",
        "ignored",
        "stopped",
        "code",
        "killed",
        "restart-requested",
    ];
    select(kinds.to_vec())
}

fn times() -> impl Strategy<Value = Duration> {
    select(vec![ms(1), ms(60), ms(700), ms(1_000), ms(2_100), ms(4_000), ms(40_000)])
}

fn name(text: &str) -> Name {
    Name::new(text).expect("a good name")
}

/// Chooses the next step. Steps that have an effect in this state are more likely.
pub(crate) fn next(model: &Model) -> BoxedStrategy<Step> {
    if model.down.is_some() {
        return times().prop_map(Step::Advance).boxed();
    }
    let mut all: Vec<(u32, BoxedStrategy<Step>)> = vec![
        (4, times().prop_map(Step::Advance).boxed()),
        (1, times().prop_map(Step::Jump).boxed()),
        (1, select(vec![Step::Stop, Step::Kill]).prop_filter("seldom", |_| true).boxed()),
    ];
    let mut offer = |weight: u32, paths: Vec<Path>, step: fn(Path) -> BoxedStrategy<Step>| {
        if !paths.is_empty() {
            all.push((weight, select(paths).prop_flat_map(step).boxed()));
        }
    };
    let ends: fn(Path) -> BoxedStrategy<Step> =
        |path| exits().prop_map(move |exit| Step::Exit(path.clone(), exit)).boxed();
    offer(10, model.leaves(|child| child.lives() && !child.stopping()), ends);
    offer(2, model.paths_where(|child| !child.is_leaf() && child.has_own_attempt()), ends);
    offer(4, model.paths_where(Child::asked), ends);
    offer(4, model.leaves(|child| child.spec.heartbeat.is_some() && child.phase == Phase::Running), |path| {
        any::<bool>().prop_map(move |hangs| Step::Hang(path.clone(), hangs)).boxed()
    });
    offer(2, model.leaves(Child::lives), |path| {
        exits().prop_map(move |exit| Step::Ending(path.clone(), exit)).boxed()
    });
    offer(3, model.leaves(Child::lives), |path| {
        any::<bool>().prop_map(move |refused| Step::MaySurvive(path.clone(), refused)).boxed()
    });
    offer(3, model.paths_where(|child| child.survivors.is_some()), |path| Just(Step::Gone(path)).boxed());
    let ready: fn(Path) -> BoxedStrategy<Step> = |path| Just(Step::Ready(path)).boxed();
    offer(8, model.leaves(|child| child.phase == Phase::Starting), ready);
    offer(8, model.paths_where(|child| child.mode == Mode::Opening), ready);
    offer(2, model.leaves(|child| child.lives() && child.attempt > 1), |path| Just(Step::Late(path)).boxed());
    offer(2, model.leaves(Child::lives), |path| {
        let health = select(vec![Health::Healthy, Health::Degraded, Health::Unhealthy]);
        health.prop_map(move |health| Step::Health(path.clone(), health)).boxed()
    });
    let command: fn(Path) -> BoxedStrategy<Step> = |path| {
        let (a, b) = (Command::Pause, Command::Quarantine);
        let commands = vec![
            Command::Start,
            Command::Stop,
            Command::Restart,
            Command::Remove,
            a,
            Command::Resume,
            b,
            Command::Release,
        ];
        select(commands).prop_map(move |command| Step::Command(path.clone(), command)).boxed()
    };
    offer(8, model.children.keys().cloned().collect(), command);
    offer(4, model.children.keys().filter(|path| model.is_member(path)).cloned().collect(), command);
    offer(8, model.parents(true), |path| {
        (0..5u8).prop_map(move |n| Step::AddMember(path.clone(), format!("m{n}"))).boxed()
    });
    offer(2, model.parents(false), |path| {
        additions().prop_map(move |what| Step::AddChild(path.clone(), Box::new(what))).boxed()
    });
    if !model.paths_where(Child::asked).is_empty() {
        all.push((8, Just(Step::Obey).boxed()));
    }
    proptest::strategy::Union::new_weighted(all).boxed()
}

fn limits() -> impl Strategy<Value = Option<Limit>> {
    let retry_after = Some(ms(1_700));
    let give_up = select(vec![GiveUp::Escalate, GiveUp::QUARANTINE, GiveUp::Quarantine { retry_after }]);
    option::of((0u32..4, give_up).prop_map(|(n, give_up)| Limit::new(n, ms(5_000)).on_exceeded(give_up)))
}

fn specs() -> impl Strategy<Value = ChildSpec> {
    let restart = select(vec![Restart::Permanent, Restart::Transient, Restart::Temporary]);
    let ready = select(vec![Ready::AtOnce, Ready::Reported]);
    let backoff = option::of(select(vec![ms(10), ms(2_000)]));
    let start = select(vec![ms(50), ms(1_000), ms(3_000), Duration::MAX]);
    let stop = select(vec![Duration::ZERO, ms(50), ms(1_000), ms(3_000), Duration::MAX]);
    let heartbeat = option::weighted(0.2, select(vec![ms(900), ms(5_000)]));
    let kill_wait = select(vec![KILL_WAIT, ms(70), ms(9_000)]);
    let run = option::weighted(0.2, select(vec![ms(70), ms(2_000), ms(30_000)]));
    let manual = proptest::bool::weighted(0.15);
    let flags = (any::<bool>(), any::<bool>(), kill_wait, run, manual);
    (restart, ready, backoff, start, stop, limits(), flags, heartbeat).prop_map(
        |(
            restart,
            ready,
            backoff,
            start_within,
            stop_within,
            limit,
            (significant, keep, kill_wait, run_within, manual),
            heartbeat,
        )| {
            ChildSpec {
                keep,
                manual,
                run_within,
                heartbeat,
                reports_health: true,
                restart,
                ready,
                backoff: backoff.map(|from| Backoff {
                    from,
                    to: ms(4_000),
                    reset_after: ms(3_000),
                    ..Backoff::default()
                }),
                start_within,
                stop_within,
                kill_wait,
                limit,
                significant,
                ..ChildSpec::default()
            }
        },
    )
}

fn leaf() -> impl Strategy<Value = ChildDeclaration> {
    let unready_for = select(vec![Duration::ZERO, Duration::ZERO, ms(20), ms(800)]);
    (specs(), proptest::bool::weighted(0.2), unready_for).prop_map(|(spec, once, unready_for)| {
        let once = once && spec.restart == Restart::Temporary;
        let unready_for = if unready_for < spec.stop_within { unready_for } else { Duration::ZERO };
        let spec = ChildSpec { once, unready_for, ..spec };
        ChildDeclaration { name: name("x"), spec, form: ChildForm::Leaf }
    })
}

fn group() -> impl Strategy<Value = ChildDeclaration> {
    let once = proptest::bool::weighted(0.3);
    (specs(), specs(), limits(), dedicated_runtimes(), once).prop_map(
        |(own, template, intensity, dedicated_runtime, once)| {
            let once = once && template.restart == Restart::Temporary;
            let template = ChildSpec { significant: false, manual: false, once, ..template };
            let group =
                GroupSpec { template, intensity, max_members: 3, max_starting: None, dedicated_runtime };
            ChildDeclaration { name: name("x"), spec: of_supervisor(own), form: ChildForm::Group(group) }
        },
    )
}

fn of_supervisor(spec: ChildSpec) -> ChildSpec {
    ChildSpec { ready: Ready::AtOnce, heartbeat: None, reports_health: false, ..spec }
}

/// Chooses whether a supervisor has a dedicated runtime.
fn dedicated_runtimes() -> impl Strategy<Value = bool> {
    proptest::bool::weighted(0.2)
}

fn supervisor(
    children: impl Strategy<Value = Vec<ChildDeclaration>>,
) -> impl Strategy<Value = ChildDeclaration> {
    let strategy = select(vec![Together::OneForOne, Together::OneForAll, Together::RestForOne]);
    let order = select(vec![Order::Declared, Order::Edges]);
    let auto = select(vec![AutoShutdown::Never, AutoShutdown::AnySignificant, AutoShutdown::AllSignificant]);
    let condition =
        select(vec![Condition::Started, Condition::Ready, Condition::Healthy, Condition::Completed]);
    let grace = option::weighted(0.5, select(vec![Duration::ZERO, ms(80), ms(2_500), Duration::MAX]));
    let edges = vec((0usize..5, 0usize..5, condition, grace), 0..4);
    let first_start = select(vec![FirstStart::Fail, FirstStart::Retry]);
    let rules =
        (strategy, order, auto, limits(), proptest::bool::weighted(0.2), any::<bool>(), dedicated_runtimes());
    let replicas = option::weighted(0.4, (0usize..4, 1usize..4));
    let places = option::weighted(0.3, 1u32..3);
    (children, specs(), (rules, first_start, places), (edges, replicas)).prop_map(
        |(mut children, own, rules, links)| {
            let (rules, first_start, max_starting) = rules;
            let (strategy, order, auto_shutdown, intensity, end_when_done, backwards, dedicated_runtime) =
                rules;
            let (edges, replicas) = links;
            connect(&mut children, &edges, backwards, replicas.map_or(0..0, |(from, n)| from..from + n));
            for ChildDeclaration { spec, .. } in &mut children {
                spec.significant &=
                    auto_shutdown != AutoShutdown::Never && spec.restart != Restart::Permanent;
            }
            let end_when_done = end_when_done && own.restart != Restart::Permanent;
            let spec = SupervisorSpec {
                strategy,
                intensity,
                order,
                first_start,
                auto_shutdown,
                end_when_done,
                dedicated_runtime,
                max_starting,
                children,
                defaults: None,
            };
            ChildDeclaration { name: name("x"), spec: of_supervisor(own), form: ChildForm::Supervisor(spec) }
        },
    )
}

/// Names the children, makes those in `replicas` a replica set, and adds the edges. All edges point one way, so that there
/// is no cycle. An edge from or to a replica stands for the edges from or to all of them.
fn connect(
    children: &mut [ChildDeclaration],
    edges: &[(usize, usize, Condition, Option<Duration>)],
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
    for &(a, b, condition, grace) in edges {
        let (low, high) = (a.min(b), a.max(b));
        let (from, to) = if backwards { (low, high) } else { (high, low) };
        if low == high || high >= children.len() || place(low) == place(high) {
            continue;
        }
        let permanent = place(to).any(|to| children[to].spec.restart == Restart::Permanent);
        let never = permanent && condition == Condition::Completed;
        // What is needed is waited for until it is ready.
        let condition = if never || grace.is_some() { Condition::Ready } else { condition };
        for from in place(from) {
            for to in place(to) {
                let child = children[to].name.clone();
                children[from].spec.after.push(Edge { child, condition });
            }
        }
        // The replicas of a set have the same needs, and so the same deadlines.
        if let Some(grace) = grace.filter(|_| !replicas.contains(&from)) {
            let child = children[place(to).start].name.clone();
            add_need(&mut children[from], Need { child, grace });
        }
    }
}

/// Adds a need, unless the child declares it already, or could not come back after a stop.
fn add_need(to: &mut ChildDeclaration, need: Need) {
    let known = to.spec.needs.iter().any(|other| other.child == need.child);
    let temporary = to.spec.restart == Restart::Temporary;
    if !known && !temporary && !matches!(to.form, ChildForm::Group(_)) {
        to.spec.needs.push(need);
    }
}

fn ends() -> impl Strategy<Value = ChildDeclaration> {
    prop_oneof![3 => leaf(), 1 => group()]
}

/// Returns trees of any shape.
pub(crate) fn trees() -> BoxedStrategy<ChildDeclaration> {
    let below = ends().prop_recursive(3, 20, 5, |child| supervisor(vec(child, 0..5)));
    roots(supervisor(vec(below, 0..5))).boxed()
}

/// Returns trees with one small permanent supervisor below the root, so that runs are long.
pub(crate) fn small_trees() -> BoxedStrategy<ChildDeclaration> {
    let root = SupervisorSpec::default();
    let root = supervisor(vec(ends(), 1..5)).prop_map(move |mut small| {
        small.name = name("s");
        (small.spec.restart, small.spec.significant) = (Restart::Permanent, false);
        small.spec.manual = false;
        if let ChildForm::Supervisor(rules) = &mut small.form {
            rules.end_when_done = false;
        }
        let root = SupervisorSpec { children: vec![small], ..root.clone() };
        ChildDeclaration { name: name("t"), spec: ChildSpec::of_root(), form: ChildForm::Supervisor(root) }
    });
    roots(root).boxed()
}

/// Removes each intensity that the backoffs of the children keep from ever being exceeded, and each bound on starts that has
/// no effect: the machine refuses them.
fn within_reach(declared: &mut ChildDeclaration) {
    let errors = declared.check().err().map(|errors| errors.0).unwrap_or_default();
    for error in errors.into_iter().filter(|error| matches!(error.field, "intensity" | "max_starting")) {
        let mut at = &mut *declared;
        for name in error.path.names().skip(1) {
            let ChildForm::Supervisor(rules) = &mut at.form else { return };
            let Some(child) = rules.children.iter_mut().find(|child| child.name.as_str() == name) else {
                return;
            };
            at = child;
        }
        if let ChildForm::Supervisor(rules) = &mut at.form {
            match error.field {
                "intensity" => rules.intensity = None,
                _ => rules.max_starting = None,
            }
        }
    }
}

/// Turns a tree into one whose root is called `t` and has a stop budget.
fn roots(tree: impl Strategy<Value = ChildDeclaration>) -> impl Strategy<Value = ChildDeclaration> {
    let budget = select(vec![Duration::ZERO, ms(100), ms(10_000), Duration::MAX]);
    (tree, budget).prop_map(|(mut tree, budget)| {
        tree.name = name("t");
        tree.spec = ChildSpec { stop_within: budget, ..ChildSpec::of_root() };
        if let ChildForm::Supervisor(rules) = &mut tree.form {
            rules.end_when_done &= rules.children.iter().all(|child| child.spec.after.is_empty());
        }
        within_reach(&mut tree);
        apart(&mut tree, &mut 0);
        tree
    })
}

fn additions() -> impl Strategy<Value = ChildDeclaration> {
    let what = prop_oneof![3 => leaf().boxed(), 1 => supervisor(vec(leaf(), 0..3)).boxed()];
    (what, 0..4u8, 1_000..1_000_000u64).prop_map(|(mut what, n, mut apart_by)| {
        what.name = name(&format!("n{n}"));
        (what.spec.significant, what.spec.manual) = (false, false);
        within_reach(&mut what);
        apart(&mut what, &mut apart_by);
        what
    })
}

/// The time that each step takes, in nanoseconds.
pub(crate) const A_MOMENT: u64 = 1;

/// Makes all durations of a tree differ by some hundred nanoseconds, so that no two deadlines are equal: no rule says which
/// of two equal deadlines comes first. For the same reason each step takes [`A_MOMENT`]; a run has less than a hundred steps.
fn apart(declared: &mut ChildDeclaration, n: &mut u64) {
    let differ = |child: &mut ChildSpec, n: &mut u64| {
        for duration in [&mut child.start_within, &mut child.stop_within] {
            *n += 1;
            if !duration.is_zero() && *duration != Duration::MAX {
                *duration += Duration::from_nanos(*n * 100);
            }
        }
        if !child.unready_for.is_zero() {
            child.unready_for += Duration::from_nanos(*n * 100 + 50);
        }
        *n += 1;
        for need in &mut child.needs {
            *n += 1;
            if !need.grace.is_zero() && need.grace != Duration::MAX {
                need.grace += Duration::from_nanos(*n * 100 + 70);
            }
        }
        *n += 1;
        child.run_within = child.run_within.map(|within| within + Duration::from_nanos(*n * 100 + 30));
        child.heartbeat = child.heartbeat.map(|period| period + Duration::from_nanos(*n * 400));
    };
    differ(&mut declared.spec, n);
    match &mut declared.form {
        ChildForm::Leaf => {}
        ChildForm::Supervisor(rules) => rules.children.iter_mut().for_each(|child| apart(child, n)),
        ChildForm::Group(group) => differ(&mut group.template, n),
    }
}

/// Describes a tree in a failure message, one line for each child.
pub(crate) fn sketch(declared: &ChildDeclaration, depth: usize) -> String {
    let ChildSpec {
        restart,
        backoff,
        limit,
        ready,
        start_within,
        stop_within,
        unready_for,
        kill_wait,
        significant,
        after,
        needs,
        manual,
        replica_of,
        run_within,
        restart_codes: _,
        heartbeat,
        checks: _,
        reports_health: _,
        once,
        keep_error: _,
        keep,
        // They decide nothing.
        history: _,
        version: _,
        declared_at: _,
        description: _,
        sources: _,
        written: _,
        poll_limit: _,
        // It changes nothing.
        body: _,
    } = &declared.spec;
    let backoff = backoff.map(|backoff| backoff.from);
    let limit = limit.map(|limit| (limit.restarts, limit.give_up));
    let after: Vec<String> =
        after.iter().map(|edge| format!("{} {:?}", edge.child, edge.condition)).collect();
    let mut text = format!(
        "{:indent$}{}: {restart:?}, {ready:?} within {start_within:?}, stop {stop_within:?} + {kill_wait:?} (unready {unready_for:?}), backoff {backoff:?}, \
         limit {limit:?}, significant {significant}, after {after:?}, replica of {replica_of:?}, needs {needs:?}, heartbeat \
         {heartbeat:?}, runs for {run_within:?}, once {once}, keep {keep}, manual {manual}",
        "",
        declared.name,
        indent = 2 * depth,
    );
    match &declared.form {
        ChildForm::Leaf => text.push('\n'),
        ChildForm::Group(group) => text.push_str(&format!(
            "; group {:?} dedicated runtime {} {:?}\n",
            group.intensity, group.dedicated_runtime, group.template
        )),
        ChildForm::Supervisor(SupervisorSpec {
            strategy,
            order,
            first_start,
            auto_shutdown,
            intensity,
            end_when_done,
            children,
            dedicated_runtime,
            max_starting,
            defaults: _,
        }) => {
            let intensity = intensity.map(|limit| (limit.restarts, limit.give_up));
            text.push_str(&format!(
                "; {strategy:?}, {order:?}, first start {first_start:?}, auto {auto_shutdown:?}, intensity {intensity:?}, ends {end_when_done}, \
                 dedicated runtime {dedicated_runtime}, places {max_starting:?}\n"
            ));
            children.iter().for_each(|child| text.push_str(&sketch(child, depth + 1)));
        }
    }
    text
}
