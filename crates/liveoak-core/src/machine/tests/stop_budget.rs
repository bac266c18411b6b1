//! Stops whose time is said by the command; the name of each test is the rule.

use super::shape::{group, leaf, millis, secs, sup};
use super::test_driver::{Obeys, TestDriver};
use crate::{Command, Input};
use std::time::Duration;

/// Returns a driver whose child `s/c` declares 5 s for its stop, and obeys only a kill.
fn stubborn() -> TestDriver {
    let c = leaf("c").with(|spec| spec.stop_within = secs(5));
    let mut driver = TestDriver::started(&sup("t", [sup("s", [leaf("b"), c])]));
    driver.obeys("s/c", Obeys::Kill);
    driver
}

fn stop_within(driver: &mut TestDriver, path: &str, within: Duration) {
    driver.machine.set_stop_budget(Some(within));
    driver.command(path, Command::Stop);
}

/// Lets the time pass, and checks that the child `s/c` is killed exactly then.
fn is_killed_after(driver: &mut TestDriver, time: Duration, before: &[&str]) {
    driver.advance(time.checked_sub(millis(1)).expect("a later time"));
    assert_eq!(driver.log(), before, "before {time:?}");
    driver.advance(millis(1));
    assert_eq!(driver.log()[..2], ["kill s/c", "gone s/c"], "after {time:?}");
}

#[test]
fn the_time_of_the_command_applies_instead_of_the_declared_time() {
    for within in [millis(10), secs(60)] {
        let mut driver = stubborn();
        stop_within(&mut driver, "s/c", within);
        is_killed_after(&mut driver, within, &["ask s/c"]);
    }
    let mut driver = stubborn();
    stop_within(&mut driver, "s/c", Duration::ZERO);
    assert_eq!(driver.log(), ["kill s/c", "gone s/c"]);
}

#[test]
fn the_time_of_a_command_on_a_supervisor_is_the_budget_of_its_whole_stop() {
    let mut driver = stubborn();
    stop_within(&mut driver, "s", secs(1));
    is_killed_after(&mut driver, millis(900), &["ask s/c", "ask s/b", "gone s/b"]);
}

#[test]
fn a_child_below_keeps_its_own_time_within_a_longer_budget_of_the_command() {
    let mut driver = stubborn();
    stop_within(&mut driver, "s", secs(3600));
    driver.advance(millis(4999));
    assert_eq!(driver.log(), ["ask s/c"]);
    driver.advance(millis(1));
    assert_eq!(driver.log(), ["kill s/c", "gone s/c", "ask s/b", "gone s/b"]);
}

#[test]
fn a_later_command_shortens_a_stop_that_has_begun_and_never_prolongs_it() {
    for (later, killed_after) in [(secs(1), secs(1)), (secs(60), secs(5))] {
        let mut driver = stubborn();
        driver.command("s/c", Command::Stop);
        stop_within(&mut driver, "s/c", later);
        is_killed_after(&mut driver, killed_after, &["ask s/c"]);
    }
    for path in ["s/c", "s", ""] {
        let mut driver = stubborn();
        let stop = |driver: &mut TestDriver| match path {
            "" => driver.input(Input::Stop),
            path => drop(driver.command(path, Command::Stop)),
        };
        stop(&mut driver);
        assert_eq!(driver.log(), ["ask s/c"], "{path}");
        driver.machine.set_stop_budget(Some(Duration::ZERO));
        stop(&mut driver);
        assert!(driver.log().contains(&"kill s/c".to_owned()), "{path}");
    }
    let mut driver = stubborn();
    driver.command("s", Command::Stop);
    stop_within(&mut driver, "s", secs(1));
    driver.advance(millis(900));
    assert_eq!(driver.log(), ["ask s/c", "ask s/b", "gone s/b", "kill s/c", "gone s/c"]);
}

#[test]
fn the_time_of_a_command_applies_to_that_command_only() {
    let mut driver = stubborn();
    stop_within(&mut driver, "s/b", Duration::ZERO);
    driver.machine.set_stop_budget(Some(Duration::ZERO));
    driver.command("s/b", Command::Start);
    driver.log();
    driver.command("s/c", Command::Stop);
    assert_eq!(driver.log(), ["ask s/c"]);
}

#[test]
fn a_command_on_a_child_that_is_down_gives_its_time_to_no_other_child() {
    let mut driver = stubborn();
    driver.command("s/b", Command::Stop);
    driver.log();
    driver.machine.set_stop_budget(Some(Duration::ZERO));
    driver.command("s/b", Command::Stop);
    assert!(driver.log().is_empty());
    driver.command("s/c", Command::Stop);
    assert_eq!(driver.log(), ["ask s/c"]);
}

#[test]
fn the_time_of_a_command_never_prolongs_the_stop_of_the_supervisor_above() {
    let mut driver = stubborn();
    driver.machine.set_stop_budget(Some(secs(1)));
    driver.input(Input::Stop);
    stop_within(&mut driver, "s/c", secs(60));
    is_killed_after(&mut driver, millis(900), &["ask s/c", "ask s/b", "gone s/b"]);
}

#[test]
fn the_stop_of_the_tree_takes_the_time_of_the_command() {
    let mut driver = stubborn();
    driver.machine.set_stop_budget(Some(secs(1)));
    driver.input(Input::Stop);
    driver.advance(millis(1_000));
    assert!(driver.down.is_some());
}

#[test]
fn the_members_of_a_group_end_within_the_time_of_the_command() {
    let mut driver = TestDriver::started(&sup("t", [group("g")]));
    driver.add_member("g", Some("m")).expect("a member");
    driver.obeys("g/m", Obeys::Kill);
    driver.log();
    stop_within(&mut driver, "g", secs(1));
    driver.advance(millis(899));
    assert_eq!(driver.log(), ["ask g/m"]);
    driver.advance(millis(1));
    assert_eq!(driver.log()[..2], ["kill g/m", "gone g/m"]);
}

#[test]
fn a_drain_takes_at_most_half_of_the_time_of_the_command() {
    let draining = || {
        let c = leaf("c").with(|spec| (spec.stop_within, spec.unready_for) = (secs(20), secs(10)));
        let mut driver = TestDriver::started(&sup("t", [sup("s", [c])]));
        driver.obeys("s/c", Obeys::Kill);
        driver
    };
    for (within, asked_after) in [(secs(2), secs(1)), (secs(40), secs(10))] {
        let mut driver = draining();
        stop_within(&mut driver, "s/c", within);
        driver.advance(asked_after - millis(1));
        assert!(driver.log().is_empty(), "{within:?}");
        driver.advance(millis(1));
        assert_eq!(driver.log(), ["ask s/c"], "{within:?}");
        is_killed_after(&mut driver, within - asked_after, &[]);
    }
    // Also if the drain has begun.
    let mut driver = draining();
    driver.command("s/c", Command::Stop);
    driver.advance(secs(4));
    stop_within(&mut driver, "s/c", secs(2));
    driver.advance(secs(1));
    assert_eq!(driver.log(), ["ask s/c"]);
    is_killed_after(&mut driver, secs(1), &[]);
    let mut driver = draining();
    driver.command("s/c", Command::Stop);
    stop_within(&mut driver, "s/c", Duration::ZERO);
    assert_eq!(driver.log(), ["kill s/c", "gone s/c"]);
}
