//! `after` edges.

use super::rig::{Rig, word};
use super::shape::{leaf, name, secs, sup};
use crate::{Command, Condition, Health, NodeState, Strategy, WaitingFor};
use std::time::Duration;

#[test]
fn a_child_added_after_a_sibling_that_ended_badly_is_refused_and_not_kept() {
    let mut rig = Rig::started(&sup("t", [leaf("a").temporary(), leaf("z")]));
    rig.fail("a");
    let ticket = rig.add("", &leaf("b").after("a", Condition::Ready)).expect("a good spec");
    assert_eq!(word(&rig.answer(ticket).expect("at once")), "failed");
    assert_eq!(rig.state("b"), "gone");
    let ticket = rig.add("", &leaf("c")).expect("a good spec");
    assert_eq!(word(&rig.answer(ticket).expect("at once")), "ready");
}

#[test]
fn a_child_after_a_healthy_supervisor_starts_when_the_last_ill_child_deep_below_it_is_well_again() {
    let nested = sup("s", [sup("i", [leaf("a").reports(), leaf("b")])]);
    let mut rig = Rig::new(&sup("t", [nested, leaf("c").after("s", Condition::Healthy)]).edges());
    rig.policy("s/i/a").ready = false;
    rig.start();
    rig.ready("s/i/a");
    assert_eq!(rig.state("c"), "running");
    rig.command("c", Command::Stop);
    rig.fail("s/i/a");
    assert_eq!(rig.state("s/i/a"), "starting");
    rig.command("c", Command::Start);
    assert_eq!(rig.state("c"), "waiting");
    rig.ready("s/i/a");
    assert_eq!(rig.state("c"), "running");
    rig.command("c", Command::Stop);
    rig.health("s/i/b", Health::Unhealthy);
    rig.command("c", Command::Start);
    assert_eq!(rig.state("c"), "waiting");
    assert_eq!(word(&rig.ask("s/i/b", Command::Remove)), "removed");
    assert_eq!(rig.state("c"), "running");
}

#[test]
fn a_one_shot_that_a_group_restart_interrupted_has_not_completed() {
    let tree = sup("t", [leaf("a"), leaf("b").temporary(), leaf("c").after("b", Condition::Completed)]);
    let mut rig = Rig::started(&tree.strategy(Strategy::OneForAll));
    rig.complete("b");
    assert_eq!(rig.states(["a", "b", "c"]), ["running", "finished", "running"]);
    rig.command("b", Command::Start);
    rig.fail("a");
    assert_eq!(rig.states(["a", "b", "c"]), ["running", "finished", "waiting"]);
    let what = WaitingFor::Edge(name("b"), Condition::Completed);
    assert_eq!(rig.view("c").state, NodeState::Waiting { what, remaining: None });
}

#[test]
fn a_restart_of_a_child_whose_edge_can_never_hold_is_answered_and_the_child_says_for_what_it_waits() {
    let tree = sup("t", [leaf("a").temporary(), leaf("b").after("a", Condition::Ready)]);
    let mut rig = Rig::started(&tree);
    rig.fail("a");
    assert_eq!(word(&rig.ask("b", Command::Restart)), "failed");
    assert_eq!(rig.state("b"), "waiting");
    rig.command("a", Command::Start);
    assert_eq!(rig.state("b"), "running");
}

fn waits(rig: &mut Rig, path: &str) -> u64 {
    let NodeState::Waiting { remaining, .. } = rig.view(path).state else { panic!("{path} does not wait") };
    remaining.map_or(u64::MAX, |remaining| remaining.as_secs())
}

#[test]
fn a_dependency_that_is_ready_but_never_healthy_fails_the_first_start_in_time() {
    let web = leaf("web").after("db", Condition::Healthy).start_within(secs(10));
    let tree = sup("t", [leaf("once").reports(), leaf("db").reports(), web.after("once", Condition::Ready)]);
    let mut rig = Rig::new(&tree.edges());
    rig.policy("db").ready = false;
    rig.policy("once").ready = false;
    rig.start();
    rig.ready("db");
    rig.health("db", Health::Degraded);
    rig.advance(secs(6));
    rig.ready("once");
    assert_eq!(waits(&mut rig, "web"), 10);
    assert_eq!(word(&rig.ask("db", Command::Start)), "not down");
    rig.advance(secs(9));
    assert!(rig.down.is_none());
    rig.advance(secs(1));
    assert_eq!(rig.down_kind(), "start-failed");
    assert!(rig.alive().is_empty());
}

#[test]
fn a_wait_for_health_begins_anew_with_each_attempt_of_the_dependency_and_ends_when_it_is_well() {
    let web = leaf("web").after("db", Condition::Healthy).start_within(secs(10));
    let mut rig = Rig::new(&sup("t", [leaf("db").reports(), web]).edges());
    rig.policy("db").ready = false;
    rig.start();
    rig.health("db", Health::Degraded);
    rig.ready("db");
    rig.advance(secs(9));
    assert_eq!(waits(&mut rig, "web"), 1);
    rig.fail("db");
    assert_eq!(waits(&mut rig, "web"), 30, "the start of db has a deadline of its own");
    rig.advance(secs(5));
    rig.health("db", Health::Degraded);
    rig.ready("db");
    assert_eq!(waits(&mut rig, "web"), 10);
    rig.advance(secs(9));
    rig.health("db", Health::Healthy);
    assert_eq!(rig.state("web"), "running");
    assert_eq!(rig.machine.poll_deadline(), None);
}

#[test]
fn a_restart_that_waits_for_health_goes_on_waiting_and_a_command_that_waits_with_it_is_told_in_time() {
    let web = leaf("web").after("db", Condition::Healthy).start_within(secs(10));
    let mut rig = Rig::started(&sup("t", [leaf("db"), web]));
    rig.health("db", Health::Degraded);
    rig.fail("web");
    assert_eq!((waits(&mut rig, "web"), rig.machine.poll_deadline()), (u64::MAX, None));
    let ticket = rig.command("web", Command::Restart);
    assert_eq!(waits(&mut rig, "web"), 10);
    rig.advance(secs(10));
    assert_eq!(word(&rig.answer(ticket).expect("in time")), "failed");
    assert_eq!((rig.state("web"), rig.machine.poll_deadline()), ("waiting", None));
    rig.health("db", Health::Healthy);
    assert_eq!(rig.state("web"), "running");
}

#[test]
fn a_wait_for_health_is_bounded_only_while_nothing_else_keeps_the_child() {
    let web = leaf("web").after("db", Condition::Healthy).start_within(secs(10));
    let once = leaf("once").temporary().reports().start_within(secs(3));
    let tree = sup("t", [once, leaf("db"), web.after("once", Condition::Completed)]);
    let mut rig = Rig::new(&tree.edges());
    rig.policy("once").ready = false;
    rig.start();
    rig.health("db", Health::Degraded);
    assert_eq!(waits(&mut rig, "web"), u64::MAX, "how long a start takes is not how long completion takes");
    rig.ready("once");
    rig.advance(secs(100));
    rig.complete("once");
    assert_eq!(waits(&mut rig, "web"), 10);
    rig.command("db", Command::Stop);
    assert_eq!(waits(&mut rig, "web"), u64::MAX);
    rig.advance(secs(100));
    rig.command("db", Command::Start);
    assert_eq!(rig.state("web"), "running");
}

#[test]
fn whose_turn_it_is_not_has_no_deadline_of_its_own() {
    let web = leaf("web").after("db", Condition::Healthy).start_within(secs(10));
    let tree = sup("t", [leaf("a").reports().start_within(secs(60)), leaf("db").reports(), web, leaf("z")]);
    let mut rig = Rig::new(&tree);
    rig.policy("a").ready = false;
    rig.policy("db").ready = false;
    rig.start();
    rig.command("a", Command::Stop);
    rig.health("db", Health::Degraded);
    rig.ready("db");
    assert_eq!((waits(&mut rig, "web"), waits(&mut rig, "z")), (10, 10));
    rig.command("a", Command::Start);
    assert_eq!((waits(&mut rig, "web"), waits(&mut rig, "z")), (60, 60));
    rig.advance(secs(11));
    assert!(rig.down.is_none());
}

#[test]
fn a_supervisor_that_waits_for_the_health_of_a_sibling_has_half_a_minute() {
    let web = sup("web", [leaf("a")]).after("db", Condition::Healthy);
    let mut rig = Rig::new(&sup("t", [leaf("db").reports(), web]));
    rig.policy("db").ready = false;
    rig.start();
    rig.health("db", Health::Degraded);
    rig.ready("db");
    assert_eq!(waits(&mut rig, "web"), 30);
    rig.advance(secs(30));
    assert_eq!(rig.down_kind(), "start-failed");
}

#[test]
fn how_long_a_dependency_takes_to_complete_is_its_work_and_has_no_deadline() {
    let web = leaf("web").after("migration", Condition::Completed).start_within(secs(10));
    let mut rig = Rig::new(&sup("t", [leaf("migration").temporary(), web]).edges());
    rig.start();
    assert_eq!(waits(&mut rig, "web"), u64::MAX);
    rig.advance(secs(100_000));
    rig.complete("migration");
    assert_eq!(rig.state("web"), "running");
}

#[test]
fn a_child_that_was_ready_in_a_start_that_goes_on_does_not_fail_it_when_its_edge_can_never_hold_again() {
    let web = leaf("web").after("db", Condition::Ready);
    let tree = sup("t", [leaf("db").temporary(), web, leaf("slow").reports().start_within(secs(60))]);
    let mut rig = Rig::new(&tree.edges());
    rig.policy("slow").ready = false;
    rig.start();
    rig.fail("db");
    rig.fail("web");
    assert_eq!(rig.state("web"), "waiting");
    assert!(rig.down.is_none());
    rig.ready("slow");
    assert_eq!(rig.count("start-failed"), 0);
}

#[test]
fn a_start_that_fails_for_an_edge_names_the_other_child_the_condition_and_how_it_ended() {
    let mut rig = Rig::started(&sup("t", [leaf("a"), leaf("db").temporary()]));
    rig.fail("db");
    let web = leaf("web").after("a", Condition::Ready).after("db", Condition::Ready);
    let ticket = rig.add("", &web).expect("a good spec");
    let refused = rig.answer(ticket).expect("at once").expect_err("it can never start");
    let why = "the attempt failed: failed: it comes after db (ready), which has ended for good: failed: boom";
    assert_eq!(refused.to_string(), why);
}

#[test]
fn a_child_that_may_take_as_long_as_it_likes_to_start_may_also_wait_as_long() {
    let web = leaf("web").after("db", Condition::Healthy).start_within(Duration::MAX);
    let mut rig = Rig::new(&sup("t", [leaf("db").reports(), web]));
    rig.policy("db").ready = false;
    rig.start();
    rig.health("db", Health::Degraded);
    rig.ready("db");
    assert_eq!((waits(&mut rig, "web"), rig.machine.poll_deadline()), (u64::MAX, None));
}

#[test]
fn a_wait_for_health_is_not_prolonged_by_what_happens_elsewhere() {
    let web = leaf("web").after("db", Condition::Healthy).start_within(secs(10));
    let mut rig = Rig::new(&sup("t", [leaf("db").reports(), leaf("other"), web]).edges());
    rig.policy("db").ready = false;
    rig.start();
    rig.health("db", Health::Degraded);
    rig.ready("db");
    rig.advance(secs(4));
    rig.health("other", Health::Degraded);
    rig.fail("other");
    assert_eq!(waits(&mut rig, "web"), 6);
}
