//! Replica sets: the replicas of one child start and stop side by side, and are one place in the order.

use super::shape::{SECOND, leaf, secs, sup};
use super::test_driver::{Obeys, TestDriver};
use crate::{ChildDeclaration, ChildState, Command, Condition, Machine, Strategy, WaitingFor};

/// Returns a replica of the set `x`.
fn replica(text: &str) -> ChildDeclaration {
    leaf(text).reports().replica_of("x")
}

/// Returns `a`, three replicas, and `z`.
fn tree() -> ChildDeclaration {
    sup("t", [leaf("a"), replica("x1"), replica("x2"), replica("x3"), leaf("z")])
}

/// Starts a tree of [`tree`]'s children. The replicas are ready when the test says so, and end when it says so.
fn started(tree: &ChildDeclaration) -> TestDriver {
    let mut driver = TestDriver::new(tree);
    for replica in ["x1", "x2", "x3"] {
        driver.policy(replica).ready = false;
        driver.obeys(replica, Obeys::Test);
    }
    driver.start();
    driver
}

/// Starts the tree, and makes the replicas ready.
fn running(tree: &ChildDeclaration) -> TestDriver {
    let mut driver = started(tree);
    for replica in ["x1", "x2", "x3"] {
        driver.ready(replica);
    }
    driver.log();
    driver
}

#[test]
fn replicas_start_side_by_side_and_the_next_child_waits_until_all_are_ready() {
    let mut driver = started(&tree());
    assert_eq!(driver.log(), ["start a", "start x1", "start x2", "start x3"]);
    driver.ready("x3");
    driver.ready("x1");
    let turn = |name: &str| ChildState::Waiting {
        what: WaitingFor::Turn(super::shape::name(name)),
        remaining: Some(secs(30)),
    };
    assert_eq!(driver.view("z").state, turn("x2"));
    driver.ready("x2");
    assert_eq!(driver.log(), ["start z", "up"]);
}

#[test]
fn replicas_wait_together_for_their_turn() {
    let mut driver = TestDriver::new(&sup("t", [leaf("a").reports(), replica("x1"), replica("x2")]));
    driver.policy("a").ready = false;
    driver.start();
    for replica in ["x1", "x2"] {
        let what = WaitingFor::Turn(super::shape::name("a"));
        assert_eq!(driver.view(replica).state, ChildState::Waiting { what, remaining: Some(secs(30)) });
    }
    driver.ready("a");
    assert_eq!(driver.done("start"), ["a", "x1", "x2"]);
}

#[test]
fn replicas_stop_side_by_side_and_the_child_before_them_is_asked_after_all_have_ended() {
    let mut driver = running(&tree());
    driver.stop();
    assert_eq!(driver.log(), ["ask z", "gone z", "ask x1", "ask x2", "ask x3"]);
    driver.exit("x2", crate::Exit::Stopped);
    driver.exit("x3", crate::Exit::Stopped);
    assert_eq!(driver.log(), ["gone x2", "gone x3"]);
    driver.exit("x1", crate::Exit::Stopped);
    assert_eq!(driver.log(), ["gone x1", "ask a", "gone a", "down"]);
}

#[test]
fn under_rest_for_one_a_failed_replica_takes_down_only_the_children_after_its_set() {
    for failed in ["x1", "x2", "x3"] {
        let mut driver = running(&tree().strategy(Strategy::RestForOne));
        driver.fail(failed);
        assert_eq!(
            driver.log(),
            [format!("gone {failed}"), "ask z".to_owned(), "gone z".to_owned(), format!("start {failed}")]
        );
        driver.ready(failed);
        assert_eq!(driver.log(), ["start z"]);
        for other in ["a", "x1", "x2", "x3"] {
            assert_eq!(
                driver.view(other).attempt.0,
                if other == failed { 2 } else { 1 },
                "{failed}: {other}"
            );
        }
    }
}

#[test]
fn under_one_for_all_the_replicas_of_a_restart_set_stop_and_start_side_by_side() {
    let mut driver = running(&tree().strategy(Strategy::OneForAll));
    driver.fail("a");
    assert_eq!(driver.log(), ["gone a", "ask z", "gone z", "ask x1", "ask x2", "ask x3"]);
    for replica in ["x2", "x1", "x3"] {
        driver.exit(replica, crate::Exit::Stopped);
    }
    assert_eq!(
        driver.log(),
        ["gone x2", "gone x1", "gone x3", "start a", "start x1", "start x2", "start x3"]
    );
}

#[test]
fn a_replica_that_fails_alone_delays_neither_other_replicas_nor_later_children() {
    let delayed = |text: &str| replica(text).delayed(SECOND);
    let tree = sup("t", [leaf("a"), delayed("x1"), delayed("x2"), delayed("x3"), leaf("z")]).retries();
    let mut driver = running(&tree);
    driver.fail("x2");
    assert_eq!(driver.states(["x1", "x2", "x3", "z"]), ["running", "backing-off", "running", "running"]);
    // In the first start, what comes later waits for it, and the other replicas do not.
    let mut driver = started(&tree);
    driver.fail("x1");
    driver.ready("x2");
    driver.ready("x3");
    assert_eq!(driver.states(["x1", "x2", "x3", "z"]), ["backing-off", "running", "running", "waiting"]);
}

#[test]
fn a_stopped_replica_starts_by_command_without_waiting_for_the_other_replicas() {
    let mut driver = running(&tree());
    driver.command("x1", Command::Stop);
    driver.exit("x1", crate::Exit::Stopped);
    driver.command("x1", Command::Start);
    assert_eq!(driver.done("start"), ["x1"]);
}

#[test]
fn an_edge_puts_a_whole_set_behind_another_child() {
    let x = |text: &str| replica(text).after("z", Condition::Ready);
    let tree = sup("t", [x("x1"), x("x2"), x("x3"), leaf("z"), leaf("last")]);
    let mut driver = started(&tree);
    assert_eq!(driver.log(), ["start z", "start x1", "start x2", "start x3"]);
    driver.ready("x1");
    driver.ready("x2");
    assert_eq!(driver.state("last"), "waiting");
}

/// Returns the errors of a tree of these children.
fn errors(children: impl IntoIterator<Item = ChildDeclaration>) -> String {
    Machine::new(&sup("t", children)).err().map_or_else(String::new, |errors| errors.to_string())
}

#[test]
fn a_set_that_cannot_be_one_place_in_the_order_is_refused() {
    assert_eq!(errors([replica("x1"), replica("x2")]), "");
    let between = errors([replica("x1"), leaf("a"), replica("x2")]);
    assert_eq!(
        between,
        "/t/x2: replica_of: the replicas of a set are declared in succession; another child is declared between them"
    );
    let differs = errors([leaf("a"), replica("x1"), replica("x2").after("a", Condition::Ready)]);
    assert_eq!(differs, "/t/x2: replica_of: all replicas of a set have the same `after`");
    let in_part = errors([replica("x1"), replica("x2"), leaf("z").after("x1", Condition::Ready)]);
    assert_eq!(
        in_part,
        "/t/z: after: it names some replicas of a set and not the others; expected all of them or none"
    );
    let both =
        leaf("z").after("x1", Condition::Ready).after("x2", Condition::Ready).after("x2", Condition::Started);
    assert_eq!(errors([replica("x1"), replica("x2"), both]), "");
    let root = sup("t", [leaf("a")]).replica_of("x");
    assert!(
        Machine::new(&root).expect_err("a root").to_string().contains("the root of a tree is no replica")
    );
    let members =
        super::shape::group("g").members(|group| group.template.replica_of = Some(super::shape::name("x")));
    assert!(errors([members]).contains("members of a dynamic group have no order"));
    let mut driver = TestDriver::started(&sup("t", [leaf("a")]));
    let refused = driver.add("", &replica("x1")).expect_err("no part of a declared set");
    assert!(
        refused.to_string().contains("a child that is added later cannot be part of a replica set"),
        "{refused}"
    );
}
