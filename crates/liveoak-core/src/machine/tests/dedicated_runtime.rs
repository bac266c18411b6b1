//! Supervisors whose children run on a dedicated runtime.

use super::shape::{SECOND, leaf, millis, secs, sup};
use super::test_driver::{Obeys, TestDriver};
use crate::{ChildState, Command, Exit, KILL_WAIT, StopStage, Time};

#[test]
fn a_dedicated_runtime_is_made_before_the_first_child_and_closed_after_the_last() {
    let mut driver =
        TestDriver::new(&sup("t", [sup("s", [leaf("a"), leaf("b")]).on_dedicated_runtime(), leaf("c")]));
    driver.start();
    assert_eq!(driver.log(), ["start s", "start s/a", "start s/b", "start c", "up"]);
    driver.stop();
    assert_eq!(
        driver.log(),
        ["ask c", "gone c", "ask s/b", "gone s/b", "ask s/a", "gone s/a", "ask s", "gone s", "down"]
    );
}

#[test]
fn a_dedicated_runtime_that_does_not_close_is_killed_and_then_abandoned() {
    let mut driver = TestDriver::started(&sup("t", [sup("s", [leaf("a")]).on_dedicated_runtime()]));
    driver.obeys("s", Obeys::Nothing);
    driver.stop();
    driver.advance(KILL_WAIT * 2);
    assert_eq!(driver.log(), ["ask s/a", "gone s/a", "ask s", "kill s", "abandon s", "down"]);
    assert_eq!(driver.report().entries[1].stage, StopStage::Abandoned);
}

#[test]
fn a_dedicated_runtime_that_does_not_close_stays_within_the_budget() {
    let mut driver =
        TestDriver::started(&sup("t", [sup("s", [leaf("a")]).on_dedicated_runtime()]).stop_within(secs(10)));
    driver.obeys("s", Obeys::Nothing);
    driver.obeys("s/a", Obeys::Nothing);
    driver.stop();
    driver.advance(secs(10));
    assert!(driver.down.is_some());
    assert!(driver.report().took <= secs(10));
}

#[test]
fn a_dedicated_runtime_is_abandoned_one_kill_wait_after_its_own_kill() {
    let child = leaf("a").stop_within(std::time::Duration::MAX);
    let inner = sup("s", [child]).on_dedicated_runtime().stop_within(secs(100));
    let mut driver = TestDriver::started(&sup("t", [inner]));
    driver.obeys("s", Obeys::Nothing);
    driver.obeys("s/a", Obeys::Test);
    driver.command("s", Command::Stop);
    // The driver comes a little late, so the kill of the plan is past when the supervisor is killed.
    driver.advance(secs(89));
    driver.jump(Time::ZERO.after(millis(90_900)));
    driver.advance(millis(1_600));
    driver.log();
    driver.exit("s/a", Exit::Killed);
    assert!(!driver.log().contains(&"abandon s".to_owned()), "its time since the kill is not over");
    driver.advance(millis(399));
    assert_eq!(driver.log(), Vec::<String>::new());
    driver.advance(millis(1));
    assert_eq!(driver.log(), ["kill s", "abandon s"]);
}

#[test]
fn a_dedicated_runtime_that_ends_by_itself_ends_its_supervisor_and_both_are_restarted() {
    let mut driver = TestDriver::started(&sup("t", [sup("s", [leaf("a")]).on_dedicated_runtime()]));
    driver.exit("s", Exit::failed("the runtime is gone"));
    assert_eq!(driver.log(), ["gone s", "ask s/a", "gone s/a", "start s", "start s/a"]);
}

#[test]
fn a_dedicated_runtime_that_cannot_be_made_is_a_failed_start() {
    let mut driver = TestDriver::new(&sup("t", [leaf("b"), sup("s", [leaf("a")]).on_dedicated_runtime()]));
    driver.policy("s").ready = false;
    driver.start();
    driver.exit("s", Exit::failed("no threads"));
    assert_eq!(driver.log(), ["start b", "start s", "gone s", "ask b", "gone b", "down"]);
    assert_eq!(driver.down_kind(), "start-failed");
}

#[test]
fn a_stop_while_a_dedicated_runtime_is_being_made_closes_it_and_starts_nothing() {
    let mut driver = TestDriver::new(&sup("t", [sup("s", [leaf("a")]).on_dedicated_runtime()]));
    driver.policy("s").ready = false;
    driver.start();
    driver.advance(SECOND);
    driver.stop();
    assert_eq!(driver.log(), ["start s", "ask s", "gone s", "down"]);
}

#[test]
fn a_dedicated_runtime_that_is_never_created_fails_the_start_at_the_start_deadline() {
    let mut driver = TestDriver::new(&sup(
        "t",
        [sup("s", [leaf("a")]).on_dedicated_runtime().start_within(secs(5)), leaf("b")],
    ));
    driver.policy("s").ready = false;
    driver.obeys("s", Obeys::Kill);
    driver.start();
    let ChildState::Starting { remaining } = driver.view("s").state else { panic!("s does not start") };
    assert_eq!(remaining, Some(secs(5)));
    driver.advance(secs(9));
    assert_eq!(driver.down_kind(), "start-failed");
    let slow = leaf("a").reports().start_within(secs(1_000));
    let mut driver = TestDriver::new(&sup("t", [sup("s", [slow]).on_dedicated_runtime()]));
    driver.policy("s/a").ready = false;
    driver.start();
    driver.advance(secs(900));
    assert_eq!(driver.states(["s", "s/a"]), ["starting", "starting"]);
}
