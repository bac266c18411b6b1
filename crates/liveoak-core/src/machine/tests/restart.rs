//! Restarts and groups.

use super::rig::Rig;
use super::shape::{leaf, sup};
use crate::Strategy;

#[test]
fn children_start_in_declared_order_and_stop_in_reverse() {
    let mut rig = Rig::new(&sup("t", ["a", "b", "c"].map(leaf)));
    rig.start();
    assert_eq!(rig.log(), ["start a", "start b", "start c", "up"]);
    rig.stop();
    assert_eq!(rig.log(), ["ask c", "gone c", "ask b", "gone b", "ask a", "gone a", "down"]);
    assert!(rig.report().is_clean());
    assert_eq!(rig.down_kind(), "stopped");
}

#[test]
fn a_sibling_still_running_under_one_for_all_or_rest_for_one_is_stopped_before_its_new_attempt_starts_exactly_one_live_attempt_afterwards_and_none_after_shutdown()
 {
    for (strategy, expected) in [
        (
            Strategy::OneForAll,
            ["gone b", "ask c", "gone c", "ask a", "gone a", "start a", "start b", "start c"].as_slice(),
        ),
        (Strategy::RestForOne, ["gone b", "ask c", "gone c", "start b", "start c"].as_slice()),
    ] {
        let mut rig = Rig::started(&sup("t", ["a", "b", "c"].map(leaf)).strategy(strategy));
        rig.fail("b");
        assert_eq!(rig.log(), expected);
        assert_eq!(rig.alive(), ["a", "b", "c"]);
        rig.stop();
        assert!(rig.alive().is_empty());
    }
}
