//! OTP's `supervisor`, rows C19 to C37: deciding about an exit and restarting, with our deviations.
//! The complete table of C19 to C21 is in `matrix.rs`.

use super::shape::{SECOND, group, leaf, millis, secs, sup};
use super::test_driver::{TestDriver, word};
use crate::{Attempt, ChildId, Command, Exit, Input, Limit, Restart, Strategy};

const GROUPS: [Strategy; 2] = [Strategy::OneForAll, Strategy::RestForOne];

#[test]
fn c22_an_exit_without_a_restart_restarts_no_sibling_under_any_strategy() {
    for strategy in GROUPS {
        for (restart, exit) in [
            (Restart::Temporary, Exit::failed("boom")),
            (Restart::Temporary, Exit::Completed),
            (Restart::Transient, Exit::Completed),
            (Restart::Permanent, Exit::Ignored),
        ] {
            let tree = sup("t", [leaf("a"), leaf("b").restart(restart), leaf("c")]).strategy(strategy);
            let mut driver = TestDriver::started(&tree);
            driver.exit("b", exit);
            assert_eq!(driver.log(), ["gone b"]);
        }
    }
}

#[test]
fn c23_temporary_siblings_in_a_restart_set_are_stopped_and_not_started_again() {
    for strategy in GROUPS {
        let tree = sup("t", [leaf("a"), leaf("b").temporary(), leaf("c")]).strategy(strategy);
        let mut driver = TestDriver::started(&tree);
        driver.add("", &leaf("d").temporary()).expect("a good spec");
        driver.log();
        driver.fail("a");
        assert_eq!(
            driver.log(),
            [
                "gone a", "ask d", "gone d", "forget d", "ask c", "gone c", "ask b", "gone b", "start a",
                "start c"
            ]
        );
        assert_eq!(driver.states(["a", "b", "c", "d"]), ["running", "finished", "running", "gone"]);
    }
}

#[test]
fn c24_an_exit_report_about_no_child_changes_nothing() {
    let mut driver = TestDriver::started(&sup("t", [leaf("a")]));
    let before = driver.events.len();
    for (slot, serial) in [(7, 0), (1, 9), (u32::MAX, 0)] {
        let id = ChildId { slot, serial };
        driver.input(Input::Exited(id, Attempt(1), Exit::Killed));
    }
    assert_eq!(driver.events.len(), before);
}

#[test]
fn c25_the_restart_of_a_set_is_one_entry_and_each_retry_of_a_failed_start_is_one_more() {
    for strategy in GROUPS {
        let tree = sup("t", [leaf("a").reports(), leaf("b"), leaf("c")]).strategy(strategy);
        let mut driver = TestDriver::started(&tree.intensity(3, secs(60)));
        driver.policy("a").ready = false;
        for entries in 1..=3 {
            driver.fail("a");
            assert_eq!(driver.machine.supervisor(0).window.len(), entries);
        }
        driver.fail("a");
        assert_eq!(driver.down_kind(), "gave-up");
    }
}

#[test]
fn c26_an_intensity_allows_that_many_restarts_and_a_restart_one_period_old_counts() {
    for (gap, down) in [(secs(5), true), (secs(5) + millis(1), false)] {
        let mut driver = TestDriver::started(&sup("t", [leaf("a")]).intensity(1, secs(5)));
        driver.fail("a");
        driver.advance(gap);
        driver.fail("a");
        assert_eq!(driver.down.is_some(), down, "{gap:?}");
    }
}

#[test]
fn c27_a_supervisor_whose_limit_is_exceeded_stops_all_children_and_fails() {
    let mut driver = TestDriver::started(&sup("t", [leaf("a"), leaf("b"), leaf("c")]).intensity(0, SECOND));
    driver.fail("b");
    assert_eq!(driver.log(), ["gone b", "ask c", "gone c", "ask a", "gone a", "down"]);
    let (exit, _) = driver.down.as_ref().expect("down");
    assert!(exit.is_failure());
    assert_eq!(
        exit.to_string(),
        "gave up on /t/b: 1 restarts within 1s are more than the limit of its supervisor, 0; \
         its last exit: failed: boom"
    );
}

#[test]
fn c28_a_supervisor_that_gave_up_is_restarted_by_its_own_supervisor_unless_temporary_and_loses_what_was_added()
 {
    for (restart, state) in
        [(Restart::Permanent, "running"), (Restart::Transient, "running"), (Restart::Temporary, "finished")]
    {
        let nested = sup("s", [leaf("a"), group("g")]).intensity(0, SECOND).restart(restart);
        let mut driver = TestDriver::started(&sup("t", [nested]));
        driver.add("s", &leaf("added")).expect("a good spec");
        driver.add_member("s/g", Some("m")).expect("room");
        driver.fail("s/a");
        assert_eq!(driver.states(["s", "s/added", "s/g/m"]), [state, "gone", "gone"], "{restart:?}");
        assert_eq!(driver.view("s").last_exit.map(|exit| exit.kind()), Some("gave-up"));
    }
}

#[test]
fn c29_one_for_one_starts_the_failed_child_only_and_siblings_keep_their_attempts() {
    let mut driver = TestDriver::started(&sup("t", [leaf("a"), leaf("b"), leaf("c")]));
    driver.fail("b");
    assert_eq!(["a", "b", "c"].map(|child| driver.view(child).attempt.0), [1, 2, 1]);
}

#[test]
fn c30_one_for_all_starts_finished_transient_children_but_not_children_stopped_by_command() {
    let tree = sup("t", [leaf("done").transient(), leaf("off"), leaf("a"), leaf("no")]);
    let mut driver = TestDriver::started(&tree.strategy(Strategy::OneForAll));
    driver.complete("done");
    driver.exit("no", Exit::Ignored);
    driver.ask("off", Command::Stop).expect("stopped");
    driver.log();
    driver.fail("a");
    assert_eq!(driver.log(), ["gone a", "start done", "start a", "start no"]);
    assert_eq!(driver.state("off"), "stopped");
    assert_eq!(word(&driver.ask("off", Command::Start)), "ready");
}

#[test]
fn c31_rest_for_one_leaves_earlier_children_alone() {
    let mut driver =
        TestDriver::started(&sup("t", ["a", "b", "c", "d"].map(leaf)).strategy(Strategy::RestForOne));
    driver.fail("c");
    assert_eq!(driver.log(), ["gone c", "ask d", "gone d", "start c", "start d"]);
    driver.fail("d");
    assert_eq!(driver.log(), ["gone d", "start d"]);
}

#[test]
fn c32_a_start_that_fails_during_a_restart_is_counted_and_retried_after_a_backoff() {
    let mut driver = TestDriver::started(&sup("t", [leaf("a").reports().delayed(secs(10)), leaf("b")]));
    driver.policy("a").ready = false;
    driver.fail("a");
    driver.advance(secs(10));
    driver.fail("a");
    assert_eq!(driver.state("a"), "backing-off");
    assert_eq!(word(&driver.ask("b", Command::Restart)), "ready");
    driver.log();
    driver.stop();
    assert_eq!(driver.log(), ["ask b", "gone b", "down"]);
}

#[test]
fn c33_under_one_for_all_a_failure_during_a_restart_stops_the_restarted_children_again() {
    let tree = sup("t", [leaf("a"), leaf("b").reports(), leaf("c")]).strategy(Strategy::OneForAll);
    let mut driver = TestDriver::started(&tree);
    driver.policy("b").ready = false;
    driver.fail("a");
    driver.log();
    driver.fail("b");
    assert_eq!(driver.log(), ["gone b", "ask a", "gone a", "start a", "start b"]);
}

#[test]
fn c34_under_rest_for_one_a_failure_of_a_later_child_during_a_restart_leaves_earlier_children_up() {
    let tree = sup("t", [leaf("a"), leaf("b").reports(), leaf("c")]).strategy(Strategy::RestForOne);
    let mut driver = TestDriver::started(&tree);
    driver.policy("b").ready = false;
    driver.fail("a");
    driver.log();
    driver.fail("b");
    assert_eq!(driver.log(), ["gone b", "start b"]);
    assert_eq!(driver.states(["a", "b", "c"]), ["running", "starting", "waiting"]);
}

#[test]
fn c35_while_a_retry_is_pending_later_children_of_the_restart_set_are_down_and_earlier_ones_run() {
    let tree = sup("t", [leaf("a"), leaf("b").delayed(secs(10)), leaf("c")]).strategy(Strategy::RestForOne);
    let mut driver = TestDriver::started(&tree);
    driver.fail("b");
    assert_eq!(driver.states(["a", "b", "c"]), ["running", "backing-off", "waiting"]);
}

#[test]
fn c36_a_child_that_is_not_needed_at_a_restart_is_absent_and_a_group_removes_it() {
    let mut driver = TestDriver::started(&sup("t", [leaf("a").reports(), group("g")]));
    driver.policy("a").ready = false;
    driver.fail("a");
    driver.exit("a", Exit::Ignored);
    assert_eq!(driver.state("a"), "ignored");
    driver.add_member("g", Some("m")).expect("room");
    driver.fail("g/m");
    driver.exit("g/m", Exit::Ignored);
    assert_eq!(driver.state("g/m"), "gone");
}

#[test]
fn c37_a_group_restarts_the_member_that_failed_and_no_other() {
    let mut driver = TestDriver::started(&group("t"));
    driver.add_member("", Some("x")).expect("room");
    driver.add_member("", Some("y")).expect("room");
    let id = driver.id("x");
    driver.log();
    driver.fail("x");
    assert_eq!(driver.log(), ["gone x", "start x"]);
    assert_eq!(driver.id("x"), id);
}

#[test]
fn the_limit_of_a_child_and_the_intensity_of_its_supervisor_both_apply() {
    let tree = sup("t", [leaf("a").limit(Limit::new(1, secs(60))), leaf("b").limit(Limit::unlimited())]);
    let mut driver = TestDriver::started(&tree.intensity(3, secs(60)));
    for child in ["b", "b", "a"] {
        driver.fail(child);
    }
    assert!(driver.down.is_none());
    driver.fail("b");
    let (Exit::GaveUp(gave_up), _) = driver.down.clone().expect("down") else { panic!("another exit") };
    assert!(!gave_up.own_limit);
    assert_eq!((gave_up.path.as_str(), gave_up.count), ("/t/b", 4));
}

#[test]
fn a_start_command_resets_the_counts_of_a_quarantined_child() {
    let limit = Limit::new(1, secs(60)).on_exceeded(crate::GiveUp::QUARANTINE);
    let mut driver = TestDriver::started(&sup("t", [leaf("a").limit(limit)]));
    driver.fail("a");
    driver.fail("a");
    assert_eq!(driver.state("a"), "quarantined");
    assert_eq!(word(&driver.ask("a", Command::Start)), "ready");
    driver.fail("a");
    assert_eq!(driver.state("a"), "running");
    driver.fail("a");
    assert_eq!(driver.state("a"), "quarantined");
}

#[test]
fn a_supervisor_that_failed_and_is_restarted_forgets_its_restarts_but_not_those_that_the_limits_of_its_children_count()
 {
    let escalating = |restarts| Limit::new(restarts, secs(60)).on_exceeded(crate::GiveUp::Escalate);
    let a = leaf("a").limit(escalating(3));
    let b = leaf("b").limit(escalating(0));
    let mut driver = TestDriver::started(&sup("t", [sup("s", [a, b]).intensity(2, secs(60))]));
    driver.fail("s/a");
    driver.fail("s/a");
    // The limit of `b` is exceeded, so `s` fails and its supervisor restarts it.
    driver.fail("s/b");
    assert_eq!(driver.view("s").attempt, Attempt(2));
    // This restart would be the third that the intensity counts, and is the third that the limit of `a` allows.
    driver.fail("s/a");
    assert_eq!(driver.view("s").attempt, Attempt(2), "no limit was exceeded");
    driver.fail("s/a");
    assert_eq!(driver.view("s").attempt, Attempt(3), "the limit of `a` was exceeded");
}

#[test]
fn a_supervisor_that_a_command_restarts_forgets_its_restarts_and_those_of_its_children() {
    for common in [true, false] {
        let nested = sup("s", [leaf("a").limit(Limit::new(3, secs(60)))]);
        let nested = if common { nested.intensity(2, secs(60)) } else { nested };
        let mut driver = TestDriver::started(&sup("t", [nested]));
        driver.fail("s/a");
        driver.fail("s/a");
        assert_eq!(word(&driver.ask("s", Command::Restart)), "ready");
        driver.fail("s/a");
        driver.fail("s/a");
        assert_eq!(driver.view("s").attempt, Attempt(2), "no limit was exceeded");
        driver.fail("s/a");
        assert_eq!(driver.view("s").attempt, Attempt(if common { 3 } else { 2 }));
    }
}
