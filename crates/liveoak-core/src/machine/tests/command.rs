//! Commands and their answers.

use super::rig::{Obeys, Rig, word};
use super::shape::{group, leaf, secs, sup};
use crate::{
    Attempt, ChildSpec, Command, Exit, Input, MAX_CHILDREN, Machine, Refusal, Restart, Strategy, Time,
};
use std::time::Duration;

#[test]
fn a_stop_that_a_start_overtakes_leaves_no_log_open() {
    let mut rig = Rig::started(&sup("t", [leaf("a")]));
    rig.obeys("a", Obeys::Test);
    let stop = rig.command("a", Command::Stop);
    let start = rig.command("a", Command::Start);
    assert_eq!(word(&rig.answer(stop).expect("overtaken")), "superseded");
    rig.exit("a", Exit::Stopped);
    assert_eq!(word(&rig.answer(start).expect("started")), "ready");
}

#[test]
fn a_start_after_a_stop_that_fails_leaves_the_child_down() {
    let mut rig = Rig::new(&sup("t", [leaf("a").reports()]));
    rig.start();
    rig.obeys("a", Obeys::Test);
    rig.policy("a").ready = false;
    rig.command("a", Command::Stop);
    let start = rig.command("a", Command::Start);
    rig.exit("a", Exit::Stopped);
    rig.fail("a");
    assert_eq!(word(&rig.answer(start).expect("failed")), "failed");
    assert_eq!(rig.state("a"), "stopped");
}

#[test]
fn a_restarted_root_is_ready_once_and_its_last_report_covers_its_last_stop_only() {
    let mut rig = Rig::started(&sup("t", [leaf("a")]));
    assert_eq!(word(&rig.ask("", Command::Restart)), "ready");
    assert_eq!(rig.log(), ["ask a", "gone a", "start a"]);
    rig.advance(secs(5));
    rig.stop();
    assert_eq!(rig.report().entries.len(), 1);
    assert!(rig.report().took.is_zero());
}

#[test]
fn a_temporary_child_that_is_restarted_by_command_while_its_set_restarts_starts_again() {
    let tree = sup("t", [leaf("a"), leaf("b").temporary()]).strategy(Strategy::OneForAll);
    let mut rig = Rig::started(&tree);
    rig.obeys("b", Obeys::Test);
    let request = rig.command("b", Command::Restart);
    rig.fail("a");
    rig.exit("b", Exit::Stopped);
    assert_eq!(word(&rig.answer(request).expect("answered")), "ready");
    assert_eq!(rig.states(["a", "b"]), ["running", "running"]);
}

#[test]
fn a_start_command_that_a_restart_set_or_a_stop_above_interrupts_is_answered() {
    let tree =
        sup("t", [sup("s", [leaf("a"), leaf("b").temporary().reports()]).strategy(Strategy::OneForAll)]);
    let mut rig = Rig::started(&tree);
    rig.policy("s/b").ready = false;
    rig.complete("s/b");
    let request = rig.command("s/b", Command::Start);
    assert!(rig.answer(request).is_none());
    rig.fail("s/a");
    assert_eq!(word(&rig.answer(request).expect("answered")), "superseded");
    let request = rig.command("s/b", Command::Start);
    assert_eq!(word(&rig.ask("s", Command::Stop)), "stopped");
    assert_eq!(word(&rig.answer(request).expect("answered")), "supervisor down");
}

#[test]
fn a_restart_of_a_temporary_child_that_fails_before_it_is_ready_is_answered_as_failed() {
    let mut rig = Rig::started(&sup("t", [leaf("a").temporary().reports()]));
    rig.policy("a").ready = false;
    let request = rig.command("a", Command::Restart);
    rig.fail("a");
    assert_eq!(word(&rig.answer(request).expect("answered")), "failed");
    assert_eq!(rig.state("a"), "finished");
}

#[test]
fn a_member_that_ran_and_fails_a_start_on_request_stays_listed_as_stopped() {
    let mut rig = Rig::started(&group("t").members(|group| group.template = leaf("x").reports().spec));
    let request = rig.add_member("", Some("m")).expect("room");
    assert_eq!(word(&rig.answer(request).expect("answered")), "ready");
    assert_eq!(word(&rig.ask("m", Command::Stop)), "stopped");
    rig.policy("m").ready = false;
    let request = rig.command("m", Command::Start);
    rig.fail("m");
    assert_eq!(word(&rig.answer(request).expect("answered")), "failed");
    assert_eq!(rig.state("m"), "stopped");
    let request = rig.add_member("", Some("n")).expect("room");
    rig.policy("n").ready = false;
    let other = rig.command("n", Command::Restart);
    rig.fail("n");
    assert_eq!(word(&rig.answer(request).expect("answered")), "ready");
    assert_eq!(word(&rig.answer(other).expect("answered")), "failed");
}

#[test]
fn a_finished_one_shot_that_others_come_after_is_not_replaced_by_a_new_child_of_its_name() {
    let first = leaf("a").temporary();
    let tree = sup("t", [first.clone(), leaf("b").after("a", crate::Condition::Completed)]);
    let mut rig = Rig::started(&tree);
    rig.complete("a");
    assert_eq!(rig.state("b"), "running");
    assert_eq!(rig.add("", &first).map_err(|refusal| word(&Err(refusal))), Err("exists"));
    rig.command("", Command::Restart);
    assert_eq!(rig.state("a"), "running");
}

#[test]
fn a_named_member_and_a_numbered_one_never_share_a_path() {
    let mut rig = Rig::started(&group("t"));
    rig.add_member("", None).expect("room");
    let [first] = rig.alive().try_into().expect("one member");
    assert_eq!(rig.add_member("", Some(&first)).map_err(|refusal| word(&Err(refusal))), Err("exists"));
    let next = (first.parse::<u32>().expect("a number") + 2).to_string();
    rig.add_member("", Some(&next)).expect("room");
    rig.add_member("", None).expect("room");
    rig.add_member("", None).expect("room");
    assert_eq!(rig.alive().len(), 4);
}

#[test]
fn a_supervisor_that_ends_when_all_is_done_ends_when_a_nested_supervisor_is_done() {
    let tree = sup("t", [sup("s", [leaf("a").temporary()]), leaf("b").transient()]);
    let mut rig = Rig::started(&tree.rules(|rules| rules.end_when_done = true));
    rig.complete("b");
    assert!(rig.down.is_none());
    rig.complete("s/a");
    assert_eq!(rig.down_kind(), "completed");
}

#[test]
fn a_child_of_a_restart_set_that_is_stopped_by_request_still_ends_before_the_others_start() {
    let tree = sup("t", [leaf("a"), leaf("b"), leaf("c")]).strategy(Strategy::OneForAll);
    let mut rig = Rig::started(&tree);
    rig.obeys("c", Obeys::Test);
    rig.fail("a");
    let stop = rig.command("c", Command::Stop);
    assert_eq!(rig.log(), ["gone a", "ask c"]);
    rig.exit("c", Exit::Stopped);
    assert_eq!(word(&rig.answer(stop).expect("gone")), "stopped");
    assert_eq!(rig.log(), ["gone c", "ask b", "gone b", "start a", "start b"]);
}

#[test]
fn a_restart_set_waits_for_a_child_that_is_stopped_by_request_and_does_not_start_it_again() {
    let tree = sup("t", [leaf("a"), leaf("b")]).strategy(Strategy::OneForAll);
    let mut rig = Rig::started(&tree);
    rig.obeys("b", Obeys::Test);
    rig.command("b", Command::Stop);
    rig.fail("a");
    assert_eq!(rig.log(), ["ask b", "gone a"]);
    rig.exit("b", Exit::Stopped);
    assert_eq!(rig.log(), ["gone b", "start a"]);
    assert_eq!(rig.states(["a", "b"]), ["running", "stopped"]);
}

#[test]
fn more_waiting_commands_on_a_child_than_allowed_are_refused_as_busy() {
    let mut rig = Rig::started(&sup("t", [leaf("a")]));
    rig.careful = false;
    rig.obeys("a", Obeys::Test);
    for _ in 0..crate::MAX_WAITERS {
        rig.command("a", Command::Stop);
    }
    assert_eq!(word(&rig.ask("a", Command::Stop)), "busy");
    rig.exit("a", Exit::Stopped);
    assert_eq!(rig.answers.len(), crate::MAX_WAITERS + 1, "and all the others are answered");
}

#[test]
fn a_restart_command_on_the_child_that_its_restart_set_waits_for_starts_the_whole_set_at_once() {
    let tree = sup("t", [leaf("a"), leaf("b").delayed(secs(100)), leaf("c")]).strategy(Strategy::OneForAll);
    let mut rig = Rig::started(&tree);
    rig.fail("b");
    rig.log();
    assert_eq!(word(&rig.ask("b", Command::Restart)), "ready");
    assert_eq!(rig.log(), ["start a", "start b", "start c"]);
    rig.advance(secs(1_000));
    assert!(rig.log().is_empty());
}

#[test]
fn a_restart_command_during_the_restart_of_its_set_is_answered_by_the_new_attempt() {
    let mut rig = Rig::started(&sup("t", ["a", "b", "c"].map(leaf)).strategy(Strategy::OneForAll));
    rig.obeys("c", Obeys::Test);
    rig.fail("b");
    let request = rig.command("a", Command::Restart);
    assert!(rig.answer(request).is_none(), "c is not gone yet");
    rig.exit("c", Exit::Stopped);
    assert_eq!(word(&rig.answer(request).expect("answered")), "ready");
    assert_eq!(["a", "b", "c"].map(|child| rig.view(child).attempt.0), [2, 2, 2]);
}

#[test]
fn members_come_and_go_while_the_supervisor_above_still_starts() {
    let mut rig = Rig::new(&sup("t", [group("g"), leaf("b").reports()]));
    rig.policy("b").ready = false;
    rig.start();
    rig.add_member("g", Some("m")).expect("the group runs");
    rig.fail("g/m");
    assert_eq!(word(&rig.ask("g/m", Command::Remove)), "removed");
    assert_eq!(rig.states(["", "g", "b"]), ["starting", "running", "starting"]);
    rig.ready("b");
    assert_eq!(rig.state(""), "running");
}

#[test]
fn an_exit_that_is_reported_twice_counts_once() {
    let mut rig = Rig::started(&sup("t", [leaf("a")]).intensity(5, secs(10)));
    let (id, attempt) = (rig.id("a"), rig.attempt("a"));
    for _ in 0..3 {
        rig.input(Input::Exited(id, attempt, Exit::Killed));
    }
    assert_eq!(rig.view("a").attempt.0, 2);
    assert_eq!(rig.machine.supervisor(0).window.len(), 1);
}

#[test]
fn a_nested_supervisor_that_is_restarted_by_request_stops_all_below_and_starts_it_anew() {
    let tree = sup("t", [sup("s", [leaf("a"), leaf("b")]), leaf("c")]);
    let mut rig = Rig::started(&tree);
    rig.obeys("s/a", Obeys::Kill);
    let request = rig.command("s", Command::Restart);
    rig.advance(secs(5));
    assert_eq!(word(&rig.answer(request).expect("answered")), "ready");
    assert_eq!(
        rig.log(),
        ["ask s/b", "gone s/b", "ask s/a", "kill s/a", "gone s/a", "start s/a", "start s/b"]
    );
}

#[test]
fn a_supervisor_that_is_full_refuses_one_child_more_and_a_declaration_with_too_many_is_an_error() {
    let many = |count: usize| (0..count).map(|n| leaf(&format!("a{n}"))).collect::<Vec<_>>();
    let errors = Machine::new(&sup("t", many(MAX_CHILDREN + 1))).expect_err("too many");
    assert!(
        errors.to_string().contains("10001 children are too many: at most 10000, or a group"),
        "{errors}"
    );
    let mut just_enough = many(MAX_CHILDREN);
    just_enough[0] = leaf("once").temporary();
    let (mut machine, _) = Machine::new(&sup("t", just_enough)).expect("just enough");
    machine.handle(Time::ZERO, 0, Input::Start);
    let root = machine.root();
    let refused = machine.add_child(Time::ZERO, root, &leaf("b"), None).expect_err("it is full");
    assert!(matches!(refused, Refusal::Full { max: 10_000 }), "{refused:?}");
    // A child that replaces a finished one-shot child does not exceed the limit.
    let id = machine.find(&"t/once".into()).expect("it was declared");
    machine.handle(Time::ZERO, 0, Input::Exited(id, Attempt(1), Exit::Completed));
    machine.add_child(Time::ZERO, root, &leaf("once"), None).expect("it replaces a finished child");
}

#[test]
fn the_defaults_of_a_root_are_those_of_a_supervisor_with_half_a_minute_to_stop() {
    let root = ChildSpec::of_root();
    assert_eq!((root.start_within, root.stop_within), (Duration::MAX, secs(30)));
    assert_eq!(ChildSpec { stop_within: Duration::MAX, ..root }, ChildSpec::of_supervisor());
}

#[test]
fn supervisors_that_are_added_one_below_the_other_are_refused_where_the_tree_is_too_deep() {
    let mut rig = Rig::started(&sup("t", []));
    let mut path = String::new();
    let mut levels = 1;
    while rig.add(&path, &sup("s", [])).is_ok() {
        path = if path.is_empty() { "s".to_owned() } else { format!("{path}/s") };
        levels += 1;
        assert!(levels <= 64, "deeper than 64 levels");
    }
    assert_eq!(levels, 64);
}

#[test]
fn a_child_is_a_group_another_supervisor_or_none() {
    let rig = Rig::started(&sup("t", [leaf("a"), group("g"), sup("s", [])]));
    let kinds = ["a", "g", "s"].map(|path| rig.machine.is_group(rig.id(path)));
    assert_eq!(kinds, [None, Some(true), Some(false)]);
}

#[test]
fn a_member_that_can_be_made_only_once_is_not_started_again_and_not_stopped_for_it() {
    let once = group("g").members(|group| {
        group.template.once = true;
        group.template.restart = Restart::Temporary;
    });
    let mut rig = Rig::started(&sup("t", [once]));
    rig.add_member("g", Some("m")).expect("room");
    assert_eq!(word(&rig.ask("g/m", Command::Restart)), "only once");
    assert_eq!(rig.state("g/m"), "running");
    rig.obeys("g/m", Obeys::Test);
    rig.command("g/m", Command::Stop);
    for command in [Command::Start, Command::Restart] {
        assert_eq!(word(&rig.ask("g/m", command)), "only once");
    }
    rig.exit("g/m", Exit::Stopped);
    assert_eq!(rig.state("g/m"), "gone");
    let restarts = group("g").members(|group| group.template.once = true);
    let errors = Machine::new(&sup("t", [restarts])).expect_err("permanent and once").to_string();
    assert!(errors.contains("/t/g: restart: what can be made only once"), "{errors}");
}
