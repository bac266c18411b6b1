//! `after` edges in combination with restart sets, held children, additions and ends.

use super::shape::{SECOND, leaf, secs, sup};
use super::test_driver::{Obeys, TestDriver, word};
use crate::{
    AutoShutdown, ChildState, Command, Condition, Exit, GiveUp, Health, Input, Limit, Refusal, StopStage,
    Strategy, WaitingFor,
};
use std::time::Duration;

/// Returns a limit that quarantines a child at its first failure.
fn quarantined() -> Limit {
    Limit::new(0, SECOND).on_exceeded(GiveUp::QUARANTINE)
}

#[test]
fn a_child_that_completed_by_itself_before_its_restart_set_stopped_it_has_completed() {
    let tree = sup("t", [leaf("a"), leaf("job").temporary(), leaf("app").after("job", Condition::Completed)]);
    let mut driver = TestDriver::started(&tree.strategy(Strategy::OneForAll));
    driver.obeys("job", Obeys::Test);
    let (id, attempt) = (driver.id("job"), driver.attempt("job"));
    // Its body has ended; other parts of the attempt still run.
    driver.input(Input::Ending(id, attempt, Exit::Completed));
    driver.fail("a");
    driver.exit("job", Exit::Stopped);
    assert_eq!(driver.states(["a", "job", "app"]), ["running", "finished", "running"]);
}

#[test]
fn a_child_cannot_be_added_under_a_name_that_siblings_before_it_depend_on() {
    for after in [None, Some("app")] {
        let mut driver = TestDriver::started(&sup("t", [leaf("a")]).strategy(Strategy::OneForAll));
        driver.add("", &leaf("job").temporary()).expect("a good spec");
        driver.add("", &leaf("app").after("job", Condition::Started)).expect("a good spec");
        driver.complete("job");
        assert_eq!(driver.states(["job", "app"]), ["gone", "running"]);
        let again = after.map_or_else(|| leaf("job"), |other| leaf("job").after(other, Condition::Started));
        let refused = driver.add("", &again).expect_err("app comes after job");
        assert!(matches!(&refused, Refusal::NeededBy(names) if names[0].as_str() == "app"), "{refused}");
    }
}

#[test]
fn a_supervisor_that_ends_when_all_is_done_does_not_wait_for_a_dependent_of_a_quarantined_sibling() {
    let children = [leaf("db").limit(quarantined()), leaf("web").transient().after("db", Condition::Ready)];
    let mut driver = TestDriver::started(&sup("t", children).rules(|rules| rules.end_when_done = true));
    driver.fail("db");
    driver.fail("web");
    assert_eq!(driver.down_kind(), "gave-up");
    // A child that is held by a stopped sibling may run again.
    let children = [leaf("db"), leaf("web").transient().after("db", Condition::Ready)];
    let mut driver = TestDriver::started(&sup("t", children).rules(|rules| rules.end_when_done = true));
    driver.command("db", Command::Stop);
    driver.fail("web");
    assert_eq!((driver.state("web"), driver.down.is_none()), ("waiting", true));
}

#[test]
fn auto_shutdown_does_not_wait_for_a_dependent_of_a_quarantined_sibling() {
    let web = leaf("web").transient().significant().after("db", Condition::Ready);
    let tree = sup("t", [leaf("db").limit(quarantined()), web, leaf("last").transient().significant()]);
    let mut driver =
        TestDriver::started(&tree.rules(|rules| rules.auto_shutdown = AutoShutdown::AllSignificant));
    driver.fail("db");
    driver.fail("web");
    driver.complete("last");
    assert_eq!(driver.down_kind(), "auto-shutdown");
}

#[test]
fn in_a_first_start_the_time_does_not_count_while_the_dependency_is_held_or_starts() {
    let web = leaf("web").after("db", Condition::Healthy).start_within(secs(10));
    let slow = leaf("slow").reports().start_within(Duration::MAX);
    let mut driver =
        TestDriver::new(&sup("t", [leaf("db").reports().start_within(secs(100)), web, slow]).edges());
    driver.policy("db").ready = false;
    driver.policy("slow").ready = false;
    driver.start();
    driver.health("db", Health::Degraded);
    driver.ready("db");
    driver.advance(secs(3));
    driver.command("db", Command::Stop);
    driver.advance(secs(3_600));
    driver.command("db", Command::Start);
    driver.advance(secs(60));
    driver.health("db", Health::Degraded);
    driver.ready("db");
    let ChildState::Waiting { remaining, .. } = driver.view("web").state else { panic!("web does not wait") };
    assert_eq!(remaining, Some(secs(7)));
    driver.advance(secs(7));
    assert_eq!(driver.down_kind(), "start-failed");
}

#[test]
fn timers_fire_in_order_even_if_another_input_comes_before_the_tick() {
    let db = leaf("db").reports().delayed(secs(9)).limit(Limit::unlimited());
    let web = leaf("web").after("db", Condition::Ready).start_within(secs(10));
    let mut driver = TestDriver::started(&sup("t", [db, web, leaf("z")]));
    driver.fail("db");
    driver.fail("web");
    driver.now = driver.now.after(secs(12));
    driver.command("z", Command::Restart);
    assert_eq!(driver.state("web"), "waiting");
    driver.input(Input::Tick);
    assert_eq!(driver.states(["db", "web"]), ["running", "running"]);
}

#[test]
fn a_child_that_backs_off_after_a_held_wait_does_not_delay_others() {
    let app = leaf("app").reports().after("db", Condition::Ready).delayed(secs(60)).limit(Limit::unlimited());
    let mut driver = TestDriver::new(&sup("t", [leaf("db").reports(), app]).edges());
    driver.policy("db").ready = false;
    driver.policy("app").ready = false;
    driver.start();
    driver.command("db", Command::Stop);
    assert_eq!(driver.state(""), "running");
    driver.command("db", Command::Start);
    driver.ready("db");
    driver.fail("app");
    assert_eq!(driver.state("app"), "backing-off");
    let request = driver.add("", &leaf("new")).expect("a good spec");
    assert_eq!(word(&driver.answer(request).expect("at once")), "ready");
}

#[test]
fn an_abandoned_attempt_is_reported_even_if_a_later_attempt_stopped_cleanly() {
    let nested = sup("s", [leaf("a"), leaf("x").stop_within(SECOND)]).strategy(Strategy::OneForAll);
    let last = leaf("last").stop_within(secs(50));
    let mut driver =
        TestDriver::started(&sup("t", [nested.stop_within(secs(100)), last]).stop_within(secs(200)));
    driver.obeys("last", Obeys::Kill);
    driver.obeys("s/x", Obeys::Nothing);
    driver.stop();
    driver.fail("s/a");
    driver.advance(secs(10));
    assert!(driver.is_alive("s/x"), "its second attempt");
    driver.obeys("s/x", Obeys::Ask);
    driver.advance(secs(100));
    let report = driver.report();
    let stages: Vec<_> = report.entries.iter().filter(|entry| entry.path.name() == "x").collect();
    assert_eq!((stages.len(), stages[0].stage, report.is_clean()), (1, StopStage::Abandoned, false));
}

#[test]
fn a_stopped_dependency_is_named_before_a_pending_dependency() {
    let app = leaf("app").after("job", Condition::Completed).after("db", Condition::Ready);
    let mut driver =
        TestDriver::started(&sup("t", [leaf("job").temporary(), leaf("db"), app.temporary()]).edges());
    driver.command("db", Command::Stop);
    driver.complete("job");
    driver.command("job", Command::Start);
    let late = leaf("late").after("job", Condition::Completed).after("db", Condition::Ready);
    let told = driver.add("", &late).and_then(|request| driver.answer(request).expect("at once"));
    let told = told.expect_err("db is stopped").to_string();
    assert_eq!(told, "it still waits for /t/db, and starts when it may");
    let web = leaf("web").after("job", Condition::Completed).after("db", Condition::Ready);
    let mut driver = TestDriver::new(&sup("t", [leaf("job").temporary(), leaf("db"), web]).edges());
    driver.start();
    driver.command("db", Command::Stop);
    let ChildState::Waiting { what, .. } = driver.view("web").state else { panic!("web does not wait") };
    assert_eq!(what, WaitingFor::Edge(super::shape::name("db"), Condition::Ready));
}

#[test]
fn a_supervisor_with_end_when_done_fails_if_its_job_was_stopped_by_others() {
    let tree = sup("t", [leaf("web").transient(), leaf("job").temporary()]).strategy(Strategy::OneForAll);
    let mut driver = TestDriver::started(&tree.rules(|rules| rules.end_when_done = true));
    driver.fail("web");
    driver.complete("web");
    let (exit, _) = driver.down.clone().expect("all is done");
    assert_eq!(exit.to_string(), "failed: /t/job ended for good: stopped as asked");
}

#[test]
fn a_restart_with_backoff_of_one_child_does_not_delay_the_ordered_start_of_others() {
    // In a first start: a was ready before.
    let late = leaf("late").after("slow", Condition::Ready);
    let tree = sup("t", [leaf("a").delayed(secs(60)), leaf("slow").reports(), late]);
    let mut driver = TestDriver::new(&tree.edges());
    driver.policy("slow").ready = false;
    driver.start();
    driver.fail("a");
    driver.ready("slow");
    assert_eq!(driver.states(["a", "late", ""]), ["backing-off", "running", "running"]);
    // One by one, and never ready before: it was added, and its command was answered.
    let new = leaf("new").reports().delayed(secs(60)).after("job", Condition::Ready);
    let mut driver = TestDriver::started(&sup("t", [leaf("job").temporary(), leaf("a")]).edges());
    driver.complete("job");
    driver.command("job", Command::Start);
    driver.fail("job");
    driver.policy("new").ready = false;
    driver.add("", &new).expect("a good spec");
    driver.command("job", Command::Start);
    driver.fail("new");
    assert_eq!(driver.state("new"), "backing-off");
    let request = driver.add("", &leaf("last")).expect("a good spec");
    assert_eq!(word(&driver.answer(request).expect("at once")), "ready");
}
