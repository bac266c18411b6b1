//! Corner cases of stability, restarts, needs and commands. The name of each test is the rule.

use super::enough::last_step;
use super::shape::{SECOND, leaf, millis, name, secs, sup};
use super::test_driver::{Checked, Obeys, TestDriver, word};
use crate::{
    Backoff, CheckKind, CheckSpec, ChildDeclaration, ChildState, Command, Condition, Edge, EventKind, GiveUp,
    Limit, Need, Refusal, Strategy, WaitingFor,
};
use std::time::Duration;

const NEVER_AGAIN: Limit = Limit::new(0, SECOND);
const RETRY: Duration = secs(300);

/// Returns a backoff whose steps can be counted, and whose child is stable after this time.
fn counted(reset_after: Duration) -> Option<Backoff> {
    Some(Backoff { from: millis(10), to: millis(10), reset_after, ..Backoff::default() })
}

/// Returns a supervisor whose restarts can be counted, and whose child `a` ends it when it fails.
fn fragile(children: impl IntoIterator<Item = ChildDeclaration>) -> ChildDeclaration {
    let children: Vec<_> = [leaf("a").limit(NEVER_AGAIN)].into_iter().chain(children).collect();
    sup("s", children).limit(Limit::unlimited()).with(|child| child.backoff = counted(secs(10)))
}

/// Returns a driver for a fragile supervisor with these children, which has failed once and runs again.
fn failed_once(children: impl IntoIterator<Item = ChildDeclaration>) -> TestDriver {
    let mut driver = TestDriver::started(&sup("t", [fragile(children)]));
    driver.fail("s/a");
    driver.advance(millis(10));
    assert_eq!(last_step(&driver), Some(1));
    driver
}

fn needs(child: ChildDeclaration, other: &str) -> ChildDeclaration {
    child.with(|spec| {
        spec.after.push(Edge { child: name(other), condition: Condition::Ready });
        spec.needs.push(Need { child: name(other), grace: secs(5) });
    })
}

/// Returns a child that is quarantined at its first failure, and makes a trial after [`RETRY`].
fn retries(text: &str) -> ChildDeclaration {
    leaf(text).limit(NEVER_AGAIN.on_exceeded(GiveUp::Quarantine { retry_after: Some(RETRY) }))
}

fn waits_for(driver: &mut TestDriver, path: &str) -> WaitingFor {
    match driver.view(path).state {
        ChildState::Waiting { what, .. } => what,
        other => panic!("{path} does not wait: {other:?}"),
    }
}

fn events(driver: &TestDriver, path: &str, kind: &str) -> usize {
    driver.events.iter().filter(|event| event.path.name() == path && event.kind.name() == kind).count()
}

#[test]
fn a_supervisor_is_stable_when_its_children_are_even_if_its_own_time_is_longer() {
    let quick = |text: &str| leaf(text).limit(NEVER_AGAIN).with(|child| child.backoff = counted(SECOND));
    let s = sup("s", [quick("a")]).limit(Limit::unlimited()).with(|child| child.backoff = counted(secs(60)));
    let mut driver = TestDriver::started(&sup("t", [s]));
    for (ran, expected) in [(millis(980), 1), (millis(980), 2), (secs(1), 1)] {
        driver.advance(ran);
        driver.fail("s/a");
        assert_eq!(last_step(&driver), Some(expected), "{ran:?}");
        driver.advance(millis(10));
    }
}

#[test]
fn a_child_that_is_still_stopping_by_command_does_not_keep_its_supervisor_from_being_stable() {
    let mut driver = failed_once([leaf("b").stop_within(secs(60))]);
    driver.obeys("s/b", Obeys::Test);
    driver.advance(secs(5));
    driver.command("s/b", Command::Stop);
    driver.advance(secs(5));
    driver.fail("s/a");
    driver.exit("s/b", crate::Exit::Stopped);
    assert_eq!(last_step(&driver), Some(1));
}

#[test]
fn a_child_that_is_paused_and_has_ended_does_not_keep_its_supervisor_from_being_stable() {
    let mut driver = failed_once([leaf("b").limit(Limit::unlimited())]);
    driver.command("s/b", Command::Pause);
    driver.advance(secs(5));
    driver.fail("s/b");
    assert_eq!(driver.state("s/b"), "paused");
    driver.advance(secs(5));
    driver.fail("s/a");
    assert_eq!(last_step(&driver), Some(1));
}

#[test]
fn a_held_child_does_not_keep_its_supervisor_from_being_stable() {
    let c = leaf("c").after("b", Condition::Ready).limit(Limit::unlimited());
    let mut driver = failed_once([leaf("b"), c]);
    driver.command("s/b", Command::Stop);
    driver.advance(secs(5));
    driver.fail("s/c");
    assert_eq!(driver.state("s/c"), "waiting");
    driver.advance(secs(5));
    driver.fail("s/a");
    assert_eq!(last_step(&driver), Some(1));
}

#[test]
fn a_child_that_was_quarantined_before_it_was_ever_ready_keeps_its_supervisor_from_being_stable() {
    let q = leaf("q").reports().limit(NEVER_AGAIN.on_exceeded(GiveUp::QUARANTINE));
    let mut driver = TestDriver::new(&sup("t", [fragile([q]).retries()]));
    driver.policy("s/q").ready = false;
    driver.start();
    for expected in 1..4 {
        driver.fail("s/q");
        assert_eq!((driver.state("s"), driver.state("s/q")), ("running", "quarantined"));
        driver.advance(secs(10));
        driver.fail("s/a");
        assert_eq!(last_step(&driver), Some(expected));
        driver.advance(millis(10));
    }
}

#[test]
fn a_child_that_ran_its_only_time_in_this_attempt_counts_for_the_stability_of_its_supervisor() {
    let once = leaf("once").temporary().with(|child| (child.once, child.keep) = (true, false));
    let s = sup("s", [leaf("a").reports().limit(NEVER_AGAIN), once]);
    let s = s.limit(Limit::unlimited()).with(|child| child.backoff = counted(secs(10)));
    let mut driver = TestDriver::new(&sup("t", [s]).retries());
    driver.policy("s/a").ready = false;
    driver.start();
    // The first attempt of the supervisor fails before it has started the second child.
    driver.fail("s/a");
    assert_eq!(last_step(&driver), Some(1));
    driver.policy("s/a").ready = true;
    driver.advance(millis(10));
    driver.fail("s/once");
    driver.advance(secs(10));
    driver.fail("s/a");
    assert_eq!(last_step(&driver), Some(2), "the only run has failed at once");
}

#[test]
fn an_attempt_that_was_stable_before_its_check_failed_stays_stable() {
    let check =
        CheckSpec { every: SECOND, timeout: millis(400), ..CheckSpec::new(name("r"), CheckKind::Readiness) };
    for (ran, expected) in [(secs(8), 2), (secs(11), 1)] {
        let a = leaf("a").checked(check.clone()).limit(Limit::unlimited());
        let a = a.with(|child| child.backoff = counted(secs(10)));
        let mut driver = TestDriver::started(&sup("t", [a]));
        driver.advance(secs(1));
        driver.fail("a");
        driver.advance(ran + millis(10));
        driver.checked.insert("a.r".to_owned(), Checked::Fails);
        driver.advance(secs(9));
        driver.checked.clear();
        driver.advance(secs(3));
        driver.fail("a");
        assert_eq!(last_step(&driver), Some(expected), "{ran:?}");
    }
}

#[test]
fn a_deadline_that_is_seen_exactly_a_second_late_shows_no_suspension() {
    for (late, expected) in [(millis(1_000), 1), (millis(1_001), 2)] {
        let beats = leaf("beats").with(|child| child.heartbeat = Some(secs(4)));
        let a = leaf("a").limit(Limit::unlimited()).with(|child| child.backoff = counted(secs(10)));
        let mut driver = TestDriver::started(&sup("t", [a, beats]));
        driver.fail("a");
        driver.advance(secs(10));
        let next = driver.machine.poll_deadline().expect("a heartbeat is checked");
        driver.jump(next.after(late));
        driver.fail("a");
        assert_eq!(last_step(&driver), Some(expected), "{late:?}");
    }
}

#[test]
fn the_number_of_a_restart_set_counts_the_children_that_start_again_only() {
    let children = [
        leaf("a").limit(Limit::unlimited()),
        leaf("b"),
        retries("trial"),
        leaf("paused"),
        leaf("paused-and-done").transient(),
        leaf("stopped"),
    ];
    let mut driver = TestDriver::started(&sup("t", children).strategy(Strategy::OneForAll));
    driver.fail("trial");
    driver.advance(RETRY);
    driver.complete("paused-and-done");
    driver.command("paused-and-done", Command::Pause);
    driver.command("paused", Command::Pause);
    driver.command("stopped", Command::Stop);
    driver.fail("a");
    let sets = driver.events.iter().filter_map(|event| match event.kind {
        EventKind::RestartSet { children } => Some(children),
        _ => None,
    });
    assert_eq!(sets.collect::<Vec<_>>().last(), Some(&2), "a and b");
}

#[test]
fn an_exceeded_intensity_keeps_the_row_of_the_child() {
    let a = leaf("a").limit(Limit::new(3, secs(1_000)).on_exceeded(GiveUp::QUARANTINE));
    let s = sup("s", [a, leaf("b")]).intensity(1, secs(1_000)).limit(Limit::unlimited());
    let mut driver = TestDriver::started(&sup("t", [s]));
    for _ in 0..3 {
        driver.fail("s/a");
        assert_eq!(driver.state("s/a"), "running");
    }
    driver.fail("s/a");
    assert_eq!(
        driver.state("s/a"),
        "quarantined",
        "four failures in a row, over two attempts of the supervisor"
    );
}

#[test]
fn a_restart_command_whose_attempt_is_given_up_on_is_answered() {
    let mut driver = TestDriver::started(&sup(
        "t",
        [leaf("a").reports().limit(NEVER_AGAIN.on_exceeded(GiveUp::QUARANTINE))],
    ));
    driver.policy("a").ready = false;
    let request = driver.command("a", Command::Restart);
    assert!(driver.answer(request).is_none());
    driver.fail("a");
    assert_eq!(driver.state("a"), "quarantined");
    assert!(matches!(driver.answer(request), Some(Err(_))), "{:?}", driver.answer(request));
}

#[test]
fn a_restart_by_command_does_not_count_as_one_after_a_failure() {
    let a = leaf("a").limit(Limit::unlimited()).with(|child| child.backoff = counted(secs(10)));
    let mut driver = TestDriver::started(&sup("t", [a]));
    driver.fail("a");
    driver.advance(millis(10));
    assert_eq!(driver.view("a").restarts, 1);
    driver.ask("a", Command::Restart).expect("it restarts");
    assert_eq!(driver.view("a").restarts, 1);
    // The backoff is not over when a command stops the child and another one starts it.
    driver.fail("a");
    assert_eq!(driver.state("a"), "backing-off");
    driver.ask("a", Command::Stop).expect("it stops");
    driver.ask("a", Command::Start).expect("it starts");
    assert_eq!(driver.view("a").restarts, 1);
}

#[test]
fn a_job_that_is_over_for_good_is_told_as_finished_once() {
    let once = leaf("once").temporary().with(|child| (child.once, child.keep) = (true, false));
    let mut driver = TestDriver::started(&sup("t", [fragile([once])]));
    driver.complete("s/once");
    for _ in 0..3 {
        driver.fail("s/a");
        driver.advance(millis(10));
    }
    assert_eq!((driver.state("s/once"), events(&driver, "once", "finished")), ("finished", 1));
}

#[test]
fn a_child_that_restarts_alone_waits_for_its_edges_and_not_for_its_turn() {
    let unlimited = |text: &str| leaf(text).reports().limit(Limit::unlimited());
    let tree = sup("t", [unlimited("x"), unlimited("y"), unlimited("c").after("y", Condition::Ready)]);
    let mut driver = TestDriver::started(&tree);
    for path in ["x", "y", "c"] {
        driver.policy(path).ready = false;
    }
    driver.fail("x");
    driver.fail("y");
    driver.fail("c");
    assert_eq!(waits_for(&mut driver, "c"), WaitingFor::Edge(name("y"), Condition::Ready));
}

#[test]
fn a_lost_need_makes_only_its_own_edge_unmet() {
    let y =
        leaf("y").limit(Limit::unlimited()).with(|child| child.backoff = Some(Backoff::constant(secs(60))));
    let c = needs(leaf("c").after("x", Condition::Ready).limit(Limit::unlimited()), "y");
    let mut driver = TestDriver::started(&sup("t", [leaf("x"), y, c]));
    driver.fail("y");
    driver.fail("c");
    assert_eq!(waits_for(&mut driver, "c"), WaitingFor::Edge(name("y"), Condition::Ready));
}

#[test]
fn a_supervisor_in_which_a_child_makes_a_trial_does_not_meet_a_need() {
    let s = sup("s", [leaf("a"), retries("q")]);
    let mut driver = TestDriver::started(&sup("t", [s, needs(leaf("c"), "s")]));
    driver.fail("s/q");
    driver.advance(secs(5));
    assert_eq!(driver.state("c"), "waiting");
    driver.advance(RETRY - secs(1));
    assert_eq!((driver.view("s/q").trial, driver.state("c")), (true, "waiting"));
    driver.advance(secs(10));
    assert_eq!((driver.view("s/q").trial, driver.state("c")), (false, "running"));
}

#[test]
fn a_supervisor_whose_child_is_still_stopping_by_command_meets_a_need() {
    let s = sup("s", [leaf("a"), leaf("b").stop_within(secs(60))]);
    let mut driver = TestDriver::started(&sup("t", [s, needs(leaf("c"), "s")]));
    driver.obeys("s/b", Obeys::Test);
    driver.command("s/b", Command::Stop);
    driver.advance(secs(20));
    assert_eq!((driver.state("s/b"), driver.state("c")), ("stopping", "running"));
}

#[test]
fn a_running_child_whose_check_fails_does_not_meet_a_need() {
    let check =
        CheckSpec { every: SECOND, timeout: millis(400), ..CheckSpec::new(name("r"), CheckKind::Readiness) };
    let mut driver = TestDriver::started(&sup("t", [leaf("db").checked(check), needs(leaf("c"), "db")]));
    driver.advance(secs(2));
    assert_eq!(driver.state("c"), "running");
    driver.checked.insert("db.r".to_owned(), Checked::Fails);
    driver.advance(secs(20));
    assert_eq!((driver.state("db"), driver.state("c")), ("running", "waiting"));
}

#[test]
fn a_start_while_a_paused_child_is_stopping_ends_its_pause() {
    let mut driver = TestDriver::started(&sup("t", [leaf("a").stop_within(secs(60))]));
    driver.obeys("a", Obeys::Test);
    driver.command("a", Command::Pause);
    driver.command("a", Command::Stop);
    let start = driver.command("a", Command::Start);
    driver.exit("a", crate::Exit::Stopped);
    assert_eq!(driver.answer(start).as_ref().map(word), Some("ready"));
    assert_eq!((driver.state("a"), driver.view("a").paused), ("running", false));
}

#[test]
fn a_command_is_superseded_by_a_later_one_that_contradicts_it() {
    let mut driver = TestDriver::started(&sup("t", [leaf("a").reports().stop_within(secs(60))]));
    driver.policy("a").ready = false;
    let first = driver.command("a", Command::Restart);
    assert!(driver.answer(first).is_none());
    let _second = driver.command("a", Command::Restart);
    assert!(matches!(driver.answer(first), Some(Err(Refusal::Superseded { by: "a restart" }))));
    driver.obeys("a", Obeys::Test);
    let quarantine = driver.command("a", Command::Quarantine);
    assert!(driver.answer(quarantine).is_none());
    let _start = driver.command("a", Command::Start);
    assert!(matches!(driver.answer(quarantine), Some(Err(Refusal::Superseded { by: "a start" }))));
}

#[test]
fn a_restart_of_a_trial_that_waits_ends_the_quarantine() {
    let q = retries("q").after("x", Condition::Ready);
    let mut driver = TestDriver::started(&sup("t", [leaf("x"), q]));
    driver.fail("q");
    driver.command("x", Command::Stop);
    driver.advance(RETRY);
    assert_eq!((driver.state("q"), driver.view("q").trial), ("waiting", true));
    driver.command("q", Command::Restart);
    assert_eq!((driver.state("q"), driver.view("q").trial), ("waiting", false));
}

#[test]
fn a_release_during_a_trial_ends_the_quarantine_and_is_answered() {
    let mut driver = TestDriver::started(&sup("t", [retries("q")]));
    driver.fail("q");
    driver.advance(RETRY);
    assert!(driver.view("q").trial);
    assert_eq!(word(&driver.ask("q", Command::Release)), "ready");
    assert_eq!((driver.state("q"), driver.view("q").trial), ("running", false));
    assert_eq!(driver.count("released"), 1);
}

#[test]
fn after_a_release_a_failed_start_is_restarted_by_the_ordinary_rules() {
    let a = leaf("a").reports().limit(Limit::new(3, secs(1_000)).on_exceeded(GiveUp::QUARANTINE));
    let mut driver = TestDriver::started(&sup("t", [a]));
    driver.policy("a").ready = false;
    driver.command("a", Command::Quarantine);
    assert_eq!(driver.state("a"), "quarantined");
    driver.command("a", Command::Release);
    driver.fail("a");
    assert_eq!(driver.state("a"), "starting");
}

#[test]
fn a_child_is_not_restarted_by_command_while_its_supervisor_stops() {
    let mut driver = TestDriver::started(&sup("t", [sup("s", [leaf("a"), leaf("b").stop_within(secs(60))])]));
    driver.obeys("s/b", Obeys::Test);
    driver.command("s", Command::Stop);
    for path in ["s/a", "s/b"] {
        let answer = driver.ask(path, Command::Restart);
        assert!(matches!(answer, Err(Refusal::SupervisorDown)), "{path}: {answer:?}");
    }
}

#[test]
fn an_added_child_begins_at_the_time_of_its_addition() {
    let mut driver = TestDriver::started(&sup("t", [leaf("a")]));
    driver.now = driver.now.after(secs(5));
    driver.add("", &leaf("x")).expect("room");
    assert_eq!(driver.view("x").since, driver.now);
    let added = driver.events.iter().find(|event| event.path.name() == "x").expect("an event");
    assert_eq!(added.at, driver.now);
}

#[test]
fn only_a_finished_temporary_leaf_makes_room_for_an_added_child_of_its_name() {
    let tree = sup("t", [leaf("a"), leaf("b").transient(), leaf("c").temporary(), sup("d", []).temporary()]);
    let mut driver = TestDriver::started(&tree);
    driver.complete("b");
    driver.complete("c");
    driver.command("d", Command::Stop);
    assert_eq!(driver.state("b"), "finished");
    for path in ["a", "b", "d"] {
        assert!(matches!(driver.add("", &leaf(path)), Err(Refusal::AlreadyExists { .. })), "{path}");
    }
    driver.add("", &leaf("c")).expect("room");
}
