//! The tree's own state, health and final report.

use liveoak_runtime::{AutoShutdown, Child, Ctx, Exit, Health, Limit, Restart, Supervisor, Tree, TreePhase};
use std::sync::Arc;
use std::time::Duration;

async fn until_stopped(ctx: Ctx) {
    ctx.stopping().await;
}

fn never_again() -> Limit {
    Limit::new(0, Duration::from_secs(1))
}

async fn ended(tree: &Tree) -> Arc<liveoak_runtime::FinalReport> {
    tree.join().await;
    tree.final_report().expect("it has ended")
}

#[tokio::test(start_paused = true)]
async fn a_tree_is_starting_then_alive_then_stopping_then_completed() {
    let slow = |ctx: Ctx| async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        ctx.ready();
        ctx.stopping().await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    };
    let tree =
        Supervisor::new("t").child(Child::task("a", slow).reports_ready()).begin().expect("a good spec");
    assert_eq!((tree.state(), tree.is_alive(), tree.health().ready), (TreePhase::Starting, false, false));
    tree.ready().await.expect("it starts");
    assert_eq!((tree.state(), tree.is_alive()), (TreePhase::Alive, true));
    assert_eq!(tree.health().health, Health::Healthy);
    assert!(tree.final_report().is_none());
    tree.by("ada").because("maintenance").begin_stop();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!((tree.state(), tree.is_alive()), (TreePhase::Stopping, false));
    let stopped = tree.stop().await;
    let report = tree.final_report().expect("it has ended");
    assert_eq!((tree.state(), report.state), (TreePhase::Completed, TreePhase::Completed));
    assert!(tree.state().has_ended() && report.failure.is_none() && report.first_failure.is_none());
    assert_eq!(report.asked.as_ref().expect("a command").to_string(), "stop by ada: maintenance");
    assert!(report.ended >= report.began && report.stop.entries.len() == stopped.entries.len());
    // Later commands change nothing: the first end counts.
    tree.by("bob").kill().await.expect("it has ended");
    assert!(Arc::ptr_eq(&report, &tree.final_report().expect("it has ended")));
}

#[tokio::test]
async fn a_tree_that_gave_up_has_failed_and_names_the_child_that_panicked() {
    let child = Child::task("a", |ctx: Ctx| async move {
        ctx.ready();
        tokio::task::yield_now().await;
        panic!("boom")
    });
    let child = child.reports_ready().limit(never_again());
    let tree = Supervisor::new("t").child(child).start().await.expect("it starts");
    let report = ended(&tree).await;
    assert!(report.asked.is_none());
    let failure = report.failure.as_ref().expect("it failed");
    assert_eq!((report.state, failure.phase), (TreePhase::Failed, TreePhase::Alive));
    assert!(failure.panicked && failure.recoverable && failure.reason.contains("/t/a"), "{failure:?}");
    let first = report.first_failure.as_ref().expect("a failed");
    assert_eq!((first.path.as_str(), first.exit.kind), ("/t/a", "panicked"));
    assert_eq!(tree.health().failure.expect("it failed").reason, failure.reason);
}

#[tokio::test]
async fn a_first_start_that_nothing_can_mend_is_a_failure_that_is_not_recoverable() {
    let missing = |_| async { Exit::failed_not_retryable("no such program") };
    let tree =
        Supervisor::new("t").child(Child::task("a", missing).reports_ready()).begin().expect("a good spec");
    let report = ended(&tree).await;
    let failure = report.failure.as_ref().expect("it failed");
    assert_eq!((failure.phase, failure.panicked, failure.recoverable), (TreePhase::Starting, false, false));
}

#[tokio::test]
async fn the_failure_that_came_first_stays_in_the_report_of_a_later_end() {
    let early = Child::task("early", |_| async { Exit::Code(7) }).restart(Restart::Temporary);
    let tree =
        Supervisor::new("t").child(early).child(Child::task("a", until_stopped)).begin().expect("good");
    tree.ready().await.expect("it starts");
    while tree.snapshot().get("/t/early").is_some_and(|early| early.last_exit.is_none()) {
        tokio::task::yield_now().await;
    }
    tree.stop().await;
    let report = ended(&tree).await;
    assert_eq!(report.state, TreePhase::Completed);
    assert_eq!(report.first_failure.as_ref().expect("early failed").exit.text, "exit code 7");
}

#[tokio::test]
async fn the_final_report_of_a_tree_that_was_killed_names_the_command() {
    let tree = Supervisor::new("t").child(Child::task("a", until_stopped)).start().await.expect("it starts");
    tree.because("fire").kill().await.expect("not in the tree");
    let report = ended(&tree).await;
    assert_eq!(report.asked.as_ref().expect("a command").to_string(), "kill because: fire");
    assert!(report.state.has_ended());
}

#[tokio::test]
async fn a_declared_end_is_no_failure() {
    let job = Child::task("job", |_| async {}).restart(Restart::Temporary).significant();
    let tree = Supervisor::new("t").auto_shutdown(AutoShutdown::AnySignificant).child(job);
    let tree = tree.begin().expect("a good spec");
    let report = ended(&tree).await;
    assert_eq!((report.state, report.asked.is_none()), (TreePhase::Completed, true));
}
