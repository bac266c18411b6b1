//! The abilities of an attempt: its context, its subtasks, its heartbeat, and the children that it spawns.

use liveoak_runtime::testing::{LeakCheck, eventually, paused};
use liveoak_runtime::*;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

type Log<T> = Arc<Mutex<Vec<T>>>;

#[test]
fn an_attempt_knows_its_path_its_number_and_the_exit_of_the_previous_attempt() {
    paused(async {
        let log: Log<(String, u64, Option<String>)> = Arc::default();
        let seen = Arc::clone(&log);
        let child = Child::task("a", move |ctx: Ctx| {
            let last = ctx.last_exit().map(|exit| exit.to_string());
            seen.lock().unwrap().push((ctx.path().to_string(), ctx.attempt().0, last));
            async move {
                match ctx.attempt().0 {
                    1 => Err("first"),
                    2 => Ok(()),
                    _ => {
                        ctx.stopping().await;
                        Ok(())
                    }
                }
            }
        });
        let inner = Supervisor::new("inner").child(child.backoff(None));
        let tree = Supervisor::new("t").child(inner).start().await.unwrap();
        eventually("three attempts", || log.lock().unwrap().len() == 3).await;
        let path = || "/t/inner/a".to_owned();
        assert_eq!(
            *log.lock().unwrap(),
            [
                (path(), 1, None),
                (path(), 2, Some("failed: first".into())),
                (path(), 3, Some("completed".into()))
            ]
        );
        tree.stop().await;
    });
}

#[test]
fn sleep_ends_at_the_stop_and_returns_false() {
    paused(async {
        let log: Log<(bool, Duration)> = Arc::default();
        let seen = Arc::clone(&log);
        let child = Child::task("a", move |ctx: Ctx| {
            let seen = Arc::clone(&seen);
            async move {
                for _ in 0..2 {
                    let before = ctx.tree().now();
                    let full = ctx.sleep(s(10)).await;
                    seen.lock().unwrap().push((full, ctx.tree().now().since(before)));
                }
            }
        });
        let tree = Supervisor::new("t").child(child).start().await.unwrap();
        tokio::time::sleep(s(14)).await;
        assert!(tree.stop().await.is_clean());
        assert_eq!(*log.lock().unwrap(), [(true, s(10)), (false, s(4))]);
    });
}

#[test]
fn reports_through_the_context_of_an_ended_attempt_change_nothing() {
    paused(async {
        let leak_check = LeakCheck::new();
        let old: Arc<Mutex<Option<Ctx>>> = Arc::default();
        let kept = Arc::clone(&old);
        let child = Child::task("a", move |ctx: Ctx| {
            let kept = Arc::clone(&kept);
            async move {
                if ctx.attempt() == Attempt(1) {
                    *kept.lock().unwrap() = Some(ctx.clone());
                    ctx.ready();
                    return;
                }
                ctx.stopping().await;
            }
        });
        let child = child.reports_ready().start_within(s(30)).backoff(None);
        let tree = Supervisor::new("t").child(child).start().await.unwrap();
        eventually("a second attempt", || tree.snapshot().root.children[0].attempt == Attempt(2)).await;
        let old = old.lock().unwrap().take().unwrap();
        old.ready();
        old.health(Health::Unhealthy, "");
        old.heartbeat();
        let subtask = old.spawn(async { panic!("never begun") });
        assert_eq!(subtask.await, Err(SubtaskError::Aborted));
        let view = tree.snapshot().root.children[0].clone();
        assert!(matches!(view.state, ChildState::Starting { .. }), "{:?}", view.state);
        assert_eq!(view.attempt, Attempt(2));
        tree.stop().await;
        leak_check.check().await;
    });
}

/// Counts the live values.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(count))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[test]
fn subtasks_are_aborted_with_their_attempt_and_dropped_before_the_next_begins() {
    paused(async {
        let leak_check = LeakCheck::new();
        let living = Arc::new(AtomicUsize::new(0));
        let at_start: Log<usize> = Arc::default();
        let (count, seen) = (Arc::clone(&living), Arc::clone(&at_start));
        let child = Child::task("a", move |ctx: Ctx| {
            let count = Arc::clone(&count);
            seen.lock().unwrap().push(count.load(Ordering::SeqCst));
            async move {
                for _ in 0..10 {
                    let (nested, counted) = (ctx.clone(), Counted::new(&count));
                    let inner_count = Arc::clone(&count);
                    ctx.spawn(async move {
                        let _counted = counted;
                        nested.spawn(async move {
                            let _counted = Counted::new(&inner_count);
                            std::future::pending::<()>().await
                        });
                        std::future::pending::<()>().await
                    });
                }
                tokio::time::sleep(s(1)).await;
                Err::<(), _>("again")
            }
        });
        let tree =
            Supervisor::new("t").child(child.backoff(None).limit(Limit::unlimited())).start().await.unwrap();
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!(living.load(Ordering::SeqCst), 20);
        tokio::time::sleep(s(5)).await;
        tree.stop().await;
        assert_eq!(living.load(Ordering::SeqCst), 0);
        let starts = at_start.lock().unwrap().clone();
        assert!(starts.len() >= 5 && starts.iter().all(|living| *living == 0), "{starts:?}");
        leak_check.check().await;
    });
}

#[test]
fn the_next_attempt_waits_for_a_subtask_that_is_slow_to_end() {
    // A subtask cannot be aborted inside a poll. The attempt ends when that poll returns.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let busy = Arc::new(AtomicUsize::new(0));
        let overlap = Arc::new(AtomicUsize::new(0));
        let (count, seen) = (Arc::clone(&busy), Arc::clone(&overlap));
        let child = Child::task("a", move |ctx: Ctx| {
            seen.fetch_add(count.load(Ordering::SeqCst), Ordering::SeqCst);
            let count = Arc::clone(&count);
            async move {
                let begun = Arc::new(tokio::sync::Notify::new());
                let tell = Arc::clone(&begun);
                ctx.spawn(async move {
                    let _busy = Counted::new(&count);
                    tell.notify_one();
                    std::thread::sleep(Duration::from_millis(20));
                });
                begun.notified().await;
                Err::<(), _>("while it is busy")
            }
        });
        let child = child.backoff(None).limit(Limit::unlimited());
        let tree = Supervisor::new("t").child(child).start().await.unwrap();
        eventually("ten attempts", || tree.snapshot().root.children[0].attempt >= Attempt(10)).await;
        tree.kill().await;
        assert_eq!((overlap.load(Ordering::SeqCst), busy.load(Ordering::SeqCst)), (0, 0));
    });
}

#[test]
fn a_subtask_returns_its_output_and_can_be_aborted_alone() {
    paused(async {
        let log: Log<Result<u32, SubtaskError>> = Arc::default();
        let seen = Arc::clone(&log);
        let child = Child::task("a", move |ctx: Ctx| {
            let seen = Arc::clone(&seen);
            async move {
                let outcome = ctx.spawn(async { 7 }).await;
                seen.lock().unwrap().push(outcome);
                let endless = ctx.spawn(std::future::pending::<u32>());
                assert!(!endless.is_finished());
                endless.abort();
                let outcome = endless.await;
                seen.lock().unwrap().push(outcome);
                ctx.stopping().await;
            }
        });
        let tree = Supervisor::new("t").child(child).start().await.unwrap();
        eventually("both", || log.lock().unwrap().len() == 2).await;
        assert_eq!(*log.lock().unwrap(), [Ok(7), Err(SubtaskError::Aborted)]);
        let view = tree.snapshot().root.children[0].clone();
        assert_eq!(
            (view.attempt, view.state),
            (Attempt(1), ChildState::Running),
            "aborting a subtask is not a failure"
        );
        tree.stop().await;
    });
}

#[test]
fn a_panic_of_a_subtask_immediately_ends_a_body_that_waits_for_something_else() {
    paused(async {
        let child = Child::task("a", |ctx: Ctx| async move {
            if ctx.attempt() == Attempt(1) {
                ctx.spawn(async { panic!("subtask") });
            }
            std::future::pending::<()>().await;
        });
        let child = child.backoff(None).stop_within(s(1000));
        let tree = Supervisor::new("t").child(child).start().await.unwrap();
        let began = tree.now();
        eventually("a second attempt", || tree.snapshot().root.children[0].attempt == Attempt(2)).await;
        let took = tree.snapshot().root.children[0].since.since(began);
        assert_eq!(took, Duration::ZERO, "without waiting for the stop's deadline");
        tree.kill().await;
    });
}

#[test]
fn after_a_panic_of_a_subtask_a_task_with_kill_still_ends_by_itself() {
    paused(async {
        let log: Log<&str> = Arc::default();
        let seen = Arc::clone(&log);
        let child = Child::task_with_kill("a", move |ctx: Ctx| {
            let seen = Arc::clone(&seen);
            async move {
                if ctx.attempt() == Attempt(2) {
                    return ctx.stopping().await;
                }
                ctx.spawn(async { panic!("reader") });
                ctx.killed().await;
                seen.lock().unwrap().push("killed");
                tokio::time::sleep(Duration::from_millis(100)).await;
                seen.lock().unwrap().push("cleaned up");
            }
        });
        let tree = Supervisor::new("t").child(child.backoff(None)).start().await.unwrap();
        eventually("a second attempt", || tree.snapshot().root.children[0].attempt == Attempt(2)).await;
        assert_eq!(*log.lock().unwrap(), ["killed", "cleaned up"]);
        let exit = tree.snapshot().root.children[0].last_exit.clone();
        assert!(matches!(&exit, Some(Exit::Panicked(panic)) if panic.message == "reader"), "{exit:?}");
        tree.stop().await;
    });
}

#[test]
fn a_child_that_declares_a_heartbeat_and_never_sends_one_is_restarted() {
    paused(async {
        let leak_check = LeakCheck::new();
        let mute = leak_check.puppet("mute").ignoring_stop();
        let child = mute.child().heartbeat(s(8)).backoff(None);
        let tree = Supervisor::new("t").child(child).start().await.unwrap();
        tokio::time::sleep(s(7)).await;
        assert_eq!(mute.starts(), 1);
        tokio::time::sleep(s(4)).await;
        assert_eq!((mute.starts(), mute.live()), (2, 1));
        let exit = tree.snapshot().root.children[0].last_exit.clone();
        assert!(matches!(exit, Some(Exit::HeartbeatTimeout(within)) if within == s(8)), "{exit:?}");
        tree.kill().await;
        leak_check.check().await;
    });
}

#[test]
fn only_a_child_whose_heartbeat_stops_is_restarted() {
    paused(async {
        let leak_check = LeakCheck::new();
        let (stops, beats) = (leak_check.puppet("stops"), leak_check.puppet("beats"));
        let tree = Supervisor::new("t")
            .child(stops.child().heartbeat(s(8)).backoff(None))
            .child(beats.child().heartbeat(s(8)).backoff(None))
            .start()
            .await
            .unwrap();
        for second in 0..100 {
            tokio::time::sleep(s(1)).await;
            beats.beat();
            if second < 50 {
                stops.beat();
                assert_eq!(stops.starts(), 1, "after {second} s");
            }
        }
        assert_eq!(beats.starts(), 1);
        assert!(stops.starts() > 1);
        tree.kill().await;
        leak_check.check().await;
    });
}

#[test]
fn ten_thousand_heartbeats_that_are_due_at_the_same_time_are_all_checked() {
    // All of them are checked on the 2 MiB stack of a test's thread.
    paused(async {
        let group = Group::<u32>::new("g", |ctx: Ctx, n| async move {
            while n % 2 == 0 && ctx.sleep(s(1)).await {
                ctx.heartbeat();
            }
            ctx.stopping().await;
        });
        let group = group.heartbeat(s(4)).backoff(None);
        let members = group.handle();
        let tree = Supervisor::new("t").child(group).start().await.unwrap();
        for n in 0..10_000 {
            members.spawn(n).unwrap();
        }
        tokio::time::sleep(s(6)).await;
        let attempts: Vec<u64> =
            tree.snapshot().root.children[0].children.iter().map(|child| child.attempt.0).collect();
        assert_eq!(attempts.iter().filter(|attempt| **attempt == 1).count(), 5000);
        assert_eq!(attempts.iter().filter(|attempt| **attempt == 2).count(), 5000);
        tree.stop().await;
    });
}

#[test]
fn a_spawned_child_belongs_to_the_current_supervisor_and_gets_a_unique_name() {
    paused(async {
        let leak_check = LeakCheck::new();
        let child = Child::task("a", |ctx: Ctx| async move {
            for _ in 0..3 {
                spawn("job", std::future::pending::<()>()).unwrap();
            }
            ctx.spawn(async {
                spawn("from-subtask", std::future::pending::<()>()).unwrap();
            })
            .await
            .unwrap();
            ctx.stopping().await;
        });
        let inner = Supervisor::new("inner").child(child);
        let tree = Supervisor::new("t").child(inner).start().await.unwrap();
        let names = || {
            let snapshot = tree.snapshot();
            let inner = snapshot.get("/t/inner").unwrap();
            inner.children.iter().map(|child| child.path.name().to_owned()).collect::<Vec<_>>()
        };
        eventually("all of them", || names().len() == 5).await;
        let names = names();
        assert_eq!(names.iter().filter(|name| name.starts_with("job")).count(), 3, "{names:?}");
        assert!(names.contains(&"from-subtask".to_owned()), "{names:?}");
        let report = tree.kill().await;
        assert_eq!(report.entries.len(), 6);
        leak_check.check().await;
    });
}

#[test]
fn a_child_spawned_by_a_group_member_belongs_to_the_supervisor_of_the_group() {
    paused(async {
        let group = Group::<()>::new("g", |ctx: Ctx, ()| async move {
            spawn("beside", std::future::pending::<()>()).unwrap();
            ctx.stopping().await;
        });
        let members = group.handle();
        let tree = Supervisor::new("t").child(group).start().await.unwrap();
        members.spawn(()).unwrap();
        eventually("the spawn", || tree.snapshot().get("/t/beside").is_some()).await;
        tree.kill().await;
    });
}

#[test]
fn a_spawned_child_cannot_be_restarted_and_continues_to_run() {
    paused(async {
        let leak_check = LeakCheck::new();
        let body = |ctx: Ctx| async move {
            spawn("job", std::future::pending::<()>()).unwrap();
            ctx.stopping().await;
        };
        let tree = Supervisor::new("t").child(Child::task("a", body)).start().await.unwrap();
        eventually("job", || tree.snapshot().get("/t/job").is_some()).await;
        let refused = tree.restart_child("/t/job").await;
        assert!(matches!(refused, Err(Refusal::OnlyOnce)), "{refused:?}");
        let view = tree.snapshot().get("/t/job").map(|node| (node.attempt, node.state.clone()));
        assert_eq!(view, Some((Attempt(1), ChildState::Running)));
        tree.stop().await;
        leak_check.check().await;
    });
}

#[test]
fn a_spawn_outside_of_every_tree_is_an_error() {
    let refused = spawn("a", async {});
    assert!(matches!(refused.as_ref().map_err(Refused::refusal), Err(Refusal::NotInATree)), "{refused:?}");
    assert!(current().is_none());
}

#[test]
fn a_spawned_child_that_ends_is_removed_and_its_name_is_free() {
    paused(async {
        let child = Child::task("a", |ctx: Ctx| async move {
            while ctx.sleep(s(1)).await {
                spawn("job", async { Err::<(), _>("ignored") }).unwrap();
            }
        });
        let tree = Supervisor::new("t").child(child).start().await.unwrap();
        tokio::time::sleep(s(10)).await;
        assert_eq!(tree.snapshot().root.children.len(), 1);
        assert!(tree.stop().await.is_clean());
    });
}

#[test]
fn a_thread_runs_inside_the_runtime_and_its_own_context() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let log: Log<String> = Arc::default();
        let seen = Arc::clone(&log);
        let child = Child::thread("digest", move |ctx: Ctx| {
            let thread = std::thread::current().name().unwrap_or_default().to_owned();
            seen.lock().unwrap().push(thread);
            seen.lock().unwrap().push(current().expect("a context").path().to_string());
            let sum = ctx.spawn(async { 1 + 1 });
            let sum = tokio::runtime::Handle::current().block_on(sum).unwrap();
            seen.lock().unwrap().push(sum.to_string());
        });
        let tree = Supervisor::new("t").child(child.restart(Restart::Temporary)).start().await.unwrap();
        eventually("its end", || {
            tree.snapshot().root.children[0].state == ChildState::Idle(IdleReason::Finished)
        })
        .await;
        assert_eq!(*log.lock().unwrap(), ["digest", "/t/digest", "2"]);
        tree.stop().await;
    });
}
