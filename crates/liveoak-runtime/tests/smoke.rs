//! The runtime as a whole, in a few short tests.

use liveoak_runtime::testing::{LeakCheck, paused};
use liveoak_runtime::*;
use std::time::Duration;

#[test]
fn a_tree_starts_restarts_and_stops() {
    paused(async {
        let leak_check = LeakCheck::new();
        let a = leak_check.puppet("a");
        let b = leak_check.puppet("b");
        let tree = Supervisor::new("t").child(a.child()).child(b.child()).start().await.unwrap();
        assert_eq!((a.live(), b.live()), (1, 1));
        a.fail("x");
        a.started(2).await;
        b.panic("boom");
        b.started(2).await;
        let report = tree.stop().await;
        assert!(report.is_clean(), "{report:?}");
        assert_eq!(report.entries.len(), 2);
        leak_check.check().await;
    });
}

#[test]
fn a_child_that_ignores_the_stop_is_killed_and_reported() {
    paused(async {
        let leak_check = LeakCheck::new();
        let a = leak_check.puppet("a").ignoring_stop();
        let tree = Supervisor::new("t").child(a.child()).start().await.unwrap();
        let report = tree.stop().await;
        assert_eq!(report.entries[0].stage, StopStage::Killed);
        assert_eq!(report.took, Duration::from_secs(5));
        leak_check.check().await;
    });
}

#[test]
fn a_failed_first_start_is_an_error_that_names_the_child() {
    paused(async {
        let leak_check = LeakCheck::new();
        let a = leak_check.puppet("a");
        let b = leak_check.puppet("b").slow_to_start();
        b.fail("no disk");
        let error = Supervisor::new("t").child(a.child()).child(b.child()).start().await.unwrap_err();
        assert_eq!(error.to_string(), "/t/b failed to start: failed: no disk (one other child was stopped)");
        leak_check.check().await;
    });
}

#[test]
fn dropping_the_tree_kills_everything() {
    paused(async {
        let leak_check = LeakCheck::new();
        let a = leak_check.puppet("a").ignoring_stop();
        let group = Group::<u32>::new("g", |ctx, _n| async move { ctx.stopping().await });
        let members = group.handle();
        let tree = Supervisor::new("t")
            .child(Supervisor::new("inner").child(a.child()))
            .child(group)
            .start()
            .await
            .unwrap();
        for n in 0..100 {
            members.spawn(n).unwrap();
        }
        assert_eq!(tree.snapshot().get("/t/g").unwrap().children.len(), 100);
        drop(tree);
        leak_check.check().await;
    });
}

async fn works_for_ever(_: Ctx) -> ! {
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

#[test]
fn a_body_may_be_a_loop_without_an_end() {
    paused(async {
        let tree = Supervisor::new("t")
            .child(Child::task("function", works_for_ever))
            .child(Child::task("closure", |_| async {
                loop {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }))
            .child(Child::thread("thread", |ctx| {
                loop {
                    if ctx.is_stopping() {
                        return;
                    }
                    std::thread::sleep(Duration::from_millis(1));
                }
            }))
            .start()
            .await
            .unwrap();
        let report = tree.stop().await;
        let stages: Vec<_> = report.entries.iter().map(|entry| (entry.path.as_str(), entry.stage)).collect();
        let killed = StopStage::Killed;
        assert_eq!(
            stages,
            [("/t/thread", StopStage::Asked), ("/t/closure", killed), ("/t/function", killed)]
        );
    });
}
