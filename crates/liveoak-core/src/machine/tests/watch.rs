//! Waits for the end of an attempt, and for the readiness of a child.

use super::shape::{group, leaf, secs, sup};
use super::test_driver::{Obeys, Policy, TestDriver, word};
use crate::{
    Asker, Attempt, Awaited, ChildId, Command, Condition, Exit, GiveUp, Input, Limit, MAX_WAITERS, Machine,
    Moment, Outcome, RequestId, Time,
};

/// Returns the attempt and the exit in an answer, if it was given.
fn exited(driver: &TestDriver, request: RequestId) -> Option<(u64, String)> {
    match driver.answer(request)? {
        Ok(Outcome::Exited { attempt, exit, .. }) => Some((attempt.0, exit.kind().to_owned())),
        other => panic!("{other:?}"),
    }
}

fn answered(driver: &TestDriver, request: RequestId) -> Option<&'static str> {
    driver.answer(request).map(|answer| word(&answer))
}

#[test]
fn a_wait_for_an_exit_gets_the_exit_of_the_attempt_that_was_live_at_the_call() {
    let mut driver = TestDriver::started(&sup("t", [leaf("a")]));
    let (first, also_first) = (driver.watch("a", Moment::Exit), driver.watch("a", Moment::Exit));
    assert_eq!(exited(&driver, first), None);
    driver.fail("a");
    let second = driver.watch("a", Moment::Exit);
    driver.complete("a");
    assert_eq!(exited(&driver, first), Some((1, "failed".into())));
    assert_eq!(exited(&driver, also_first), exited(&driver, first));
    assert_eq!(exited(&driver, second), Some((2, "completed".into())));
}

#[test]
fn without_a_live_attempt_the_exit_of_the_last_attempt_or_of_the_first_one_to_come_is_the_answer() {
    let waiting = leaf("b").after("a", Condition::Completed).temporary();
    let mut driver = TestDriver::new(&sup("t", [leaf("a").temporary(), waiting]));
    driver.start();
    let to_come = driver.watch("b", Moment::Exit);
    driver.complete("a");
    let last = driver.watch("a", Moment::Exit);
    assert_eq!(exited(&driver, last), Some((1, "completed".into())));
    assert_eq!(exited(&driver, to_come), None);
    driver.fail("b");
    assert_eq!(exited(&driver, to_come), Some((1, "failed".into())));
}

#[test]
fn the_end_of_a_supervisor_an_abandoned_child_and_a_member_that_leaves_the_tree_are_told() {
    let mut driver = TestDriver::started(&sup("t", [sup("s", [leaf("a")]), leaf("stuck"), group("g")]));
    driver.add_member("g", Some("m")).expect("added");
    driver.obeys("stuck", Obeys::Nothing);
    let waits: Vec<RequestId> =
        ["s", "stuck", "g/m", ""].into_iter().map(|path| driver.watch(path, Moment::Exit)).collect();
    driver.stop();
    driver.advance(secs(100));
    let told: Vec<String> = waits.iter().map(|request| exited(&driver, *request).expect("told").1).collect();
    assert_eq!(told, ["stopped", "abandoned", "stopped", "stopped"]);
}

#[test]
fn a_wait_for_readiness_is_answered_when_any_later_attempt_is_ready() {
    let mut driver = TestDriver::started(&sup("t", [leaf("a").reports().delayed(secs(1))]));
    let now = driver.watch("a", Moment::Ready);
    assert_eq!(answered(&driver, now), Some("ready"));
    driver.policy("a").ready = false;
    driver.fail("a");
    let later = driver.watch("a", Moment::Ready);
    driver.advance(secs(2));
    assert_eq!(answered(&driver, later), None);
    driver.fail("a");
    driver.advance(secs(2));
    driver.ready("a");
    match driver.answer(later) {
        Some(Ok(Outcome::Ready { attempt, .. })) => assert_eq!(attempt.0, 3),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_wait_for_readiness_is_refused_as_soon_as_only_a_command_starts_the_child() {
    let limit = Limit { give_up: GiveUp::QUARANTINE, ..Limit::new(0, secs(1)) };
    let tree = || {
        let inner =
            sup("s", [leaf("a").reports(), leaf("b").reports().with(|spec| spec.limit = Some(limit))]);
        sup("t", [inner, leaf("other")])
    };
    let begin = |path: &str| {
        let mut driver = TestDriver::started(&tree());
        driver.policy(path).ready = false;
        driver.fail(path);
        let request = driver.watch(path, Moment::Ready);
        (driver, request)
    };
    let (mut driver, request) = begin("s/a");
    driver.command("s/a", Command::Stop);
    assert_eq!(answered(&driver, request), Some("down"));
    let (driver, request) = begin("s/b");
    assert_eq!(answered(&driver, request), Some("down"), "it is quarantined");
    let (mut driver, request) = begin("s/a");
    driver.command("s", Command::Stop);
    assert_eq!(answered(&driver, request), Some("supervisor down"));
    let (mut driver, request) = begin("s/a");
    driver.command("s", Command::Remove);
    assert_eq!(answered(&driver, request), Some("not found"));
    let (mut driver, request) = begin("s/a");
    driver.command("s", Command::Restart);
    assert_eq!(answered(&driver, request), None, "its supervisor starts it again");
    driver.ready("s/a");
    assert_eq!(answered(&driver, request), Some("ready"));
}

#[test]
fn a_child_that_finishes_before_it_is_ready_answers_the_wait_for_its_readiness() {
    for (exit, expected) in
        [(Exit::Completed, "finished"), (Exit::failed("boom"), "failed"), (Exit::Ignored, "ignored")]
    {
        let mut driver = TestDriver::started(&sup("t", [leaf("a").reports().temporary()]));
        driver.policy("a").ready = false;
        driver.command("a", Command::Restart);
        let request = driver.watch("a", Moment::Ready);
        driver.exit("a", exit);
        assert_eq!(answered(&driver, request), Some(expected));
    }
}

#[test]
fn a_wait_for_its_own_exit_or_readiness_is_refused_to_a_child_and_to_those_below_it() {
    let inner = sup("in", [leaf("own").reports(), leaf("next").reports()]);
    let mut driver = TestDriver::new(&sup("t", [leaf("first"), inner, leaf("other").reports()]));
    driver.set_default(Policy { obeys: Obeys::Test, ready: false, beats: true });
    driver.start();
    let asker = |listens| Asker {
        id: driver.id("in/own"),
        attempt: driver.attempt("in/own"),
        listens,
        of_other_tree: false,
    };
    let (plain, listening) = (asker(false), asker(true));
    let cases = [
        ("in/own", Moment::Exit, true, false),
        ("in", Moment::Exit, true, false),
        ("", Moment::Exit, true, false),
        ("first", Moment::Exit, false, false),
        ("in/own", Moment::Ready, true, true),
        ("in", Moment::Ready, true, true),
        ("in/next", Moment::Ready, true, true),
        ("other", Moment::Ready, true, true),
    ];
    for (path, moment, refused, refused_to_listener) in cases {
        let request = driver.watch(path, moment);
        assert_eq!(driver.answer(request).map(|answer| word(&answer)), None);
        let awaited = Awaited::Answer(request, driver.id(path));
        let machine = &driver.machine;
        let got = (
            machine.would_wait_for_itself(plain, awaited),
            machine.would_wait_for_itself(listening, awaited),
        );
        assert_eq!(got, (refused, refused_to_listener), "{path:?} {moment:?}");
    }
}

#[test]
fn a_wait_is_forgotten_when_its_caller_stops_waiting_and_more_than_allowed_are_refused_as_busy() {
    let mut driver = TestDriver::started(&sup("t", [leaf("a")]));
    let withdrawn = driver.watch("a", Moment::Exit);
    driver.machine.withdraw(withdrawn, driver.id("a"));
    let waits: Vec<RequestId> = (0..MAX_WAITERS).map(|_| driver.watch("a", Moment::Exit)).collect();
    let one_more = driver.watch("a", Moment::Exit);
    assert_eq!(answered(&driver, one_more), Some("busy"));
    driver.fail("a");
    assert!(waits.iter().all(|request| exited(&driver, *request).is_some()));
    assert!(driver.answer(withdrawn).is_none());
}

#[test]
fn a_wait_for_a_child_that_has_left_the_tree_or_after_the_end_of_the_tree_is_refused() {
    let (mut machine, ids) = Machine::new(&sup("t", [leaf("a")])).expect("a good spec");
    machine.handle(Time::ZERO, 0, Input::Start);
    machine.handle(Time::ZERO, 0, Input::Stop);
    machine.handle(Time::ZERO, 0, Input::Exited(ids[1], Attempt(1), Exit::Stopped));
    let mut ask = |id, moment| {
        machine.handle(Time::ZERO, 0, Input::Watch { request: RequestId(7), id, moment });
        machine.take_reply(RequestId(7)).map(|answer| word(&answer))
    };
    assert_eq!(ask(ids[1], Moment::Exit), Some("exited"), "the last exit is still known");
    assert_eq!(ask(ids[1], Moment::Ready), Some("down"));
    let absent = ChildId { slot: 99, serial: 0 };
    assert_eq!(
        (ask(absent, Moment::Exit), ask(absent, Moment::Ready)),
        (Some("not found"), Some("not found"))
    );
}
