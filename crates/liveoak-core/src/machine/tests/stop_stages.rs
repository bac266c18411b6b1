//! The complete table of stop stages: phase × reaction × deadline × budget × kind of child.

use super::shape::{group, leaf, millis, secs, sup};
use super::test_driver::{Obeys, Policy, TestDriver, short};
use crate::{ChildDeclaration, Command, Condition, KILL_WAIT, Limit, StopReport, StopStage};
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Leaf,
    Nested,
    Member,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Waiting,
    Starting,
    Running,
    BackingOff,
    Stopping,
}

#[derive(Clone, Copy, Debug)]
struct Case {
    kind: Kind,
    at: At,
    obeys: Obeys,
    deadline: Duration,
    budget: Duration,
}

const FOREVER: Duration = Duration::MAX;

impl Case {
    /// Returns the path of the child under test. It is below `x` unless it is a leaf.
    const fn subject(&self) -> &'static str {
        match self.kind {
            Kind::Leaf => "x",
            Kind::Nested | Kind::Member => "x/y",
        }
    }

    /// Returns `false` for a waiting member of a group: members have no order and never wait.
    fn is_possible(&self) -> bool {
        !(self.kind == Kind::Member && self.at == At::Waiting)
    }

    fn tree(&self) -> ChildDeclaration {
        let subject = |text: &str| {
            let leaf = leaf(text).stop_within(self.deadline).delayed(secs(1_000_000));
            if self.at == At::Starting { leaf.reports().start_within(FOREVER) } else { leaf }
        };
        let x = match self.kind {
            Kind::Leaf => subject("x"),
            // A supervisor backs off after it gave up.
            Kind::Nested if self.at == At::BackingOff => {
                sup("x", [subject("y").limit(Limit::new(0, secs(1)))]).delayed(secs(1_000_000))
            }
            Kind::Nested => sup("x", [subject("y")]),
            Kind::Member => group("x").members(|group| group.template = subject("y").spec),
        };
        let blocker = leaf("w").reports().start_within(FOREVER);
        let x = if self.at == At::Waiting { x.after("w", Condition::Ready) } else { x };
        sup("t", [blocker, x]).edges().stop_within(self.budget)
    }

    /// Returns a driver in which the child under test is in its phase.
    fn driver(&self) -> TestDriver {
        let mut driver = TestDriver::new(&self.tree());
        driver.set_default(Policy { ready: false, ..Policy::default() });
        driver.obeys(self.subject(), self.obeys);
        driver.start();
        if self.kind == Kind::Member {
            driver.add_member("x", Some("y")).expect("room");
        }
        match self.at {
            At::Waiting | At::Starting | At::Running => {}
            At::BackingOff => driver.fail(self.subject()),
            At::Stopping => {
                driver.command(self.subject(), Command::Stop);
            }
        }
        driver
    }

    /// Returns the time until it is killed, or [`FOREVER`] if it is never killed.
    fn kill_after(&self) -> Duration {
        let budget = if self.budget == FOREVER { FOREVER } else { self.budget / 10 * 9 };
        self.deadline.min(budget)
    }

    /// Returns the expected stage and time of the stop: ask, wait, kill, wait, abandon, within the budget.
    fn expected(&self) -> (StopStage, Duration) {
        let kill = self.kill_after();
        match self.obeys {
            _ if matches!(self.at, At::Waiting | At::BackingOff) => (StopStage::Cancelled, Duration::ZERO),
            Obeys::Ask if !kill.is_zero() => (StopStage::Asked, Duration::ZERO),
            Obeys::Ask | Obeys::Kill | Obeys::Test => (StopStage::Killed, kill),
            Obeys::Nothing if self.budget.is_zero() => (StopStage::Abandoned, KILL_WAIT),
            Obeys::Nothing => (StopStage::Abandoned, kill.saturating_add(KILL_WAIT).min(self.budget)),
        }
    }

    fn check(&self) {
        let mut driver = self.driver();
        let before = driver.snapshot();
        let idle = |word: &str| matches!(word, "down" | "stopped" | "finished");
        let state = driver.state(self.subject());
        let was = |at: &str| assert_eq!(state, at, "{self:?}: set up");
        let gone_already = match (self.at, self.kind) {
            (At::Waiting | At::BackingOff, Kind::Nested) => false,
            (At::Waiting, _) => {
                was("waiting");
                false
            }
            (At::Starting, _) => {
                was("starting");
                false
            }
            (At::Running, _) => {
                was("running");
                false
            }
            (At::BackingOff, _) => {
                was("backing-off");
                false
            }
            (At::Stopping, _) if idle(state) => true,
            (At::Stopping, _) => {
                was("stopping");
                false
            }
        };
        let mut names: Vec<_> = before.nodes().filter(|node| !idle(node.state.as_str())).collect();
        names.retain(|node| !short(&node.path).is_empty());
        let mut names: Vec<_> = names.into_iter().map(|node| short(&node.path)).collect();
        driver.stop();
        let (stage, took) = self.expected();
        let takes_forever = !gone_already && took > secs(1_000_000);
        if takes_forever {
            driver.advance(secs(1_000_000_000));
            assert!(driver.down.is_none(), "{self:?}: it was not to be killed");
            driver.kill();
            driver.advance(KILL_WAIT);
        } else {
            let most = if self.budget.is_zero() { KILL_WAIT } else { self.budget };
            assert!(took <= most, "{self:?}");
            driver.advance(took);
        }
        assert!(driver.down.is_some(), "{self:?}: not down after {took:?}");
        assert!(driver.alive().is_empty(), "{self:?}");
        let report = driver.report();
        names.sort();
        assert_eq!(named(&report), names, "{self:?}: the report names each child");
        let listed = match (self.kind, self.at) {
            (Kind::Nested, At::Waiting | At::BackingOff) => "x",
            (Kind::Leaf | Kind::Nested | Kind::Member, _) => self.subject(),
        };
        let entry = report.entries.iter().find(|entry| short(&entry.path) == listed);
        assert_eq!(entry.map(|entry| entry.stage), (!gone_already).then_some(stage), "{self:?}");
        if !takes_forever && !gone_already {
            assert_eq!(report.took, took, "{self:?}: the time of the whole");
            assert_eq!(entry.map(|entry| entry.took), Some(took), "{self:?}: the time of the child");
        }
        let forced = !gone_already && stage.is_forced();
        // With a budget of zero the other child is killed as well.
        assert_eq!(report.is_clean(), !forced && !self.budget.is_zero(), "{self:?}");
    }
}

fn named(report: &StopReport) -> Vec<String> {
    let mut names: Vec<_> = report.entries.iter().map(|entry| short(&entry.path)).collect();
    names.sort();
    names
}

#[test]
fn every_stop_reaches_the_expected_stage_within_its_budget_for_every_phase_and_kind_of_child() {
    let mut cases = 0;
    for kind in [Kind::Leaf, Kind::Nested, Kind::Member] {
        for at in [At::Waiting, At::Starting, At::Running, At::BackingOff, At::Stopping] {
            for obeys in [Obeys::Ask, Obeys::Kill, Obeys::Nothing] {
                for deadline in [Duration::ZERO, secs(5), FOREVER] {
                    for budget in [FOREVER, secs(100), secs(1), Duration::ZERO] {
                        let case = Case { kind, at, obeys, deadline, budget };
                        if case.is_possible() {
                            case.check();
                            cases += 1;
                        }
                    }
                }
            }
        }
    }
    assert_eq!(cases, 3 * 5 * 3 * 3 * 4 - 3 * 3 * 4, "members never wait, all else is possible");
}

#[test]
fn a_killed_child_is_abandoned_after_its_own_kill_wait() {
    for wait in [millis(300), KILL_WAIT, secs(20)] {
        let a = leaf("a").stop_within(secs(1)).with(|child| child.kill_wait = wait);
        let mut driver = TestDriver::new(&sup("t", [a, leaf("b")]).stop_within(secs(100)));
        driver.obeys("a", Obeys::Nothing);
        driver.start();
        driver.log();
        driver.command("a", Command::Stop);
        driver.advance(secs(1));
        assert_eq!(driver.log(), ["ask a", "kill a"]);
        driver.advance(wait - millis(1));
        assert_eq!(driver.log(), [""; 0]);
        driver.advance(millis(1));
        assert_eq!(driver.log(), ["abandon a"], "{wait:?}");
    }
}

#[test]
fn the_kill_wait_of_a_supervisor_bounds_the_kill_of_its_whole_subtree() {
    let a = leaf("a").with(|child| child.kill_wait = secs(60));
    for (wait, until) in [(secs(5), secs(5)), (secs(90), secs(60))] {
        let mut driver = TestDriver::new(&sup("t", [a.clone()]).with(|root| root.kill_wait = wait));
        driver.obeys("a", Obeys::Nothing);
        driver.start();
        driver.kill();
        driver.advance(until - millis(1));
        assert!(driver.down.is_none());
        driver.advance(millis(1));
        assert!(driver.down.is_some(), "{wait:?}");
    }
}

#[test]
fn a_kill_wait_of_zero_is_refused() {
    let tree = sup("t", [leaf("a").with(|child| child.kill_wait = Duration::ZERO)]);
    assert_eq!(
        tree.check().expect_err("zero").to_string(),
        "/t/a: kill_wait: it is zero, so no killed attempt could end in time; expected more"
    );
}
