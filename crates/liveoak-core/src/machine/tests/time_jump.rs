//! Deadlines that are first seen more than a second late, because the whole process did not run.

use super::enough::last_step;
use super::shape::{SECOND, group, leaf, millis, secs, sup};
use super::test_driver::{Obeys, Policy, TestDriver};
use crate::{Backoff, ChildState, Command, Condition, EventKind, Health, Input, Limit, StopStage, Time};
use std::time::Duration;

/// Suspends the process for `duration`: the driver sees all deadlines of that time with one tick.
fn suspend(driver: &mut TestDriver, duration: Duration) {
    let until = driver.now.after(duration);
    driver.jump(until);
}

fn remaining(driver: &mut TestDriver, path: &str) -> Option<Duration> {
    match driver.view(path).state {
        ChildState::Waiting { remaining, .. }
        | ChildState::Starting { remaining }
        | ChildState::Stopping { remaining, .. } => remaining,
        other => panic!("{path} is {}", other.as_str()),
    }
}

#[test]
fn a_deadline_seen_more_than_a_second_late_is_prolonged_by_at_most_a_second() {
    for (within, further) in [(secs(60), SECOND), (millis(400), millis(400))] {
        let mut driver = TestDriver::new(&sup("t", [leaf("a").reports().start_within(within)]));
        driver.policy("a").ready = false;
        driver.start();
        suspend(&mut driver, secs(3_600));
        assert_eq!((driver.state("a"), remaining(&mut driver, "a")), ("starting", Some(further)));
        driver.ready("a");
        assert_eq!(driver.state("a"), "running");
    }
}

#[test]
fn a_deadline_is_prolonged_once() {
    let mut driver = TestDriver::new(&sup("t", [leaf("a").reports().start_within(secs(60))]));
    driver.policy("a").ready = false;
    driver.start();
    suspend(&mut driver, secs(3_600));
    assert!(driver.down.is_none());
    suspend(&mut driver, secs(3_600));
    assert_eq!(driver.down_kind(), "start-failed");
}

#[test]
fn a_deadline_that_is_seen_at_most_a_second_late_is_judged_immediately() {
    let mut driver = TestDriver::new(&sup("t", [leaf("a").reports().start_within(secs(60))]));
    driver.policy("a").ready = false;
    driver.start();
    suspend(&mut driver, secs(61));
    assert_eq!((driver.down_kind(), driver.count("time-jump")), ("start-failed", 0));
}

#[test]
fn a_new_attempt_has_a_deadline_of_its_own_to_be_prolonged() {
    let mut driver = TestDriver::started(&sup("t", [leaf("a").reports().start_within(secs(60))]));
    driver.policy("a").ready = false;
    driver.fail("a");
    for attempt in 2..5 {
        assert_eq!(driver.attempt("a").0, attempt);
        suspend(&mut driver, secs(100));
        assert_eq!(driver.attempt("a").0, attempt, "it is prolonged");
        driver.advance(SECOND);
    }
    assert_eq!(driver.count("time-jump"), 3);
}

#[test]
fn after_a_suspension_only_a_stuck_child_is_killed_for_a_missed_heartbeat() {
    for stands in [millis(600), millis(1_500), secs(2), secs(100)] {
        let beats = leaf("a").with(|spec| spec.heartbeat = Some(SECOND));
        let stuck = leaf("b").with(|spec| spec.heartbeat = Some(SECOND));
        let mut driver = TestDriver::started(&sup("t", [beats, stuck]));
        driver.advance(secs(10));
        // Their next heartbeats would have come in that time.
        driver.policy("a").beats = false;
        driver.policy("b").beats = false;
        driver.advance(millis(600));
        suspend(&mut driver, stands);
        assert_eq!((driver.attempt("a").0, driver.attempt("b").0), (1, 1), "{stands:?}");
        driver.policy("a").beats = true;
        driver.advance(millis(1_250));
        assert_eq!((driver.attempt("a").0, driver.attempt("b").0), (1, 2), "{stands:?}");
    }
}

#[test]
fn no_timer_is_needed_to_see_that_the_process_was_suspended() {
    let mut driver = TestDriver::started(&sup("t", [leaf("a")]));
    suspend(&mut driver, secs(1_000));
    assert_eq!((driver.machine.poll_deadline(), driver.count("time-jump")), (None, 0));
}

#[test]
fn one_event_of_the_root_has_the_number_of_deadlines_that_were_prolonged() {
    let slow = |name: &str| leaf(name).reports().start_within(secs(60));
    let mut driver = TestDriver::new(&sup("t", [slow("a"), slow("b"), slow("c")]).edges());
    driver.set_default(Policy { ready: false, ..Policy::default() });
    driver.start();
    suspend(&mut driver, secs(100));
    let jumps: Vec<_> = driver.events.iter().filter(|event| event.kind.name() == "time-jump").collect();
    assert_eq!((jumps.len(), jumps[0].path.as_str()), (1, "/t"));
    let EventKind::TimeJump { late, deadlines } = jumps[0].kind else { panic!("no jump") };
    assert_eq!((late, deadlines), (secs(40), 3));
}

#[test]
fn a_stop_takes_at_most_its_budget_and_one_further_wait_after_the_process_was_suspended() {
    for obeys in [Obeys::Kill, Obeys::Nothing] {
        for stands_at in [0, 4, 6, 9] {
            let slow = |name: &str| leaf(name).stop_within(secs(3));
            let inner = sup("s", [slow("a"), sup("i", [slow("b")]).stop_within(secs(4)), group("g")]);
            let mut driver = TestDriver::new(&sup("t", [slow("z"), inner]).stop_within(secs(10)));
            driver.set_default(Policy { obeys, ..Policy::default() });
            driver.start();
            driver.add_member("s/g", Some("m")).expect("room");
            driver.stop();
            driver.advance(secs(stands_at));
            suspend(&mut driver, secs(3_600));
            driver.advance(SECOND);
            assert!(driver.down.is_some(), "{obeys:?}, {stands_at}");
        }
    }
}

#[test]
fn a_kill_does_not_let_a_late_deadline_be_prolonged_once_more() {
    let mut driver = TestDriver::new(&sup("t", []).on_dedicated_runtime().stop_within(Duration::ZERO));
    driver.set_default(Policy { obeys: Obeys::Nothing, ..Policy::default() });
    driver.start();
    driver.stop();
    suspend(&mut driver, secs(4));
    driver.kill();
    assert_eq!((driver.down.is_some(), driver.count("time-jump")), (false, 1));
    suspend(&mut driver, millis(2_100));
    assert_eq!((driver.down_kind(), driver.count("time-jump")), ("abandoned", 1));
}

#[test]
fn a_stop_is_prolonged_once_however_often_the_process_is_suspended() {
    for obeys in [Obeys::Kill, Obeys::Nothing] {
        let inner = sup("s", [leaf("a"), group("g")]).stop_within(secs(8));
        let mut driver = TestDriver::new(&sup("t", [leaf("z"), inner]).stop_within(secs(10)));
        driver.set_default(Policy { obeys, ..Policy::default() });
        driver.start();
        driver.add_member("s/g", Some("m")).expect("room");
        driver.stop();
        driver.advance(secs(4));
        // Within the further second, the plan asks all after 500 ms, kills after 900 ms and abandons after 1 s.
        suspend(&mut driver, secs(3_600));
        driver.advance(millis(510));
        assert!(driver.down.is_none(), "{obeys:?}");
        suspend(&mut driver, secs(3_600));
        assert!(driver.down.is_some(), "{obeys:?}");
    }
}

#[test]
fn a_child_that_was_asked_before_the_process_was_suspended_can_end_by_itself_afterwards() {
    let tree = sup("t", [sup("s", [leaf("a").stop_within(secs(5))])]).stop_within(secs(10));
    let mut driver = TestDriver::started(&tree);
    driver.obeys("s/a", Obeys::Test);
    driver.stop();
    driver.advance(SECOND);
    suspend(&mut driver, secs(3_600));
    driver.advance(millis(400));
    driver.exit("s/a", crate::Exit::Stopped);
    assert!(driver.report().is_clean(), "{:?}", driver.report());
}

#[test]
fn a_leaf_that_is_stopped_alone_is_killed_one_further_wait_after_the_process_was_suspended() {
    let mut driver = TestDriver::started(&sup("t", [leaf("a").stop_within(secs(5))]));
    driver.obeys("a", Obeys::Kill);
    let request = driver.command("a", Command::Stop);
    suspend(&mut driver, secs(100));
    assert_eq!(remaining(&mut driver, "a"), Some(SECOND));
    driver.advance(SECOND);
    let Some(Ok(crate::Outcome::Stopped(report))) = driver.answer(request) else { panic!("no answer") };
    assert_eq!(report.entries[0].stage, StopStage::Killed);
}

#[test]
fn the_time_during_which_the_process_was_suspended_does_not_fail_a_first_start_that_waits() {
    let web = leaf("web").after("db", Condition::Healthy).start_within(secs(10));
    let mut driver = TestDriver::new(&sup("t", [leaf("db").reports(), web]).edges());
    driver.policy("db").ready = false;
    driver.start();
    driver.health("db", Health::Degraded);
    driver.ready("db");
    suspend(&mut driver, secs(100));
    assert_eq!(remaining(&mut driver, "web"), Some(SECOND));
    driver.health("db", Health::Healthy);
    assert_eq!(driver.state("web"), "running");
}

#[test]
fn the_end_of_a_backoff_does_not_count_as_a_deadline_and_is_not_prolonged() {
    let mut driver = TestDriver::started(&sup("t", [leaf("a").delayed(secs(10))]));
    driver.fail("a");
    suspend(&mut driver, secs(100));
    assert_eq!((driver.state("a"), driver.count("time-jump")), ("running", 0));
}

#[test]
fn only_a_tick_judges_deadlines() {
    let mut driver =
        TestDriver::new(&sup("t", [leaf("a").reports().start_within(secs(60)), leaf("b")]).edges());
    driver.policy("a").ready = false;
    driver.start();
    driver.now = Time::ZERO.after(secs(100));
    driver.command("b", Command::Restart);
    driver.input(Input::Tick);
    assert_eq!(driver.state("a"), "starting");
}

#[test]
fn the_end_of_a_wait_in_a_first_start_is_prolonged_once() {
    let web = leaf("web").after("db", Condition::Completed).start_within(secs(10));
    let mut driver = TestDriver::new(&sup("t", [leaf("db").temporary(), web]).edges());
    driver.start();
    suspend(&mut driver, secs(100));
    assert_eq!(driver.count("start-failed"), 0);
    suspend(&mut driver, secs(100));
    driver.advance(SECOND);
    assert_eq!((driver.count("time-jump"), driver.down_kind()), (1, "start-failed"));
}

#[test]
fn a_wait_in_a_first_start_is_prolonged_once_even_if_it_pauses() {
    let web = leaf("web").after("db", Condition::Healthy).start_within(secs(10));
    let db = leaf("db").delayed(SECOND).limit(Limit::unlimited());
    let mut driver = TestDriver::new(&sup("t", [db.reports(), web]).edges());
    driver.policy("db").ready = false;
    driver.start();
    driver.health("db", Health::Degraded);
    driver.ready("db");
    suspend(&mut driver, secs(100));
    assert_eq!((remaining(&mut driver, "web"), driver.count("time-jump")), (Some(SECOND), 1));
    // While the dependency starts again, the time of the wait does not run.
    driver.command("db", Command::Restart);
    driver.health("db", Health::Degraded);
    driver.ready("db");
    assert_eq!(driver.state("web"), "waiting");
    suspend(&mut driver, secs(100));
    assert_eq!((driver.down_kind(), driver.count("time-jump")), ("start-failed", 1));
}

/// Returns a tree in which the child `a` has failed once. The other child has a deadline, which shows that the process did
/// not run.
fn failed_once() -> TestDriver {
    let beats = leaf("beats").with(|child| child.heartbeat = Some(secs(4)));
    let backoff = Backoff { from: millis(10), to: millis(10), reset_after: secs(10), ..Backoff::default() };
    let a = leaf("a").limit(Limit::unlimited()).with(|child| child.backoff = Some(backoff));
    let mut driver = TestDriver::started(&sup("t", [a, beats]));
    driver.fail("a");
    driver.advance(SECOND);
    driver
}

/// Returns the number of the backoff after a child has failed once, run for `runs`, was suspended, run `again`, and failed.
fn step_after(runs: Duration, suspended: Duration, again: Duration) -> Option<u32> {
    let mut driver = failed_once();
    driver.advance(runs);
    if !suspended.is_zero() {
        suspend(&mut driver, suspended);
    }
    driver.advance(again);
    driver.fail("a");
    last_step(&driver)
}

#[test]
fn time_in_which_the_process_did_not_run_does_not_make_an_attempt_stable() {
    const HOUR: Duration = secs(3_600);
    assert_eq!(step_after(secs(11), Duration::ZERO, Duration::ZERO), Some(1), "a stable run");
    assert_eq!(step_after(secs(2), Duration::ZERO, Duration::ZERO), Some(2), "no stable run");
    assert_eq!(step_after(secs(2), HOUR, secs(2)), Some(2), "the hour does not count");
    assert_eq!(step_after(secs(2), HOUR, secs(11)), Some(1), "stable after the suspension");
}

#[test]
fn an_exit_that_is_reported_before_the_late_deadlines_are_seen_does_not_end_a_stable_run() {
    let mut driver = failed_once();
    driver.now = driver.now.after(secs(3_600));
    driver.fail("a");
    assert_eq!(last_step(&driver), Some(2));
}
