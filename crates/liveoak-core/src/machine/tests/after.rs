//! `after` edges.

use super::rig::{Rig, word};
use super::shape::{leaf, name, sup};
use crate::{Command, Condition, Health, NodeState, Strategy, WaitingFor};

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
    let waiting = rig.view("c").state;
    assert_eq!(waiting, NodeState::Waiting(WaitingFor::Edge(name("b"), Condition::Completed)));
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
