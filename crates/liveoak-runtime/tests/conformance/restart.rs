//! Rows C19 to C37: decisions after an exit, and restarts.

use crate::fixture::{Fixture, GROUPS, LoggedPuppet, long_backoff, name, puppet_group, run_paused, s, state};
use liveoak_runtime::testing::Puppet;
use liveoak_runtime::*;
use std::time::Duration;

fn no_failures() -> [Exit; 2] {
    [Exit::Completed, Exit::Stopped]
}

fn failures() -> [Exit; 4] {
    [Exit::failed("x"), Exit::Code(1), Exit::Signal { signal: 6, core_dumped: false }, Exit::Killed]
}

/// Runs a tree of one child that ends with `exit`. Returns what was logged after that, and the child's state.
async fn after(restart: Restart, exit: Exit) -> (String, &'static str) {
    let fixture = Fixture::new();
    let a = fixture.puppet("a");
    let tree = Supervisor::new("t").child(a.child().restart(restart)).start().await.unwrap();
    fixture.log().await;
    a.end(exit);
    let seen = (fixture.log().await, state(&tree, "/t/a"));
    fixture.end(tree).await;
    seen
}

#[test]
fn c19_a_permanent_child_is_restarted_after_every_exit() {
    for exit in no_failures().into_iter().chain(failures()) {
        let case = exit.to_string();
        let seen = run_paused(after(Restart::Permanent, exit));
        assert_eq!(seen, ("-a +a".to_owned(), "running"), "{case}");
    }
}

#[test]
fn c20_a_transient_child_is_restarted_after_a_failure_and_stays_listed_after_any_other_exit() {
    for exit in failures() {
        let case = exit.to_string();
        assert_eq!(run_paused(after(Restart::Transient, exit)), ("-a +a".to_owned(), "running"), "{case}");
    }
    for exit in no_failures() {
        let case = exit.to_string();
        assert_eq!(run_paused(after(Restart::Transient, exit)), ("-a".to_owned(), "finished"), "{case}");
    }
}

#[test]
fn c21_a_temporary_child_is_never_restarted() {
    for exit in no_failures().into_iter().chain(failures()) {
        let case = exit.to_string();
        assert_eq!(run_paused(after(Restart::Temporary, exit)), ("-a".to_owned(), "finished"), "{case}");
    }
}

fn three(fixture: &Fixture) -> [LoggedPuppet; 3] {
    fixture.puppets(["a", "b", "c"])
}

#[test]
fn c22_an_exit_without_a_restart_restarts_no_sibling_under_any_strategy() {
    let cases = [
        (Restart::Temporary, Exit::failed("x")),
        (Restart::Temporary, Exit::Completed),
        (Restart::Transient, Exit::Completed),
    ];
    for strategy in GROUPS {
        for (restart, exit) in cases.clone() {
            run_paused(async {
                let fixture = Fixture::new();
                let [a, b, c] = three(&fixture);
                let tree = Supervisor::new("t")
                    .strategy(strategy)
                    .children([a.child(), b.child().restart(restart), c.child()])
                    .start()
                    .await
                    .unwrap();
                fixture.log().await;
                b.end(exit.clone());
                tokio::time::sleep(s(100)).await;
                assert_eq!(fixture.log().await, "-b", "{strategy:?} {restart:?} {exit}");
                fixture.end(tree).await;
            });
        }
    }
}

#[test]
fn c23_temporary_siblings_in_a_restart_set_are_stopped_and_not_started_again() {
    for strategy in GROUPS {
        run_paused(async {
            let fixture = Fixture::new();
            let [a, b, c] = three(&fixture);
            let added = fixture.puppet("added");
            let tree = Supervisor::new("t")
                .strategy(strategy)
                .children([a.child(), b.child().restart(Restart::Temporary), c.child()])
                .start()
                .await
                .unwrap();
            tree.add_child("/t", added.child().restart(Restart::Temporary)).await.unwrap();
            fixture.log().await;
            a.fail("x");
            assert_eq!(fixture.log().await, "-a -added -c -b +a +c", "{strategy:?}");
            assert_eq!((state(&tree, "/t/b"), state(&tree, "/t/added")), ("finished", "removed"));
            fixture.end(tree).await;
        });
    }
}

#[test]
fn c25_a_restart_of_a_set_is_one_entry_and_each_failed_start_in_it_is_one_more() {
    for strategy in GROUPS {
        run_paused(async {
            let fixture = Fixture::new();
            let a = fixture.puppet_with("a", Puppet::slow_to_start);
            let [b, c] = fixture.puppets(["b", "c"]);
            a.ready();
            let tree = Supervisor::new("t")
                .strategy(strategy)
                .intensity(Limit::new(4, s(3600)))
                .children([a.child(), b.child(), c.child()])
                .start()
                .await
                .unwrap();
            // The set of three children restarts twice, and in the second restart the start fails twice. These are four
            // entries, as many as are allowed.
            a.fail("1");
            a.ready();
            fixture.log().await;
            for why in ["2", "3", "4"] {
                a.fail(why);
            }
            a.started(5).await;
            assert_eq!(state(&tree, "/t"), "running", "{strategy:?}");
            a.fail("5");
            let ended = tree.join().await;
            let Exit::GaveUp(gave_up) = &ended.exit else { panic!("{ended:?}") };
            assert_eq!((gave_up.path.as_str(), gave_up.count, gave_up.allowed), ("/t/a", 5, 4));
            assert_eq!((a.starts(), b.starts(), c.starts()), (5, 2, 2), "{strategy:?}");
            fixture.ended().await;
        });
    }
}

#[test]
fn c26_one_restart_more_than_the_intensity_within_the_period_exceeds_the_limit() {
    for (gap, gives_up) in [(s(5), true), (s(5) + Duration::from_millis(1), false)] {
        run_paused(async {
            let fixture = Fixture::new();
            let a = fixture.puppet("a");
            let tree =
                Supervisor::new("t").intensity(Limit::new(1, s(5))).child(a.child()).start().await.unwrap();
            a.fail("x");
            a.started(2).await;
            tokio::time::sleep(gap).await;
            a.fail("x");
            fixture.log().await;
            assert_eq!((a.live(), a.starts()), if gives_up { (0, 2) } else { (1, 3) }, "{gap:?}");
            fixture.end(tree).await;
        });
    }
}

#[test]
fn c26_an_intensity_of_zero_gives_up_at_the_first_restart() {
    run_paused(async {
        let fixture = Fixture::new();
        let a = fixture.puppet("a");
        let tree =
            Supervisor::new("t").intensity(Limit::new(0, s(5))).child(a.child()).start().await.unwrap();
        a.fail("x");
        assert_eq!(tree.join().await.exit.kind(), "gave-up");
        assert_eq!(a.starts(), 1);
        fixture.ended().await;
    });
}

#[test]
fn c27_a_supervisor_over_its_limit_stops_its_children_and_fails_with_the_reason() {
    run_paused(async {
        let fixture = Fixture::new();
        let [a, b] = fixture.puppets(["a", "b"]);
        let c = fixture.puppet_with("c", Puppet::ignoring_stop);
        let tree = Supervisor::new("t")
            .intensity(Limit::new(0, s(5)))
            .children([a.child(), b.child(), c.child().stop_within(s(3))])
            .start()
            .await
            .unwrap();
        let mut events = tree.events();
        fixture.log().await;
        b.fail("no disk");
        let ended = tree.join().await;
        assert_eq!(fixture.log().await, "-b -c -a");
        assert!(ended.exit.is_failure());
        let Exit::GaveUp(gave_up) = &ended.exit else { panic!("{ended:?}") };
        assert_eq!((gave_up.path.as_str(), gave_up.count, gave_up.allowed), ("/t/b", 1, 0));
        assert_eq!((gave_up.exit.to_string(), gave_up.own_limit), ("failed: no disk".to_owned(), false));
        let ends: Vec<_> = ended.report.entries.iter().map(|end| (end.path.name(), end.stage)).collect();
        assert_eq!(ends, [("c", StopStage::Killed), ("a", StopStage::Asked)]);
        assert_eq!(ended.report.took, s(3));
        let mut reported = 0;
        while let Some(EventOrLost::Event(event)) = events.next().await {
            reported += u32::from(event.path.as_str() == "/t" && event.kind.name() == "gave-up");
        }
        assert_eq!(reported, 1);
        fixture.ended().await;
    });
}

#[test]
fn c28_a_supervisor_that_gave_up_is_restarted_unless_temporary_and_loses_its_added_children() {
    for (restart, left) in
        [(Restart::Permanent, "running"), (Restart::Transient, "running"), (Restart::Temporary, "finished")]
    {
        run_paused(async {
            let fixture = Fixture::new();
            let [a, added, off, member] = fixture.puppets(["a", "added", "off", "member"]);
            let group = puppet_group();
            let members = group.handle();
            let nested = Supervisor::new("s")
                .intensity(Limit::new(0, s(5)))
                .child(a.child())
                .child(group)
                .restart(restart);
            let nested = Child::from(nested).map_spec(|spec| ChildSpec { backoff: None, ..spec });
            let tree = Supervisor::new("t").child(nested).start().await.unwrap();
            tree.add_child("/t/s", added.child()).await.unwrap();
            tree.add_child("/t/s", off.child()).await.unwrap();
            tree.stop_child("/t/s/off").await.unwrap();
            members.start(Some(name("m")), member.clone()).await.unwrap();
            a.fail("x");
            fixture.log().await;
            let paths = ["/t/s", "/t/s/added", "/t/s/off", "/t/s/g/m"];
            assert_eq!(
                paths.map(|path| state(&tree, path)),
                [left, "removed", "removed", "removed"],
                "{restart:?}"
            );
            assert_eq!(a.live(), usize::from(left == "running"), "{restart:?}");
            assert_eq!((added.starts(), member.starts(), added.live(), member.live()), (1, 1, 0, 0));
            fixture.end(tree).await;
        });
    }
}

/// Starts a tree of these puppets, and clears the log.
async fn tree_of<const N: usize>(fixture: &Fixture, strategy: Strategy, puppets: &[LoggedPuppet; N]) -> Tree {
    let children = puppets.iter().map(LoggedPuppet::child);
    let tree = Supervisor::new("t").strategy(strategy).children(children).start().await.unwrap();
    fixture.log().await;
    tree
}

#[test]
fn c29_one_for_one_starts_the_failed_child_again_and_no_other() {
    run_paused(async {
        let fixture = Fixture::new();
        let puppets = three(&fixture);
        let tree = tree_of(&fixture, Strategy::OneForOne, &puppets).await;
        puppets[1].fail("x");
        assert_eq!(fixture.log().await, "-b +b");
        let attempts = tree.snapshot().root.children.iter().map(|view| view.attempt.0).collect::<Vec<_>>();
        assert_eq!(attempts, [1, 2, 1]);
        fixture.end(tree).await;
    });
}

#[test]
fn c30_one_for_all_stops_in_reverse_and_starts_in_order_except_children_stopped_by_command() {
    run_paused(async {
        let fixture = Fixture::new();
        let [done, off, a, z] = fixture.puppets(["done", "off", "a", "z"]);
        let tree = Supervisor::new("t")
            .strategy(Strategy::OneForAll)
            .child(done.child().restart(Restart::Transient))
            .children([off.child(), a.child(), z.child()])
            .start()
            .await
            .unwrap();
        done.complete();
        done.gone().await;
        tree.stop_child("/t/off").await.unwrap();
        fixture.log().await;
        a.fail("x");
        assert_eq!(fixture.log().await, "-a -z +done +a +z");
        a.fail("x");
        assert_eq!(fixture.log().await, "-a -z -done +done +a +z");
        assert_eq!(state(&tree, "/t/off"), "stopped");
        let done = tree.start_child("/t/off").await;
        assert!(matches!(done, Ok(Outcome::Ready { .. })), "{done:?}");
        fixture.end(tree).await;
    });
}

#[test]
fn c31_rest_for_one_stops_and_starts_the_failed_child_and_those_after_it() {
    run_paused(async {
        let fixture = Fixture::new();
        let puppets = fixture.puppets(["a", "b", "c", "d"]);
        let tree = tree_of(&fixture, Strategy::RestForOne, &puppets).await;
        puppets[1].fail("x");
        assert_eq!(fixture.log().await, "-b -d -c +b +c +d");
        puppets[3].fail("x");
        assert_eq!(fixture.log().await, "-d +d");
        tree.stop_child("/t/c").await.unwrap();
        puppets[0].fail("x");
        assert_eq!(
            fixture.log().await,
            "-c -a -d -b +a +b +d",
            "a child that was stopped by command stays stopped"
        );
        assert_eq!(state(&tree, "/t/c"), "stopped");
        fixture.end(tree).await;
    });
}

#[test]
fn c32_a_failed_start_in_a_restart_is_counted_backed_off_and_retried_while_commands_are_served() {
    run_paused(async {
        let fixture = Fixture::new();
        let a = fixture.puppet_with("a", Puppet::slow_to_start);
        let b = fixture.puppet("b");
        a.ready();
        let tree = Supervisor::new("t")
            .child(a.child().backoff(long_backoff()))
            .child(b.child())
            .start()
            .await
            .unwrap();
        let restarts = || tree.snapshot().get("/t/a").map(|view| view.restarts);
        for count in 1..=3 {
            a.fail("in the first attempt, then before readiness");
            a.gone().await;
            assert_eq!((state(&tree, "/t/a"), restarts()), ("backing-off", Some(count - 1)));
            let served = tree.restart_child("/t/b").await;
            assert!(matches!(served, Ok(Outcome::Ready { .. })), "{served:?}");
            a.started(count + 1).await;
        }
        assert!(tree.now().since(Time::ZERO) > s(100), "there was a delay");
        a.fail("once more");
        a.gone().await;
        let report = tree.stop().await;
        assert_eq!(report.took, Duration::ZERO, "the stop had nothing to wait for");
        assert_eq!(a.starts(), 4);
        fixture.ended().await;
    });
}

/// Starts `a`, `b` and `c`, and lets `a` fail. Returns while `b`, which reports its readiness later, starts again.
async fn while_b_restarts(fixture: &Fixture, strategy: Strategy) -> (Tree, LoggedPuppet) {
    let [a, c] = fixture.puppets(["a", "c"]);
    let b = fixture.puppet_with("b", Puppet::slow_to_start);
    b.ready();
    let tree = tree_of(fixture, strategy, &[a.clone(), b.clone(), c]).await;
    a.fail("x");
    assert_eq!(fixture.log().await, "-a -c -b +a +b", "{strategy:?}");
    (tree, b)
}

#[test]
fn c33_under_one_for_all_a_child_that_fails_to_restart_stops_the_already_restarted_children() {
    run_paused(async {
        let fixture = Fixture::new();
        let (tree, b) = while_b_restarts(&fixture, Strategy::OneForAll).await;
        b.fail("no disk");
        assert_eq!(fixture.log().await, "-b -a +a +b");
        b.ready();
        assert_eq!(fixture.log().await, "+c");
        fixture.end(tree).await;
    });
}

#[test]
fn c34_under_rest_for_one_earlier_children_stay_up_if_a_later_child_fails_to_restart() {
    run_paused(async {
        let fixture = Fixture::new();
        let (tree, b) = while_b_restarts(&fixture, Strategy::RestForOne).await;
        b.fail("no disk");
        assert_eq!(fixture.log().await, "-b +b");
        let states = ["/t/a", "/t/b", "/t/c"].map(|path| state(&tree, path));
        assert_eq!(states, ["running", "starting", "waiting"]);
        b.ready();
        assert_eq!(fixture.log().await, "+c");
        fixture.end(tree).await;
    });
}

#[test]
fn c35_while_a_retry_is_pending_later_children_of_the_restart_set_are_down_and_earlier_ones_run() {
    run_paused(async {
        let fixture = Fixture::new();
        let [a, b, c] = three(&fixture);
        let tree = Supervisor::new("t")
            .strategy(Strategy::RestForOne)
            .children([a.child(), b.child().backoff(long_backoff()), c.child()])
            .start()
            .await
            .unwrap();
        b.fail("x");
        fixture.log().await;
        let states = ["/t/a", "/t/b", "/t/c"].map(|path| state(&tree, path));
        assert_eq!(states, ["running", "backing-off", "waiting"]);
        assert_eq!([a.live(), b.live(), c.live()], [1, 0, 0]);
        b.started(2).await;
        assert_eq!(fixture.log().await, "+b +c");
        fixture.end(tree).await;
    });
}

#[test]
fn c36_a_child_that_is_not_needed_at_a_restart_is_absent_and_a_group_removes_its_member() {
    run_paused(async {
        let fixture = Fixture::new();
        let [a, m] = ["a", "m"].map(|name| fixture.puppet_with(name, Puppet::slow_to_start));
        let group = puppet_group();
        let members = group.handle();
        a.ready();
        m.ready();
        let tree = Supervisor::new("t").child(a.child()).child(group).start().await.unwrap();
        members.start(Some(name("m")), m.clone()).await.unwrap();
        for puppet in [&a, &m] {
            puppet.fail("x");
            puppet.end(Exit::Ignored);
        }
        tokio::time::sleep(s(100)).await;
        assert_eq!((a.starts(), m.starts(), a.live(), m.live()), (2, 2, 0, 0));
        assert_eq!((state(&tree, "/t/a"), state(&tree, "/t/g/m")), ("ignored", "removed"));
        fixture.end(tree).await;
    });
}

#[test]
fn c37_a_group_restarts_the_member_that_failed_with_its_own_argument_and_no_other() {
    run_paused(async {
        let fixture = Fixture::new();
        let [x, y, z] = fixture.puppets(["x", "y", "z"]);
        let group = puppet_group();
        let members = group.handle();
        let tree = Supervisor::new("t").child(group).start().await.unwrap();
        let mut ids = Vec::new();
        for (member, puppet) in [("1", &x), ("2", &y), ("3", &z)] {
            ids.push(members.start(Some(name(member)), puppet.clone()).await.unwrap());
        }
        fixture.log().await;
        y.fail("x");
        assert_eq!(fixture.log().await, "-y +y");
        assert_eq!(tree.snapshot().get("/t/g/2").map(|view| view.id), Some(ids[1].id()));
        fixture.end(tree).await;
    });
}
