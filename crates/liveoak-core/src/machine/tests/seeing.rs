//! Pitfalls of snapshots, events and commands, and memory; the name of each test is the rule.

use super::rig::{Obeys, Rig, word};
use super::shape::{SECOND, group, leaf, millis, name, secs, sup};
use crate::{
    Attempt, AutoShutdown, ChildState, Command, Condition, Effect, Exit, GiveUp, Health, Input, Limit,
    Machine, Refusal, Severity, Strategy, Time, WaitingFor,
};

#[test]
fn give_up_is_visible_in_event_state_health_and_exit() {
    let quarantine = Limit::new(1, secs(60)).on_exceeded(GiveUp::Quarantine);
    let mut rig = Rig::started(&sup("t", [leaf("a").limit(quarantine), leaf("b")]));
    rig.fail("a");
    rig.fail("a");
    assert_eq!(rig.count("quarantined"), 1);
    assert_eq!(rig.state("a"), "quarantined");
    assert_eq!((rig.view("a").health, rig.view("").health), (Health::Unhealthy, Health::Unhealthy));
    for _ in 0..=Limit::DEFAULT_OF_A_CHILD.restarts {
        rig.fail("b");
    }
    assert_eq!(rig.count("gave-up"), 1);
    let (exit, _) = rig.down.as_ref().expect("down");
    let Exit::GaveUp(gave_up) = exit else { panic!("{exit}") };
    assert_eq!((gave_up.path.as_str(), gave_up.count, gave_up.allowed), ("/t/b", 11, 10));
    assert!(gave_up.own_limit);
    assert_eq!(gave_up.exit.to_string(), "failed: boom");
}

#[test]
fn health_is_never_green_over_a_dead_part() {
    let dead = |rig: &mut Rig, how: &str| match how {
        "stopped" => drop(rig.ask("s/i/a", Command::Stop)),
        "backing off" => rig.fail("s/i/a"),
        "ended badly" => rig.fail("s/i/once"),
        "starting" => {
            rig.policy("s/i/r").ready = false;
            rig.fail("s/i/r");
        }
        "unwell" => rig.health("s/i/b", Health::Degraded),
        "member" => rig.fail("s/g/m"),
        _ => panic!("{how}"),
    };
    for how in ["stopped", "backing off", "ended badly", "starting", "unwell", "member"] {
        let group = group("g").members(|group| group.template = leaf("x").delayed(SECOND).spec);
        let inner =
            sup("i", [leaf("a").delayed(SECOND), leaf("once").temporary(), leaf("r").reports(), leaf("b")]);
        let mut rig = Rig::started(&sup("t", [sup("s", [inner, group]), leaf("z")]));
        rig.add_member("s/g", Some("m")).expect("room");
        assert_eq!(rig.view("").health, Health::Healthy);
        dead(&mut rig, how);
        assert_ne!(rig.view("").health, Health::Healthy, "{how}");
        assert_ne!(rig.view("s").health, Health::Healthy, "{how}");
        assert_eq!(rig.view("z").health, Health::Healthy, "{how}");
    }
}

#[test]
fn a_dependency_declared_later_works() {
    for edges in [false, true] {
        let tree = sup("t", [leaf("web").after("db", Condition::Ready), leaf("db")]);
        let mut rig = Rig::new(&if edges { tree.edges() } else { tree });
        rig.start();
        assert_eq!(rig.log(), ["start db", "start web", "up"]);
        rig.stop();
        assert_eq!(rig.log(), ["ask web", "gone web", "ask db", "gone db", "down"]);
    }
}

#[test]
fn a_dependency_that_never_becomes_ready_times_out_while_commands_are_served() {
    let tree = sup(
        "t",
        [leaf("z"), leaf("db").reports().start_within(secs(10)), leaf("web").after("db", Condition::Ready)],
    );
    let mut rig = Rig::new(&tree);
    rig.policy("db").ready = false;
    rig.start();
    rig.advance(secs(5));
    assert_eq!(rig.view("db").state, ChildState::Starting { remaining: Some(secs(5)) });
    let turn = WaitingFor::Turn(name("db"));
    assert_eq!(rig.view("web").state, ChildState::Waiting { what: turn, remaining: Some(secs(5)) });
    assert_eq!(word(&rig.ask("z", Command::Restart)), "ready");
    rig.advance(secs(5));
    let (exit, _) = rig.down.as_ref().expect("down");
    assert_eq!(exit.to_string(), "/t/db failed to start: not ready within 10s");
}

#[test]
fn a_child_that_is_started_again_after_a_stop_starts() {
    let mut rig = Rig::started(&sup("t", [leaf("a")]));
    assert_eq!(word(&rig.ask("a", Command::Stop)), "stopped");
    assert_eq!(word(&rig.ask("a", Command::Start)), "ready");
    assert_eq!(rig.log(), ["ask a", "gone a", "start a"]);
}

#[test]
fn remove_then_add_of_the_same_id_works() {
    for nested in [false, true] {
        let child = if nested { sup("a", [leaf("x"), leaf("y")]) } else { leaf("a") };
        let mut rig = Rig::started(&sup("t", [child.clone(), leaf("b")]));
        let old = rig.id("a");
        assert_eq!(word(&rig.ask("a", Command::Remove)), "removed");
        let request = rig.add("", &child).expect("the name is free");
        assert_eq!(word(&rig.answer(request).expect("at once")), "ready");
        assert_ne!(rig.id("a"), old, "another child");
        assert_eq!(rig.view("a").attempt.0, 1);
    }
}

#[test]
fn restart_of_a_removed_child_is_an_error_not_a_resurrection() {
    let mut rig = Rig::started(&sup("t", [leaf("a"), leaf("b")]));
    let old = rig.id("a");
    rig.obeys("a", Obeys::Test);
    let remove = rig.command("a", Command::Remove);
    let restart = rig.command("a", Command::Restart);
    assert!(matches!(rig.answer(restart), Some(Err(Refusal::SupervisorDown | Refusal::NotFound))));
    rig.exit("a", Exit::Stopped);
    assert_eq!(word(&rig.answer(remove).expect("gone")), "removed");
    let restart = rig.command_to(old, Command::Restart);
    assert_eq!(word(&rig.answer(restart).expect("at once")), "not found");
    // The old id does not reach another child in the same slot either.
    rig.add("", &leaf("c")).expect("a good spec");
    assert_eq!(rig.id("c").slot, old.slot);
    let restart = rig.command_to(old, Command::Restart);
    assert_eq!(word(&rig.answer(restart).expect("at once")), "not found");
    assert_eq!(rig.view("c").attempt.0, 1);
}

#[test]
fn the_stuck_detector_and_the_stop_deadline_act_by_themselves_without_another_message_or_a_poll() {
    let mut rig = Rig::started(&sup("t", [leaf("a").with(|child| child.heartbeat = Some(secs(4)))]));
    rig.advance(secs(60));
    assert!(rig.log().is_empty(), "it beats");
    rig.policy("a").beats = false;
    rig.advance(secs(5));
    assert_eq!(rig.log(), ["kill a", "gone a", "start a"], "at most a quarter late");
    assert_eq!(rig.view("a").last_exit.map(|exit| exit.kind()), Some("heartbeat-timeout"));
    rig.obeys("a", Obeys::Nothing);
    rig.command("a", Command::Stop);
    rig.advance(secs(7));
    assert_eq!(rig.log(), ["ask a", "kill a", "abandon a"]);
}

#[test]
fn a_child_that_never_sent_a_heartbeat_although_it_declared_one_is_caught() {
    let child = leaf("a").with(|child| child.heartbeat = Some(secs(4)));
    let mut rig = Rig::new(&sup("t", [child]));
    rig.policy("a").beats = false;
    rig.start();
    rig.advance(millis(3_999));
    assert_eq!(rig.log(), ["start a", "up"]);
    rig.advance(millis(1));
    assert_eq!(rig.log(), ["kill a", "gone a", "start a"]);
}

#[test]
fn old_ids_cannot_reach_a_new_attempt_a_late_exit_report_of_an_old_attempt_changes_nothing() {
    let mut rig = Rig::started(&sup("t", [leaf("a").reports()]));
    let (id, attempt) = (rig.id("a"), rig.attempt("a"));
    rig.policy("a").ready = false;
    rig.fail("a");
    rig.log();
    let before = rig.events.len();
    rig.input(Input::Exited(id, attempt, Exit::failed("late")));
    rig.input(Input::Ready(id, attempt));
    rig.input(Input::Health(id, attempt, Health::Unhealthy));
    rig.input(Input::Heartbeat(id, attempt, false));
    assert!(rig.log().is_empty() && rig.events.len() == before);
    assert_eq!(rig.state("a"), "starting");
}

#[test]
fn snapshot_plus_events_equals_the_truth_also_when_only_some_severities_are_watched() {
    // The rig of all these tests checks this after every single input.
    let mut rig = Rig::started(&sup("t", [leaf("a"), leaf("b")]).strategy(Strategy::OneForAll));
    rig.careful = false;
    rig.machine.set_interest(Some(Severity::Error));
    let number = rig.machine.last_event();
    let seen = rig.events.len();
    rig.fail("a");
    assert_eq!(rig.events.len(), seen, "nothing of that severity");
    assert!(rig.machine.last_event() > number + 5, "but all is counted");
    assert_eq!(rig.snapshot().number, rig.machine.last_event());
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
fn every_state_that_waits_says_for_what_since_when_and_how_long_still() {
    let tree =
        sup("t", [leaf("a"), leaf("b"), leaf("c"), leaf("d").after("e", Condition::Healthy), leaf("e")]);
    let mut rig = Rig::started(&tree.strategy(Strategy::OneForAll));
    rig.advance(SECOND);
    rig.obeys("c", Obeys::Test);
    rig.fail("a");
    rig.advance(SECOND);
    let waiting = ChildState::Waiting { what: WaitingFor::RestartStop, remaining: None };
    assert_eq!(rig.view("a").state, waiting);
    assert_eq!(rig.now.since(rig.view("a").since), SECOND);
    let ChildState::Stopping { remaining, .. } = rig.view("c").state else { panic!("c is not stopping") };
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
    let mut rig = Rig::started(&tree);
    rig.careful = false;
    rig.machine.set_interest(None);
    rig.add_member("g", Some("m")).expect("room");
    let ids = ["a", "b", "g/m", "s/c"].map(|path| rig.id(path));
    let mut most = [0; 5];
    let machine = &mut rig.machine;
    let mut attempts = [1u64; 5];
    for n in 0..1_000_000u64 {
        let which = (n % 4) as usize;
        let (id, attempt) = (ids[which], Attempt(attempts[which]));
        attempts[which] += 1;
        machine.handle(Time::from_nanos(n * 1_000), n, Input::Exited(id, attempt, Exit::Killed));
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
            machine.outbox.effects.capacity(),
            machine.outbox.walks.len(),
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
fn a_large_group_that_must_be_killed_is_walked_over_once_and_not_once_for_each_member() {
    let mut rig = Rig::started(&group("t").with(|child| child.stop_within = secs(10)));
    rig.careful = false;
    for _ in 0..2_000 {
        rig.add_member("", None).expect("room");
    }
    let (machine, mut walks) = (&mut rig.machine, 0);
    machine.handle(Time::ZERO, 0, Input::Kill);
    while let Some(effect) = machine.poll_effect() {
        if let Effect::Kill(id, attempt) = effect {
            machine.handle(Time::ZERO, 0, Input::Exited(id, attempt, Exit::Killed));
        }
        walks = walks.max(machine.outbox.walks.len());
    }
    assert!(machine.has_ended());
    assert!(walks <= 2, "{walks} walks at once: to ask, and to kill");
}

#[test]
fn events_cost_nothing_without_a_subscriber_and_are_numbered_all_the_same() {
    let run = |interest| {
        let mut rig = Rig::new(&sup("t", [leaf("a"), leaf("b")]).strategy(Strategy::OneForAll));
        rig.careful = false;
        rig.machine.set_interest(interest);
        rig.start();
        rig.fail("a");
        (rig.events.len() as u64, rig.machine.last_event())
    };
    let (seen, number) = run(Some(Severity::Debug));
    assert_eq!(seen, number);
    assert_eq!(run(None), (0, number));
}

#[test]
fn a_member_is_found_by_its_own_name_only_and_below_its_own_group() {
    let mut rig = Rig::started(&sup("t", [group("g"), group("h"), leaf("a")]));
    rig.add_member("g", None).expect("room");
    rig.add_member("g", Some("named")).expect("room");
    let snapshot = rig.snapshot();
    let members: Vec<_> = snapshot.nodes().filter(|node| node.path.as_str().starts_with("/t/g/")).collect();
    let (number, named) = (members[0].id.slot, members[1].id.slot);
    assert_eq!(rig.find(&format!("g/{number}")), Some(members[0].id));
    assert_eq!(rig.find("g/named"), Some(members[1].id));
    for wrong in
        [format!("h/{number}"), format!("g/{named}"), format!("g/0{number}"), format!("g/{number}-1")]
    {
        assert_eq!(rig.find(&wrong), None, "{wrong}");
    }
}

#[test]
fn a_child_s_supervisor_and_its_last_exit_are_known() {
    let mut rig = Rig::started(&sup("t", [sup("s", [leaf("a")])]));
    let (root, s, a) = (rig.machine.root(), rig.id("s"), rig.id("s/a"));
    assert_eq!(
        (rig.machine.parent(a), rig.machine.parent(s), rig.machine.parent(root)),
        (Some(s), Some(root), None)
    );
    assert!(rig.machine.last_exit(a).is_none());
    rig.fail("s/a");
    assert_eq!(rig.machine.last_exit(a).map(Exit::kind), Some("failed"));
}

#[test]
fn a_supervisor_that_ended_as_declared_makes_no_other_child_unhealthy_whatever_was_below_it() {
    let over = sup("i", [leaf("a").temporary().significant(), leaf("b")])
        .rules(|rules| rules.auto_shutdown = AutoShutdown::AnySignificant)
        .transient();
    let tree = sup("t", [sup("s", [over, leaf("z")]), leaf("c").after("s", Condition::Healthy)]);
    let mut rig = Rig::started(&tree.edges());
    rig.complete("s/i/a");
    assert_eq!(rig.states(["s/i", "s/i/b", "s"]), ["finished", "down", "running"]);
    rig.fail("c");
    assert_eq!(rig.state("c"), "running");
}

#[test]
fn the_end_of_a_sibling_s_backoff_is_not_the_end_of_the_wait_for_it() {
    let db = leaf("db").reports().delayed(secs(60)).start_within(secs(5));
    let mut rig =
        Rig::new(&sup("t", [db, leaf("slow").reports(), leaf("web").after("db", Condition::Ready)]).edges());
    rig.policy("slow").ready = false;
    rig.start();
    rig.fail("db");
    rig.fail("web");
    assert_eq!(rig.state("db"), "backing-off");
    let ChildState::Waiting { what, remaining } = rig.view("web").state else { panic!("web does not wait") };
    assert_eq!((what, remaining), (WaitingFor::Edge(name("db"), Condition::Ready), Some(secs(30))));
}
