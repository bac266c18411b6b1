//! The stop: order, ladder, budget, report.

use super::rig::{Obeys, Policy, Rig};
use super::shape::{group, leaf, secs, sup};
use crate::{Command, Rung, Time};
use std::time::Duration;

#[test]
fn a_driver_that_comes_late_still_kills_before_it_writes_off() {
    let tree = sup("t", [sup("s", [leaf("a"), leaf("b")]), group("g")]).stop_within(secs(10));
    let mut rig = Rig::new(&tree);
    rig.set_default(Policy { obeys: Obeys::Nothing, ..Policy::default() });
    rig.start();
    rig.add_member("g", Some("m")).expect("room");
    rig.stop();
    rig.jump(Time::ZERO.after(secs(3600)));
    rig.advance(Duration::ZERO);
    assert!(rig.down.is_some());
    assert_eq!(rig.report().forced().count(), 3);
    assert!(rig.report().forced().all(|entry| entry.rung == Rung::Abandoned));
}

#[test]
fn a_stop_of_a_part_that_was_under_way_does_not_make_the_stop_of_the_whole_longer_than_its_budget() {
    for placed in [false, true] {
        let inner = sup("s", [leaf("a").stop_within(Duration::MAX), leaf("b").stop_within(Duration::MAX)]);
        let inner = if placed { inner.placed() } else { inner };
        let mut rig = Rig::new(&sup("t", [inner, leaf("c")]).stop_within(secs(10)));
        rig.set_default(Policy { obeys: Obeys::Nothing, ..Policy::default() });
        rig.obeys("c", Obeys::Ask);
        rig.start();
        rig.command("s", Command::Stop);
        rig.advance(secs(100));
        rig.log();
        rig.stop();
        rig.advance(secs(5));
        assert_eq!(rig.log(), ["ask c", "gone c", "ask s/a"], "at half the budget nobody waits for a turn");
        rig.advance(secs(5));
        assert!(rig.down.is_some(), "placed: {placed}");
        assert!(rig.report().took <= secs(10));
    }
}
