//! The values that the tree keeps of a child that is over. Its body is dropped when nothing can start the child again.

use liveoak_runtime::testing::{eventually, paused};
use liveoak_runtime::{Child, Ctx, Exit, Group, GroupHandle, Limit, Refusal, Restart, Strategy, Supervisor};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

/// Returns a value that a child can capture, and a reference that shows whether the value still exists.
fn captured() -> (Arc<()>, std::sync::Weak<()>) {
    let value = Arc::new(());
    let weak = Arc::downgrade(&value);
    (value, weak)
}

/// Returns a temporary child that captures `value` and ends at once.
fn job(name: &str, value: Arc<()>) -> Child {
    let body = move |_ctx: Ctx| {
        let value = Arc::clone(&value);
        async move { drop(value) }
    };
    Child::task(name, body).restart(Restart::Temporary)
}

async fn gone(value: &std::sync::Weak<()>) {
    eventually("what the child has captured is dropped", || value.strong_count() == 0).await;
}

/// Long enough for every pending drop.
async fn a_while() {
    tokio::time::sleep(Duration::from_secs(1)).await;
}

#[test]
fn a_temporary_child_that_never_restarts_drops_its_captured_values_at_its_end_and_stays_listed() {
    paused(async {
        let (value, weak) = captured();
        let below = Supervisor::new("below").restart(Restart::Temporary).child(job("job", value));
        let tree = Supervisor::new("t").child(below).start().await.expect("a tree");
        gone(&weak).await;
        let snapshot = tree.snapshot();
        let view = snapshot.get("/t/below/job").expect("it stays listed");
        assert_eq!(view.state.as_str(), "finished");
        assert!(matches!(view.last_exit, Some(Exit::Completed)));
        for refused in [tree.start_child("/t/below/job").await, tree.restart_child("/t/below/job").await] {
            let Err(refusal @ Refusal::OnlyOnce) = refused else { panic!("{refused:?}") };
            assert!(refusal.to_string().contains("keep()"), "{refusal}");
        }
    });
}

#[test]
fn a_temporary_child_keeps_its_captured_values_if_a_supervisor_above_it_can_be_restarted() {
    paused(async {
        let (value, weak) = captured();
        let fails = Child::task("fails", |ctx: Ctx| async move {
            ctx.sleep(Duration::from_secs(10)).await;
            Err::<(), _>("boom")
        });
        let fails = fails.limit(Limit::new(0, Duration::from_secs(1)));
        let runs = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&runs);
        let job = Child::task("job", move |_ctx| {
            let _value = &value;
            counted.fetch_add(1, Ordering::SeqCst);
            async {}
        });
        let below = Supervisor::new("below").child(job.restart(Restart::Temporary)).child(fails);
        let tree = Supervisor::new("t").child(below).start().await.expect("a tree");
        a_while().await;
        assert_eq!(weak.strong_count(), 1);
        // The child runs again with its supervisor, and a command may start it.
        eventually("the supervisor was restarted", || runs.load(Ordering::SeqCst) == 2).await;
        assert!(tree.start_child("/t/below/job").await.is_ok());
        eventually("it ran once more", || runs.load(Ordering::SeqCst) == 3).await;
    });
}

#[test]
fn a_child_that_is_kept_can_be_started_again_by_a_command() {
    paused(async {
        let (value, weak) = captured();
        let tree = Supervisor::new("t").child(job("job", value).keep()).start().await.expect("a tree");
        a_while().await;
        assert_eq!(weak.strong_count(), 1);
        assert!(tree.start_child("/t/job").await.is_ok());
        tree.stop().await;
        gone(&weak).await;
    });
}

#[test]
fn the_end_of_a_temporary_supervisor_drops_all_captured_values_below_it_that_are_not_kept() {
    paused(async {
        for keep in [false, true] {
            let (value, weak) = captured();
            let permanent = Child::task("permanent", move |ctx: Ctx| {
                let value = Arc::clone(&value);
                async move {
                    ctx.stopping().await;
                    drop(value);
                }
            });
            let fails = Child::task("fails", |ctx: Ctx| async move {
                ctx.sleep(Duration::from_millis(1)).await;
                Err::<(), _>("boom")
            });
            let fails = fails.limit(Limit::new(0, Duration::from_secs(1)));
            let below = Supervisor::new("below").restart(Restart::Temporary).child(permanent).child(fails);
            let below = if keep { below.keep() } else { below };
            let tree = Supervisor::new("t").child(below).start().await.expect("a tree");
            a_while().await;
            assert_eq!(tree.snapshot().get("/t/below").unwrap().state.as_str(), "finished");
            let again = tree.start_child("/t/below").await;
            if keep {
                assert!(again.is_ok(), "{again:?}");
            } else {
                gone(&weak).await;
                assert!(matches!(again, Err(Refusal::OnlyOnce)), "{again:?}");
            }
        }
    });
}

#[test]
fn a_child_that_runs_once_is_temporary_and_consumes_its_captured_values() {
    paused(async {
        let (value, weak) = captured();
        let once = Child::once("once", |ctx: Ctx| async move {
            drop(value);
            ctx.sleep(Duration::from_millis(10)).await;
            Err::<(), _>("on purpose")
        });
        let permanent = Child::once("wrong", |_| async {}).restart(Restart::Permanent);
        assert!(Supervisor::new("t").child(permanent).begin().is_err());
        let tree = Supervisor::new("t").child(once).start().await.expect("a tree");
        eventually("it is over", || tree.snapshot().get("/t/once").unwrap().state.as_str() == "finished")
            .await;
        assert_eq!(weak.strong_count(), 0);
        let again = tree.start_child("/t/once").await;
        assert!(matches!(again, Err(Refusal::OnlyOnce)), "{again:?}");
        let exit = tree.snapshot().get("/t/once").unwrap().last_exit.clone();
        assert_eq!(exit.expect("its exit").to_string(), "failed: on purpose");
    });
}

#[test]
fn a_child_that_runs_once_stays_finished_with_its_first_exit_when_its_supervisor_starts_again() {
    paused(async {
        for ends in [true, false] {
            let (value, weak) = captured();
            let runs = Arc::new(AtomicUsize::new(0));
            let counted = Arc::clone(&runs);
            let once = Child::once("once", move |ctx: Ctx| async move {
                let _value = value;
                counted.fetch_add(1, Ordering::SeqCst);
                if !ends {
                    ctx.stopping().await;
                }
            });
            let later = Child::task("later", |ctx: Ctx| async move { ctx.stopping().await });
            let below = Supervisor::new("below").strategy(Strategy::OneForAll).child(once).child(later);
            let tree = Supervisor::new("t").child(below).start().await.expect("a tree");
            a_while().await;
            let restarted = tree.restart_child("/t/below").await;
            assert!(restarted.is_ok(), "{restarted:?}");
            gone(&weak).await;
            let snapshot = tree.snapshot();
            let view = snapshot.get("/t/below/once").expect("it stays listed");
            assert_eq!((view.state.as_str(), view.attempt.0), ("finished", 1));
            assert_eq!(view.last_exit.as_ref().map(Exit::kind), Some("completed"));
            assert_eq!(runs.load(Ordering::SeqCst), 1);
            let refused = tree.start_child("/t/below/once").await;
            assert!(matches!(refused, Err(Refusal::OnlyOnce)), "{refused:?}");
        }
    });
}

#[test]
fn a_group_whose_closure_holds_its_own_handle_is_dropped_with_its_tree_and_by_a_removal() {
    paused(async {
        for removed in [true, false] {
            let (value, weak) = captured();
            let own: Arc<OnceLock<GroupHandle<u32>>> = Arc::default();
            let inside = Arc::clone(&own);
            let group = Group::temporary("g", move |ctx: Ctx, generation: u32| {
                let (_value, own) = (&value, Arc::clone(&inside));
                async move {
                    if generation > 0 {
                        own.get().expect("a handle").spawn(generation - 1).expect("a member");
                    }
                    ctx.stopping().await;
                }
            });
            own.set(group.handle()).expect("set once");
            let handle = group.handle();
            drop(own);
            let tree = Supervisor::new("t").child(group).start().await.expect("a tree");
            handle.spawn(2).expect("a member");
            eventually("three generations", || tree.snapshot().get("/t/g").unwrap().children.len() == 3)
                .await;
            if removed {
                tree.remove_child("/t/g").await.expect("it is removed");
                gone(&weak).await;
            } else {
                drop(tree);
                gone(&weak).await;
            }
            assert!(handle.spawn(1).is_err());
        }
        // A group that never ran.
        let (value, weak) = captured();
        let own: Arc<OnceLock<GroupHandle<u32>>> = Arc::default();
        let inside = Arc::clone(&own);
        let group = Group::new("g", move |_ctx: Ctx, _: u32| {
            let (_value, _own) = (&value, &inside);
            async {}
        });
        own.set(group.handle()).expect("set once");
        drop((own, group));
        gone(&weak).await;
    });
}

/// A zero-sized argument that counts its live values.
#[derive(Clone)]
struct Ticket;

static TICKETS: AtomicUsize = AtomicUsize::new(0);

impl Drop for Ticket {
    fn drop(&mut self) {
        TICKETS.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn each_member_keeps_its_own_argument_of_a_zero_sized_type() {
    paused(async {
        let group = Group::new("g", |ctx: Ctx, ticket: Ticket| async move {
            ctx.stopping().await;
            drop(ticket);
        });
        let members = group.handle();
        let tree = Supervisor::new("t").child(group).start().await.expect("a tree");
        for _ in 0..3 {
            members.spawn(Ticket).expect("a member");
        }
        a_while().await;
        assert_eq!(TICKETS.load(Ordering::SeqCst), 0);
        tree.stop().await;
        // Each member drops its argument, and the clone that its attempt got.
        eventually("all tickets are dropped", || TICKETS.load(Ordering::SeqCst) == 6).await;
    });
}

#[test]
fn a_declaration_twenty_thousand_levels_deep_is_an_error_and_not_an_abort() {
    paused(async {
        let deep = || {
            let leaf = Supervisor::new("s").child(Child::task("leaf", |_| async {}));
            (0..20_000).fold(leaf, |below, _| Supervisor::new("s").child(below))
        };
        drop(deep());
        drop(Child::from(deep()));
        let error = deep().start().await.map(drop).expect_err("it is too deep").to_string();
        assert!(error.contains("supervisors are nested deeper than 64 levels"), "{error}");
        let tree = Supervisor::new("t").start().await.expect("a tree");
        let added = tree.add_child("/t", deep()).await.map_err(Refusal::from);
        assert!(matches!(added, Err(Refusal::Invalid(_))), "{added:?}");
    });
}

#[test]
fn an_abandoned_attempt_cannot_add_or_spawn_children_or_give_commands() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let (release, released) = std::sync::mpsc::channel::<()>();
        let released = Mutex::new(released);
        let refused: Arc<Mutex<Vec<String>>> = Arc::default();
        let group = Group::new("g", |ctx: Ctx, (): ()| async move { ctx.stopping().await });
        let (members, told) = (group.handle(), Arc::clone(&refused));
        let zombie = Child::thread("zombie", move |ctx: Ctx| {
            if ctx.attempt().0 > 1 {
                return;
            }
            let _ = released.lock().expect("the gate").recv();
            let runtime = tokio::runtime::Handle::current();
            let tree = ctx.tree();
            let idle = || Child::task("late", |ctx: Ctx| async move { ctx.stopping().await });
            let inner = Supervisor::new("late").begin().map(drop);
            let mut told = told.lock().expect("told");
            told.push(format!("{:?}", liveoak_runtime::spawn("late", async {})));
            told.push(format!("{:?}", runtime.block_on(tree.add_child("/t", idle()))));
            told.push(format!("{:?}", tree.begin_add_child("/t", idle())));
            told.push(format!("{:?}", tree.begin_restart_child("/t/g")));
            told.push(format!("{:?}", members.spawn(())));
            told.push(format!("{:?}", runtime.block_on(ctx.spawn(async {}))));
            told.push(format!("{:?}", runtime.block_on(ctx.spawn_blocking(|| ()))));
            told.push(format!("{:?}", inner.map_err(|error| error.to_string())));
        });
        let zombie = zombie.stop_within(Duration::from_millis(1)).restart(Restart::Temporary);
        let tree = Supervisor::new("t").child(group).child(zombie).start().await.expect("a tree");
        let stopped = tree.stop_child("/t/zombie").await.expect("it is abandoned");
        assert!(format!("{stopped:?}").contains("Abandoned"), "{stopped:?}");
        drop(release);
        eventually("it has tried everything", || refused.lock().expect("told").len() == 8).await;
        let refused = refused.lock().expect("told").clone();
        assert!(refused[..5].iter().all(|answer| answer.contains("Abandoned")), "{refused:?}");
        assert!(refused[5..7].iter().all(|answer| answer == "Err(Aborted)"), "{refused:?}");
        assert!(refused[7].contains("was abandoned"), "{refused:?}");
        assert_eq!(tree.snapshot().nodes().count(), 3);
    });
}

#[test]
fn the_last_exit_in_a_context_does_not_change_after_the_end_of_its_attempt() {
    paused(async {
        let kept: Arc<Mutex<Vec<Ctx>>> = Arc::default();
        let keeps = Arc::clone(&kept);
        let child = Child::task("a", move |ctx: Ctx| {
            keeps.lock().expect("kept").push(ctx.clone());
            async move {
                match ctx.attempt().0 {
                    n @ 1..=4 => Err(format!("failure {n}")),
                    _ => {
                        ctx.stopping().await;
                        Ok(())
                    }
                }
            }
        });
        let tree = Supervisor::new("t").child(child.backoff(None)).start().await.expect("a tree");
        eventually("five attempts", || kept.lock().expect("kept").len() == 5).await;
        let known = || -> Vec<Option<String>> {
            let kept = kept.lock().expect("kept");
            kept.iter().map(|ctx| ctx.last_exit().map(|exit| exit.to_string())).collect()
        };
        let expected: Vec<Option<String>> =
            (0..5).map(|n| (n > 0).then(|| format!("failed: failure {n}"))).collect();
        assert_eq!(known(), expected);
        tree.stop().await;
        assert_eq!(known(), expected);
    });
}

#[test]
fn the_last_exit_in_the_context_of_an_abandoned_attempt_never_changes() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let kept: Arc<Mutex<Vec<Ctx>>> = Arc::default();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let (keeps, released) = (Arc::clone(&kept), Mutex::new(released));
    let child = Child::thread("a", move |ctx: Ctx| {
        keeps.lock().expect("kept").push(ctx.clone());
        match ctx.attempt().0 {
            2 => _ = released.lock().expect("one waits").recv(),
            5 => tokio::runtime::Handle::current().block_on(ctx.stopping()),
            _ => {}
        }
        Err::<(), _>(format!("failure {}", ctx.attempt().0))
    });
    let child = child.backoff(None).stop_within(Duration::ZERO);
    runtime.block_on(async {
        let tree = Supervisor::new("t").child(child).start().await.expect("a tree");
        let attempts = || kept.lock().expect("kept").len();
        eventually("two attempts", || attempts() == 2).await;
        let second = kept.lock().expect("kept")[1].clone();
        let known = || second.last_exit().map(|exit| exit.to_string());
        assert_eq!(known().as_deref(), Some("failed: failure 1"));
        tree.begin_restart_child("/t/a").expect("a restart");
        eventually("five attempts", || attempts() == 5).await;
        assert_eq!(known().as_deref(), Some("failed: failure 1"));
        drop(release);
        tree.stop().await;
        assert_eq!(known().as_deref(), Some("failed: failure 1"));
    });
}

/// An error that holds a Tokio runtime. Tokio panics if it is dropped where blocking is not allowed.
#[derive(Debug)]
struct HoldsRuntime(Option<tokio::runtime::Runtime>, Arc<Mutex<Vec<bool>>>);

impl std::fmt::Display for HoldsRuntime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("it holds a runtime")
    }
}

impl std::error::Error for HoldsRuntime {}

impl Drop for HoldsRuntime {
    fn drop(&mut self) {
        let dropped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(self.0.take())));
        self.1.lock().unwrap().push(dropped.is_ok());
    }
}

#[test]
fn an_error_that_holds_a_tokio_runtime_is_dropped_where_blocking_is_allowed() {
    let several = || tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let single = || tokio::runtime::Builder::new_current_thread().enable_all().build();
    for (keeps, runtime) in [(false, several()), (true, several()), (false, single()), (true, single())] {
        let dropped: Arc<Mutex<Vec<bool>>> = Arc::default();
        runtime.expect("a runtime").block_on(async {
            let inside = Arc::clone(&dropped);
            let body = move |_: Ctx| {
                let inside = Arc::clone(&inside);
                async move {
                    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build();
                    Err::<(), _>(HoldsRuntime(Some(runtime.expect("a runtime")), inside))
                }
            };
            let job = Child::task("job", body).restart(Restart::Temporary);
            let job = if keeps { job.keep_error() } else { job };
            let tree = Supervisor::new("t").child(job).start().await.expect("a tree");
            let exit = || tree.snapshot().get("/t/job").unwrap().last_exit.clone();
            eventually("it is over", || exit().is_some()).await;
            let kept = exit().filter(|_| keeps);
            assert_eq!(dropped.lock().unwrap().len(), usize::from(!keeps), "the exit may keep its error");
            tree.stop().await;
            drop(tree);
            // The last holder of a kept error drops it inside a task, after the end of the tree.
            drop(tokio::spawn(async move { drop(kept) }));
            eventually("it is dropped", || !dropped.lock().unwrap().is_empty()).await;
        });
        assert_eq!(*dropped.lock().unwrap(), [true], "keeps its error: {keeps}");
    }
}
