//! Dynamic groups.

use liveoak_runtime::testing::{LeakCheck, eventually, paused};
use liveoak_runtime::*;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn members(tree: &TreeHandle) -> Vec<String> {
    tree.snapshot().get("/t/g").unwrap().children.iter().map(|child| child.path.name().to_owned()).collect()
}

/// Returns a group whose members fail when their number is in `fails`.
fn group_of(fails: &Arc<Mutex<Vec<u32>>>) -> Group<u32> {
    let fails = Arc::clone(fails);
    Group::new("g", move |ctx: Ctx, n: u32| {
        let fails = Arc::clone(&fails);
        async move {
            while ctx.sleep(s(1)).await {
                let mut fails = fails.lock().unwrap();
                if let Some(at) = fails.iter().position(|failing| *failing == n) {
                    fails.swap_remove(at);
                    return Err(format!("member {n}"));
                }
            }
            Ok(())
        }
    })
}

#[test]
fn members_are_restarted_one_for_one_each_with_its_own_argument() {
    paused(async {
        let leak_check = LeakCheck::new();
        let fails = Arc::default();
        let group = group_of(&fails).backoff(None);
        let handle = group.handle();
        let tree = Supervisor::new("t").child(group).start().await.unwrap();
        for n in 0..10 {
            handle.spawn_named(name(&format!("m{n}")), n).unwrap();
        }
        fails.lock().unwrap().extend([3, 7]);
        tokio::time::sleep(s(5)).await;
        let snapshot = tree.snapshot();
        for n in 0..10 {
            let view = snapshot.get(format!("/t/g/m{n}")).unwrap();
            let expected = if n == 3 || n == 7 { Attempt(2) } else { Attempt(1) };
            assert_eq!(view.attempt, expected, "{}", view.path);
            if expected == Attempt(2) {
                assert_eq!(view.last_exit.as_ref().unwrap().to_string(), format!("failed: member {n}"));
            }
        }
        assert!(tree.stop().await.is_clean());
        leak_check.check().await;
    });
}

#[test]
fn a_member_whose_name_is_taken_is_refused_and_members_without_a_name_get_different_numbers() {
    paused(async {
        let group = group_of(&Arc::default());
        let handle = group.handle();
        let tree = Supervisor::new("t").child(group).start().await.unwrap();
        handle.spawn_named(name("one"), 1).unwrap();
        let refused = handle.spawn_named(name("one"), 2).map_err(Refusal::from);
        assert!(matches!(refused, Err(Refusal::AlreadyExists { .. })), "{refused:?}");
        for n in 0..100 {
            handle.spawn(n).unwrap();
        }
        let mut names = members(&tree);
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 101);
        tree.stop().await;
    });
}

#[test]
fn remove_then_add_of_the_same_name_works() {
    paused(async {
        let leak_check = LeakCheck::new();
        let group = group_of(&Arc::default());
        let handle = group.handle();
        let tree = Supervisor::new("t").child(group).start().await.unwrap();
        for _ in 0..100 {
            let id = handle.spawn_named(name("one"), 1).unwrap();
            assert_eq!(tree.snapshot().get("/t/g/one").unwrap().id, id.id());
            let done = tree.remove_child("/t/g/one").await.unwrap();
            assert!(matches!(done, Outcome::Removed(_)), "{done:?}");
            assert!(members(&tree).is_empty());
        }
        tree.stop().await;
        leak_check.check().await;
    });
}

#[test]
fn a_full_group_refuses_a_member_and_gives_its_argument_back() {
    paused(async {
        let argument = Arc::new(());
        let group = Group::<Arc<()>>::temporary("g", |ctx: Ctx, held| async move {
            let _held = held;
            ctx.stopping().await;
        });
        let group = group.max_members(2);
        let handle = group.handle();
        let tree = Supervisor::new("t").child(group).start().await.unwrap();
        handle.spawn(Arc::clone(&argument)).unwrap();
        handle.spawn(Arc::clone(&argument)).unwrap();
        let refused = handle.spawn(Arc::clone(&argument)).unwrap_err();
        assert!(matches!(refused.refusal(), Refusal::Full { max: 2 }), "{refused:?}");
        assert_eq!(Arc::strong_count(&argument), 4);
        assert!(refused.into_value().is_some_and(|back| Arc::ptr_eq(&back, &argument)));
        assert_eq!(Arc::strong_count(&argument), 3);
        tree.stop().await;
        assert_eq!(Arc::strong_count(&argument), 1);
    });
}

#[test]
fn a_temporary_member_cannot_be_restarted_and_continues_to_run() {
    paused(async {
        let leak_check = LeakCheck::new();
        let group = Group::<u32>::temporary("g", |ctx: Ctx, _n| async move { ctx.stopping().await });
        let handle = group.handle();
        let tree = Supervisor::new("t").child(group).start().await.unwrap();
        handle.spawn_named(name("m"), 1).unwrap();
        let refused = tree.restart_child("/t/g/m").await;
        assert!(matches!(refused, Err(Refusal::OnlyOnce)), "{refused:?}");
        let view = tree.snapshot().get("/t/g/m").map(|node| (node.attempt, node.state.clone()));
        assert_eq!(view, Some((Attempt(1), ChildState::Running)));
        tree.stop().await;
        leak_check.check().await;
    });
}

#[test]
fn temporary_members_are_removed_at_their_end_whatever_their_exit() {
    paused(async {
        let leak_check = LeakCheck::new();
        let group = Group::<u32>::temporary("g", |_ctx, n| async move {
            tokio::time::sleep(s(1)).await;
            match n % 3 {
                0 => Ok(()),
                1 => Err("fails"),
                _ => panic!("panics"),
            }
        });
        let handle = group.handle();
        let tree = Supervisor::new("t").child(group).start().await.unwrap();
        for n in 0..30 {
            handle.spawn(n).unwrap();
        }
        assert_eq!(members(&tree).len(), 30);
        tokio::time::sleep(s(3)).await;
        assert!(members(&tree).is_empty());
        assert_eq!(tree.snapshot().root.health, Health::Healthy);
        tree.stop().await;
        leak_check.check().await;
    });
}

#[test]
fn transient_members_are_restarted_only_after_a_failure() {
    paused(async {
        let starts = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&starts);
        let group = Group::<()>::new("g", move |ctx: Ctx, ()| {
            counted.fetch_add(1, Ordering::Relaxed);
            async move { if ctx.attempt() == Attempt(1) { Err("once") } else { Ok(()) } }
        });
        let group = group.transient().backoff(None);
        let handle = group.handle();
        let tree = Supervisor::new("t").child(group).start().await.unwrap();
        handle.spawn(()).unwrap();
        eventually("its end", || members(&tree).is_empty()).await;
        assert_eq!(starts.load(Ordering::Relaxed), 2);
        tree.stop().await;
    });
}

#[test]
fn a_start_is_answered_when_the_member_is_ready_or_has_failed() {
    paused(async {
        let leak_check = LeakCheck::new();
        let group = Group::<bool>::new("g", |ctx: Ctx, well| async move {
            tokio::time::sleep(s(2)).await;
            if !well {
                return Err("cannot start");
            }
            ctx.ready();
            ctx.stopping().await;
            Ok(())
        });
        let group = group.reports_ready(s(10));
        let handle = group.handle();
        let tree = Supervisor::new("t").child(group).start().await.unwrap();
        let before = tree.now();
        let id = handle.start(Some(name("well")), true).await.unwrap();
        assert_eq!(tree.now().since(before), s(2));
        assert_eq!(tree.snapshot().get("/t/g/well").unwrap().id, id.id());
        let refused = handle.start(Some(name("failing")), false).await.map_err(Refusal::from);
        assert!(
            matches!(&refused, Err(Refusal::Failed(exit)) if exit.to_string() == "failed: cannot start"),
            "{refused:?}"
        );
        // A member that fails its start affects no other member, and is removed.
        assert_eq!(members(&tree), ["well"]);
        assert_eq!(tree.snapshot().get("/t/g/well").unwrap().attempt, Attempt(1));
        tree.stop().await;
        leak_check.check().await;
    });
}

#[test]
fn a_handle_of_a_group_that_is_not_running_returns_an_error() {
    paused(async {
        let group = group_of(&Arc::default());
        let handle = group.handle();
        assert!(matches!(handle.spawn(1).map_err(Refusal::from), Err(Refusal::SupervisorDown)));
        let tree = Supervisor::new("t").child(group).start().await.unwrap();
        handle.spawn(1).unwrap();
        tree.stop_child("/t/g").await.unwrap();
        assert!(matches!(handle.spawn(1).map_err(Refusal::from), Err(Refusal::SupervisorDown)));
        tree.start_child("/t/g").await.unwrap();
        assert!(members(&tree).is_empty(), "members are removed with their group");
        handle.spawn(1).unwrap();
        tree.stop().await;
        assert!(matches!(handle.spawn(1).map_err(Refusal::from), Err(Refusal::TreeEnded)));
        drop(tree);
        assert!(matches!(handle.spawn(1).map_err(Refusal::from), Err(Refusal::TreeEnded)));
    });
}

#[test]
fn a_reused_slot_is_not_emptied_by_the_late_end_of_its_old_child() {
    // Members of one group end while members of another are added and events are watched, on two threads. So a slot may be
    // cleared late, after the machine has given it to another child.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let quick = Group::<()>::temporary("quick", |_ctx, ()| async {});
        let lasting = Group::<()>::new("g", |ctx: Ctx, ()| async move { ctx.stopping().await });
        let (quick_handle, handle) = (quick.handle(), lasting.handle());
        let tree = Supervisor::new("t").child(quick).child(lasting).start().await.unwrap();
        let _events = tree.events();
        let churn = tokio::spawn(async move {
            for turn in 0..20_000 {
                quick_handle.spawn(()).unwrap();
                if turn % 16 == 0 {
                    tokio::task::yield_now().await;
                }
            }
        });
        for _ in 0..20_000 {
            handle.spawn(()).unwrap();
        }
        churn.await.unwrap();
        // Every member runs, because each ends when asked.
        let report = tree.stop().await;
        assert!(report.is_clean(), "{:?}", report.forced().next());
    });
}

#[test]
fn the_stop_of_a_large_group_lets_other_tasks_of_its_thread_run() {
    const MEMBERS: usize = 20_000;
    paused(async {
        let ctxs: Arc<Mutex<Vec<Ctx>>> = Arc::default();
        let slot = Arc::clone(&ctxs);
        let group = Group::<()>::new("g", move |ctx: Ctx, ()| {
            slot.lock().unwrap().push(ctx.clone());
            async move { ctx.stopping().await }
        });
        let handle = group.handle();
        let tree = Supervisor::new("t").child(group).start().await.unwrap();
        for _ in 0..MEMBERS {
            handle.spawn(()).unwrap();
        }
        eventually("all of them", || ctxs.lock().unwrap().len() == MEMBERS).await;
        let ctxs = std::mem::take(&mut *ctxs.lock().unwrap());
        let asked = || ctxs.iter().filter(|ctx| ctx.is_stopping()).count();
        tree.begin_stop();
        let mut turns = vec![asked()];
        while turns[turns.len() - 1] < MEMBERS {
            tokio::task::yield_now().await;
            turns.push(asked());
        }
        let most = turns.windows(2).map(|turn| turn[1] - turn[0]).max();
        assert!(most < Some(MEMBERS / 2), "{turns:?}");
        tree.join().await;
    });
}

#[test]
fn an_added_child_replaces_a_finished_child_of_its_name_that_has_no_dependents() {
    paused(async {
        let leak_check = LeakCheck::new();
        let tree = Supervisor::new("t")
            .child(Child::task("once", |_ctx| async {}).restart(Restart::Temporary))
            .start()
            .await
            .unwrap();
        eventually("its end", || {
            tree.snapshot().get("/t/once").unwrap().state == ChildState::Idle(IdleReason::Finished)
        })
        .await;
        let again = leak_check.puppet("once");
        let done = tree.add_child("/t", again.child()).await;
        assert!(matches!(done, Ok(Added { outcome: Outcome::Ready { .. }, .. })), "{done:?}");
        assert_eq!(again.live(), 1);
        tree.stop().await;
        leak_check.check().await;
    });
}
