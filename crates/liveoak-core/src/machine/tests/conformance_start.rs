//! OTP's `supervisor`, rows C1 to C18: start and management calls, with our deviations.

use super::shape::{SECOND, backoff, group, leaf, millis, secs, sup};
use super::test_driver::{Obeys, TestDriver, word};
use crate::{
    AutoShutdown, ChildDeclaration, ChildSpec, Command, Condition, Exit, Limit, Machine, Ready, Restart,
    Strategy, SupervisorSpec,
};
use std::time::Duration;

#[test]
fn c1_the_tree_is_up_only_when_every_initial_child_is_ready() {
    let mut driver = TestDriver::new(&sup("t", [leaf("a").reports(), sup("s", [leaf("b").reports()])]));
    driver.policy("a").ready = false;
    driver.policy("s/b").ready = false;
    driver.start();
    driver.ready("a");
    assert_eq!(driver.log(), ["start a", "start s/b"]);
    driver.ready("s/b");
    assert_eq!(driver.log(), ["up"]);
}

#[test]
fn c2_initial_children_start_one_at_a_time_in_declared_order() {
    let mut driver = TestDriver::new(&sup("t", ["b", "a", "c"].map(|name| leaf(name).reports())));
    for name in ["a", "b", "c"] {
        driver.policy(name).ready = false;
    }
    driver.start();
    for name in ["b", "a", "c"] {
        assert_eq!(driver.log(), [format!("start {name}")]);
        driver.ready(name);
    }
}

#[test]
fn c3_a_failed_first_start_stops_what_was_started_in_reverse_and_names_the_child_without_any_retry() {
    let tree = sup("t", [leaf("a"), sup("s", [leaf("b"), leaf("c").reports()]), leaf("d")]);
    let mut driver = TestDriver::new(&tree);
    driver.policy("s/c").ready = false;
    driver.start();
    driver.log();
    driver.fail("s/c");
    assert_eq!(driver.log(), ["gone s/c", "ask s/b", "gone s/b", "ask a", "gone a", "down"]);
    let (exit, report) = driver.down.as_ref().expect("down");
    assert_eq!(exit.to_string(), "/t/s/c failed to start: failed: boom");
    assert!(report.is_clean());
    assert!(driver.machine.supervisor(0).window.is_empty());
}

#[test]
fn c5_a_child_that_is_not_needed_counts_as_started_and_is_absent() {
    let mut driver =
        TestDriver::new(&sup("t", [leaf("a").reports(), leaf("b").after("a", Condition::Ready)]));
    driver.policy("a").ready = false;
    driver.start();
    driver.exit("a", Exit::Ignored);
    assert_eq!(driver.states(["a", "b", ""]), ["ignored", "running", "running"]);
    let dynamic = leaf("c").reports().temporary();
    driver.policy("c").ready = false;
    let request = driver.add("", &dynamic).expect("a good spec");
    driver.exit("c", Exit::Ignored);
    assert_eq!(word(&driver.answer(request).expect("answered")), "ignored");
    assert_eq!(driver.state("c"), "gone", "a temporary one is not kept");
}

#[test]
fn c7_the_defaults_are_one_for_one_permanent_and_five_seconds_to_stop() {
    let child = ChildSpec::default();
    assert_eq!((child.restart, child.stop_within, child.significant), (Restart::Permanent, secs(5), false));
    assert_eq!(ChildSpec::of_supervisor().stop_within, Duration::MAX);
    let rules = SupervisorSpec::default();
    assert_eq!((rules.strategy, rules.auto_shutdown), (Strategy::OneForOne, AutoShutdown::Never));
    // Deviation: no common intensity, but a limit for each child.
    assert_eq!(rules.intensity, None);
    assert_eq!(Limit::DEFAULT_OF_A_CHILD, Limit::new(10, secs(60)));
}

fn errors(tree: &ChildDeclaration) -> String {
    Machine::new(tree).expect_err("a wrong spec").to_string()
}

#[test]
fn c8_specs_are_checked_before_anything_starts_and_all_errors_come_together() {
    let wrong: [(ChildDeclaration, &str); 11] = [
        (leaf("a").with(|child| child.start_within = Duration::ZERO), "/t/a: start_within: it is zero"),
        (leaf("a").with(|child| child.heartbeat = Some(Duration::ZERO)), "/t/a: heartbeat: it is zero"),
        (leaf("a").with(|child| child.backoff = Some(backoff(Duration::ZERO))), "/t/a: backoff.from"),
        (
            leaf("a").with(|child| {
                child.backoff = Some(crate::Backoff { from: secs(2), ..backoff(secs(1)) });
            }),
            "/t/a: backoff.to: `to` is 1s, which is less than `from`, 2s",
        ),
        (leaf("a").limit(Limit::new(65_537, SECOND)), "/t/a: limit: 65537 restarts are too many"),
        (leaf("a").limit(Limit::new(1, Duration::ZERO)), "/t/a: limit: the period is zero"),
        (leaf("a").after("nobody", Condition::Ready), "/t/a: after: there is no sibling called \"nobody\""),
        (leaf("a").after("a", Condition::Ready), "/t/a: after: a child cannot come after itself"),
        (leaf("a").after("b", Condition::Completed), "/t/a: after: \"b\" is permanent"),
        (group("a").members(|group| group.max_members = 0), "/t/a: max_members: 0 members"),
        (sup("a", [leaf("x")]).intensity(1, Duration::ZERO), "/t/a: intensity: the period is zero"),
    ];
    let mut all = Vec::new();
    for (i, (child, expected)) in wrong.into_iter().enumerate() {
        let text = errors(&sup("t", [child.clone(), leaf("b")]));
        assert!(text.starts_with(expected), "{text}");
        let mut child = child;
        child.name = super::shape::name(&format!("n{i}"));
        all.push(child);
    }
    all.push(leaf("b"));
    assert_eq!(Machine::new(&sup("t", all)).expect_err("all wrong").0.len(), 11);
    let cycle = [
        leaf("a").after("b", Condition::Ready),
        leaf("b").after("c", Condition::Ready),
        leaf("c").after("a", Condition::Ready),
    ];
    let text = errors(&sup("t", cycle));
    assert_eq!(text, "/t: after: children wait for each other in a cycle: a after b after c after a");
    let mut deep = leaf("x");
    for _ in 0..65 {
        deep = sup("s", [deep]);
    }
    assert!(errors(&deep).contains("nested deeper than 64 levels"));
}

#[test]
fn c9_significant_is_refused_for_permanent_children_and_without_auto_shutdown() {
    let any = |tree: ChildDeclaration| tree.rules(|rules| rules.auto_shutdown = AutoShutdown::AnySignificant);
    assert!(errors(&any(sup("t", [leaf("a").significant()]))).contains("cannot be significant"));
    assert!(errors(&sup("t", [leaf("a").transient().significant()])).contains("auto_shutdown is never"));
    assert!(Machine::new(&any(sup("t", [leaf("a").transient().significant()]))).is_ok());
}

#[test]
fn c10_a_child_of_a_known_name_is_refused_with_its_state_and_a_failed_start_keeps_nothing_and_costs_nothing()
{
    let mut driver = TestDriver::started(&sup("t", [leaf("a"), leaf("once").temporary()]));
    assert!(driver.add("", &leaf("a")).is_err_and(|refusal| refusal.to_string().contains("running")));
    driver.command("a", Command::Stop);
    assert!(driver.add("", &leaf("a")).is_err_and(|refusal| refusal.to_string().contains("stopped")));
    driver.policy("b").ready = false;
    let request = driver.add("", &leaf("b").reports()).expect("a good spec");
    assert!(driver.answer(request).is_none());
    driver.fail("b");
    assert_eq!(word(&driver.answer(request).expect("answered")), "failed");
    assert_eq!(driver.state("b"), "gone");
    assert!(driver.machine.supervisor(0).window.is_empty());
    driver.complete("once");
    assert!(driver.add("", &leaf("once")).is_ok(), "what has finished for good makes room");
}

#[test]
fn c11_a_stop_keeps_the_child_listed_touches_no_sibling_under_any_strategy_and_is_never_a_restart() {
    for strategy in [Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne] {
        let tree = sup("t", [leaf("a"), leaf("b"), leaf("c").temporary()]).strategy(strategy);
        let mut driver = TestDriver::started(&tree.intensity(0, SECOND));
        assert_eq!(word(&driver.ask("a", Command::Stop)), "stopped");
        assert_eq!(word(&driver.ask("a", Command::Stop)), "stopped", "it is the same the second time");
        assert_eq!(word(&driver.ask("c", Command::Stop)), "stopped");
        assert_eq!(driver.log(), ["ask a", "gone a", "ask c", "gone c"]);
        assert_eq!(driver.states(["a", "b", "c"]), ["stopped", "running", "stopped"]);
        assert!(driver.machine.supervisor(0).window.is_empty());
    }
}

#[test]
fn c12_a_stop_during_a_restart_loop_cancels_the_loop() {
    for strategy in [Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne] {
        let tree = sup("t", [leaf("a").reports().delayed(SECOND), leaf("b")]).strategy(strategy);
        let mut driver = TestDriver::started(&tree);
        driver.policy("a").ready = false;
        for _ in 0..3 {
            driver.fail("a");
            driver.advance(SECOND);
        }
        driver.fail("a");
        assert_eq!(word(&driver.ask("a", Command::Stop)), "stopped");
        driver.log();
        driver.advance(secs(100));
        assert!(driver.log().is_empty());
        assert_eq!(driver.states(["a", "b"]), ["stopped", "running"], "{strategy:?}");
    }
}

#[test]
fn c13_a_start_of_a_running_child_is_refused_and_a_failed_start_leaves_the_child_down() {
    let mut driver = TestDriver::started(&sup("t", ["a", "b", "c"].map(|name| leaf(name).reports())));
    assert_eq!(word(&driver.ask("b", Command::Start)), "not down");
    driver.ask("b", Command::Stop).expect("stopped");
    driver.policy("b").ready = false;
    let request = driver.command("b", Command::Start);
    driver.fail("b");
    assert_eq!(word(&driver.answer(request).expect("answered")), "failed");
    assert_eq!(driver.state("b"), "stopped");
    driver.policy("b").ready = true;
    assert_eq!(word(&driver.ask("b", Command::Start)), "ready");
    driver.log();
    driver.stop();
    assert_eq!(driver.done("ask"), ["c", "b", "a"]);
}

#[test]
fn c14_a_remove_stops_a_running_child_and_is_refused_while_a_sibling_depends_on_it() {
    let mut driver = TestDriver::started(&sup("t", [leaf("a"), leaf("b").after("a", Condition::Ready)]));
    assert_eq!(word(&driver.ask("a", Command::Remove)), "needed");
    assert_eq!(word(&driver.ask("b", Command::Remove)), "removed");
    assert_eq!(word(&driver.ask("a", Command::Remove)), "removed");
    assert_eq!(driver.log(), ["ask b", "gone b", "forget b", "ask a", "gone a", "forget a"]);
    assert_eq!(driver.state(""), "running");
}

#[test]
fn c15_members_of_a_group_are_addressed_by_name_and_restart_and_remove_work() {
    let mut driver = TestDriver::started(&group("t"));
    driver.add_member("", Some("m")).expect("room");
    driver.add_member("", None).expect("room");
    assert!(driver.add_member("", Some("m")).is_err());
    assert!(driver.add("", &leaf("x")).is_err(), "members come from the template only");
    assert_eq!(word(&driver.ask("m", Command::Restart)), "ready");
    assert_eq!(word(&driver.ask("m", Command::Stop)), "stopped");
    assert_eq!(word(&driver.ask("m", Command::Stop)), "stopped");
    assert_eq!(word(&driver.ask("m", Command::Remove)), "removed");
    assert_eq!(driver.state("m"), "gone");
    assert_eq!(driver.alive().len(), 1);
    let mut driver = TestDriver::started(&group("t").members(|group| group.max_members = 1));
    driver.add_member("", None).expect("room");
    assert_eq!(driver.add_member("", None).map_err(|refusal| word(&Err(refusal))), Err("full"));
}

#[test]
fn c16_the_snapshot_lists_children_in_the_order_of_their_start() {
    let tree = sup("t", [leaf("c").after("a", Condition::Ready), leaf("b"), leaf("a")]);
    let mut driver = TestDriver::started(&tree);
    let names: Vec<_> = driver.view("").children.iter().map(|kid| kid.path.name().to_owned()).collect();
    assert_eq!(names, ["b", "a", "c"]);
}

#[test]
fn c17_the_snapshot_distinguishes_specs_from_active_children_and_supervisors_from_workers() {
    let tree =
        sup("t", [leaf("a"), sup("s", []), group("g"), leaf("d").delayed(SECOND), leaf("e").temporary()]);
    let mut driver = TestDriver::started(&tree);
    driver.fail("d");
    driver.complete("e");
    let children = driver.view("").children;
    let active = children.iter().filter(|kid| kid.started.is_some()).count();
    let supervisors = children.iter().filter(|kid| kid.strategy.is_some()).count();
    assert_eq!((children.len(), active, supervisors), (5, 3, 2));
}

#[test]
fn c18_an_added_temporary_child_is_removed_when_it_ends_whatever_its_exit() {
    for exit in [Exit::Completed, Exit::failed("boom"), Exit::Killed] {
        let mut driver = TestDriver::started(&sup("t", [leaf("declared").temporary()]));
        driver.add("", &leaf("added").temporary()).expect("a good spec");
        driver.exit("added", exit.clone());
        driver.exit("declared", exit);
        assert_eq!(driver.states(["added", "declared"]), ["gone", "finished"]);
    }
    let mut driver = TestDriver::started(&sup("t", []));
    driver.add("", &leaf("added").temporary()).expect("a good spec");
    driver.ask("added", Command::Stop).expect("stopped");
    assert_eq!(driver.state("added"), "gone");
}

#[test]
fn a_child_added_while_its_supervisor_starts_waits_for_its_turn_and_its_failure_does_not_fail_the_supervisor()
{
    let mut driver = TestDriver::new(&sup("t", [leaf("a").reports()]));
    driver.policy("a").ready = false;
    driver.policy("b").ready = false;
    driver.start();
    let request = driver.add("", &leaf("b").reports()).expect("a good spec");
    assert_eq!(driver.states(["a", "b"]), ["starting", "waiting"]);
    driver.ready("a");
    driver.advance(millis(1));
    driver.fail("b");
    assert_eq!(word(&driver.answer(request).expect("answered")), "failed");
    assert_eq!(driver.states(["", "a", "b"]), ["running", "running", "gone"]);
    assert_eq!(driver.log(), ["start a", "start b", "up", "gone b", "forget b"]);
}

#[test]
fn the_removal_of_a_supervisor_removes_all_below_it_and_the_report_names_them() {
    let tree = sup("t", [sup("s", [leaf("a"), sup("i", [leaf("b")]), group("g")]), leaf("z")]);
    let mut driver = TestDriver::started(&tree);
    driver.add_member("s/g", Some("m")).expect("room");
    driver.obeys("s/i/b", Obeys::Test);
    let request = driver.command("s", Command::Remove);
    assert_eq!(driver.state("s/i/b"), "stopping");
    driver.exit("s/i/b", Exit::Stopped);
    match driver.answer(request) {
        Some(Ok(crate::Outcome::Removed(report))) => {
            let paths: Vec<_> = report.entries.iter().map(|entry| entry.path.as_str()).collect();
            assert_eq!(paths, ["/t/s/g/m", "/t/s/g", "/t/s/i/b", "/t/s/i", "/t/s/a", "/t/s"]);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(driver.states(["s", "z"]), ["gone", "running"]);
    assert_eq!(driver.snapshot().nodes().count(), 2);
}

#[test]
fn the_spec_of_the_root_is_checked_like_any_other_spec() {
    let wrong = sup("t", [leaf("a").start_within(Duration::ZERO)]).start_within(Duration::ZERO);
    let wrong = wrong.after("x", Condition::Ready);
    let paths: Vec<_> = Machine::new(&wrong).expect_err("three errors").0;
    let fields: Vec<_> = paths.iter().map(|error| (error.path.as_str(), error.field)).collect();
    assert_eq!(fields, [("/t", "start_within"), ("/t", "after"), ("/t/a", "start_within")]);
    assert!(errors(&group("t").members(|group| group.max_members = 0)).starts_with("/t: max_members"));
}

#[test]
fn a_setting_without_effect_and_an_endless_restart_are_refused() {
    let refused = |root: ChildDeclaration| {
        let errors = Machine::new(&root).expect_err("a bad spec");
        errors.0.into_iter().map(|error| (error.path.as_str().to_owned(), error.field)).collect::<Vec<_>>()
    };
    let mut root = sup("t", []);
    root.spec.restart = Restart::Transient;
    root.spec.limit = Some(Limit::new(1, secs(1)));
    root.spec.heartbeat = Some(secs(1));
    root.spec.ready = Ready::Reported;
    let at = |path: &str, field| (path.to_owned(), field);
    assert_eq!(refused(root), [at("/t", "heartbeat"), at("/t", "ready"), at("/t", "restart")]);
    let mut nested = sup("n", []).rules(|rules| rules.end_when_done = true);
    nested.spec.heartbeat = Some(secs(1));
    assert_eq!(refused(sup("t", [nested])), [at("/t/n", "heartbeat"), at("/t/n", "end_when_done")]);
}
