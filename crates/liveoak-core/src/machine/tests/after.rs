//! `after` edges.

use super::shape::{SECOND, group, leaf, secs, sup};
use super::test_driver::{Obeys, TestDriver, word};
use crate::{
    ChildState, Command, Condition, GiveUp, Health, Limit, Refusal, Restart, StopStage, Strategy, WaitingFor,
};
use std::time::Duration;

#[test]
fn the_command_that_adds_a_dependent_of_a_failed_sibling_is_answered_immediately_and_the_child_waits() {
    let mut driver = TestDriver::started(&sup("t", [leaf("a").temporary(), leaf("z")]));
    driver.fail("a");
    let request = driver.add("", &leaf("b").after("a", Condition::Ready)).expect("a good spec");
    let told = driver.answer(request).expect("at once").expect_err("a has ended").to_string();
    assert_eq!(told, "it still waits for /t/a, and starts when it may");
    assert_eq!(driver.state("b"), "waiting");
    let request = driver.add("", &leaf("c")).expect("a good spec");
    assert_eq!(word(&driver.answer(request).expect("at once")), "ready");
    driver.command("a", Command::Start);
    assert_eq!(driver.states(["a", "b"]), ["running", "running"]);
    // The answer has been given: a later failure of the child is treated by its own rules.
    driver.fail("b");
    assert_eq!(driver.state("b"), "running");
}

#[test]
fn a_child_that_waits_for_a_healthy_supervisor_starts_when_the_last_unhealthy_child_deep_below_it_is_healthy()
{
    let nested = sup("s", [sup("i", [leaf("a").reports(), leaf("b")])]);
    let mut driver = TestDriver::new(&sup("t", [nested, leaf("c").after("s", Condition::Healthy)]).edges());
    driver.policy("s/i/a").ready = false;
    driver.start();
    driver.ready("s/i/a");
    assert_eq!(driver.state("c"), "running");
    driver.command("c", Command::Stop);
    driver.fail("s/i/a");
    assert_eq!(driver.state("s/i/a"), "starting");
    driver.command("c", Command::Start);
    assert_eq!(driver.state("c"), "waiting");
    driver.ready("s/i/a");
    assert_eq!(driver.state("c"), "running");
    driver.command("c", Command::Stop);
    driver.health("s/i/b", Health::Unhealthy);
    driver.command("c", Command::Start);
    assert_eq!(driver.state("c"), "waiting");
    assert_eq!(word(&driver.ask("s/i/b", Command::Remove)), "removed");
    assert_eq!(driver.state("c"), "running");
}

#[test]
fn a_job_that_a_restart_set_interrupted_has_not_completed() {
    let tree = sup("t", [leaf("a"), leaf("b").temporary(), leaf("c").after("b", Condition::Completed)]);
    let mut driver = TestDriver::started(&tree.strategy(Strategy::OneForAll));
    driver.complete("b");
    assert_eq!(driver.states(["a", "b", "c"]), ["running", "finished", "running"]);
    driver.command("b", Command::Start);
    driver.fail("a");
    assert_eq!(driver.states(["a", "b", "c"]), ["running", "finished", "waiting"]);
    driver.command("b", Command::Start);
    driver.complete("b");
    assert_eq!(driver.state("c"), "running");
}

#[test]
fn a_restart_command_for_a_child_with_an_unreachable_dependency_is_answered_and_the_child_waits() {
    let tree = sup("t", [leaf("a").temporary(), leaf("b").after("a", Condition::Ready)]);
    let mut driver = TestDriver::started(&tree);
    driver.fail("a");
    assert_eq!(word(&driver.ask("b", Command::Restart)), "waits");
    assert_eq!(driver.state("b"), "waiting");
    driver.command("a", Command::Start);
    assert_eq!((driver.state("b"), driver.view("b").restarts), ("running", 0));
}

fn waits(driver: &mut TestDriver, path: &str) -> u64 {
    let ChildState::Waiting { remaining, .. } = driver.view(path).state else {
        panic!("{path} does not wait")
    };
    remaining.map_or(u64::MAX, |remaining| remaining.as_secs())
}

#[test]
fn a_dependency_that_never_becomes_healthy_fails_the_first_start_after_the_start_deadline() {
    let web = leaf("web").after("db", Condition::Healthy).start_within(secs(10));
    let tree = sup("t", [leaf("once").reports(), leaf("db").reports(), web.after("once", Condition::Ready)]);
    let mut driver = TestDriver::new(&tree.edges());
    driver.policy("db").ready = false;
    driver.policy("once").ready = false;
    driver.start();
    driver.ready("db");
    driver.health("db", Health::Degraded);
    driver.advance(secs(6));
    driver.ready("once");
    assert_eq!(waits(&mut driver, "web"), 10);
    assert_eq!(word(&driver.ask("db", Command::Start)), "not down");
    driver.advance(secs(9));
    assert!(driver.down.is_none());
    driver.advance(secs(1));
    assert_eq!(driver.down_kind(), "start-failed");
    assert!(driver.alive().is_empty());
}

#[test]
fn in_a_first_start_the_time_of_a_wait_for_health_includes_all_attempts_of_the_dependency() {
    let web = leaf("web").after("db", Condition::Healthy).start_within(secs(10));
    let mut driver = TestDriver::new(&sup("t", [leaf("db").reports(), web]).edges());
    driver.policy("db").ready = false;
    driver.start();
    driver.health("db", Health::Degraded);
    driver.ready("db");
    driver.advance(secs(9));
    assert_eq!(waits(&mut driver, "web"), 1);
    driver.fail("db");
    assert_eq!(waits(&mut driver, "web"), 30, "the start of db has a deadline of its own");
    driver.health("db", Health::Degraded);
    driver.ready("db");
    assert_eq!(waits(&mut driver, "web"), 1);
    driver.health("db", Health::Healthy);
    assert_eq!(driver.state("web"), "running");
    assert_eq!(driver.machine.poll_deadline(), None);
}

#[test]
fn a_wait_for_a_sibling_never_fails_a_child_and_a_command_is_answered_after_the_start_deadline() {
    for restart in [Restart::Permanent, Restart::Transient, Restart::Temporary] {
        let web =
            leaf("web").after("db", Condition::Healthy).start_within(secs(10)).limit(Limit::new(0, secs(60)));
        let web = web.with(|spec| spec.restart = restart);
        let mut driver = TestDriver::started(&sup("t", [leaf("db"), web]));
        driver.health("db", Health::Degraded);
        let request = driver.command("web", Command::Restart);
        assert_eq!(waits(&mut driver, "web"), u64::MAX, "the wait itself has no end");
        driver.advance(secs(4));
        let second = driver.command("web", Command::Restart);
        driver.advance(secs(6));
        for request in [request, second] {
            let told = driver.answer(request).expect("in time").expect_err("it waits");
            assert!(matches!(told, Refusal::WaitsFor { path } if path.as_str() == "/t/db"), "{restart:?}");
        }
        driver.advance(secs(100_000));
        let view = driver.view("web");
        assert_eq!((view.state.as_str(), view.restarts, view.attempt.0), ("waiting", 0, 1), "{restart:?}");
        driver.health("db", Health::Healthy);
        assert_eq!(driver.state("web"), "running", "{restart:?}");
    }
}

#[test]
fn a_restart_that_waits_for_a_sibling_has_no_deadline_and_does_not_count_as_a_failure() {
    let web =
        leaf("web").after("db", Condition::Healthy).start_within(secs(10)).limit(Limit::new(1, secs(60)));
    let mut driver = TestDriver::started(&sup("t", [leaf("db"), web]));
    driver.health("db", Health::Degraded);
    driver.fail("web");
    let ChildState::Waiting { what, remaining } = driver.view("web").state else {
        panic!("web does not wait")
    };
    assert_eq!((what, remaining), (WaitingFor::Edge(super::shape::name("db"), Condition::Healthy), None));
    assert_eq!(driver.machine.poll_deadline(), None, "nothing wakes the driver");
    driver.advance(secs(1_000_000));
    assert_eq!((driver.state("web"), driver.count("gave-up")), ("waiting", 0));
    driver.health("db", Health::Healthy);
    assert_eq!((driver.state("web"), driver.view("web").restarts), ("running", 1));
}

#[test]
fn the_wait_of_a_first_start_is_paused_while_the_sibling_waits_starts_or_stops() {
    let web = leaf("web").after("db", Condition::Healthy).start_within(secs(10));
    let once = leaf("once").temporary().reports().start_within(secs(30));
    let tree = sup("t", [once, leaf("db"), web.after("once", Condition::Completed)]);
    let mut driver = TestDriver::new(&tree.edges());
    driver.policy("once").ready = false;
    driver.start();
    driver.health("db", Health::Degraded);
    assert_eq!(waits(&mut driver, "web"), u64::MAX, "the start of once has a deadline of its own");
    driver.advance(secs(20));
    driver.ready("once");
    assert_eq!(waits(&mut driver, "web"), 10);
    driver.advance(secs(6));
    driver.complete("once");
    assert_eq!(waits(&mut driver, "web"), 4, "all such waits together");
    driver.advance(secs(4));
    let (exit, _) = driver.down.clone().expect("the first start has failed");
    let why = "/t/web failed to start: failed: it comes after db (healthy), which is ready but was not healthy in time";
    assert_eq!(exit.to_string(), why);
}

#[test]
fn a_child_that_waits_for_its_turn_has_no_deadline() {
    let web = leaf("web").after("db", Condition::Healthy).start_within(secs(10));
    let tree = sup("t", [leaf("a").reports().start_within(secs(60)), leaf("db").reports(), web, leaf("z")]);
    let mut driver = TestDriver::new(&tree);
    driver.policy("a").ready = false;
    driver.policy("db").ready = false;
    driver.start();
    driver.command("a", Command::Stop);
    driver.health("db", Health::Degraded);
    driver.ready("db");
    assert_eq!((waits(&mut driver, "web"), waits(&mut driver, "z")), (10, 10));
    driver.command("a", Command::Start);
    assert_eq!((waits(&mut driver, "web"), waits(&mut driver, "z")), (60, 60));
    driver.advance(secs(11));
    assert!(driver.down.is_none());
}

#[test]
fn a_supervisor_waits_half_a_minute_for_the_health_of_a_sibling() {
    let web = sup("web", [leaf("a")]).after("db", Condition::Healthy);
    let mut driver = TestDriver::new(&sup("t", [leaf("db").reports(), web]));
    driver.policy("db").ready = false;
    driver.start();
    driver.health("db", Health::Degraded);
    driver.ready("db");
    assert_eq!(waits(&mut driver, "web"), 30);
    driver.advance(secs(30));
    assert_eq!(driver.down_kind(), "start-failed");
}

#[test]
fn a_wait_for_completion_fails_a_first_start_at_its_deadline_and_never_fails_a_restart() {
    let web = leaf("web").after("migration", Condition::Completed).start_within(secs(10));
    let tree = sup("t", [leaf("migration").temporary(), web]).edges();
    let mut driver = TestDriver::new(&tree);
    driver.start();
    assert_eq!(waits(&mut driver, "web"), 10);
    driver.advance(secs(10));
    let (exit, _) = driver.down.clone().expect("the first start has failed");
    let why =
        "/t/web failed to start: failed: it comes after migration (completed), which was not done in time";
    assert_eq!(exit.to_string(), why);
    let mut driver = TestDriver::new(&tree);
    driver.start();
    driver.complete("migration");
    driver.command("migration", Command::Start);
    driver.fail("web");
    assert_eq!(waits(&mut driver, "web"), u64::MAX);
    driver.advance(secs(100_000));
    driver.complete("migration");
    assert_eq!(driver.state("web"), "running");
}

#[test]
fn a_child_that_was_ready_once_does_not_fail_the_first_start_when_its_dependency_becomes_unreachable() {
    let web = leaf("web").after("db", Condition::Ready);
    let tree = sup("t", [leaf("db").temporary(), web, leaf("slow").reports().start_within(secs(60))]);
    let mut driver = TestDriver::new(&tree.edges());
    driver.policy("slow").ready = false;
    driver.start();
    driver.fail("db");
    driver.fail("web");
    assert_eq!(driver.state("web"), "waiting");
    driver.advance(secs(50));
    assert!(driver.down.is_none());
    driver.ready("slow");
    assert_eq!((driver.state(""), driver.count("start-failed")), ("running", 0));
}

#[test]
fn a_first_start_fails_immediately_on_an_unreachable_dependency_and_names_the_sibling_condition_and_exit() {
    let web = leaf("web").after("a", Condition::Ready).after("db", Condition::Completed);
    let mut driver = TestDriver::new(&sup("t", [leaf("a"), leaf("db").temporary(), web]));
    driver.start();
    driver.fail("db");
    let (exit, report) = driver.down.clone().expect("the first start has failed");
    let why = "/t/web failed to start: failed: it comes after db (completed), which has ended for good: failed: boom";
    assert_eq!(exit.to_string(), why);
    let told: Vec<_> = report.entries.iter().map(|entry| (entry.path.name(), entry.stage)).collect();
    assert_eq!(told, [("web", StopStage::Cancelled), ("a", StopStage::Asked)], "web had no attempt");
}

#[test]
fn a_child_without_a_start_deadline_waits_without_limit() {
    let web = leaf("web").after("db", Condition::Healthy).start_within(Duration::MAX);
    let mut driver = TestDriver::new(&sup("t", [leaf("db").reports(), web]));
    driver.policy("db").ready = false;
    driver.start();
    driver.health("db", Health::Degraded);
    driver.ready("db");
    assert_eq!((waits(&mut driver, "web"), driver.machine.poll_deadline()), (u64::MAX, None));
}

#[test]
fn a_wait_for_health_is_not_prolonged_by_other_children() {
    let web = leaf("web").after("db", Condition::Healthy).start_within(secs(10));
    let mut driver = TestDriver::new(&sup("t", [leaf("db").reports(), leaf("other"), web]).edges());
    driver.policy("db").ready = false;
    driver.start();
    driver.health("db", Health::Degraded);
    driver.ready("db");
    driver.advance(secs(4));
    driver.health("other", Health::Degraded);
    driver.fail("other");
    assert_eq!(waits(&mut driver, "web"), 6);
}

#[test]
fn a_dependent_of_a_job_that_a_restart_set_stopped_waits_visibly_and_does_not_delay_others() {
    for strategy in [Strategy::OneForAll, Strategy::RestForOne] {
        let job = leaf("job").temporary();
        let tree = [leaf("a"), job, leaf("app").after("job", Condition::Started), leaf("web")];
        let mut driver = TestDriver::started(&sup("t", [sup("s", tree).strategy(strategy), leaf("z")]));
        driver.fail("s/a");
        assert_eq!(driver.states(["s/job", "s/app", "s/web"]), ["finished", "waiting", "running"]);
        driver.advance(secs(100_000));
        assert_eq!((driver.state("s/app"), driver.count("gave-up")), ("waiting", 0));
        driver.command("s/job", Command::Start);
        assert_eq!(driver.states(["s/a", "s/job", "s/app", "s/web"]), ["running"; 4]);
    }
}

#[test]
fn a_dependent_of_a_stopped_sibling_waits_for_the_start_of_the_sibling_and_does_not_delay_others() {
    for strategy in [Strategy::OneForAll, Strategy::RestForOne] {
        let app = leaf("app").after("db", Condition::Ready);
        let last = leaf("last").after("app", Condition::Healthy);
        let tree = sup("t", [leaf("a"), leaf("db"), app, leaf("web"), last]).strategy(strategy);
        let mut driver = TestDriver::started(&tree);
        driver.command("db", Command::Stop);
        driver.fail("a");
        assert_eq!(driver.states(["db", "app", "web", "last"]), ["stopped", "waiting", "running", "waiting"]);
        assert_eq!((waits(&mut driver, "app"), waits(&mut driver, "last")), (u64::MAX, u64::MAX));
        driver.advance(secs(100_000));
        driver.command("db", Command::Start);
        assert_eq!(driver.states(["db", "app", "web", "last"]), ["running"; 4]);
    }
}

#[test]
fn a_restarted_supervisor_does_not_start_children_that_were_stopped_by_command_nor_their_dependents() {
    let nested = sup("s", [leaf("db"), leaf("app").after("db", Condition::Ready), leaf("web")]);
    let mut driver = TestDriver::started(&sup("t", [nested, leaf("late").after("s", Condition::Ready)]));
    driver.command("s/db", Command::Stop);
    driver.command("s", Command::Restart);
    let states = driver.states(["s", "s/db", "s/app", "s/web", "late"]);
    assert_eq!(states, ["running", "stopped", "waiting", "running", "running"]);
    driver.command("s/db", Command::Start);
    assert_eq!(driver.state("s/app"), "running");
}

#[test]
fn a_start_command_on_a_dependent_of_a_stopped_sibling_is_answered_immediately_and_the_child_waits() {
    let app = leaf("app").after("db", Condition::Ready);
    let mut driver =
        TestDriver::started(&sup("t", [leaf("db"), app, leaf("web").after("app", Condition::Ready)]));
    driver.command("db", Command::Stop);
    let told = driver.ask("app", Command::Restart).expect_err("db is stopped").to_string();
    assert_eq!(told, "it still waits for /t/db, and starts when it may");
    assert_eq!(driver.state("app"), "waiting");
    driver.command("web", Command::Stop);
    let told = driver.ask("web", Command::Start).expect_err("app waits for db").to_string();
    assert_eq!(told, "it still waits for /t/app, and starts when it may");
    let request = driver.add("", &leaf("new").after("db", Condition::Started)).expect("a good spec");
    assert_eq!(word(&driver.answer(request).expect("at once")), "waits");
    assert_eq!(driver.states(["web", "new"]), ["waiting", "waiting"]);
    driver.command("db", Command::Start);
    assert_eq!(driver.states(["app", "web", "new"]), ["running"; 3]);
}

#[test]
fn restarts_caused_by_siblings_do_not_renew_the_time_of_a_first_start() {
    let web = leaf("web").after("db", Condition::Healthy).start_within(secs(10));
    let other = leaf("other").delayed(SECOND).limit(Limit::unlimited());
    let tree = sup("t", [leaf("db").reports(), other, web]).edges().strategy(Strategy::RestForOne);
    let mut driver = TestDriver::new(&tree);
    driver.policy("db").ready = false;
    driver.start();
    driver.health("db", Health::Degraded);
    driver.ready("db");
    for _ in 0..3 {
        driver.advance(secs(3));
        driver.fail("other");
        assert!(driver.down.is_none());
    }
    // While the restart set backs off, the waiting child's turn has not come, and its time does not count.
    driver.advance(secs(5));
    assert_eq!(driver.down_kind(), "start-failed");
}

#[test]
fn a_start_command_is_answered_in_time_while_the_dependency_keeps_failing_and_the_child_starts_once_it_recovers()
 {
    let db = leaf("db").reports().delayed(secs(4)).limit(Limit::unlimited());
    let app = leaf("app").after("db", Condition::Ready).start_within(secs(10));
    let mut driver = TestDriver::new(&sup("t", [db, app]));
    driver.start();
    driver.command("app", Command::Stop);
    driver.policy("db").ready = false;
    driver.fail("db");
    let request = driver.command("app", Command::Start);
    for seconds in [4, 4, 1] {
        driver.advance(secs(seconds));
        assert!(driver.answer(request).is_none());
        if driver.is_alive("db") {
            driver.fail("db");
        }
    }
    driver.advance(secs(1));
    assert_eq!(word(&driver.answer(request).expect("in time")), "waits");
    driver.policy("db").ready = true;
    driver.advance(secs(4));
    assert_eq!(driver.states(["db", "app"]), ["running", "running"]);
}

#[test]
fn a_start_command_is_not_refused_if_the_dependency_is_healthy_at_a_late_deadline() {
    let members = group("g").members(|group| group.template = leaf("x").delayed(secs(9)).spec);
    let web = leaf("web").after("g", Condition::Healthy).start_within(secs(10));
    let mut driver = TestDriver::started(&sup("t", [members, web]).edges());
    driver.add_member("g", Some("m")).expect("room");
    driver.command("web", Command::Stop);
    driver.fail("g/m");
    let request = driver.command("web", Command::Start);
    assert_eq!(driver.state("web"), "waiting");
    let until = driver.now.after(secs(12));
    driver.jump(until);
    assert_eq!((driver.state("web"), word(&driver.answer(request).expect("at once"))), ("running", "ready"));
}

#[test]
fn a_failed_start_command_does_not_prevent_the_readiness_of_the_supervisor() {
    let mut driver = TestDriver::new(&sup("t", [leaf("a").reports(), leaf("b").reports()]).edges());
    driver.policy("a").ready = false;
    driver.policy("b").ready = false;
    driver.start();
    driver.command("a", Command::Stop);
    let request = driver.command("a", Command::Start);
    driver.ready("b");
    assert_eq!(driver.state(""), "starting");
    driver.fail("a");
    assert_eq!((driver.state(""), word(&driver.answer(request).expect("at once"))), ("running", "failed"));
}

#[test]
fn a_child_that_waits_for_a_dependency_waits_for_its_turn_once_it_is_in_a_restart_set() {
    let web = leaf("web").after("db", Condition::Healthy);
    let tree = sup("t", [leaf("db"), leaf("a").reports(), web, leaf("z")]).strategy(Strategy::RestForOne);
    let mut driver = TestDriver::started(&tree);
    driver.health("db", Health::Degraded);
    driver.command("web", Command::Restart);
    driver.policy("a").ready = false;
    driver.fail("a");
    assert_eq!(driver.states(["a", "web", "z"]), ["starting", "waiting", "waiting"]);
    driver.health("db", Health::Healthy);
    assert_eq!(driver.states(["a", "web", "z"]), ["starting", "waiting", "waiting"], "its turn has not come");
    driver.ready("a");
    assert_eq!(driver.states(["a", "web", "z"]), ["running"; 3]);
}

#[test]
fn a_wait_for_the_health_of_a_supervisor_ends_when_its_only_unhealthy_child_is_removed() {
    let nested = sup("s", [sup("i", [leaf("a"), leaf("bad")])]);
    let mut driver = TestDriver::started(&sup("t", [nested, leaf("web").after("s", Condition::Healthy)]));
    driver.command("s/i/bad", Command::Stop);
    driver.command("web", Command::Restart);
    assert_eq!(driver.state("web"), "waiting");
    driver.command("s/i/bad", Command::Remove);
    assert_eq!(driver.state("web"), "running");
}

#[test]
fn a_child_that_a_restart_set_stops_during_the_first_start_does_not_fail_it() {
    let web = leaf("web").after("db", Condition::Ready);
    let slow = leaf("slow").reports().start_within(secs(60));
    let tree = sup("t", [leaf("db").temporary(), web, leaf("other"), slow]).edges();
    let mut driver = TestDriver::new(&tree.strategy(Strategy::OneForAll));
    driver.policy("slow").ready = false;
    driver.start();
    driver.fail("db");
    driver.fail("other");
    assert_eq!(driver.state("web"), "waiting");
    assert!(driver.down.is_none());
}

#[test]
fn a_job_that_returns_success_after_a_stop_request_has_not_completed() {
    let tree = sup("t", [leaf("a"), leaf("b").temporary(), leaf("c").after("b", Condition::Completed)]);
    for (asked, state) in [(true, "waiting"), (false, "running")] {
        let mut driver = TestDriver::new(&tree.clone().strategy(Strategy::OneForAll));
        driver.obeys("b", Obeys::Test);
        driver.start();
        if asked {
            driver.complete("b");
            driver.command("b", Command::Start);
            driver.obeys("a", Obeys::Ask);
            driver.fail("a");
        } else {
            // It ends by itself while a sibling is still being stopped.
            driver.complete("b");
            driver.command("b", Command::Start);
            driver.obeys("c", Obeys::Test);
            driver.fail("a");
        }
        driver.complete("b");
        if !asked {
            driver.exit("c", crate::Exit::Stopped);
        }
        assert_eq!(driver.state("c"), state, "{asked}");
    }
}

#[test]
fn a_dependent_of_a_quarantined_sibling_waits_and_does_not_delay_others() {
    let quarantine = Limit::new(0, secs(60)).on_exceeded(GiveUp::QUARANTINE);
    let children =
        [leaf("a"), leaf("db").limit(quarantine), leaf("app").after("db", Condition::Ready), leaf("web")];
    let mut driver = TestDriver::started(&sup("t", children).strategy(Strategy::OneForAll));
    driver.fail("db");
    driver.fail("a");
    assert_eq!(driver.states(["db", "app", "web"]), ["quarantined", "waiting", "running"]);
    driver.advance(secs(10_000));
    assert_eq!(driver.states(["db", "app", "web"]), ["quarantined", "waiting", "running"]);
    driver.command("db", Command::Start);
    assert_eq!(driver.states(["db", "app", "web"]), ["running"; 3]);
}

#[test]
fn a_child_that_waits_for_a_supervisor_starts_when_a_child_deep_below_it_recovers() {
    let nested = sup("s", [sup("i", [sup("j", [leaf("a")])])]);
    let mut driver = TestDriver::started(&sup("t", [nested, leaf("web").after("s", Condition::Healthy)]));
    driver.health("s/i/j/a", Health::Degraded);
    driver.fail("web");
    assert_eq!(driver.state("web"), "waiting");
    driver.health("s/i/j/a", Health::Healthy);
    assert_eq!(driver.state("web"), "running");
}
