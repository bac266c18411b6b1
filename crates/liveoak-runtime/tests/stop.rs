//! Stopping, in paused time.

use liveoak_runtime::testing::{LeakCheck, eventually, paused};
use liveoak_runtime::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Returns a backoff that is longer than any other time of a test.
fn slow_backoff() -> Backoff {
    Backoff { from: s(1000), to: s(1000), reset_after: s(10_000), ..Backoff::default() }
}

#[test]
fn many_children_that_ignore_the_stop_are_forced_and_reported_within_one_budget() {
    paused(async {
        let leak_check = LeakCheck::new();
        let puppets: Vec<_> = (0..50).map(|n| leak_check.puppet(format!("p{n}")).ignoring_stop()).collect();
        let tree = Supervisor::new("t")
            .stop_within(s(20))
            .children(puppets.iter().map(|puppet| puppet.child()))
            .start()
            .await
            .unwrap();
        let report = tree.stop().await;
        assert!(report.took <= s(20), "{:?}", report.took);
        assert_eq!(report.entries.len(), 50);
        for n in 0..50 {
            let path = Path::new(&format!("/t/p{n}"));
            let entry = report.entries.iter().find(|entry| entry.path == path).expect("every child is named");
            assert_eq!(entry.stage, StopStage::Killed);
        }
        leak_check.check().await;
    });
}

#[test]
fn a_child_that_looks_after_the_stop_request_still_sees_it() {
    paused(async {
        let leak_check = LeakCheck::new();
        let child = Child::task("busy", |ctx: Ctx| async move {
            tokio::time::sleep(s(3)).await;
            ctx.stopping().await;
        });
        let tree = Supervisor::new("t").child(child).start().await.unwrap();
        let report = tree.stop().await;
        assert!(report.is_clean(), "{report:?}");
        assert_eq!(report.took, s(3));
        leak_check.check().await;
    });
}

#[test]
fn an_attempt_that_begins_after_the_stop_request_still_sees_it() {
    paused(async {
        let child =
            Child::task("a", |ctx: Ctx| async move { assert!(ctx.is_stopping(), "looked too early") });
        // No task runs between these two calls.
        let tree = Supervisor::new("t").child(child).begin().unwrap();
        let report = tree.stop().await;
        assert!(matches!(report.entries[0].exit, Some(Exit::Completed)), "{report:?}");
    });
}

#[test]
fn two_stops_return_the_same_report() {
    paused(async {
        let leak_check = LeakCheck::new();
        let slow = leak_check.puppet("slow").stopping_after(s(2));
        let tree = Supervisor::new("t").child(slow.child()).start().await.unwrap();
        let (other, third) = (tree.handle(), tree.handle());
        let other = tokio::spawn(async move { other.stop().await });
        tokio::time::sleep(s(1)).await;
        let first = tree.stop().await;
        assert!(Arc::ptr_eq(&first, &other.await.unwrap().unwrap()));
        assert!(Arc::ptr_eq(&first, &third.stop().await.unwrap()));
        assert_eq!(first.took, s(2));
        for _ in 0..3 {
            let ended = third.join().await.unwrap();
            assert!(Arc::ptr_eq(&first, &ended.report));
            assert!(matches!(ended.exit, Exit::Stopped), "{:?}", ended.exit);
        }
        leak_check.check().await;
    });
}

#[test]
fn a_stop_during_the_start_cancels_children_that_have_not_begun() {
    paused(async {
        let leak_check = LeakCheck::new();
        let a = leak_check.puppet("a");
        let slow = leak_check.puppet("slow").slow_to_start();
        let later = leak_check.puppet("later");
        let tree =
            Supervisor::new("t").child(a.child()).child(slow.child()).child(later.child()).begin().unwrap();
        slow.started(1).await;
        let report = tree.stop().await;
        assert!(report.is_clean(), "{report:?}");
        assert_eq!((a.starts(), slow.starts(), later.starts()), (1, 1, 0));
        let stages: Vec<_> = report.entries.iter().map(|entry| (entry.path.name(), entry.stage)).collect();
        assert_eq!(
            stages,
            [("later", StopStage::Cancelled), ("slow", StopStage::Asked), ("a", StopStage::Asked)]
        );
        assert!(tree.ready().await.is_err(), "it was never ready");
        leak_check.check().await;
    });
}

#[test]
fn a_stop_remove_or_shutdown_cancels_a_pending_backoff() {
    paused(async {
        let leak_check = LeakCheck::new();
        let puppets: Vec<_> =
            ["stopped", "removed", "shut"].into_iter().map(|name| leak_check.puppet(name)).collect();
        let tree = Supervisor::new("t")
            .children(puppets.iter().map(|puppet| puppet.child().backoff(slow_backoff())))
            .start()
            .await
            .unwrap();
        for puppet in &puppets {
            puppet.fail("now");
            puppet.gone().await;
        }
        for node in &tree.snapshot().root.children {
            assert!(matches!(node.state, ChildState::BackingOff { .. }), "{:?}", node.state);
        }
        tree.stop_child("/t/stopped").await.unwrap();
        tree.remove_child("/t/removed").await.unwrap();
        tokio::time::sleep(s(2000)).await;
        assert_eq!([puppets[0].starts(), puppets[1].starts()], [1, 1]);
        // The third child was restarted meanwhile, so the other children would have been too if their backoff had
        // continued.
        assert_eq!(puppets[2].starts(), 2);
        puppets[2].fail("again");
        puppets[2].gone().await;
        let report = tree.stop().await;
        assert_eq!(report.entries[0].stage, StopStage::Cancelled);
        tokio::time::sleep(s(2000)).await;
        assert_eq!(puppets[2].starts(), 2);
        leak_check.check().await;
    });
}

#[test]
fn a_stop_during_a_restart_of_a_set_starts_nothing_more() {
    paused(async {
        let leak_check = LeakCheck::new();
        let a = leak_check.puppet("a");
        let b = leak_check.puppet("b").stopping_after(s(2));
        let tree = Supervisor::new("t")
            .strategy(Strategy::OneForAll)
            .child(a.child().backoff(None))
            .child(b.child())
            .start()
            .await
            .unwrap();
        a.fail("x");
        a.gone().await;
        tokio::time::sleep(s(1)).await;
        let report = tree.stop().await;
        assert!(report.is_clean(), "{report:?}");
        assert_eq!((a.starts(), b.starts()), (1, 1));
        leak_check.check().await;
    });
}

#[test]
fn after_a_restart_command_and_a_stop_no_attempt_is_alive() {
    paused(async {
        let leak_check = LeakCheck::new();
        let a = leak_check.puppet("a").stopping_after(s(1));
        let tree = Supervisor::new("t").child(a.child()).start().await.unwrap();
        let handle = tree.handle();
        let restart = tokio::spawn(async move { handle.restart_child("/t/a").await });
        tokio::task::yield_now().await;
        tree.stop().await;
        assert_eq!((a.live(), a.starts()), (0, 1));
        assert!(restart.await.unwrap().is_err());
        leak_check.check().await;
    });
}

#[test]
fn dynamic_children_are_stopped_and_reported_like_the_others() {
    paused(async {
        let leak_check = LeakCheck::new();
        let (added, deaf) = (leak_check.puppet("added"), leak_check.puppet("deaf").ignoring_stop());
        let template = deaf.clone();
        let group = Group::<()>::new("g", move |ctx, ()| template.body(ctx)).stop_within(s(3));
        let members = group.handle();
        let tree = Supervisor::new("t").child(group).start().await.unwrap();
        tree.add_child("/t", added.child()).await.unwrap();
        members.spawn_named(Name::new("m").unwrap(), ()).unwrap();
        deaf.started(1).await;
        let report = tree.stop().await;
        let mut stages: Vec<_> =
            report.entries.iter().map(|entry| (entry.path.to_string(), entry.stage)).collect();
        stages.sort();
        assert_eq!(
            stages,
            [
                ("/t/added".into(), StopStage::Asked),
                ("/t/g".into(), StopStage::Asked),
                ("/t/g/m".into(), StopStage::Killed)
            ]
        );
        assert_eq!(report.took, s(3));
        leak_check.check().await;
    });
}

#[test]
fn children_stop_in_the_reverse_of_their_order() {
    paused(async {
        let leak_check = LeakCheck::new();
        let [a, b, c] = ["a", "b", "c"].map(|name| leak_check.puppet(name).stopping_after(s(1)));
        let tree = Supervisor::new("t")
            .child(a.child().after("c"))
            .child(b.child())
            .child(c.child())
            .start()
            .await
            .unwrap();
        let report = tree.stop().await;
        let names: Vec<_> = report.entries.iter().map(|entry| entry.path.name().to_owned()).collect();
        assert_eq!(names, ["a", "c", "b"]);
        assert_eq!(report.took, s(3), "one after another");
        leak_check.check().await;
    });
}

#[test]
fn a_kill_waits_for_no_child() {
    paused(async {
        let leak_check = LeakCheck::new();
        let (a, b) = (leak_check.puppet("a").ignoring_stop(), leak_check.puppet("b").stopping_after(s(4)));
        let inner = Supervisor::new("inner").child(b.child());
        let tree = Supervisor::new("t").child(a.child()).child(inner).start().await.unwrap();
        let report = tree.kill().await;
        assert!(report.took < Duration::from_millis(10), "{:?}", report.took);
        assert_eq!(report.forced().count(), 2);
        leak_check.check().await;
    });
}

#[test]
fn a_kill_overtakes_a_stop_that_is_under_way() {
    paused(async {
        let leak_check = LeakCheck::new();
        let a = leak_check.puppet("a").ignoring_stop();
        let child = a.child().stop_within(Duration::MAX);
        let tree = Supervisor::new("t").stop_within(s(1000)).child(child).start().await.unwrap();
        tree.begin_stop();
        tokio::time::sleep(s(7)).await;
        let report = tree.kill().await;
        assert_eq!(report.took, s(7));
        leak_check.check().await;
    });
}

#[test]
fn a_child_that_kills_its_tree_when_asked_to_stop_is_killed_immediately() {
    paused(async {
        let child = Child::task("a", |ctx: Ctx| async move {
            ctx.stopping().await;
            // After this, only the kill can wake it.
            ctx.tree().begin_kill();
            std::future::pending::<()>().await;
        });
        let tree = Supervisor::new("t").child(child).start().await.unwrap();
        // Lets the child wait for the stop.
        tokio::time::sleep(s(1)).await;
        let report = tree.stop().await;
        assert_eq!((report.entries[0].stage, report.took), (StopStage::Killed, Duration::ZERO), "{report:?}");
    });
}

#[test]
fn a_stop_of_more_members_than_one_call_handles_continues_although_no_deadline_is_set() {
    const MEMBERS: usize = 20_000;
    paused(async {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let group = Group::<()>::new("g", move |ctx: Ctx, ()| {
            let count = Arc::clone(&count);
            async move {
                ctx.stopping().await;
                count.fetch_add(1, Ordering::Relaxed);
                // It never ends, so no exit continues the stop.
                std::future::pending::<()>().await;
            }
        });
        let group = group.stop_within(Duration::MAX);
        let members = group.handle();
        let tree = Supervisor::new("t").stop_within(Duration::MAX).child(group).start().await.unwrap();
        for _ in 0..MEMBERS {
            members.spawn(()).unwrap();
        }
        // Lets all members wait for the stop.
        tokio::time::sleep(s(1)).await;
        tree.begin_stop();
        eventually("all are asked", || asked.load(Ordering::Relaxed) == MEMBERS).await;
        tree.kill().await;
    });
}

#[test]
fn a_child_that_ends_by_itself_during_the_stop_of_another_is_not_restarted() {
    paused(async {
        let leak_check = LeakCheck::new();
        let (a, b) = (leak_check.puppet("a"), leak_check.puppet("b").stopping_after(s(2)));
        let tree =
            Supervisor::new("t").child(a.child().backoff(None)).child(b.child()).start().await.unwrap();
        tree.begin_stop();
        tokio::time::sleep(s(1)).await;
        a.fail("while b stops");
        tree.stop().await;
        assert_eq!(a.starts(), 1);
        leak_check.check().await;
    });
}

#[test]
fn a_task_with_kill_sees_its_kill_and_is_abandoned_after_the_kill_wait() {
    paused(async {
        let leak_check = LeakCheck::new();
        let killed = Arc::new(std::sync::Mutex::new(Vec::new()));
        let child = |name: &'static str, obeys: bool| {
            let killed = Arc::clone(&killed);
            Child::task_with_kill(name, move |ctx: Ctx| {
                let killed = Arc::clone(&killed);
                async move {
                    ctx.killed().await;
                    killed.lock().unwrap().push(name);
                    if !obeys {
                        std::future::pending::<()>().await;
                    }
                    Exit::Signal { signal: 9, core_dumped: false }
                }
            })
            .stop_within(s(1))
        };
        let tree = Supervisor::new("t")
            .child(child("obeys", true))
            .child(child("hangs", false))
            .start()
            .await
            .unwrap();
        let report = tree.stop().await;
        let stages: Vec<_> = report.entries.iter().map(|entry| (entry.path.name(), entry.stage)).collect();
        assert_eq!(stages, [("hangs", StopStage::Abandoned), ("obeys", StopStage::Killed)]);
        assert!(matches!(report.entries[1].exit, Some(Exit::Signal { signal: 9, .. })), "{report:?}");
        assert_eq!(*killed.lock().unwrap(), ["hangs", "obeys"]);
        assert_eq!(report.took, s(1) + KILL_WAIT + s(1));
        // The body of the abandoned attempt was dropped, so nothing is left.
        leak_check.check().await;
    });
}

#[test]
fn a_child_that_does_not_end_when_killed_is_abandoned_after_its_kill_wait() {
    paused(async {
        let child = Child::task_with_kill("a", |_| std::future::pending::<()>());
        let child = child.stop_within(s(1)).kill_wait(s(9));
        let tree = Supervisor::new("t").child(child).start().await.unwrap();
        let report = tree.stop().await;
        assert_eq!((report.entries[0].stage, report.took), (StopStage::Abandoned, s(10)));
    });
}
