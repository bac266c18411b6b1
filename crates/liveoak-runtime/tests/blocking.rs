//! Work that belongs to an attempt in addition to its body: blocking calls, checked subtasks, and trees that it begins.

use liveoak_runtime::testing::{eventually, paused};
use liveoak_runtime::{
    Child, Ctx, DedicatedRuntime, Exit, KILL_WAIT, Restart, StopStage, SubtaskError, Supervisor, Tree,
};
use std::cell::RefCell;
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn threaded<F: Future>(test: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let outcome = runtime.block_on(test);
    runtime.shutdown_background();
    outcome
}

/// A gate at which a blocking call waits until the test drops the sender.
struct Gate {
    closed: Mutex<Receiver<()>>,
    reached: AtomicBool,
}

impl Gate {
    fn new() -> (Sender<()>, Arc<Self>) {
        let (open, closed) = channel();
        (open, Arc::new(Self { closed: Mutex::new(closed), reached: AtomicBool::new(false) }))
    }

    fn wait(&self) {
        self.reached.store(true, Ordering::SeqCst);
        let _ = self.closed.lock().expect("the gate").recv();
    }

    async fn is_reached(&self) {
        eventually("the call runs", || self.reached.load(Ordering::SeqCst)).await;
    }
}

fn stage(report: &liveoak_runtime::StopReport, path: &str) -> Option<StopStage> {
    report.entries.iter().find(|entry| entry.path.as_str() == path).map(|entry| entry.stage)
}

#[test]
fn an_attempt_ends_only_after_its_blocking_calls() {
    threaded(async {
        let done = Arc::new(AtomicBool::new(false));
        let begun = Arc::new(AtomicBool::new(false));
        let (does, begins) = (Arc::clone(&done), Arc::clone(&begun));
        let child = Child::task("work", move |ctx: Ctx| {
            let (does, begins) = (Arc::clone(&does), Arc::clone(&begins));
            async move {
                let inside = ctx.clone();
                drop(ctx.spawn_blocking(move || {
                    begins.store(true, Ordering::SeqCst);
                    while !inside.is_stopping() {
                        std::thread::sleep(MS);
                    }
                    assert_eq!(liveoak_runtime::current().expect("inside").path(), inside.path());
                    std::thread::sleep(50 * MS);
                    does.store(true, Ordering::SeqCst);
                }));
                ctx.stopping().await;
            }
        });
        let tree = Supervisor::new("t").child(child).start().await.expect("a tree");
        eventually("the call runs", || begun.load(Ordering::SeqCst)).await;
        let report = tree.stop().await;
        assert!(done.load(Ordering::SeqCst), "the attempt ended before its blocking call");
        assert!(report.is_clean(), "{report:?}");
    });
}

#[test]
fn a_blocking_call_that_outlasts_the_stop_is_abandoned_and_reported() {
    threaded(async {
        let (open, gate) = Gate::new();
        let reached = Arc::clone(&gate);
        let child = Child::task("work", move |ctx: Ctx| {
            let gate = Arc::clone(&gate);
            async move {
                drop(ctx.spawn_blocking(move || gate.wait()));
                ctx.stopping().await;
            }
        });
        let tree = Supervisor::new("t").child(child.stop_within(10 * MS)).start().await.expect("a tree");
        reached.is_reached().await;
        let report = tree.stop().await;
        assert_eq!(stage(&report, "/t/work"), Some(StopStage::Abandoned));
        drop(open);
    });
}

#[test]
fn a_blocking_call_yields_its_value_and_its_panic_fails_the_attempt() {
    threaded(async {
        let child = Child::task("work", |ctx: Ctx| async move {
            assert_eq!(ctx.spawn_blocking(|| 7).await, Ok(7));
            assert_eq!(
                ctx.spawn_blocking(|| panic!("half a block")).await,
                Err::<(), _>(SubtaskError::Panicked)
            );
            ctx.stopping().await;
        });
        let child = child.restart(Restart::Temporary);
        let tree = Supervisor::new("t").child(child).start().await.expect("a tree");
        let exit = || tree.snapshot().get("/t/work").and_then(|work| work.last_exit.clone());
        eventually("it failed", || exit().is_some()).await;
        assert!(exit().is_some_and(|exit| exit.to_string().contains("half a block")), "{:?}", exit());
    });
}

#[test]
fn a_dedicated_runtime_that_leaves_a_thread_behind_is_abandoned_and_reported() {
    threaded(async {
        let (open, gate) = Gate::new();
        let reached = Arc::clone(&gate);
        let work = Child::task("work", move |ctx: Ctx| {
            let gate = Arc::clone(&gate);
            async move {
                drop(tokio::task::spawn_blocking(move || gate.wait()));
                ctx.stopping().await;
            }
        });
        let inner = Supervisor::new("inner").dedicated_runtime(DedicatedRuntime::new("inner", 1)).child(work);
        let tree =
            Supervisor::new("t").stop_within(2 * KILL_WAIT).child(inner).start().await.expect("a tree");
        reached.is_reached().await;
        let report = tree.stop().await;
        assert_eq!(stage(&report, "/t/inner"), Some(StopStage::Abandoned), "{report:?}");
        assert_eq!(stage(&report, "/t/inner/work"), Some(StopStage::Asked));
        drop(open);
    });
}

#[test]
fn the_end_of_a_thread_child_is_reported_after_its_thread_locals_are_dropped() {
    static IS_SET: AtomicBool = AtomicBool::new(false);
    static GONE: AtomicBool = AtomicBool::new(false);
    struct Slow;
    impl Drop for Slow {
        fn drop(&mut self) {
            std::thread::sleep(100 * MS);
            GONE.store(true, Ordering::SeqCst);
        }
    }
    thread_local! {
        static LOCAL: RefCell<Option<Slow>> = const { RefCell::new(None) };
    }
    threaded(async {
        let child = Child::thread("work", |ctx: Ctx| {
            LOCAL.set(Some(Slow));
            IS_SET.store(true, Ordering::SeqCst);
            while !ctx.is_stopping() {
                std::thread::sleep(MS);
            }
        });
        let tree = Supervisor::new("t").child(child).start().await.expect("a tree");
        eventually("the thread-local is set", || IS_SET.load(Ordering::SeqCst)).await;
        assert!(tree.stop().await.is_clean());
        assert!(GONE.load(Ordering::SeqCst), "its thread-locals outlived it");
    });
}

/// Runs `body` as a temporary child. Returns its exit.
async fn exit_of<F, Fut>(body: F) -> Exit
where
    F: FnOnce(Ctx) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let tree = Supervisor::new("t").child(Child::once("work", body)).start().await.expect("a tree");
    tokio::time::sleep(Duration::from_secs(10)).await;
    let exit = tree.snapshot().get("/t/work").and_then(|work| work.last_exit.clone());
    exit.unwrap_or_else(|| panic!("it still runs"))
}

async fn fails(ctx: Ctx, after: Duration) -> Result<(), String> {
    tokio::time::sleep(after).await;
    Err(format!("{} seen", ctx.path()))
}

#[test]
fn the_failure_of_a_checked_subtask_fails_its_attempt_if_the_handle_is_dropped_unawaited() {
    paused(async {
        let dropped_before = |ctx: Ctx| async move {
            drop(ctx.spawn_checked(fails(ctx.clone(), SECOND)));
            ctx.stopping().await;
        };
        assert_eq!(exit_of(dropped_before).await.to_string(), "failed: /t/work seen");
        let dropped_after = |ctx: Ctx| async move {
            let handle = ctx.spawn_checked(fails(ctx.clone(), SECOND));
            ctx.sleep(2 * SECOND).await;
            assert!(handle.is_finished() && !ctx.is_stopping());
            drop(handle);
            ctx.stopping().await;
        };
        assert_eq!(exit_of(dropped_after).await.to_string(), "failed: /t/work seen");
        let dropped_at_the_end = |ctx: Ctx| async move {
            let _handle = ctx.spawn_checked(fails(ctx.clone(), SECOND));
            ctx.sleep(2 * SECOND).await;
        };
        assert_eq!(exit_of(dropped_at_the_end).await.to_string(), "failed: /t/work seen");
        let not_awaited_to_the_end = |ctx: Ctx| async move {
            let mut handle = ctx.spawn_checked(fails(ctx.clone(), SECOND));
            assert!(tokio::time::timeout(MS, &mut handle).await.is_err());
            drop(handle);
            ctx.stopping().await;
        };
        assert_eq!(exit_of(not_awaited_to_the_end).await.to_string(), "failed: /t/work seen");
    });
}

#[test]
fn the_failure_of_a_checked_subtask_belongs_to_the_handle_that_awaits_it() {
    paused(async {
        let awaited = |ctx: Ctx| async move {
            let exit = ctx.spawn_checked(fails(ctx.clone(), MS)).await;
            assert_eq!(exit.expect("an exit").to_string(), "failed: /t/work seen");
        };
        assert_eq!(exit_of(awaited).await.kind(), "completed");
        let succeeds = |ctx: Ctx| async move { drop(ctx.spawn_checked(async {})) };
        assert_eq!(exit_of(succeeds).await.kind(), "completed");
        let aborted = |ctx: Ctx| async move {
            let handle = ctx.spawn_checked(fails(ctx.clone(), MS));
            handle.abort();
            assert!(matches!(handle.await, Err(SubtaskError::Aborted)));
        };
        assert_eq!(exit_of(aborted).await.kind(), "completed");
        let cut_short = |ctx: Ctx| async move { drop(ctx.spawn_checked(fails(ctx.clone(), 60 * 1000 * MS))) };
        assert_eq!(exit_of(cut_short).await.kind(), "completed");
    });
}

#[test]
fn an_attempt_has_at_most_sixty_five_thousand_subtasks_at_a_time() {
    paused(async {
        let body = |ctx: Ctx| async move {
            for _ in 0..65_536 {
                drop(ctx.spawn(std::future::pending::<()>()));
            }
            assert_eq!(ctx.spawn(async {}).await, Err(SubtaskError::TooMany));
            assert_eq!(ctx.spawn_blocking(|| ()).await, Err(SubtaskError::TooMany));
        };
        assert_eq!(exit_of(body).await.kind(), "completed");
    });
}

#[test]
fn a_tree_that_an_attempt_has_begun_ends_before_the_next_attempt_begins() {
    threaded(async {
        let (alive, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (lives, at_most) = (Arc::clone(&alive), Arc::clone(&most));
        let attempts = Arc::new(AtomicUsize::new(0));
        let begun = Arc::clone(&attempts);
        let kept: Arc<Mutex<Vec<Tree>>> = Arc::default();
        let keeps = Arc::clone(&kept);
        let outer = Child::task("outer", move |ctx: Ctx| {
            let (alive, most) = (Arc::clone(&lives), Arc::clone(&at_most));
            let (attempts, keeps) = (Arc::clone(&begun), Arc::clone(&keeps));
            async move {
                let inner = Child::thread("work", move |ctx: Ctx| {
                    most.fetch_max(alive.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    while !ctx.is_stopping() {
                        std::thread::sleep(MS);
                    }
                    std::thread::sleep(20 * MS);
                    alive.fetch_sub(1, Ordering::SeqCst);
                });
                let tree = Supervisor::new("inner").child(inner).start().await.expect("a tree");
                // The tree ends with the attempt, even if its `Tree` lives on elsewhere.
                keeps.lock().expect("kept").push(tree);
                attempts.fetch_add(1, Ordering::SeqCst);
                ctx.sleep(5 * MS).await;
                Err::<(), _>("once more")
            }
        });
        let tree = Supervisor::new("t").child(outer.backoff(None)).start().await.expect("a tree");
        eventually("a few attempts", || attempts.load(Ordering::SeqCst) > 3).await;
        tree.stop().await;
        assert_eq!(alive.load(Ordering::SeqCst), 0);
        assert_eq!(most.load(Ordering::SeqCst), 1, "two at once");
    });
}

#[test]
fn the_paused_clock_does_not_advance_while_a_thread_starts_or_stops() {
    paused(async {
        let child = Child::thread("work", |ctx: Ctx| {
            std::thread::sleep(50 * MS);
            ctx.ready();
            while !ctx.is_stopping() {
                std::thread::yield_now();
            }
            std::thread::sleep(50 * MS);
        });
        let child = child.reports_ready().start_within(10 * SECOND).stop_within(10 * SECOND);
        let began = tokio::time::Instant::now();
        let tree = Supervisor::new("t").child(child).start().await.expect("a tree");
        assert_eq!(began.elapsed(), Duration::ZERO, "the start of a thread takes no paused time");
        // While the thread only runs, the clock advances.
        tokio::time::sleep(60 * SECOND).await;
        let report = tree.stop().await;
        assert!(report.is_clean(), "{report:?}");
        assert_eq!(report.took, Duration::ZERO, "the stop of a thread takes no paused time");
    });
}

#[test]
fn the_paused_clock_is_held_while_a_thread_starts_for_at_most_its_deadline_in_real_time() {
    paused(async {
        let (open, gate) = Gate::new();
        let child = Child::thread("work", move |_: Ctx| gate.wait());
        let tree = Supervisor::new("t").child(child.stop_within(20 * MS)).start().await.expect("a tree");
        let report = tree.stop().await;
        assert_eq!(stage(&report, "/t/work"), Some(StopStage::Abandoned), "{report:?}");
        drop(open);
    });
}

#[test]
fn the_paused_clock_does_not_advance_while_a_dedicated_runtime_is_made_or_closed() {
    paused(async {
        let idle = Child::task("idle", |ctx: Ctx| async move { ctx.stopping().await });
        let inner = Supervisor::new("inner").dedicated_runtime(DedicatedRuntime::new("own", 1)).child(idle);
        let began = tokio::time::Instant::now();
        let tree = Supervisor::new("t").child(inner).start().await.expect("a tree");
        assert_eq!(began.elapsed(), Duration::ZERO);
        tokio::time::sleep(60 * SECOND).await;
        let report = tree.stop().await;
        assert!(report.is_clean() && report.took < SECOND, "{report:?}");
    });
}
