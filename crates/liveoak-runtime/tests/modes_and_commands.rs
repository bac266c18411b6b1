//! Modes where they meet other rules: pauses, quarantines, commands, children that run once, and the end of the tree.

mod stage;

use liveoak_runtime::testing::paused;
use liveoak_runtime::*;
use stage::{Stage, attempts, change, robot, state};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

#[test]
fn a_change_neither_resumes_what_is_paused_nor_releases_what_a_command_quarantined() {
    paused(async {
        let stage = Stage::default();
        let tree = robot(&stage).start().await.unwrap();
        tree.pause_child("/robot/mapper").await.unwrap();
        tree.quarantine_child("/robot/logger").await.unwrap();
        let plan = tree.plan_mode("mapping").unwrap();
        let text = plan.to_string();
        assert!(text.contains("keep /robot/mapper: it is paused, and starts when it is resumed"), "{text}");
        assert!(text.contains("keep /robot/logger: a command quarantined it"), "{text}");
        plan.run(OnFailure::Stay).await.unwrap();
        assert_eq!(state(&tree, "/robot/mapper"), "paused");
        assert_eq!(state(&tree, "/robot/logger"), "quarantined");
        tree.resume_child("/robot/mapper").await.unwrap();
        assert_eq!(state(&tree, "/robot/mapper"), "running", "the mode wants it");
        tree.pause_child("/robot/mapper").await.unwrap();
        change(&tree, "left", OnFailure::Stay).await;
        assert_eq!(state(&tree, "/robot/mapper"), "not-wanted");
        tree.resume_child("/robot/mapper").await.unwrap();
        assert_eq!(state(&tree, "/robot/mapper"), "not-wanted", "the mode does not want it");
        tree.release_child("/robot/logger").await.unwrap();
        assert_eq!(state(&tree, "/robot/logger"), "running", "a command starts it in any mode");
    });
}

#[test]
fn a_child_that_was_given_up_on_stays_quarantined_from_mode_to_mode() {
    paused(async {
        let stage = Stage::default();
        let limit = Limit::new(0, Duration::from_secs(60)).on_exceeded(GiveUp::QUARANTINE);
        let weak = Child::task("weak", |_| async { Err::<(), _>("broken") }).limit(limit);
        let tree =
            robot(&stage).child(weak).mode("weak", ["weak"]).start_in_mode("weak").start().await.unwrap();
        tree.wait_for("/robot/weak", |weak| weak.state.as_str() == "quarantined").await.unwrap();
        for mode in ["left", "weak"] {
            let report = change(&tree, mode, OnFailure::Back).await;
            assert!(report.is_complete(), "{report}");
            let weak = tree.snapshot().get("/robot/weak").cloned().unwrap();
            assert_eq!((weak.state.as_str(), weak.attempt.0), ("quarantined", 1), "{mode}");
        }
    });
}

#[test]
fn a_child_that_can_run_only_once_is_no_failed_step() {
    paused(async {
        let stage = Stage::default();
        let once = Child::once("once", |ctx: Ctx| async move { ctx.stopping().await });
        let tree =
            robot(&stage).child(once).mode("once", ["once"]).start_in_mode("once").start().await.unwrap();
        change(&tree, "left", OnFailure::Back).await;
        assert_eq!(state(&tree, "/robot/once"), "not-wanted");
        let report = change(&tree, "once", OnFailure::Back).await;
        assert!(report.is_complete(), "{report}");
        assert_eq!(state(&tree, "/robot/once"), "not-wanted");
    });
}

#[test]
fn a_way_back_stops_only_what_the_change_has_started() {
    paused(async {
        let stage = Stage::default();
        let tree = robot(&stage).start().await.unwrap();
        tree.start_child("/robot/logger").await.unwrap();
        stage.take();
        stage.fails("mapper", true);
        let report = change(&tree, "mapping", OnFailure::Back).await;
        assert_eq!(report.end, ModeEnd::WentBack, "{report}");
        assert_eq!(state(&tree, "/robot/logger"), "running", "a command had started it before");
        assert_eq!(attempts(&tree)["/robot/logger"], 1);
        assert_eq!(state(&tree, "/robot/mapper"), "not-wanted");
    });
}

#[test]
fn the_end_of_the_tree_supersedes_a_change() {
    paused(async {
        let stage = Stage::default();
        let never = Child::task("never", |ctx: Ctx| async move { ctx.stopping().await }).reports_ready();
        let never = never.start_within(Duration::MAX);
        let tree = robot(&stage).child(never).mode("never", ["never"]).start().await.unwrap();
        let plan = tree.plan_mode("never").unwrap();
        let change = tokio::spawn(plan.run(OnFailure::Back));
        tree.wait_for("/robot/never", |never| never.state.as_str() == "starting").await.unwrap();
        tree.stop().await;
        let report = change.await.unwrap().unwrap();
        assert_eq!(report.end, ModeEnd::Superseded, "{report}");
        assert!(report.not_done.iter().any(|step| step.path.name() == "never"), "{report}");
    });
}

#[test]
fn a_child_that_is_not_ready_does_not_wait_for_a_start_that_waits_for_it() {
    paused(async {
        let answer = Arc::new(Mutex::new(None));
        let told = Arc::clone(&answer);
        let handle = Arc::new(OnceLock::<TreeHandle>::new());
        let known = Arc::clone(&handle);
        let a = Child::task("a", move |ctx: Ctx| {
            let (told, known) = (Arc::clone(&told), Arc::clone(&known));
            async move {
                if ctx.attempt().0 == 2 {
                    let plan = known.get().unwrap().plan_mode("both").unwrap();
                    *told.lock().unwrap() = Some(plan.run(OnFailure::Stay).await.map(|_| ()));
                }
                ctx.ready();
                ctx.stopping().await;
            }
        });
        let b = Child::task("b", |ctx: Ctx| async move { ctx.stopping().await }).after("a");
        let tree =
            Supervisor::new("t").child(a.reports_ready()).child(b).mode("one", ["a"]).mode("both", ["b"]);
        let tree = tree.start_in_mode("one").start().await.unwrap();
        assert!(handle.set(tree.handle()).is_ok());
        tree.restart_child("/t/a").await.unwrap();
        let refused =
            matches!(*answer.lock().unwrap(), Some(Err(Refusal::WouldWaitForItself { begun: true })));
        assert!(refused, "{:?}", answer.lock().unwrap());
        tree.wait_for("/t/b", |b| b.state == ChildState::Running).await.unwrap();
    });
}
