//! What a stable run is: of a leaf, of a group, of a supervisor. The name of each test is the rule.

use super::enough::{last_step, until_it_runs, with_defaults};
use super::shape::{SECOND, group, leaf, millis, secs, sup};
use super::test_driver::{Obeys, TestDriver};
use crate::{Backoff, ChildDeclaration, Command, Exit, GiveUp, Limit, Strategy};
use std::time::Duration;

/// Returns a child that reports readiness, with steps that can be seen and no limit in the way.
fn observed(name: &str) -> ChildDeclaration {
    let backoff = Backoff { from: millis(10), to: millis(10), reset_after: secs(10), ..Backoff::default() };
    leaf(name).limit(Limit::unlimited()).with(|child| child.backoff = Some(backoff))
}

#[test]
fn an_attempt_that_was_never_ready_is_not_stable_however_long_it_lasted() {
    for within in [secs(30), Duration::MAX] {
        let mut driver = TestDriver::started(&sup("t", [observed("a").reports().start_within(within)]));
        driver.fail("a");
        driver.policy("a").ready = false;
        driver.advance(secs(1));
        for expected in 2..6 {
            driver.advance(secs(25));
            driver.fail("a");
            assert_eq!(last_step(&driver), Some(expected));
            driver.advance(secs(1));
        }
        // The time until it was ready does not count either.
        driver.advance(secs(25));
        driver.ready("a");
        driver.advance(millis(9_999));
        driver.fail("a");
        assert_eq!(last_step(&driver), Some(6));
        driver.advance(secs(1));
        driver.policy("a").ready = true;
        driver.ready("a");
        driver.advance(secs(10));
        driver.fail("a");
        assert_eq!(last_step(&driver), Some(1));
    }
}

#[test]
fn the_start_timeout_of_a_restart_counts_in_the_row() {
    let child = with_defaults(leaf("a").reports().start_within(secs(30)));
    let mut driver = TestDriver::started(&sup("t", [child]));
    driver.fail("a");
    driver.policy("a").ready = false;
    driver.advance(secs(3_600));
    assert_eq!(driver.down_kind(), "gave-up");
}

#[test]
fn the_time_between_a_request_to_stop_and_the_end_does_not_make_a_run_stable() {
    let tree = sup("t", [observed("a").stop_within(secs(60)), leaf("b")]).strategy(Strategy::OneForAll);
    for (ready_for, expected) in [(millis(9_999), 2), (secs(10), 1)] {
        let mut driver = TestDriver::started(&tree);
        driver.obeys("a", Obeys::Test);
        driver.fail("a");
        assert!(until_it_runs(&mut driver, "a"));
        driver.advance(ready_for);
        driver.fail("b");
        driver.advance(secs(30));
        driver.exit("a", Exit::Stopped);
        driver.fail("a");
        assert_eq!(last_step(&driver), Some(expected), "ready for {ready_for:?}");
    }
}

#[test]
fn stability_is_judged_however_the_attempt_ended() {
    for how in ["restart set", "command", "killed", "heartbeat", "body ended", "abandoned"] {
        let child = observed("a").with(|child| {
            child.heartbeat = Some(secs(4));
            child.stop_within = secs(1);
        });
        let tree = sup("t", [child, leaf("b")]).strategy(Strategy::OneForAll);
        let mut driver = TestDriver::started(&tree);
        driver.fail("a");
        driver.advance(secs(15));
        match how {
            "restart set" => driver.fail("b"),
            "command" => _ = driver.command("a", Command::Restart),
            "killed" => {
                driver.obeys("a", Obeys::Kill);
                driver.command("a", Command::Restart);
            }
            "abandoned" => {
                driver.obeys("a", Obeys::Nothing);
                driver.command("a", Command::Restart);
            }
            "heartbeat" => driver.policy("a").beats = false,
            _ => {
                let (id, attempt) = (driver.id("a"), driver.attempt("a"));
                driver.input(crate::Input::Ending(id, attempt, Exit::failed("boom")));
            }
        }
        driver.advance(secs(6));
        if how != "heartbeat" && how != "body ended" {
            driver.fail("a");
        }
        assert_eq!(last_step(&driver), Some(1), "{how}");
    }
}

#[test]
fn a_child_without_a_heartbeat_is_not_stable_while_its_first_heartbeat_is_awaited() {
    let child = observed("a").with(|child| child.heartbeat = Some(secs(40)));
    let mut driver = TestDriver::started(&sup("t", [child]));
    driver.policy("a").beats = false;
    driver.advance(secs(41 * 4));
    assert!(last_step(&driver) > Some(2), "{:?}", last_step(&driver));
}

#[test]
fn a_child_that_has_no_backoff_also_needs_ten_seconds_for_a_stable_run() {
    for (ran, given_up) in [(millis(9_999), true), (secs(10), false)] {
        let child = leaf("a").limit(Limit::new(3, Duration::from_nanos(1)));
        let mut driver = TestDriver::started(&sup("t", [child]));
        for _ in 0..20 {
            if driver.down.is_none() {
                driver.advance(ran);
                driver.fail("a");
            }
        }
        assert_eq!(driver.down.is_some(), given_up, "{ran:?}");
    }
}

/// What a test does with a supervisor `s` of three children, each ready at once, before it gives up.
type Act = fn(&mut TestDriver);

#[test]
fn a_supervisor_is_stable_once_each_declared_child_was_stable_succeeded_or_was_stopped_by_command() {
    let still = |driver: &mut TestDriver| driver.advance(secs(1));
    let long = |driver: &mut TestDriver| driver.advance(secs(10));
    let table: [(&str, Act, bool); 9] = [
        ("all held", long, true),
        ("none held", still, false),
        (
            "one held only before it failed",
            |d| {
                d.advance(secs(10));
                d.fail("s/b");
            },
            true,
        ),
        (
            "one never held",
            |d| {
                for _ in 0..9 {
                    d.advance(secs(9));
                    d.fail("s/b");
                }
            },
            false,
        ),
        (
            "one succeeded",
            |d| {
                d.advance(secs(9));
                d.complete("s/b");
                d.advance(secs(1));
            },
            true,
        ),
        (
            "one was stopped by a person",
            |d| {
                d.advance(secs(5));
                d.command("s/b", Command::Stop);
                d.advance(secs(5));
            },
            true,
        ),
        (
            "one is quarantined and never held",
            |d| {
                d.advance(secs(5));
                d.fail("s/q");
                d.advance(secs(5));
            },
            false,
        ),
        (
            "one is quarantined and held before",
            |d| {
                d.advance(secs(10));
                d.fail("s/q");
            },
            true,
        ),
        (
            "an added child does not count",
            |d| {
                d.advance(secs(9));
                d.add("s", &leaf("added")).expect("room");
                d.advance(secs(1));
            },
            true,
        ),
    ];
    for (case, act, stable) in table {
        let once = Limit::new(0, SECOND);
        let quarantined = leaf("q").limit(once.on_exceeded(GiveUp::QUARANTINE));
        let b = leaf("b").transient().limit(Limit::unlimited());
        let end = leaf("end").limit(once).temporary();
        let nested = sup("s", [leaf("a").limit(once), b, quarantined, end]);
        let nested = nested.with(|child| {
            child.backoff = Some(Backoff {
                from: millis(10),
                to: millis(10),
                reset_after: secs(10),
                ..Backoff::default()
            });
            child.limit = Some(Limit::unlimited());
        });
        let mut driver = TestDriver::started(&sup("t", [nested]));
        driver.complete("s/end");
        driver.fail("s/a");
        driver.advance(millis(10));
        assert_eq!(last_step(&driver), Some(1), "{case}: the first failure");
        driver.complete("s/end");
        act(&mut driver);
        driver.fail("s/a");
        assert_eq!(last_step(&driver), Some(if stable { 1 } else { 2 }), "{case}");
    }
}

#[test]
fn a_group_and_an_empty_supervisor_are_stable_when_they_were_ready_for_long_enough_whatever_their_members_do()
{
    for is_group in [true, false] {
        for (ran, expected) in [(millis(9_999), 2), (secs(10), 1)] {
            let child = if is_group { group("g") } else { sup("g", []) };
            let child = child.on_dedicated_runtime().with(|child| child.backoff = observed("x").spec.backoff);
            let mut driver = TestDriver::started(&sup("t", [child.limit(Limit::unlimited())]));
            driver.fail("g");
            assert!(until_it_runs(&mut driver, "g"));
            if is_group {
                driver.add_member("g", Some("m")).expect("room");
                driver.fail("g/m");
            }
            driver.advance(ran);
            driver.fail("g");
            assert_eq!(last_step(&driver), Some(expected), "group {is_group}, {ran:?}");
        }
    }
}

#[test]
fn a_nested_supervisor_that_keeps_running_is_judged_together_with_the_supervisor_above_it() {
    for (ran, expected) in [(secs(9), 2), (secs(10), 1)] {
        let limit = Limit::new(0, SECOND);
        let inner = sup("s", [sup("inner", [leaf("x")]), leaf("job").temporary(), leaf("a").limit(limit)]);
        let inner = inner.with(|child| child.backoff = observed("x").spec.backoff).limit(Limit::unlimited());
        let mut driver = TestDriver::started(&sup("t", [inner]));
        driver.fail("s/a");
        driver.advance(millis(10));
        driver.complete("s/job");
        driver.advance(ran);
        driver.fail("s/a");
        assert_eq!(last_step(&driver), Some(expected), "{ran:?}");
    }
}

#[test]
fn a_child_that_runs_once_counts_only_for_the_attempt_of_its_supervisor_that_ran_it() {
    let once = leaf("once").temporary().with(|child| (child.once, child.keep) = (true, false));
    let nested = sup("s", [once, leaf("a").limit(Limit::new(0, SECOND))]);
    let nested = nested.with(|child| child.backoff = observed("x").spec.backoff).limit(Limit::unlimited());
    for first in [Exit::Completed, Exit::failed("boom")] {
        let mut driver = TestDriver::started(&sup("t", [nested.clone()]));
        driver.exit("s/once", first.clone());
        driver.fail("s/a");
        driver.advance(secs(1));
        for (ran, expected) in [(secs(9), 2), (secs(9), 3), (secs(10), 1), (secs(9), 2)] {
            driver.advance(ran);
            driver.fail("s/a");
            assert_eq!(last_step(&driver), Some(expected), "{first}, then {ran:?}");
            assert!(until_it_runs(&mut driver, "s/a"));
        }
    }
}
