//! OTP's `supervisor`, rows C38 to C48: shutdown and auto-shutdown, with our deviations.

use super::rig::{Obeys, Policy, Rig};
use super::shape::{group, leaf, secs, sup};
use crate::{AutoShutdown, ChildDeclaration, Command, Condition, Exit, StopStage, Strategy};
use std::time::Duration;

#[test]
fn c38_children_stop_one_after_another_in_reverse_and_side_by_side_where_only_edges_order_them() {
    let shape = |tree: ChildDeclaration| {
        let mut rig = Rig::new(&tree);
        rig.set_default(Policy { obeys: Obeys::Test, ..Policy::default() });
        rig.start();
        rig.log();
        rig.stop();
        rig
    };
    let mut rig = shape(sup("t", ["a", "b"].map(leaf)));
    assert_eq!(rig.log(), ["ask b"]);
    rig.exit("b", Exit::Stopped);
    assert_eq!(rig.log(), ["gone b", "ask a"]);
    let diamond = [
        leaf("base"),
        leaf("l").after("base", Condition::Ready),
        leaf("r").after("base", Condition::Ready),
        leaf("top").after("l", Condition::Ready).after("r", Condition::Ready),
        leaf("free"),
    ];
    let mut rig = shape(sup("t", diamond).edges());
    assert_eq!(rig.log(), ["ask top", "ask free"].map(String::from).into_iter().rev().collect::<Vec<_>>());
    rig.exit("top", Exit::Stopped);
    assert_eq!(rig.log(), ["gone top", "ask r", "ask l"]);
    rig.exit("l", Exit::Stopped);
    assert_eq!(rig.log(), ["gone l"]);
    rig.exit("r", Exit::Stopped);
    assert_eq!(rig.log(), ["gone r", "ask base"]);
}

#[test]
fn c39_ask_wait_that_long_then_kill_then_always_wait_for_actual_death() {
    let mut rig = Rig::started(&sup("t", [leaf("a"), leaf("b").stop_within(secs(7))]));
    rig.obeys("b", Obeys::Test);
    rig.stop();
    rig.advance(secs(7) - Duration::from_nanos(1));
    assert_eq!(rig.log(), ["ask b"]);
    rig.advance(Duration::from_nanos(1));
    assert_eq!(rig.log(), ["kill b"], "b is not gone, so a is not asked yet");
    rig.exit("b", Exit::Killed);
    assert_eq!(rig.log(), ["gone b", "ask a", "gone a", "down"]);
}

#[test]
fn c39_infinity_is_allowed_for_workers_too() {
    let child = leaf("a").stop_within(Duration::MAX);
    let mut rig = Rig::started(&sup("t", [child]));
    rig.obeys("a", Obeys::Test);
    rig.stop();
    rig.advance(secs(1_000_000_000));
    assert_eq!(rig.log(), ["ask a"]);
    rig.exit("a", Exit::Stopped);
    assert!(rig.report().is_clean());
}

#[test]
fn c40_a_deadline_of_zero_kills_at_once_and_waits_for_death() {
    let mut rig = Rig::started(&sup("t", [leaf("a"), leaf("b").stop_within(Duration::ZERO)]));
    rig.stop();
    assert_eq!(rig.log(), ["kill b", "gone b", "ask a", "gone a", "down"]);
}

#[test]
fn c41_a_group_stops_all_members_together_under_one_deadline() {
    let slow = leaf("x").stop_within(secs(3)).delayed(secs(60)).spec;
    let mut rig = Rig::started(&group("t").members(|group| group.template = slow));
    for member in ["a", "b", "c", "d"] {
        rig.add_member("", Some(member)).expect("room");
        rig.obeys(member, Obeys::Kill);
    }
    rig.fail("d");
    rig.log();
    rig.stop();
    assert_eq!(rig.log(), ["ask a", "ask b", "ask c", "forget d"]);
    rig.advance(secs(3));
    assert_eq!(rig.report().took, secs(3), "the longest, not the sum");
    assert_eq!(rig.report().forced().count(), 3);
}

#[test]
fn c42_children_that_end_by_themselves_during_the_stop_do_not_confuse_it() {
    let mut rig = Rig::started(&sup("t", ["a", "b", "c"].map(leaf)).strategy(Strategy::OneForAll));
    rig.obeys("c", Obeys::Test);
    rig.stop();
    rig.complete("a");
    rig.fail("b");
    rig.fail("c");
    assert_eq!(rig.log(), ["ask c", "gone a", "gone b", "gone c", "down"]);
    assert!(rig.report().is_clean());
}

#[test]
fn c43_the_report_lists_each_exit_and_each_child_that_was_killed_after_its_deadline() {
    let mut rig = Rig::started(&sup("t", ["a", "b", "c"].map(leaf)));
    rig.obeys("a", Obeys::Test);
    rig.obeys("b", Obeys::Kill);
    rig.stop();
    rig.advance(secs(5));
    rig.exit("a", Exit::failed("could not save"));
    let report = rig.report();
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
fn c44_a_stop_from_above_in_the_middle_of_a_restart_loop_takes_the_same_path() {
    let nested = sup("s", [leaf("a"), leaf("b").reports().delayed(secs(10))]).strategy(Strategy::OneForAll);
    let mut rig = Rig::started(&sup("t", [nested]));
    rig.fail("s/b");
    assert_eq!(rig.states(["s/a", "s/b"]), ["waiting", "backing-off"]);
    rig.log();
    rig.stop();
    assert_eq!(rig.log(), ["down"]);
    assert_eq!(rig.report().entries.iter().filter(|entry| entry.stage == StopStage::Cancelled).count(), 2);
}

fn auto(which: AutoShutdown, children: impl IntoIterator<Item = ChildDeclaration>) -> ChildDeclaration {
    sup("t", children).rules(|rules| rules.auto_shutdown = which)
}

#[test]
fn c45_only_a_significant_child_that_ends_by_itself_and_is_not_restarted_ends_its_supervisor() {
    let any = AutoShutdown::AnySignificant;
    for (child, exit, ends) in [
        (leaf("a").transient(), Exit::Completed, true),
        (leaf("a").transient(), Exit::failed("boom"), false),
        (leaf("a").temporary(), Exit::Completed, true),
        (leaf("a").temporary(), Exit::failed("boom"), true),
    ] {
        let mut rig = Rig::started(&auto(any, [child.significant(), leaf("b")]));
        rig.exit("a", exit.clone());
        assert_eq!(rig.down.is_some(), ends, "{exit:?}");
        if ends {
            assert_eq!(rig.down_kind(), "auto-shutdown");
            assert_eq!(rig.log(), ["gone a", "ask b", "gone b", "down"]);
        }
    }
}

#[test]
fn c46_a_stop_on_request_a_sibling_s_restart_set_and_a_child_that_is_not_significant_end_nothing() {
    let children = [leaf("a").temporary().significant(), leaf("b"), leaf("c").temporary()];
    let tree = auto(AutoShutdown::AnySignificant, children).strategy(Strategy::OneForAll);
    let mut rig = Rig::started(&tree);
    rig.complete("c");
    rig.fail("b");
    assert_eq!(rig.states(["", "a", "b", "c"]), ["running", "finished", "running", "finished"]);
    let mut rig = Rig::started(&tree);
    rig.ask("a", Command::Stop).expect("stopped");
    assert_eq!(rig.state(""), "running");
    rig.ask("a", Command::Remove).expect("removed");
    assert_eq!(rig.state(""), "running");
}

#[test]
fn c47_all_ends_with_the_last_significant_child_that_runs_or_will() {
    let child = |name| leaf(name).transient().significant().delayed(secs(10));
    let mut rig = Rig::started(&auto(AutoShutdown::AllSignificant, [child("a"), child("b"), leaf("c")]));
    rig.fail("b");
    rig.complete("a");
    assert!(rig.down.is_none(), "b backs off and will run");
    rig.advance(secs(10));
    rig.complete("b");
    assert_eq!(rig.down_kind(), "auto-shutdown");
}

#[test]
fn c48_an_auto_shutdown_is_a_wanted_end_and_goes_on_upwards_only_through_a_significant_supervisor() {
    let any = AutoShutdown::AnySignificant;
    for (significant, ends) in [(true, true), (false, false)] {
        let mut nested = auto(any, [leaf("x").transient().significant()]).transient();
        nested.name = super::shape::name("s");
        let nested = if significant { nested.significant() } else { nested };
        let mut rig = Rig::started(&auto(any, [nested, leaf("b")]));
        rig.complete("s/x");
        assert_eq!(rig.down.is_some(), ends);
        if !ends {
            assert_eq!(rig.states(["s", "b"]), ["finished", "running"]);
        }
    }
}

#[test]
fn a_tree_that_ends_when_all_is_done_says_whether_all_went_well() {
    let limit = crate::Limit::new(0, secs(1)).on_exceeded(crate::GiveUp::Quarantine);
    let ends = |end: &dyn Fn(&mut Rig)| {
        let children = [leaf("a").temporary(), leaf("b").transient().limit(limit), leaf("c").transient()];
        let tree = sup("t", children).rules(|rules| rules.end_when_done = true);
        let mut rig = Rig::started(&tree);
        end(&mut rig);
        rig.complete("c");
        rig.down_kind()
    };
    assert_eq!(
        ends(&|rig| {
            rig.complete("a");
            rig.complete("b")
        }),
        "completed"
    );
    assert_eq!(
        ends(&|rig| {
            rig.exit("a", Exit::Ignored);
            rig.complete("b")
        }),
        "completed"
    );
    assert_eq!(
        ends(&|rig| {
            rig.fail("a");
            rig.complete("b")
        }),
        "failed"
    );
    assert_eq!(
        ends(&|rig| {
            rig.complete("a");
            rig.fail("b")
        }),
        "gave-up"
    );
}

#[test]
fn a_tree_with_a_child_that_was_stopped_on_request_is_not_done() {
    let tree = sup("t", [leaf("a").temporary(), leaf("b").temporary()]);
    let mut rig = Rig::started(&tree.rules(|rules| rules.end_when_done = true));
    rig.ask("a", Command::Stop).expect("stopped");
    rig.complete("b");
    assert!(rig.down.is_none());
    rig.ask("a", Command::Remove).expect("removed");
    assert_eq!(rig.down_kind(), "completed");
}
