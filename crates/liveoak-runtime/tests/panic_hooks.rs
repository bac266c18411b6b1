//! The panic hook. A process has only one, so this file has one test.

use liveoak_runtime::testing::{eventually, paused};
use liveoak_runtime::{Child, Ctx, Exit, Restart, Supervisor, capture_panics};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

async fn panics(_: Ctx) {
    panic!("here")
}

/// Lets a child panic. Returns whether its exit has the location of the panic.
fn location_is_kept() -> bool {
    paused(async {
        let child = Child::task("a", panics).restart(Restart::Temporary);
        let tree = Supervisor::new("t").child(child).start().await.expect("a tree");
        let exit = || tree.snapshot().get("/t/a").and_then(|a| a.last_exit.clone());
        eventually("it has ended", || exit().is_some()).await;
        matches!(exit(), Some(Exit::Panicked(panic)) if panic.location.is_some())
    })
}

#[test]
fn panics_can_be_captured_again_after_another_hook_was_installed_and_each_hook_runs_once() {
    let calls = Arc::new(AtomicUsize::new(0));
    let count = || {
        let calls = Arc::clone(&calls);
        std::panic::set_hook(Box::new(move |_| {
            calls.fetch_add(1, Ordering::SeqCst);
        }));
    };
    count();
    assert!(!location_is_kept());
    for round in 1..4 {
        count();
        assert!(!location_is_kept(), "another hook came, in round {round}");
        capture_panics();
        capture_panics();
        calls.store(0, Ordering::SeqCst);
        assert!(location_is_kept(), "captured again, in round {round}");
        assert_eq!(calls.load(Ordering::SeqCst), 1, "the hook before ours runs once");
    }
    let _ = std::panic::take_hook();
}
