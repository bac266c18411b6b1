//! Needs: dependencies that hold while a child runs. The name of each test is the rule.

use super::shape::{SECOND, group, leaf, millis, name, secs, sup};
use super::test_driver::{Obeys, TestDriver};
use crate::{
    Backoff, ChildDeclaration, Command, Condition, Edge, EventKind, Exit, GiveUp, Limit, Need, Refusal,
    Strategy,
};
use proptest::prelude::{ProptestConfig, any, proptest};
use proptest::{collection::vec, prop_assert, prop_assert_eq};
use std::time::Duration;

/// A grace that is long compared with the backoffs of these tests.
const GRACE: Duration = secs(5);

trait Needs {
    fn needs(self, child: &str, grace: Duration) -> Self;
}

impl Needs for ChildDeclaration {
    fn needs(self, child: &str, grace: Duration) -> Self {
        self.with(|spec| {
            spec.after.push(Edge { child: name(child), condition: Condition::Ready });
            spec.needs.push(Need { child: name(child), grace });
        })
    }
}

/// A child that fails for good as often as it is told to.
fn db() -> ChildDeclaration {
    leaf("db").limit(Limit::unlimited())
}

fn errors(tree: &ChildDeclaration) -> String {
    tree.check().expect_err("a broken rule").to_string()
}

#[test]
fn a_loss_and_a_return_within_the_grace_change_nothing() {
    let mut driver = TestDriver::started(&sup("t", [db().delayed(secs(4)), leaf("web").needs("db", GRACE)]));
    for _ in 0..5 {
        driver.fail("db");
        driver.advance(secs(6));
    }
    assert_eq!((driver.view("web").attempt.0, driver.state("web")), (1, "running"));
}

#[test]
fn a_child_that_lost_a_need_for_the_grace_is_stopped_without_charge_and_starts_when_it_is_back() {
    let web = leaf("web").needs("db", GRACE).limit(Limit::new(0, secs(60)));
    let mut driver = TestDriver::started(&sup("t", [db(), web]).intensity(0, secs(60)));
    let _ = driver.ask("db", Command::Stop);
    driver.log();
    driver.advance(GRACE - millis(1));
    assert_eq!(driver.log(), [""; 0]);
    driver.advance(millis(1));
    assert_eq!(driver.log(), ["ask web", "gone web"]);
    assert_eq!(driver.state("web"), "waiting");
    assert_eq!(driver.view("web").last_exit.map(|exit| exit.kind()), Some("stopped"));
    let told = |driver: &TestDriver, what: fn(&EventKind) -> bool| {
        driver.events.iter().filter(|event| what(&event.kind)).count()
    };
    assert_eq!(told(&driver, |kind| matches!(kind, EventKind::NeedLost { .. })), 1);
    assert_eq!(
        told(&driver, |kind| matches!(kind, EventKind::StoppedForNeed { need } if need.as_str() == "db")),
        1
    );
    driver.advance(secs(3_600));
    assert_eq!(driver.state("web"), "waiting");
    driver.ask("db", Command::Start).expect("it starts");
    assert_eq!(driver.states(["db", "web"]), ["running", "running"]);
    assert_eq!(driver.view("web").restarts, 0);
}

#[test]
fn a_flapping_need_grows_the_own_backoff_of_the_child_until_it_has_a_stable_run() {
    let delays = |tree: &TestDriver| -> Vec<u32> {
        let nth = |kind: &EventKind| match kind {
            EventKind::BackingOff { nth, .. } => Some(*nth),
            _ => None,
        };
        tree.events
            .iter()
            .filter(|event| event.path.name() == "web")
            .filter_map(|event| nth(&event.kind))
            .collect()
    };
    let steps = Backoff { from: secs(1), to: secs(1), reset_after: secs(10), ..Backoff::default() };
    let web = leaf("web").needs("db", SECOND).with(|spec| spec.backoff = Some(steps));
    let mut driver = TestDriver::started(&sup("t", [db(), web]));
    for round in 0..4 {
        if round == 3 {
            driver.advance(secs(60));
        }
        let _ = driver.ask("db", Command::Stop);
        driver.advance(SECOND);
        driver.ask("db", Command::Start).expect("it starts");
        driver.advance(secs(1));
        assert_eq!(driver.state("web"), "running");
    }
    assert_eq!(delays(&driver), [1, 2, 3, 1]);
}

#[test]
fn each_need_counts_for_itself_and_a_chain_stops_link_by_link() {
    let tree = sup("t", [db(), leaf("api").needs("db", secs(2)), leaf("web").needs("api", secs(3))]);
    let mut driver = TestDriver::started(&tree);
    let _ = driver.ask("db", Command::Stop);
    driver.log();
    driver.advance(secs(2));
    assert_eq!(driver.log(), ["ask api", "gone api"]);
    driver.advance(secs(3) - millis(1));
    assert_eq!(driver.state("web"), "running");
    driver.advance(millis(1));
    assert_eq!(driver.states(["api", "web"]), ["waiting", "waiting"]);
    driver.ask("db", Command::Start).expect("it starts");
    assert_eq!(driver.states(["db", "api", "web"]), ["running"; 3]);
}

#[test]
fn a_need_holds_while_the_other_is_ready_has_finished_with_success_or_is_ignored() {
    let lost = |exit: Exit| {
        let mut driver = TestDriver::started(&sup(
            "t",
            [db().transient().delayed(secs(60)), leaf("web").needs("db", GRACE)],
        ));
        driver.exit("db", exit);
        driver.advance(GRACE);
        driver.state("web") != "running"
    };
    assert_eq!([Exit::Completed, Exit::Ignored, Exit::Code(1)].map(lost), [false, false, true]);
}

#[test]
fn a_replica_set_holds_while_one_of_its_replicas_is_ready() {
    let web = leaf("web").needs("a.1", GRACE).needs("a.2", GRACE);
    let [one, two] = ["a.1", "a.2"].map(|replica| leaf(replica).replica_of("a"));
    let mut driver = TestDriver::started(&sup("t", [one, two, web]));
    let _ = driver.ask("a.1", Command::Stop);
    driver.advance(secs(60));
    assert_eq!(driver.state("web"), "running");
    let _ = driver.ask("a.2", Command::Stop);
    driver.advance(GRACE);
    assert_eq!(driver.state("web"), "waiting");
}

#[test]
fn a_supervisor_holds_while_each_of_its_wanted_children_is_ready_or_finished() {
    let pool = sup("pool", [db().delayed(secs(60)), leaf("job").transient(), leaf("off")]);
    let mut driver = TestDriver::started(&sup("t", [pool, leaf("web").needs("pool", GRACE)]));
    driver.complete("pool/job");
    let _ = driver.ask("pool/off", Command::Stop);
    driver.advance(secs(60));
    assert_eq!(driver.state("web"), "running");
    driver.fail("pool/db");
    driver.advance(GRACE);
    assert_eq!(driver.states(["pool", "web"]), ["running", "waiting"]);
    driver.advance(secs(60));
    assert_eq!(driver.state("web"), "running");
}

#[test]
fn a_supervisor_holds_without_its_children_that_are_down_by_command() {
    for command in [Command::Stop, Command::Pause, Command::Quarantine] {
        let s = sup("s", [leaf("a"), leaf("b")]);
        let mut driver = TestDriver::started(&sup("t", [s, leaf("web").needs("s", GRACE)]));
        driver.ask("s/a", command).expect("it does");
        if command == Command::Pause {
            driver.fail("s/a");
        }
        driver.advance(secs(60));
        assert_eq!(driver.state("web"), "running", "{command:?}");
    }
}

#[test]
fn while_a_child_is_stopped_for_a_need_its_explanation_says_so() {
    let mut driver = TestDriver::started(&sup("t", [leaf("db"), leaf("web").needs("db", GRACE)]));
    driver.obeys("web", Obeys::Test);
    let _ = driver.ask("db", Command::Stop);
    driver.advance(GRACE);
    let why = driver.explain("web").why;
    assert!(why.contains("because a sibling that it needs was lost for longer than its grace"), "{why}");
}

#[test]
fn a_group_holds_while_it_runs() {
    let mut driver = TestDriver::started(&sup("t", [group("g"), leaf("web").needs("g", GRACE)]));
    let _ = driver.ask("g", Command::Stop);
    driver.advance(GRACE);
    assert_eq!(driver.state("web"), "waiting");
    driver.ask("g", Command::Start).expect("it starts");
    assert_eq!(driver.state("web"), "running");
}

#[test]
fn a_supervisor_that_needs_a_sibling_stops_and_comes_back_with_its_children() {
    let tree = sup("t", [db(), sup("s", [leaf("a"), leaf("b")]).needs("db", GRACE)]);
    let mut driver = TestDriver::started(&tree);
    let _ = driver.ask("db", Command::Stop);
    driver.advance(GRACE);
    assert_eq!(driver.states(["s", "s/a", "s/b"]), ["waiting", "down", "down"]);
    let refusal = driver.add("s", &leaf("c")).expect_err("refused");
    assert!(matches!(refusal, Refusal::DeclaresNeeds { path } if path.to_string() == "/t/s"));
    driver.ask("db", Command::Start).expect("it starts");
    assert_eq!(driver.states(["s", "s/a", "s/b"]), ["running"; 3]);
}

#[test]
fn no_grace_ends_while_the_supervisor_stops_or_a_restart_set_holds_the_child() {
    let tree = sup(
        "t",
        [leaf("x"), db().stop_within(secs(60)), leaf("web").needs("db", SECOND).stop_within(secs(60))],
    );
    let mut driver = TestDriver::started(&tree.strategy(Strategy::OneForAll));
    driver.obeys("web", Obeys::Test);
    driver.obeys("db", Obeys::Test);
    driver.fail("x");
    driver.advance(secs(10));
    driver.exit("web", Exit::Stopped);
    driver.exit("db", Exit::Stopped);
    assert_eq!(driver.states(["x", "db", "web"]), ["running"; 3]);
    assert!(!driver.events.iter().any(|event| matches!(event.kind, EventKind::StoppedForNeed { .. })));
}

#[test]
fn a_stop_by_command_of_a_child_that_is_stopped_for_a_need_keeps_it_down() {
    let mut driver = TestDriver::started(&sup("t", [db(), leaf("web").needs("db", SECOND)]));
    driver.obeys("web", Obeys::Test);
    let _ = driver.ask("db", Command::Stop);
    driver.advance(SECOND);
    driver.command("web", Command::Stop);
    driver.exit("web", Exit::Stopped);
    driver.ask("db", Command::Start).expect("it starts");
    assert_eq!(driver.state("web"), "stopped");
}

#[test]
fn a_child_that_is_being_stopped_for_a_need_and_does_not_end_is_killed_and_still_not_charged() {
    let web = leaf("web").needs("db", SECOND).stop_within(secs(2)).limit(Limit::new(0, secs(60)));
    let mut driver = TestDriver::started(&sup("t", [db(), web]));
    driver.obeys("web", Obeys::Kill);
    let _ = driver.ask("db", Command::Stop);
    driver.advance(secs(3));
    assert_eq!(driver.state("web"), "waiting");
    driver.ask("db", Command::Start).expect("it starts");
    assert_eq!(driver.state("web"), "running");
}

#[test]
fn children_that_could_not_come_back_as_they_were_cannot_declare_needs() {
    let with = |child: ChildDeclaration| errors(&sup("t", [db(), child]));
    assert!(with(leaf("a").temporary().needs("db", GRACE)).contains("/t/a: needs: a temporary child"));
    assert!(with(group("g").needs("db", GRACE)).contains("/t/g: needs: a dynamic group"));
    let members =
        group("g").members(|group| group.template.needs.push(Need { child: name("db"), grace: GRACE }));
    assert!(with(members).contains("/t/g: needs: members of a dynamic group"));
    assert!(with(leaf("a").needs("bd", GRACE)).contains("/t/a: after: there is no sibling called \"bd\""));
    let without_edge = leaf("a").with(|spec| spec.needs.push(Need { child: name("db"), grace: GRACE }));
    assert!(with(without_edge).contains("`after` does not wait until db is ready"));
    let circle = sup("t", [leaf("a").needs("b", GRACE), leaf("b").after("a", Condition::Started)]);
    assert!(errors(&circle).contains("in a cycle: a after b after a"));
}

/// What happens to one child in a run.
#[derive(Clone, Copy, Debug)]
enum Act {
    Fail,
    Stop,
    Start,
    Restart,
    Wait(u64),
}

fn act(number: u8) -> Act {
    match number % 7 {
        0 | 1 => Act::Fail,
        2 => Act::Stop,
        3 => Act::Start,
        4 => Act::Restart,
        5 => Act::Wait(700),
        _ => Act::Wait(9_000),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn once_all_is_well_everything_wanted_runs_and_nothing_runs_without_its_need_for_longer_than_the_grace(
        acts in vec((any::<u8>(), 0usize..4), 1..40),
        strategy in 0usize..3,
        edges in any::<bool>(),
    ) {
        let names = ["a", "b", "c", "d"];
        let quarantine = Limit::new(3, secs(60)).on_exceeded(GiveUp::Quarantine { retry_after: None });
        let child = |name| leaf(name).limit(quarantine).delayed(millis(300));
        let tree = sup("t", [
            child("a"),
            child("b").needs("a", secs(1)),
            child("c").needs("a", millis(200)).needs("b", secs(2)),
            child("d").needs("c", Duration::ZERO),
        ]);
        let strategies = [Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne];
        let tree = if edges { tree.edges() } else { tree }.strategy(strategies[strategy]);
        let mut driver = TestDriver::started(&tree);
        for (number, child) in acts {
            let child = names[child];
            match act(number) {
                Act::Fail if driver.is_alive(child) => driver.fail(child),
                Act::Fail => {}
                Act::Stop => {
                    driver.command(child, Command::Stop);
                }
                Act::Start => {
                    driver.command(child, Command::Start);
                }
                Act::Restart => {
                    driver.command(child, Command::Restart);
                }
                Act::Wait(time) => driver.advance(millis(time)),
            }
            prop_assert!(!driver.is_alive("d") || driver.is_alive("c"), "d has no grace");
        }
        // Longer than each grace: no child runs whose need is down for good.
        driver.advance(secs(10));
        for (child, need) in [("b", "a"), ("c", "a"), ("c", "b"), ("d", "c")] {
            prop_assert!(!driver.is_alive(child) || driver.is_alive(need), "{child} runs without {need}");
        }
        for child in names {
            if !driver.is_alive(child) {
                driver.command(child, Command::Start);
            }
        }
        driver.advance(secs(60));
        prop_assert_eq!(driver.states(names), ["running"; 4]);
    }
}
