//! Drain before stop: a ready child with an `unready_for` is not ready for that long before it is asked to stop.

use super::shape::{SECOND, group, leaf, millis, secs, sup};
use super::test_driver::{Obeys, TestDriver};
use crate::{ChildDeclaration, ChildForm, Command, Condition, Defaults, Machine, StopStage, Time};
use std::sync::Arc;
use std::time::Duration;

/// Returns a leaf that is not ready for 2 s before it is asked, and has 5 s for the whole stop.
fn draining(text: &str) -> ChildDeclaration {
    leaf(text).stop_within(secs(5)).with(|spec| spec.unready_for = secs(2))
}

fn asked(driver: &mut TestDriver) -> Vec<String> {
    driver.done("ask")
}

#[test]
fn an_inherited_time_to_be_unready_reaches_leaves_and_is_no_error_for_a_group() {
    let mut tree = sup("t", [leaf("a"), group("g")]);
    if let ChildForm::Supervisor(spec) = &mut tree.form {
        spec.defaults = Some(Arc::new(Defaults::new().unready_for(SECOND)));
    }
    let mut driver = TestDriver::started(&tree);
    driver.add_member("g", Some("m")).expect("room");
    driver.log();
    driver.command("a", Command::Stop);
    assert_eq!(driver.log(), [""; 0], "it is unready before");
    driver.advance(SECOND);
    assert_eq!(driver.log(), ["ask a", "gone a"]);
    driver.command("g", Command::Stop);
    assert!(driver.log().contains(&"ask g/m".to_owned()), "a member is asked at once");
}

#[test]
fn a_child_is_not_ready_for_its_time_and_holds_its_dependents_before_it_is_asked_to_stop() {
    let later = leaf("later").after("web", Condition::Ready);
    let mut driver = TestDriver::started(&sup("t", [draining("web"), later]).edges());
    driver.command("later", Command::Stop);
    driver.log();
    driver.command("web", Command::Stop);
    driver.command("later", Command::Start);
    let view = driver.view("web");
    assert_eq!((view.state.as_str(), view.ready, view.asked_in), ("stopping", false, Some(secs(2))));
    assert_eq!(driver.state("later"), "waiting");
    driver.advance(millis(1_999));
    assert_eq!(asked(&mut driver), [""; 0]);
    assert_eq!(driver.view("web").asked_in, Some(millis(1)));
    driver.advance(millis(1));
    assert_eq!(asked(&mut driver), ["web"]);
    assert_eq!(driver.states(["web", "later"]), ["stopped", "waiting"]);
}

#[test]
fn the_time_before_the_request_is_a_part_of_the_time_for_the_stop() {
    let mut driver = TestDriver::started(&sup("t", [draining("web")]));
    driver.obeys("web", Obeys::Kill);
    driver.command("web", Command::Stop);
    driver.advance(millis(4_999));
    assert!(driver.is_alive("web"));
    driver.advance(millis(1));
    assert_eq!(driver.state("web"), "stopped");
    driver.stop();
    assert_eq!(driver.report().entries.len(), 0, "the stop by command has its own report");
}

#[test]
fn the_stop_of_the_tree_asks_a_draining_child_at_half_of_its_budget() {
    let mut tree = sup("t", [draining("web")]);
    tree.spec.stop_within = secs(3);
    let mut driver = TestDriver::started(&tree);
    driver.log();
    driver.stop();
    driver.advance(millis(1_499));
    assert_eq!(asked(&mut driver), [""; 0]);
    driver.advance(millis(1));
    assert_eq!(asked(&mut driver), ["web"]);
    assert_eq!(driver.report().entries[0].took, millis(1_500));
}

#[test]
fn a_forced_stop_kills_a_draining_child_immediately() {
    let mut driver = TestDriver::started(&sup("t", [draining("web")]));
    driver.command("web", Command::Stop);
    driver.log();
    driver.kill();
    assert_eq!(driver.done("kill"), ["web"]);
    assert_eq!(driver.report().entries[0].stage, StopStage::Killed);
}

#[test]
fn a_child_that_is_not_ready_yet_or_waits_for_its_restart_is_stopped_without_a_drain() {
    let slow = draining("slow").reports();
    let mut driver = TestDriver::new(&sup("t", [draining("down").delayed(secs(9)), slow]).edges());
    driver.policy("slow").ready = false;
    driver.start();
    driver.fail("down");
    driver.log();
    driver.command("down", Command::Stop);
    driver.command("slow", Command::Stop);
    assert_eq!(asked(&mut driver), ["slow"]);
    assert_eq!(driver.states(["down", "slow"]), ["stopped", "stopped"]);
}

#[test]
fn a_child_that_ends_during_its_drain_is_down_and_a_restart_drains_before_the_new_attempt() {
    let mut driver = TestDriver::started(&sup("t", [draining("web")]));
    driver.command("web", Command::Stop);
    driver.advance(secs(1));
    driver.fail("web");
    assert_eq!((driver.state("web"), driver.view("web").asked_in), ("stopped", None));
    driver.command("web", Command::Start);
    driver.command("web", Command::Restart);
    assert_eq!((driver.state("web"), driver.view("web").attempt.0), ("stopping", 2));
    driver.advance(secs(2));
    assert_eq!((driver.state("web"), driver.view("web").attempt.0), ("running", 3));
}

#[test]
fn a_drain_whose_end_is_seen_too_late_still_asks_before_it_kills() {
    let mut driver = TestDriver::started(&sup("t", [draining("web")]));
    driver.obeys("web", Obeys::Kill);
    driver.command("web", Command::Stop);
    driver.log();
    driver.jump(Time::ZERO.after(secs(60)));
    assert_eq!(asked(&mut driver), ["web"]);
    assert!(driver.is_alive("web"));
    driver.advance(secs(1));
    assert_eq!(driver.state("web"), "stopped");
}

#[test]
fn a_drain_is_refused_where_no_request_to_stop_can_follow_it() {
    let refused = |child: ChildDeclaration| match Machine::new(&sup("t", [child])) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.0.iter().map(|error| (error.path.to_string(), error.field)).collect(),
    };
    let at = |path: &str| vec![(path.to_owned(), "unready_for")];
    let with = |child: ChildDeclaration| child.with(|spec| spec.unready_for = secs(2));
    for (within, allowed) in
        [(Duration::ZERO, false), (secs(2), false), (secs(3), true), (Duration::MAX, true)]
    {
        let found = refused(with(leaf("a").stop_within(within)));
        assert_eq!(found, if allowed { Vec::new() } else { at("/t/a") }, "{within:?}");
    }
    assert_eq!(refused(with(sup("s", []))), at("/t/s"));
    assert_eq!(refused(with(group("g"))), at("/t/g"));
    assert_eq!(refused(group("g").members(|group| group.template.unready_for = secs(1))), at("/t/g"));
}
