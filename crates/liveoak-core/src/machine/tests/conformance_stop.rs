//! OTP's `supervisor`, rows C38 to C48: shutdown and auto-shutdown, with our deviations.

use super::shape::{group, leaf, secs, sup};
use super::test_driver::{Obeys, Policy, TestDriver};
use crate::{AutoShutdown, ChildDeclaration, Command, Condition, Exit, StopStage, Strategy};
use std::time::Duration;

#[test]
fn c38_children_stop_one_after_another_in_reverse_and_side_by_side_with_order_edges() {
    let shape = |tree: ChildDeclaration| {
        let mut driver = TestDriver::new(&tree);
        driver.set_default(Policy { obeys: Obeys::Test, ..Policy::default() });
        driver.start();
        driver.log();
        driver.stop();
        driver
    };
    let mut driver = shape(sup("t", ["a", "b"].map(leaf)));
    assert_eq!(driver.log(), ["ask b"]);
    driver.exit("b", Exit::Stopped);
    assert_eq!(driver.log(), ["gone b", "ask a"]);
    let diamond = [
        leaf("base"),
        leaf("l").after("base", Condition::Ready),
        leaf("r").after("base", Condition::Ready),
        leaf("top").after("l", Condition::Ready).after("r", Condition::Ready),
        leaf("free"),
    ];
    let mut driver = shape(sup("t", diamond).edges());
    assert_eq!(driver.log(), ["ask top", "ask free"].map(String::from).into_iter().rev().collect::<Vec<_>>());
    driver.exit("top", Exit::Stopped);
    assert_eq!(driver.log(), ["gone top", "ask r", "ask l"]);
    driver.exit("l", Exit::Stopped);
    assert_eq!(driver.log(), ["gone l"]);
    driver.exit("r", Exit::Stopped);
    assert_eq!(driver.log(), ["gone r", "ask base"]);
}

#[test]
fn c39_a_stop_asks_waits_kills_and_waits_for_the_end() {
    let mut driver = TestDriver::started(&sup("t", [leaf("a"), leaf("b").stop_within(secs(7))]));
    driver.obeys("b", Obeys::Test);
    driver.stop();
    driver.advance(secs(7) - Duration::from_nanos(1));
    assert_eq!(driver.log(), ["ask b"]);
    driver.advance(Duration::from_nanos(1));
    assert_eq!(driver.log(), ["kill b"], "b is not gone, so a is not asked yet");
    driver.exit("b", Exit::Killed);
    assert_eq!(driver.log(), ["gone b", "ask a", "gone a", "down"]);
}

#[test]
fn c39_a_leaf_may_have_no_stop_deadline() {
    let child = leaf("a").stop_within(Duration::MAX);
    let mut driver = TestDriver::started(&sup("t", [child]));
    driver.obeys("a", Obeys::Test);
    driver.stop();
    driver.advance(secs(1_000_000_000));
    assert_eq!(driver.log(), ["ask a"]);
    driver.exit("a", Exit::Stopped);
    assert!(driver.report().is_clean());
}

#[test]
fn c40_a_deadline_of_zero_kills_immediately_and_waits_for_death() {
    let mut driver = TestDriver::started(&sup("t", [leaf("a"), leaf("b").stop_within(Duration::ZERO)]));
    driver.stop();
    assert_eq!(driver.log(), ["kill b", "gone b", "ask a", "gone a", "down"]);
}

#[test]
fn c41_a_group_stops_all_members_together_under_one_deadline() {
    let slow = leaf("x").stop_within(secs(3)).delayed(secs(60)).spec;
    let mut driver = TestDriver::started(&group("t").members(|group| group.template = slow));
    for member in ["a", "b", "c", "d"] {
        driver.add_member("", Some(member)).expect("room");
        driver.obeys(member, Obeys::Kill);
    }
    driver.fail("d");
    driver.log();
    driver.stop();
    assert_eq!(driver.log(), ["ask a", "ask b", "ask c", "forget d"]);
    driver.advance(secs(3));
    assert_eq!(driver.report().took, secs(3), "the longest, not the sum");
    assert_eq!(driver.report().forced().count(), 3);
}

#[test]
fn c42_children_that_end_by_themselves_during_the_stop_do_not_confuse_it() {
    let mut driver = TestDriver::started(&sup("t", ["a", "b", "c"].map(leaf)).strategy(Strategy::OneForAll));
    driver.obeys("c", Obeys::Test);
    driver.stop();
    driver.complete("a");
    driver.fail("b");
    driver.fail("c");
    assert_eq!(driver.log(), ["ask c", "gone a", "gone b", "gone c", "down"]);
    assert!(driver.report().is_clean());
}

#[test]
fn c43_the_report_lists_each_exit_and_each_child_that_was_killed_after_its_deadline() {
    let mut driver = TestDriver::started(&sup("t", ["a", "b", "c"].map(leaf)));
    driver.obeys("a", Obeys::Test);
    driver.obeys("b", Obeys::Kill);
    driver.stop();
    driver.advance(secs(5));
    driver.exit("a", Exit::failed("could not save"));
    let report = driver.report();
    let seen: Vec<_> = report
        .entries
        .iter()
        .map(|entry| (entry.path.name(), entry.stage, entry.exit.as_ref().map(Exit::kind)))
        .collect();
    assert_eq!(
        seen,
        [
            ("c", StopStage::Asked, Some("stopped")),
            ("b", StopStage::Killed, Some("killed")),
            ("a", StopStage::Asked, Some("failed"))
        ]
    );
    assert!(!report.is_clean());
}

#[test]
fn c44_a_stop_of_the_tree_works_in_the_middle_of_a_restart_loop() {
    let nested = sup("s", [leaf("a"), leaf("b").reports().delayed(secs(10))]).strategy(Strategy::OneForAll);
    let mut driver = TestDriver::started(&sup("t", [nested]));
    driver.fail("s/b");
    assert_eq!(driver.states(["s/a", "s/b"]), ["waiting", "backing-off"]);
    driver.log();
    driver.stop();
    assert_eq!(driver.log(), ["down"]);
    assert_eq!(driver.report().entries.iter().filter(|entry| entry.stage == StopStage::Cancelled).count(), 2);
}

fn auto(which: AutoShutdown, children: impl IntoIterator<Item = ChildDeclaration>) -> ChildDeclaration {
    sup("t", children).rules(|rules| rules.auto_shutdown = which)
}

#[test]
fn c45_only_a_significant_child_that_ends_by_itself_and_is_not_restarted_ends_its_supervisor() {
    let any = AutoShutdown::AnySignificant;
    for (child, exit, ends) in [
        (leaf("a").transient(), Exit::Completed, Some("auto-shutdown")),
        (leaf("a").transient(), Exit::failed("boom"), None),
        (leaf("a").temporary(), Exit::Completed, Some("auto-shutdown")),
        (leaf("a").temporary(), Exit::failed("boom"), Some("auto-shutdown-failed")),
    ] {
        let mut driver = TestDriver::started(&auto(any, [child.significant(), leaf("b")]));
        driver.exit("a", exit.clone());
        assert_eq!(driver.down.is_some(), ends.is_some(), "{exit:?}");
        if let Some(kind) = ends {
            assert_eq!(driver.down_kind(), kind);
            assert_eq!(driver.log(), ["gone a", "ask b", "gone b", "down"]);
        }
    }
}

#[test]
fn c46_a_stop_by_command_a_sibling_s_restart_set_and_a_child_that_is_not_significant_end_nothing() {
    let children = [leaf("a").temporary().significant(), leaf("b"), leaf("c").temporary()];
    let tree = auto(AutoShutdown::AnySignificant, children).strategy(Strategy::OneForAll);
    let mut driver = TestDriver::started(&tree);
    driver.complete("c");
    driver.fail("b");
    assert_eq!(driver.states(["", "a", "b", "c"]), ["running", "finished", "running", "finished"]);
    let mut driver = TestDriver::started(&tree);
    driver.ask("a", Command::Stop).expect("stopped");
    assert_eq!(driver.state(""), "running");
    driver.ask("a", Command::Remove).expect("removed");
    assert_eq!(driver.state(""), "running");
}

#[test]
fn c47_all_significant_ends_the_supervisor_with_its_last_significant_child() {
    let child = |name| leaf(name).transient().significant().delayed(secs(10));
    let mut driver =
        TestDriver::started(&auto(AutoShutdown::AllSignificant, [child("a"), child("b"), leaf("c")]));
    driver.fail("b");
    driver.complete("a");
    assert!(driver.down.is_none(), "b backs off and will run");
    driver.advance(secs(10));
    driver.complete("b");
    assert_eq!(driver.down_kind(), "auto-shutdown");
}

#[test]
fn c48_an_auto_shutdown_cascades_only_through_a_significant_supervisor() {
    let any = AutoShutdown::AnySignificant;
    for (significant, ends) in [(true, true), (false, false)] {
        let mut nested = auto(any, [leaf("x").transient().significant()]).transient();
        nested.name = super::shape::name("s");
        let nested = if significant { nested.significant() } else { nested };
        let mut driver = TestDriver::started(&auto(any, [nested, leaf("b")]));
        driver.complete("s/x");
        assert_eq!(driver.down.is_some(), ends);
        if !ends {
            assert_eq!(driver.states(["s", "b"]), ["finished", "running"]);
        }
    }
}

#[test]
fn a_tree_with_end_when_done_reports_if_a_child_has_failed() {
    let limit = crate::Limit::new(0, secs(1)).on_exceeded(crate::GiveUp::QUARANTINE);
    let ends = |end: &dyn Fn(&mut TestDriver)| {
        let children = [leaf("a").temporary(), leaf("b").transient().limit(limit), leaf("c").transient()];
        let tree = sup("t", children).rules(|rules| rules.end_when_done = true);
        let mut driver = TestDriver::started(&tree);
        end(&mut driver);
        driver.complete("c");
        driver.down_kind()
    };
    assert_eq!(
        ends(&|driver| {
            driver.complete("a");
            driver.complete("b")
        }),
        "completed"
    );
    assert_eq!(
        ends(&|driver| {
            driver.exit("a", Exit::Ignored);
            driver.complete("b")
        }),
        "completed"
    );
    assert_eq!(
        ends(&|driver| {
            driver.fail("a");
            driver.complete("b")
        }),
        "failed"
    );
    assert_eq!(
        ends(&|driver| {
            driver.complete("a");
            driver.fail("b")
        }),
        "gave-up"
    );
}

#[test]
fn a_tree_with_a_child_that_was_stopped_by_command_is_not_done() {
    let tree = sup("t", [leaf("a").temporary(), leaf("b").temporary()]);
    let mut driver = TestDriver::started(&tree.rules(|rules| rules.end_when_done = true));
    driver.ask("a", Command::Stop).expect("stopped");
    driver.complete("b");
    assert!(driver.down.is_none());
    driver.ask("a", Command::Remove).expect("removed");
    assert_eq!(driver.down_kind(), "completed");
}
