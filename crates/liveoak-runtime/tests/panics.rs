//! Panics anywhere in a child are caught and named in its exit, and the tree continues.

use liveoak_runtime::testing::{LeakCheck, eventually, paused};
use liveoak_runtime::*;
use std::process::Command as Program;
use std::sync::Arc;
use std::time::Duration;

/// Runs `child`, which panics only in its first attempt, next to a healthy sibling. Returns the panic of its exit.
fn panic_of_first_attempt(child: impl Into<Child>) -> Arc<Panic> {
    capture_panics();
    let child = child.into().backoff(None);
    paused(async {
        let leak_check = LeakCheck::new();
        let sibling = leak_check.puppet("sibling");
        let tree = Supervisor::new("t").child(sibling.child()).child(child).start().await.unwrap();
        eventually("a second attempt that is ready", || {
            let snapshot = tree.snapshot();
            let view = snapshot.get("/t/bad").unwrap();
            view.attempt == Attempt(2) && view.state == ChildState::Running
        })
        .await;
        let exit = tree.snapshot().get("/t/bad").unwrap().last_exit.clone();
        assert_eq!(sibling.starts(), 1, "the sibling was not restarted");
        assert!(tree.stop().await.is_clean());
        leak_check.check().await;
        match exit {
            Some(Exit::Panicked(panic)) => panic,
            other => panic!("not a panic: {other:?}"),
        }
    })
}

/// Checks the message and the location of a panic. Returns in which hook it happened.
fn during(panic: &Panic, message: &str) -> Option<&'static str> {
    assert_eq!(panic.message, message);
    let location = panic.location.as_deref().expect("a location");
    assert!(location.contains("panics.rs:"), "{location}");
    panic.during
}

/// A value whose destructor panics.
struct Bomb(bool);

impl Drop for Bomb {
    fn drop(&mut self) {
        if self.0 {
            panic!("in the destructor");
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Hook {
    Factory,
    Init,
    Run,
    Stop,
}

/// A service that panics in one of its hooks, in the first attempt.
struct PanicsIn {
    hook: Hook,
}

impl Service for PanicsIn {
    async fn init(&mut self, ctx: &Ctx) -> Result<Init, BoxError> {
        assert!(!(self.hook == Hook::Init && ctx.attempt() == Attempt(1)), "in init");
        Ok(Init::Ready)
    }

    async fn run(&mut self, ctx: &Ctx) -> Result<(), BoxError> {
        tokio::task::yield_now().await;
        assert!(!(self.hook == Hook::Run && ctx.attempt() == Attempt(1)), "in run");
        if self.hook == Hook::Stop && ctx.attempt() == Attempt(1) {
            return Ok(());
        }
        ctx.stopping().await;
        Ok(())
    }

    async fn stop(&mut self, ctx: &Ctx) -> Result<(), BoxError> {
        assert!(!(self.hook == Hook::Stop && ctx.attempt() == Attempt(1)), "in the stop hook");
        Ok(())
    }
}

fn service(hook: Hook) -> Child {
    // The factory panics only in the first attempt, as the hooks do.
    Child::service("bad", move || {
        if hook == Hook::Factory && current().is_some_and(|ctx| ctx.attempt() == Attempt(1)) {
            panic!("in the factory");
        }
        PanicsIn { hook }
    })
}

/// Runs `child`, which panics before it is ready. The first start fails; returns the panic of its error.
fn panic_of_first_start(child: Child) -> Arc<Panic> {
    capture_panics();
    paused(async {
        let leak_check = LeakCheck::new();
        let sibling = leak_check.puppet("sibling");
        let error = Supervisor::new("t").child(sibling.child()).child(child).start().await.unwrap_err();
        leak_check.check().await;
        match error {
            StartError::Failed { failure, .. } => match &failure.exit {
                Exit::Panicked(panic) => Arc::clone(panic),
                other => panic!("not a panic: {other:?}"),
            },
            other => panic!("not a failed start: {other:?}"),
        }
    })
}

#[test]
fn a_panic_in_a_factory_is_caught_and_named_and_the_tree_lives() {
    let panic = panic_of_first_attempt(Child::task("bad", |ctx: Ctx| {
        assert!(ctx.attempt() != Attempt(1), "in the factory");
        async move { ctx.stopping().await }
    }));
    assert_eq!(during(&panic, "in the factory"), Some("factory"));
    let panic = panic_of_first_start(service(Hook::Factory));
    assert_eq!(during(&panic, "in the factory"), Some("factory"));
}

#[test]
fn a_panic_in_a_body_is_caught_and_named_and_the_tree_lives() {
    let panic = panic_of_first_attempt(Child::task("bad", |ctx: Ctx| async move {
        tokio::task::yield_now().await;
        assert!(ctx.attempt() != Attempt(1), "in the body");
        ctx.stopping().await;
    }));
    assert_eq!(during(&panic, "in the body"), None);
}

#[test]
fn a_panic_in_init_is_caught_and_named() {
    let panic = panic_of_first_start(service(Hook::Init));
    assert_eq!(during(&panic, "in init"), Some("init"));
}

#[test]
fn a_panic_in_run_is_caught_and_named_and_the_tree_lives() {
    let panic = panic_of_first_attempt(service(Hook::Run));
    assert_eq!(during(&panic, "in run"), Some("run"));
}

#[test]
fn a_panic_in_the_stop_hook_is_caught_and_named_and_the_tree_lives() {
    let panic = panic_of_first_attempt(service(Hook::Stop));
    assert_eq!(during(&panic, "in the stop hook"), Some("stop hook"));
}

#[test]
fn a_panic_in_drop_of_the_body_is_caught_and_named_and_the_tree_lives() {
    // A value that the body's own scope drops would panic in the body. This value is held next to the body's future, so
    // it panics in the destructor.
    struct Held(Bomb, std::pin::Pin<Box<dyn Future<Output = ()> + Send>>);
    impl Future for Held {
        type Output = ();
        fn poll(mut self: std::pin::Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> std::task::Poll<()> {
            let _ = &self.0;
            self.1.as_mut().poll(cx)
        }
    }
    let panic = panic_of_first_attempt(Child::task("bad", |ctx: Ctx| {
        let first = ctx.attempt() == Attempt(1);
        let inner = async move {
            if !first {
                ctx.stopping().await;
            }
        };
        Held(Bomb(first), Box::pin(inner))
    }));
    assert_eq!(during(&panic, "in the destructor"), Some("destructor"));
}

#[test]
fn a_panic_in_drop_of_a_killed_body_is_kept_as_its_exit() {
    capture_panics();
    paused(async {
        let leak_check = LeakCheck::new();
        let child = Child::task("bad", |_ctx| async {
            let _bomb = Bomb(true);
            std::future::pending::<()>().await;
        });
        let tree = Supervisor::new("t").child(child.stop_within(Duration::ZERO)).start().await.unwrap();
        tokio::task::yield_now().await;
        let report = tree.stop().await;
        assert_eq!(report.entries[0].stage, StopStage::Killed);
        assert!(matches!(report.entries[0].exit, Some(Exit::Panicked(_))), "{report:?}");
        leak_check.check().await;
    });
}

#[test]
fn a_panic_in_a_subtask_fails_the_attempt_and_is_named() {
    let panic = panic_of_first_attempt(Child::task("bad", |ctx: Ctx| async move {
        if ctx.attempt() == Attempt(1) {
            ctx.spawn(async { panic!("in the subtask") });
        }
        // The body ignores the stop, so only the subtask's panic ends the first attempt.
        let first = ctx.attempt() == Attempt(1);
        if first { std::future::pending::<()>().await } else { ctx.stopping().await }
    }));
    assert_eq!(during(&panic, "in the subtask"), Some("subtask"));
}

#[test]
fn a_panic_in_a_thread_is_caught_and_named_and_the_tree_lives() {
    capture_panics();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let child = Child::thread("bad", |ctx: Ctx| {
            assert!(ctx.attempt() != Attempt(1), "in the thread");
            while !ctx.is_stopping() {
                std::thread::yield_now();
            }
        });
        let tree = Supervisor::new("t").child(child.backoff(None)).start().await.unwrap();
        eventually("a second attempt", || tree.snapshot().get("/t/bad").unwrap().attempt == Attempt(2)).await;
        let exit = tree.snapshot().get("/t/bad").unwrap().last_exit.clone();
        let Some(Exit::Panicked(panic)) = exit else { panic!("{exit:?}") };
        assert_eq!(during(&panic, "in the thread"), None);
        assert!(tree.stop().await.is_clean());
    });
}

#[test]
fn a_resumed_panic_is_not_reported_at_the_location_of_another_panic() {
    let panic = panic_of_first_attempt(Child::task("bad", |ctx: Ctx| async move {
        if ctx.attempt() == Attempt(1) {
            let _ = std::panic::catch_unwind(|| panic!("another"));
            std::panic::resume_unwind(Box::new("resumed"));
        }
        ctx.stopping().await;
    }));
    assert_eq!((&*panic.message, &panic.location), ("resumed", &None));
}

#[test]
fn a_panic_with_a_value_that_is_not_text_is_caught() {
    let panic = panic_of_first_attempt(Child::task("bad", |ctx: Ctx| async move {
        if ctx.attempt() == Attempt(1) {
            std::panic::panic_any(7);
        }
        ctx.stopping().await;
    }));
    assert_eq!(panic.message, "a value that is not text");
}

#[test]
#[ignore = "run with backtraces on by another test of this file: `cargo test -p liveoak-runtime --test panics`"]
fn helper_keeps_a_backtrace() {
    let panic = panic_of_first_attempt(Child::task("bad", |ctx: Ctx| async move {
        assert!(ctx.attempt() != Attempt(1), "in the body");
        ctx.stopping().await;
    }));
    let backtrace = panic.backtrace.as_deref().expect("a backtrace");
    assert!(backtrace.contains("helper_keeps_a_backtrace"), "{backtrace}");
}

#[test]
fn a_panic_keeps_its_backtrace_if_backtraces_are_enabled() {
    let output = Program::new(std::env::current_exe().unwrap())
        .args(["--exact", "helper_keeps_a_backtrace", "--ignored"])
        .env("RUST_BACKTRACE", "1")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

/// A panic payload whose destructor panics with another payload of the same kind.
struct Endless;

impl Drop for Endless {
    fn drop(&mut self) {
        std::panic::panic_any(Endless);
    }
}

#[test]
fn a_panic_whose_payload_panics_when_dropped_is_an_exit_like_any_other() {
    paused(async {
        let leak_check = LeakCheck::new();
        let sibling = leak_check.puppet("sibling");
        let child = Child::task("a", |ctx: Ctx| async move {
            if ctx.attempt() == Attempt(1) {
                std::panic::panic_any(Endless);
            }
            ctx.stopping().await;
        });
        let tree =
            Supervisor::new("t").child(sibling.child()).child(child.backoff(None)).start().await.unwrap();
        eventually("another attempt", || tree.snapshot().get("/t/a").unwrap().attempt == Attempt(2)).await;
        let last = tree.snapshot().get("/t/a").unwrap().last_exit.clone();
        assert!(matches!(last, Some(Exit::Panicked(_))), "{last:?}");
        assert_eq!(sibling.starts(), 1);
        assert!(tree.stop().await.is_clean());
        leak_check.check().await;
    });
}
