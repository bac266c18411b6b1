//! Commands on one child, given by its path: add, remove, start, stop and restart.

use liveoak_runtime::testing::{LeakCheck, paused};
use liveoak_runtime::*;
use std::time::Duration;

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn state(tree: &TreeHandle, path: &str) -> ChildState {
    tree.snapshot().get(path).unwrap().state.clone()
}

#[test]
fn a_command_is_answered_when_it_has_taken_effect() {
    paused(async {
        let leak_check = LeakCheck::new();
        let a = leak_check.puppet("a").stopping_after(s(2)).slow_to_start();
        a.ready();
        let tree = Supervisor::new("t").child(a.child()).start().await.unwrap();
        let done = tree.stop_child("/t/a").await.unwrap();
        let Outcome::Stopped(report) = done else { panic!("{done:?}") };
        assert_eq!((a.live(), report.took), (0, s(2)));
        assert_eq!(state(&tree, "/t/a"), ChildState::Idle(IdleReason::StoppedByCommand));
        // The child stays down until a command starts it.
        tokio::time::sleep(s(3600)).await;
        assert_eq!(a.starts(), 1);
        let handle = tree.handle();
        let start = tokio::spawn(async move { handle.start_child("/t/a").await });
        tokio::time::sleep(s(3)).await;
        assert!(!start.is_finished(), "it is not ready yet");
        a.ready();
        let done = start.await.unwrap().unwrap();
        assert!(matches!(done, Outcome::Ready { attempt: Attempt(2), .. }), "{done:?}");
        let handle = tree.handle();
        let restart = tokio::spawn(async move { handle.restart_child("/t/a").await });
        a.started(3).await;
        a.ready();
        let done = restart.await.unwrap().unwrap();
        assert!(matches!(done, Outcome::Ready { attempt: Attempt(3), .. }), "{done:?}");
        assert_eq!((a.live(), a.starts()), (1, 3));
        tree.stop().await;
        leak_check.check().await;
    });
}

#[test]
fn a_failed_start_is_the_command_s_answer_and_the_child_stays_down() {
    paused(async {
        let leak_check = LeakCheck::new();
        let a = leak_check.puppet("a").slow_to_start();
        a.ready();
        let tree = Supervisor::new("t").child(a.child()).start().await.unwrap();
        tree.stop_child("/t/a").await.unwrap();
        a.fail("no disk");
        let refused = tree.start_child("/t/a").await;
        assert!(
            matches!(&refused, Err(Refusal::Failed(exit)) if exit.to_string() == "failed: no disk"),
            "{refused:?}"
        );
        tokio::time::sleep(s(3600)).await;
        assert_eq!((a.starts(), state(&tree, "/t/a")), (2, ChildState::Idle(IdleReason::StoppedByCommand)));
        tree.stop().await;
        leak_check.check().await;
    });
}

#[test]
fn every_refusal_names_its_reason() {
    paused(async {
        let leak_check = LeakCheck::new();
        let (a, b) = (leak_check.puppet("a"), leak_check.puppet("b"));
        let group = Group::<()>::new("g", |ctx: Ctx, ()| async move { ctx.stopping().await });
        let members = group.handle();
        let tree = Supervisor::new("t")
            .child(a.child())
            .child(b.child().after("a"))
            .child(group)
            .child(Supervisor::new("inner"))
            .start()
            .await
            .unwrap();
        let other = || leak_check.puppet("other").child();

        let refused = tree.stop_child("/t/absent").await.unwrap_err();
        assert!(matches!(refused, Refusal::NotFound), "{refused:?}");
        let refused = tree.stop_child("/elsewhere/a").await.unwrap_err();
        assert!(matches!(refused, Refusal::NotFound), "{refused:?}");
        let refused = tree.start_child("/t/a").await.unwrap_err();
        assert!(matches!(refused, Refusal::NotDown { state: "running" }), "{refused:?}");
        let refused = tree.add_child("/t/absent", other()).await.map_err(Refusal::from).unwrap_err();
        assert!(matches!(refused, Refusal::NotFound), "{refused:?}");
        let refused = tree.add_child("/t/a", other()).await.map_err(Refusal::from).unwrap_err();
        assert!(matches!(refused, Refusal::NotASupervisor), "{refused:?}");
        let refused = tree.add_child("/t/g", other()).await.map_err(Refusal::from).unwrap_err();
        assert!(matches!(refused, Refusal::IsAGroup), "{refused:?}");
        let refused = tree.add_child("/t", a.child()).await.map_err(Refusal::from).unwrap_err();
        assert!(matches!(refused, Refusal::AlreadyExists { state: "running" }), "{refused:?}");
        let refused = tree.add_child("/t", other().after("absent")).await.map_err(Refusal::from).unwrap_err();
        assert!(matches!(&refused, Refusal::Invalid(errors) if errors.to_string().contains("absent")));
        let refused =
            tree.add_child("/t", leak_check.puppet("a/b").child()).await.map_err(Refusal::from).unwrap_err();
        assert!(matches!(refused, Refusal::Invalid(_)), "{refused:?}");
        let refused = tree.remove_child("/t/a").await.unwrap_err();
        assert!(matches!(&refused, Refusal::NeededBy(names) if names[0].as_str() == "b"), "{refused:?}");
        let refused = tree.remove_child("/t").await.unwrap_err();
        assert!(matches!(refused, Refusal::IsRoot), "{refused:?}");
        let failing = leak_check.puppet("failing").slow_to_start();
        failing.fail("at once");
        let refused = tree.add_child("/t", failing.child()).await.map_err(Refusal::from).unwrap_err();
        assert!(matches!(refused, Refusal::Failed(_)), "{refused:?}");
        assert!(tree.snapshot().get("/t/failing").is_none(), "it is not kept");
        tree.stop_child("/t/inner").await.unwrap();
        let refused = tree.add_child("/t/inner", other()).await.map_err(Refusal::from).unwrap_err();
        assert!(matches!(refused, Refusal::SupervisorDown), "{refused:?}");
        members.spawn(()).unwrap();
        assert_eq!([a.starts(), b.starts()], [1, 1], "a refusal changes nothing");

        tree.stop().await;
        for refused in [
            tree.start_child("/t/a").await,
            tree.restart_child("/t/a").await,
            tree.remove_child("/t/a").await,
            tree.add_child("/t", other()).await.map(|added| added.outcome).map_err(Refusal::from),
        ] {
            assert!(matches!(refused, Err(Refusal::TreeEnded)), "{refused:?}");
        }
        leak_check.check().await;
    });
}

#[test]
fn commands_above_the_limit_of_a_child_are_refused_and_the_others_are_answered() {
    paused(async {
        let leak_check = LeakCheck::new();
        let a = leak_check.puppet("a").stopping_after(s(2));
        let tree = Supervisor::new("t").child(a.child()).start().await.unwrap();
        let stops: Vec<_> = (0..1500)
            .map(|_| {
                let handle = tree.handle();
                tokio::spawn(async move { handle.stop_child("/t/a").await })
            })
            .collect();
        let (mut done, mut busy) = (0, 0);
        for stop in stops {
            match stop.await.unwrap() {
                Ok(Outcome::Stopped(_)) => done += 1,
                Err(Refusal::Busy) => busy += 1,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!((done, busy), (1024, 1500 - 1024));
        tree.stop().await;
        leak_check.check().await;
    });
}

#[test]
fn a_caller_that_stopped_waiting_no_longer_counts_against_the_limit() {
    paused(async {
        let leak_check = LeakCheck::new();
        let a = leak_check.puppet("a").stopping_after(s(100));
        let tree = Supervisor::new("t").child(a.child().stop_within(s(200))).start().await.unwrap();
        for _ in 0..1500 {
            let waited = tokio::time::timeout(Duration::from_millis(1), tree.stop_child("/t/a")).await;
            assert!(waited.is_err(), "{waited:?}");
        }
        assert!(matches!(tree.stop_child("/t/a").await, Ok(Outcome::Stopped(_))));
        tree.stop().await;
        leak_check.check().await;
    });
}

#[test]
fn a_stop_overtakes_a_restart_and_both_are_answered() {
    paused(async {
        let leak_check = LeakCheck::new();
        let a = leak_check.puppet("a").stopping_after(s(2));
        let tree = Supervisor::new("t").child(a.child()).start().await.unwrap();
        let handle = tree.handle();
        let restart = tokio::spawn(async move { handle.restart_child("/t/a").await });
        tokio::time::sleep(s(1)).await;
        let stopped = tree.stop_child("/t/a").await;
        assert!(matches!(stopped, Ok(Outcome::Stopped(_))), "{stopped:?}");
        let refused = restart.await.unwrap();
        assert!(matches!(refused, Err(Refusal::Superseded { by: "a stop" })), "{refused:?}");
        assert_eq!((a.starts(), a.live()), (1, 0));
        tree.stop().await;
        leak_check.check().await;
    });
}

#[test]
fn remove_then_add_of_the_same_id_works() {
    paused(async {
        let leak_check = LeakCheck::new();
        let tree = Supervisor::new("t").start().await.unwrap();
        for _ in 0..10 {
            let puppet = leak_check.puppet("a").stopping_after(s(1));
            let done = tree.add_child("/t", puppet.child()).await.unwrap();
            let Outcome::Ready { id, attempt: Attempt(1) } = done.outcome else { panic!("{done:?}") };
            assert_eq!(tree.snapshot().get("/t/a").unwrap().id, id);
            let done = tree.remove_child("/t/a").await.unwrap();
            assert!(matches!(done, Outcome::Removed(_)), "{done:?}");
            assert_eq!((puppet.live(), puppet.starts()), (0, 1));
        }
        tree.stop().await;
        leak_check.check().await;
    });
}

#[test]
fn a_removed_child_cannot_be_restarted() {
    paused(async {
        let leak_check = LeakCheck::new();
        let a = leak_check.puppet("a");
        let tree = Supervisor::new("t").child(a.child()).start().await.unwrap();
        tree.remove_child("/t/a").await.unwrap();
        let refused = tree.restart_child("/t/a").await;
        assert!(matches!(refused, Err(Refusal::NotFound)), "{refused:?}");
        tokio::time::sleep(s(3600)).await;
        assert_eq!((a.starts(), a.live()), (1, 0));
        tree.stop().await;
        leak_check.check().await;
    });
}

#[test]
fn a_child_that_is_added_while_its_supervisor_starts_waits_for_its_turn() {
    paused(async {
        let leak_check = LeakCheck::new();
        let (a, added) = (leak_check.puppet("a").slow_to_start(), leak_check.puppet("added"));
        let tree = Supervisor::new("t").child(a.child()).begin().unwrap();
        let (handle, child) = (tree.handle(), added.child());
        let add = tokio::spawn(async move { handle.add_child("/t", child).await });
        tokio::time::sleep(s(5)).await;
        assert_eq!((added.starts(), add.is_finished()), (0, false));
        a.ready();
        assert!(matches!(add.await.unwrap().unwrap().outcome, Outcome::Ready { .. }));
        assert_eq!(added.live(), 1);
        tree.stop().await;
        leak_check.check().await;
    });
}

#[test]
fn whole_subtrees_are_added_stopped_started_and_removed() {
    paused(async {
        let leak_check = LeakCheck::new();
        let (deep, wide) = (leak_check.puppet("deep"), leak_check.puppet("wide"));
        let tree = Supervisor::new("t").start().await.unwrap();
        let subtree =
            Supervisor::new("sub").child(Supervisor::new("inner").child(deep.child())).child(wide.child());
        assert!(matches!(tree.add_child("/t", subtree).await.unwrap().outcome, Outcome::Ready { .. }));
        assert_eq!((deep.live(), wide.live()), (1, 1));
        let Outcome::Stopped(report) = tree.stop_child("/t/sub").await.unwrap() else { panic!() };
        assert_eq!((deep.live(), wide.live(), report.entries.len()), (0, 0, 4));
        assert!(matches!(tree.start_child("/t/sub").await, Ok(Outcome::Ready { .. })));
        assert_eq!((deep.live(), wide.live()), (1, 1));
        assert!(matches!(tree.restart_child("/t/sub/inner").await, Ok(Outcome::Ready { .. })));
        assert_eq!((deep.starts(), wide.starts()), (3, 2));
        assert!(matches!(tree.remove_child("/t/sub").await, Ok(Outcome::Removed(_))));
        assert_eq!((deep.live(), wide.live()), (0, 0));
        assert!(tree.snapshot().root.children.is_empty());
        tree.stop().await;
        leak_check.check().await;
    });
}

#[test]
fn a_command_whose_future_is_dropped_is_still_carried_out() {
    paused(async {
        let leak_check = LeakCheck::new();
        let a = leak_check.puppet("a").stopping_after(s(2));
        let tree = Supervisor::new("t").child(a.child()).start().await.unwrap();
        let stop = tree.stop_child("/t/a");
        assert!(tokio::time::timeout(s(1), stop).await.is_err());
        a.gone().await;
        assert_eq!(state(&tree, "/t/a"), ChildState::Idle(IdleReason::StoppedByCommand));
        tree.stop().await;
        leak_check.check().await;
    });
}
