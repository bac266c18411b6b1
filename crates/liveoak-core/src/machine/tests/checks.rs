//! Checks: when they are tried, and what follows. The name of each test is the rule.

use super::shape::{SECOND, leaf, millis, name, secs, sup};
use super::test_driver::{Checked, Obeys, TestDriver};
use crate::{
    CheckKind, CheckSpec, ChildDeclaration, Command, Condition, Edge, EventKind, Exit, GiveUp, Health, Input,
    Limit, Machine, Need, SpecProblem, Time,
};
use proptest::prelude::*;
use std::time::Duration;

fn check(text: &str, kind: CheckKind) -> CheckSpec {
    CheckSpec { every: SECOND, timeout: millis(400), ..CheckSpec::new(name(text), kind) }
}

fn readiness(text: &str) -> CheckSpec {
    check(text, CheckKind::Readiness)
}

fn liveness(text: &str) -> CheckSpec {
    check(text, CheckKind::Liveness)
}

fn startup(text: &str) -> CheckSpec {
    check(text, CheckKind::Startup)
}

/// Returns a leaf that does not report its health.
fn silent(text: &str) -> ChildDeclaration {
    leaf(text).with(|child| child.reports_health = false)
}

fn set(driver: &mut TestDriver, check: &str, answers: Option<Checked>) {
    match answers {
        Some(answer) => driver.checked.insert(check.to_owned(), answer),
        None => driver.checked.remove(check),
    };
}

fn words(driver: &TestDriver, wanted: &[&str]) -> Vec<String> {
    let events = driver.events.iter().filter(|event| wanted.contains(&event.kind.name()));
    events.map(|event| format!("{} {}", event.path.name(), event.kind.name())).collect()
}

#[test]
fn a_check_is_tried_every_period_from_when_the_child_is_ready_and_its_delay_is_over() {
    let tree = sup("t", [leaf("a").reports().checked(CheckSpec { delay: secs(5), ..readiness("r") })]);
    let mut driver = TestDriver::new(&tree);
    driver.policy("a").ready = false;
    driver.start();
    driver.advance(secs(20));
    assert!(driver.tries.is_empty(), "it is not ready yet");
    driver.ready("a");
    driver.advance(secs(5) - Duration::from_nanos(1));
    assert!(driver.tries.is_empty(), "the delay is not over");
    driver.advance(secs(10));
    assert_eq!(driver.tries.len(), 10);
}

#[test]
fn children_with_the_same_check_do_not_ask_at_the_same_moment() {
    let children = (0..100).map(|n| leaf(&format!("c{n}")).checked(readiness("r")));
    let mut driver = TestDriver::started(&sup("t", children));
    let mut most = 0;
    for _ in 0..10 {
        let before = driver.tries.len();
        driver.advance(millis(100));
        most = most.max(driver.tries.len() - before);
    }
    assert_eq!(driver.tries.len(), 100);
    assert!(most < 25, "{most} of 100 tries in a tenth of the period");
}

#[test]
fn readiness_that_fails_makes_a_child_unready_and_restarts_nothing() {
    let mut driver = TestDriver::started(&sup("t", [leaf("a").checked(readiness("r"))]));
    assert!(driver.view("a").ready && driver.view("").ready, "the child begins as ready");
    set(&mut driver, "a.r", Some(Checked::Fails));
    driver.advance(secs(2));
    assert!(driver.view("a").ready, "two failures are not enough");
    driver.advance(secs(60));
    let view = driver.view("a");
    assert_eq!((view.state.as_str(), view.attempt.0, view.ready), ("running", 1, false));
    assert_eq!((view.health, view.health_reason.as_deref()), (Health::Degraded, Some("check r: no")));
    assert!(!driver.view("").ready && driver.view("").health == Health::Degraded, "its supervisor shows it");
    set(&mut driver, "a.r", None);
    driver.advance(secs(1));
    let view = driver.view("a");
    assert_eq!((view.ready, view.health, view.attempt.0), (true, Health::Healthy, 1));
    assert!(driver.view("").ready);
    assert_eq!(words(&driver, &["unready", "ready-again", "stopping"]), ["a unready", "a ready-again"]);
}

#[test]
fn an_unready_child_is_ready_again_after_as_many_passes_in_a_row_as_declared() {
    let declared = CheckSpec { failures: 1, successes: 3, ..readiness("r") };
    let mut driver = TestDriver::started(&sup("t", [leaf("a").checked(declared)]));
    set(&mut driver, "a.r", Some(Checked::Fails));
    driver.advance(secs(1));
    assert!(!driver.view("a").ready);
    for (answers, expected) in [
        (None, false),
        (None, false),
        (Some(Checked::Fails), false),
        (None, false),
        (None, false),
        (None, true),
    ] {
        set(&mut driver, "a.r", answers);
        driver.advance(secs(1));
        assert_eq!(driver.view("a").ready, expected);
    }
}

#[test]
fn a_child_with_several_readiness_checks_is_ready_when_all_of_them_pass() {
    let of = |text| CheckSpec { failures: 1, ..readiness(text) };
    let mut driver = TestDriver::started(&sup("t", [leaf("a").checked(of("r")).checked(of("s"))]));
    for (r, s, expected) in [
        (Some(Checked::Fails), None, false),
        (Some(Checked::Fails), Some(Checked::Fails), false),
        (None, Some(Checked::Fails), false),
        (None, None, true),
    ] {
        set(&mut driver, "a.r", r);
        set(&mut driver, "a.s", s);
        driver.advance(secs(1));
        assert_eq!(driver.view("a").ready, expected, "{r:?} {s:?}");
    }
    assert_eq!(words(&driver, &["unready", "ready-again"]), ["a unready", "a ready-again"]);
}

#[test]
fn a_child_that_comes_after_an_unready_child_starts_when_that_is_ready_again() {
    let db = leaf("db").checked(CheckSpec { failures: 1, ..readiness("r") });
    let web = leaf("web").after("db", Condition::Ready);
    let mut driver = TestDriver::started(&sup("t", [db, web]));
    set(&mut driver, "db.r", Some(Checked::Fails));
    driver.advance(secs(1));
    assert_eq!(driver.state("web"), "running", "what runs goes on");
    driver.ask("web", Command::Stop).expect("it stops");
    driver.command("web", Command::Start);
    driver.advance(secs(10));
    assert_eq!(driver.state("web"), "waiting");
    // A health that was degraded before and after the check hides nothing.
    driver.health("db", Health::Degraded);
    set(&mut driver, "db.r", None);
    driver.advance(secs(1));
    assert_eq!(driver.state("web"), "running");
}

#[test]
fn a_child_that_needs_an_unready_child_is_stopped_after_its_grace_and_starts_when_that_is_ready_again() {
    let db = || leaf("db").checked(CheckSpec { failures: 1, ..readiness("r") });
    let edge = Edge { child: name("s"), condition: Condition::Ready };
    let need = Need { child: name("s"), grace: secs(5) };
    let web = leaf("web").with(|spec| (spec.after, spec.needs) = (vec![edge], vec![need]));
    let mut driver = TestDriver::started(&sup("t", [sup("s", [db()]), web]));
    set(&mut driver, "s/db.r", Some(Checked::Fails));
    driver.advance(secs(5));
    assert_eq!((driver.view("s/db").ready, driver.state("web")), (false, "running"), "the grace is not over");
    driver.advance(secs(1));
    assert_eq!(driver.state("web"), "waiting");
    set(&mut driver, "s/db.r", None);
    driver.advance(secs(1));
    assert_eq!((driver.state("web"), driver.view("web").restarts), ("running", 0));
    assert_eq!(driver.view("s/db").attempt.0, 1, "a readiness check restarts nothing");
}

#[test]
fn liveness_that_fails_stops_the_child_in_the_ordinary_way_and_counts_as_a_failure() {
    for (obeys, log) in [
        (Obeys::Ask, vec!["ask a", "gone a", "start a"]),
        (Obeys::Kill, vec!["ask a", "kill a", "gone a", "start a"]),
    ] {
        let child = leaf("a").checked(liveness("l")).limit(Limit::new(3, secs(600)));
        let mut driver = TestDriver::started(&sup("t", [child]));
        driver.obeys("a", obeys);
        driver.log();
        set(&mut driver, "a.l", Some(Checked::Fails));
        driver.advance(millis(2_000));
        assert_eq!(driver.state("a"), "running", "two failures are not enough");
        driver.advance(millis(1_000));
        set(&mut driver, "a.l", None);
        driver.advance(secs(6));
        assert_eq!(driver.log(), log);
        let view = driver.view("a");
        assert_eq!((view.state.as_str(), view.restarts), ("running", 1));
        let Some(Exit::Unhealthy(exit)) = view.last_exit else { panic!("{:?}", view.last_exit) };
        assert_eq!((exit.check.as_str(), &*exit.reason), ("l", "no"));
    }
}

#[test]
fn a_single_failure_between_passes_does_nothing() {
    for kind in [CheckKind::Readiness, CheckKind::Liveness] {
        let mut driver = TestDriver::started(&sup("t", [leaf("a").checked(check("c", kind))]));
        for n in 0..30 {
            set(&mut driver, "a.c", (n % 3 != 0).then_some(Checked::Fails));
            driver.advance(secs(1));
        }
        assert_eq!(words(&driver, &["unready", "stopping"]), [""; 0]);
    }
}

#[test]
fn a_try_without_an_answer_in_time_has_failed_and_a_late_answer_changes_nothing() {
    let mut driver =
        TestDriver::started(&sup("t", [leaf("a").checked(CheckSpec { failures: 2, ..liveness("l") })]));
    set(&mut driver, "a.l", Some(Checked::Silent));
    let (id, attempt) = (driver.id("a"), driver.attempt("a"));
    while driver.tries.is_empty() {
        driver.advance(millis(10));
    }
    driver.advance(millis(400));
    for number in [0, 1, 2, 3] {
        driver.input(Input::Checked(id, attempt, 0, number, Ok(())));
        driver.input(Input::Checked(id, attempt, 7, number, Ok(())));
    }
    assert_eq!(driver.view("a").checks[0].failures, 1);
    driver.advance(secs(3));
    assert!(
        matches!(driver.view("a").last_exit, Some(Exit::Unhealthy(exit)) if &*exit.reason == "no answer within 400ms")
    );
}

#[test]
fn an_open_try_ends_when_its_child_begins_to_drain() {
    let web = leaf("a").checked(CheckSpec { failures: 1, ..liveness("l") });
    let web = web.with(|spec| (spec.stop_within, spec.unready_for) = (secs(5), secs(2)));
    let mut driver = TestDriver::started(&sup("t", [web]));
    set(&mut driver, "a.l", Some(Checked::Silent));
    while driver.tries.is_empty() {
        driver.advance(millis(10));
    }
    driver.command("a", Command::Stop);
    assert_eq!(driver.ended_tries, ["a.l"]);
    let (id, attempt) = (driver.id("a"), driver.attempt("a"));
    driver.input(Input::Checked(id, attempt, 0, 1, Err("late".into())));
    driver.advance(millis(1_999));
    assert!(driver.done("ask").is_empty());
    driver.advance(millis(1));
    assert_eq!(driver.log(), ["ask a", "gone a"]);
    assert_eq!(driver.ended_tries.len(), 1);
}

#[test]
fn an_answer_counts_once() {
    let mut driver = TestDriver::started(&sup("t", [leaf("a").checked(liveness("l"))]));
    set(&mut driver, "a.l", Some(Checked::Silent));
    driver.advance(secs(1));
    let (id, attempt) = (driver.id("a"), driver.attempt("a"));
    for _ in 0..9 {
        driver.input(Input::Checked(id, attempt, 0, 1, Err("no".into())));
    }
    assert_eq!(driver.view("a").checks[0].failures, 1);
    assert_eq!(driver.state("a"), "running");
}

#[test]
fn no_check_is_tried_while_the_child_stops_or_is_down() {
    let child = leaf("a").checked(readiness("r")).checked(liveness("l")).stop_within(secs(60));
    let mut driver = TestDriver::started(&sup("t", [child]));
    driver.obeys("a", Obeys::Test);
    driver.advance(secs(3));
    driver.command("a", Command::Stop);
    let before = driver.tries.len();
    driver.advance(secs(30));
    driver.complete("a");
    driver.advance(secs(30));
    assert_eq!(driver.tries.len(), before);
    driver.ask("a", Command::Start).expect("it starts");
    driver.advance(secs(1));
    assert_eq!(driver.tries.len(), before + 2, "the checks of the next attempt");
}

#[test]
fn a_child_with_startup_checks_is_ready_when_each_of_them_has_passed() {
    let child = |reports: bool| {
        let child = leaf("a")
            .checked(startup("s"))
            .checked(CheckSpec { successes: 2, ..startup("u") })
            .checked(readiness("r"));
        if reports { child.reports() } else { child }
    };
    for reports in [false, true] {
        let mut driver = TestDriver::new(&sup("t", [child(reports), leaf("b")]));
        driver.policy("a").ready = false;
        set(&mut driver, "a.s", Some(Checked::Fails));
        driver.start();
        driver.advance(secs(2));
        if reports {
            assert!(driver.tries.is_empty(), "it has not reported that it is ready");
            driver.ready("a");
        }
        driver.advance(secs(3));
        assert_eq!(driver.states(["a", "b"]), ["starting", "waiting"]);
        assert!(!driver.tries.contains(&"a.r".to_owned()), "other checks begin when it is ready");
        set(&mut driver, "a.s", None);
        driver.advance(secs(1));
        assert_eq!(driver.states(["a", "b"]), ["running", "running"]);
        driver.tries.clear();
        driver.advance(secs(10));
        assert_eq!(driver.tries, ["a.r"; 10], "startup checks end when they have passed");
    }
}

#[test]
fn the_start_deadline_holds_while_startup_checks_fail_and_too_many_failures_end_the_start() {
    let plain = startup("s");
    let bounded = CheckSpec { failures: 2, ..startup("s") };
    for (declared, kind) in [(plain, "start-timeout"), (bounded, "unhealthy")] {
        let child = leaf("a")
            .checked(declared)
            .start_within(secs(5))
            .limit(Limit::new(0, SECOND).on_exceeded(GiveUp::QUARANTINE));
        let mut driver = TestDriver::new(&sup("t", [child]).retries());
        set(&mut driver, "a.s", Some(Checked::Fails));
        driver.start();
        driver.advance(secs(6));
        assert_eq!(driver.view("a").last_exit.map(|exit| exit.kind()), Some(kind));
    }
}

#[test]
fn a_child_without_checks_that_does_not_report_its_health_has_an_unknown_health() {
    let tree = sup("t", [silent("a"), silent("b").checked(liveness("l")), leaf("c")]);
    let mut driver = TestDriver::started(&tree);
    let healths = ["a", "b", "c", ""].map(|path| driver.view(path).health);
    assert_eq!(healths, [Health::Unknown, Health::Healthy, Health::Healthy, Health::Healthy]);
    driver.health("a", Health::Degraded);
    assert_eq!([driver.view("a").health, driver.view("").health], [Health::Degraded; 2]);
    driver.health("a", Health::Unknown);
    assert_eq!([driver.view("a").health, driver.view("").health], [Health::Unknown, Health::Healthy]);
}

#[test]
fn the_worse_of_the_reported_and_the_checked_health_counts_with_its_reason() {
    let mut driver =
        TestDriver::started(&sup("t", [leaf("a").checked(CheckSpec { failures: 1, ..readiness("r") })]));
    let (id, attempt) = (driver.id("a"), driver.attempt("a"));
    let report = |driver: &mut TestDriver, health, reason: &str| {
        driver.input(Input::Health(id, attempt, health, Some(reason.into())));
    };
    report(&mut driver, Health::Healthy, "all well");
    let seen = |driver: &mut TestDriver| {
        let view = driver.view("a");
        (view.health, view.health_reason.unwrap_or_default().to_string())
    };
    assert_eq!(seen(&mut driver), (Health::Healthy, "all well".into()));
    set(&mut driver, "a.r", Some(Checked::Fails));
    driver.advance(secs(1));
    assert_eq!(seen(&mut driver), (Health::Degraded, "check r: no".into()));
    report(&mut driver, Health::Unhealthy, "disk full");
    assert_eq!(seen(&mut driver), (Health::Unhealthy, "disk full".into()));
    set(&mut driver, "a.r", None);
    report(&mut driver, Health::Degraded, "disk 91 %");
    driver.advance(secs(1));
    assert_eq!(seen(&mut driver), (Health::Degraded, "disk 91 %".into()));
    let told = driver.events.iter().any(|event| {
        matches!(&event.kind, EventKind::Health { health: Health::Degraded, reason: Some(reason) } if &**reason == "disk 91 %")
    });
    assert!(told);
}

#[test]
fn a_child_cannot_come_after_the_health_of_a_child_that_has_none() {
    for (db, allowed) in [
        (silent("db"), false),
        (silent("db").checked(startup("s")), false),
        (silent("db").checked(readiness("r")), true),
        (silent("db").checked(liveness("l")), true),
        (leaf("db"), true),
        (sup("db", [silent("x")]), true),
    ] {
        let tree = sup("t", [db, leaf("web").after("db", Condition::Healthy)]);
        let errors = tree.check().err().map(|errors| errors.0).unwrap_or_default();
        let refused = errors.iter().any(|error| matches!(error.problem, SpecProblem::HasNoHealth(_)));
        assert_eq!(!refused, allowed, "{errors:?}");
    }
}

#[test]
fn a_check_without_effect_or_sense_is_refused() {
    type Break = fn(&mut CheckSpec);
    let broken: &[(&str, Break)] = &[
        ("checks.every", |check| check.every = Duration::ZERO),
        ("checks.timeout", |check| check.timeout = Duration::ZERO),
        ("checks.failures", |check| check.failures = 0),
        ("checks.successes", |check| check.successes = 0),
        ("checks.successes", |check| check.successes = 2),
    ];
    for (field, break_it) in broken {
        let mut declared = liveness("l");
        break_it(&mut declared);
        let errors = Machine::new(&sup("t", [leaf("a").checked(declared)])).expect_err("refused").0;
        assert_eq!(errors.iter().map(|error| error.field).collect::<Vec<_>>(), [*field]);
    }
    let twice = leaf("a").checked(liveness("c")).checked(readiness("c"));
    let too_many = (0..65).fold(leaf("a"), |child, n| child.checked(readiness(&format!("r{n}"))));
    for child in [twice, too_many, sup("s", [leaf("a")]).checked(readiness("r"))] {
        assert_eq!(sup("t", [child]).check().expect_err("refused").0[0].field, "checks");
    }
}

#[test]
fn a_run_that_was_broken_by_unreadiness_or_that_fails_its_liveness_is_not_stable() {
    let child = |declared: CheckSpec| {
        let backoff = crate::Backoff {
            from: millis(10),
            to: millis(10),
            reset_after: secs(10),
            ..crate::Backoff::default()
        };
        leaf("a")
            .checked(declared)
            .limit(Limit::new(2, millis(1)))
            .with(|child| child.backoff = Some(backoff))
    };
    // It fails from its first try on, each time.
    let mut driver = TestDriver::started(&sup("t", [child(CheckSpec { every: secs(8), ..liveness("l") })]));
    set(&mut driver, "a.l", Some(Checked::Fails));
    driver.advance(secs(100));
    assert_eq!(driver.down_kind(), "gave-up", "a loop of failed liveness is given up on");
    // It is unready once in 6 s, so it is never ready for 10 s.
    let declared = CheckSpec { failures: 1, every: secs(3), ..readiness("r") };
    let mut driver = TestDriver::started(&sup("t", [child(declared)]));
    for _ in 0..3 {
        for _ in 0..4 {
            set(&mut driver, "a.r", Some(Checked::Fails));
            driver.advance(secs(3));
            set(&mut driver, "a.r", None);
            driver.advance(secs(3));
        }
        if driver.down.is_none() {
            driver.fail("a");
            driver.advance(millis(20));
        }
    }
    assert_eq!(driver.down_kind(), "gave-up", "a child that is never ready for long is given up on");
}

#[test]
fn the_time_for_an_answer_that_is_seen_to_end_late_is_prolonged_once() {
    let declared = CheckSpec { failures: 1, ..liveness("l") };
    let mut driver = TestDriver::started(&sup("t", [leaf("a").checked(declared)]));
    set(&mut driver, "a.l", Some(Checked::Silent));
    while driver.tries.is_empty() {
        driver.advance(millis(10));
    }
    let until = driver.now.after(secs(60));
    driver.jump(until);
    assert_eq!(driver.state("a"), "running", "the process did not run");
    driver.advance(millis(399));
    assert_eq!(driver.view("a").attempt.0, 1);
    driver.advance(millis(1));
    assert_eq!(driver.view("a").attempt.0, 2);
}

/// A step of the property test.
#[derive(Clone, Debug)]
enum Step {
    Answers(usize, Option<Checked>),
    Advance(Duration),
    Jump(Duration),
    Fail(usize),
}

const CHECKED: [&str; 6] = ["a.s", "a.r", "a.l", "b.r", "b.l", "b.m"];

fn steps() -> impl Strategy<Value = Step> {
    let answers = prop_oneof![Just(None), Just(Some(Checked::Fails)), Just(Some(Checked::Silent))];
    let time = prop_oneof![Just(millis(10)), Just(millis(700)), Just(secs(3)), Just(secs(20))];
    prop_oneof![
        5 => (0..CHECKED.len(), answers).prop_map(|(which, answers)| Step::Answers(which, answers)),
        5 => time.clone().prop_map(Step::Advance),
        1 => time.prop_map(Step::Jump),
        1 => (0usize..2).prop_map(Step::Fail),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn after_any_answers_a_child_whose_checks_all_pass_is_ready_and_running(steps in proptest::collection::vec(steps(), 0..40)) {
        let a = leaf("a").checked(startup("s")).checked(readiness("r")).checked(liveness("l")).start_within(secs(9));
        let b = leaf("b")
            .checked(CheckSpec { successes: 2, ..readiness("r") })
            .checked(liveness("l"))
            .checked(CheckSpec { failures: 1, timeout: secs(3), ..liveness("m") });
        let free = |child: ChildDeclaration| {
            let slower = |check: CheckSpec| CheckSpec { every: secs(5), ..check };
            let checks = child.spec.checks().iter().cloned().map(slower).collect();
            child.limit(Limit::unlimited()).with(|spec| spec.checks = Some(checks))
        };
        let tree = sup("t", [free(a), free(b), leaf("c").after("b", Condition::Healthy)]).edges().retries();
        let mut driver = TestDriver::started(&tree);
        for step in steps {
            match step {
                Step::Answers(which, answers) => set(&mut driver, CHECKED[which], answers),
                Step::Advance(time) => driver.advance(time),
                Step::Jump(time) => {
                    let until: Time = driver.now.after(time);
                    driver.jump(until);
                }
                Step::Fail(which) => {
                    let path = ["a", "b"][which];
                    if driver.is_alive(path) {
                        driver.fail(path);
                    }
                }
            }
        }
        driver.checked.clear();
        driver.advance(secs(60));
        for path in ["a", "b", "c", ""] {
            let view = driver.view(path);
            prop_assert!(view.ready && view.health == Health::Healthy, "{path}: {view:?}");
        }
    }
}
