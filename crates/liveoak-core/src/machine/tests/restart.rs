//! Pitfalls of restarts and restart sets; the name of each test is the rule.

use super::rig::{Obeys, Rig, word};
use super::shape::{SECOND, group, leaf, millis, secs, sup};
use crate::{
    Backoff, ChildState, Command, Condition, EventKind, Exit, GiveUp, Input, Limit, Outcome, Strategy, Time,
    WaitingFor,
};
use std::time::Duration;

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
    let all = ["gone b", "ask c", "gone c", "ask a", "gone a", "start a", "start b", "start c"];
    let rest = ["gone b", "ask c", "gone c", "start b", "start c"];
    for (strategy, expected) in
        [(Strategy::OneForAll, all.as_slice()), (Strategy::RestForOne, rest.as_slice())]
    {
        let mut rig = Rig::started(&sup("t", ["a", "b", "c"].map(leaf)).strategy(strategy));
        rig.fail("b");
        assert_eq!(rig.log(), expected);
        assert_eq!(rig.alive(), ["a", "b", "c"]);
        rig.stop();
        assert!(rig.alive().is_empty());
    }
}

#[test]
fn a_restart_set_follows_declared_order_not_map_order() {
    let names = ["zoe", "amy", "mia", "bob", "eve", "kim"];
    let mut rig = Rig::started(&sup("t", names.map(leaf)).strategy(Strategy::OneForAll));
    rig.fail("bob");
    let log = rig.log();
    let of = |word: &str| log.iter().filter_map(|line| line.strip_prefix(word)).collect::<Vec<_>>();
    assert_eq!(of("start "), names);
    assert_eq!(of("ask "), ["kim", "eve", "mia", "amy", "zoe"]);
}

#[test]
fn a_permanently_dead_sibling_does_not_hang_the_restart_set() {
    let dead = leaf("b").limit(Limit::new(0, SECOND).on_exceeded(GiveUp::Quarantine));
    let tree = sup("t", [leaf("a"), dead, leaf("c").temporary(), leaf("d")]);
    let mut rig = Rig::started(&tree.strategy(Strategy::OneForAll));
    rig.fail("b");
    rig.fail("c");
    rig.log();
    rig.fail("a");
    assert_eq!(rig.log(), ["gone a", "ask d", "gone d", "start a", "start d"]);
    assert_eq!(rig.states(["a", "b", "c", "d"]), ["running", "quarantined", "finished", "running"]);
}

#[test]
fn stop_remove_or_shutdown_during_backoff_cancels_the_backoff_nothing_starts_later() {
    for strategy in [Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne] {
        for end in ["stop", "remove", "shutdown", "kill", "stop above"] {
            let a = leaf("a").delayed(secs(10));
            let mut rig = Rig::started(&sup("t", [sup("s", [a, leaf("b")]).strategy(strategy)]));
            rig.fail("s/a");
            assert_eq!(rig.state("s/a"), "backing-off");
            match end {
                "stop" => drop(rig.ask("s/a", Command::Stop)),
                "remove" => drop(rig.ask("s/a", Command::Remove)),
                "shutdown" => rig.stop(),
                "kill" => rig.kill(),
                _ => drop(rig.ask("s", Command::Stop)),
            }
            assert_eq!(rig.machine.poll_deadline(), None, "{end}: no timer is left");
            rig.log();
            rig.advance(secs(1_000));
            assert!(rig.log().is_empty(), "{end} under {strategy:?}");
        }
    }
}

#[test]
fn quarantine_during_the_backoff_of_a_restart_set_lets_the_others_start() {
    let limit = Limit::new(1, secs(100)).on_exceeded(GiveUp::Quarantine);
    let tree = sup("t", [leaf("a").delayed(secs(10)).limit(limit), leaf("b")]);
    let mut rig = Rig::started(&tree.strategy(Strategy::OneForAll));
    rig.fail("a");
    let waiting = rig.view("b").state;
    let what = WaitingFor::RestartBackoff(super::shape::name("a"));
    let ChildState::BackingOff { remaining } = rig.view("a").state else { panic!("a does not back off") };
    assert_eq!(waiting, ChildState::Waiting { what, remaining: Some(remaining) });
    rig.advance(secs(10));
    rig.fail("a");
    assert_eq!(rig.states(["a", "b"]), ["quarantined", "running"]);
    rig.log();
    rig.advance(secs(100));
    assert!(rig.log().is_empty());
}

#[test]
fn restart_asked_for_then_shutdown_nothing_is_alive_once_shutdown_has_answered() {
    for obeys in [Obeys::Ask, Obeys::Kill, Obeys::Nothing, Obeys::Test] {
        let mut rig = Rig::started(&sup("t", [leaf("a"), leaf("b")]).stop_within(secs(10)));
        rig.obeys("a", obeys);
        let request = rig.command("a", Command::Restart);
        rig.stop();
        rig.advance(secs(10));
        assert!(rig.down.is_some() && rig.alive().is_empty());
        assert!(rig.answer(request).is_some());
    }
}

#[test]
fn failures_of_child_a_do_not_use_up_child_b_s_limit() {
    let mut rig = Rig::started(&sup("t", [leaf("a"), leaf("b")]));
    for _ in 0..Limit::DEFAULT_OF_A_CHILD.restarts {
        rig.fail("a");
    }
    for _ in 0..Limit::DEFAULT_OF_A_CHILD.restarts {
        rig.fail("b");
    }
    assert_eq!(rig.states(["a", "b"]), ["running", "running"]);
    rig.fail("b");
    assert_eq!(rig.down_kind(), "gave-up");
}

#[test]
fn many_children_restarting_once_each_all_come_back() {
    let names: Vec<String> = (0..200).map(|n| format!("c{n}")).collect();
    let mut rig = Rig::started(&sup("t", names.iter().map(|name| leaf(name))));
    for name in &names {
        rig.fail(name);
    }
    assert_eq!(rig.done("start"), names);
    assert_eq!(rig.alive().len(), 200);
}

#[test]
fn a_child_that_fails_just_below_the_rate_for_ever_is_never_given_up_on_at_the_rate_it_is() {
    for (gap, survives) in [(millis(501), true), (millis(500), false)] {
        let mut rig = Rig::started(&sup("t", [leaf("a")]).intensity(2, SECOND));
        for _ in 0..100 {
            if rig.down.is_none() {
                rig.fail("a");
                rig.advance(gap);
            }
        }
        assert_eq!(rig.down.is_none(), survives, "every {gap:?}");
    }
}

#[test]
fn intensity_0_gives_up_at_the_first_restart_and_no_limit_never() {
    let mut rig = Rig::started(&sup("t", [leaf("a")]).intensity(0, Duration::MAX));
    rig.fail("a");
    assert_eq!(rig.down_kind(), "gave-up");
    let mut rig = Rig::started(&sup("t", [leaf("a")]).intensity(u32::MAX, Duration::MAX));
    for _ in 0..1_000 {
        rig.fail("a");
    }
    assert_eq!(rig.state("a"), "running");
}

#[test]
fn jitter_differs_between_children_and_between_processes() {
    let names: Vec<String> = (0..20).map(|n| format!("c{n}")).collect();
    let mut delays = std::collections::BTreeSet::new();
    for process in [1, 2] {
        let tree = sup("t", names.iter().map(|name| leaf(name).delayed(secs(1_000))));
        let mut rig = Rig::started(&tree);
        rig.random = process;
        for name in &names {
            rig.fail(name);
        }
        delays.extend(rig.events.iter().filter_map(|event| match event.kind {
            EventKind::BackingOff { delay, .. } => Some(delay),
            _ => None,
        }));
    }
    assert_eq!(delays.len(), 40);
    assert!(delays.iter().all(|delay| *delay <= secs(1_000)));
}

#[test]
fn a_success_loop_does_not_burn_a_core() {
    let backoff = Backoff { from: millis(100), to: secs(1), reset_after: secs(5) };
    let child = leaf("a").with(|child| child.backoff = Some(backoff)).limit(Limit::unlimited());
    let mut rig = Rig::started(&sup("t", [child]));
    // Jitter from a fixed but ordinary random source.
    let mut random = 1u64;
    let mut starts = 0;
    while rig.now < Time::ZERO.after(secs(60)) {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        rig.random = random;
        if rig.is_alive("a") {
            rig.complete("a");
            starts += 1;
        }
        rig.advance(millis(10));
    }
    assert!((60..=300).contains(&starts), "{starts} starts in a minute: about two a second are wanted");
}

#[test]
fn the_backoff_grows_and_begins_anew_after_a_stable_run_waiting_excluded() {
    let backoff = Backoff { from: secs(1), to: secs(8), reset_after: secs(4) };
    let mut rig = Rig::started(&sup("t", [leaf("b").with(|child| child.backoff = Some(backoff))]));
    let mut seen = Vec::new();
    for run in [secs(0), millis(3_999), secs(4), secs(0)] {
        rig.advance(run);
        rig.fail("b");
        let ChildState::BackingOff { remaining } = rig.view("b").state else { panic!("no backoff") };
        rig.advance(remaining);
        seen.extend(rig.events.iter().rev().find_map(|event| match event.kind {
            EventKind::BackingOff { nth, .. } => Some(nth),
            _ => None,
        }));
    }
    assert_eq!(seen, [1, 2, 1, 2]);
}

#[test]
fn an_init_that_fails_on_a_restart_is_retried() {
    let mut rig = Rig::started(&sup("t", [leaf("a").reports().delayed(SECOND), leaf("b")]));
    rig.policy("a").ready = false;
    for _ in 0..5 {
        rig.fail("a");
        rig.advance(SECOND);
        assert_eq!(rig.state("a"), "starting");
    }
    rig.ready("a");
    assert_eq!(rig.states(["a", "b"]), ["running", "running"]);
    assert_eq!(
        rig.machine.child(1).record.as_ref().map(|record| record.window.len()),
        Some(5),
        "each counts"
    );
}

#[test]
fn an_init_that_fails_in_a_temporary_member_affects_no_other_child() {
    let mut rig = Rig::started(&sup(
        "t",
        [group("g").members(|group| group.template = leaf("x").temporary().reports().spec), leaf("b")],
    ));
    rig.add_member("g", Some("good")).expect("room");
    rig.policy("g/bad").ready = false;
    let request = rig.add_member("g", Some("bad")).expect("room");
    rig.fail("g/bad");
    assert_eq!(word(&rig.answer(request).expect("at once")), "failed");
    assert_eq!(rig.states(["g", "g/good", "g/bad", "b"]), ["running", "running", "gone", "running"]);
    assert!(rig.machine.supervisor(1).window.is_empty());
}

#[test]
fn a_one_shot_child_under_a_supervisor_that_is_restarted_runs_again() {
    let nested = sup("s", [leaf("once").temporary(), leaf("a").limit(Limit::new(0, SECOND))]);
    let mut rig = Rig::started(&sup("t", [nested]));
    rig.complete("s/once");
    assert_eq!(rig.state("s/once"), "finished");
    rig.log();
    rig.fail("s/a");
    assert_eq!(rig.log(), ["gone s/a", "start s/once", "start s/a"]);
}

#[test]
fn two_children_failing_at_the_same_time_are_one_restart_of_the_set() {
    for strategy in [Strategy::OneForAll, Strategy::RestForOne] {
        let tree = sup("t", [leaf("a"), leaf("b"), leaf("c")]).strategy(strategy).intensity(1, secs(10));
        let mut rig = Rig::started(&tree);
        rig.obeys("c", Obeys::Test);
        rig.fail("a");
        rig.fail("b");
        rig.fail("c");
        assert_eq!(rig.alive(), ["a", "b", "c"]);
        assert_eq!(rig.machine.supervisor(0).window.len(), 1, "one entry");
    }
}

#[test]
fn a_child_failing_while_its_restart_set_starts_counts_and_the_set_tries_again() {
    let tree = sup("t", [leaf("a"), leaf("b").reports(), leaf("c")]).strategy(Strategy::OneForAll);
    let mut rig = Rig::started(&tree.intensity(2, secs(10)));
    rig.policy("b").ready = false;
    rig.fail("c");
    assert_eq!(rig.states(["a", "b", "c"]), ["running", "starting", "waiting"]);
    rig.log();
    rig.fail("b");
    assert_eq!(rig.log(), ["gone b", "ask a", "gone a", "start a", "start b"]);
    assert_eq!(rig.machine.supervisor(0).window.len(), 2);
    rig.ready("b");
    assert_eq!(rig.alive(), ["a", "b", "c"]);
}

#[test]
fn a_child_failing_during_the_stop_of_another_is_handled_by_itself() {
    let mut rig = Rig::started(&sup("t", [leaf("a"), leaf("b"), leaf("c")]));
    rig.obeys("c", Obeys::Test);
    rig.command("c", Command::Stop);
    rig.fail("a");
    assert_eq!(rig.log(), ["ask c", "gone a", "start a"]);
    rig.stop();
    rig.fail("b");
    rig.exit("c", Exit::Stopped);
    assert_eq!(rig.log(), ["gone b", "gone c", "ask a", "gone a", "down"]);
    assert_eq!(rig.report().entries.len(), 3, "a child that fails during a stop is reported too");
}

#[test]
fn a_restart_set_waits_as_one_for_the_backoff_of_the_child_that_failed() {
    let tree = sup("t", [leaf("a"), leaf("b").delayed(secs(3)), leaf("c").after("a", Condition::Ready)]);
    let mut rig = Rig::started(&tree.strategy(Strategy::OneForAll));
    rig.fail("b");
    assert_eq!(rig.states(["a", "b", "c"]), ["waiting", "backing-off", "waiting"]);
    rig.log();
    let ChildState::BackingOff { remaining } = rig.view("b").state else { panic!("b is not backing off") };
    rig.advance(remaining - Duration::from_nanos(1));
    assert!(rig.log().is_empty());
    rig.advance(Duration::from_nanos(1));
    assert_eq!(rig.log(), ["start a", "start b", "start c"]);
}

#[test]
fn a_child_that_was_ready_while_its_supervisor_starts_and_fails_before_it_is_ready_again_is_restarted() {
    let mut rig = Rig::new(&sup("t", [leaf("a").reports(), leaf("slow").reports()]));
    rig.policy("a").ready = false;
    rig.policy("slow").ready = false;
    rig.start();
    rig.ready("a");
    rig.fail("a");
    rig.fail("a");
    assert_eq!((rig.state("a"), rig.attempt("a").0), ("starting", 3));
    assert!(rig.down.is_none());
}

#[test]
fn a_restart_set_event_counts_the_children_that_start_again_and_is_not_emitted_for_one_child() {
    let mut rig = Rig::started(&sup("t", [leaf("a")]).strategy(Strategy::OneForAll));
    rig.fail("a");
    assert_eq!(rig.count("restart-set"), 0);
    let mut rig = Rig::started(&sup("t", [leaf("a"), leaf("b")]).strategy(Strategy::OneForAll));
    rig.obeys("b", Obeys::Test);
    rig.command("b", Command::Stop);
    rig.fail("a");
    assert_eq!(rig.count("restart-set"), 0);
    let mut rig = Rig::started(&sup("t", [leaf("a"), leaf("b")]).strategy(Strategy::OneForAll));
    rig.fail("a");
    assert_eq!(rig.count("restart-set"), 1);
}

/// Returns the delays of all backoff events, in order.
fn delays(rig: &Rig) -> Vec<Duration> {
    let delay = |event: &crate::Event| match event.kind {
        EventKind::BackingOff { delay, .. } => Some(delay),
        _ => None,
    };
    rig.events.iter().filter_map(delay).collect()
}

#[test]
fn children_of_one_name_in_two_supervisors_that_fail_within_one_input_have_different_delays() {
    let stuck = || leaf("w").reports().start_within(secs(5)).stop_within(Duration::ZERO).delayed(secs(100));
    let mut rig = Rig::new(&sup("t", [sup("a", [stuck()]), sup("b", [stuck()])]).edges());
    for path in ["a/w", "b/w"] {
        rig.policy(path).ready = false;
        rig.obeys(path, Obeys::Nothing);
    }
    rig.random = 0x1234_5678_9ABC_DEF0;
    rig.start();
    for path in ["a/w", "b/w"] {
        // No first start any more: that would fail the supervisor.
        rig.ready(path);
        rig.command(path, Command::Restart);
    }
    rig.advance(secs(30));
    let delays = delays(&rig);
    assert_eq!(delays.len(), 2);
    assert_ne!(delays[0], delays[1]);
}

#[test]
fn members_without_names_that_fail_within_one_input_have_different_delays() {
    let members = group("g").members(|group| {
        group.template = leaf("x").delayed(secs(100)).limit(Limit::unlimited()).spec;
    });
    let mut rig = Rig::started(&sup("t", [members]));
    rig.random = 0x1234_5678_9ABC_DEF0;
    let paths = [rig.add_member("g", None).expect("room"), rig.add_member("g", None).expect("room")];
    for request in paths {
        let Some(Ok(Outcome::Ready { id, attempt })) = rig.answer(request) else {
            panic!("it did not start")
        };
        rig.input(Input::Exited(id, attempt, Exit::Killed));
    }
    let delays = delays(&rig);
    assert_eq!(delays.len(), 2);
    assert_ne!(delays[0], delays[1]);
}

#[test]
fn an_earlier_time_counts_as_the_latest_time_given() {
    let mut rig = Rig::started(&sup("t", [leaf("a").delayed(SECOND)]));
    rig.advance(secs(10));
    rig.now = Time::ZERO.after(secs(5));
    rig.fail("a");
    assert_eq!(rig.view("a").since, Time::ZERO.after(secs(10)));
    assert!(rig.machine.poll_deadline() > Some(Time::ZERO.after(secs(10))));
}

#[test]
fn a_heartbeat_that_an_earlier_attempt_missed_does_not_fail_the_next_attempt() {
    let mut rig = Rig::started(&sup("t", [leaf("a").with(|child| child.heartbeat = Some(secs(4)))]));
    let (id, old) = (rig.id("a"), rig.attempt("a"));
    rig.fail("a");
    rig.now = rig.now.after(secs(5));
    rig.log();
    rig.input(Input::Heartbeat(id, old, false));
    assert_eq!(rig.log(), Vec::<String>::new());
}

#[test]
fn the_backoff_begins_at_its_first_step_after_a_start_by_command_or_with_the_supervisor() {
    let mut rig = Rig::started(&sup("t", [sup("s", [leaf("a").delayed(millis(10))])]));
    let streak = |rig: &Rig| {
        let streak = |event: &crate::Event| match event.kind {
            EventKind::BackingOff { nth, .. } => Some(nth),
            _ => None,
        };
        rig.events.iter().rev().find_map(streak)
    };
    let fail_twice = |rig: &mut Rig| {
        for expected in [1, 2] {
            rig.fail("s/a");
            assert_eq!(streak(rig), Some(expected));
            rig.advance(secs(1));
        }
    };
    fail_twice(&mut rig);
    rig.command("s/a", Command::Stop);
    rig.command("s/a", Command::Start);
    fail_twice(&mut rig);
    rig.command("s", Command::Restart);
    fail_twice(&mut rig);
}

#[test]
fn a_restart_counts_against_both_limits_also_when_one_is_exceeded_and_the_own_one_is_named_first() {
    let own = Limit::new(1, secs(60)).on_exceeded(GiveUp::Quarantine);
    let tree = sup("t", [leaf("a").limit(own).with(|child| child.backoff = None), leaf("b")]);
    let mut rig = Rig::started(&tree.intensity(2, secs(60)));
    rig.fail("a");
    rig.fail("a");
    assert_eq!(rig.state("a"), "quarantined", "one too many for its own limit, not for the joint one");
    rig.fail("b");
    assert_eq!(rig.down_kind(), "gave-up", "the third in all");
    let mut rig = Rig::started(&sup("t", [leaf("a").limit(Limit::new(0, secs(60)))]).intensity(0, secs(60)));
    rig.fail("a");
    let told = rig.events.iter().find_map(|event| match &event.kind {
        EventKind::GaveUp(gave_up) => Some(gave_up.own_limit),
        _ => None,
    });
    assert_eq!(told, Some(true));
}
