//! Restarts that a child asks for, and the longest run of an attempt. The name of each test is the rule.

use super::enough::{last_step, with_defaults};
use super::shape::{SECOND, group, leaf, millis, secs, sup};
use super::test_driver::{Obeys, TestDriver};
use crate::{ChildDeclaration, Command, Condition, Exit, GiveUp, Input, Limit, Restart, Strategy, Time};
use std::time::Duration;

const MINUTE: Duration = secs(60);

fn request() -> Exit {
    Exit::restart_requested("new settings")
}

/// Makes the child ask for its restart: its body has ended, or is about to.
fn ask_for_restart(driver: &mut TestDriver, path: &str) {
    let (id, attempt) = (driver.id(path), driver.attempt(path));
    driver.input(Input::Ending(id, attempt, request()));
}

#[test]
fn a_child_that_asks_for_its_restart_starts_again_at_once_and_is_not_charged() {
    for restart in [Restart::Permanent, Restart::Transient] {
        let child = with_defaults(leaf("a")).restart(restart).limit(Limit::new(0, MINUTE));
        let mut driver = TestDriver::started(&sup("t", [child]).intensity(0, MINUTE));
        for _ in 0..10 {
            ask_for_restart(&mut driver, "a");
            assert_eq!(driver.log(), ["ask a", "gone a", "start a"]);
        }
        assert_eq!(driver.view("a").restarts, 10);
        assert_eq!(driver.view("a").last_exit.map(|exit| exit.kind()), Some("restart-requested"));
    }
}

#[test]
fn more_than_ten_requests_for_a_restart_in_a_minute_are_ordinary_failures() {
    let child = with_defaults(leaf("a"))
        .limit(Limit::new(1, MINUTE).on_exceeded(GiveUp::Quarantine { retry_after: None }));
    let mut driver = TestDriver::started(&sup("t", [child]));
    for _ in 0..10 {
        driver.exit("a", request());
        assert_eq!(driver.state("a"), "running");
    }
    driver.exit("a", request());
    assert_eq!(driver.state("a"), "backing-off");
    driver.advance(secs(1));
    driver.exit("a", request());
    assert_eq!(driver.state("a"), "quarantined", "two failures are more than the limit");
    // A command forgets the requests too.
    driver.ask("a", Command::Start).expect("it starts");
    driver.exit("a", request());
    assert_eq!(driver.state("a"), "running");
}

#[test]
fn a_minute_after_the_first_request_another_one_is_free() {
    let mut driver = TestDriver::started(&sup("t", [with_defaults(leaf("a"))]));
    for _ in 0..100 {
        driver.exit("a", request());
        assert_eq!(driver.state("a"), "running");
        driver.advance(secs(6) + millis(1));
    }
}

#[test]
fn a_request_for_a_restart_neither_counts_in_the_row_nor_begins_it_anew() {
    let mut driver = TestDriver::started(&sup("t", [with_defaults(leaf("a"))]));
    driver.fail("a");
    driver.advance(secs(1));
    driver.exit("a", request());
    driver.fail("a");
    assert_eq!(last_step(&driver), Some(2));
    // A stable run before the request begins the row anew.
    driver.advance(secs(30));
    driver.exit("a", request());
    driver.fail("a");
    assert_eq!(last_step(&driver), Some(1));
}

#[test]
fn siblings_follow_the_strategy_when_a_child_asks_for_its_restart() {
    let expected: [(Strategy, &[&str]); 3] = [
        (Strategy::OneForOne, &["b"]),
        (Strategy::OneForAll, &["a", "b", "c"]),
        (Strategy::RestForOne, &["b", "c"]),
    ];
    for (strategy, starts) in expected {
        let tree = sup("t", [leaf("a"), leaf("b"), leaf("c")]).strategy(strategy);
        let mut driver = TestDriver::started(&tree);
        ask_for_restart(&mut driver, "b");
        assert_eq!(driver.done("start"), starts, "{strategy:?}");
    }
}

#[test]
fn before_readiness_a_request_for_a_restart_is_a_failed_start_in_a_first_start_and_free_later() {
    let child = || with_defaults(leaf("a")).reports().transient();
    let start = |tree: &ChildDeclaration| {
        let mut driver = TestDriver::new(tree);
        driver.policy("a").ready = false;
        driver.start();
        driver.exit("a", request());
        driver
    };
    assert_eq!(start(&sup("t", [child()])).down_kind(), "start-failed");
    // With retries it is an ordinary failure.
    let mut driver = start(&sup("t", [child()]).retries());
    assert_eq!(driver.state("a"), "backing-off");
    driver.advance(secs(1));
    driver.ready("a");
    // In a later start it is free again.
    driver.exit("a", request());
    driver.exit("a", request());
    assert_eq!(driver.state("a"), "starting");
}

#[test]
fn during_a_stop_a_request_for_a_restart_is_an_ordinary_exit() {
    let mut driver = TestDriver::started(&sup("t", [leaf("a")]));
    driver.obeys("a", Obeys::Test);
    driver.command("a", Command::Stop);
    ask_for_restart(&mut driver, "a");
    driver.exit("a", request());
    assert_eq!(driver.state("a"), "stopped");
    driver.ask("a", Command::Start).expect("it starts");
    driver.stop();
    driver.exit("a", request());
    assert_eq!(driver.down_kind(), "stopped");
}

#[test]
fn a_child_that_ignores_the_stop_after_its_request_was_killed_and_has_failed() {
    let mut driver = TestDriver::started(&sup("t", [with_defaults(leaf("a"))]));
    driver.obeys("a", Obeys::Kill);
    ask_for_restart(&mut driver, "a");
    driver.advance(secs(6));
    assert_eq!(driver.view("a").last_exit.map(|exit| exit.kind()), Some("killed"));
    assert_eq!(last_step(&driver), Some(1));
}

#[test]
fn a_member_of_a_group_that_asks_for_its_restart_runs_again() {
    let mut driver = TestDriver::started(&sup("t", [group("g").members(|group| group.intensity = None)]));
    driver.add_member("g", Some("m")).expect("a member");
    driver.exit("g/m", request());
    assert_eq!(driver.state("g/m"), "running");
}

#[test]
fn an_attempt_that_was_ready_for_its_longest_run_is_stopped_and_has_failed() {
    let limited =
        |restart| with_defaults(leaf("a")).restart(restart).with(|spec| spec.run_within = Some(MINUTE));
    for (restart, then) in [
        (Restart::Permanent, "backing-off"),
        (Restart::Transient, "backing-off"),
        (Restart::Temporary, "finished"),
    ] {
        let mut driver = TestDriver::started(&sup("t", [limited(restart)]));
        driver.advance(MINUTE - millis(1));
        assert_eq!(driver.state("a"), "running");
        driver.advance(millis(1));
        assert_eq!(driver.state("a"), then);
        assert!(matches!(driver.view("a").last_exit, Some(Exit::RunTimeout(MINUTE))));
    }
}

#[test]
fn the_longest_run_counts_from_readiness_and_is_followed_by_a_kill() {
    let child = leaf("a").reports().start_within(secs(50)).stop_within(secs(2));
    let tree = sup("t", [child.with(|spec| spec.run_within = Some(secs(10)))]);
    let mut driver = TestDriver::new(&tree);
    driver.policy("a").ready = false;
    driver.start();
    driver.obeys("a", Obeys::Kill);
    driver.advance(secs(40));
    driver.ready("a");
    driver.log();
    driver.advance(secs(10));
    assert_eq!(driver.log(), ["ask a"]);
    driver.advance(secs(2));
    assert_eq!(driver.log(), ["kill a", "gone a", "start a"]);
    assert_eq!(driver.view("a").last_exit.map(|exit| exit.kind()), Some("run-timeout"));
}

#[test]
fn a_supervisor_may_have_a_longest_run_too() {
    let below = sup("s", [leaf("a")]).with(|spec| spec.run_within = Some(MINUTE));
    let mut driver = TestDriver::started(&sup("t", [below]));
    driver.advance(MINUTE);
    assert_eq!(driver.log(), ["ask s/a", "gone s/a", "start s/a"]);
    assert_eq!(driver.view("s").last_exit.map(|exit| exit.kind()), Some("run-timeout"));
}

#[test]
fn a_longest_run_of_zero_is_refused() {
    let tree = sup("t", [leaf("a").with(|spec| spec.run_within = Some(Duration::ZERO))]);
    let errors = tree.check().expect_err("zero").to_string();
    assert_eq!(errors, "/t/a: run_within: it is zero, so no attempt could run; expected more");
}

#[test]
fn the_end_of_a_run_that_is_seen_late_waits_once_more() {
    let tree = sup("t", [leaf("a").with(|spec| spec.run_within = Some(secs(10)))]);
    let mut driver = TestDriver::started(&tree);
    driver.jump(Time::ZERO.after(MINUTE));
    assert_eq!(driver.state("a"), "running");
    driver.advance(SECOND);
    assert_eq!(driver.view("a").attempt.0, 2);
}

#[test]
fn a_sibling_that_waits_for_the_end_of_a_temporary_child_is_not_started_by_a_request() {
    let tree = sup("t", [leaf("a").temporary(), leaf("b").after("a", Condition::Completed)]).retries();
    let mut driver = TestDriver::started(&tree);
    driver.exit("a", request());
    assert_eq!(driver.states(["a", "b"]), ["finished", "waiting"]);
}

#[test]
fn the_reason_of_a_request_is_a_bounded_text() {
    let long = "é".repeat(crate::MAX_REASON_BYTES);
    let Exit::RestartRequested(request) = Exit::restart_requested(long) else { panic!("a request") };
    let reason = &request.reason;
    assert!(reason.len() <= crate::MAX_REASON_BYTES && reason.ends_with('…'), "{} bytes", reason.len());
    assert!(reason.len() > crate::MAX_REASON_BYTES - 8, "no more is cut than necessary");
}
