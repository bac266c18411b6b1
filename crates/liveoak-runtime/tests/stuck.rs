//! Code that never yields, in real time. It is abandoned and reported, and the process goes on.

use liveoak_runtime::testing::{Puppet, eventually};
use liveoak_runtime::*;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::runtime::Builder;

/// Runs `test` on a runtime of two threads, in real time. Does not wait for threads that never yield.
fn real<F: Future>(test: F) -> F::Output {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let outcome = runtime.block_on(test);
    runtime.shutdown_background();
    outcome
}

const SOON: Duration = Duration::from_millis(50);

#[test]
fn a_child_that_never_yields_is_abandoned_and_reported() {
    real(async {
        let (stuck, well) = (Puppet::new("stuck"), Puppet::new("well"));
        let tree = Supervisor::new("t")
            .child(well.child())
            .child(stuck.child().stop_within(SOON))
            .start()
            .await
            .unwrap();
        stuck.spin();
        let report = tree.stop().await;
        let stages: Vec<_> = report.entries.iter().map(|entry| (entry.path.name(), entry.stage)).collect();
        assert_eq!(stages, [("stuck", StopStage::Abandoned), ("well", StopStage::Asked)]);
        assert!(matches!(report.entries[0].exit, Some(Exit::Abandoned)), "{report:?}");
        assert_eq!(stuck.live(), 1, "it still runs");
        stuck.release();
        stuck.gone().await;
    });
}

#[test]
fn the_watchdog_acts_even_if_the_stuck_child_has_just_woken_the_timer_task() {
    real(async {
        let release = Arc::new(AtomicBool::new(false));
        let released = Arc::clone(&release);
        let child = Child::task("stuck", move |ctx: Ctx| {
            let released = Arc::clone(&released);
            async move {
                // The worker thread that wakes this task is the one that drives the runtime's timers. Here it reports
                // readiness, which sets the heartbeat's deadline and wakes the tree's timer task; then it never yields.
                // The deadline must be kept although this thread does not run the timer task any more.
                tokio::time::sleep(Duration::from_millis(20)).await;
                if ctx.attempt() == Attempt(1) {
                    ctx.ready();
                    while !released.load(Ordering::Relaxed) {
                        std::hint::spin_loop();
                    }
                } else {
                    ctx.ready();
                    ctx.stopping().await;
                }
            }
        });
        let child = child.reports_ready().heartbeat(SOON).backoff(None);
        let tree = Supervisor::new("t").child(child).start().await.unwrap();
        let second = eventually("a second attempt, after the first was abandoned", || {
            tree.snapshot().get("/t/stuck").unwrap().attempt == Attempt(2)
        });
        let in_time = tokio::time::timeout(Duration::from_secs(20), second).await;
        release.store(true, Ordering::Relaxed);
        assert!(in_time.is_ok(), "the missed heartbeat was not noticed");
        let exit = tree.snapshot().get("/t/stuck").unwrap().last_exit.clone();
        assert!(matches!(exit, Some(Exit::HeartbeatTimeout(_))), "{exit:?}");
        tree.kill().await;
    });
}

#[test]
fn children_that_never_yield_and_take_all_threads_cannot_hang_the_stop() {
    real(async {
        let stuck: Vec<_> = (0..4).map(|n| Puppet::new(format!("stuck{n}"))).collect();
        let tree = Supervisor::new("t")
            .children(stuck.iter().map(|puppet| puppet.child()))
            .stop_within(Duration::from_millis(500))
            .start()
            .await
            .unwrap();
        stuck.iter().for_each(Puppet::spin);
        // An attempt that gets a worker thread keeps it; the others never get one.
        let report = tree.stop().await;
        assert!(report.entries.iter().all(|entry| entry.stage == StopStage::Abandoned), "{report:?}");
        assert_eq!(report.entries.len(), 4);
        assert!(report.took < Duration::from_secs(10), "{:?}", report.took);
        stuck.iter().for_each(Puppet::release);
    });
}

#[test]
fn a_thread_that_never_checks_for_the_stop_is_abandoned_and_reported_and_the_process_survives() {
    real(async {
        let deaf = Puppet::new("deaf").ignoring_stop();
        let listens = Puppet::new("listens");
        let tree = Supervisor::new("t")
            .child(listens.thread())
            .child(deaf.thread().stop_within(SOON))
            .start()
            .await
            .unwrap();
        let mut events = tree.events();
        let report = tree.stop().await;
        let stages: Vec<_> = report.entries.iter().map(|entry| (entry.path.name(), entry.stage)).collect();
        assert_eq!(stages, [("deaf", StopStage::Abandoned), ("listens", StopStage::Asked)]);
        let mut abandoned = 0;
        while let Some(next) = events.next().await {
            abandoned +=
                u32::from(matches!(&next, EventOrLost::Event(event) if event.kind.name() == "abandoned"));
        }
        assert_eq!(abandoned, 1, "it is an event as well");
        assert_eq!((deaf.live(), listens.live()), (1, 0));
        deaf.complete();
        deaf.gone().await;
    });
}

#[test]
fn a_late_exit_report_of_an_old_attempt_changes_nothing() {
    real(async {
        let puppet = Puppet::new("stuck");
        let child = puppet.child().stop_within(SOON).backoff(None);
        let tree = Supervisor::new("t").child(child).start().await.unwrap();
        puppet.spin();
        let restarted = tree.restart_child("/t/stuck").await;
        assert!(matches!(restarted, Ok(Outcome::Ready { attempt: Attempt(2), .. })), "{restarted:?}");
        assert_eq!(puppet.live(), 2, "the first was abandoned and still runs");
        puppet.release();
        eventually("the end of the first", || puppet.live() == 1).await;
        let snapshot = tree.snapshot();
        let view = snapshot.get("/t/stuck").unwrap();
        assert_eq!((view.attempt, &view.state), (Attempt(2), &ChildState::Running));
        assert!(matches!(view.last_exit, Some(Exit::Abandoned)), "{:?}", view.last_exit);
        assert!(tree.stop().await.is_clean());
        assert_eq!(puppet.live(), 0);
    });
}

#[test]
fn subtasks_of_an_abandoned_thread_are_aborted_and_it_can_spawn_no_more() {
    real(async {
        let release = Arc::new(AtomicBool::new(false));
        let (beats, late) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let inside = (Arc::clone(&release), Arc::clone(&beats), Arc::clone(&late));
        let thread = Child::thread("deaf", move |ctx: Ctx| {
            let (release, beats, late) = inside.clone();
            let beating = Arc::clone(&beats);
            ctx.spawn(async move {
                loop {
                    beating.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            });
            while !release.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(1));
            }
            let refused = ctx.spawn(async {});
            late.store(refused.is_finished(), Ordering::Relaxed);
            beats.fetch_add(1_000_000, Ordering::Relaxed);
        });
        let tree = Supervisor::new("t").child(thread.stop_within(SOON)).start().await.unwrap();
        eventually("a few beats", || beats.load(Ordering::Relaxed) > 3).await;
        let report = tree.stop().await;
        assert_eq!(report.entries[0].stage, StopStage::Abandoned);
        // The subtask was aborted when the thread was abandoned. A poll that was under way may still add one.
        let counted = beats.load(Ordering::Relaxed);
        tokio::time::sleep(SOON).await;
        assert!(beats.load(Ordering::Relaxed) <= counted + 1, "its subtask still runs");
        release.store(true, Ordering::Relaxed);
        eventually("the end of the thread", || beats.load(Ordering::Relaxed) > 1_000_000).await;
        assert!(late.load(Ordering::Relaxed), "an abandoned attempt spawns nothing");
    });
}

#[test]
fn the_watchdog_does_the_work_of_the_timer_task_if_all_threads_are_blocked_and_nothing_is_due() {
    real(async {
        const MEMBERS: usize = 5_000;
        let kept: Arc<Mutex<Vec<Ctx>>> = Arc::default();
        let slot = Arc::clone(&kept);
        let group = Group::<()>::new("g", move |ctx: Ctx, ()| {
            slot.lock().unwrap().push(ctx.clone());
            async move { ctx.stopping().await }
        });
        // Without any deadline: only the work that is left can wake the watchdog.
        let group = group.stop_within(Duration::MAX);
        let members = group.handle();
        let tree = Supervisor::new("t").stop_within(Duration::MAX).child(group).start().await.unwrap();
        (0..MEMBERS).for_each(|_| assert!(members.spawn(()).is_ok()));
        eventually("all of them", || kept.lock().unwrap().len() == MEMBERS).await;
        let blocking: Vec<_> = (0..4).map(|n| Puppet::new(format!("blocking{n}"))).collect();
        for puppet in &blocking {
            puppet.spin();
            let body = puppet.clone();
            let ctx = kept.lock().unwrap()[0].clone();
            drop(tokio::spawn(async move { body.body(ctx).await }));
        }
        // This thread belongs to no runtime's workers. Both workers are blocked now.
        let spinning = || blocking.iter().filter(|puppet| puppet.live() > 0).count() >= 2;
        while !spinning() {
            std::thread::yield_now();
        }
        tree.begin_stop();
        let asked = || kept.lock().unwrap().iter().filter(|ctx| ctx.is_stopping()).count();
        let begun = Instant::now();
        while asked() < MEMBERS && begun.elapsed() < Duration::from_secs(20) {
            std::thread::sleep(Duration::from_millis(1));
        }
        let asked = asked();
        blocking.iter().for_each(Puppet::release);
        assert_eq!(asked, MEMBERS, "were asked while all threads were blocked");
        tree.kill().await;
    });
}

/// A child that gives its heartbeats four times as often as it must.
fn beats(name: &str, period: Duration, beats: &Arc<AtomicU64>) -> Child {
    let beats = Arc::clone(beats);
    let body = move |ctx: Ctx| {
        let beats = Arc::clone(&beats);
        async move {
            ctx.heartbeat();
            while ctx.sleep(period / 4).await {
                ctx.heartbeat();
                beats.fetch_add(1, Ordering::Relaxed);
            }
        }
    };
    Child::task(name, body).heartbeat(period).backoff(None)
}

#[test]
fn a_child_that_could_not_run_because_another_blocks_its_runtime_has_not_missed_its_heartbeat() {
    const PERIOD: Duration = Duration::from_millis(200);
    for dedicated in [false, true] {
        let workers = if dedicated { 2 } else { 1 };
        let runtime = Builder::new_multi_thread().worker_threads(workers).enable_all().build().unwrap();
        runtime.block_on(async {
            let counted = Arc::new(AtomicU64::new(0));
            let blocks = Puppet::new("blocks");
            let inner = Supervisor::new("s").child(beats("well", PERIOD, &counted)).child(blocks.child());
            let inner =
                if dedicated { inner.dedicated_runtime(DedicatedRuntime::new("own", 1)) } else { inner };
            let tree = Supervisor::new("t").child(inner).start().await.unwrap();
            eventually("a few beats", || counted.load(Ordering::Relaxed) > 3).await;
            blocks.spin();
            // This thread is no worker. Ten periods long, the only worker of the children is blocked.
            std::thread::sleep(10 * PERIOD);
            blocks.release();
            let before = counted.load(Ordering::Relaxed);
            eventually("it beats again", || counted.load(Ordering::Relaxed) > before + 8).await;
            let snapshot = tree.snapshot();
            let view = snapshot.get("/t/s/well").unwrap();
            assert_eq!((view.attempt, view.last_exit.is_none()), (Attempt(1), true), "{:?}", view.last_exit);
            tree.kill().await;
        });
        runtime.shutdown_background();
    }
}

#[test]
fn the_child_or_the_subtask_that_blocks_its_runtime_is_found_stuck() {
    for in_subtask in [false, true] {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(async {
            let release = Arc::new(AtomicBool::new(false));
            let released = Arc::clone(&release);
            let body = move |ctx: Ctx| {
                let released = Arc::clone(&released);
                let blocks = move || {
                    while !released.load(Ordering::Relaxed) {
                        std::hint::spin_loop();
                    }
                };
                async move {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    if in_subtask {
                        let _ = ctx.spawn(async move { blocks() }).await;
                    } else {
                        blocks();
                    }
                    ctx.stopping().await;
                }
            };
            let child = Child::task("stuck", body).heartbeat(SOON).restart(Restart::Temporary);
            let tree = Supervisor::new("t").child(child).begin().unwrap();
            let exit = || tree.snapshot().get("/t/stuck").unwrap().last_exit.clone();
            // No timer of the runtime fires while its only worker is blocked.
            let begun = Instant::now();
            while exit().is_none() && begun.elapsed() < Duration::from_secs(20) {
                std::thread::sleep(Duration::from_millis(1));
            }
            release.store(true, Ordering::Relaxed);
            assert!(exit().is_some(), "in a subtask: {in_subtask}");
            assert!(matches!(exit(), Some(Exit::HeartbeatTimeout(_))), "{:?}", exit());
            tree.kill().await;
        });
        runtime.shutdown_background();
    }
}
