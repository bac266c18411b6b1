//! Copies that are taken a few slots at a time, with inputs in between, against snapshots that are taken in one piece.
//!
//! [`TestDriver`](super::test_driver::TestDriver) does this in every test, so that every kind of change comes between
//! two pieces of a copy.

use super::shape::{group, leaf, sup};
use super::test_driver::TestDriver;
use crate::{Machine, Snapshot, Time, TreeCopy};

/// How many copies are taken at once.
const AT_ONCE: usize = 3;

/// The copies that are being taken, each with the snapshot of its moment.
#[derive(Default)]
pub(super) struct Copies {
    pending: Vec<(TreeCopy, Snapshot)>,
    steps: usize,
    /// How many copies were compared.
    pub(super) compared: usize,
}

impl Copies {
    /// Takes a few slots of each copy, compares the complete copies, and begins another copy.
    #[track_caller]
    pub(super) fn step(&mut self, machine: &mut Machine, now: Time) {
        self.steps += 1;
        for (mut copy, expected) in std::mem::take(&mut self.pending) {
            if machine.go_on_copying(&mut copy, (self.steps + self.pending.len()) % 4) {
                self.compared += 1;
                let (copy, expected) = (format!("{:#?}", copy.into_snapshot()), format!("{expected:#?}"));
                assert!(copy == expected, "the copy:\n{copy}\nthe snapshot of its moment:\n{expected}");
            } else {
                self.pending.push((copy, expected));
            }
        }
        if self.pending.len() < AT_ONCE {
            let expected = machine.snapshot(now);
            self.pending.push((machine.begin_copy(now), expected));
        }
    }
}

#[test]
fn a_copy_shows_the_moment_at_which_it_was_begun_whatever_happens_while_it_is_taken() {
    let tree = sup("t", [leaf("a"), sup("s", [leaf("b"), leaf("c").temporary()]), group("g")]);
    let mut driver = TestDriver::started(&tree);
    for member in ["x", "y"] {
        driver.add_member("g", Some(member)).expect("room");
    }
    let (expected, mut copy) = (driver.snapshot(), driver.machine.begin_copy(driver.now));
    assert_eq!(copy.last_event(), expected.number);
    assert!(!driver.machine.go_on_copying(&mut copy, 2));
    driver.fail("a");
    driver.complete("s/c");
    driver.command("g/x", crate::Command::Remove);
    driver.add_member("g", Some("z")).expect("room");
    driver.add("s", &leaf("new")).expect("a good spec");
    assert!(!driver.machine.go_on_copying(&mut copy, 1));
    driver.stop();
    assert!(driver.machine.go_on_copying(&mut copy, usize::MAX));
    assert_eq!(format!("{:?}", copy.into_snapshot()), format!("{expected:?}"));
    assert!(driver.copies.compared > 0);
}
