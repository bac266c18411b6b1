//! The stop: order, stages, budget, report.

use super::super::plan::StopPlan;
use super::shape::{group, leaf, secs, sup};
use super::test_driver::{Obeys, Policy, TestDriver};
use crate::{
    Attempt, ChildState, Command, Effect, Exit, Input, KILL_WAIT, MAX_LISTED, Machine, Outcome, Panic,
    Restart, StopStage, Strategy, Time,
};
use std::sync::Arc;
use std::time::Duration;

#[test]
fn a_late_driver_still_kills_before_it_abandons() {
    let tree = sup("t", [sup("s", [leaf("a"), leaf("b")]), group("g")]).stop_within(secs(10));
    let mut driver = TestDriver::new(&tree);
    driver.set_default(Policy { obeys: Obeys::Nothing, ..Policy::default() });
    driver.start();
    driver.add_member("g", Some("m")).expect("room");
    driver.stop();
    driver.jump(Time::ZERO.after(secs(3600)));
    driver.advance(secs(1));
    assert!(driver.down.is_some());
    assert_eq!(driver.report().forced().count(), 3);
    assert!(driver.report().forced().all(|entry| entry.stage == StopStage::Abandoned));
}

#[test]
fn a_stop_of_a_nested_supervisor_does_not_make_a_later_stop_of_the_tree_longer_than_its_budget() {
    for dedicated in [false, true] {
        let inner = sup("s", [leaf("a").stop_within(Duration::MAX), leaf("b").stop_within(Duration::MAX)]);
        let inner = if dedicated { inner.on_dedicated_runtime() } else { inner };
        let mut driver = TestDriver::new(&sup("t", [inner, leaf("c")]).stop_within(secs(10)));
        driver.set_default(Policy { obeys: Obeys::Nothing, ..Policy::default() });
        driver.obeys("c", Obeys::Ask);
        driver.start();
        driver.command("s", Command::Stop);
        driver.advance(secs(100));
        driver.log();
        driver.stop();
        driver.advance(secs(5));
        assert_eq!(
            driver.log(),
            ["ask c", "gone c", "ask s/a"],
            "at half the budget all are asked out of turn"
        );
        driver.advance(secs(5));
        assert!(driver.down.is_some(), "dedicated: {dedicated}");
        assert!(driver.report().took <= secs(10));
    }
}

fn ten_that(obeys: Obeys, budget: Duration) -> TestDriver {
    let leaves = (0..10).map(|n| leaf(&format!("c{n}")).stop_within(secs(3)));
    let mut driver = TestDriver::new(&sup("t", leaves).stop_within(budget));
    driver.set_default(Policy { obeys, ..Policy::default() });
    driver.start();
    driver.log();
    driver
}

#[test]
fn a_stop_of_many_disobedient_children_takes_one_budget_and_the_report_names_them() {
    for obeys in [Obeys::Kill, Obeys::Nothing] {
        for deep in [false, true] {
            let leaves = (0..50).map(|n| leaf(&format!("c{n}")));
            let mut tree = sup("s", leaves);
            for _ in 0..(if deep { 20 } else { 0 }) {
                tree = sup("s", [tree, leaf("l")]);
            }
            let mut driver = TestDriver::new(&sup("t", [tree]).stop_within(secs(10)));
            driver.set_default(Policy { obeys, ..Policy::default() });
            driver.start();
            let all = driver.alive().len();
            driver.stop();
            driver.advance(secs(10));
            assert!(driver.down.is_some() && driver.alive().is_empty());
            assert!(driver.report().took <= secs(10));
            assert_eq!(driver.report().forced().count(), all);
        }
    }
}

#[test]
fn a_child_that_never_yields_is_abandoned_and_reported_at_the_stop() {
    let mut driver = TestDriver::started(&sup("t", [leaf("a"), leaf("b").stop_within(secs(1))]));
    driver.obeys("b", Obeys::Nothing);
    driver.stop();
    driver.advance(secs(3));
    assert_eq!(driver.log(), ["ask b", "kill b", "abandon b", "ask a", "gone a", "down"]);
    let report = driver.report();
    let stages: Vec<_> = report.entries.iter().map(|entry| (entry.path.name(), entry.stage)).collect();
    assert_eq!(stages, [("b", StopStage::Abandoned), ("a", StopStage::Asked)]);
    assert!(matches!(report.entries[0].exit, Some(Exit::Abandoned)));
    assert_eq!(report.entries[0].took, secs(3));
}

#[test]
fn stop_asked_twice_is_one_stop_with_one_report() {
    let mut driver = ten_that(Obeys::Kill, secs(10));
    driver.stop();
    driver.advance(secs(1));
    driver.stop();
    driver.advance(secs(9));
    let report = driver.report();
    assert_eq!((report.entries.len(), report.forced().count()), (10, 10));
    driver.stop();
    driver.kill();
    assert_eq!(driver.log().iter().filter(|line| *line == "down").count(), 1);
}

#[test]
fn two_stop_commands_on_one_child_get_the_same_report() {
    let mut driver = TestDriver::started(&sup("t", [sup("s", [leaf("a"), leaf("b")])]));
    driver.obeys("s/b", Obeys::Test);
    let requests = [driver.command("s", Command::Stop), driver.command("s", Command::Stop)];
    driver.advance(secs(2));
    driver.exit("s/b", Exit::Stopped);
    for request in requests {
        match driver.answer(request) {
            Some(Ok(Outcome::Stopped(report))) => {
                let paths: Vec<_> = report.entries.iter().map(|entry| entry.path.as_str()).collect();
                assert_eq!(paths, ["/t/s/b", "/t/s/a", "/t/s"]);
                assert_eq!(report.took, secs(2));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn stop_during_start_starts_nothing_more_and_stops_what_was_started_in_reverse() {
    let mut driver = TestDriver::new(&sup("t", [leaf("a"), leaf("b"), leaf("c").reports(), leaf("d")]));
    driver.policy("c").ready = false;
    driver.start();
    driver.log();
    driver.stop();
    assert_eq!(driver.log(), ["ask c", "gone c", "ask b", "gone b", "ask a", "gone a", "down"]);
    let cancelled =
        driver.report().entries.iter().filter(|entry| entry.stage == StopStage::Cancelled).count();
    assert_eq!(cancelled, 1, "d was waiting for its turn");
}

#[test]
fn stop_during_the_restart_of_a_set_lets_nothing_start_again() {
    let mut driver = TestDriver::started(&sup("t", ["a", "b", "c"].map(leaf)).strategy(Strategy::OneForAll));
    driver.obeys("c", Obeys::Test);
    driver.fail("b");
    driver.stop();
    assert_eq!(driver.log(), ["gone b", "ask c"]);
    driver.exit("c", Exit::Stopped);
    assert_eq!(driver.log(), ["gone c", "ask a", "gone a", "down"]);
}

#[test]
fn stop_before_start_is_a_clean_end_and_nothing_starts_later() {
    let mut driver = TestDriver::new(&sup("t", [leaf("a")]));
    driver.stop();
    driver.start();
    assert_eq!(driver.log(), ["down"]);
    assert_eq!(driver.down_kind(), "stopped");
}

#[test]
fn dynamic_children_are_stopped_and_reported_like_the_others() {
    let mut driver = TestDriver::started(&sup("t", [leaf("a"), group("g")]));
    for member in ["x", "y", "z"] {
        driver.add_member("g", Some(member)).expect("room");
    }
    driver.obeys("g/y", Obeys::Kill);
    driver.log();
    driver.stop();
    assert_eq!(
        driver.log(),
        ["ask g/x", "ask g/y", "ask g/z", "gone g/x", "forget g/x", "gone g/z", "forget g/z"]
    );
    driver.advance(secs(5));
    let report = driver.report();
    let stages: Vec<_> = report.entries.iter().map(|entry| (entry.path.as_str(), entry.stage)).collect();
    assert_eq!(
        stages,
        [
            ("/t/g/x", StopStage::Asked),
            ("/t/g/z", StopStage::Asked),
            ("/t/g/y", StopStage::Killed),
            ("/t/g", StopStage::Asked),
            ("/t/a", StopStage::Asked)
        ]
    );
}

#[test]
fn a_panic_of_a_factory_a_hook_or_a_destructor_is_an_exit_and_the_tree_lives() {
    for during in ["factory", "init", "stop hook", "destructor"] {
        let panic = |message: &str| Panic {
            message: message.to_owned(),
            location: Some("src/a.rs:1:1".to_owned()),
            backtrace: None,
            during: Some(during),
        };
        let mut driver = TestDriver::started(&sup("t", [leaf("a").reports(), leaf("b")]));
        driver.exit("a", Exit::Panicked(Arc::new(panic("oh no"))));
        assert_eq!(driver.states(["a", "b"]), ["running", "running"], "{during}");
        let exit = driver.view("a").last_exit.expect("kept").to_string();
        assert_eq!(exit, format!("panicked in its {during} at src/a.rs:1:1: oh no"));
        driver.obeys("a", Obeys::Test);
        driver.command("a", Command::Stop);
        driver.exit("a", Exit::Panicked(Arc::new(panic("again"))));
        assert_eq!(driver.states(["a", "b"]), ["stopped", "running"]);
    }
}

#[test]
fn a_slow_start_that_a_stop_interrupts_is_not_reported_as_an_unclean_stop() {
    let mut driver = TestDriver::new(&sup("t", [leaf("a").reports().start_within(secs(60))]));
    driver.policy("a").ready = false;
    driver.start();
    driver.advance(secs(30));
    driver.stop();
    assert!(driver.report().is_clean());
    assert_eq!(driver.down_kind(), "stopped");
}

#[test]
fn a_stop_hook_that_hangs_is_dropped_at_the_stop_deadline_of_the_child() {
    let mut driver = TestDriver::started(&sup("t", [leaf("a").stop_within(secs(2))]));
    driver.obeys("a", Obeys::Kill);
    driver.stop();
    driver.advance(secs(2));
    assert_eq!(driver.report().entries[0].took, secs(2));
    assert_eq!(driver.report().entries[0].stage, StopStage::Killed);
}

#[test]
fn an_abandoned_child_that_ends_later_changes_nothing() {
    let mut driver = TestDriver::started(&sup("t", [leaf("a").stop_within(secs(1))]));
    driver.obeys("a", Obeys::Nothing);
    let (id, attempt) = (driver.id("a"), driver.attempt("a"));
    let request = driver.command("a", Command::Restart);
    driver.advance(secs(3));
    assert!(matches!(driver.answer(request), Some(Ok(Outcome::Ready { .. }))));
    driver.log();
    let events = driver.events.len();
    driver.input(Input::Exited(id, attempt, Exit::failed("late")));
    driver.input(Input::Ready(id, attempt));
    assert!(driver.log().is_empty());
    assert_eq!(driver.events.len(), events);
}

#[test]
fn a_kill_of_the_whole_tree_takes_no_longer_than_the_kill_wait() {
    let mut driver = ten_that(Obeys::Nothing, Duration::MAX);
    driver.kill();
    assert_eq!(driver.done("kill").len(), 10);
    driver.advance(KILL_WAIT);
    assert_eq!(driver.report().forced().count(), 10);
}

#[test]
fn an_attempt_whose_body_has_ended_is_stopped_within_its_deadline_and_the_exit_of_the_body_decides_what_follows()
 {
    for (obeys, after) in [(Obeys::Ask, 0), (Obeys::Kill, 5), (Obeys::Nothing, 7)] {
        let mut a = leaf("a").stop_within(secs(5));
        a.spec.backoff = None;
        let mut driver = TestDriver::new(&sup("t", [a]));
        driver.set_default(Policy { obeys, ..Policy::default() });
        driver.start();
        let id = driver.id("a");
        let attempt = driver.lives(id).expect("it runs");
        driver.input(Input::Ending(id, attempt, Exit::failed("no disk")));
        assert!(driver.state("a") != "running" || after == 0, "{obeys:?}: a dead body does not look alive");
        driver.advance(secs(after));
        assert_eq!(driver.state("a"), "running", "{obeys:?}: it was restarted");
        assert_eq!(
            driver.snapshot().get("/t/a").expect("a").last_exit.as_ref().map(Exit::kind),
            Some("failed")
        );
        // A late report of the old attempt changes nothing.
        driver.input(Input::Ending(id, attempt, Exit::Completed));
        assert_eq!(driver.state("a"), "running");
    }
}

#[test]
fn a_report_lists_at_most_a_hundred_members_that_ended_cleanly() {
    let many = (0..150).map(|n| leaf(&format!("a{n}")));
    let tree = sup("t", [group("g")].into_iter().chain(many));
    let mut driver = TestDriver::started(&tree);
    for _ in 0..120 {
        driver.add_member("g", None).expect("room");
    }
    driver.stop();
    let report = driver.report();
    let members = report.entries.iter().filter(|entry| entry.path.as_str().starts_with("/t/g/")).count();
    assert_eq!((members, report.unlisted, report.entries.len()), (100, 20, 251));
}

#[test]
fn a_full_report_still_lists_every_child_that_was_forced() {
    let mut driver = TestDriver::started(&sup("t", [group("g")]));
    for n in 0..130 {
        driver.add_member("g", Some(&format!("m{n}"))).expect("room");
        if n % 2 == 0 {
            driver.obeys(&format!("g/m{n}"), Obeys::Kill);
        }
    }
    driver.stop();
    // Children that obey end first and are the first entries.
    driver.advance(secs(30));
    let report = driver.report();
    assert_eq!(report.forced().count(), 65);
    assert_eq!((report.entries.len() - 1 + report.unlisted as usize, report.unlisted), (130, 0));
    let mut driver = TestDriver::started(&sup("t", [group("g")]));
    for n in 0..130 {
        driver.add_member("g", Some(&format!("m{n}"))).expect("room");
        if n < 15 {
            driver.obeys(&format!("g/m{n}"), Obeys::Kill);
        }
    }
    driver.stop();
    driver.advance(secs(30));
    let report = driver.report();
    assert_eq!(
        (report.forced().count(), report.unlisted),
        (15, 15),
        "a hundred that obeyed, and all that did not"
    );
}

#[test]
fn a_large_group_is_killed_and_abandoned_early_enough_for_the_end_of_its_budget() {
    for (members, kill, abandon) in [
        (4_095, 27_000, 30_000),
        (4_096, 27_000, 29_992),
        (1_000_000, 26_000, 28_000),
        (2_000_000, 22_000, 26_000),
        (10_000_000, 5_000, 20_000),
    ] {
        let plan = StopPlan::new(Time::ZERO, secs(30), KILL_WAIT).for_members(Time::ZERO, members);
        let at = |time: Time| time.as_nanos() / 1_000_000;
        let expected = (kill, abandon);
        assert_eq!((at(plan.kill), plan.abandon.as_nanos().div_ceil(1_000_000)), expected, "{members}");
    }
    let unbounded = StopPlan::UNBOUNDED.for_members(Time::ZERO, 1_000_000);
    assert_eq!(unbounded, StopPlan::UNBOUNDED);
}

#[test]
fn the_stop_deadline_of_a_child_is_never_later_than_that_of_its_supervisor() {
    let tree = sup("t", [leaf("a").stop_within(secs(60)), leaf("b").stop_within(secs(2))]);
    let mut driver = TestDriver::started(&tree.stop_within(secs(10)));
    driver.obeys("a", Obeys::Test);
    driver.stop();
    // After nine tenths of the budget, all children that are left are killed.
    assert_eq!(
        driver.view("a").state,
        ChildState::Stopping { stage: StopStage::Asked, remaining: Some(secs(9)) }
    );
}

#[test]
fn a_driver_can_stop_in_the_middle_of_a_walk_and_sees_that_work_is_left() {
    let (mut machine, _) = Machine::new(&sup("t", [group("g")])).expect("a good spec");
    let now = Time::ZERO;
    machine.handle(now, 0, Input::Start);
    while machine.poll_effect().is_some() {}
    assert!(!machine.has_effects() && !machine.has_ended());
    let group = machine.find(&"t/g".into()).expect("it was declared");
    for _ in 0..3 {
        machine.add_member(now, group, None, None).expect("room");
        assert!(machine.has_effects());
        assert!(matches!(machine.poll_queued_effect(), Some(Effect::Start(..))));
        assert!(machine.poll_queued_effect().is_none() && !machine.has_effects());
    }
    machine.handle(now, 0, Input::Stop);
    assert!(machine.poll_queued_effect().is_none(), "the members are not asked within one call");
    assert!(machine.has_effects(), "but effects remain to be polled");
    let asked = std::iter::from_fn(|| machine.poll_effect()).collect::<Vec<_>>();
    assert_eq!(asked.len(), 3, "{asked:?}");
    assert!(!machine.has_effects() && !machine.has_ended());
    for effect in asked {
        let Effect::Ask(id, attempt) = effect else { panic!("{effect:?}") };
        machine.handle(now, 0, Input::Exited(id, attempt, Exit::Stopped));
    }
    while machine.poll_effect().is_some() {}
    assert!(machine.has_ended());
}

#[test]
fn the_report_of_a_nested_stop_is_part_of_the_report_of_the_stop_above_it() {
    let members = |name: &str| group(name).members(|group| group.template.restart = Restart::Temporary);
    let mut driver = TestDriver::started(&sup("t", [members("late"), sup("s", [members("early")])]));
    for (path, count) in [("s/early", 150), ("late", 50)] {
        for n in 0..count {
            driver.add_member(path, Some(&format!("m{n}"))).expect("room");
            driver.obeys(&format!("{path}/m{n}"), Obeys::Test);
        }
    }
    driver.command("s", Command::Stop);
    driver.stop();
    for (path, count) in [("s/early", 150), ("late", 50)] {
        for n in 0..count {
            driver.exit(&format!("{path}/m{n}"), Exit::Stopped);
        }
    }
    let report = driver.report();
    let listed = report.entries.iter().filter(|entry| entry.path.as_str().contains("/m")).count();
    assert_eq!((listed, report.unlisted), (100, 100));
}

#[test]
fn a_child_that_is_stopped_twice_during_one_stop_is_reported_once_with_the_most_forceful_stage() {
    let nested = sup("s", [leaf("a"), leaf("b")]).strategy(Strategy::OneForAll);
    let mut driver =
        TestDriver::started(&sup("t", [nested, leaf("z").stop_within(secs(10))]).stop_within(secs(30)));
    driver.obeys("z", Obeys::Kill);
    driver.obeys("s/b", Obeys::Kill);
    driver.stop();
    driver.fail("s/a");
    driver.advance(secs(6));
    assert_eq!(driver.states(["s/a", "s/b"]), ["running", "running"]);
    driver.obeys("s/b", Obeys::Ask);
    driver.advance(secs(10));
    let report = driver.report();
    let told: Vec<_> = report.entries.iter().map(|entry| (entry.path.name(), entry.stage)).collect();
    assert_eq!(
        told,
        [
            ("b", StopStage::Killed),
            ("z", StopStage::Killed),
            ("a", StopStage::Asked),
            ("s", StopStage::Asked)
        ]
    );
}

#[test]
fn a_report_lists_ten_thousand_children_that_ended_cleanly_and_counts_the_others() {
    for (more, unlisted) in [(0, 0), (1, 1), (2, 2)] {
        // With the supervisor itself it is one entry more.
        let many = (0..MAX_LISTED - 1).map(|n| leaf(&format!("a{n}")));
        let few = (0..more).map(|n| leaf(&format!("b{n}")));
        let (mut machine, _) = Machine::new(&sup("t", few.chain([sup("s", many)]))).expect("a good spec");
        machine.handle(Time::ZERO, 0, Input::Start);
        while machine.poll_effect().is_some() {}
        machine.handle(Time::ZERO, 0, Input::Stop);
        let mut report = None;
        while let Some(effect) = machine.poll_effect() {
            match effect {
                Effect::Ask(id, attempt) => {
                    machine.handle(Time::ZERO, 0, Input::Exited(id, attempt, Exit::Stopped));
                }
                Effect::TreeEnded { report: last, .. } => report = Some(last),
                _ => {}
            }
        }
        let report = report.expect("everybody obeys");
        assert_eq!((report.entries.len(), report.unlisted), (MAX_LISTED, unlisted));
    }
}

#[test]
fn a_tree_that_was_started_is_not_started_again() {
    let mut driver = TestDriver::started(&sup("t", [leaf("a")]));
    driver.input(Input::Start);
    assert_eq!((driver.view("").attempt, driver.view("a").attempt), (Attempt(1), Attempt(1)));
    driver.stop();
    driver.log();
    driver.input(Input::Start);
    assert_eq!(driver.log(), Vec::<String>::new());
}
