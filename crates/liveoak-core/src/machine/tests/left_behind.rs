//! What an earlier attempt, report or command must not leave behind for a later one. The name of each test is the rule.

use super::enough::last_step;
use super::shape::{SECOND, leaf, millis, name, secs, sup};
use super::test_driver::{Checked, Obeys, TestDriver, word};
use crate::{
    Backoff, CheckKind, CheckSpec, ChildDeclaration, Command, Condition, Edge, GiveUp, Input, Limit, Moment,
    Need, Strategy, Survivors, Wanted,
};
use std::sync::Arc;
use std::time::Duration;

const NEVER_AGAIN: Limit = Limit::new(0, SECOND);
const RETRY: Duration = secs(300);

/// Returns a leaf that reports that it is ready, and then has to pass a startup check.
fn checked_at_start(text: &str) -> ChildDeclaration {
    let check =
        CheckSpec { every: SECOND, timeout: millis(400), ..CheckSpec::new(name("s"), CheckKind::Startup) };
    leaf(text).reports().checked(check).limit(Limit::unlimited())
}

/// Returns a driver for a started tree, in which the child at this path is ready only when the test says so.
fn started_without(tree: &ChildDeclaration, path: &str) -> TestDriver {
    let mut driver = TestDriver::new(tree);
    driver.policy(path).ready = false;
    driver.start();
    driver
}

fn want(driver: &mut TestDriver, path: &str, wanted: Wanted) -> crate::RequestId {
    let (request, id) = (driver.request(), driver.id(path));
    driver.input(Input::Want { request, id, wanted });
    request
}

#[test]
fn a_child_that_succeeded_before_it_was_ready_counts_for_the_stability_of_its_supervisor() {
    let once = leaf("once").reports().temporary().with(|child| (child.once, child.keep) = (true, false));
    let s = sup("s", [leaf("a").reports().limit(NEVER_AGAIN), once]).limit(Limit::unlimited());
    let s = s.with(|child| child.backoff = Some(Backoff { reset_after: secs(10), ..Backoff::default() }));
    let mut driver = TestDriver::new(&sup("t", [s]).retries());
    driver.policy("s/a").ready = false;
    driver.policy("s/once").ready = false;
    driver.start();
    // The first attempt of the supervisor fails before it has started its second child.
    driver.fail("s/a");
    assert_eq!(last_step(&driver), Some(1));
    driver.advance(secs(2));
    driver.command("s/a", Command::Stop);
    driver.complete("s/once");
    driver.add("s", &leaf("b").limit(NEVER_AGAIN)).expect("room");
    driver.fail("s/b");
    assert_eq!(last_step(&driver), Some(1), "the success made it stable");
}

#[test]
fn the_checks_of_an_attempt_are_those_of_no_later_attempt() {
    let mut driver = started_without(&sup("t", [checked_at_start("a")]), "a");
    for attempt in 1..4 {
        assert_eq!(driver.state("a"), "starting", "attempt {attempt}");
        driver.ready("a");
        driver.advance(millis(1));
        assert_eq!(driver.state("a"), "running", "attempt {attempt}");
        driver.fail("a");
    }
    assert_eq!(driver.tries, ["a.s"; 3]);
}

#[test]
fn a_second_report_that_a_child_is_ready_does_not_begin_its_checks_again() {
    let mut driver = started_without(&sup("t", [checked_at_start("a")]), "a");
    driver.checked.insert("a.s".to_owned(), Checked::Silent);
    for _ in 0..5 {
        driver.ready("a");
        driver.advance(millis(100));
    }
    assert_eq!(driver.state("a"), "starting");
    assert_eq!(driver.tries, ["a.s"]);
}

#[test]
fn after_a_stop_for_a_need_a_failure_holds_up_the_restart_set_again() {
    let c = leaf("c").delayed(secs(10)).limit(Limit::unlimited()).with(|spec| {
        spec.after.push(Edge { child: name("db"), condition: Condition::Ready });
        spec.needs.push(Need { child: name("db"), grace: secs(5) });
    });
    let tree = sup("t", [leaf("db"), c, leaf("d")]).strategy(Strategy::RestForOne).edges();
    let mut driver = TestDriver::started(&tree);
    let _ = driver.ask("db", Command::Stop);
    driver.advance(secs(5));
    assert_eq!(driver.states(["c", "d"]), ["backing-off", "running"]);
    driver.ask("db", Command::Start).expect("it starts");
    driver.advance(secs(10));
    assert_eq!(driver.states(["c", "d"]), ["running", "running"]);
    driver.fail("c");
    assert_eq!(driver.states(["c", "d"]), ["backing-off", "waiting"]);
}

#[test]
fn a_command_that_came_while_a_ready_attempt_ended_is_answered_by_the_next_attempt() {
    let a = leaf("a").limit(Limit::unlimited()).with(|child| child.heartbeat = Some(secs(4)));
    let mut driver = TestDriver::started(&sup("t", [a.delayed(secs(10))]));
    driver.policy("a").beats = false;
    driver.obeys("a", Obeys::Test);
    driver.advance(secs(4));
    assert_eq!(driver.state("a"), "stopping");
    let request = want(&mut driver, "a", Wanted::Yes);
    driver.exit("a", crate::Exit::Killed);
    assert_eq!((driver.state("a"), driver.answer(request).is_none()), ("backing-off", true));
    driver.advance(secs(10));
    assert_eq!(driver.answer(request).as_ref().map(word), Some("ready"));
}

#[test]
fn a_supervisor_that_is_done_as_soon_as_it_is_ready_was_ready() {
    let s = sup("s", [leaf("a").reports().transient()]).transient();
    let s = s.rules(|rules| rules.end_when_done = true);
    let mut driver = started_without(&sup("t", [s, leaf("b")]), "s/a");
    let request = driver.watch("s", Moment::Ready);
    driver.complete("s/a");
    assert_eq!(driver.state("s"), "finished");
    assert_eq!(driver.answer(request).as_ref().map(word), Some("ready"));
}

#[test]
fn after_a_start_that_processes_prevented_the_ordinary_rules_decide_about_a_failed_start() {
    let a = leaf("a").reports().limit(Limit::unlimited()).stop_within(secs(1));
    let mut driver = TestDriver::started(&sup("t", [a]));
    let (id, attempt) = (driver.id("a"), driver.attempt("a"));
    let survivors = Arc::new(Survivors { pids: vec![7], refused: None });
    driver.input(Input::MaySurvive(id, attempt, survivors));
    driver.obeys("a", Obeys::Nothing);
    driver.command("a", Command::Stop);
    let start = driver.command("a", Command::Start);
    driver.advance(secs(60));
    assert_eq!(driver.state("a"), "quarantined");
    assert_eq!(driver.answer(start).as_ref().map(word), Some("still runs"));
    driver.policy("a").ready = false;
    driver.input(Input::Gone(id, attempt));
    assert_eq!(driver.state("a"), "starting");
    driver.fail("a");
    assert_eq!(driver.state("a"), "starting", "no command waits for this start any more");
}

#[test]
fn a_wait_for_the_health_of_a_running_child_does_not_blame_its_earlier_exit() {
    let c = leaf("c").after("b", Condition::Healthy).start_within(secs(5));
    let tree = sup("t", [leaf("b").limit(Limit::unlimited()), leaf("x").reports(), c]);
    let mut driver = started_without(&tree, "x");
    driver.fail("b");
    driver.health("b", crate::Health::Degraded);
    driver.ready("x");
    driver.advance(secs(5));
    let (exit, _) = driver.down.as_ref().expect("the start has failed");
    let text = exit.to_string();
    assert!(text.ends_with("which is ready but was not healthy in time"), "{text}");
}

#[test]
fn a_kill_of_the_tree_is_the_command_that_began_its_end() {
    let mut driver = TestDriver::started(&sup("t", [leaf("a")]));
    driver.kill();
    let end = driver.machine.end_command().expect("a command began the end");
    assert_eq!(end.command, "kill");
}

#[test]
fn a_trial_that_a_command_stops_cannot_be_released() {
    let q = leaf("q").limit(NEVER_AGAIN.on_exceeded(GiveUp::Quarantine { retry_after: Some(RETRY) }));
    let mut driver = TestDriver::started(&sup("t", [q.stop_within(secs(60))]));
    driver.fail("q");
    driver.advance(RETRY);
    assert!(driver.view("q").trial);
    driver.obeys("q", Obeys::Test);
    driver.command("q", Command::Stop);
    assert_eq!(word(&driver.ask("q", Command::Release)), "not quarantined");
    driver.exit("q", crate::Exit::Stopped);
    assert_eq!(driver.state("q"), "stopped");
}

#[test]
fn a_start_by_command_replaces_the_start_by_a_mode() {
    let mut driver = TestDriver::started(&sup("t", [leaf("a").reports().stop_within(secs(60))]));
    want(&mut driver, "a", Wanted::No);
    assert_eq!(driver.state("a"), "not-wanted");
    driver.policy("a").ready = false;
    want(&mut driver, "a", Wanted::IfItStarts);
    driver.obeys("a", Obeys::Test);
    driver.command("a", Command::Stop);
    let start = driver.command("a", Command::Start);
    driver.exit("a", crate::Exit::Stopped);
    assert_eq!(driver.state("a"), "starting");
    driver.fail("a");
    assert_eq!(driver.answer(start).as_ref().map(word), Some("failed"));
    assert_eq!(driver.state("a"), "stopped", "a mode would leave it unwanted");
}
