//! Unusual ends: attempts whose body has ended before a hook or a subtask, and trees without timers or with their runtime gone.

use liveoak_runtime::internal::{Either, race};
use liveoak_runtime::testing::{LeakCheck, eventually, paused};
use liveoak_runtime::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A service that fails at once in its first attempt, and whose stop hook then never ends.
struct Hanging {
    panics_in_a_subtask: bool,
}

impl Service for Hanging {
    async fn run(&mut self, ctx: &Ctx) -> Result<(), BoxError> {
        if ctx.attempt().0 > 1 {
            ctx.stopping().await;
            return Ok(());
        }
        if self.panics_in_a_subtask {
            drop(ctx.spawn(async { panic!("in a subtask") }));
            std::future::pending::<()>().await;
        }
        Err("no disk".into())
    }

    async fn stop(&mut self, ctx: &Ctx) -> Result<(), BoxError> {
        if ctx.attempt().0 == 1 {
            std::future::pending::<()>().await;
        }
        Ok(())
    }
}

#[test]
fn a_child_whose_stop_hook_hangs_after_a_failure_is_restarted_after_its_stop_deadline() {
    for (panics_in_a_subtask, kind) in [(false, "failed"), (true, "panicked")] {
        paused(async move {
            let leak_check = LeakCheck::new();
            let child =
                Child::service("a", move || Hanging { panics_in_a_subtask }).stop_within(s(1)).backoff(None);
            let tree = Supervisor::new("t").child(child).start().await.unwrap();
            tokio::time::sleep(Duration::from_millis(500)).await;
            let snapshot = tree.snapshot();
            let a = snapshot.get("/t/a").unwrap();
            assert_ne!((a.state.as_str(), a.health), ("running", Health::Healthy), "its body has ended");
            tokio::time::sleep(s(6)).await;
            let snapshot = tree.snapshot();
            let a = snapshot.get("/t/a").unwrap();
            assert_eq!((a.state.as_str(), a.attempt.0), ("running", 2));
            assert_eq!(a.last_exit.as_ref().map(Exit::kind), Some(kind));
            assert!(tree.stop().await.is_clean());
            leak_check.check().await;
        });
    }
}

#[test]
fn a_subtask_that_never_yields_does_not_make_an_ended_body_look_alive() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let release = Arc::new(AtomicBool::new(false));
    runtime.block_on(async {
        let held = Arc::clone(&release);
        let child = Child::task("a", move |ctx: Ctx| {
            let held = Arc::clone(&held);
            async move {
                if ctx.attempt().0 > 1 {
                    ctx.stopping().await;
                    return Ok(());
                }
                let began = Arc::new(AtomicBool::new(false));
                let begun = Arc::clone(&began);
                drop(ctx.spawn(async move {
                    begun.store(true, Ordering::Relaxed);
                    while !held.load(Ordering::Relaxed) {
                        std::thread::yield_now();
                    }
                }));
                // Tokio's `yield_now` keeps the task on its worker thread, which the subtask may block.
                while !began.load(Ordering::Relaxed) {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                Err("the body failed")
            }
        });
        let child = child.stop_within(Duration::from_millis(50)).backoff(None);
        let tree = Supervisor::new("t").child(child).start().await.unwrap();
        eventually("a second attempt", || tree.snapshot().get("/t/a").is_some_and(|a| a.attempt.0 == 2))
            .await;
        let snapshot = tree.snapshot();
        let exit = snapshot.get("/t/a").and_then(|a| a.last_exit.clone()).unwrap();
        assert_eq!(exit.to_string(), "failed: the body failed");
        release.store(true, Ordering::Relaxed);
        tree.stop().await;
    });
    runtime.shutdown_background();
}

#[test]
fn a_child_that_never_ran_is_dropped_outside_of_the_tree_s_lock() {
    struct Looks(TreeHandle);
    impl Drop for Looks {
        fn drop(&mut self) {
            let _ = self.0.snapshot();
        }
    }
    paused(async {
        let job = Child::task("job", |_| async { Err::<(), _>("no") }).restart(Restart::Temporary);
        let tree = Supervisor::new("t").child(job).start().await.unwrap();
        tokio::time::sleep(s(1)).await;
        let looks = Looks(tree.handle());
        let nested = Child::task("x", move |ctx: Ctx| {
            let _ = &looks;
            async move { ctx.stopping().await }
        });
        let late = Supervisor::new("late").child(nested).after_when("job", Condition::Completed);
        let told = tree.add_child("/t", late).await.map_err(Refusal::from);
        assert!(matches!(&told, Err(Refusal::WaitsFor { .. })), "{told:?}");
        tree.remove_child("/t/late").await.unwrap();
        tree.stop().await;
    });
}

#[test]
fn without_a_budget_a_stop_waits_forever() {
    paused(async {
        let leak_check = LeakCheck::new();
        let deaf = leak_check.puppet("deaf").ignoring_stop();
        let tree = Supervisor::new("t")
            .stop_within(Duration::MAX)
            .child(deaf.child().stop_within(s(60)))
            .start()
            .await
            .unwrap();
        assert_eq!(tree.stop().await.took, s(60));
        leak_check.check().await;
    });
}

#[test]
fn a_runtime_without_timers_is_refused_with_the_reason() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let error = runtime.block_on(Supervisor::new("t").start()).expect_err("there are no timers");
    assert!(matches!(error, StartError::NoTimers), "{error}");
    assert!(error.to_string().contains("enable_time"), "{error}");
}

#[test]
fn a_context_kept_after_its_attempt_has_ended_reports_a_stop() {
    paused(async {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let sender = std::sync::Mutex::new(Some(sender));
        let child = Child::task("a", move |ctx: Ctx| {
            if let Some(sender) = sender.lock().unwrap().take() {
                let _ = sender.send(ctx);
            }
            async {}
        });
        let tree = Supervisor::new("t").child(child.restart(Restart::Temporary)).start().await.unwrap();
        let ctx = receiver.await.unwrap();
        ctx.stopping().await;
        assert!(ctx.is_stopping());
        tree.stop().await;
    });
}

#[test]
fn the_end_of_the_runtime_is_not_a_clean_stop() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let tree = runtime.block_on(async {
        let child = Child::task("a", |_| std::future::pending::<()>());
        Supervisor::new("t").child(child).start().await.unwrap()
    });
    drop(runtime);
    let other = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let report = other.block_on(tree.stop());
    assert!(!report.is_clean(), "{report:?}");
    assert_eq!(report.entries[0].path.as_str(), "/t/a");
}

#[test]
fn a_run_returns_when_the_observers_of_its_tree_have_finished_or_after_three_seconds() {
    for (finishes_after, returns_after) in [(s(0), s(0)), (s(2), s(2)), (s(60), s(3))] {
        paused(async {
            let (sender, receiver) = std::sync::mpsc::channel();
            let web = Child::task("web", |ctx: Ctx| async move { ctx.stopping().await });
            let supervisor = Supervisor::new("t").child(web);
            let supervisor = supervisor.on_begin(move |tree| sender.send(tree.hold_run()).unwrap());
            let observer = async {
                // The tree has begun when the other future was polled.
                tokio::task::yield_now().await;
                let hold = receiver.recv().unwrap();
                tokio::time::sleep(finishes_after).await;
                drop(hold);
                std::future::pending::<()>().await;
            };
            let begun = tokio::time::Instant::now();
            match race(supervisor.run_until(async {}), observer).await {
                Either::Left(outcome) => outcome.unwrap(),
                Either::Right(()) => unreachable!("the observer never ends"),
            }
            let took = begun.elapsed();
            assert!(returns_after <= took && took < returns_after + s(1), "{took:?} for {finishes_after:?}");
        });
    }
}
