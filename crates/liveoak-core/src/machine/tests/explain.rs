//! The text that explains one child, in the situations in which a person asks for it.

use super::history::by;
use super::shape::{SECOND, group, leaf, millis, secs, sup};
use super::test_driver::{Obeys, Policy, TestDriver};
use crate::{
    Backoff, ChildDeclaration, Command, Condition, DeclaredAt, Exit, Explanation, GiveUp, Health, Input,
    Limit, Survivors,
};
use std::sync::Arc;

/// Returns a child that waits up to a second before each restart, and is quarantined after `restarts` restarts.
fn db(restarts: u32) -> ChildDeclaration {
    let limit = Limit::new(restarts, secs(60)).on_exceeded(GiveUp::QUARANTINE);
    let backoff = Backoff { from: SECOND, to: secs(30), reset_after: secs(10), ..Backoff::default() };
    let declared_at = DeclaredAt::file("shop/liveoak.toml", 12);
    leaf("db").limit(limit).with(|spec| (spec.backoff, spec.declared_at) = (Some(backoff), declared_at))
}

impl TestDriver {
    #[track_caller]
    pub(super) fn explain(&mut self, path: &str) -> Explanation {
        let (now, id) = (self.now, self.id(path));
        self.machine.explain(now, id).expect("it is part of the tree")
    }

    /// Checks the explanations of some children, without what is declared of them.
    #[track_caller]
    fn explains<const N: usize>(&mut self, paths: [&str; N], expected: &str) {
        let mut shown = String::new();
        for path in paths {
            let text = self.explain(path).to_string();
            for line in text.lines().take_while(|line| !line.starts_with("  declared")) {
                shown.push('\n');
                shown.push_str(line);
            }
        }
        assert_eq!(shown, expected);
    }
}

fn web() -> ChildDeclaration {
    leaf("web").after("db", Condition::Healthy)
}

/// Returns a tree that has run for an hour.
#[track_caller]
fn shop(children: impl IntoIterator<Item = ChildDeclaration>) -> TestDriver {
    let mut driver = TestDriver::started(&sup("shop", children));
    driver.advance(secs(3600));
    driver
}

#[test]
fn a_slow_start_is_explained_and_so_are_the_waits_for_it() {
    let mut driver = TestDriver::new(&sup("shop", [db(3).reports(), web()]));
    driver.policy("db").ready = false;
    driver.start();
    driver.advance(secs(12));
    driver.explains(
        ["db", "web", ""],
        "
/shop/db is starting for 12s
  why       attempt 1 runs but is not ready yet; it starts for the first time
  deadline  in 18s
  attempt   1
  health    degraded
  limit     0 of 3 restarts in 1m
/shop/web is waiting for 12s
  why       /shop/db comes before it in the order of start
  waits for /shop/db to be healthy; it is starting for 12s, at most 18s more
  deadline  in 18s
  attempt   0
  health    degraded
  limit     0 of 10 restarts in 1m
/shop is starting for 12s
  why       its children are starting; it is ready when they are
  waits for /shop/db to be ready; it is starting for 12s, at most 18s more
            /shop/web to be ready; it is waiting for 12s, at most 18s more
  attempt   1
  health    degraded",
    );
}

#[test]
fn a_backoff_is_explained_at_the_child_and_at_the_supervisor_above_it() {
    let mut driver = shop([db(3), web()]);
    driver.exit("db", Exit::Code(1));
    driver.advance(secs(1));
    driver.fail("db");
    driver.advance(millis(500));
    driver.explains(
        ["db", ""],
        "
/shop/db is backing-off for 500ms
  why       attempt 2 failed: boom; it is restarted after a delay
  backoff   next attempt in 955ms, restart 2 in a row
  attempt   2, 1 restart
  health    unhealthy
  limit     2 of 3 restarts in 1m, 2 failures in a row
  exits     500ms ago: attempt 2 ran 975ms: failed: boom
            1.5s ago: attempt 1 ran 1h: exit code 1
/shop is running for 1h
  why       it has the health of its worst child: /shop/db is backing-off and unhealthy
  attempt   1
  health    unhealthy",
    );
}

#[test]
fn a_quarantine_is_explained() {
    let mut driver = shop([db(2), web()]);
    for _ in 0..3 {
        driver.advance(secs(5));
        driver.fail("db");
    }
    driver.advance(secs(95));
    driver.explains(["db"], "
/shop/db is quarantined for 1m 35s
  why       gave up on /shop/db: 3 restarts within 60s are more than its own limit, 2; its last exit: failed: boom; only a command, or the start of its supervisor, starts it again
  attempt   3, 2 restarts
  health    unhealthy
  limit     0 of 2 restarts in 1m
  exits     1m 35s ago: attempt 3 ran 3.5s: failed: boom
            1m 40s ago: attempt 2 ran 4.9s: failed: boom
            1m 45s ago: attempt 1 ran 1h: failed: boom");
}

#[test]
fn a_stop_by_command_is_explained_and_so_is_a_child_that_is_held_by_it() {
    let mut driver = shop([db(3), web()]);
    driver.machine.set_origin(by("ci", "deploy of release 7"));
    driver.command("db", Command::Stop);
    driver.advance(secs(200));
    driver.command("web", Command::Restart);
    driver.explains(
        ["db", "web"],
        "
/shop/db is stopped for 3m 20s
  why       a command stopped it (by ci: deploy of release 7, 3m 20s ago); only a command starts it again
  attempt   1
  health    degraded
  limit     0 of 3 restarts in 1m
  commands  3m 20s ago: stop by ci: deploy of release 7
/shop/web is waiting for 0ms
  why       it is held: it starts after /shop/db, which stays down until a command starts it
  waits for /shop/db to be healthy; it is stopped for 3m 20s
  attempt   1
  health    degraded
  limit     0 of 10 restarts in 1m
  commands  0ms ago: restart",
    );
}

#[test]
fn a_failed_start_by_command_is_explained() {
    let mut driver = shop([db(3).reports()]);
    driver.command("db", Command::Stop);
    driver.policy("db").ready = false;
    driver.machine.set_origin(by("ada", "try again"));
    driver.command("db", Command::Start);
    driver.advance(secs(2));
    driver.exit("db", Exit::Code(127));
    driver.advance(secs(60));
    driver.explains(["db"], "
/shop/db is stopped for 1m
  why       a start by command (by ada: try again, 1m 2s ago) failed: exit code 127; only a command starts it again
  attempt   2
  health    degraded
  limit     0 of 3 restarts in 1m
  exits     1m ago: attempt 2 ran 2s: exit code 127
  commands  1m 2s ago: start by ada: try again
            1m 2s ago: stop");
}

#[test]
fn children_that_have_finished_are_explained() {
    let mut driver = shop([leaf("job").transient(), leaf("report").temporary(), leaf("cache").transient()]);
    driver.complete("job");
    driver.exit("report", Exit::Code(3));
    driver.exit("cache", Exit::Ignored);
    driver.advance(secs(200));
    driver.explains(
        ["job", "report", "cache"],
        "
/shop/job is finished for 3m 20s
  why       attempt 1 completed; a transient child is not restarted after that
  attempt   1
  health    healthy
  limit     0 of 10 restarts in 1m
/shop/report is finished for 3m 20s
  why       attempt 1 ended: exit code 3; a temporary child is not restarted
  attempt   1
  health    degraded
  exits     3m 20s ago: attempt 1 ran 1h: exit code 3
/shop/cache is ignored for 3m 20s
  why       it reported that it is not needed here; it counts as started
  attempt   1
  health    healthy
  limit     0 of 10 restarts in 1m",
    );
}

#[test]
fn a_late_stop_of_a_tree_is_explained() {
    let tree = sup("shop", [db(3), sup("s", [leaf("a"), leaf("b")])]);
    let mut driver = TestDriver::new(&tree.stop_within(secs(30)));
    driver.set_default(Policy { obeys: Obeys::Nothing, ..Policy::default() });
    driver.start();
    driver.advance(secs(3600));
    driver.machine.set_origin(by("ada", "maintenance"));
    driver.input(Input::Stop);
    driver.advance(secs(3));
    driver.explains(["s/b", "s/a", "s", ""], "
/shop/s/b is stopping for 3s
  why       it was asked to stop with /shop, by a command (by ada: maintenance, 3s ago), and has not ended; if it does not, it is killed
  deadline  in 2s
  attempt   1
  health    degraded
  limit     0 of 10 restarts in 1m
  commands  3s ago: /shop: stop by ada: maintenance
/shop/s/a is running for 1h
  why       attempt 1 is ready
  attempt   1
  health    healthy
  limit     0 of 10 restarts in 1m
  commands  3s ago: /shop: stop by ada: maintenance
/shop/s is stopping for 3s
  why       it was asked to stop with /shop, by a command (by ada: maintenance, 3s ago), and its children end one after another
  waits for /shop/s/a to be down; it is running for 1h
            /shop/s/b to be down; it is stopping for 3s, at most 2s more
  deadline  in 12s
  attempt   1
  health    degraded
  limit     0 of 10 restarts in 1m
  commands  3s ago: /shop: stop by ada: maintenance
/shop is stopping for 3s
  why       it was asked to stop by a command (by ada: maintenance, 3s ago), and its children end one after another
  waits for /shop/db to be down; it is running for 1h
            /shop/s to be down; it is stopping for 3s, at most 12s more
  deadline  in 12s
  attempt   1
  health    degraded
  commands  3s ago: stop by ada: maintenance");
    driver.advance(secs(3));
    let why = "it was killed with /shop, by a command (by ada: maintenance, 6s ago), and has not ended; \
               if it does not, it is abandoned";
    assert_eq!(driver.explain("s/b").why, why);
}

#[test]
fn a_stop_is_explained_by_what_the_child_did_or_by_its_restart_set() {
    let tree = sup("shop", [leaf("a"), db(3).with(|spec| spec.heartbeat = Some(secs(2)))]);
    let mut driver = TestDriver::new(&tree.strategy(crate::Strategy::OneForAll));
    driver.set_default(Policy { obeys: Obeys::Nothing, beats: false, ..Policy::default() });
    driver.start();
    driver.advance(millis(2100));
    driver.explains(["db"], "
/shop/db is stopping for 100ms
  why       it was killed because of its end (no heartbeat for 2s), and has not ended; if it does not, it is abandoned
  deadline  in 1.9s
  attempt   1
  health    degraded
  limit     0 of 3 restarts in 1m");
    driver.exit("db", Exit::Killed);
    driver.explains(["a", "db"], "
/shop/a is stopping for 0ms
  why       it was asked to stop with its restart set, after a sibling ended, and has not ended; if it does not, it is killed
  deadline  in 5s
  attempt   1
  health    degraded
  limit     0 of 10 restarts in 1m
/shop/db is backing-off for 0ms
  why       attempt 1 ended: no heartbeat for 2s; it is restarted after a delay
  backoff   next attempt in 24ms, restart 1 in a row
  attempt   1
  health    unhealthy
  limit     1 of 3 restarts in 1m, 1 failure in a row
  exits     0ms ago: attempt 1 ran 2.1s: no heartbeat for 2s");
}

#[test]
fn a_child_that_is_not_well_is_explained() {
    let mut driver = shop([db(3), group("g")]);
    driver.health("db", Health::Degraded);
    driver.explains(
        ["db", "g", ""],
        "
/shop/db is running for 1h
  why       attempt 1 is ready, but it is degraded
  attempt   1
  health    degraded
  limit     0 of 3 restarts in 1m
/shop/g is running for 1h
  why       all its children are well
  attempt   1
  health    healthy
  limit     0 of 10 restarts in 1m
/shop is running for 1h
  why       it has the health of its worst child: /shop/db is running and degraded
  attempt   1
  health    degraded",
    );
}

#[test]
fn a_child_whose_processes_are_still_alive_is_explained() {
    let mut driver = shop([db(3), leaf("a")]);
    driver.obeys("db", Obeys::Nothing);
    let (id, attempt) = (driver.id("db"), driver.attempt("db"));
    let survivors = Survivors { pids: vec![4711], refused: None };
    driver.input(Input::MaySurvive(id, attempt, Arc::new(survivors)));
    driver.command("db", Command::Restart);
    driver.advance(secs(20));
    driver.command("db", Command::Start);
    driver.explains(["db"], "
/shop/db is quarantined for 13s
  why       attempt 1 was abandoned, and it must not run twice: process 4711 was killed but has not ended; a process in state D cannot end
  attempt   1
  health    unhealthy
  limit     0 of 3 restarts in 1m
  exits     13s ago: attempt 1 ran 1h, stopped: abandoned: process 4711 was killed but has not ended; a process in state D cannot end
  commands  0ms ago: start (refused: processes of its last attempt are still alive: process 4711 was killed but has not ended; a process in state D cannot end)
            20s ago: restart");
}

#[test]
fn what_is_declared_is_one_line_and_its_place_is_another() {
    let limit = Limit::new(3, secs(60)).on_exceeded(GiveUp::QUARANTINE);
    let web = web().reports().limit(limit).with(|spec| spec.heartbeat = Some(secs(2)));
    let mut driver = TestDriver::started(&sup("shop", [db(3), web, group("g").transient()]));
    let declared = |path: &str, driver: &mut TestDriver| {
        let text = driver.explain(path).to_string();
        text[text.find("  declared").expect("a line")..].to_owned()
    };
    let shown = ["db", "web", "g"].map(|path| declared(path, &mut driver)).concat();
    assert_eq!(shown, "  declared  permanent, backoff 1s to 30s, then quarantine, stop within 5s
  at        shop/liveoak.toml:12
  declared  permanent, no backoff, then quarantine, ready within 30s, stop within 5s, heartbeat every 2s, after db healthy
  declared  transient, one-for-one, no backoff
");
}

#[test]
fn a_text_of_several_lines_is_one_line_of_the_screen() {
    let mut driver = shop([db(3)]);
    driver.exit("db", Exit::failed("first\n  second\n\nthird"));
    let text = driver.explain("db").to_string();
    assert!(text.contains("failed: first second third"), "{text}");
    assert!(text.lines().all(|line| line.starts_with("  ") || line.starts_with("/shop/db is ")), "{text}");
}

#[test]
fn an_explanation_lists_at_most_sixteen_waits_and_counts_the_others() {
    let children = (0..20).map(|n| leaf(&format!("c{n}")).reports());
    let mut driver = TestDriver::new(&sup("shop", children).edges());
    driver.set_default(Policy { ready: false, obeys: Obeys::Nothing, ..Policy::default() });
    driver.start();
    let seen = |explanation: &Explanation| (explanation.waiting_for.len(), explanation.more_waits);
    assert_eq!(seen(&driver.explain("")), (16, 4));
    driver.stop();
    assert_eq!(seen(&driver.explain("")), (16, 4));
    assert!(driver.explain("").to_string().contains("… and 4 more"));
}
