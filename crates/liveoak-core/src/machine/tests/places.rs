//! How many children may be starting at a time (`max_starting`); the name of each test is the rule.

use super::shape::{backoff, group, leaf, millis, secs, sup};
use super::test_driver::{Obeys, TestDriver, word};
use crate::{
    Asker, Awaited, ChildDeclaration, ChildForm, ChildState, Command, FirstStart, IdleReason, Machine, Order,
    Ready, Refusal, Strategy, WaitingFor,
};

/// Returns a permanent leaf that reports that it is ready, within 10 s.
fn slow(name: &str) -> ChildDeclaration {
    leaf(name).with(|spec| (spec.ready, spec.start_within) = (Ready::Reported, secs(10)))
}

fn bounded(
    places: u32,
    order: Order,
    children: impl IntoIterator<Item = ChildDeclaration>,
) -> ChildDeclaration {
    sup("t", children).rules(|rules| (rules.max_starting, rules.order) = (Some(places), order))
}

/// Returns a driver whose children are ready only when the test says so.
fn begun(tree: &ChildDeclaration) -> TestDriver {
    let mut driver = TestDriver::new(tree);
    for path in ["a", "b", "c", "d"] {
        driver.policy(path).ready = false;
    }
    driver.start();
    driver
}

fn four() -> [ChildDeclaration; 4] {
    ["a", "b", "c", "d"].map(slow)
}

fn waits_for_place(driver: &mut TestDriver, path: &str) -> bool {
    matches!(driver.view(path).state, ChildState::Waiting { what: WaitingFor::Place, .. })
}

#[test]
fn with_edges_no_more_children_than_allowed_are_starting_and_each_that_is_ready_gives_its_place_back() {
    let mut driver = begun(&bounded(2, Order::Edges, four()));
    assert_eq!(driver.log(), ["start a", "start b"]);
    assert!(waits_for_place(&mut driver, "c") && waits_for_place(&mut driver, "d"));
    let remaining = match driver.view("c").state {
        ChildState::Waiting { remaining, .. } => remaining,
        _ => None,
    };
    assert_eq!(remaining, Some(secs(10)), "the start deadline of those that have the places bounds the wait");
    driver.ready("b");
    assert_eq!(driver.log(), ["start c"]);
    driver.ready("a");
    driver.ready("c");
    driver.ready("d");
    assert_eq!(driver.log(), ["start d", "up"]);
}

#[test]
fn a_place_is_given_back_by_an_exit_a_stop_a_missed_deadline_and_an_abandonment() {
    let first_start = |tree: ChildDeclaration| tree.rules(|rules| rules.first_start = FirstStart::Retry);
    type Act = fn(&mut TestDriver);
    let acts: [(&str, Act); 5] = [
        ("exit", |driver| driver.fail("a")),
        ("stop", |driver| _ = driver.command("a", Command::Stop)),
        ("remove", |driver| _ = driver.command("a", Command::Remove)),
        ("deadline", |driver| driver.advance(secs(10))),
        ("quarantine", |driver| _ = driver.command("a", Command::Quarantine)),
    ];
    for (what, act) in acts {
        for obeys in [Obeys::Ask, Obeys::Nothing] {
            let slow_back = slow("a").with(|spec| spec.backoff = Some(backoff(secs(3600))));
            let mut driver = begun(&first_start(bounded(1, Order::Edges, [slow_back, slow("b")])));
            driver.obeys("a", obeys);
            assert_eq!(driver.log(), ["start a"], "{what}");
            act(&mut driver);
            assert!(driver.log().contains(&"start b".to_owned()), "{what}, {obeys:?}");
        }
    }
}

#[test]
fn a_child_that_fails_again_and_again_does_not_keep_the_only_place() {
    let tree = bounded(1, Order::Edges, four()).rules(|rules| rules.first_start = FirstStart::Retry);
    let mut driver = begun(&tree);
    driver.fail("a");
    driver.fail("b");
    assert_eq!(driver.log(), ["start a", "gone a", "start b", "gone b", "start c"]);
    driver.ready("c");
    driver.ready("d");
    assert_eq!(driver.log(), ["start d", "start a"], "in the order of their waits");
}

#[test]
fn replicas_and_children_in_declared_order_take_places_too() {
    let replica =
        |name: &str| slow(name).with(|spec| spec.replica_of = Some(crate::Name::new("set").expect("a name")));
    let children = ["a", "b", "c"].map(replica).into_iter().chain([slow("d")]);
    let mut driver = begun(&bounded(2, Order::Declared, children));
    assert_eq!(driver.log(), ["start a", "start b"]);
    driver.ready("a");
    assert_eq!(driver.log(), ["start c"]);
    driver.ready("b");
    driver.ready("c");
    assert_eq!(driver.log(), ["start d"]);
}

#[test]
fn after_a_common_failure_the_restarts_share_the_places() {
    for strategy in [Strategy::OneForOne, Strategy::OneForAll] {
        let tree = bounded(1, Order::Edges, four()).rules(|rules| rules.strategy = strategy);
        let mut driver = TestDriver::started(&tree);
        for path in ["a", "b", "c", "d"] {
            driver.policy(path).ready = false;
        }
        driver.log();
        driver.fail("a");
        if strategy == Strategy::OneForOne {
            for path in ["b", "c", "d"] {
                driver.fail(path);
            }
        }
        for path in ["a", "b", "c", "d"] {
            assert_eq!(driver.done("start"), [path], "{strategy:?}");
            driver.ready(path);
        }
    }
}

#[test]
fn a_child_that_is_ready_at_once_takes_no_place() {
    let mut driver = begun(&bounded(1, Order::Edges, [slow("a"), leaf("x"), slow("b")]));
    assert_eq!(driver.log(), ["start a", "start x"]);
    assert!(waits_for_place(&mut driver, "b"));
}

#[test]
fn a_nested_supervisor_has_a_place_until_its_children_are_ready() {
    let nested = sup("s", [slow("a")]);
    let mut driver = TestDriver::new(&bounded(1, Order::Edges, [nested, slow("b")]));
    driver.policy("s/a").ready = false;
    driver.start();
    assert_eq!(driver.log(), ["start s/a"]);
    driver.ready("s/a");
    assert_eq!(driver.log(), ["start b", "up"]);
}

#[test]
fn the_wait_for_a_place_fails_no_first_start_and_a_command_is_answered_after_the_start_deadline() {
    let mut driver =
        begun(&bounded(1, Order::Edges, [slow("a").with(|a| a.start_within = secs(60)), slow("b")]));
    driver.advance(secs(50));
    assert!(driver.down.is_none() && waits_for_place(&mut driver, "b"));
    let request = driver.command("b", Command::Restart);
    driver.advance(millis(9_999));
    assert!(driver.answer(request).is_none());
    let mut driver =
        begun(&bounded(1, Order::Edges, [slow("a").with(|a| a.start_within = secs(60)), slow("b")]));
    let request = driver.command("b", Command::Restart);
    driver.advance(secs(10));
    assert!(matches!(driver.answer(request), Some(Err(Refusal::WaitsFor { .. }))));
    driver.ready("a");
    assert!(driver.is_alive("b"));
}

#[test]
fn a_stop_during_the_wait_for_a_place_cancels_the_start() {
    let mut driver = begun(&bounded(1, Order::Edges, four()));
    driver.log();
    driver.command("b", Command::Stop);
    driver.ready("a");
    assert_eq!(driver.log(), ["start c"]);
    driver.stop();
    assert!(driver.down.is_some() && driver.done("start").is_empty());
}

#[test]
fn the_members_of_a_group_wait_for_places_in_the_order_in_which_they_came() {
    let pool = group("g").members(|group| {
        group.max_starting = Some(2);
        (group.template.ready, group.template.start_within) = (Ready::Reported, secs(10));
    });
    let mut driver = TestDriver::started(&sup("t", [pool]));
    let names = ["a", "b", "c", "d", "e"];
    for name in names {
        driver.policy(&format!("g/{name}")).ready = false;
    }
    driver.log();
    let requests = names.map(|name| driver.add_member("g", Some(name)).expect("a member"));
    assert_eq!(driver.log(), ["start g/a", "start g/b"]);
    assert!(waits_for_place(&mut driver, "g/c"));
    // A member that fails waits behind the others.
    driver.ready("g/a");
    driver.ready("g/c");
    driver.fail("g/a");
    assert_eq!(driver.log(), ["start g/c", "start g/d", "gone g/a"]);
    driver.ready("g/b");
    assert_eq!(driver.log(), ["start g/e"]);
    driver.command("g/d", Command::Stop);
    assert_eq!(driver.done("start"), ["g/a"]);
    driver.ready("g/e");
    let answered = requests.map(|request| driver.answer(request).as_ref().map_or("", |answer| word(answer)));
    assert_eq!(answered[2], "ready");
    // A stop of the group cancels those that wait.
    driver.fail("g/b");
    driver.fail("g/e");
    driver.log();
    driver.stop();
    assert!(driver.down.is_some() && driver.done("start").is_empty());
}

#[test]
fn after_a_common_failure_of_a_group_the_members_start_in_turn_and_the_wait_is_answered_in_time() {
    let pool = group("g").members(|group| {
        group.max_starting = Some(1);
        (group.template.ready, group.template.start_within) = (Ready::Reported, secs(10));
    });
    let mut driver = TestDriver::started(&sup("t", [pool]));
    for name in ["a", "b", "c"] {
        driver.add_member("g", Some(name)).expect("a member");
        driver.policy(&format!("g/{name}")).ready = false;
    }
    for name in ["a", "b", "c"] {
        driver.fail(&format!("g/{name}"));
    }
    driver.log();
    let request = driver.command("g/c", Command::Restart);
    driver.advance(millis(9_999));
    assert!(driver.answer(request).is_none());
    driver.advance(millis(1));
    assert!(
        matches!(driver.answer(request), Some(Err(Refusal::WaitsFor { .. }))),
        "{:?}",
        driver.answer(request)
    );
    // The first has missed its start deadline, so the next one has its place.
    assert_eq!(driver.done("start"), ["g/b"]);
    driver.ready("g/b");
    assert_eq!(driver.done("start"), ["g/c"]);
    driver.command("g/a", Command::Pause);
    driver.ready("g/c");
    assert!(driver.done("start").is_empty());
    assert!(matches!(driver.view("g/a").state, ChildState::Idle(IdleReason::Paused)));
    driver.command("g/a", Command::Resume);
    assert_eq!(driver.done("start"), ["g/a"]);
}

#[test]
fn a_member_that_fails_while_it_starts_lets_those_go_first_that_wait() {
    let pool = group("g").members(|group| {
        group.max_starting = Some(1);
        (group.template.ready, group.template.start_within) = (Ready::Reported, secs(10));
    });
    let mut driver = TestDriver::started(&sup("t", [pool]));
    for name in ["a", "b"] {
        driver.add_member("g", Some(name)).expect("a member");
        driver.policy(&format!("g/{name}")).ready = false;
    }
    driver.ready("g/b");
    driver.fail("g/a");
    driver.fail("g/b");
    driver.log();
    driver.fail("g/a");
    assert_eq!(driver.done("start"), ["g/b"], "the one that has failed waits behind the other");
}

#[test]
fn a_child_that_has_the_only_place_does_not_wait_for_a_sibling_that_needs_it() {
    for (places, refused) in [(1, true), (2, false)] {
        let mut driver = begun(&bounded(places, Order::Edges, [slow("a"), slow("b"), slow("c")]));
        let asker =
            Asker { id: driver.id("a"), attempt: driver.attempt("a"), listens: false, of_other_tree: false };
        let request = driver.command("c", Command::Restart);
        let awaited = Awaited::Answer(request, driver.id("c"));
        assert_eq!(driver.machine.would_wait_for_itself(asker, awaited), refused, "{places}");
    }
}

#[test]
fn a_bound_without_places_or_without_effect_is_refused() {
    let refused = |tree: &ChildDeclaration| match Machine::new(tree) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.0.iter().map(|error| error.field).collect(),
    };
    assert_eq!(refused(&bounded(0, Order::Edges, four())), ["max_starting"]);
    assert_eq!(refused(&bounded(1, Order::Edges, [leaf("a"), leaf("b")])), ["max_starting"]);
    assert!(refused(&bounded(1, Order::Edges, [leaf("a"), slow("b")])).is_empty());
    assert!(refused(&bounded(1, Order::Edges, [leaf("a"), sup("s", [])])).is_empty());
    assert!(refused(&bounded(1, Order::Edges, [])).is_empty(), "children may be added later");
    let pool = |places, ready| {
        let pool =
            group("g").members(|group| (group.max_starting, group.template.ready) = (Some(places), ready));
        assert!(matches!(pool.form, ChildForm::Group(_)));
        refused(&sup("t", [pool]))
    };
    assert_eq!(pool(0, Ready::Reported), ["max_starting"]);
    assert_eq!(pool(1, Ready::AtOnce), ["max_starting"]);
    assert!(pool(1, Ready::Reported).is_empty());
}
