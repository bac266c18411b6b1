//! Supervisors whose children run on a dedicated runtime.

use super::rig::{Obeys, Rig};
use super::shape::{SECOND, leaf, secs, sup};
use crate::{ChildState, Exit, KILL_WAIT, StopStage};

#[test]
fn a_dedicated_runtime_is_made_before_the_first_child_and_closed_after_the_last() {
    let mut rig = Rig::new(&sup("t", [sup("s", [leaf("a"), leaf("b")]).on_dedicated_runtime(), leaf("c")]));
    rig.start();
    assert_eq!(rig.log(), ["start s", "start s/a", "start s/b", "start c", "up"]);
    rig.stop();
    assert_eq!(
        rig.log(),
        ["ask c", "gone c", "ask s/b", "gone s/b", "ask s/a", "gone s/a", "ask s", "gone s", "down"]
    );
}

#[test]
fn a_dedicated_runtime_that_does_not_close_is_killed_and_then_abandoned() {
    let mut rig = Rig::started(&sup("t", [sup("s", [leaf("a")]).on_dedicated_runtime()]));
    rig.obeys("s", Obeys::Nothing);
    rig.stop();
    rig.advance(KILL_WAIT * 2);
    assert_eq!(rig.log(), ["ask s/a", "gone s/a", "ask s", "kill s", "abandon s", "down"]);
    assert_eq!(rig.report().entries[1].stage, StopStage::Abandoned);
}

#[test]
fn a_dedicated_runtime_that_does_not_close_stays_within_the_budget() {
    let mut rig =
        Rig::started(&sup("t", [sup("s", [leaf("a")]).on_dedicated_runtime()]).stop_within(secs(10)));
    rig.obeys("s", Obeys::Nothing);
    rig.obeys("s/a", Obeys::Nothing);
    rig.stop();
    rig.advance(secs(10));
    assert!(rig.down.is_some());
    assert!(rig.report().took <= secs(10));
}

#[test]
fn a_dedicated_runtime_that_ends_by_itself_ends_its_supervisor_and_both_are_restarted() {
    let mut rig = Rig::started(&sup("t", [sup("s", [leaf("a")]).on_dedicated_runtime()]));
    rig.exit("s", Exit::failed("the runtime is gone"));
    assert_eq!(rig.log(), ["gone s", "ask s/a", "gone s/a", "start s", "start s/a"]);
}

#[test]
fn a_dedicated_runtime_that_cannot_be_made_is_a_failed_start() {
    let mut rig = Rig::new(&sup("t", [leaf("b"), sup("s", [leaf("a")]).on_dedicated_runtime()]));
    rig.policy("s").ready = false;
    rig.start();
    rig.exit("s", Exit::failed("no threads"));
    assert_eq!(rig.log(), ["start b", "start s", "gone s", "ask b", "gone b", "down"]);
    assert_eq!(rig.down_kind(), "start-failed");
}

#[test]
fn a_stop_while_a_dedicated_runtime_is_being_made_closes_it_and_starts_nothing() {
    let mut rig = Rig::new(&sup("t", [sup("s", [leaf("a")]).on_dedicated_runtime()]));
    rig.policy("s").ready = false;
    rig.start();
    rig.advance(SECOND);
    rig.stop();
    assert_eq!(rig.log(), ["start s", "ask s", "gone s", "down"]);
}

#[test]
fn a_dedicated_runtime_that_is_never_made_fails_the_start_at_the_start_deadline_and_children_have_their_own()
{
    let mut rig =
        Rig::new(&sup("t", [sup("s", [leaf("a")]).on_dedicated_runtime().start_within(secs(5)), leaf("b")]));
    rig.policy("s").ready = false;
    rig.obeys("s", Obeys::Kill);
    rig.start();
    let ChildState::Starting { remaining } = rig.view("s").state else { panic!("s does not start") };
    assert_eq!(remaining, Some(secs(5)));
    rig.advance(secs(9));
    assert_eq!(rig.down_kind(), "start-failed");
    let slow = leaf("a").reports().start_within(secs(1_000));
    let mut rig = Rig::new(&sup("t", [sup("s", [slow]).on_dedicated_runtime()]));
    rig.policy("s/a").ready = false;
    rig.start();
    rig.advance(secs(900));
    assert_eq!(rig.states(["s", "s/a"]), ["starting", "starting"]);
}
