//! Trial attempts of quarantined children; the name of each test is the rule.

use super::shape::{SECOND, leaf, millis, name, secs, sup};
use super::test_driver::{Obeys, TestDriver};
use crate::{
    AutoShutdown, Backoff, ChildDeclaration, Command, Condition, Edge, EventKind, Exit, GiveUp, Health,
    Input, Limit, Need, Refusal, Strategy, Survivors,
};
use std::sync::Arc;
use std::time::Duration;

/// The time between the quarantine and a trial.
const RETRY: Duration = secs(300);

/// Returns a child that is quarantined at its first failure, and makes a trial after [`RETRY`].
fn retries(name: &str) -> ChildDeclaration {
    let give_up = GiveUp::Quarantine { retry_after: Some(RETRY) };
    leaf(name).limit(Limit::new(0, SECOND).on_exceeded(give_up))
}

/// Returns a driver for `q`, which is quarantined now, and its siblings `b` and `c`.
fn quarantined(strategy: Strategy) -> TestDriver {
    let tree = sup("t", [leaf("b"), retries("q"), leaf("c").after("q", Condition::Started)]);
    let mut driver = TestDriver::started(&tree.strategy(strategy));
    driver.fail("q");
    driver.log();
    driver
}

fn count(driver: &TestDriver, name: &str) -> usize {
    driver.events.iter().filter(|event| event.kind.name() == name).count()
}

#[test]
fn a_trial_that_loses_a_need_puts_the_child_back_into_quarantine() {
    let edge = Edge { child: name("db"), condition: Condition::Ready };
    let need = Need { child: name("db"), grace: secs(5) };
    let q = retries("q").with(|spec| {
        (spec.after, spec.needs) = (vec![edge], vec![need]);
        spec.backoff = Some(Backoff::constant(SECOND));
    });
    let mut driver = TestDriver::started(&sup("t", [leaf("db"), q]));
    driver.fail("q");
    driver.advance(RETRY);
    assert!(driver.view("q").trial);
    let _ = driver.ask("db", Command::Stop);
    driver.advance(secs(5));
    let view = driver.view("q");
    assert_eq!((view.state.as_str(), view.retry_in), ("quarantined", Some(RETRY)));
}

#[test]
fn a_quarantined_child_makes_one_trial_attempt_after_retry_after() {
    let mut driver = quarantined(Strategy::OneForOne);
    assert_eq!((driver.state("q"), driver.view("q").retry_in), ("quarantined", Some(RETRY)));
    driver.advance(RETRY - millis(1));
    assert_eq!((driver.state("q"), driver.view("q").retry_in), ("quarantined", Some(millis(1))));
    driver.advance(millis(1));
    let view = driver.view("q");
    assert_eq!((view.state.as_str(), view.trial, view.retry_in), ("running", true, None));
    assert_eq!(view.health, Health::Unhealthy, "it is still quarantined");
    assert_eq!(driver.log(), ["start q"]);
}

#[test]
fn a_failed_trial_goes_straight_back_without_charge_and_touches_no_sibling() {
    for strategy in [Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne] {
        let mut driver = quarantined(strategy);
        for trial in 1..=20 {
            driver.advance(RETRY);
            driver.fail("q");
            assert_eq!(driver.log(), ["start q", "gone q"], "trial {trial} under {strategy:?}");
            assert_eq!((driver.state("q"), driver.view("q").retry_in), ("quarantined", Some(RETRY)));
        }
        assert_eq!(count(&driver, "quarantined"), 21);
        assert_eq!(
            count(&driver, "gave-up") + count(&driver, "restart-set") + count(&driver, "backing-off"),
            0
        );
        assert_eq!((driver.state("b"), driver.down.is_none()), ("running", true));
    }
}

#[test]
fn a_trial_that_is_stable_ends_the_quarantine_and_the_ordinary_rules_apply_again() {
    let mut driver = quarantined(Strategy::OneForOne);
    driver.advance(RETRY + secs(10) - millis(1));
    assert!(driver.view("q").trial);
    driver.advance(millis(1));
    let view = driver.view("q");
    assert_eq!((view.state.as_str(), view.trial, view.health), ("running", false, Health::Healthy));
    assert_eq!(count(&driver, "released"), 1);
    driver.fail("q");
    assert_eq!(driver.state("q"), "quarantined", "the limit is counted anew");
    assert_eq!(driver.view("q").retry_in, Some(RETRY));
}

#[test]
fn a_trial_that_succeeds_ends_the_quarantine() {
    for (child, state) in [(retries("q").transient(), "finished"), (leaf("q"), "running")] {
        let limit = Limit::new(1, SECOND).on_exceeded(GiveUp::Quarantine { retry_after: Some(RETRY) });
        let mut driver = TestDriver::started(&sup("t", [child.limit(limit), leaf("b")]));
        driver.fail("q");
        driver.fail("q");
        driver.advance(RETRY);
        assert_eq!(driver.state("q"), "running");
        driver.complete("q");
        assert_eq!((driver.state("q"), driver.view("q").trial), (state, false));
        assert_eq!(count(&driver, "released"), 1);
    }
}

#[test]
fn for_edges_a_trial_counts_as_ready_once_it_is_stable() {
    for condition in [Condition::Started, Condition::Ready, Condition::Healthy] {
        let tree = sup("t", [retries("q"), leaf("c").after("q", condition)]);
        let mut driver = TestDriver::started(&tree);
        driver.fail("q");
        driver.fail("c");
        assert_eq!(driver.states(["q", "c"]), ["quarantined", "waiting"], "{condition:?}");
        driver.advance(RETRY + secs(9));
        assert_eq!(driver.states(["q", "c"]), ["running", "waiting"], "{condition:?}");
        assert!(driver.ask("c", Command::Stop).is_ok());
        assert!(matches!(driver.ask("c", Command::Start), Err(Refusal::WaitsFor { .. })), "it is held");
        driver.advance(secs(1));
        assert_eq!(driver.states(["q", "c"]), ["running", "running"], "{condition:?}");
    }
}

#[test]
fn a_restart_set_stops_a_trial_and_puts_the_child_back() {
    let mut driver = quarantined(Strategy::OneForAll);
    driver.advance(RETRY);
    driver.log();
    driver.fail("b");
    // `c` comes after `q`, so it waits as long as `q` is quarantined.
    assert_eq!(driver.log(), ["gone b", "ask c", "gone c", "ask q", "gone q", "start b"]);
    assert_eq!(driver.states(["b", "q", "c"]), ["running", "quarantined", "waiting"]);
    assert_eq!(driver.view("q").retry_in, Some(RETRY));
    driver.advance(RETRY + secs(10));
    assert_eq!(driver.states(["b", "q", "c"]), ["running", "running", "running"]);
}

#[test]
fn a_trial_that_waits_for_its_start_is_put_back_by_a_restart_set() {
    let tree = sup("t", [leaf("b"), leaf("d"), retries("q").after("d", Condition::Ready)]);
    let mut driver = TestDriver::started(&tree.strategy(Strategy::OneForAll));
    driver.fail("q");
    driver.command("d", Command::Stop);
    driver.advance(RETRY);
    assert_eq!((driver.state("q"), driver.view("q").trial), ("waiting", true));
    driver.fail("b");
    assert_eq!((driver.state("q"), driver.view("q").trial), ("quarantined", false));
    assert_eq!(driver.view("q").retry_in, Some(RETRY));
}

#[test]
fn a_pending_retry_alone_does_not_keep_a_tree_running() {
    let tree = sup("t", [retries("q"), leaf("b").transient()]).rules(|rules| rules.end_when_done = true);
    let mut driver = TestDriver::started(&tree);
    driver.fail("q");
    driver.complete("b");
    assert_eq!(driver.down_kind(), "gave-up");
    assert_eq!(driver.machine.poll_deadline(), None);
}

#[test]
fn auto_shutdown_counts_a_child_in_a_trial_as_ended() {
    let tree = sup("t", [retries("q").transient().significant(), leaf("b").transient().significant()]);
    let mut driver =
        TestDriver::started(&tree.rules(|rules| rules.auto_shutdown = AutoShutdown::AllSignificant));
    driver.fail("q");
    driver.advance(RETRY);
    assert_eq!(driver.state("q"), "running");
    driver.complete("b");
    assert_eq!(driver.down_kind(), "auto-shutdown-failed");
}

#[test]
fn a_trial_in_a_first_start_neither_delays_nor_fails_it() {
    let tree = sup("t", [retries("q").reports(), leaf("b").reports()]).retries();
    let mut driver = TestDriver::new(&tree);
    driver.policy("q").ready = false;
    driver.policy("b").ready = false;
    driver.start();
    driver.fail("q");
    assert_eq!(driver.states(["q", "b"]), ["quarantined", "starting"]);
    driver.ready("b");
    driver.advance(RETRY);
    driver.exit("q", Exit::failed_not_retryable("no such program"));
    assert_eq!(driver.states(["q", "b"]), ["quarantined", "running"]);
    assert!(driver.down.is_none());
}

#[test]
fn a_command_ends_the_quarantine_or_the_trial() {
    for command in [Command::Start, Command::Restart] {
        let mut driver = quarantined(Strategy::OneForOne);
        assert!(driver.ask("q", command).is_ok());
        assert!(!driver.view("q").trial, "a start by {command:?} is no trial");
        assert_eq!((count(&driver, "released"), driver.machine.poll_deadline()), (1, None));
    }
    let mut driver = quarantined(Strategy::OneForOne);
    driver.advance(RETRY);
    assert!(driver.ask("q", Command::Restart).is_ok());
    assert_eq!((driver.state("q"), driver.view("q").trial), ("running", false));
    for command in [Command::Stop, Command::Remove] {
        for in_trial in [false, true] {
            let mut driver = TestDriver::started(&sup("t", [retries("q"), leaf("b")]));
            driver.fail("q");
            driver.advance(if in_trial { RETRY } else { SECOND });
            assert!(driver.ask("q", command).is_ok());
            assert_eq!(driver.machine.poll_deadline(), None, "{command:?}: no timer is left");
        }
    }
}

#[test]
fn a_stopped_supervisor_makes_no_trials() {
    for in_trial in [false, true] {
        let mut driver = TestDriver::started(&sup("t", [sup("s", [retries("q"), leaf("b")])]));
        driver.fail("s/q");
        driver.advance(if in_trial { RETRY } else { SECOND });
        driver.command("s", Command::Stop);
        assert_eq!(driver.machine.poll_deadline(), None);
        driver.command("s", Command::Start);
        assert_eq!((driver.state("s/q"), driver.view("s/q").trial), ("running", false), "it starts anew");
    }
}

#[test]
fn the_trial_of_a_supervisor_ends_the_quarantine_when_its_children_are_stable() {
    let give_up = GiveUp::Quarantine { retry_after: Some(RETRY) };
    let nested = sup("s", [leaf("a"), leaf("b").limit(Limit::new(0, SECOND))]);
    let mut driver =
        TestDriver::started(&sup("t", [nested.limit(Limit::new(0, SECOND).on_exceeded(give_up)), leaf("c")]));
    driver.fail("s/b");
    assert_eq!(driver.state("s"), "quarantined");
    driver.advance(RETRY);
    assert_eq!((driver.state("s"), driver.view("s").trial), ("running", true));
    driver.advance(secs(10));
    assert!(!driver.view("s").trial);
}

#[test]
fn there_is_no_trial_while_processes_of_the_last_attempt_are_alive() {
    let mut driver = TestDriver::new(&sup("t", [retries("q").stop_within(SECOND), leaf("b")]));
    driver.obeys("q", Obeys::Nothing);
    driver.start();
    let (id, attempt) = (driver.id("q"), driver.attempt("q"));
    let survivors = Survivors { pids: vec![7], refused: None };
    driver.input(Input::MaySurvive(id, attempt, Arc::new(survivors)));
    driver.input(Input::Ending(id, attempt, Exit::Code(1)));
    driver.advance(RETRY * 3);
    assert_eq!((driver.state("q"), driver.view("q").retry_in), ("quarantined", None));
    driver.input(Input::Gone(id, attempt));
    assert_eq!((driver.state("q"), driver.view("q").retry_in), ("quarantined", Some(RETRY)));
    driver.advance(RETRY);
    assert!(driver.view("q").trial);
}

#[test]
fn a_suspended_process_does_not_make_a_trial_stable() {
    let mut driver = quarantined(Strategy::OneForOne);
    driver.advance(RETRY + SECOND);
    driver.jump(driver.now.after(secs(3600)));
    assert!(driver.view("q").trial, "the time before the late deadline does not count");
    driver.advance(secs(10));
    assert!(!driver.view("q").trial);
}

#[test]
fn a_retry_after_of_zero_is_refused() {
    let give_up = GiveUp::Quarantine { retry_after: Some(Duration::ZERO) };
    let limit = Limit::new(1, SECOND).on_exceeded(give_up);
    let mut tree = sup("t", [leaf("a").limit(limit)]);
    assert_eq!(
        tree.check().expect_err("zero").to_string(),
        "/t/a: limit.retry_after: it is zero, so the child would be tried again at once; expected more, or no \
         `retry_after`"
    );
    tree = sup("t", [leaf("a")]).rules(|rules| rules.intensity = Some(limit));
    assert!(tree.check().is_err());
}

#[test]
fn the_quarantine_event_says_when_the_child_is_tried_again() {
    let driver = quarantined(Strategy::OneForOne);
    let told = driver.events.iter().find_map(|event| match &event.kind {
        EventKind::Quarantined(gave_up) => Some(gave_up.retry_after),
        _ => None,
    });
    assert_eq!(told, Some(Some(RETRY)));
}
