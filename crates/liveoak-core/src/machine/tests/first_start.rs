//! First starts that are retried, and what a child that was given up on leaves behind.

use super::shape::{SECOND, leaf, millis, secs, sup};
use super::test_driver::TestDriver;
use crate::{
    AutoShutdown, ChildDeclaration, ChildState, Command, Condition, Exit, GiveUp, IdleReason, Limit,
    Strategy, WaitingFor,
};
use std::time::Duration;

fn gone() -> Exit {
    Exit::failed_not_retryable("no such program")
}

/// Returns a leaf that reports its readiness, and is quarantined after `failures` failures.
fn db(failures: u32) -> ChildDeclaration {
    let limit = Limit::new(failures - 1, secs(60)).on_exceeded(GiveUp::QUARANTINE);
    leaf("db").reports().delayed(SECOND).limit(limit)
}

/// Starts a tree that retries first starts. Its child `db` is not ready by itself.
fn started(tree: ChildDeclaration) -> TestDriver {
    let mut driver = TestDriver::new(&tree.retries());
    driver.policy("db").ready = false;
    driver.start();
    driver.log();
    driver
}

#[test]
fn a_first_start_that_fails_is_retried_by_the_child_s_own_rule_and_limit() {
    let mut driver = started(sup("t", [leaf("a"), db(3), leaf("web")]));
    for _ in 0..2 {
        driver.fail("db");
        assert_eq!(driver.states(["a", "db", "web", ""]), ["running", "backing-off", "waiting", "starting"]);
        driver.advance(SECOND);
        assert_eq!(driver.state("db"), "starting");
    }
    assert_eq!(driver.count("start-failed"), 0);
    driver.ready("db");
    assert_eq!(driver.states(["a", "db", "web", ""]), ["running"; 4]);
    assert_eq!(driver.view("db").restarts, 2);
    // A start deadline that is missed is such a failure too.
    let mut driver = started(sup("t", [db(3).start_within(secs(5))]));
    driver.advance(secs(5));
    assert_eq!((driver.state("db"), driver.count("start-failed")), ("backing-off", 0));
}

#[test]
fn the_restart_rule_of_a_child_also_decides_in_a_first_start_that_is_retried() {
    for (db, exit, state) in [
        (db(3), Exit::Completed, "backing-off"),
        (db(3), Exit::failed("boom"), "backing-off"),
        (db(3).transient(), Exit::Completed, "finished"),
        (db(3).transient(), Exit::Code(1), "backing-off"),
        (db(3).temporary(), Exit::Completed, "finished"),
        (db(3).temporary(), Exit::Code(1), "finished"),
    ] {
        let mut driver = started(sup("t", [db, leaf("web")]));
        driver.exit("db", exit);
        assert_eq!((driver.state("db"), driver.count("start-failed")), (state, 0));
    }
}

#[test]
fn a_child_that_is_given_up_on_in_a_first_start_leaves_its_siblings_alone() {
    let mut driver = started(sup("t", [leaf("a"), db(2), leaf("web")]));
    driver.fail("db");
    driver.advance(SECOND);
    driver.fail("db");
    assert_eq!(driver.states(["a", "db", "web", ""]), ["running", "quarantined", "running", "running"]);
    assert_eq!(driver.view("a").attempt.0, 1);
}

#[test]
fn a_snapshot_shows_that_a_child_waits_for_a_failing_or_quarantined_sibling() {
    let web = leaf("web").after("db", Condition::Ready).start_within(secs(1));
    let mut driver = started(sup("t", [db(2).start_within(Duration::MAX), web]).edges());
    driver.fail("db");
    let waits = ChildState::Waiting {
        what: WaitingFor::Edge(super::shape::name("db"), Condition::Ready),
        remaining: None,
    };
    assert_eq!(driver.view("web").state, waits);
    // The wait has no end: the second that `web` may take to start is for its own attempts.
    driver.advance(SECOND);
    driver.advance(secs(3_600));
    driver.fail("db");
    assert_eq!(driver.states(["db", "web", ""]), ["quarantined", "waiting", "running"]);
    assert_eq!(driver.view("web").state, waits);
    driver.command("db", Command::Start);
    driver.ready("db");
    assert_eq!(driver.states(["db", "web"]), ["running"; 2]);
}

#[test]
fn in_a_retried_first_start_a_child_also_waits_for_a_sibling_that_ended_without_success() {
    let job = leaf("job").temporary();
    let app = leaf("app").after("job", Condition::Completed);
    let mut driver = TestDriver::started(&sup("t", [job, app, leaf("web")]).retries());
    driver.fail("job");
    assert_eq!(driver.states(["job", "app", "web", ""]), ["finished", "waiting", "running", "running"]);
}

#[test]
fn a_failure_that_every_later_attempt_would_repeat_fails_a_first_start_that_is_retried() {
    let below = sup("s", [leaf("b"), leaf("db").reports()]).retries();
    let tree = sup("t", [leaf("a"), below, leaf("web")]).retries();
    let mut driver = TestDriver::new(&tree);
    driver.policy("s/db").ready = false;
    driver.start();
    driver.log();
    driver.exit("s/db", gone());
    assert_eq!(driver.log(), ["gone s/db", "ask s/b", "gone s/b", "ask a", "gone a", "down"]);
    let (exit, _) = driver.down.clone().expect("down");
    assert_eq!(exit.to_string(), "/t/s/db failed to start: failed: no such program");
    assert!(!exit.is_retryable());
}

#[test]
fn a_failure_that_every_later_attempt_would_repeat_is_an_ordinary_failure_once_the_child_was_ready() {
    let mut driver = started(sup("t", [db(5), leaf("web")]));
    driver.ready("db");
    driver.exit("db", Exit::Code(1));
    driver.advance(SECOND);
    driver.exit("db", gone());
    assert_eq!(driver.states(["db", "web", ""]), ["backing-off", "running", "running"]);
    // The same holds after a restart of its supervisor: only its first start fails, and its own supervisor restarts it.
    let below = sup("s", [leaf("db").reports().delayed(SECOND)]).retries().delayed(SECOND);
    let mut driver = TestDriver::started(&sup("t", [leaf("a"), below]).retries());
    driver.policy("s/db").ready = false;
    driver.command("s", Command::Stop);
    driver.command("s", Command::Start);
    driver.ready("s/db");
    driver.exit("s/db", Exit::Code(1));
    assert!(driver.down.is_none());
}

#[test]
fn a_nested_supervisor_that_fails_its_first_start_is_restarted_by_one_that_retries() {
    let below = sup("s", [leaf("x"), leaf("db").reports()]).delayed(SECOND);
    let mut driver = TestDriver::new(&sup("t", [leaf("a"), below]).retries());
    driver.policy("s/db").ready = false;
    driver.start();
    driver.fail("s/db");
    assert_eq!(driver.states(["a", "s", ""]), ["running", "backing-off", "starting"]);
    driver.advance(SECOND);
    driver.ready("s/db");
    assert_eq!(driver.states(["a", "s", ""]), ["running"; 3]);
}

#[test]
fn without_retry_a_failed_first_start_fails_the_supervisor() {
    let mut driver = TestDriver::new(&sup("t", [leaf("a"), db(3)]));
    driver.policy("db").ready = false;
    driver.start();
    driver.fail("db");
    assert_eq!(driver.down_kind(), "start-failed");
}

#[test]
fn a_tree_ends_when_nothing_is_left_to_run_because_the_others_wait_for_a_quarantined_child() {
    let ends = |tree: ChildDeclaration| tree.rules(|rules| rules.end_when_done = true);
    let web = leaf("web").after("db", Condition::Ready);
    let late = leaf("late").after("web", Condition::Started);
    let mut driver = started(ends(sup("t", [db(1), web.clone(), late.clone()])));
    driver.fail("db");
    assert_eq!(driver.down_kind(), "gave-up");
    // The tree continues while another child runs.
    let mut driver = started(ends(sup("t", [db(1), web, late, leaf("other")])));
    driver.fail("db");
    assert_eq!(
        driver.states(["db", "web", "late", "other"]),
        ["quarantined", "waiting", "waiting", "running"]
    );
    // One that waits for its restart will run again.
    let mut driver = started(ends(sup("t", [leaf("a").delayed(SECOND), db(1)])));
    driver.fail("a");
    driver.fail("db");
    assert!(driver.down.is_none());
}

#[test]
fn a_tree_ends_even_if_held_children_are_below_nested_supervisors_or_wait_for_them() {
    let ends = |tree: ChildDeclaration| tree.rules(|rules| rules.end_when_done = true);
    let web = || leaf("web").after("db", Condition::Ready);
    let waits = |of: &str| sup("u", [leaf("x")]).retries().after(of, Condition::Ready);
    let far = || leaf("far").after("u", Condition::Started);
    for (tree, db_at) in [
        (sup("t", [sup("s", [db(1), web()]).retries()]), "s/db"),
        (sup("t", [sup("s", [sup("r", [db(1), web()]).retries()]).retries()]), "s/r/db"),
        (sup("t", [db(1), waits("db"), far()]), "db"),
        (sup("t", [far().after("db", Condition::Ready), db(1), waits("db")]).edges(), "db"),
        (sup("t", [db(1), web()]).strategy(Strategy::OneForAll), "db"),
        (sup("t", [db(1), web()]).strategy(Strategy::RestForOne), "db"),
    ] {
        let mut driver = TestDriver::new(&ends(tree).retries());
        driver.policy(db_at).ready = false;
        driver.start();
        driver.fail(db_at);
        assert_eq!(driver.down_kind(), "gave-up", "{db_at}");
    }
}

#[test]
fn a_significant_child_that_is_given_up_on_has_ended() {
    for (auto, first) in [(AutoShutdown::AnySignificant, true), (AutoShutdown::AllSignificant, false)] {
        let limit = Limit::new(0, secs(60)).on_exceeded(GiveUp::QUARANTINE);
        let job = |name: &str| leaf(name).transient().significant().limit(limit);
        let tree = sup("t", [leaf("a"), job("b"), job("c")]).rules(|rules| rules.auto_shutdown = auto);
        let mut driver = TestDriver::started(&tree);
        driver.fail("b");
        assert_eq!(driver.down.is_some(), first, "{auto}");
        if !first {
            driver.fail("c");
        }
        let (exit, _) = driver.down.clone().expect("down");
        assert!(
            matches!(&exit, Exit::AutoShutdownFailed(failure) if failure.path.as_str() == "/t/b"),
            "{exit}"
        );
    }
}

#[test]
fn a_held_significant_child_does_not_keep_its_supervisor_running() {
    let last = leaf("last").temporary().significant();
    let waits = leaf("waits").transient().significant().after("last", Condition::Completed);
    let far = leaf("far").transient().significant().after("waits", Condition::Started);
    let tree = sup("t", [leaf("a"), last, waits, far]).retries();
    let mut driver =
        TestDriver::started(&tree.rules(|rules| rules.auto_shutdown = AutoShutdown::AllSignificant));
    driver.fail("last");
    assert_eq!(driver.down_kind(), "auto-shutdown-failed");
}

#[test]
fn a_supervisor_ends_when_its_last_significant_child_becomes_held() {
    let all = |children: Vec<ChildDeclaration>| {
        let tree = sup("t", children).edges().retries();
        let tree = tree.rules(|rules| rules.auto_shutdown = AutoShutdown::AllSignificant);
        let mut driver = started(tree);
        driver.complete("last");
        assert!(driver.down.is_none(), "web may still start");
        driver
    };
    let last = || leaf("last").temporary().significant();
    let web = |of: &str, condition| leaf("web").transient().significant().after(of, condition);
    let far = || leaf("far").transient().significant().after("web", Condition::Ready);
    // The awaited sibling is given up on, before or after it was ready once, or has failed for good.
    let mut driver = all(vec![leaf("a"), last(), db(1), web("db", Condition::Ready), far()]);
    driver.fail("db");
    assert_eq!(driver.down_kind(), "auto-shutdown");
    let mut driver = all(vec![leaf("a"), last(), db(2).transient(), web("db", Condition::Completed), far()]);
    driver.ready("db");
    driver.fail("db");
    assert!(driver.down.is_none());
    driver.advance(SECOND);
    driver.fail("db");
    assert_eq!(driver.down_kind(), "auto-shutdown");
    let mut driver = all(vec![leaf("a"), last(), leaf("job").temporary(), web("job", Condition::Completed)]);
    driver.fail("job");
    assert_eq!(driver.down_kind(), "auto-shutdown");
    // A child that a command stopped may be started again.
    let mut driver = all(vec![leaf("a"), last(), db(1).transient(), web("db", Condition::Completed)]);
    driver.ready("db");
    driver.command("db", Command::Stop);
    assert!(driver.down.is_none());
}

#[test]
fn a_supervisor_continues_while_no_significant_child_has_ended() {
    let web = leaf("web").transient().significant().after("db", Condition::Ready);
    let tree = sup("t", [leaf("a"), db(1), web]).edges().retries();
    let mut driver = started(tree.rules(|rules| rules.auto_shutdown = AutoShutdown::AllSignificant));
    driver.fail("db");
    assert_eq!(driver.states(["a", "db", "web", ""]), ["running", "quarantined", "waiting", "running"]);
}

#[test]
fn a_restart_set_in_a_first_start_that_is_retried_stops_and_starts_in_order() {
    for strategy in [Strategy::OneForAll, Strategy::RestForOne] {
        let mut driver = started(sup("t", [leaf("a"), db(9), leaf("web")]).strategy(strategy));
        driver.fail("db");
        let a = if strategy == Strategy::OneForAll { "waiting" } else { "running" };
        assert_eq!(driver.states(["a", "db", "web"]), [a, "backing-off", "waiting"]);
        driver.advance(SECOND);
        assert_eq!(driver.states(["a", "db", "web"]), ["running", "starting", "waiting"]);
        driver.ready("db");
        assert_eq!(driver.states(["a", "db", "web", ""]), ["running"; 4]);
    }
}

#[test]
fn a_stop_during_a_first_start_that_is_retried_ends_at_once_and_starts_nothing() {
    let mut driver = started(sup("t", [leaf("a"), db(9), leaf("web")]));
    driver.fail("db");
    driver.stop();
    assert_eq!(driver.down_kind(), "stopped");
    driver.advance(Duration::from_secs(60));
    assert!(driver.alive().is_empty());
    assert_eq!(driver.view("web").state, ChildState::Idle(IdleReason::SupervisorDown));
    assert!(driver.report().took < millis(1));
}
