//! What follows when the failure of a significant child ends its supervisor. The name of each test is the rule.

use super::shape::{SECOND, group, leaf, name, secs, sup};
use super::test_driver::TestDriver;
use crate::{
    AutoShutdown, ChildDeclaration, Command, Condition, EventKind, Exit, GiveUp, Health, Limit, Restart,
};

/// Returns a supervisor `s` that ends with its significant child `x`, which is temporary.
fn ends_with_x(which: AutoShutdown) -> ChildDeclaration {
    let children = [leaf("x").temporary().significant(), leaf("y")];
    sup("s", children).rules(|rules| rules.auto_shutdown = which)
}

const BOTH: [AutoShutdown; 2] = [AutoShutdown::AnySignificant, AutoShutdown::AllSignificant];

#[test]
fn an_auto_shutdown_caused_by_a_failure_names_the_child_and_its_exit() {
    for which in BOTH {
        let mut tree = ends_with_x(which);
        tree.name = name("t");
        let mut driver = TestDriver::started(&tree);
        driver.exit("x", Exit::Code(3));
        let (exit, _) = driver.down.clone().expect("down");
        assert!(exit.is_failure());
        let Exit::AutoShutdownFailed(failure) = exit else { panic!("{exit}") };
        assert_eq!((failure.path.as_str(), failure.exit.kind()), ("/t/x", "code"));
        let told = driver.events.iter().any(|event| matches!(event.kind, EventKind::AutoShutdownFailed(_)));
        assert!(told && driver.count("auto-shutdown") == 0);
    }
}

#[test]
fn after_an_auto_shutdown_that_failed_a_permanent_supervisor_is_restarted_and_others_finish() {
    for (restart, state) in
        [(Restart::Permanent, "running"), (Restart::Transient, "finished"), (Restart::Temporary, "finished")]
    {
        let nested = ends_with_x(AutoShutdown::AnySignificant).restart(restart);
        let mut driver = TestDriver::started(&sup("t", [leaf("a"), nested.limit(Limit::new(3, SECOND))]));
        driver.fail("s/x");
        assert_eq!(driver.states(["a", "s"]), ["running", state], "{restart:?}");
        let health = if restart == Restart::Permanent { Health::Healthy } else { Health::Degraded };
        assert_eq!(driver.view("s").health, health, "{restart:?}");
        if restart == Restart::Permanent {
            // The failures are further apart than the period, so only the row counts them.
            for _ in 0..3 {
                driver.advance(secs(5));
                driver.fail("s/x");
            }
            assert_eq!(driver.down_kind(), "gave-up");
        }
    }
    let nested = ends_with_x(AutoShutdown::AnySignificant);
    let mut driver = TestDriver::started(&sup("t", [nested]).intensity(1, secs(60)));
    driver.fail("s/x");
    driver.fail("s/x");
    assert_eq!(driver.down_kind(), "gave-up", "they are charged to the window");
}

#[test]
fn an_auto_shutdown_that_failed_restarts_no_sibling_of_a_transient_supervisor_under_any_strategy() {
    for strategy in [crate::Strategy::OneForAll, crate::Strategy::RestForOne] {
        let nested = ends_with_x(AutoShutdown::AnySignificant).transient();
        let mut driver = TestDriver::started(&sup("t", [leaf("a"), nested, leaf("z")]).strategy(strategy));
        driver.fail("s/x");
        assert_eq!(driver.done("start"), Vec::<String>::new());
    }
}

#[test]
fn a_failed_auto_shutdown_does_not_satisfy_the_condition_completed() {
    for (exit, met) in [(Exit::Completed, true), (Exit::failed("boom"), false)] {
        let nested = ends_with_x(AutoShutdown::AnySignificant).transient();
        let tree = sup("t", [nested, leaf("next").after("s", Condition::Completed)]).edges();
        let mut driver = TestDriver::started(&tree);
        driver.exit("s/x", exit);
        assert_eq!(driver.done("start").contains(&"next".to_owned()), met);
    }
}

#[test]
fn a_failed_auto_shutdown_can_end_the_supervisor_above_as_a_failure() {
    let inner = ends_with_x(AutoShutdown::AllSignificant).transient().significant();
    let middle =
        sup("m", [inner, leaf("z")]).rules(|rules| rules.auto_shutdown = AutoShutdown::AnySignificant);
    let middle = middle.temporary().significant();
    let tree = sup("t", [middle]).rules(|rules| rules.auto_shutdown = AutoShutdown::AllSignificant);
    let mut driver = TestDriver::started(&tree);
    driver.exit("m/s/x", Exit::Code(3));
    let (exit, _) = driver.down.clone().expect("down");
    assert_eq!(
        exit.to_string(),
        "ended because its significant child /t/m had ended: ended because its significant child /t/m/s had ended: \
         ended because its significant child /t/m/s/x had ended: exit code 3"
    );
}

#[test]
fn a_tree_with_end_when_done_fails_if_an_auto_shutdown_below_it_failed() {
    let nested = ends_with_x(AutoShutdown::AllSignificant).transient();
    let mut driver = TestDriver::started(&sup("t", [nested]).rules(|rules| rules.end_when_done = true));
    driver.fail("s/x");
    assert!(driver.down.as_ref().is_some_and(|(exit, _)| exit.is_failure()), "{:?}", driver.down);
}

#[test]
fn an_auto_shutdown_is_a_failure_if_any_significant_child_failed() {
    let all = |children: Vec<ChildDeclaration>| {
        sup("t", children).rules(|rules| rules.auto_shutdown = AutoShutdown::AllSignificant)
    };
    let significant = |name| leaf(name).temporary().significant();
    // The first one failed, the last one succeeded.
    let mut driver = TestDriver::started(&all(vec![significant("a"), significant("b"), significant("c")]));
    driver.complete("a");
    driver.fail("b");
    driver.complete("c");
    assert!(
        driver.down.as_ref().is_some_and(|(exit, _)| exit.to_string().contains("/t/b")),
        "{:?}",
        driver.down
    );
    // It was started again by a command, and succeeded then.
    let mut driver = TestDriver::started(&all(vec![significant("a"), significant("b")]));
    driver.fail("a");
    driver.command("a", Command::Start);
    driver.complete("a");
    driver.complete("b");
    assert_eq!(driver.down_kind(), "auto-shutdown");
    // It was given up on.
    let once = Limit::new(0, SECOND).on_exceeded(GiveUp::QUARANTINE);
    let tree = all(vec![leaf("a").transient().significant().limit(once), significant("b")]);
    let mut driver = TestDriver::started(&tree);
    driver.fail("a");
    assert!(driver.down.is_none(), "`b` still runs");
    driver.complete("b");
    assert_eq!(driver.down_kind(), "auto-shutdown-failed");
    // It was added, and left the tree with its end.
    let mut driver = TestDriver::started(&all(vec![significant("a")]));
    driver.add("", &significant("added")).expect("room");
    driver.exit("added", Exit::Code(3));
    assert_eq!(driver.state("added"), "gone");
    driver.complete("a");
    let (exit, _) = driver.down.clone().expect("down");
    assert!(
        matches!(&exit, Exit::AutoShutdownFailed(failure) if failure.path.as_str() == "/t/added"),
        "{exit}"
    );
}

#[test]
fn an_auto_shutdown_ignores_failures_of_an_earlier_attempt_of_the_supervisor() {
    let nested = sup("s", [leaf("x").temporary().significant(), leaf("y").limit(Limit::new(0, SECOND))])
        .rules(|rules| rules.auto_shutdown = AutoShutdown::AllSignificant);
    let mut driver = TestDriver::started(&sup("t", [nested.transient(), group("g")]));
    driver.add("s", &leaf("added").temporary().significant()).expect("room");
    driver.fail("s/added");
    driver.fail("s/y");
    assert_eq!(driver.view("s").attempt, crate::Attempt(2));
    driver.complete("s/x");
    assert_eq!(driver.view("s").last_exit.map(|exit| exit.kind()), Some("auto-shutdown"));
}

#[test]
fn a_significant_child_that_others_stopped_has_not_failed() {
    let tree =
        sup("t", [leaf("a").temporary().significant(), leaf("b").temporary().significant(), leaf("c")])
            .strategy(crate::Strategy::OneForAll)
            .rules(|rules| rules.auto_shutdown = AutoShutdown::AllSignificant);
    let mut driver = TestDriver::started(&tree);
    driver.obeys("a", super::test_driver::Obeys::Test);
    driver.command("b", Command::Restart);
    driver.fail("c");
    // It ends with a failure, but because it was stopped with its sibling.
    driver.exit("a", Exit::Code(1));
    driver.command("b", Command::Start);
    driver.complete("b");
    assert_eq!(driver.down_kind(), "auto-shutdown");
}

#[test]
fn the_end_of_an_insignificant_child_ends_no_supervisor_whose_last_significant_child_was_stopped_by_command()
{
    let children = [leaf("x").temporary().significant(), leaf("w").temporary().significant()];
    let nested = sup("s", children.into_iter().chain([leaf("y").temporary(), leaf("z")]));
    let nested = nested.rules(|rules| rules.auto_shutdown = AutoShutdown::AllSignificant);
    let mut driver = TestDriver::started(&sup("t", [nested.temporary()]));
    driver.complete("s/x");
    driver.ask("s/w", Command::Stop).expect("it is stopped");
    assert_eq!(driver.state("s"), "running", "a stop by command is not the end of a significant child");
    driver.complete("s/y");
    assert_eq!(driver.states(["s", "s/z"]), ["running", "running"]);
}
