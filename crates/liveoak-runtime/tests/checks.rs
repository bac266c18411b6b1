//! Checks of tasks, threads and services. The name of each test is the rule.

use liveoak_runtime::{
    Check, CheckKind, Child, Condition, EventKind, EventOrLost, Exit, Health, Limit, Refusal, StartError,
    Supervisor, Tree,
};
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

const fn s(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn paused(test: impl Future<Output = ()>) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().start_paused(true).build().unwrap().block_on(test);
}

fn idle(name: &str) -> Child {
    Child::task(name, |ctx| async move { ctx.stopping().await }).backoff(None).limit(Limit::unlimited())
}

/// An answer that the test changes.
#[derive(Clone, Default)]
struct Switch(Arc<AtomicBool>);

impl Switch {
    fn fails(&self, fails: bool) {
        self.0.store(fails, Ordering::SeqCst);
    }

    fn answer(&self) -> Result<(), &'static str> {
        if self.0.load(Ordering::SeqCst) { Err("no") } else { Ok(()) }
    }
}

fn seconds() -> Check {
    Check::every(s(1))
}

fn ready(tree: &Tree) -> bool {
    tree.snapshot().get("/t/a").unwrap().ready
}

#[test]
fn readiness_that_fails_makes_a_task_unready_and_ready_again_without_a_restart() {
    paused(async {
        let switch = Switch::default();
        let asked = switch.clone();
        let a = idle("a").readiness(seconds(), move |_| {
            let answer = asked.answer();
            async move { answer }
        });
        let tree = Supervisor::new("t").child(a).start().await.unwrap();
        let mut events = tree.events();
        tokio::time::sleep(s(10)).await;
        assert!(ready(&tree));
        switch.fails(true);
        tokio::time::sleep(s(5)).await;
        assert!(!ready(&tree));
        assert_eq!(
            tree.snapshot().get("/t/a").unwrap().health_reason.as_deref(),
            Some("check readiness: no")
        );
        switch.fails(false);
        tokio::time::sleep(s(2)).await;
        assert!(ready(&tree));
        assert_eq!(tree.snapshot().get("/t/a").unwrap().attempt.0, 1);
        let mut words = Vec::new();
        tree.stop().await;
        while let Some(EventOrLost::Event(event)) = events.next().await {
            words.push(event.kind.name());
        }
        assert_eq!(&words[..2], ["unready", "ready-again"]);
    });
}

#[test]
fn liveness_that_fails_restarts_the_child_with_the_reason() {
    paused(async {
        let switch = Switch::default();
        let asked = switch.clone();
        let a = idle("a").liveness(seconds().named("pulse"), move |_| {
            let answer = asked.answer();
            async move { answer }
        });
        let tree = Supervisor::new("t").child(a).start().await.unwrap();
        switch.fails(true);
        tokio::time::sleep(s(4)).await;
        switch.fails(false);
        tokio::time::sleep(s(20)).await;
        let view = tree.snapshot().get("/t/a").unwrap().clone();
        assert_eq!((view.attempt.0, view.restarts, view.ready), (2, 1, true));
        assert_eq!(view.last_exit.unwrap().to_string(), "unhealthy: the check pulse failed: no");
        tree.stop().await;
    });
}

#[test]
fn a_check_that_gives_no_answer_or_panics_has_failed_and_is_dropped() {
    struct Dropped(Arc<AtomicUsize>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    paused(async {
        let drops = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&drops);
        let hangs = idle("a").liveness(seconds().failures(1), move |_| {
            let dropped = Dropped(Arc::clone(&counted));
            async move {
                let _dropped = dropped;
                pending::<Result<(), String>>().await
            }
        });
        let panics =
            idle("b").liveness(seconds().failures(1), |_| async { panic!("oh") as Result<(), String> });
        let at_once = idle("c")
            .liveness(seconds().failures(1), |_| -> std::future::Ready<Result<(), String>> {
                panic!("oh no")
            });
        let tree = Supervisor::new("t").child(hangs).child(panics).child(at_once).start().await.unwrap();
        tokio::time::sleep(s(10)).await;
        let snapshot = tree.snapshot();
        for (path, reason) in [("/t/a", "no answer within 1s"), ("/t/b", "oh"), ("/t/c", "oh no")] {
            let exit = snapshot.get(path).unwrap().last_exit.clone();
            let Some(Exit::Unhealthy(exit)) = exit else { panic!("{path}: {exit:?}") };
            assert!(exit.reason.contains(reason), "{path}: {exit}");
        }
        tree.stop().await;
        tokio::time::sleep(s(1)).await;
        assert!(drops.load(Ordering::SeqCst) >= 4, "each try is dropped when its time is over");
        let all = drops.load(Ordering::SeqCst);
        tokio::time::sleep(s(60)).await;
        assert_eq!(drops.load(Ordering::SeqCst), all, "no check is tried after the end");
    });
}

#[test]
fn a_startup_check_decides_when_a_child_is_ready_and_the_start_deadline_holds() {
    paused(async {
        let switch = Switch::default();
        switch.fails(true);
        let asked = switch.clone();
        let child = move || {
            let asked = asked.clone();
            idle("a").start_within(s(9)).startup(seconds(), move |_| {
                let answer = asked.answer();
                async move { answer }
            })
        };
        let refused = Supervisor::new("t").child(child()).start().await;
        assert!(matches!(refused, Err(StartError::Ended(_) | _)), "{refused:?}");
        let tree = Supervisor::new("t").child(child()).begin().unwrap();
        tokio::time::sleep(s(5)).await;
        assert_eq!(tree.snapshot().get("/t/a").unwrap().state.as_str(), "starting");
        switch.fails(false);
        tokio::time::sleep(s(2)).await;
        assert!(ready(&tree));
        tree.stop().await;
    });
}

#[test]
fn a_check_sees_the_context_of_the_attempt_and_the_state_that_it_shares() {
    paused(async {
        let attempts = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&attempts);
        let a = idle("a").readiness(seconds(), move |ctx| {
            seen.store(ctx.attempt().0 as usize, Ordering::SeqCst);
            async { Ok::<(), String>(()) }
        });
        let tree = Supervisor::new("t").child(a).start().await.unwrap();
        for attempt in 1..4 {
            tokio::time::sleep(s(2)).await;
            assert_eq!(attempts.load(Ordering::SeqCst), attempt);
            tree.restart_child("/t/a").await.unwrap();
        }
        tree.stop().await;
    });
}

#[test]
fn a_blocking_check_does_not_block_the_tree() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (sender, receiver) = std::sync::mpsc::channel::<()>();
    let receiver = Arc::new(std::sync::Mutex::new(receiver));
    runtime.block_on(async {
        let every = Check::every(Duration::from_millis(20)).timeout(Duration::from_millis(50)).failures(1);
        let a = idle("a").liveness(every, move |ctx| {
            let receiver = Arc::clone(&receiver);
            async move {
                if ctx.attempt().0 == 1 {
                    let _ = receiver.lock().unwrap().recv();
                }
                Ok::<(), String>(())
            }
        });
        let tree = Supervisor::new("t").child(a).start().await.unwrap();
        let mut events = tree.events();
        while let Some(event) = events.next().await {
            let EventOrLost::Event(event) = event else { continue };
            if let EventKind::Exited { exit: Exit::Unhealthy(exit), .. } = &event.kind {
                assert_eq!(&*exit.reason, "no answer within 50ms");
                break;
            }
        }
        drop(sender);
        tree.stop().await;
    });
}

#[test]
fn a_task_without_checks_has_no_health_to_wait_for_unless_it_declares_that_it_reports_it() {
    paused(async {
        let tree =
            |db: Child| Supervisor::new("t").child(db).child(idle("a").after_when("db", Condition::Healthy));
        let refused = tree(idle("db")).begin();
        assert!(refused.err().unwrap().to_string().contains("has no health"));
        let tree = tree(idle("db").reports_health()).start().await.unwrap();
        let healths = ["/t/db", "/t/a"].map(|path| tree.snapshot().get(path).unwrap().health);
        assert_eq!(healths, [Health::Healthy, Health::Unknown]);
        tree.stop().await;
    });
}

#[test]
fn check_now_asks_every_check_below_a_path_once_and_changes_nothing() {
    paused(async {
        let of = |answer: Result<(), &'static str>| move |_| async move { answer };
        let a = idle("a")
            .readiness(Check::every(s(3600)), of(Ok(())))
            .liveness(Check::every(s(3600)), of(Err("no")));
        let b = idle("b").liveness(Check::every(s(3600)), |_| pending::<Result<(), String>>());
        let tree = Supervisor::new("t").child(a).child(b).child(idle("c")).start().await.unwrap();
        let answers = tree.check_now("/t").await.unwrap();
        let seen: Vec<_> = answers
            .iter()
            .map(|asked| {
                (
                    asked.path.as_str(),
                    asked.check.as_str(),
                    asked.kind,
                    asked.answer.clone().err().map(|why| why.to_string()),
                )
            })
            .collect();
        assert_eq!(
            seen,
            [
                ("/t/a", "readiness", CheckKind::Readiness, None),
                ("/t/a", "liveness", CheckKind::Liveness, Some("no".to_owned())),
                ("/t/b", "liveness", CheckKind::Liveness, Some("no answer within 1s".to_owned())),
            ]
        );
        assert_eq!(answers.iter().map(|asked| asked.took).collect::<Vec<_>>(), [s(0), s(0), s(1)]);
        let tries: Vec<_> =
            tree.snapshot().get("/t/a").unwrap().checks.iter().map(|check| check.failures).collect();
        assert_eq!(tries, [0, 0]);
        assert!(matches!(tree.check_now("/t/x").await, Err(Refusal::NotFound)));
        tree.stop().await;
    });
}
