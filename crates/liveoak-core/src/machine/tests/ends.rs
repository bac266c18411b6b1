//! The end of a tree, and the report and the state of the tree after its end.

use super::shape::{SECOND, leaf, secs, sup};
use super::test_driver::{Obeys, TestDriver};
use crate::{
    Attempt, AutoShutdown, ChildDeclaration, Command, Effect, Exit, GiveUp, Health, Input, Limit,
    MAX_KEPT_FORCED, Machine, Restart, StopReport, StopStage, Time,
};
use std::time::Duration;

/// Returns the children that a report tells as forced.
fn forced(report: &StopReport) -> Vec<(String, StopStage)> {
    report.forced().map(|entry| (entry.path.as_str().to_owned(), entry.stage)).collect()
}

/// Returns a supervisor that ends as soon as its child `last` has ended, and then has to kill its child `stubborn`.
fn ends_by_force(name: &str) -> ChildDeclaration {
    sup(name, [leaf("stubborn").stop_within(SECOND), leaf("last").temporary().significant()])
        .rules(|rules| rules.auto_shutdown = AutoShutdown::AnySignificant)
        .temporary()
}

#[test]
fn children_that_an_auto_shutdown_killed_are_in_the_report_of_the_end_at_any_depth() {
    for depth in 0..4 {
        let mut tree = ends_by_force("s0");
        let mut path = "s0".to_owned();
        for level in 1..=depth {
            tree = sup(&format!("s{level}"), [tree.significant()])
                .rules(|rules| rules.auto_shutdown = AutoShutdown::AnySignificant)
                .temporary();
            path = format!("s{level}/{path}");
        }
        let root = sup("t", [tree, leaf("z").temporary()]).rules(|rules| rules.end_when_done = true);
        let mut driver = TestDriver::started(&root);
        driver.obeys(&format!("{path}/stubborn"), Obeys::Kill);
        driver.complete(&format!("{path}/last"));
        driver.advance(SECOND);
        assert!(driver.down.is_none(), "z still runs");
        driver.complete("z");
        assert_eq!(driver.down_kind(), "completed");
        assert_eq!(forced(&driver.report()), [(format!("/t/{path}/stubborn"), StopStage::Killed)]);
    }
}

#[test]
fn children_that_an_escalation_killed_are_in_the_report_of_the_end_at_any_depth() {
    for depth in 1..5 {
        let never = Limit::new(0, secs(60));
        let mut tree =
            sup("s0", [leaf("stubborn").stop_within(SECOND), leaf("bad").limit(never)]).limit(never);
        let mut path = "s0".to_owned();
        for level in 1..depth {
            tree = sup(&format!("s{level}"), [tree]).limit(never);
            path = format!("s{level}/{path}");
        }
        let mut driver = TestDriver::started(&sup("t", [leaf("a"), tree]));
        driver.obeys(&format!("{path}/stubborn"), Obeys::Nothing);
        driver.fail(&format!("{path}/bad"));
        driver.advance(secs(3));
        assert_eq!(driver.down_kind(), "gave-up");
        assert_eq!(forced(&driver.report()), [(format!("/t/{path}/stubborn"), StopStage::Abandoned)]);
    }
}

#[test]
fn children_that_a_failed_first_start_killed_are_in_its_report() {
    let inner = sup("s", [leaf("stubborn").stop_within(SECOND), leaf("bad").reports()]);
    let mut driver = TestDriver::new(&sup("t", [leaf("a"), inner]));
    driver.policy("s/bad").ready = false;
    driver.obeys("s/stubborn", Obeys::Kill);
    driver.start();
    driver.fail("s/bad");
    driver.advance(SECOND);
    assert_eq!(driver.down_kind(), "start-failed");
    assert_eq!(forced(&driver.report()), [("/t/s/stubborn".to_owned(), StopStage::Killed)]);
}

#[test]
fn forced_stops_before_a_restart_are_not_part_of_a_later_report() {
    let tree = || sup("t", [ends_by_force("s"), leaf("z")]);
    for again in [true, false] {
        let mut driver = TestDriver::started(&tree());
        driver.obeys("s/stubborn", Obeys::Kill);
        driver.complete("s/last");
        driver.advance(SECOND);
        assert_eq!(driver.state("s"), "finished");
        if again {
            driver.command("s", Command::Start);
        }
        driver.obeys("s/stubborn", Obeys::Ask);
        driver.stop();
        assert_eq!(driver.report().is_clean(), again);
    }
}

#[test]
fn forced_stops_below_a_quarantined_supervisor_are_in_the_report_of_the_end() {
    let never = Limit::new(0, secs(60));
    let inner = sup("s", [leaf("stubborn").stop_within(SECOND), leaf("bad").limit(never)]);
    let mut driver =
        TestDriver::started(&sup("t", [inner.limit(never.on_exceeded(GiveUp::QUARANTINE)), leaf("z")]));
    driver.obeys("s/stubborn", Obeys::Kill);
    driver.fail("s/bad");
    driver.advance(SECOND);
    assert_eq!(driver.state("s"), "quarantined");
    driver.stop();
    assert_eq!(forced(&driver.report()), [("/t/s/stubborn".to_owned(), StopStage::Killed)]);
}

#[test]
fn forced_stops_below_a_supervisor_that_is_about_to_start_again_are_not_in_the_report_of_the_end() {
    let inner = ends_by_force("s").restart(Restart::Permanent).delayed(secs(9));
    let mut driver = TestDriver::started(&sup("t", [inner, leaf("z")]));
    driver.obeys("s/stubborn", Obeys::Kill);
    driver.complete("s/last");
    driver.advance(SECOND);
    assert_eq!(driver.state("s"), "backing-off");
    driver.stop();
    assert_eq!(forced(&driver.report()), []);
}

/// The supervisor ends because the one below it ended and was given up on, so what was forced there belongs to its attempt.
#[test]
fn forced_stops_two_levels_below_a_supervisor_that_is_about_to_start_again_are_not_in_the_report_of_the_end()
{
    let below = ends_by_force("b").restart(Restart::Permanent).limit(Limit::new(0, secs(60)));
    let inner = sup("s", [below]).restart(Restart::Permanent).delayed(secs(9));
    let mut driver = TestDriver::started(&sup("t", [inner, leaf("z")]));
    driver.obeys("s/b/stubborn", Obeys::Kill);
    driver.complete("s/b/last");
    driver.advance(SECOND);
    assert_eq!(driver.state("s"), "backing-off");
    driver.stop();
    assert_eq!(forced(&driver.report()), []);
}

#[test]
fn forced_stops_below_an_added_supervisor_that_has_left_the_tree_are_not_in_the_report_of_the_end() {
    let mut driver = TestDriver::started(&sup("t", [leaf("z")]));
    driver.add("", &ends_by_force("s")).expect("it is added");
    driver.obeys("s/stubborn", Obeys::Kill);
    driver.complete("s/last");
    driver.advance(SECOND);
    assert!(driver.find("s").is_none(), "it has left the tree");
    driver.stop();
    assert_eq!(forced(&driver.report()), []);
}

#[test]
fn a_supervisor_that_ended_keeps_ten_thousand_forced_stops_and_counts_the_others() {
    for (more, unlisted) in [(0, 0), (1, 1), (7, 7)] {
        let killed = |name: String| leaf(&name).stop_within(Duration::ZERO);
        let many = sup("many", (0..MAX_KEPT_FORCED).map(|n| killed(format!("a{n}"))));
        let few = sup("few", (0..more).map(|n| killed(format!("b{n}"))));
        let never = Limit::new(0, secs(60));
        let ends = sup("s", [many, few, leaf("bad").limit(never)]);
        let tree = sup("t", [ends.limit(never.on_exceeded(GiveUp::QUARANTINE))]);
        let (mut machine, ids) = Machine::new(&tree).expect("a good spec");
        let mut report = None;
        let bad = Input::Exited(ids[ids.len() - 1], Attempt(1), Exit::failed("bad"));
        for input in [Input::Start, bad, Input::Stop] {
            machine.handle(Time::ZERO, 0, input);
            while let Some(effect) = machine.poll_effect() {
                match effect {
                    Effect::Kill(id, attempt) => {
                        machine.handle(Time::ZERO, 0, Input::Exited(id, attempt, Exit::Killed));
                    }
                    Effect::TreeEnded { report: last, .. } => report = Some(last),
                    _ => {}
                }
            }
        }
        let report = report.expect("all of them were killed");
        assert_eq!((report.forced().count(), report.unlisted_forced), (MAX_KEPT_FORCED, unlisted));
        assert!(!report.is_clean());
    }
}

#[test]
fn the_report_of_a_failed_first_start_shows_a_completed_child_as_completed() {
    for ending in [false, true] {
        let job = leaf("job").temporary();
        let mut driver = TestDriver::new(&sup("t", [job, leaf("bad").reports()]).edges());
        driver.policy("bad").ready = false;
        driver.obeys("job", Obeys::Test);
        driver.start();
        let (id, attempt) = (driver.id("job"), driver.attempt("job"));
        if ending {
            driver.input(Input::Ending(id, attempt, Exit::Completed));
        }
        driver.fail("bad");
        driver.exit("job", if ending { Exit::Stopped } else { Exit::Completed });
        let report = driver.report();
        let entry = report.entries.iter().find(|entry| entry.path.name() == "job").expect("it is listed");
        assert!(matches!(entry.exit, Some(Exit::Completed)), "{entry:?}");
    }
}

#[test]
fn a_tree_that_has_ended_well_is_not_shown_as_down_and_unhealthy() {
    // It ended by itself.
    let tree = sup("t", [leaf("a").temporary()]).rules(|rules| rules.end_when_done = true);
    let mut driver = TestDriver::started(&tree);
    driver.complete("a");
    let root = driver.view("");
    assert_eq!((root.state.as_str(), root.health), ("finished", Health::Healthy));
    // It was stopped.
    let mut driver = TestDriver::started(&sup("t", [leaf("a"), sup("s", [leaf("b")])]));
    driver.stop();
    let root = driver.view("");
    assert_eq!((root.state.as_str(), root.health), ("stopped", Health::Degraded));
    assert!(driver.snapshot().nodes().all(|node| node.health != Health::Unhealthy));
    // It failed.
    let mut driver = TestDriver::started(&sup("t", [leaf("a").limit(Limit::new(0, SECOND)), leaf("b")]));
    driver.fail("a");
    let states = ["", "a", "b"].map(|path| {
        let view = driver.view(path);
        (view.state.as_str(), view.health)
    });
    let down = |health| ("down", health);
    assert_eq!(states, [down(Health::Unhealthy), down(Health::Unhealthy), down(Health::Degraded)]);
}

#[test]
fn a_child_that_was_added_does_not_hold_back_the_readiness_of_the_declared_tree() {
    for edges in [false, true] {
        let tree = sup("t", [leaf("a").reports(), sup("s", [leaf("b")])]);
        let mut driver = TestDriver::new(&if edges { tree.edges() } else { tree });
        driver.policy("a").ready = false;
        driver.policy("new").ready = false;
        driver.policy("s/more").ready = false;
        driver.start();
        driver.add("", &leaf("new").reports().start_within(secs(1_000))).expect("a good spec");
        driver.ready("a");
        assert_eq!(driver.states(["", "new"]), ["running", "starting"], "edges: {edges}");
        driver.command("s", Command::Restart);
        driver.add("s", &leaf("more").reports()).expect("a good spec");
        assert_eq!(driver.states(["s", "s/more"]), ["running", "starting"], "edges: {edges}");
    }
}

#[test]
fn an_added_child_that_fails_before_it_is_ready_never_fails_the_first_start_of_its_supervisor() {
    let tree = sup("t", [leaf("a"), leaf("slow").reports().start_within(secs(100))]).edges();
    let mut driver = TestDriver::new(&tree.strategy(crate::Strategy::OneForAll));
    driver.policy("slow").ready = false;
    driver.start();
    driver.policy("new").ready = false;
    driver.add("", &leaf("new").reports().transient()).expect("a good spec");
    // It finishes before it was ready, comes back with its siblings, and fails then.
    driver.complete("new");
    assert_eq!(driver.state("new"), "finished");
    driver.fail("a");
    assert_eq!(driver.state("new"), "starting");
    driver.fail("new");
    assert!(driver.down.is_none());
    assert_eq!(driver.count("start-failed"), 0);
}

#[test]
fn a_tree_that_is_done_has_failed_if_an_added_temporary_child_has_failed_and_left() {
    let outcomes: [(&[Exit], &str); 4] = [
        (&[Exit::Completed], "completed"),
        (&[Exit::failed("boom")], "failed"),
        (&[Exit::failed("boom"), Exit::Completed], "failed"),
        (&[Exit::Completed, Exit::Ignored], "completed"),
    ];
    for (exits, expected) in outcomes {
        for nested in [false, true] {
            let (inner, below) = (sup("s", [leaf("b").temporary()]), if nested { "s" } else { "" });
            let root = sup("t", [leaf("a").temporary(), inner]).rules(|rules| rules.end_when_done = true);
            let mut driver = TestDriver::started(&root);
            for (n, exit) in exits.iter().enumerate() {
                let name = format!("job{n}");
                driver.add(below, &leaf(&name).temporary()).expect("it is added");
                let path = if nested { format!("s/{name}") } else { name };
                driver.exit(&path, exit.clone());
                assert!(driver.find(&path).is_none(), "it has left the tree");
            }
            driver.complete("a");
            driver.complete("s/b");
            assert_eq!(driver.down_kind(), expected, "{exits:?}, nested: {nested}");
        }
    }
}

#[test]
fn a_failed_added_child_is_forgotten_when_its_supervisor_starts_again_and_members_of_groups_never_count() {
    let root = sup("t", [sup("s", [leaf("b").transient()])]).rules(|rules| rules.end_when_done = true);
    let mut driver = TestDriver::started(&root);
    driver.add("s", &leaf("job").temporary()).expect("it is added");
    driver.fail("s/job");
    driver.command("s", Command::Restart);
    driver.complete("s/b");
    assert_eq!(driver.down_kind(), "completed");
}
