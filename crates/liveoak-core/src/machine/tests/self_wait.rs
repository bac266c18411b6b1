//! Which waits are refused because the caller would wait for itself.

use super::shape::{group, leaf, sup};
use super::test_driver::{Obeys, Policy, TestDriver};
use crate::{Asker, Attempt, Awaited, ChildDeclaration, Command, Condition, Order, Strategy};

/// Starts a tree whose children end and are ready when the test says so, and makes these ready, in this order.
fn driver(tree: &ChildDeclaration, ready: &[&str]) -> TestDriver {
    let mut driver = TestDriver::new(tree);
    driver.set_default(Policy { obeys: Obeys::Test, ready: false, beats: true });
    driver.start();
    ready.iter().for_each(|path| driver.ready(path));
    driver
}

fn asker(driver: &TestDriver, path: &str) -> Asker {
    Asker { id: driver.id(path), attempt: driver.attempt(path), listens: false, of_other_tree: false }
}

/// Gives a command as the child `by`. Returns `None` if it was answered at once. Otherwise returns two values, `true`
/// if the wait is refused: for a child that does not listen for its own stop, and for one that does.
fn refused(driver: &mut TestDriver, by: &str, target: &str, command: Command) -> Option<(bool, bool)> {
    let by = asker(driver, by);
    let id = driver.id(target);
    let request = driver.command_to(id, command);
    if driver.answer(request).is_some() {
        return None;
    }
    let awaited = Awaited::Answer(request, id);
    let listening = Asker { listens: true, ..by };
    Some((
        driver.machine.would_wait_for_itself(by, awaited),
        driver.machine.would_wait_for_itself(listening, awaited),
    ))
}

/// Two levels: `/in/own` is the asker; `/in/next` comes after it, `/other` is elsewhere.
fn tree() -> ChildDeclaration {
    let inner = sup("in", [leaf("own").reports(), leaf("next").reports()]);
    sup("t", [leaf("first").reports(), inner, leaf("other").reports()])
}

#[test]
fn a_wait_for_the_stop_restart_or_removal_of_oneself_or_an_ancestor_is_refused_unless_the_asker_listens() {
    let all = ["first", "in/own", "in/next", "other"];
    for command in [Command::Stop, Command::Restart, Command::Remove] {
        for target in ["in/own", "in", ""] {
            let mut driver = driver(&tree(), &all);
            let expected =
                if (target, command) == ("", Command::Remove) { None } else { Some((true, false)) };
            assert_eq!(refused(&mut driver, "in/own", target, command), expected, "{command:?} {target:?}");
        }
        for target in ["in/next", "other", "first"] {
            let mut driver = driver(&tree(), &all);
            let got = refused(&mut driver, "in/own", target, command);
            assert_eq!(got, Some((false, false)), "{command:?} {target:?}");
        }
    }
}

#[test]
fn a_stopping_child_and_its_descendants_cannot_wait_for_its_next_start() {
    for (target, expected) in [("in/own", (true, false)), ("in", (true, false)), ("other", (false, false))] {
        let mut driver = driver(&tree(), &["first", "in/own", "in/next", "other"]);
        driver.command(target, Command::Stop);
        assert_eq!(refused(&mut driver, "in/own", target, Command::Start), Some(expected), "{target}");
    }
}

/// Adds a child as `by`. Returns `true` if the wait for its start is refused.
fn add_is_refused(driver: &mut TestDriver, by: &str, parent: &str, child: &ChildDeclaration) -> bool {
    let by = asker(driver, by);
    let request = driver.add(parent, child).expect("it is added");
    if driver.answer(request).is_some() {
        return false;
    }
    let id = driver.id(format!("{parent}/{}", child.name).trim_start_matches('/'));
    driver.machine.would_wait_for_itself(by, Awaited::Answer(request, id))
}

#[test]
fn an_asker_that_is_not_ready_cannot_wait_for_a_start_that_comes_after_its_own() {
    let helper = leaf("helper").reports();
    let mut not_ready = driver(&tree(), &["first"]);
    assert!(add_is_refused(&mut not_ready, "in/own", "in", &helper), "directly behind the asker");
    let mut ready = driver(&tree(), &["first", "in/own"]);
    assert!(!add_is_refused(&mut ready, "in/own", "in", &helper), "behind `next`, not behind the asker");
    // Over a supervisor, and over a sibling.
    let mut above = driver(&tree(), &["first"]);
    assert!(add_is_refused(&mut above, "in/own", "", &helper), "behind the asker's supervisor");
    let mut elsewhere = driver(&tree(), &["first", "in/own", "in/next", "other"]);
    assert!(!add_is_refused(&mut elsewhere, "in/own", "in", &helper), "nothing is left to wait for");
}

#[test]
fn an_asker_cannot_wait_for_a_direct_or_indirect_dependent_of_itself() {
    let edges =
        |children: Vec<ChildDeclaration>| sup("t", children).rules(|rules| rules.order = Order::Edges);
    let own = || leaf("own").reports().transient();
    let chain = edges(vec![own(), leaf("b").reports().after("own", Condition::Ready)]);
    let last = leaf("last").reports().after("b", Condition::Ready);
    assert!(add_is_refused(&mut driver(&chain, &[]), "own", "", &last), "over `b`");
    assert!(!add_is_refused(&mut driver(&chain, &["own"]), "own", "", &last), "`b` starts by itself");
    let free = leaf("free").reports();
    assert!(!add_is_refused(&mut driver(&chain, &[]), "own", "", &free), "no edge leads to the asker");
    let done = leaf("last").reports().after("own", Condition::Completed);
    assert!(add_is_refused(&mut driver(&chain, &["own"]), "own", "", &done), "after the asker has completed");
}

#[test]
fn an_asker_cannot_wait_for_the_restart_of_a_set_that_it_belongs_to() {
    let children = [leaf("own").reports(), leaf("b").reports(), leaf("c").reports()];
    let tree = sup("t", children).strategy(Strategy::OneForAll);
    let mut driver = driver(&tree, &["own", "b", "c"]);
    driver.fail("b");
    let got = refused(&mut driver, "own", "b", Command::Restart);
    assert_eq!(got, Some((true, true)));
}

#[test]
fn a_child_cannot_wait_for_the_end_of_its_tree_nor_for_a_readiness_that_it_delays() {
    let ready_is_refused = |ready: &[&str], by: &str| {
        let driver = driver(&tree(), ready);
        driver.machine.would_wait_for_itself(asker(&driver, by), Awaited::Ready)
    };
    assert!(ready_is_refused(&[], "first"));
    assert!(!ready_is_refused(&["first"], "first"));
    assert!(ready_is_refused(&["first"], "in/own"));
    assert!(ready_is_refused(&["first", "in/own"], "in/next"));
    assert!(!ready_is_refused(&["first", "in/own"], "in/own"));
    assert!(!ready_is_refused(&["first", "in/own", "in/next", "other"], "in/own"));
    let driver = driver(&tree(), &["first"]);
    let by = asker(&driver, "first");
    let end = |asker| driver.machine.would_wait_for_itself(asker, Awaited::End);
    assert!(end(by));
    assert!(!end(Asker { listens: true, ..by }));
    // Not known here: another attempt, and a child that is gone.
    assert!(!end(Asker { attempt: Attempt(7), ..by }));
    // The asker waits for a tree that it started only at its own end.
    let inner = Asker { of_other_tree: true, ..asker(&driver, "in/own") };
    assert!(end(inner) && !driver.machine.would_wait_for_itself(inner, Awaited::Ready));
}

#[test]
fn a_member_may_wait_for_another_member_but_not_for_its_group() {
    let mut driver = driver(&sup("t", [group("g")]), &[]);
    for name in ["own", "b"] {
        driver.add_member("g", Some(name)).expect("a member");
    }
    assert_eq!(refused(&mut driver, "g/own", "g/b", Command::Stop), Some((false, false)));
    assert_eq!(refused(&mut driver, "g/own", "g", Command::Stop), Some((true, false)));
}

#[test]
fn a_request_that_was_answered_or_withdrawn_does_not_count_as_a_wait() {
    let mut driver = driver(&tree(), &["first", "in/own", "in/next", "other"]);
    let (by, id) = (asker(&driver, "in/own"), driver.id("in/own"));
    let request = driver.command_to(id, Command::Stop);
    let awaited = Awaited::Answer(request, id);
    assert!(driver.machine.would_wait_for_itself(by, awaited));
    driver.machine.withdraw(request, id);
    assert!(!driver.machine.would_wait_for_itself(by, awaited));
    driver.complete("in/own");
    assert!(driver.answer(request).is_none(), "a withdrawn request is not answered");
}
