//! Polls that take longer than their limit, and what follows. The name of each test is the rule.

use super::shape::{group, leaf, millis, secs, sup};
use super::test_driver::{Obeys, TestDriver};
use crate::{
    Attempt, ChildDeclaration, ChildSpec, Exit, Health, Input, PollLimit, SpecProblem, StopStage, StuckPoll,
    Time, WhenStuck,
};
use std::sync::Arc;
use std::time::Duration;

fn limit(when_stuck: WhenStuck) -> PollLimit {
    PollLimit::new(secs(1)).when_stuck(when_stuck)
}

fn limited(text: &str, when_stuck: WhenStuck) -> ChildDeclaration {
    leaf(text).with(|child| child.poll_limit = Some(limit(when_stuck)))
}

fn poll(attempt: Attempt, when_stuck: WhenStuck) -> Arc<StuckPoll> {
    let (since, place) = (Time::ZERO, "a thread".into());
    Arc::new(StuckPoll { attempt, since, limit: limit(when_stuck), place, stack: None })
}

fn stuck(driver: &mut TestDriver, path: &str) {
    let (id, attempt) = (driver.id(path), driver.attempt(path));
    let limit = driver.machine.poll_limit(id).expect("a limit");
    driver.input(Input::Stuck(id, attempt, poll(attempt, limit.when_stuck)));
}

fn unstuck(driver: &mut TestDriver, path: &str) {
    let (id, attempt) = (driver.id(path), driver.attempt(path));
    driver.input(Input::Unstuck(id, attempt));
}

#[test]
fn a_stuck_child_is_shown_until_its_poll_is_over_and_runs_on() {
    let mut driver = TestDriver::started(&sup("t", [limited("a", WhenStuck::Report)]));
    driver.advance(secs(3));
    stuck(&mut driver, "a");
    let view = driver.view("a");
    assert_eq!(view.stuck, Some(poll(Attempt(1), WhenStuck::Report)));
    assert_eq!((view.state.as_str(), view.health, view.attempt), ("running", Health::Healthy, Attempt(1)));
    assert_eq!((driver.count("stuck"), driver.count("unstuck")), (1, 0));
    unstuck(&mut driver, "a");
    unstuck(&mut driver, "a");
    assert_eq!(driver.view("a").stuck, None);
    assert_eq!((driver.count("stuck"), driver.count("unstuck")), (1, 1));
}

#[test]
fn the_stack_of_a_stuck_poll_comes_later_and_changes_nothing_else() {
    let mut driver = TestDriver::started(&sup("t", [limited("a", WhenStuck::Unhealthy)]));
    let (id, attempt) = (driver.id("a"), driver.attempt("a"));
    let with_stack =
        StuckPoll { stack: Some("read\nmain".into()), ..(*poll(attempt, WhenStuck::Unhealthy)).clone() };
    let stack = |driver: &mut TestDriver| driver.view("a").stuck.and_then(|poll| poll.stack.clone());
    let report = |driver: &mut TestDriver| {
        driver.input(Input::Stuck(id, attempt, Arc::new(with_stack.clone())));
    };
    report(&mut driver);
    assert_eq!((driver.view("a").stuck, driver.count("stuck")), (None, 0), "no such poll is known");
    stuck(&mut driver, "a");
    assert_eq!((stack(&mut driver), driver.count("stuck")), (None, 1));
    let unhealthy = driver.count("unhealthy");
    assert_eq!(driver.view("a").health, Health::Unhealthy);
    assert!(
        !driver
            .machine
            .is_stuck_in(id, &StuckPoll { since: Time::ZERO.after(secs(9)), ..with_stack.clone() })
    );
    report(&mut driver);
    assert_eq!((stack(&mut driver).as_deref(), driver.count("stuck")), (Some("read\nmain"), 2));
    assert_eq!(driver.count("unhealthy"), unhealthy, "the health is as before");
    let lines: Vec<_> = with_stack.stack_lines().collect();
    assert_eq!(lines, ["read", "main"]);
    unstuck(&mut driver, "a");
    report(&mut driver);
    assert_eq!((driver.view("a").stuck, driver.count("stuck")), (None, 2), "the poll is over");
}

#[test]
fn the_reason_of_a_health_is_that_of_the_worst_of_what_is_said() {
    let mut driver = TestDriver::started(&sup("t", [limited("a", WhenStuck::Unhealthy)]));
    let (id, attempt) = (driver.id("a"), driver.attempt("a"));
    driver.input(Input::Health(id, attempt, Health::Degraded, Some("disk 91 %".into())));
    stuck(&mut driver, "a");
    let view = driver.view("a");
    assert_eq!(view.health, Health::Unhealthy);
    assert_eq!(view.health_reason.as_deref(), Some("one poll takes longer than 1s, on a thread"));
    unstuck(&mut driver, "a");
    assert_eq!(driver.view("a").health_reason.as_deref(), Some("disk 91 %"));
}

#[test]
fn a_child_may_be_unhealthy_while_it_is_stuck() {
    let mut driver = TestDriver::started(&sup("t", [limited("a", WhenStuck::Unhealthy)]));
    stuck(&mut driver, "a");
    let view = driver.view("a");
    assert_eq!((view.state.as_str(), view.health, view.attempt), ("running", Health::Unhealthy, Attempt(1)));
    assert_eq!(view.health_reason.as_deref(), Some("one poll takes longer than 1s, on a thread"));
    assert_eq!(driver.view("").health, Health::Unhealthy, "its supervisor shows it");
    unstuck(&mut driver, "a");
    assert_eq!((driver.view("a").health, driver.view("a").health_reason), (Health::Healthy, None));
}

#[test]
fn a_new_attempt_is_not_unhealthy_because_the_last_one_was_stuck() {
    let mut driver = TestDriver::started(&sup("t", [limited("a", WhenStuck::Unhealthy)]));
    stuck(&mut driver, "a");
    driver.fail("a");
    driver.advance(secs(60));
    let view = driver.view("a");
    assert_eq!((view.attempt, view.health, view.stuck), (Attempt(2), Health::Healthy, None));
}

#[test]
fn a_stuck_attempt_may_be_abandoned_and_the_child_is_restarted_by_its_rule() {
    let mut driver = TestDriver::new(&sup("t", [limited("a", WhenStuck::Abandon)]));
    driver.obeys("a", Obeys::Nothing);
    driver.start();
    let first = driver.attempt("a");
    stuck(&mut driver, "a");
    assert_eq!((driver.count("killed"), driver.count("abandoned")), (1, 1));
    let exit = driver.view("a").last_exit.expect("an exit");
    let text = "unhealthy: the check polls failed: one poll takes longer than 1s, on a thread";
    assert!(matches!(&exit, Exit::Unhealthy(_)) && exit.to_string() == text, "{exit}");
    driver.advance(secs(60));
    assert_eq!((driver.state("a"), driver.attempt("a")), ("running", Attempt(2)));
    let id = driver.id("a");
    driver.input(Input::Unstuck(id, first));
    driver.input(Input::Stuck(id, first, poll(first, WhenStuck::Abandon)));
    assert_eq!((driver.count("stuck"), driver.count("unstuck")), (1, 0), "late reports change nothing");
}

#[test]
fn a_child_that_is_stuck_before_it_is_ready_is_abandoned_too() {
    let child = limited("a", WhenStuck::Abandon).reports().delayed(secs(1));
    let mut driver = TestDriver::started(&sup("t", [child]));
    driver.fail("a");
    driver.policy("a").ready = false;
    driver.advance(secs(60));
    assert_eq!(driver.state("a"), "starting");
    stuck(&mut driver, "a");
    assert_eq!((driver.count("abandoned"), driver.state("a")), (1, "backing-off"));
}

#[test]
fn a_stuck_child_that_is_being_stopped_keeps_the_deadlines_of_its_stop_and_the_report_names_the_poll() {
    for when_stuck in [WhenStuck::Report, WhenStuck::Unhealthy, WhenStuck::Abandon] {
        let child = limited("a", when_stuck).stop_within(secs(5));
        let mut driver = TestDriver::new(&sup("t", [child, leaf("b")]));
        driver.obeys("a", Obeys::Nothing);
        driver.start();
        driver.stop();
        driver.advance(secs(1));
        stuck(&mut driver, "a");
        assert_eq!(driver.state("a"), "stopping");
        driver.advance(secs(30));
        let report = driver.report();
        let entries: Vec<_> = report.entries.iter().map(|entry| (entry.path.name(), entry.stage)).collect();
        assert_eq!(entries, [("b", StopStage::Asked), ("a", StopStage::Abandoned)]);
        let shown: Vec<_> = report.entries.iter().map(|entry| entry.stuck.clone()).collect();
        assert_eq!(shown, [None, Some(poll(Attempt(1), when_stuck))]);
    }
}

#[test]
fn a_stop_report_does_not_name_a_poll_that_was_over_in_time() {
    let mut driver = TestDriver::started(&sup("t", [limited("a", WhenStuck::Report)]));
    stuck(&mut driver, "a");
    unstuck(&mut driver, "a");
    driver.stop();
    driver.advance(secs(60));
    assert_eq!(driver.report().entries.iter().filter(|entry| entry.stuck.is_some()).count(), 0);
}

#[test]
fn the_limit_of_a_child_is_its_own_or_that_of_the_nearest_supervisor_with_a_limit() {
    let own = |longest: Duration| move |spec: &mut ChildSpec| spec.poll_limit = Some(PollLimit::new(longest));
    let below = sup("s", [leaf("c"), leaf("d").with(own(millis(300))), leaf("e").with(own(Duration::MAX))]);
    let tree = sup("t", [leaf("a"), below.with(own(millis(200))), group("g")]).with(own(secs(1)));
    let mut driver = TestDriver::started(&tree);
    driver.add("s", &leaf("added")).expect("added");
    driver.add_member("g", Some("m")).expect("added");
    let expected = [
        ("a", Some(secs(1))),
        ("s/c", Some(millis(200))),
        ("s/d", Some(millis(300))),
        ("s/e", None),
        ("s/added", Some(millis(200))),
        ("g/m", Some(secs(1))),
    ];
    for (path, longest) in expected {
        let found = driver.machine.poll_limit(driver.id(path));
        assert_eq!(found.map(|limit| limit.longest), longest, "{path}");
    }
    let without = TestDriver::started(&sup("t", [leaf("a")]));
    assert_eq!(without.machine.poll_limit(without.id("a")), None);
}

#[test]
fn a_limit_of_zero_is_refused() {
    let child = leaf("a").with(|spec| spec.poll_limit = Some(PollLimit::new(Duration::ZERO)));
    let errors = sup("t", [child]).check().expect_err("a wrong spec").0;
    let found: Vec<_> = errors.iter().map(|error| (error.path.as_str(), error.field)).collect();
    assert_eq!(found, [("/t/a", "poll_limit")]);
    assert!(matches!(errors[0].problem, SpecProblem::Refused(_)));
}
