//! Rows C38 to C48: shutdown and auto-shutdown.

use crate::fixture::{Fixture, GROUPS, LoggedPuppet, long_backoff, name, puppet_group, run_paused, s, state};
use liveoak_runtime::testing::Puppet;
use liveoak_runtime::*;
use std::time::Duration;

/// Returns what a report says about each child: its name, the stop stage, and the kind of its exit.
fn ends(report: &StopReport) -> Vec<(&str, StopStage, &'static str)> {
    let end = |entry: &StopEntry| entry.exit.as_ref().map_or("none", Exit::kind);
    report.entries.iter().map(|entry| (entry.path.name(), entry.stage, end(entry))).collect()
}

#[test]
fn c38_children_stop_one_after_another_in_reverse_and_side_by_side_with_order_edges() {
    for (order, took) in [(Order::Declared, s(6)), (Order::Edges, s(4))] {
        run_paused(async {
            let fixture = Fixture::new();
            let [base, left, right] = ["base", "left", "right"]
                .map(|name| fixture.puppet_with(name, |puppet| puppet.stopping_after(s(2))));
            let tree = Supervisor::new("t")
                .order(order)
                .child(base.child())
                .children([left.child().after("base"), right.child().after("base")])
                .start()
                .await
                .unwrap();
            fixture.log().await;
            assert_eq!(tree.stop().await.took, took, "{order:?}");
            let log = fixture.log().await;
            assert!(log.ends_with(" -base"), "{log}");
            assert!(order == Order::Edges || log == "-right -left -base", "{log}");
            fixture.ended().await;
        });
    }
}

#[test]
fn c39_a_child_is_asked_then_killed_at_its_deadline_and_the_next_is_asked_only_after_its_end() {
    run_paused(async {
        let fixture = Fixture::new();
        let a = fixture.puppet("a");
        let dies_slowly = Child::task_with_kill("b", |ctx: Ctx| async move {
            ctx.killed().await;
            tokio::time::sleep(s(1)).await;
            Exit::Killed
        });
        let tree =
            Supervisor::new("t").child(a.child()).child(dies_slowly.stop_within(s(3))).start().await.unwrap();
        tree.begin_stop();
        let a_moment = Duration::from_millis(1);
        tokio::time::sleep(s(3) - a_moment).await;
        let stopping = |stage, remaining| ChildState::Stopping { stage, remaining: Some(remaining) };
        let b = || tree.snapshot().get("/t/b").map(|view| view.state.clone());
        assert_eq!(b(), Some(stopping(StopStage::Asked, a_moment)));
        tokio::time::sleep(s(1)).await;
        assert_eq!(b(), Some(stopping(StopStage::Killed, KILL_WAIT - (s(1) - a_moment))));
        assert_eq!((a.live(), state(&tree, "/t/a")), (1, "running"), "a is not asked yet");
        let report = tree.stop().await;
        assert_eq!(ends(&report), [("b", StopStage::Killed, "killed"), ("a", StopStage::Asked, "completed")]);
        assert_eq!(report.took, s(4));
        fixture.ended().await;
    });
}

#[test]
fn c39_a_leaf_may_have_no_stop_deadline() {
    const DAY: Duration = s(24 * 3600);
    run_paused(async {
        let fixture = Fixture::new();
        let a = fixture.puppet_with("a", |puppet| puppet.stopping_after(DAY));
        let tree = Supervisor::new("t")
            .stop_within(Duration::MAX)
            .child(a.child().stop_within(Duration::MAX))
            .start()
            .await
            .unwrap();
        let report = tree.stop().await;
        assert_eq!((report.took, report.is_clean()), (DAY, true));
        fixture.ended().await;
    });
}

#[test]
fn c40_a_deadline_of_zero_kills_immediately_without_asking_and_waits_for_the_end() {
    run_paused(async {
        let fixture = Fixture::new();
        let a = fixture.puppet("a");
        // If they were asked, all would end in another way: `quick` by itself, the other children later.
        let quick = fixture.puppet("quick");
        let b = fixture.puppet_with("b", |puppet| puppet.stopping_after(s(100)));
        let group = puppet_group().stop_within(Duration::ZERO);
        let members = group.handle();
        let tree = Supervisor::new("t")
            .child(a.child())
            .child(b.child().stop_within(Duration::ZERO))
            .child(quick.child().stop_within(Duration::ZERO))
            .child(group)
            .start()
            .await
            .unwrap();
        let m = fixture.puppet_with("m", |puppet| puppet.stopping_after(s(100)));
        members.start(Some(name("m")), m).await.unwrap();
        fixture.log().await;
        let report = tree.stop().await;
        assert_eq!(fixture.log().await, "-m -quick -b -a");
        let forced: Vec<_> = report.forced().map(|entry| entry.path.name()).collect();
        assert_eq!((forced, report.took), (vec!["m", "quick", "b"], Duration::ZERO));
        fixture.ended().await;
    });
}

#[test]
fn c41_a_group_stops_all_its_members_together_under_one_deadline_and_skips_waiting_members() {
    run_paused(async {
        let fixture = Fixture::new();
        let group = puppet_group().backoff(long_backoff()).stop_within(s(10));
        let members = group.handle();
        let tree = Supervisor::new("t").child(group).start().await.unwrap();
        for (puppet, seconds) in [("a", 9), ("b", 7), ("c", 8)] {
            let puppet = fixture.puppet_with(puppet, |puppet| puppet.stopping_after(s(seconds)));
            members.start(None, puppet).await.unwrap();
        }
        let waits = fixture.puppet("waits");
        members.start(Some(name("waits")), waits.clone()).await.unwrap();
        waits.fail("x");
        fixture.log().await;
        assert_eq!(state(&tree, "/t/g/waits"), "backing-off");
        let Ok(Outcome::Stopped(report)) = tree.stop_child("/t/g").await else { panic!("it was running") };
        assert_eq!((report.took, report.is_clean()), (s(9), true), "the longest time, not the sum");
        assert_eq!(fixture.log().await, "-b -c -a");
        tree.start_child("/t/g").await.unwrap();
        for puppet in ["d", "e", "f"] {
            members.start(None, fixture.puppet_with(puppet, Puppet::ignoring_stop)).await.unwrap();
        }
        let report = tree.stop().await;
        assert_eq!((report.took, report.forced().count()), (s(10), 3));
        assert_eq!(waits.starts(), 1);
        fixture.ended().await;
    });
}

#[test]
fn c42_children_that_end_by_themselves_during_the_stop_do_not_confuse_it() {
    for strategy in GROUPS {
        run_paused(async {
            let fixture = Fixture::new();
            let [a, b] = fixture.puppets(["a", "b"]);
            let c = fixture.puppet_with("c", |puppet| puppet.stopping_after(s(3)));
            let tree = Supervisor::new("t")
                .strategy(strategy)
                .intensity(Limit::new(0, s(5)))
                .children([a.child(), b.child(), c.child()])
                .start()
                .await
                .unwrap();
            fixture.log().await;
            tree.begin_stop();
            tokio::time::sleep(s(1)).await;
            a.complete();
            b.panic("while c stops");
            let ended = tree.join().await;
            assert_eq!(fixture.log().await, "-a -b -c", "{strategy:?}");
            assert!(matches!(ended.exit, Exit::Stopped), "{ended:?}");
            assert_eq!((ended.report.took, ended.report.entries.len()), (s(3), 3));
            fixture.ended().await;
        });
    }
}

#[test]
fn c43_the_report_says_how_each_child_ended_and_which_were_killed_at_their_deadline() {
    run_paused(async {
        let fixture = Fixture::new();
        let polite = fixture.puppet("polite");
        let deaf = fixture.puppet_with("deaf", Puppet::ignoring_stop);
        let fails = Child::task("fails", |ctx: Ctx| async move {
            ctx.stopping().await;
            Err::<(), _>("could not save")
        });
        let tree =
            Supervisor::new("t").children([fails, deaf.child(), polite.child()]).start().await.unwrap();
        let mut events = tree.events();
        let report = tree.stop().await;
        assert_eq!(
            ends(&report),
            [
                ("polite", StopStage::Asked, "completed"),
                ("deaf", StopStage::Killed, "killed"),
                ("fails", StopStage::Asked, "failed")
            ]
        );
        assert!(!report.is_clean());
        let mut warned = Vec::new();
        while let Some(EventOrLost::Event(event)) = events.next().await {
            if event.severity >= Severity::Warn {
                warned.push((event.path.name().to_owned(), event.kind.name()));
            }
        }
        assert_eq!(warned, [("deaf".to_owned(), "killed")]);
        fixture.ended().await;
    });
}

#[test]
fn c43_the_report_of_a_large_group_lists_a_hundred_clean_stops_all_forced_stops_and_a_count() {
    run_paused(async {
        let group = Group::<bool>::new("g", |ctx: Ctx, listens| async move {
            ctx.stopping().await;
            if !listens {
                std::future::pending::<()>().await;
            }
        });
        let members = group.handle();
        let tree = Supervisor::new("t").child(group).start().await.unwrap();
        for n in 0..300 {
            members.spawn(n % 3 != 0).unwrap();
        }
        let report = tree.stop().await;
        let clean = report.entries.iter().filter(|entry| !entry.stage.is_forced()).count();
        // A hundred members, and the group itself.
        assert_eq!((clean, report.forced().count(), report.unlisted), (101, 100, 100));
    });
}

#[test]
fn c44_a_stop_of_the_tree_works_in_the_middle_of_a_restart_loop() {
    for strategy in GROUPS {
        run_paused(async {
            let fixture = Fixture::new();
            let a = fixture.puppet_with("a", Puppet::slow_to_start);
            let b = fixture.puppet("b");
            a.ready();
            let nested = Supervisor::new("s")
                .strategy(strategy)
                .child(a.child().backoff(long_backoff()))
                .child(b.child());
            let tree = Supervisor::new("t").child(nested).start().await.unwrap();
            a.fail("x");
            a.started(2).await;
            a.fail("before it is ready");
            a.gone().await;
            assert_eq!([state(&tree, "/t/s/a"), state(&tree, "/t/s/b")], ["backing-off", "waiting"]);
            fixture.log().await;
            let report = tree.stop().await;
            tokio::time::sleep(s(1_000_000)).await;
            assert_eq!(fixture.log().await, "", "{strategy:?}: nothing starts later");
            let cancelled = report.entries.iter().filter(|entry| entry.stage == StopStage::Cancelled);
            let cancelled: Vec<_> = cancelled.map(|entry| entry.path.name()).collect();
            assert_eq!((cancelled, report.took), (vec!["a", "b"], Duration::ZERO));
            fixture.ended().await;
        });
    }
}

/// Starts a significant child `a` with this restart type and a child `b`, under a supervisor with `AnySignificant`.
async fn significant(fixture: &Fixture, restart: Restart) -> (Tree, [LoggedPuppet; 2]) {
    let [a, b] = fixture.puppets(["a", "b"]);
    let tree = Supervisor::new("t")
        .auto_shutdown(AutoShutdown::AnySignificant)
        .child(a.child().restart(restart).significant())
        .child(b.child())
        .start()
        .await
        .unwrap();
    fixture.log().await;
    (tree, [a, b])
}

#[test]
fn c45_a_significant_child_that_ends_by_itself_and_is_not_restarted_ends_its_supervisor() {
    for (restart, exit, log) in [
        (Restart::Transient, Exit::Completed, "-a -b"),
        (Restart::Transient, Exit::failed("x"), "-a +a"),
        (Restart::Temporary, Exit::Completed, "-a -b"),
        (Restart::Temporary, Exit::failed("x"), "-a -b"),
    ] {
        let kind = if exit.is_failure() { "auto-shutdown-failed" } else { "auto-shutdown" };
        run_paused(async {
            let fixture = Fixture::new();
            let (tree, [a, _]) = significant(&fixture, restart).await;
            let case = format!("{restart:?} {exit}");
            a.end(exit);
            assert_eq!(fixture.log().await, log, "{case}");
            if log == "-a -b" {
                assert_eq!(tree.join().await.exit.kind(), kind, "{case}");
            }
            fixture.end(tree).await;
        });
    }
}

#[test]
fn c46_stops_by_command_restarts_caused_by_siblings_and_insignificant_children_do_not_end_the_supervisor() {
    run_paused(async {
        let fixture = Fixture::new();
        let (tree, _) = significant(&fixture, Restart::Transient).await;
        tree.stop_child("/t/a").await.unwrap();
        tree.remove_child("/t/a").await.unwrap();
        tokio::time::sleep(s(100)).await;
        assert_eq!((state(&tree, "/t"), fixture.log().await.as_str()), ("running", "-a"));
        fixture.end(tree).await;

        let fixture = Fixture::new();
        let [main, b, aside] = fixture.puppets(["main", "b", "aside"]);
        let tree = Supervisor::new("t")
            .strategy(Strategy::OneForAll)
            .auto_shutdown(AutoShutdown::AnySignificant)
            .child(main.child().restart(Restart::Temporary).significant())
            .child(b.child())
            .child(aside.child().restart(Restart::Temporary))
            .start()
            .await
            .unwrap();
        aside.complete();
        aside.gone().await;
        b.fail("x");
        b.started(2).await;
        tokio::time::sleep(s(100)).await;
        assert_eq!((state(&tree, "/t"), state(&tree, "/t/main")), ("running", "finished"));
        fixture.end(tree).await;
    });
}

#[test]
fn c47_any_ends_with_the_first_and_all_with_the_last_significant_child() {
    for (auto_shutdown, goes_on) in
        [(AutoShutdown::AnySignificant, false), (AutoShutdown::AllSignificant, true)]
    {
        run_paused(async {
            let fixture = Fixture::new();
            let [a, b, helper] = fixture.puppets(["a", "b", "helper"]);
            let tree = Supervisor::new("t")
                .auto_shutdown(auto_shutdown)
                .children([&a, &b].map(|puppet| {
                    puppet.child().restart(Restart::Transient).significant().backoff(long_backoff())
                }))
                .child(helper.child())
                .start()
                .await
                .unwrap();
            b.fail("it will be restarted");
            b.gone().await;
            a.complete();
            fixture.log().await;
            assert_eq!(helper.live(), usize::from(goes_on), "{auto_shutdown:?}");
            if goes_on {
                b.started(2).await;
                fixture.log().await;
                b.complete();
                fixture.log().await;
            }
            assert_eq!((helper.live(), helper.starts()), (0, 1), "the helper is stopped");
            let ended = tree.join().await;
            assert!(matches!(ended.exit, Exit::AutoShutdown) && !ended.exit.is_failure(), "{ended:?}");
            fixture.ended().await;
        });
    }
}

#[test]
fn c48_an_auto_shutdown_cascades_only_through_a_significant_supervisor_that_is_not_restarted() {
    for (restart, significant, goes_up, left, starts) in [
        (Restart::Transient, true, true, "down", 1),
        (Restart::Temporary, true, true, "down", 1),
        (Restart::Transient, false, false, "finished", 1),
        (Restart::Permanent, false, false, "running", 2),
    ] {
        run_paused(async {
            let fixture = Fixture::new();
            let [inner, beside] = fixture.puppets(["inner", "beside"]);
            let any = AutoShutdown::AnySignificant;
            let nested = Supervisor::new("s")
                .auto_shutdown(any)
                .child(inner.child().restart(Restart::Transient).significant())
                .restart(restart);
            let nested = Child::from(nested).map_spec(|spec| ChildSpec { backoff: None, ..spec });
            let nested = if significant { nested.significant() } else { nested };
            let tree = Supervisor::new("t")
                .auto_shutdown(any)
                .child(nested)
                .child(beside.child())
                .start()
                .await
                .unwrap();
            inner.complete();
            fixture.log().await;
            assert_eq!(beside.live(), usize::from(!goes_up), "{restart:?} {significant}");
            assert_eq!(inner.starts(), starts, "{restart:?} {significant}");
            if !goes_up {
                assert_eq!(state(&tree, "/t/s"), left, "{restart:?}");
            }
            fixture.end(tree).await;
        });
    }
}
