//! Restarts that a child asks for, the longest run of an attempt, and needs.

use liveoak_runtime::testing::{eventually, paused};
use liveoak_runtime::*;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Makes a child whose first `requests` attempts ask for a restart and then wait for their stop.
fn asks(requests: u64, attempts: &Arc<AtomicU64>) -> Child {
    let attempts = Arc::clone(attempts);
    Child::task("a", move |ctx: Ctx| {
        attempts.store(ctx.attempt().0, Ordering::SeqCst);
        async move {
            if ctx.attempt().0 <= requests {
                ctx.restart_me("new settings").expect("it is permanent");
            }
            ctx.stopping().await;
        }
    })
}

#[test]
fn restart_me_ends_the_attempt_and_starts_the_next_without_a_delay_or_a_charge() {
    paused(async {
        let attempts = Arc::default();
        let child = asks(10, &attempts).limit(Limit::new(0, s(60)));
        let tree = Supervisor::new("t").child(child).start().await.expect("a tree");
        let before = tree.now();
        eventually("the last attempt", || attempts.load(Ordering::SeqCst) == 11).await;
        // The wait looks once in a millisecond; a backoff is longer.
        assert!(tree.now().since(before) <= Duration::from_millis(1));
        let view = tree.snapshot().get("/t/a").expect("it").clone();
        let exit = view.last_exit.expect("an exit");
        assert_eq!(exit.to_string(), "asked for its restart: new settings");
        assert!(matches!(exit, Exit::RestartRequested(request) if request.reason == "new settings"));
        assert!(tree.stop().await.entries.iter().all(|entry| entry.stage == StopStage::Asked));
    });
}

#[test]
fn the_eleventh_request_for_a_restart_within_a_minute_waits_for_the_backoff() {
    paused(async {
        let attempts = Arc::default();
        let tree = Supervisor::new("t").child(asks(11, &attempts)).start().await.expect("a tree");
        let state = || tree.snapshot().get("/t/a").map(|view| view.state.as_str());
        eventually("a backoff", || state() == Some("backing-off")).await;
        assert_eq!(attempts.load(Ordering::SeqCst), 11);
        tree.stop().await;
    });
}

#[test]
fn restart_me_is_refused_on_a_temporary_child_and_changes_nothing() {
    paused(async {
        let answers: Arc<Mutex<Vec<_>>> = Arc::default();
        let told = Arc::clone(&answers);
        let child = Child::task("a", move |ctx: Ctx| {
            let told = Arc::clone(&told);
            async move {
                told.lock()
                    .expect("no panic")
                    .push(ctx.restart_me("no").map_err(|refusal| refusal.to_string()));
                ctx.stopping().await;
            }
        });
        let child = child.restart(Restart::Temporary);
        let tree = Supervisor::new("t").child(child).start().await.expect("a tree");
        eventually("an answer", || !answers.lock().expect("no panic").is_empty()).await;
        let refusal = "it is temporary, so it is never restarted".to_owned();
        assert_eq!(*answers.lock().expect("no panic"), [Err(refusal)]);
        assert_eq!(tree.snapshot().get("/t/a").map(|view| view.state.as_str()), Some("running"));
        tree.stop().await;
    });
}

#[test]
fn a_failure_after_restart_me_is_a_failure() {
    paused(async {
        let child = Child::task("a", |ctx: Ctx| async move {
            ctx.restart_me("new settings").expect("it is permanent");
            Err::<(), _>("boom")
        });
        let tree = Supervisor::new("t").child(child).start().await.expect("a tree");
        let exit = || tree.snapshot().get("/t/a").and_then(|view| view.last_exit.clone());
        eventually("a failure", || exit().is_some_and(|exit| exit.kind() == "failed")).await;
        tree.stop().await;
    });
}

#[test]
fn a_thread_may_ask_for_its_restart_too() {
    paused(async {
        let thread = Child::thread("a", |ctx: Ctx| {
            if ctx.attempt().0 == 1 {
                ctx.restart_me("once more").expect("it is permanent");
                ctx.restart_me("a second request changes nothing").expect("it is permanent");
            }
            while !ctx.is_stopping() {
                std::thread::yield_now();
            }
        });
        let tree = Supervisor::new("t").child(thread).start().await.expect("a tree");
        let exit = || tree.snapshot().get("/t/a").and_then(|view| view.last_exit.clone());
        eventually("a restart", || exit().is_some()).await;
        assert_eq!(exit().expect("an exit").to_string(), "asked for its restart: once more");
        tree.stop().await;
    });
}

#[test]
fn an_attempt_that_was_ready_for_its_longest_run_is_stopped_and_restarted_after_a_backoff() {
    paused(async {
        let child = Child::task("a", |ctx: Ctx| async move { ctx.stopping().await }).run_within(s(3_600));
        let tree = Supervisor::new("t").child(child).start().await.expect("a tree");
        tokio::time::sleep(s(3_599)).await;
        assert_eq!(tree.snapshot().get("/t/a").map(|view| view.attempt.0), Some(1));
        tokio::time::sleep(s(2)).await;
        let view = tree.snapshot().get("/t/a").expect("it").clone();
        assert_eq!(view.attempt.0, 2);
        assert!(matches!(view.last_exit, Some(Exit::RunTimeout(within)) if within == s(3_600)));
        tree.stop().await;
    });
}

#[test]
fn a_child_that_needs_a_sibling_is_stopped_without_it_and_comes_back_with_it() {
    paused(async {
        let runs = |name: &str| Child::task(name, |ctx: Ctx| async move { ctx.stopping().await });
        let web = runs("web").needs_within("db", s(3)).limit(Limit::new(0, s(60)));
        let tree = Supervisor::new("t").child(web).child(runs("db")).start().await.expect("a tree");
        let state = || tree.snapshot().get("/t/web").map(|view| view.state.as_str());
        tree.handle().stop_child("/t/db").await.expect("it stops");
        tokio::time::sleep(s(2)).await;
        assert_eq!(state(), Some("running"));
        tokio::time::sleep(s(3)).await;
        assert_eq!(state(), Some("waiting"));
        tree.handle().start_child("/t/db").await.expect("it starts");
        eventually("the return", || state() == Some("running")).await;
        tree.stop().await;
    });
}
