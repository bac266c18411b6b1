//! Pitfalls of snapshots, events, commands and memory; the name of each test is the rule.

use super::shape::{SECOND, group, leaf, millis, name, secs, sup};
use super::test_driver::{Obeys, TestDriver, word};
use crate::{
    Attempt, AutoShutdown, ChildState, Command, Condition, Effect, Exit, GiveUp, Health, Input, Limit,
    MAX_QUEUED_EFFECTS, Machine, Refusal, Severity, Strategy, Time, WaitingFor,
};

#[test]
fn giving_up_is_visible_in_event_state_health_and_exit() {
    let quarantine = Limit::new(1, secs(60)).on_exceeded(GiveUp::QUARANTINE);
    let mut driver = TestDriver::started(&sup("t", [leaf("a").limit(quarantine), leaf("b")]));
    driver.fail("a");
    driver.fail("a");
    assert_eq!(driver.count("quarantined"), 1);
    assert_eq!(driver.state("a"), "quarantined");
    assert_eq!((driver.view("a").health, driver.view("").health), (Health::Unhealthy, Health::Unhealthy));
    for _ in 0..=Limit::DEFAULT_OF_A_CHILD.restarts {
        driver.fail("b");
    }
    assert_eq!(driver.count("gave-up"), 1);
    let (exit, _) = driver.down.as_ref().expect("down");
    let Exit::GaveUp(gave_up) = exit else { panic!("{exit}") };
    assert_eq!((gave_up.path.as_str(), gave_up.count, gave_up.allowed), ("/t/b", 11, 10));
    assert!(gave_up.own_limit);
    assert_eq!(gave_up.exit.to_string(), "failed: boom");
}

#[test]
fn no_supervisor_is_healthy_while_a_child_below_it_is_down() {
    let dead = |driver: &mut TestDriver, how: &str| match how {
        "stopped" => drop(driver.ask("s/i/a", Command::Stop)),
        "backing off" => driver.fail("s/i/a"),
        "ended badly" => driver.fail("s/i/once"),
        "starting" => {
            driver.policy("s/i/r").ready = false;
            driver.fail("s/i/r");
        }
        "unwell" => driver.health("s/i/b", Health::Degraded),
        "member" => driver.fail("s/g/m"),
        _ => panic!("{how}"),
    };
    for how in ["stopped", "backing off", "ended badly", "starting", "unwell", "member"] {
        let group = group("g").members(|group| group.template = leaf("x").delayed(SECOND).spec);
        let inner =
            sup("i", [leaf("a").delayed(SECOND), leaf("once").temporary(), leaf("r").reports(), leaf("b")]);
        let mut driver = TestDriver::started(&sup("t", [sup("s", [inner, group]), leaf("z")]));
        driver.add_member("s/g", Some("m")).expect("room");
        assert_eq!(driver.view("").health, Health::Healthy);
        dead(&mut driver, how);
        assert_ne!(driver.view("").health, Health::Healthy, "{how}");
        assert_ne!(driver.view("s").health, Health::Healthy, "{how}");
        assert_eq!(driver.view("z").health, Health::Healthy, "{how}");
    }
}

#[test]
fn a_dependency_declared_later_works() {
    for edges in [false, true] {
        let tree = sup("t", [leaf("web").after("db", Condition::Ready), leaf("db")]);
        let mut driver = TestDriver::new(&if edges { tree.edges() } else { tree });
        driver.start();
        assert_eq!(driver.log(), ["start db", "start web", "up"]);
        driver.stop();
        assert_eq!(driver.log(), ["ask web", "gone web", "ask db", "gone db", "down"]);
    }
}

#[test]
fn a_dependency_that_never_becomes_ready_times_out_while_commands_are_served() {
    let tree = sup(
        "t",
        [leaf("z"), leaf("db").reports().start_within(secs(10)), leaf("web").after("db", Condition::Ready)],
    );
    let mut driver = TestDriver::new(&tree);
    driver.policy("db").ready = false;
    driver.start();
    driver.advance(secs(5));
    assert_eq!(driver.view("db").state, ChildState::Starting { remaining: Some(secs(5)) });
    let turn = WaitingFor::Turn(name("db"));
    assert_eq!(driver.view("web").state, ChildState::Waiting { what: turn, remaining: Some(secs(5)) });
    assert_eq!(word(&driver.ask("z", Command::Restart)), "ready");
    driver.advance(secs(5));
    let (exit, _) = driver.down.as_ref().expect("down");
    assert_eq!(exit.to_string(), "/t/db failed to start: not ready within 10s");
}

#[test]
fn a_child_that_is_started_again_after_a_stop_starts() {
    let mut driver = TestDriver::started(&sup("t", [leaf("a")]));
    assert_eq!(word(&driver.ask("a", Command::Stop)), "stopped");
    assert_eq!(word(&driver.ask("a", Command::Start)), "ready");
    assert_eq!(driver.log(), ["ask a", "gone a", "start a"]);
}

#[test]
fn remove_then_add_of_the_same_id_works() {
    for nested in [false, true] {
        let child = if nested { sup("a", [leaf("x"), leaf("y")]) } else { leaf("a") };
        let mut driver = TestDriver::started(&sup("t", [child.clone(), leaf("b")]));
        let old = driver.id("a");
        assert_eq!(word(&driver.ask("a", Command::Remove)), "removed");
        let request = driver.add("", &child).expect("the name is free");
        assert_eq!(word(&driver.answer(request).expect("at once")), "ready");
        assert_ne!(driver.id("a"), old, "another child");
        assert_eq!(driver.view("a").attempt.0, 1);
    }
}

#[test]
fn a_removed_child_cannot_be_restarted() {
    let mut driver = TestDriver::started(&sup("t", [leaf("a"), leaf("b")]));
    let old = driver.id("a");
    driver.obeys("a", Obeys::Test);
    let remove = driver.command("a", Command::Remove);
    let restart = driver.command("a", Command::Restart);
    assert!(matches!(driver.answer(restart), Some(Err(Refusal::SupervisorDown | Refusal::NotFound))));
    driver.exit("a", Exit::Stopped);
    assert_eq!(word(&driver.answer(remove).expect("gone")), "removed");
    let restart = driver.command_to(old, Command::Restart);
    assert_eq!(word(&driver.answer(restart).expect("at once")), "not found");
    // The old id does not reach another child in the same slot either.
    driver.add("", &leaf("c")).expect("a good spec");
    assert_eq!(driver.id("c").slot, old.slot);
    let restart = driver.command_to(old, Command::Restart);
    assert_eq!(word(&driver.answer(restart).expect("at once")), "not found");
    assert_eq!(driver.view("c").attempt.0, 1);
}

#[test]
fn missed_heartbeats_and_stop_deadlines_need_no_other_input() {
    let mut driver =
        TestDriver::started(&sup("t", [leaf("a").with(|child| child.heartbeat = Some(secs(4)))]));
    driver.advance(secs(60));
    assert!(driver.log().is_empty(), "it beats");
    driver.policy("a").beats = false;
    driver.advance(secs(5));
    assert_eq!(driver.log(), ["kill a", "gone a", "start a"], "at most a quarter late");
    assert_eq!(driver.view("a").last_exit.map(|exit| exit.kind()), Some("heartbeat-timeout"));
    driver.obeys("a", Obeys::Nothing);
    driver.command("a", Command::Stop);
    driver.advance(secs(7));
    assert_eq!(driver.log(), ["ask a", "kill a", "abandon a"]);
}

#[test]
fn a_child_that_declares_a_heartbeat_and_never_sends_one_is_killed() {
    let child = leaf("a").with(|child| child.heartbeat = Some(secs(4)));
    let mut driver = TestDriver::new(&sup("t", [child]));
    driver.policy("a").beats = false;
    driver.start();
    driver.advance(millis(3_999));
    assert_eq!(driver.log(), ["start a", "up"]);
    driver.advance(millis(1));
    assert_eq!(driver.log(), ["kill a", "gone a", "start a"]);
}

#[test]
fn a_late_exit_report_of_an_old_attempt_changes_nothing() {
    let mut driver = TestDriver::started(&sup("t", [leaf("a").reports()]));
    let (id, attempt) = (driver.id("a"), driver.attempt("a"));
    driver.policy("a").ready = false;
    driver.fail("a");
    driver.log();
    let before = driver.events.len();
    driver.input(Input::Exited(id, attempt, Exit::failed("late")));
    driver.input(Input::Ready(id, attempt));
    driver.input(Input::Health(id, attempt, Health::Unhealthy, None));
    driver.input(Input::Heartbeat(id, attempt, false));
    assert!(driver.log().is_empty() && driver.events.len() == before);
    assert_eq!(driver.state("a"), "starting");
}

#[test]
fn a_snapshot_and_the_events_after_it_give_the_next_snapshot() {
    // The driver of all these tests checks this after every single input.
    let mut driver = TestDriver::started(&sup("t", [leaf("a"), leaf("b")]).strategy(Strategy::OneForAll));
    driver.careful = false;
    driver.machine.set_interest(Some(Severity::Error));
    let number = driver.machine.last_event();
    let seen = driver.events.len();
    driver.fail("a");
    assert_eq!(driver.events.len(), seen, "nothing of that severity");
    assert!(driver.machine.last_event() > number + 5, "but all is counted");
    assert_eq!(driver.snapshot().number, driver.machine.last_event());
}

#[test]
fn duplicate_ids_are_refused_with_both_places_named() {
    let tree = sup("t", [leaf("a"), leaf("b"), leaf("a")]);
    let error = Machine::new(&tree).expect_err("twice").to_string();
    assert_eq!(
        error,
        "/t: children: the name \"a\" is used twice: by child 1 and by child 3 of this supervisor"
    );
}

#[test]
fn every_waiting_state_names_what_it_waits_for_since_when_and_the_remaining_time() {
    let tree =
        sup("t", [leaf("a"), leaf("b"), leaf("c"), leaf("d").after("e", Condition::Healthy), leaf("e")]);
    let mut driver = TestDriver::started(&tree.strategy(Strategy::OneForAll));
    driver.advance(SECOND);
    driver.obeys("c", Obeys::Test);
    driver.fail("a");
    driver.advance(SECOND);
    let waiting = ChildState::Waiting { what: WaitingFor::RestartStop, remaining: None };
    assert_eq!(driver.view("a").state, waiting);
    assert_eq!(driver.now.since(driver.view("a").since), SECOND);
    let ChildState::Stopping { remaining, .. } = driver.view("c").state else { panic!("c is not stopping") };
    assert_eq!(remaining, Some(secs(4)));
}

#[test]
fn memory_stays_constant_over_a_million_restarts() {
    let tree = sup(
        "t",
        [
            leaf("a").limit(Limit::unlimited()),
            leaf("b").limit(Limit::new(Limit::MAX_RESTARTS, millis(10))),
            group("g").members(|group| group.template.limit = Some(Limit::unlimited())),
            sup("s", [leaf("c").limit(Limit::unlimited()), leaf("d")]).strategy(Strategy::OneForAll),
        ],
    );
    let mut driver = TestDriver::started(&tree);
    driver.careful = false;
    driver.machine.set_interest(None);
    driver.add_member("g", Some("m")).expect("room");
    let ids = ["a", "b", "g/m", "s/c"].map(|path| driver.id(path));
    let mut most = [0; 5];
    let machine = &mut driver.machine;
    let mut attempts = [1u64; 5];
    for n in 0..1_000_000u64 {
        let which = (n % 4) as usize;
        let (id, attempt) = (ids[which], Attempt(attempts[which]));
        attempts[which] += 1;
        // The second child only succeeds: with that many failures in a row it would be given up on.
        let exit = if which == 1 { Exit::Completed } else { Exit::Killed };
        machine.handle(Time::from_nanos(n * 1_000), n, Input::Exited(id, attempt, exit));
        while let Some(effect) = machine.poll_effect() {
            if let Effect::Ask(id, attempt) = effect {
                let exit = Exit::Stopped;
                machine.handle(Time::from_nanos(n * 1_000), n, Input::Exited(id, attempt, exit));
            }
        }
        let windows =
            ids.map(|id| machine.child(id.slot).record.as_ref().map_or(0, |record| record.window.len()));
        assert!(windows[0] + windows[2] + windows[3] == 0, "restarts without a limit are not counted");
        let window = windows[1];
        let sizes = [
            machine.slot_count(),
            machine.timers.len(),
            machine.driver_queue.effects.capacity(),
            machine.driver_queue.walks.len(),
            window,
        ];
        for (most, size) in most.iter_mut().zip(sizes) {
            *most = size.max(*most);
        }
    }
    let restarts: u64 = ids.iter().map(|id| machine.child(id.slot).attempt - 1).sum();
    assert_eq!(restarts, 1_000_000);
    assert!(most[0] <= 8 && most[1] == 0 && most[2] <= 64 && most[3] == 0 && most[4] <= 2_501, "{most:?}");
}

#[test]
fn a_kill_of_a_large_group_visits_each_member_once() {
    let mut driver = TestDriver::started(&group("t").with(|child| child.stop_within = secs(10)));
    driver.careful = false;
    for _ in 0..2_000 {
        driver.add_member("", None).expect("room");
    }
    let (machine, mut walks) = (&mut driver.machine, 0);
    machine.handle(Time::ZERO, 0, Input::Kill);
    while let Some(effect) = machine.poll_effect() {
        if let Effect::Kill(id, attempt) = effect {
            machine.handle(Time::ZERO, 0, Input::Exited(id, attempt, Exit::Killed));
        }
        walks = walks.max(machine.driver_queue.walks.len());
    }
    assert!(machine.has_ended());
    assert!(walks <= 2, "{walks} walks at once: to ask, and to kill");
}

#[test]
fn events_cost_nothing_without_a_subscriber_and_are_still_numbered() {
    let run = |interest| {
        let mut driver = TestDriver::new(&sup("t", [leaf("a"), leaf("b")]).strategy(Strategy::OneForAll));
        driver.careful = false;
        driver.machine.set_interest(interest);
        driver.start();
        driver.fail("a");
        (driver.events.len() as u64, driver.machine.last_event())
    };
    let (seen, number) = run(Some(Severity::Debug));
    assert_eq!(seen, number);
    assert_eq!(run(None), (0, number));
}

#[test]
fn a_member_is_found_by_its_own_name_only_and_below_its_own_group() {
    let mut driver = TestDriver::started(&sup("t", [group("g"), group("h"), leaf("a")]));
    driver.add_member("g", None).expect("room");
    driver.add_member("g", Some("named")).expect("room");
    let snapshot = driver.snapshot();
    let members: Vec<_> = snapshot.nodes().filter(|node| node.path.as_str().starts_with("/t/g/")).collect();
    let (number, named) = (members[0].id.slot, members[1].id.slot);
    assert_eq!(driver.find(&format!("g/{number}")), Some(members[0].id));
    assert_eq!(driver.find("g/named"), Some(members[1].id));
    for wrong in
        [format!("h/{number}"), format!("g/{named}"), format!("g/0{number}"), format!("g/{number}-1")]
    {
        assert_eq!(driver.find(&wrong), None, "{wrong}");
    }
}

#[test]
fn a_child_s_supervisor_and_its_last_exit_are_known() {
    let mut driver = TestDriver::started(&sup("t", [sup("s", [leaf("a")])]));
    let (root, s, a) = (driver.machine.root(), driver.id("s"), driver.id("s/a"));
    assert_eq!(
        (driver.machine.parent(a), driver.machine.parent(s), driver.machine.parent(root)),
        (Some(s), Some(root), None)
    );
    assert!(driver.machine.last_exit(a).is_none());
    driver.fail("s/a");
    assert_eq!(driver.machine.last_exit(a).map(Exit::kind), Some("failed"));
}

#[test]
fn a_completed_supervisor_does_not_make_the_supervisor_above_it_unhealthy() {
    let over = sup("i", [leaf("a").temporary().significant(), leaf("b")])
        .rules(|rules| rules.auto_shutdown = AutoShutdown::AnySignificant)
        .transient();
    let tree = sup("t", [sup("s", [over, leaf("z")]), leaf("c").after("s", Condition::Healthy)]);
    let mut driver = TestDriver::started(&tree.edges());
    driver.complete("s/i/a");
    assert_eq!(driver.states(["s/i", "s/i/b", "s"]), ["finished", "down", "running"]);
    driver.fail("c");
    assert_eq!(driver.state("c"), "running");
}

#[test]
fn the_end_of_a_sibling_s_backoff_is_not_the_end_of_the_wait_for_it() {
    let db = leaf("db").reports().delayed(secs(60)).start_within(secs(5));
    let mut driver = TestDriver::new(
        &sup("t", [db, leaf("slow").reports(), leaf("web").after("db", Condition::Ready)]).edges(),
    );
    driver.policy("slow").ready = false;
    driver.start();
    driver.fail("db");
    driver.fail("web");
    assert_eq!(driver.state("db"), "backing-off");
    let ChildState::Waiting { what, remaining } = driver.view("web").state else {
        panic!("web does not wait")
    };
    assert_eq!((what, remaining), (WaitingFor::Edge(name("db"), Condition::Ready), None));
}

#[test]
fn a_driver_that_does_not_take_its_effects_loses_events_but_no_orders() {
    let mut driver = TestDriver::started(&sup("t", [leaf("a")]));
    let (id, attempt) = (driver.id("a"), driver.attempt("a"));
    let before = driver.machine.last_event();
    driver.machine.set_interest(Some(Severity::Debug));
    let flips = MAX_QUEUED_EFFECTS as u64 + 10;
    for n in 0..flips {
        let health = if n % 2 == 0 { Health::Degraded } else { Health::Healthy };
        driver.machine.handle(Time::ZERO, 0, Input::Health(id, attempt, health, None));
    }
    driver.machine.handle(Time::ZERO, 0, Input::Kill);
    let effects: Vec<_> = std::iter::from_fn(|| driver.machine.poll_effect()).collect();
    let numbers: Vec<_> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Event(event) => Some(event.number),
            _ => None,
        })
        .collect();
    assert_eq!(numbers.len(), MAX_QUEUED_EFFECTS);
    assert!(numbers.iter().copied().eq(before + 1..=before + MAX_QUEUED_EFFECTS as u64));
    assert!(driver.machine.last_event() > before + flips, "what was lost was numbered");
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Kill(..))), "the order is there");
}
