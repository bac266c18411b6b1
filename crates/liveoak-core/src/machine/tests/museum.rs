//! Faults that were found by comparing the machine with its reference model (`tests/model`), one test for each.

use super::rig::{Obeys, Rig};
use super::shape::{group, leaf, millis, secs, sup};
use crate::{AutoShutdown, Command, Condition, Health, NodeState, Restart, Rung};
use std::time::Duration;

#[test]
fn a_group_that_stops_below_a_stopping_supervisor_is_not_told_of_turns_that_its_members_do_not_wait_for() {
    let members = group("g").members(|group| group.template.stop_within = secs(60));
    let tree = sup("t", [leaf("a"), sup("s", [members, leaf("b")])]).stop_within(secs(100));
    let mut rig = Rig::started(&tree);
    rig.obeys("s/g/m", Obeys::Test);
    rig.add_member("s/g", Some("m")).expect("room");
    rig.stop();
    // Whatever else goes on above it: the next thing that happens to the group is the kill.
    rig.command("s", Command::Stop);
    rig.health("s/g/m", Health::Degraded);
    let next = NodeState::Stopping { rung: Rung::Asked, remaining: Some(secs(60)) };
    assert_eq!(rig.view("s/g").state, next);
}

#[test]
fn what_a_supervisor_does_rests_on_what_has_settled_below_it() {
    // All of `s` is done as soon as it is up, and that ends `t`: nothing that comes after `s` is begun for a moment.
    let done =
        sup("s", []).rules(|rules| rules.end_when_done = true).restart(Restart::Transient).significant();
    let tree = sup("t", [done, leaf("b")]).rules(|rules| rules.auto_shutdown = AutoShutdown::AnySignificant);
    let mut rig = Rig::new(&tree);
    rig.start();
    assert_eq!(rig.down_kind(), "auto-shutdown");
    assert_eq!(rig.done("start"), Vec::<String>::new());
}

#[test]
fn a_wait_for_health_ends_when_the_dependency_begins_to_stop() {
    let web = leaf("web").after("db", Condition::Healthy).start_within(secs(10));
    let mut rig = Rig::new(&sup("t", [leaf("db").reports().stop_within(secs(60)), web]));
    rig.policy("db").ready = false;
    rig.obeys("db", Obeys::Test);
    rig.start();
    rig.health("db", Health::Degraded);
    rig.ready("db");
    rig.advance(millis(2_000));
    rig.command("db", Command::Restart);
    let NodeState::Waiting { remaining, .. } = rig.view("web").state else { panic!("web does not wait") };
    assert_eq!(remaining, None::<Duration>);
}
