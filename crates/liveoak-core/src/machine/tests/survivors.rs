//! Processes that are still alive after their attempt was abandoned.

use super::shape::{SECOND, group, leaf, secs, sup};
use super::test_driver::{Obeys, Policy, TestDriver};
use crate::{
    ChildDeclaration, Command, Exit, GiveUp, Input, Limit, Outcome, Refusal, Restart, StopStage, Strategy,
    Survivors,
};
use std::sync::Arc;

/// Returns a started tree. Its child `a` runs a process that cannot be killed.
fn started(tree: &ChildDeclaration) -> TestDriver {
    let mut driver = TestDriver::new(tree);
    driver.obeys("a", Obeys::Nothing);
    driver.start();
    runs_process(&mut driver, "a", None);
    driver.log();
    driver
}

/// Reports that the live attempt of a child runs process 7. `refused` is what the system said about a kill.
fn runs_process(driver: &mut TestDriver, path: &str, refused: Option<&str>) {
    let survivors = Arc::new(Survivors { pids: vec![7], refused: refused.map(str::to_owned) });
    driver.input(Input::MaySurvive(driver.id(path), driver.attempt(path), survivors));
}

fn refuse_kill(driver: &mut TestDriver) {
    runs_process(driver, "a", Some("process 7: EPERM"));
}

fn gone(driver: &mut TestDriver, path: &str) {
    let attempt = driver.view(path).attempt;
    driver.input(Input::Gone(driver.id(path), attempt));
}

/// Returns the number of the last attempt.
fn nth(driver: &mut TestDriver, path: &str) -> u64 {
    driver.view(path).attempt.0
}

fn two(strategy: Strategy) -> ChildDeclaration {
    let short = |name| leaf(name).stop_within(SECOND).limit(Limit::new(100, secs(1_000_000)));
    sup("t", [short("a"), short("b")]).strategy(strategy)
}

#[test]
fn a_restart_set_goes_on_without_a_child_whose_processes_are_still_alive() {
    for refused in [false, true] {
        let mut driver = started(&two(Strategy::OneForAll));
        if refused {
            refuse_kill(&mut driver);
        }
        driver.fail("b");
        driver.advance(secs(10));
        assert_eq!(driver.states(["a", "b"]), ["quarantined", "running"], "refused: {refused}");
        assert_eq!(nth(&mut driver, "a"), 1, "no second attempt");
        gone(&mut driver, "a");
        assert_eq!(driver.states(["a", "b"]), ["running", "running"], "the last process is gone");
        assert_eq!((nth(&mut driver, "a"), nth(&mut driver, "b")), (2, 2));
    }
}

#[test]
fn a_tree_that_ends_while_an_old_process_is_alive_reports_it_as_abandoned() {
    let mut driver = started(&two(Strategy::OneForAll));
    driver.fail("b");
    driver.advance(secs(10));
    driver.stop();
    let forced: Vec<_> =
        driver.report().forced().map(|entry| (entry.path.to_string(), entry.stage)).collect();
    assert_eq!(forced, [("/t/a".to_owned(), StopStage::Abandoned)]);
    // If the process was gone before, the stop is clean.
    let mut driver = started(&two(Strategy::OneForAll));
    driver.fail("b");
    driver.advance(secs(10));
    gone(&mut driver, "a");
    driver.obeys("a", Obeys::Ask);
    driver.stop();
    assert!(driver.report().is_clean());
}

#[test]
fn a_child_whose_kill_was_refused_is_abandoned_and_not_reported_as_killed() {
    let mut driver = started(&two(Strategy::OneForOne));
    refuse_kill(&mut driver);
    driver.stop();
    driver.advance(secs(30));
    assert_eq!((driver.count("killed"), driver.count("abandoned")), (0, 1));
    let report = driver.report();
    let forced: Vec<_> = report.forced().map(|entry| (entry.stage, entry.exit.clone())).collect();
    let [(StopStage::Abandoned, Some(Exit::StillRuns(survivors)))] = forced.as_slice() else {
        panic!("{forced:?}")
    };
    assert_eq!(survivors.pids, [7]);
}

#[test]
fn a_kill_that_is_refused_while_the_child_is_killed_abandons_it_at_once() {
    let mut driver = started(&two(Strategy::OneForOne));
    driver.command("a", Command::Stop);
    driver.advance(SECOND);
    assert_eq!(driver.log(), ["ask a", "kill a"]);
    refuse_kill(&mut driver);
    assert_eq!(driver.log(), ["abandon a"]);
}

#[test]
fn a_start_is_refused_with_the_process_id_until_the_last_process_is_gone() {
    let mut driver = started(&two(Strategy::OneForOne));
    let stop = driver.command("a", Command::Stop);
    driver.advance(secs(10));
    let Some(Ok(Outcome::Stopped(report))) = driver.answer(stop) else { panic!("not stopped") };
    assert_eq!(report.entries[0].stage, StopStage::Abandoned);
    for command in [Command::Start, Command::Restart] {
        let answer = driver.ask("a", command);
        assert!(matches!(&answer, Err(Refusal::StillRuns(alive)) if alive.pids == [7]), "{answer:?}");
        assert!(answer.unwrap_err().to_string().contains("process 7"));
    }
    gone(&mut driver, "a");
    assert_eq!(driver.state("a"), "stopped", "a child that was stopped by command stays down");
    assert!(matches!(driver.ask("a", Command::Start), Ok(Outcome::Ready { .. })));
}

#[test]
fn a_restart_by_command_is_refused_if_the_processes_of_the_old_attempt_are_still_alive() {
    let mut driver = started(&two(Strategy::OneForOne));
    let restart = driver.command("a", Command::Restart);
    driver.advance(secs(10));
    assert!(
        matches!(driver.answer(restart), Some(Err(Refusal::StillRuns(_)))),
        "{:?}",
        driver.answer(restart)
    );
    assert_eq!(driver.state("a"), "quarantined");
    gone(&mut driver, "a");
    assert_eq!(driver.state("a"), "running");
}

#[test]
fn a_supervisor_that_is_restarted_starts_without_a_child_whose_processes_are_still_alive() {
    let strict = leaf("b").limit(Limit::new(0, SECOND));
    let inner = sup("s", [leaf("a").stop_within(SECOND), strict]).limit(Limit::new(100, secs(1_000_000)));
    let mut driver = TestDriver::new(&sup("t", [inner]));
    driver.obeys("s/a", Obeys::Nothing);
    driver.start();
    runs_process(&mut driver, "s/a", None);
    driver.fail("s/b");
    driver.advance(secs(20));
    assert_eq!(driver.states(["s", "s/a", "s/b"]), ["running", "quarantined", "running"]);
    assert_eq!(nth(&mut driver, "s/a"), 1);
    gone(&mut driver, "s/a");
    assert_eq!(driver.state("s/a"), "running");
}

#[test]
fn a_child_whose_leader_has_failed_while_its_other_processes_cannot_be_killed_is_quarantined() {
    for restart in [Restart::Permanent, Restart::Transient] {
        let a = leaf("a").restart(restart).stop_within(SECOND);
        let mut driver = started(&sup("t", [a, leaf("b")]));
        driver.input(Input::Ending(driver.id("a"), driver.attempt("a"), Exit::Code(1)));
        driver.advance(SECOND);
        refuse_kill(&mut driver);
        driver.advance(secs(100));
        assert_eq!((driver.state("a"), nth(&mut driver, "a")), ("quarantined", 1));
        gone(&mut driver, "a");
        assert_eq!((driver.state("a"), driver.view("a").restarts), ("running", 1));
    }
}

#[test]
fn a_temporary_child_and_a_child_that_was_given_up_on_stay_down_when_their_processes_are_gone() {
    let given_up = leaf("a").limit(Limit { give_up: GiveUp::QUARANTINE, ..Limit::new(0, SECOND) });
    for (a, state) in [(leaf("a").restart(Restart::Temporary), "finished"), (given_up, "quarantined")] {
        let mut driver = started(&sup("t", [a.stop_within(SECOND), leaf("b")]));
        driver.input(Input::Ending(driver.id("a"), driver.attempt("a"), Exit::Code(1)));
        driver.advance(secs(100));
        assert_eq!(driver.state("a"), state);
        gone(&mut driver, "a");
        assert_eq!((driver.state("a"), nth(&mut driver, "a")), (state, 1));
    }
}

#[test]
fn processes_that_are_gone_before_the_attempt_has_ended_do_not_prevent_a_restart() {
    let mut driver = started(&two(Strategy::OneForAll));
    gone(&mut driver, "a");
    driver.fail("b");
    driver.advance(secs(10));
    assert_eq!((driver.state("a"), nth(&mut driver, "a")), ("running", 2), "abandoned as a thread is");
    // A late report of the first attempt does not concern the second.
    runs_process(&mut driver, "a", None);
    driver.input(Input::Gone(driver.id("a"), crate::Attempt(1)));
    driver.fail("b");
    driver.advance(secs(10));
    assert_eq!(driver.state("a"), "quarantined");
}

#[test]
fn a_stop_of_a_child_that_waits_for_its_old_processes_keeps_it_down() {
    let mut driver = started(&two(Strategy::OneForAll));
    driver.fail("b");
    driver.advance(secs(10));
    assert!(matches!(driver.ask("a", Command::Stop), Ok(Outcome::Stopped(_))));
    gone(&mut driver, "a");
    assert_eq!(driver.state("a"), "stopped");
}

#[test]
fn a_member_of_a_group_starts_again_when_its_old_processes_are_gone() {
    let mut driver = TestDriver::new(&sup("t", [group("g")]));
    driver.set_default(Policy { obeys: Obeys::Nothing, ..Policy::default() });
    driver.start();
    driver.add_member("g", Some("m")).expect("room");
    runs_process(&mut driver, "g/m", None);
    driver.command("g/m", Command::Restart);
    driver.advance(secs(20));
    assert_eq!((driver.state("g/m"), nth(&mut driver, "g/m")), ("quarantined", 1));
    gone(&mut driver, "g/m");
    assert_eq!((driver.state("g/m"), nth(&mut driver, "g/m")), ("running", 2));
}
