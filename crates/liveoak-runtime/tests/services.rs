//! Services: the hooks `init`, `run` and `stop`.

use liveoak_runtime::testing::{LeakCheck, paused};
use liveoak_runtime::*;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A service whose fields set what its hooks do. Each hook logs its call.
#[derive(Clone)]
struct Script {
    init: Option<Duration>,
    init_says: Init,
    run: Run,
    stop: Option<Duration>,
    stop_says: Result<(), &'static str>,
    log: Arc<Mutex<Vec<String>>>,
}

#[derive(Clone, Copy)]
enum Run {
    UntilAsked,
    Deaf,
    Fails,
}

impl Script {
    fn new() -> Self {
        Self {
            init: Some(Duration::ZERO),
            init_says: Init::Ready,
            run: Run::UntilAsked,
            stop: Some(Duration::ZERO),
            stop_says: Ok(()),
            log: Arc::default(),
        }
    }

    fn child(&self) -> Child {
        let script = self.clone();
        Child::service("svc", move || script.clone())
    }

    fn note(&self, what: &str, ctx: &Ctx) {
        self.log.lock().unwrap().push(format!("{what} {}", ctx.attempt()));
    }

    fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }
}

async fn takes(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}

impl Service for Script {
    async fn init(&mut self, ctx: &Ctx) -> Result<Init, BoxError> {
        self.note("init", ctx);
        takes(self.init).await;
        Ok(self.init_says)
    }

    async fn run(&mut self, ctx: &Ctx) -> Result<(), BoxError> {
        self.note("run", ctx);
        match self.run {
            Run::UntilAsked => ctx.stopping().await,
            Run::Deaf => std::future::pending().await,
            Run::Fails => {
                tokio::time::sleep(s(1)).await;
                return Err("it broke".into());
            }
        }
        Ok(())
    }

    async fn stop(&mut self, ctx: &Ctx) -> Result<(), BoxError> {
        self.note("stop", ctx);
        takes(self.stop).await;
        self.note("stopped", ctx);
        self.stop_says.map_err(Into::into)
    }
}

#[test]
fn a_service_runs_its_three_hooks_and_is_ready_after_init() {
    paused(async {
        let leak_check = LeakCheck::new();
        let script = Script { init: Some(s(3)), ..Script::new() };
        let tree = Supervisor::new("t").child(script.child()).begin().unwrap();
        tokio::time::sleep(s(2)).await;
        let state = tree.snapshot().get("/t/svc").unwrap().state.clone();
        assert!(matches!(state, ChildState::Starting { .. }), "{state:?}");
        tree.ready().await.unwrap();
        assert_eq!(tree.now().since(Time::ZERO), s(3));
        let report = tree.stop().await;
        assert!(report.is_clean(), "{report:?}");
        assert_eq!(script.log(), ["init 1", "run 1", "stop 1", "stopped 1"]);
        leak_check.check().await;
    });
}

#[test]
fn a_slow_init_that_is_interrupted_is_a_clean_stop() {
    paused(async {
        let leak_check = LeakCheck::new();
        let script = Script { init: None, ..Script::new() };
        let tree = Supervisor::new("t").child(script.child()).begin().unwrap();
        tokio::time::sleep(s(1)).await;
        let report = tree.stop().await;
        assert!(report.is_clean(), "{report:?}");
        assert_eq!(report.took, Duration::ZERO);
        assert!(matches!(report.entries[0].exit, Some(Exit::Stopped)), "{report:?}");
        assert_eq!(script.log(), ["init 1"]);
        leak_check.check().await;
    });
}

#[test]
fn a_stop_hook_that_hangs_is_dropped_at_the_stop_deadline_of_the_child() {
    paused(async {
        let leak_check = LeakCheck::new();
        let script = Script { stop: None, ..Script::new() };
        let child = script.child().stop_within(s(4));
        let tree = Supervisor::new("t").child(child).start().await.unwrap();
        let report = tree.stop().await;
        assert_eq!(report.took, s(4));
        assert_eq!(report.entries[0].stage, StopStage::Killed);
        assert_eq!(script.log(), ["init 1", "run 1", "stop 1"]);
        leak_check.check().await;
    });
}

#[test]
fn the_stop_hook_runs_even_when_run_was_cancelled() {
    paused(async {
        let leak_check = LeakCheck::new();
        let script = Script { run: Run::Deaf, ..Script::new() };
        let child = script.child().stop_within(s(4));
        let tree = Supervisor::new("t").child(child).start().await.unwrap();
        let report = tree.stop().await;
        // Half of the stop deadline is for `run`, the other half for the stop hook.
        assert_eq!(report.took, s(2));
        assert!(report.is_clean(), "{report:?}");
        assert_eq!(script.log(), ["init 1", "run 1", "stop 1", "stopped 1"]);
        leak_check.check().await;
    });
}

#[test]
fn the_stop_hook_runs_after_a_kill_within_the_kill_wait() {
    paused(async {
        let leak_check = LeakCheck::new();
        let script = Script { run: Run::Deaf, stop: Some(s(1)), ..Script::new() };
        let tree = Supervisor::new("t").child(script.child()).start().await.unwrap();
        let report = tree.kill().await;
        assert_eq!(report.took, s(1));
        assert_eq!(report.entries[0].stage, StopStage::Killed);
        assert_eq!(script.log(), ["init 1", "run 1", "stop 1", "stopped 1"]);
        leak_check.check().await;
    });
}

/// A service that kills its tree when it is asked to stop, and returns at once.
struct KillsItsTree {
    tree: Arc<Mutex<Option<TreeHandle>>>,
    stopped: Arc<Mutex<bool>>,
}

impl Service for KillsItsTree {
    async fn run(&mut self, ctx: &Ctx) -> Result<(), BoxError> {
        ctx.stopping().await;
        let tree = self.tree.lock().unwrap().take().unwrap();
        let mut kill = std::pin::pin!(tree.kill());
        // The kill is begun, but its end is not awaited.
        std::future::poll_fn(|cx| {
            let _ = kill.as_mut().poll(cx);
            std::task::Poll::Ready(())
        })
        .await;
        Ok(())
    }

    async fn stop(&mut self, ctx: &Ctx) -> Result<(), BoxError> {
        let _ = ctx;
        tokio::time::sleep(s(1)).await;
        *self.stopped.lock().unwrap() = true;
        Ok(())
    }
}

#[test]
fn the_stop_hook_runs_even_when_the_kill_comes_just_as_the_body_has_returned() {
    paused(async {
        let leak_check = LeakCheck::new();
        let (tree_cell, stopped) = (Arc::default(), Arc::default());
        let (cell, flag) = (Arc::clone(&tree_cell), Arc::clone(&stopped));
        let child = Child::service("svc", move || KillsItsTree {
            tree: Arc::clone(&cell),
            stopped: Arc::clone(&flag),
        });
        let tree = Supervisor::new("t").child(child).start().await.unwrap();
        *tree_cell.lock().unwrap() = Some(tree.handle());
        let report = tree.stop().await;
        assert_eq!(report.took, s(1));
        assert!(*stopped.lock().unwrap());
        leak_check.check().await;
    });
}

#[test]
fn the_stop_hook_runs_after_an_error_and_does_not_hide_it() {
    paused(async {
        let leak_check = LeakCheck::new();
        let script = Script { run: Run::Fails, stop_says: Err("the hook too"), ..Script::new() };
        let child = script.child().restart(Restart::Temporary);
        let tree = Supervisor::new("t").child(child).start().await.unwrap();
        tokio::time::sleep(s(5)).await;
        assert_eq!(script.log(), ["init 1", "run 1", "stop 1", "stopped 1"]);
        let exit = tree.snapshot().get("/t/svc").unwrap().last_exit.clone().unwrap();
        assert_eq!(exit.to_string(), "failed: it broke");
        ends_without_leaks(tree, leak_check).await;
    });
}

#[test]
fn an_error_of_the_stop_hook_is_the_exit_if_nothing_else_failed() {
    paused(async {
        let leak_check = LeakCheck::new();
        let script = Script { stop_says: Err("cannot flush"), ..Script::new() };
        let tree = Supervisor::new("t").child(script.child()).start().await.unwrap();
        let report = tree.stop().await;
        let exit = report.entries[0].exit.as_ref().unwrap();
        assert_eq!(exit.to_string(), "failed: cannot flush");
        ends_without_leaks(tree, leak_check).await;
    });
}

async fn ends_without_leaks(tree: Tree, leak_check: LeakCheck) {
    tree.stop().await;
    leak_check.check().await;
}

#[test]
fn each_attempt_gets_a_new_value_and_the_previous_hooks_have_ended_before_it_begins() {
    paused(async {
        let leak_check = LeakCheck::new();
        let script = Script { run: Run::Fails, stop: Some(s(1)), ..Script::new() };
        let tree = Supervisor::new("t").child(script.child().backoff(None)).start().await.unwrap();
        tokio::time::sleep(Duration::from_millis(4500)).await;
        tree.kill().await;
        let first: Vec<_> = script.log().into_iter().take(9).collect();
        assert_eq!(
            first,
            ["init 1", "run 1", "stop 1", "stopped 1", "init 2", "run 2", "stop 2", "stopped 2", "init 3"]
        );
        leak_check.check().await;
    });
}

#[test]
fn a_service_that_is_not_needed_counts_as_started_and_is_absent() {
    paused(async {
        let leak_check = LeakCheck::new();
        let script = Script { init_says: Init::Ignore, ..Script::new() };
        let after = leak_check.puppet("after");
        let tree = Supervisor::new("t")
            .child(script.child())
            .child(after.child().after("svc"))
            .start()
            .await
            .unwrap();
        let state = tree.snapshot().get("/t/svc").unwrap().state.clone();
        assert_eq!(state, ChildState::Idle(IdleReason::Ignored));
        assert_eq!((after.live(), script.log()), (1, vec!["init 1".to_owned()]));
        ends_without_leaks(tree, leak_check).await;
    });
}

#[test]
fn a_service_that_is_not_ready_after_init_reports_it_later() {
    struct Late;
    impl Service for Late {
        async fn init(&mut self, _ctx: &Ctx) -> Result<Init, BoxError> {
            Ok(Init::NotYet)
        }
        async fn run(&mut self, ctx: &Ctx) -> Result<(), BoxError> {
            ctx.sleep(s(2)).await;
            ctx.ready();
            ctx.stopping().await;
            Ok(())
        }
    }
    paused(async {
        let tree = Supervisor::new("t").child(Child::service("svc", || Late)).start().await.unwrap();
        assert_eq!(tree.now().since(Time::ZERO), s(2));
        assert!(tree.stop().await.is_clean());
    });
}

#[test]
fn an_init_that_fails_on_a_restart_is_retried() {
    struct Flaky;
    impl Service for Flaky {
        async fn init(&mut self, ctx: &Ctx) -> Result<Init, BoxError> {
            match ctx.attempt() {
                Attempt(2..=4) => Err("no disk".into()),
                _ => Ok(Init::Ready),
            }
        }
        async fn run(&mut self, ctx: &Ctx) -> Result<(), BoxError> {
            if ctx.attempt() == Attempt(1) {
                return Err("first".into());
            }
            ctx.stopping().await;
            Ok(())
        }
    }
    paused(async {
        let leak_check = LeakCheck::new();
        let tree = Supervisor::new("t").child(Child::service("svc", || Flaky)).start().await.unwrap();
        tokio::time::sleep(s(60)).await;
        let snapshot = tree.snapshot();
        let view = snapshot.get("/t/svc").unwrap();
        assert_eq!((view.attempt, &view.state), (Attempt(5), &ChildState::Running));
        assert_eq!(view.last_exit.as_ref().unwrap().to_string(), "failed: no disk");
        ends_without_leaks(tree, leak_check).await;
    });
}
