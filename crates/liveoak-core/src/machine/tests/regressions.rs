//! Faults that were found by comparing the machine with its reference model and with its own events (`tests/model`),
//! one test for each.

use super::shape::{SECOND, group, leaf, millis, secs, sup};
use super::test_driver::{Obeys, TestDriver};
use crate::{
    AutoShutdown, ChildState, Command, Condition, EventKind, Exit, Health, Input, Limit, Restart, Severity,
    StopStage,
};
use std::time::Duration;

#[test]
fn a_group_that_is_already_stopping_is_not_asked_again_by_the_stop_of_its_supervisor() {
    let members = group("g").members(|group| group.template.stop_within = secs(60));
    let tree = sup("t", [leaf("a"), sup("s", [members, leaf("b")])]).stop_within(secs(100));
    let mut driver = TestDriver::started(&tree);
    driver.obeys("s/g/m", Obeys::Test);
    driver.add_member("s/g", Some("m")).expect("room");
    driver.stop();
    // Whatever happens above it, the next deadline of the group is the kill.
    driver.command("s", Command::Stop);
    driver.health("s/g/m", Health::Degraded);
    let next = ChildState::Stopping { stage: StopStage::Asked, remaining: Some(secs(60)) };
    assert_eq!(driver.view("s/g").state, next);
}

#[test]
fn a_supervisor_is_evaluated_after_all_supervisors_below_it() {
    // When `s` is up, all its children are finished, so `t` ends. No child after `s` may start before that.
    let done =
        sup("s", []).rules(|rules| rules.end_when_done = true).restart(Restart::Transient).significant();
    let tree = sup("t", [done, leaf("b")]).rules(|rules| rules.auto_shutdown = AutoShutdown::AnySignificant);
    let mut driver = TestDriver::new(&tree);
    driver.start();
    assert_eq!(driver.down_kind(), "auto-shutdown");
    assert_eq!(driver.done("start"), Vec::<String>::new());
}

#[test]
fn a_wait_for_health_ends_when_the_dependency_begins_to_stop() {
    let web = leaf("web").after("db", Condition::Healthy).start_within(secs(10));
    let mut driver = TestDriver::new(&sup("t", [leaf("db").reports().stop_within(secs(60)), web]));
    driver.policy("db").ready = false;
    driver.obeys("db", Obeys::Test);
    driver.start();
    driver.health("db", Health::Degraded);
    driver.ready("db");
    driver.advance(millis(2_000));
    driver.command("db", Command::Restart);
    let ChildState::Waiting { remaining, .. } = driver.view("web").state else { panic!("web does not wait") };
    assert_eq!(remaining, None::<Duration>);
}

#[test]
fn the_exit_of_an_attempt_that_is_stopped_for_a_missed_deadline_is_a_warning() {
    let told = |driver: &TestDriver, path: &str| {
        let mut exits =
            driver.events.iter().filter(|event| event.path.as_str() == path).filter_map(|event| {
                let EventKind::Exited { stopped_by_others, exit, .. } = &event.kind else { return None };
                Some((exit.kind(), *stopped_by_others, event.kind.severity()))
            });
        exits.next_back().expect("an exit")
    };
    let tree = sup(
        "t",
        [
            leaf("stuck").with(|child| child.heartbeat = Some(SECOND)),
            leaf("dirty"),
            sup("s", [leaf("weak").limit(Limit::new(0, SECOND))]),
            leaf("well"),
        ],
    );
    let mut driver = TestDriver::started(&tree);
    driver.policy("stuck").beats = false;
    driver.advance(secs(2));
    assert_eq!(told(&driver, "/t/stuck"), ("heartbeat-timeout", false, Severity::Warn));
    let (id, attempt) = (driver.id("dirty"), driver.attempt("dirty"));
    driver.input(Input::Ending(id, attempt, Exit::failed("boom")));
    assert_eq!(told(&driver, "/t/dirty"), ("failed", false, Severity::Warn));
    driver.fail("s/weak");
    assert_eq!(told(&driver, "/t/s"), ("gave-up", false, Severity::Debug));
    driver.command("well", Command::Stop);
    assert_eq!(told(&driver, "/t/well"), ("stopped", true, Severity::Debug));
}

#[test]
fn the_event_of_a_start_that_takes_too_long_is_a_failure() {
    let mut driver = TestDriver::new(&sup("t", [leaf("slow").reports().start_within(SECOND)]));
    driver.policy("slow").ready = false;
    driver.start();
    driver.advance(SECOND);
    let exits = |event: &crate::Event| match &event.kind {
        EventKind::Exited { stopped_by_others, exit, .. } => Some((exit.kind(), *stopped_by_others)),
        _ => None,
    };
    assert_eq!(driver.events.iter().find_map(exits), Some(("start-timeout", false)));
}

#[test]
fn a_child_that_was_stopped_by_command_stays_in_that_state_over_a_restart_of_its_supervisor() {
    let mut driver = TestDriver::started(&sup("t", [sup("s", [leaf("a"), leaf("b")])]));
    driver.command("s/a", Command::Stop);
    let since = driver.view("s/a").since;
    driver.advance(SECOND);
    driver.command("s", Command::Restart);
    assert_eq!(driver.states(["s/a", "s/b"]), ["stopped", "running"]);
    assert_eq!(driver.view("s/a").since, since);
}

#[test]
fn each_child_that_is_added_or_removed_with_a_supervisor_has_an_event() {
    let mut driver = TestDriver::started(&sup("t", []));
    let from = driver.events.len();
    driver.add("", &sup("s", [leaf("a"), sup("u", [leaf("b")])])).expect("room");
    driver.command("s", Command::Remove);
    let paths = |kind: &str| -> Vec<_> {
        let events = driver.events[from..].iter().filter(|event| event.kind.name() == kind);
        events.map(|event| event.path.as_str().to_owned()).collect()
    };
    assert_eq!(paths("added"), ["/t/s", "/t/s/a", "/t/s/u", "/t/s/u/b"]);
    assert_eq!(paths("removed"), ["/t/s/a", "/t/s/u/b", "/t/s/u", "/t/s"]);
}

#[test]
fn a_restarted_root_remembers_the_exit_of_its_last_attempt() {
    let mut driver = TestDriver::started(&sup("t", [leaf("a")]));
    driver.command("", Command::Restart);
    assert_eq!(driver.view("").last_exit.map(|exit| exit.kind()), Some("stopped"));
}
