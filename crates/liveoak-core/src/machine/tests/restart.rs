//! Pitfalls of restarts and restart sets; the name of each test is the rule.

use super::shape::{SECOND, group, leaf, millis, secs, sup};
use super::test_driver::{Obeys, TestDriver, word};
use crate::{
    Attempt, Backoff, ChildState, Command, Condition, EventKind, Exit, GiveUp, Input, Limit, Outcome,
    Strategy, Time, WaitingFor,
};
use std::time::Duration;

#[test]
fn children_start_in_declared_order_and_stop_in_reverse() {
    let mut driver = TestDriver::new(&sup("t", ["a", "b", "c"].map(leaf)));
    driver.start();
    assert_eq!(driver.log(), ["start a", "start b", "start c", "up"]);
    driver.stop();
    assert_eq!(driver.log(), ["ask c", "gone c", "ask b", "gone b", "ask a", "gone a", "down"]);
    assert!(driver.report().is_clean());
    assert_eq!(driver.down_kind(), "stopped");
}

#[test]
fn a_running_sibling_in_a_restart_set_is_stopped_before_its_new_attempt_starts() {
    let all = ["gone b", "ask c", "gone c", "ask a", "gone a", "start a", "start b", "start c"];
    let rest = ["gone b", "ask c", "gone c", "start b", "start c"];
    for (strategy, expected) in
        [(Strategy::OneForAll, all.as_slice()), (Strategy::RestForOne, rest.as_slice())]
    {
        let mut driver = TestDriver::started(&sup("t", ["a", "b", "c"].map(leaf)).strategy(strategy));
        driver.fail("b");
        assert_eq!(driver.log(), expected);
        assert_eq!(driver.alive(), ["a", "b", "c"]);
        driver.stop();
        assert!(driver.alive().is_empty());
    }
}

#[test]
fn a_restart_set_follows_declared_order_not_map_order() {
    let names = ["zoe", "amy", "mia", "bob", "eve", "kim"];
    let mut driver = TestDriver::started(&sup("t", names.map(leaf)).strategy(Strategy::OneForAll));
    driver.fail("bob");
    let log = driver.log();
    let of = |word: &str| log.iter().filter_map(|line| line.strip_prefix(word)).collect::<Vec<_>>();
    assert_eq!(of("start "), names);
    assert_eq!(of("ask "), ["kim", "eve", "mia", "amy", "zoe"]);
}

#[test]
fn a_permanently_dead_sibling_does_not_hang_the_restart_set() {
    let dead = leaf("b").limit(Limit::new(0, SECOND).on_exceeded(GiveUp::QUARANTINE));
    let tree = sup("t", [leaf("a"), dead, leaf("c").temporary(), leaf("d")]);
    let mut driver = TestDriver::started(&tree.strategy(Strategy::OneForAll));
    driver.fail("b");
    driver.fail("c");
    driver.log();
    driver.fail("a");
    assert_eq!(driver.log(), ["gone a", "ask d", "gone d", "start a", "start d"]);
    assert_eq!(driver.states(["a", "b", "c", "d"]), ["running", "quarantined", "finished", "running"]);
}

#[test]
fn a_stop_remove_or_shutdown_cancels_a_pending_backoff() {
    for strategy in [Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne] {
        for end in ["stop", "remove", "shutdown", "kill", "stop above"] {
            let a = leaf("a").delayed(secs(10));
            let mut driver = TestDriver::started(&sup("t", [sup("s", [a, leaf("b")]).strategy(strategy)]));
            driver.fail("s/a");
            assert_eq!(driver.state("s/a"), "backing-off");
            match end {
                "stop" => drop(driver.ask("s/a", Command::Stop)),
                "remove" => drop(driver.ask("s/a", Command::Remove)),
                "shutdown" => driver.stop(),
                "kill" => driver.kill(),
                _ => drop(driver.ask("s", Command::Stop)),
            }
            assert_eq!(driver.machine.poll_deadline(), None, "{end}: no timer is left");
            driver.log();
            driver.advance(secs(1_000));
            assert!(driver.log().is_empty(), "{end} under {strategy:?}");
        }
    }
}

#[test]
fn quarantine_during_the_backoff_of_a_restart_set_lets_the_others_start() {
    let limit = Limit::new(1, secs(100)).on_exceeded(GiveUp::QUARANTINE);
    let tree = sup("t", [leaf("a").delayed(secs(10)).limit(limit), leaf("b")]);
    let mut driver = TestDriver::started(&tree.strategy(Strategy::OneForAll));
    driver.fail("a");
    let waiting = driver.view("b").state;
    let what = WaitingFor::RestartBackoff(super::shape::name("a"));
    let ChildState::BackingOff { remaining } = driver.view("a").state else { panic!("a does not back off") };
    assert_eq!(waiting, ChildState::Waiting { what, remaining: Some(remaining) });
    driver.advance(secs(10));
    driver.fail("a");
    assert_eq!(driver.states(["a", "b"]), ["quarantined", "running"]);
    driver.log();
    driver.advance(secs(100));
    assert!(driver.log().is_empty());
}

#[test]
fn after_a_restart_command_and_a_stop_no_attempt_is_alive() {
    for obeys in [Obeys::Ask, Obeys::Kill, Obeys::Nothing, Obeys::Test] {
        let mut driver = TestDriver::started(&sup("t", [leaf("a"), leaf("b")]).stop_within(secs(10)));
        driver.obeys("a", obeys);
        let request = driver.command("a", Command::Restart);
        driver.stop();
        driver.advance(secs(10));
        assert!(driver.down.is_some() && driver.alive().is_empty());
        assert!(driver.answer(request).is_some());
    }
}

#[test]
fn a_child_does_not_use_up_the_limit_of_its_sibling() {
    let mut driver = TestDriver::started(&sup("t", [leaf("a"), leaf("b")]));
    for _ in 0..Limit::DEFAULT_OF_A_CHILD.restarts {
        driver.fail("a");
    }
    for _ in 0..Limit::DEFAULT_OF_A_CHILD.restarts {
        driver.fail("b");
    }
    assert_eq!(driver.states(["a", "b"]), ["running", "running"]);
    driver.fail("b");
    assert_eq!(driver.down_kind(), "gave-up");
}

#[test]
fn many_children_that_fail_once_each_are_all_restarted() {
    let names: Vec<String> = (0..200).map(|n| format!("c{n}")).collect();
    let mut driver = TestDriver::started(&sup("t", names.iter().map(|name| leaf(name))));
    for name in &names {
        driver.fail(name);
    }
    assert_eq!(driver.done("start"), names);
    assert_eq!(driver.alive().len(), 200);
}

#[test]
fn a_child_is_given_up_on_only_when_it_exceeds_its_limit() {
    for (gap, survives) in [(millis(501), true), (millis(500), false)] {
        let mut driver = TestDriver::started(&sup("t", [leaf("a")]).intensity(2, SECOND));
        for _ in 0..100 {
            if driver.down.is_none() {
                driver.fail("a");
                driver.advance(gap);
            }
        }
        assert_eq!(driver.down.is_none(), survives, "every {gap:?}");
    }
}

#[test]
fn intensity_0_gives_up_at_the_first_restart_and_an_unlimited_intensity_never_does() {
    let mut driver = TestDriver::started(&sup("t", [leaf("a")]).intensity(0, Duration::MAX));
    driver.fail("a");
    assert_eq!(driver.down_kind(), "gave-up");
    let mut driver = TestDriver::started(&sup("t", [leaf("a")]).intensity(u32::MAX, Duration::MAX));
    for _ in 0..1_000 {
        driver.fail("a");
    }
    assert_eq!(driver.state("a"), "running");
}

#[test]
fn jitter_differs_between_children_and_between_processes() {
    let names: Vec<String> = (0..20).map(|n| format!("c{n}")).collect();
    let mut delays = std::collections::BTreeSet::new();
    for process in [1, 2] {
        let tree = sup("t", names.iter().map(|name| leaf(name).delayed(secs(1_000))));
        let mut driver = TestDriver::started(&tree);
        driver.random = process;
        for name in &names {
            driver.fail(name);
        }
        delays.extend(driver.events.iter().filter_map(|event| match event.kind {
            EventKind::BackingOff { delay, .. } => Some(delay),
            _ => None,
        }));
    }
    assert_eq!(delays.len(), 40);
    assert!(delays.iter().all(|delay| *delay <= secs(1_000)));
}

#[test]
fn a_permanent_child_that_succeeds_immediately_is_backed_off() {
    let backoff = Backoff { from: millis(100), to: secs(1), reset_after: secs(5), ..Backoff::default() };
    let child = leaf("a").with(|child| child.backoff = Some(backoff)).limit(Limit::unlimited());
    let mut driver = TestDriver::started(&sup("t", [child]));
    // Jitter from a fixed but ordinary random source.
    let mut random = 1u64;
    let mut starts = 0;
    while driver.now < Time::ZERO.after(secs(60)) {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        driver.random = random;
        if driver.is_alive("a") {
            driver.complete("a");
            starts += 1;
        }
        driver.advance(millis(10));
    }
    assert!((60..=300).contains(&starts), "{starts} starts in a minute: about two a second are wanted");
}

#[test]
fn the_backoff_grows_and_is_reset_by_a_stable_run_but_not_by_a_long_wait() {
    let backoff = Backoff { from: secs(1), to: secs(8), reset_after: secs(4), ..Backoff::default() };
    let mut driver = TestDriver::started(&sup("t", [leaf("b").with(|child| child.backoff = Some(backoff))]));
    let mut seen = Vec::new();
    for run in [secs(0), millis(3_999), secs(4), secs(0)] {
        driver.advance(run);
        driver.fail("b");
        let ChildState::BackingOff { remaining } = driver.view("b").state else { panic!("no backoff") };
        driver.advance(remaining);
        seen.extend(driver.events.iter().rev().find_map(|event| match event.kind {
            EventKind::BackingOff { nth, .. } => Some(nth),
            _ => None,
        }));
    }
    assert_eq!(seen, [1, 2, 1, 2]);
}

#[test]
fn an_init_that_fails_on_a_restart_is_retried() {
    let mut driver = TestDriver::started(&sup("t", [leaf("a").reports().delayed(SECOND), leaf("b")]));
    driver.policy("a").ready = false;
    for _ in 0..5 {
        driver.fail("a");
        driver.advance(SECOND);
        assert_eq!(driver.state("a"), "starting");
    }
    driver.ready("a");
    assert_eq!(driver.states(["a", "b"]), ["running", "running"]);
    assert_eq!(
        driver.machine.child(1).record.as_ref().map(|record| record.window.len()),
        Some(5),
        "each counts"
    );
}

#[test]
fn an_init_that_fails_in_a_temporary_member_affects_no_other_child() {
    let mut driver = TestDriver::started(&sup(
        "t",
        [group("g").members(|group| group.template = leaf("x").temporary().reports().spec), leaf("b")],
    ));
    driver.add_member("g", Some("good")).expect("room");
    driver.policy("g/bad").ready = false;
    let request = driver.add_member("g", Some("bad")).expect("room");
    driver.fail("g/bad");
    assert_eq!(word(&driver.answer(request).expect("at once")), "failed");
    assert_eq!(driver.states(["g", "g/good", "g/bad", "b"]), ["running", "running", "gone", "running"]);
    assert!(driver.machine.supervisor(1).window.is_empty());
}

#[test]
fn a_finished_job_runs_again_when_its_supervisor_is_restarted() {
    let nested = sup("s", [leaf("once").temporary(), leaf("a").limit(Limit::new(0, SECOND))]);
    let mut driver = TestDriver::started(&sup("t", [nested]));
    driver.complete("s/once");
    assert_eq!(driver.state("s/once"), "finished");
    driver.log();
    driver.fail("s/a");
    assert_eq!(driver.log(), ["gone s/a", "start s/once", "start s/a"]);
}

#[test]
fn two_children_failing_at_the_same_time_are_one_restart_of_the_set() {
    for strategy in [Strategy::OneForAll, Strategy::RestForOne] {
        let tree = sup("t", [leaf("a"), leaf("b"), leaf("c")]).strategy(strategy).intensity(1, secs(10));
        let mut driver = TestDriver::started(&tree);
        driver.obeys("c", Obeys::Test);
        driver.fail("a");
        driver.fail("b");
        driver.fail("c");
        assert_eq!(driver.alive(), ["a", "b", "c"]);
        assert_eq!(driver.machine.supervisor(0).window.len(), 1, "one entry");
    }
}

#[test]
fn a_child_that_fails_while_its_restart_set_starts_is_counted_and_the_set_is_retried() {
    let tree = sup("t", [leaf("a"), leaf("b").reports(), leaf("c")]).strategy(Strategy::OneForAll);
    let mut driver = TestDriver::started(&tree.intensity(2, secs(10)));
    driver.policy("b").ready = false;
    driver.fail("c");
    assert_eq!(driver.states(["a", "b", "c"]), ["running", "starting", "waiting"]);
    driver.log();
    driver.fail("b");
    assert_eq!(driver.log(), ["gone b", "ask a", "gone a", "start a", "start b"]);
    assert_eq!(driver.machine.supervisor(0).window.len(), 2);
    driver.ready("b");
    assert_eq!(driver.alive(), ["a", "b", "c"]);
}

#[test]
fn a_child_that_fails_while_a_sibling_is_stopped_is_restarted_as_usual() {
    let mut driver = TestDriver::started(&sup("t", [leaf("a"), leaf("b"), leaf("c")]));
    driver.obeys("c", Obeys::Test);
    driver.command("c", Command::Stop);
    driver.fail("a");
    assert_eq!(driver.log(), ["ask c", "gone a", "start a"]);
    driver.stop();
    driver.fail("b");
    driver.exit("c", Exit::Stopped);
    assert_eq!(driver.log(), ["gone b", "gone c", "ask a", "gone a", "down"]);
    assert_eq!(driver.report().entries.len(), 3, "a child that fails during a stop is reported too");
}

#[test]
fn the_whole_restart_set_waits_for_the_backoff_of_the_failed_child() {
    let tree = sup("t", [leaf("a"), leaf("b").delayed(secs(3)), leaf("c").after("a", Condition::Ready)]);
    let mut driver = TestDriver::started(&tree.strategy(Strategy::OneForAll));
    driver.fail("b");
    assert_eq!(driver.states(["a", "b", "c"]), ["waiting", "backing-off", "waiting"]);
    driver.log();
    let ChildState::BackingOff { remaining } = driver.view("b").state else { panic!("b is not backing off") };
    driver.advance(remaining - Duration::from_nanos(1));
    assert!(driver.log().is_empty());
    driver.advance(Duration::from_nanos(1));
    assert_eq!(driver.log(), ["start a", "start b", "start c"]);
}

#[test]
fn a_restart_that_fails_during_the_first_start_of_the_supervisor_is_retried() {
    let mut driver = TestDriver::new(&sup("t", [leaf("a").reports(), leaf("slow").reports()]));
    driver.policy("a").ready = false;
    driver.policy("slow").ready = false;
    driver.start();
    driver.ready("a");
    driver.fail("a");
    driver.fail("a");
    assert_eq!((driver.state("a"), driver.attempt("a").0), ("starting", 3));
    assert!(driver.down.is_none());
}

#[test]
fn a_restart_set_event_counts_the_children_that_start_again_and_is_not_emitted_for_one_child() {
    let mut driver = TestDriver::started(&sup("t", [leaf("a")]).strategy(Strategy::OneForAll));
    driver.fail("a");
    assert_eq!(driver.count("restart-set"), 0);
    let mut driver = TestDriver::started(&sup("t", [leaf("a"), leaf("b")]).strategy(Strategy::OneForAll));
    driver.obeys("b", Obeys::Test);
    driver.command("b", Command::Stop);
    driver.fail("a");
    assert_eq!(driver.count("restart-set"), 0);
    let mut driver = TestDriver::started(&sup("t", [leaf("a"), leaf("b")]).strategy(Strategy::OneForAll));
    driver.fail("a");
    assert_eq!(driver.count("restart-set"), 1);
}

/// Returns the delays of all backoff events, in order.
fn delays(driver: &TestDriver) -> Vec<Duration> {
    let delay = |event: &crate::Event| match event.kind {
        EventKind::BackingOff { delay, .. } => Some(delay),
        _ => None,
    };
    driver.events.iter().filter_map(delay).collect()
}

#[test]
fn children_of_one_name_in_two_supervisors_that_fail_within_one_input_have_different_delays() {
    let stuck = || leaf("w").reports().start_within(secs(5)).stop_within(Duration::ZERO).delayed(secs(100));
    let mut driver = TestDriver::new(&sup("t", [sup("a", [stuck()]), sup("b", [stuck()])]).edges());
    for path in ["a/w", "b/w"] {
        driver.policy(path).ready = false;
        driver.obeys(path, Obeys::Nothing);
    }
    driver.random = 0x1234_5678_9ABC_DEF0;
    driver.start();
    for path in ["a/w", "b/w"] {
        // Make the child ready first; a failed first start would fail the supervisor.
        driver.ready(path);
        driver.command(path, Command::Restart);
    }
    driver.advance(secs(30));
    let delays = delays(&driver);
    assert_eq!(delays.len(), 2);
    assert_ne!(delays[0], delays[1]);
}

#[test]
fn members_without_names_that_fail_within_one_input_have_different_delays() {
    let members = group("g").members(|group| {
        group.template = leaf("x").delayed(secs(100)).limit(Limit::unlimited()).spec;
    });
    let mut driver = TestDriver::started(&sup("t", [members]));
    driver.random = 0x1234_5678_9ABC_DEF0;
    let paths = [driver.add_member("g", None).expect("room"), driver.add_member("g", None).expect("room")];
    for request in paths {
        let Some(Ok(Outcome::Ready { id, attempt })) = driver.answer(request) else {
            panic!("it did not start")
        };
        driver.input(Input::Exited(id, attempt, Exit::Killed));
    }
    let delays = delays(&driver);
    assert_eq!(delays.len(), 2);
    assert_ne!(delays[0], delays[1]);
}

#[test]
fn an_earlier_time_counts_as_the_latest_time_given() {
    let mut driver = TestDriver::started(&sup("t", [leaf("a").delayed(SECOND)]));
    driver.advance(secs(10));
    driver.now = Time::ZERO.after(secs(5));
    driver.fail("a");
    assert_eq!(driver.view("a").since, Time::ZERO.after(secs(10)));
    assert!(driver.machine.poll_deadline() > Some(Time::ZERO.after(secs(10))));
}

#[test]
fn a_heartbeat_that_an_earlier_attempt_missed_does_not_fail_the_next_attempt() {
    let mut driver =
        TestDriver::started(&sup("t", [leaf("a").with(|child| child.heartbeat = Some(secs(4)))]));
    let (id, old) = (driver.id("a"), driver.attempt("a"));
    driver.fail("a");
    driver.now = driver.now.after(secs(5));
    driver.log();
    driver.input(Input::Heartbeat(id, old, false));
    assert_eq!(driver.log(), Vec::<String>::new());
}

/// Returns the step of the last backoff.
fn last_step(driver: &TestDriver) -> Option<u32> {
    driver.events.iter().rev().find_map(|event| match event.kind {
        EventKind::BackingOff { nth, .. } => Some(nth),
        _ => None,
    })
}

#[test]
fn a_start_command_resets_the_backoff_and_a_restart_of_the_supervisor_does_not() {
    let tree = sup("t", [sup("s", [leaf("a").delayed(millis(10)), leaf("b").limit(Limit::new(0, SECOND))])]);
    let mut driver = TestDriver::started(&tree);
    let fail_twice = |driver: &mut TestDriver, steps: [u32; 2]| {
        for expected in steps {
            driver.fail("s/a");
            assert_eq!(last_step(driver), Some(expected));
            driver.advance(secs(1));
        }
    };
    fail_twice(&mut driver, [1, 2]);
    driver.command("s/a", Command::Stop);
    driver.command("s/a", Command::Start);
    fail_twice(&mut driver, [1, 2]);
    driver.command("s", Command::Restart);
    fail_twice(&mut driver, [1, 2]);
    driver.fail("s/b");
    assert_eq!(driver.view("s").attempt, Attempt(3), "its limit restarts the supervisor");
    fail_twice(&mut driver, [3, 4]);
}

#[test]
fn a_command_to_restart_a_supervisor_resets_the_backoffs_of_what_it_starts_again_and_not_of_members() {
    // Its stop has not reached the group and the leaf yet.
    let fails_during_the_stop = |path: &str| {
        let members = group("g").members(|group| group.template = leaf("m").delayed(millis(10)).spec);
        let tree = sup("t", [sup("s", [leaf("a").delayed(millis(10)), members, leaf("last")])]);
        let mut driver = TestDriver::started(&tree);
        driver.add_member("s/g", Some("m")).expect("room");
        driver.fail(path);
        driver.advance(SECOND);
        driver.obeys("s/last", Obeys::Nothing);
        driver.command("s", Command::Restart);
        driver.fail(path);
        last_step(&driver)
    };
    assert_eq!((fails_during_the_stop("s/a"), fails_during_the_stop("s/g/m")), (Some(1), Some(2)));
}

#[test]
fn a_restart_counts_against_both_limits_and_the_limit_of_the_child_is_named_if_both_are_exceeded() {
    let own = Limit::new(1, secs(60)).on_exceeded(GiveUp::QUARANTINE);
    let tree = sup("t", [leaf("a").limit(own).with(|child| child.backoff = None), leaf("b")]);
    let mut driver = TestDriver::started(&tree.intensity(2, secs(60)));
    driver.fail("a");
    driver.fail("a");
    assert_eq!(driver.state("a"), "quarantined", "one too many for its own limit, not for the joint one");
    driver.fail("b");
    assert_eq!(driver.down_kind(), "gave-up", "the third in all");
    let mut driver =
        TestDriver::started(&sup("t", [leaf("a").limit(Limit::new(0, secs(60)))]).intensity(0, secs(60)));
    driver.fail("a");
    let told = driver.events.iter().find_map(|event| match &event.kind {
        EventKind::GaveUp(gave_up) => Some(gave_up.own_limit),
        _ => None,
    });
    assert_eq!(told, Some(true));
}
