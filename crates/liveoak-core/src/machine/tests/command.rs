//! Commands and their answers.

use super::shape::{group, leaf, secs, sup};
use super::test_driver::{Obeys, TestDriver, word};
use crate::{
    Attempt, ChildSpec, Command, Exit, Input, MAX_CHILDREN, MAX_WAITERS, Machine, Refusal, Restart, Strategy,
    Time,
};
use std::time::Duration;

#[test]
fn a_stop_command_is_answered_as_superseded_if_a_start_command_follows() {
    let mut driver = TestDriver::started(&sup("t", [leaf("a")]));
    driver.obeys("a", Obeys::Test);
    let stop = driver.command("a", Command::Stop);
    let start = driver.command("a", Command::Start);
    assert_eq!(word(&driver.answer(stop).expect("overtaken")), "superseded");
    driver.exit("a", Exit::Stopped);
    assert_eq!(word(&driver.answer(start).expect("started")), "ready");
}

#[test]
fn a_start_command_that_fails_leaves_the_child_down() {
    let mut driver = TestDriver::new(&sup("t", [leaf("a").reports()]));
    driver.start();
    driver.obeys("a", Obeys::Test);
    driver.policy("a").ready = false;
    driver.command("a", Command::Stop);
    let start = driver.command("a", Command::Start);
    driver.exit("a", Exit::Stopped);
    driver.fail("a");
    assert_eq!(word(&driver.answer(start).expect("failed")), "failed");
    assert_eq!(driver.state("a"), "stopped");
}

#[test]
fn a_restarted_root_is_ready_once_and_its_last_report_covers_its_last_stop_only() {
    let mut driver = TestDriver::started(&sup("t", [leaf("a")]));
    assert_eq!(word(&driver.ask("", Command::Restart)), "ready");
    assert_eq!(driver.log(), ["ask a", "gone a", "start a"]);
    driver.advance(secs(5));
    driver.stop();
    assert_eq!(driver.report().entries.len(), 1);
    assert!(driver.report().took.is_zero());
}

#[test]
fn a_temporary_child_that_is_restarted_by_command_while_its_set_restarts_starts_again() {
    let tree = sup("t", [leaf("a"), leaf("b").temporary()]).strategy(Strategy::OneForAll);
    let mut driver = TestDriver::started(&tree);
    driver.obeys("b", Obeys::Test);
    let request = driver.command("b", Command::Restart);
    driver.fail("a");
    driver.exit("b", Exit::Stopped);
    assert_eq!(word(&driver.answer(request).expect("answered")), "ready");
    assert_eq!(driver.states(["a", "b"]), ["running", "running"]);
}

#[test]
fn a_start_command_that_a_restart_set_or_a_stop_above_interrupts_is_answered() {
    let tree =
        sup("t", [sup("s", [leaf("a"), leaf("b").temporary().reports()]).strategy(Strategy::OneForAll)]);
    let mut driver = TestDriver::started(&tree);
    driver.policy("s/b").ready = false;
    driver.complete("s/b");
    let request = driver.command("s/b", Command::Start);
    assert!(driver.answer(request).is_none());
    driver.fail("s/a");
    assert_eq!(word(&driver.answer(request).expect("answered")), "superseded");
    let request = driver.command("s/b", Command::Start);
    assert_eq!(word(&driver.ask("s", Command::Stop)), "stopped");
    assert_eq!(word(&driver.answer(request).expect("answered")), "supervisor down");
}

#[test]
fn a_restart_of_a_temporary_child_that_fails_before_it_is_ready_is_answered_as_failed() {
    let mut driver = TestDriver::started(&sup("t", [leaf("a").temporary().reports()]));
    driver.policy("a").ready = false;
    let request = driver.command("a", Command::Restart);
    driver.fail("a");
    assert_eq!(word(&driver.answer(request).expect("answered")), "failed");
    assert_eq!(driver.state("a"), "finished");
}

#[test]
fn a_member_whose_start_command_fails_stays_listed_as_stopped() {
    let mut driver =
        TestDriver::started(&group("t").members(|group| group.template = leaf("x").reports().spec));
    let request = driver.add_member("", Some("m")).expect("room");
    assert_eq!(word(&driver.answer(request).expect("answered")), "ready");
    assert_eq!(word(&driver.ask("m", Command::Stop)), "stopped");
    driver.policy("m").ready = false;
    let request = driver.command("m", Command::Start);
    driver.fail("m");
    assert_eq!(word(&driver.answer(request).expect("answered")), "failed");
    assert_eq!(driver.state("m"), "stopped");
    let request = driver.add_member("", Some("n")).expect("room");
    driver.policy("n").ready = false;
    let other = driver.command("n", Command::Restart);
    driver.fail("n");
    assert_eq!(word(&driver.answer(request).expect("answered")), "ready");
    assert_eq!(word(&driver.answer(other).expect("answered")), "failed");
}

#[test]
fn a_finished_child_with_dependents_is_not_replaced_by_an_added_child_of_its_name() {
    let first = leaf("a").temporary();
    let tree = sup("t", [first.clone(), leaf("b").after("a", crate::Condition::Completed)]);
    let mut driver = TestDriver::started(&tree);
    driver.complete("a");
    assert_eq!(driver.state("b"), "running");
    assert_eq!(driver.add("", &first).map_err(|refusal| word(&Err(refusal))), Err("exists"));
    driver.command("", Command::Restart);
    assert_eq!(driver.state("a"), "running");
}

#[test]
fn a_named_member_and_a_numbered_one_never_share_a_path() {
    let mut driver = TestDriver::started(&group("t"));
    driver.add_member("", None).expect("room");
    let [first] = driver.alive().try_into().expect("one member");
    assert_eq!(driver.add_member("", Some(&first)).map_err(|refusal| word(&Err(refusal))), Err("exists"));
    let next = (first.parse::<u32>().expect("a number") + 2).to_string();
    driver.add_member("", Some(&next)).expect("room");
    driver.add_member("", None).expect("room");
    driver.add_member("", None).expect("room");
    assert_eq!(driver.alive().len(), 4);
}

#[test]
fn end_when_done_counts_a_nested_supervisor_that_is_done() {
    let tree = sup("t", [sup("s", [leaf("a").temporary()]), leaf("b").transient()]);
    let mut driver = TestDriver::started(&tree.rules(|rules| rules.end_when_done = true));
    driver.complete("b");
    assert!(driver.down.is_none());
    driver.complete("s/a");
    assert_eq!(driver.down_kind(), "completed");
}

#[test]
fn a_child_of_a_restart_set_that_is_stopped_by_command_still_ends_before_the_others_start() {
    let tree = sup("t", [leaf("a"), leaf("b"), leaf("c")]).strategy(Strategy::OneForAll);
    let mut driver = TestDriver::started(&tree);
    driver.obeys("c", Obeys::Test);
    driver.fail("a");
    let stop = driver.command("c", Command::Stop);
    assert_eq!(driver.log(), ["gone a", "ask c"]);
    driver.exit("c", Exit::Stopped);
    assert_eq!(word(&driver.answer(stop).expect("gone")), "stopped");
    assert_eq!(driver.log(), ["gone c", "ask b", "gone b", "start a", "start b"]);
}

#[test]
fn a_restart_set_waits_for_a_child_that_is_stopped_by_command_and_does_not_start_it_again() {
    let tree = sup("t", [leaf("a"), leaf("b")]).strategy(Strategy::OneForAll);
    let mut driver = TestDriver::started(&tree);
    driver.obeys("b", Obeys::Test);
    driver.command("b", Command::Stop);
    driver.fail("a");
    assert_eq!(driver.log(), ["ask b", "gone a"]);
    driver.exit("b", Exit::Stopped);
    assert_eq!(driver.log(), ["gone b", "start a"]);
    assert_eq!(driver.states(["a", "b"]), ["running", "stopped"]);
}

#[test]
fn more_waiting_commands_on_a_child_than_allowed_are_refused_as_busy() {
    let mut driver = TestDriver::started(&sup("t", [leaf("a")]));
    driver.careful = false;
    driver.obeys("a", Obeys::Test);
    for _ in 0..MAX_WAITERS {
        driver.command("a", Command::Stop);
    }
    assert_eq!(word(&driver.ask("a", Command::Stop)), "busy");
    driver.exit("a", Exit::Stopped);
    assert_eq!(driver.answers.len(), MAX_WAITERS + 1, "and all the others are answered");
}

#[test]
fn a_command_to_restart_the_child_that_backs_off_starts_its_whole_restart_set_immediately() {
    let tree = sup("t", [leaf("a"), leaf("b").delayed(secs(100)), leaf("c")]).strategy(Strategy::OneForAll);
    let mut driver = TestDriver::started(&tree);
    driver.fail("b");
    driver.log();
    assert_eq!(word(&driver.ask("b", Command::Restart)), "ready");
    assert_eq!(driver.log(), ["start a", "start b", "start c"]);
    driver.advance(secs(1_000));
    assert!(driver.log().is_empty());
}

#[test]
fn a_restart_command_during_the_restart_of_its_set_is_answered_by_the_new_attempt() {
    let mut driver = TestDriver::started(&sup("t", ["a", "b", "c"].map(leaf)).strategy(Strategy::OneForAll));
    driver.obeys("c", Obeys::Test);
    driver.fail("b");
    let request = driver.command("a", Command::Restart);
    assert!(driver.answer(request).is_none(), "c is not gone yet");
    driver.exit("c", Exit::Stopped);
    assert_eq!(word(&driver.answer(request).expect("answered")), "ready");
    assert_eq!(["a", "b", "c"].map(|child| driver.view(child).attempt.0), [2, 2, 2]);
}

#[test]
fn members_can_be_added_and_removed_while_the_supervisor_above_still_starts() {
    let mut driver = TestDriver::new(&sup("t", [group("g"), leaf("b").reports()]));
    driver.policy("b").ready = false;
    driver.start();
    driver.add_member("g", Some("m")).expect("the group runs");
    driver.fail("g/m");
    assert_eq!(word(&driver.ask("g/m", Command::Remove)), "removed");
    assert_eq!(driver.states(["", "g", "b"]), ["starting", "running", "starting"]);
    driver.ready("b");
    assert_eq!(driver.state(""), "running");
}

#[test]
fn an_exit_that_is_reported_twice_counts_once() {
    let mut driver = TestDriver::started(&sup("t", [leaf("a")]).intensity(5, secs(10)));
    let (id, attempt) = (driver.id("a"), driver.attempt("a"));
    for _ in 0..3 {
        driver.input(Input::Exited(id, attempt, Exit::Killed));
    }
    assert_eq!(driver.view("a").attempt.0, 2);
    assert_eq!(driver.machine.supervisor(0).window.len(), 1);
}

#[test]
fn a_nested_supervisor_that_is_restarted_by_command_stops_all_children_below_and_starts_them_again() {
    let tree = sup("t", [sup("s", [leaf("a"), leaf("b")]), leaf("c")]);
    let mut driver = TestDriver::started(&tree);
    driver.obeys("s/a", Obeys::Kill);
    let request = driver.command("s", Command::Restart);
    driver.advance(secs(5));
    assert_eq!(word(&driver.answer(request).expect("answered")), "ready");
    assert_eq!(
        driver.log(),
        ["ask s/b", "gone s/b", "ask s/a", "kill s/a", "gone s/a", "start s/a", "start s/b"]
    );
}

#[test]
fn a_supervisor_with_the_most_children_refuses_one_more_and_too_many_declared_children_are_an_error() {
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
fn a_root_has_the_defaults_of_a_supervisor_and_thirty_seconds_to_stop() {
    let root = ChildSpec::of_root();
    assert_eq!((root.start_within, root.stop_within), (Duration::MAX, secs(30)));
    assert_eq!(ChildSpec { stop_within: Duration::MAX, ..root }, ChildSpec::of_supervisor());
}

#[test]
fn an_added_supervisor_is_refused_below_the_deepest_level() {
    let mut driver = TestDriver::started(&sup("t", []));
    let mut path = String::new();
    let mut levels = 1;
    while driver.add(&path, &sup("s", [])).is_ok() {
        path = if path.is_empty() { "s".to_owned() } else { format!("{path}/s") };
        levels += 1;
        assert!(levels <= 64, "deeper than 64 levels");
    }
    assert_eq!(levels, 64);
}

#[test]
fn is_group_is_true_for_groups_only() {
    let driver = TestDriver::started(&sup("t", [leaf("a"), group("g"), sup("s", [])]));
    let kinds = ["a", "g", "s"].map(|path| driver.machine.is_group(driver.id(path)));
    assert_eq!(kinds, [None, Some(true), Some(false)]);
}

#[test]
fn a_restart_command_on_a_member_that_runs_once_is_refused_and_the_member_goes_on() {
    let once = group("g").members(|group| {
        group.template.once = true;
        group.template.restart = Restart::Temporary;
    });
    let mut driver = TestDriver::started(&sup("t", [once]));
    driver.add_member("g", Some("m")).expect("room");
    assert_eq!(word(&driver.ask("g/m", Command::Restart)), "only once");
    assert_eq!(driver.state("g/m"), "running");
    driver.obeys("g/m", Obeys::Test);
    driver.command("g/m", Command::Stop);
    for command in [Command::Start, Command::Restart] {
        assert_eq!(word(&driver.ask("g/m", command)), "only once");
    }
    driver.exit("g/m", Exit::Stopped);
    assert_eq!(driver.state("g/m"), "gone");
    let restarts = group("g").members(|group| group.template.once = true);
    let errors = Machine::new(&sup("t", [restarts])).expect_err("permanent and once").to_string();
    assert!(errors.contains("/t/g: restart: a body that can be made only once"), "{errors}");
}

#[test]
fn a_caller_that_stopped_waiting_no_longer_counts_as_one_and_gets_no_answer() {
    let mut driver = TestDriver::started(&sup("t", [leaf("a")]));
    driver.obeys("a", Obeys::Test);
    let id = driver.id("a");
    let requests: Vec<_> = (0..MAX_WAITERS).map(|_| driver.command("a", Command::Stop)).collect();
    assert_eq!(word(&driver.ask("a", Command::Stop)), "busy");
    driver.machine.withdraw(requests[7], id);
    let next = driver.command("a", Command::Stop);
    assert!(driver.answer(next).is_none(), "there is room for one more");
    assert_eq!(driver.state("a"), "stopping", "what it asked for goes on");
    driver.exit("a", Exit::Stopped);
    assert_eq!(driver.answers.len(), MAX_WAITERS + 1, "the one refused, and all but the one that went away");
    assert!(driver.answer(requests[7]).is_none());
    // Late, for a child that is gone.
    driver.command("a", Command::Remove);
    driver.machine.withdraw(requests[7], id);
}
