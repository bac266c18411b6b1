//! Rows C1 to C18: starting, and the management calls.

use crate::fixture::{Fixture, GROUPS, long_backoff, name, puppet_group, run_paused, s, state};
use liveoak_runtime::testing::Puppet;
use liveoak_runtime::*;
use std::sync::Arc;
use std::time::Duration;

const STRATEGIES: [Strategy; 3] = [Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne];

#[test]
fn c1_start_returns_when_every_declared_child_is_ready_and_not_before() {
    run_paused(async {
        let fixture = Fixture::new();
        let [a, deep] = ["a", "deep"].map(|name| fixture.puppet_with(name, Puppet::slow_to_start));
        let tree =
            Supervisor::new("t").child(a.child()).child(Supervisor::new("s").child(deep.child())).start();
        let tree = tokio::spawn(tree);
        tokio::time::sleep(s(5)).await;
        a.ready();
        tokio::time::sleep(s(5)).await;
        assert!(!tree.is_finished(), "`deep` is not ready");
        deep.ready();
        let tree = tree.await.unwrap().unwrap();
        assert_eq!(tree.now().since(Time::ZERO), s(10));
        fixture.end(tree).await;
    });
}

#[test]
fn c2_declared_children_start_one_at_a_time_in_their_order() {
    run_paused(async {
        let fixture = Fixture::new();
        let puppets = ["b", "a", "c"].map(|name| fixture.puppet_with(name, Puppet::slow_to_start));
        let children = puppets.iter().map(|puppet| puppet.child());
        let tree = Supervisor::new("t").children(children).begin().unwrap();
        for (puppet, begun) in puppets.iter().zip(["+b", "+a", "+c"]) {
            assert_eq!(fixture.log().await, begun);
            tokio::time::sleep(s(1)).await;
            assert_eq!(fixture.log().await, "", "the next child waits until this one is ready");
            puppet.ready();
        }
        tree.ready().await.unwrap();
        fixture.end(tree).await;
    });
}

#[test]
fn c3_a_failed_first_start_stops_all_started_children_in_reverse_and_retries_nothing() {
    run_paused(async {
        let fixture = Fixture::new();
        let [a, b, later] = fixture.puppets(["a", "b", "later"]);
        let bad = fixture.puppet_with("bad", Puppet::slow_to_start);
        bad.fail("no disk");
        let nested = Supervisor::new("s").child(b.child()).child(bad.child());
        let error = Supervisor::new("t")
            .child(a.child())
            .child(nested)
            .child(later.child())
            .start()
            .await
            .unwrap_err();
        let StartError::Failed { failure, .. } = &error else { panic!("{error:?}") };
        assert_eq!((failure.path.as_str(), failure.exit.kind()), ("/t/s/bad", "failed"));
        assert_eq!(fixture.log().await, "+a +b +bad -bad -b -a");
        fixture.ended().await;
    });
}

#[test]
fn c5_a_child_that_is_not_needed_counts_as_started_and_stays_listed_unless_temporary_or_a_member() {
    run_paused(async {
        let fixture = Fixture::new();
        let not_needed = |name| {
            let puppet = fixture.puppet_with(name, Puppet::slow_to_start);
            puppet.end(Exit::Ignored);
            puppet
        };
        let after = fixture.puppet("after");
        let group = puppet_group();
        let members = group.handle();
        let tree = Supervisor::new("t")
            .child(not_needed("a").child())
            .child(after.child().after("a"))
            .child(group)
            .start()
            .await
            .unwrap();
        assert_eq!((state(&tree, "/t/a"), after.live()), ("ignored", 1));
        for (name, restart, left) in [
            ("permanent", Restart::Permanent, "ignored"),
            ("transient", Restart::Transient, "ignored"),
            ("temporary", Restart::Temporary, "removed"),
        ] {
            let done = tree.add_child("/t", not_needed(name).child().restart(restart)).await;
            assert!(matches!(done, Ok(Added { outcome: Outcome::Ignored, .. })), "{done:?}");
            assert_eq!(state(&tree, &format!("/t/{name}")), left);
        }
        assert!(members.start(Some(name("m")), not_needed("m")).await.is_ok());
        assert_eq!(state(&tree, "/t/g/m"), "removed");
        fixture.end(tree).await;
    });
}

#[test]
fn c10_an_add_of_a_known_name_is_refused_and_a_failed_add_leaves_nothing_behind() {
    run_paused(async {
        let fixture = Fixture::new();
        let a = fixture.puppet("a");
        let tree = Supervisor::new("t")
            .intensity(Limit::new(1, s(200_000)))
            .child(a.child().backoff(long_backoff()))
            .start()
            .await
            .unwrap();
        for _ in 0..3 {
            let bad = fixture.puppet_with("bad", Puppet::slow_to_start);
            bad.fail("no disk");
            let refused = tree.add_child("/t", bad.child()).await.map_err(Refusal::from);
            assert!(matches!(refused, Err(Refusal::Failed(Exit::Failed(_)))), "{refused:?}");
            assert_eq!((state(&tree, "/t/bad"), bad.starts()), ("removed", 1));
        }
        let refused_as = async |expected: &str| {
            let refused = tree.add_child("/t", a.child()).await.map_err(Refusal::from);
            let Err(Refusal::AlreadyExists { state }) = refused else { panic!("{refused:?}") };
            assert_eq!(state, expected);
        };
        refused_as("running").await;
        a.fail("the one restart that the intensity allows");
        a.gone().await;
        refused_as("backing-off").await;
        tree.stop_child("/t/a").await.unwrap();
        refused_as("stopped").await;
        assert_eq!(state(&tree, "/t"), "running");
        fixture.end(tree).await;
    });
}

#[test]
fn c11_a_stop_command_affects_only_its_child_and_does_not_count_as_a_restart() {
    for strategy in STRATEGIES {
        run_paused(async {
            let fixture = Fixture::new();
            let a = fixture.puppet_with("a", Puppet::ignoring_stop);
            let [b, once] = fixture.puppets(["b", "once"]);
            let tree = Supervisor::new("t")
                .strategy(strategy)
                .intensity(Limit::new(0, s(3600)))
                .child(a.child().stop_within(s(2)))
                .child(b.child())
                .start()
                .await
                .unwrap();
            tree.add_child("/t", once.child().restart(Restart::Temporary)).await.unwrap();
            fixture.log().await;
            let Ok(Outcome::Stopped(report)) = tree.stop_child("/t/a").await else { panic!("{strategy:?}") };
            assert_eq!((report.took, report.entries[0].stage), (s(2), StopStage::Killed));
            let again = tree.stop_child("/t/a").await;
            assert!(matches!(again, Ok(Outcome::Stopped(_))), "{again:?}");
            tree.stop_child("/t/once").await.unwrap();
            tokio::time::sleep(s(10)).await;
            assert_eq!(fixture.log().await, "-a -once", "{strategy:?}");
            let states = ["/t/a", "/t/b", "/t/once"].map(|path| state(&tree, path));
            assert_eq!(states, ["stopped", "running", "removed"]);
            fixture.end(tree).await;
        });
    }
}

#[test]
fn c12_a_stop_in_the_middle_of_a_restart_loop_ends_the_loop_under_every_strategy() {
    for strategy in STRATEGIES {
        run_paused(async {
            let fixture = Fixture::new();
            let a = fixture.puppet_with("a", Puppet::slow_to_start);
            let b = fixture.puppet("b");
            a.ready();
            let tree = Supervisor::new("t")
                .strategy(strategy)
                .child(a.child().backoff(long_backoff()))
                .child(b.child())
                .start()
                .await
                .unwrap();
            for attempt in 2..=4 {
                a.fail("and again");
                a.started(attempt).await;
            }
            a.fail("the last time");
            a.gone().await;
            assert_eq!(state(&tree, "/t/a"), "backing-off");
            let done = tree.stop_child("/t/a").await;
            assert!(matches!(done, Ok(Outcome::Stopped(_))), "{done:?}");
            tokio::time::sleep(s(1_000_000)).await;
            assert_eq!((state(&tree, "/t/a"), a.starts()), ("stopped", 4), "{strategy:?}");
            assert_eq!((state(&tree, "/t/b"), b.live()), ("running", 1), "{strategy:?}");
            fixture.end(tree).await;
        });
    }
}

#[test]
fn c13_a_start_of_a_running_child_is_refused_and_a_failed_start_leaves_the_child_down() {
    run_paused(async {
        let fixture = Fixture::new();
        let [a, c] = fixture.puppets(["a", "c"]);
        let b = fixture.puppet_with("b", Puppet::slow_to_start);
        b.ready();
        let tree = Supervisor::new("t")
            .child(a.child())
            .child(b.child().backoff(long_backoff()))
            .child(c.child())
            .start()
            .await
            .unwrap();
        let refused = tree.start_child("/t/b").await;
        assert!(matches!(refused, Err(Refusal::NotDown { state: "running" })), "{refused:?}");
        b.fail("x");
        b.gone().await;
        let refused = tree.start_child("/t/b").await;
        assert!(matches!(refused, Err(Refusal::NotDown { state: "backing-off" })), "{refused:?}");
        let refused = tree.start_child("/t/unknown").await;
        assert!(matches!(refused, Err(Refusal::NotFound)), "{refused:?}");
        tree.stop_child("/t/b").await.unwrap();
        b.fail("no disk");
        let refused = tree.start_child("/t/b").await;
        assert!(matches!(refused, Err(Refusal::Failed(_))), "{refused:?}");
        tokio::time::sleep(s(1_000_000)).await;
        assert_eq!((state(&tree, "/t/b"), b.starts()), ("stopped", 2));
        b.ready();
        let done = tree.start_child("/t/b").await;
        assert!(matches!(done, Ok(Outcome::Ready { attempt: Attempt(3), .. })), "{done:?}");
        fixture.log().await;
        tree.stop().await;
        assert_eq!(fixture.log().await, "-c -b -a", "b has its old position");
        fixture.ended().await;
    });
}

#[test]
fn c14_a_remove_works_on_running_and_idle_children_and_is_refused_while_a_sibling_needs_the_child() {
    run_paused(async {
        let fixture = Fixture::new();
        let a = fixture.puppet("a");
        let b = fixture.puppet_with("b", |puppet| puppet.stopping_after(s(2)));
        let tree = Supervisor::new("t").child(a.child()).child(b.child().after("a")).start().await.unwrap();
        let refused = tree.remove_child("/t/a").await;
        assert!(matches!(&refused, Err(Refusal::NeededBy(names)) if *names == [name("b")]), "{refused:?}");
        let Ok(Outcome::Removed(report)) = tree.remove_child("/t/b").await else { panic!("b was running") };
        assert_eq!((report.took, b.live()), (s(2), 0), "b has ended when the answer comes");
        tree.stop_child("/t/a").await.unwrap();
        let done = tree.remove_child("/t/a").await;
        assert!(matches!(done, Ok(Outcome::Removed(_))), "{done:?}");
        let refused = tree.remove_child("/t/a").await;
        assert!(matches!(refused, Err(Refusal::NotFound)), "{refused:?}");
        assert!(tree.snapshot().root.children.is_empty());
        fixture.end(tree).await;
    });
}

#[test]
fn c15_commands_address_one_member_of_a_group_by_its_name() {
    run_paused(async {
        let fixture = Fixture::new();
        let [x, y] = fixture.puppets(["x", "y"]);
        let group = puppet_group();
        let members = group.handle();
        let tree = Supervisor::new("t").child(group).start().await.unwrap();
        members.start(Some(name("x")), x.clone()).await.unwrap();
        members.start(Some(name("y")), y.clone()).await.unwrap();
        fixture.log().await;
        let done = tree.restart_child("/t/g/x").await;
        assert!(matches!(done, Ok(Outcome::Ready { attempt: Attempt(2), .. })), "{done:?}");
        for _ in 0..2 {
            let done = tree.stop_child("/t/g/x").await;
            assert!(matches!(done, Ok(Outcome::Stopped(_))), "{done:?}");
        }
        let refused = tree.stop_child("/t/g/unknown").await;
        assert!(matches!(refused, Err(Refusal::NotFound)), "{refused:?}");
        let done = tree.remove_child("/t/g/x").await;
        assert!(matches!(done, Ok(Outcome::Removed(_))), "{done:?}");
        assert_eq!(fixture.log().await, "-x +x -x");
        assert_eq!((state(&tree, "/t/g/x"), state(&tree, "/t/g/y")), ("removed", "running"));
        fixture.end(tree).await;
    });
}

#[test]
fn c16_the_snapshot_lists_children_in_start_order_with_their_states_and_finds_a_single_child() {
    run_paused(async {
        let fixture = Fixture::new();
        let [b, a, c] = fixture.puppets(["b", "a", "c"]);
        let late = fixture.puppet_with("late", Puppet::slow_to_start);
        let children = [b.child().backoff(long_backoff()), a.child().after("c"), c.child(), late.child()];
        let tree = Supervisor::new("t").children(children).begin().unwrap();
        late.started(1).await;
        b.fail("x");
        b.gone().await;
        tree.stop_child("/t/c").await.unwrap();
        let snapshot = tree.snapshot();
        let listed: Vec<_> =
            snapshot.root.children.iter().map(|node| (node.path.name(), node.state.as_str())).collect();
        assert_eq!(
            listed,
            [("b", "backing-off"), ("c", "stopped"), ("a", "running"), ("late", "starting")],
            "a comes after c"
        );
        assert_eq!(snapshot.get("/t/a").map(|node| node.attempt), Some(Attempt(1)));
        assert!(snapshot.get("/t/unknown").is_none());
        let handle = tree.handle();
        fixture.end(tree).await;
        let refused = handle.start_child("/t/a").await;
        assert!(matches!(refused, Err(Refusal::TreeEnded)), "{refused:?}");
    });
}

#[test]
fn c17_the_snapshot_distinguishes_specs_active_children_supervisors_and_workers() {
    run_paused(async {
        let fixture = Fixture::new();
        let [a, b, deep] = fixture.puppets(["a", "b", "deep"]);
        let group = puppet_group();
        let members = group.handle();
        let nested = Supervisor::new("s").child(deep.child());
        let children = Supervisor::new("t").child(a.child().backoff(long_backoff())).child(b.child());
        let tree = children.child(nested).child(group).start().await.unwrap();
        let member = fixture.puppet("m");
        members.start(Some(name("m")), member.clone()).await.unwrap();
        a.fail("x");
        a.gone().await;
        tree.stop_child("/t/b").await.unwrap();
        let snapshot = tree.snapshot();
        let count =
            |which: &dyn Fn(&ChildView) -> bool| snapshot.nodes().skip(1).filter(|n| which(n)).count();
        assert_eq!(count(&|_| true), 6, "a, b, s, deep, g and m are listed, whatever their state");
        assert_eq!(count(&|node| node.started.is_some()), 4, "a backs off and b was stopped");
        assert_eq!(count(&|node| node.strategy.is_some()), 2, "supervisors: s and g");
        fixture.end(tree).await;
    });
}

#[test]
fn c18_an_added_temporary_child_is_removed_at_its_end_with_its_captured_values() {
    run_paused(async {
        let fixture = Fixture::new();
        let tree = Supervisor::new("t").start().await.unwrap();
        for exit in [Exit::Completed, Exit::Stopped, Exit::failed("x"), Exit::Code(3)] {
            let (held, ends) = (Arc::new(()), exit.clone());
            let captured = Arc::clone(&held);
            let child = Child::task("once", move |ctx: Ctx| {
                let (_held, ends) = (Arc::clone(&captured), ends.clone());
                async move {
                    ctx.sleep(s(1)).await;
                    ends
                }
            });
            tree.add_child("/t", child.restart(Restart::Temporary)).await.unwrap();
            assert_eq!((state(&tree, "/t/once"), Arc::strong_count(&held)), ("running", 2), "{exit}");
            tokio::time::sleep(s(1) + Duration::from_millis(1)).await;
            assert_eq!((state(&tree, "/t/once"), Arc::strong_count(&held)), ("removed", 1), "{exit}");
        }
        fixture.end(tree).await;
    });
}

#[test]
fn c18_a_declared_temporary_child_stays_listed_and_starts_again_only_with_its_supervisor_or_by_command() {
    for strategy in GROUPS {
        run_paused(async {
            let fixture = Fixture::new();
            let [a, once] = fixture.puppets(["a", "once"]);
            let inner = Supervisor::new("s")
                .strategy(strategy)
                .child(a.child())
                .child(once.child().restart(Restart::Temporary));
            let tree = Supervisor::new("t").child(inner).start().await.unwrap();
            once.fail("x");
            once.gone().await;
            a.fail("x");
            a.started(2).await;
            fixture.log().await;
            assert_eq!((state(&tree, "/t/s/once"), once.starts()), ("finished", 1));
            let done = tree.start_child("/t/s/once").await;
            assert!(matches!(done, Ok(Outcome::Ready { attempt: Attempt(2), .. })), "{done:?}");
            once.complete();
            once.gone().await;
            tree.restart_child("/t/s").await.unwrap();
            assert_eq!((state(&tree, "/t/s/once"), once.starts()), ("running", 3));
            fixture.end(tree).await;
        });
    }
}
