//! The cost of adding a child, and the names that are free for it. The name of each test is the rule.

use super::shape::{leaf, sup};
use super::test_driver::TestDriver;
use crate::{ChildDeclaration, Command, Condition, Machine, Refusal, Time};

/// Returns how many children the machine looks up while it adds a child to a supervisor with so many others.
fn lookups(tree: &ChildDeclaration, siblings: usize, added: &ChildDeclaration) -> u64 {
    let (mut machine, ids) = Machine::new(tree).expect("a good spec");
    let mut count = |input: &mut dyn FnMut(&mut Machine)| {
        let before = machine.arena.lookups.get();
        input(&mut machine);
        while machine.poll_effect().is_some() {}
        machine.arena.lookups.get() - before
    };
    count(&mut |machine| machine.handle(Time::ZERO, 0, crate::Input::Start));
    let mut add = |child: &ChildDeclaration| {
        count(&mut |machine| drop(machine.add_child(Time::ZERO, ids[0], child, None).expect("room")))
    };
    for n in 0..siblings {
        add(&leaf(&format!("n{n}")));
    }
    add(added)
}

#[test]
fn with_edges_the_cost_of_an_addition_depends_on_the_edges_of_the_child_and_not_on_its_siblings() {
    let tree = sup("t", [leaf("db"), leaf("cache")]).edges();
    let one = leaf("x").after("db", Condition::Ready);
    let two = one.clone().after("cache", Condition::Ready);
    for added in [leaf("x"), one, two] {
        assert_eq!(lookups(&tree, 10, &added), lookups(&tree, 2_000, &added));
    }
}

#[test]
fn a_name_that_a_sibling_comes_after_is_free_again_when_the_last_such_sibling_has_left() {
    let mut driver = TestDriver::started(&sup("t", [leaf("b")]));
    driver.add("", &leaf("job").temporary()).expect("room");
    for name in ["c", "d"] {
        driver.add("", &leaf(name).after("job", Condition::Completed)).expect("room");
    }
    driver.complete("job");
    for name in ["c", "d"] {
        let refused = driver.add("", &leaf("job")).expect_err("c or d comes after it");
        assert!(matches!(refused, Refusal::NeededBy(_)), "{refused:?}");
        driver.ask(name, Command::Remove).expect("it is removed");
    }
    driver.add("", &leaf("job")).expect("no child comes after it");
}

#[test]
fn a_child_that_is_declared_anew_needs_the_siblings_that_it_comes_after_now_and_no_others() {
    let app = leaf("app").after("db", Condition::Ready);
    let mut driver = TestDriver::started(&sup("t", [leaf("db"), leaf("cache"), app.clone()]));
    let (now, id) = (driver.now, driver.id("app"));
    let moved = leaf("app").after("cache", Condition::Ready);
    driver.machine.forget_edges(id, &moved);
    driver.machine.redeclare(now, id, &moved, false);
    driver.ask("cache", Command::Remove).expect_err("app comes after it now");
    driver.ask("db", Command::Remove).expect("no child comes after it any more");
}
