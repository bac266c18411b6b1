//! `after` edges together with restart sets, held children, additions and ends: where one rule meets another.

use super::rig::{Obeys, Rig, word};
use super::shape::{SECOND, leaf, secs, sup};
use crate::{
    AutoShutdown, ChildState, Command, Condition, Exit, GiveUp, Health, Input, Limit, Refusal, StopStage,
    Strategy, WaitingFor,
};
use std::time::Duration;

/// A limit that quarantines a child at its first failure.
fn quarantined() -> Limit {
    Limit::new(0, SECOND).on_exceeded(GiveUp::Quarantine)
}

#[test]
fn a_child_that_completed_by_itself_before_its_restart_set_stopped_it_has_completed() {
    let tree = sup("t", [leaf("a"), leaf("job").temporary(), leaf("app").after("job", Condition::Completed)]);
    let mut rig = Rig::started(&tree.strategy(Strategy::OneForAll));
    rig.obeys("job", Obeys::Test);
    let (id, attempt) = (rig.id("job"), rig.attempt("job"));
    // Its body has ended; other parts of the attempt still run.
    rig.input(Input::Ending(id, attempt, Exit::Completed));
    rig.fail("a");
    rig.exit("job", Exit::Stopped);
    assert_eq!(rig.states(["a", "job", "app"]), ["running", "finished", "running"]);
}

#[test]
fn a_name_that_siblings_come_after_is_refused_for_a_child_that_would_start_after_them() {
    for after in [None, Some("app")] {
        let mut rig = Rig::started(&sup("t", [leaf("a")]).strategy(Strategy::OneForAll));
        rig.add("", &leaf("job").temporary()).expect("a good spec");
        rig.add("", &leaf("app").after("job", Condition::Started)).expect("a good spec");
        rig.complete("job");
        assert_eq!(rig.states(["job", "app"]), ["gone", "running"]);
        let again = after.map_or_else(|| leaf("job"), |other| leaf("job").after(other, Condition::Started));
        let refused = rig.add("", &again).expect_err("app comes after job");
        assert!(matches!(&refused, Refusal::NeededBy(names) if names[0].as_str() == "app"), "{refused}");
    }
}

#[test]
fn a_supervisor_that_ends_when_all_is_done_ends_also_when_a_child_is_held_by_a_quarantined_sibling() {
    let children = [leaf("db").limit(quarantined()), leaf("web").transient().after("db", Condition::Ready)];
    let mut rig = Rig::started(&sup("t", children).rules(|rules| rules.end_when_done = true));
    rig.fail("db");
    rig.fail("web");
    assert_eq!(rig.down_kind(), "gave-up");
    // A child that is held by a stopped sibling may run again.
    let children = [leaf("db"), leaf("web").transient().after("db", Condition::Ready)];
    let mut rig = Rig::started(&sup("t", children).rules(|rules| rules.end_when_done = true));
    rig.command("db", Command::Stop);
    rig.fail("web");
    assert_eq!((rig.state("web"), rig.down.is_none()), ("waiting", true));
}

#[test]
fn auto_shutdown_does_not_wait_for_a_significant_child_that_is_held_by_a_quarantined_sibling() {
    let web = leaf("web").transient().significant().after("db", Condition::Ready);
    let tree = sup("t", [leaf("db").limit(quarantined()), web, leaf("last").transient().significant()]);
    let mut rig = Rig::started(&tree.rules(|rules| rules.auto_shutdown = AutoShutdown::AllSignificant));
    rig.fail("db");
    rig.fail("web");
    rig.complete("last");
    assert_eq!(rig.down_kind(), "auto-shutdown");
}

#[test]
fn the_dependency_timeout_counts_only_while_a_dependency_is_failing_not_while_it_is_held_or_starts() {
    let web = leaf("web").after("db", Condition::Healthy).start_within(secs(10));
    let slow = leaf("slow").reports().start_within(Duration::MAX);
    let mut rig = Rig::new(&sup("t", [leaf("db").reports().start_within(secs(100)), web, slow]).edges());
    rig.policy("db").ready = false;
    rig.policy("slow").ready = false;
    rig.start();
    rig.health("db", Health::Degraded);
    rig.ready("db");
    rig.advance(secs(3));
    rig.command("db", Command::Stop);
    rig.advance(secs(3_600));
    rig.command("db", Command::Start);
    rig.advance(secs(60));
    rig.health("db", Health::Degraded);
    rig.ready("db");
    let ChildState::Waiting { remaining, .. } = rig.view("web").state else { panic!("web does not wait") };
    assert_eq!(remaining, Some(secs(7)));
    rig.advance(secs(7));
    assert_eq!(rig.down_kind(), "start-failed");
}

#[test]
fn timers_that_are_due_before_a_dependency_timeout_come_first_also_when_another_input_comes_before_the_tick()
{
    let db = leaf("db").reports().delayed(secs(9)).limit(Limit::unlimited());
    let web = leaf("web").after("db", Condition::Ready).start_within(secs(10));
    let mut rig = Rig::started(&sup("t", [db, web, leaf("z")]));
    rig.fail("db");
    rig.fail("web");
    rig.now = rig.now.after(secs(12));
    rig.command("z", Command::Restart);
    assert_eq!(rig.state("web"), "waiting");
    rig.input(Input::Tick);
    assert_eq!(rig.states(["db", "web"]), ["running", "running"]);
}

#[test]
fn a_child_that_was_held_and_fails_alone_does_not_delay_others() {
    let app = leaf("app").reports().after("db", Condition::Ready).delayed(secs(60)).limit(Limit::unlimited());
    let mut rig = Rig::new(&sup("t", [leaf("db").reports(), app]).edges());
    rig.policy("db").ready = false;
    rig.policy("app").ready = false;
    rig.start();
    rig.command("db", Command::Stop);
    assert_eq!(rig.state(""), "running");
    rig.command("db", Command::Start);
    rig.ready("db");
    rig.fail("app");
    assert_eq!(rig.state("app"), "backing-off");
    let request = rig.add("", &leaf("new")).expect("a good spec");
    assert_eq!(word(&rig.answer(request).expect("at once")), "ready");
}

#[test]
fn an_attempt_that_was_abandoned_is_reported_although_its_child_stopped_cleanly_later() {
    let nested = sup("s", [leaf("a"), leaf("x").stop_within(SECOND)]).strategy(Strategy::OneForAll);
    let last = leaf("last").stop_within(secs(50));
    let mut rig = Rig::started(&sup("t", [nested.stop_within(secs(100)), last]).stop_within(secs(200)));
    rig.obeys("last", Obeys::Kill);
    rig.obeys("s/x", Obeys::Nothing);
    rig.stop();
    rig.fail("s/a");
    rig.advance(secs(10));
    assert!(rig.is_alive("s/x"), "its second attempt");
    rig.obeys("s/x", Obeys::Ask);
    rig.advance(secs(100));
    let report = rig.report();
    let stages: Vec<_> = report.entries.iter().filter(|entry| entry.path.name() == "x").collect();
    assert_eq!((stages.len(), stages[0].stage, report.is_clean()), (1, StopStage::Abandoned, false));
}

#[test]
fn of_several_unmet_dependencies_the_one_that_decides_is_named() {
    let app = leaf("app").after("job", Condition::Completed).after("db", Condition::Ready);
    let mut rig = Rig::started(&sup("t", [leaf("job").temporary(), leaf("db"), app.temporary()]).edges());
    rig.command("db", Command::Stop);
    rig.complete("job");
    rig.command("job", Command::Start);
    let late = leaf("late").after("job", Condition::Completed).after("db", Condition::Ready);
    let refused = rig.add("", &late).and_then(|request| rig.answer(request).expect("at once"));
    let refused = refused.expect_err("db is stopped").to_string();
    assert!(refused.contains("it comes after db (ready), which is stopped"), "{refused}");
    let web = leaf("web").after("job", Condition::Completed).after("db", Condition::Ready);
    let mut rig = Rig::new(&sup("t", [leaf("job").temporary(), leaf("db"), web]).edges());
    rig.start();
    rig.command("db", Command::Stop);
    let ChildState::Waiting { what, .. } = rig.view("web").state else { panic!("web does not wait") };
    assert_eq!(what, WaitingFor::Edge(super::shape::name("db"), Condition::Ready));
}

#[test]
fn a_supervisor_with_a_one_shot_child_that_others_stopped_has_not_ended_well_when_all_is_done() {
    let tree = sup("t", [leaf("web").transient(), leaf("job").temporary()]).strategy(Strategy::OneForAll);
    let mut rig = Rig::started(&tree.rules(|rules| rules.end_when_done = true));
    rig.fail("web");
    rig.complete("web");
    let (exit, _) = rig.down.clone().expect("all is done");
    assert_eq!(exit.to_string(), "failed: /t/job ended for good: stopped as asked");
}

#[test]
fn the_dependency_timeout_does_not_include_a_backoff_that_a_restart_command_ended() {
    let web = leaf("web").after("db", Condition::Healthy).start_within(secs(10)).delayed(secs(500));
    let mut rig = Rig::started(&sup("t", [leaf("db"), web]));
    rig.health("db", Health::Degraded);
    rig.fail("web");
    assert_eq!(rig.state("web"), "backing-off");
    rig.command("web", Command::Restart);
    let ChildState::Waiting { remaining, .. } = rig.view("web").state else { panic!("web does not wait") };
    assert_eq!(remaining, Some(secs(10)));
}
