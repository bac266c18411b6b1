//! Manual children: listed, and not started until they are asked for.

mod stage;

use liveoak_runtime::testing::paused;
use liveoak_runtime::*;
use stage::{Stage, attempts, change, robot, state};

/// Returns a tree with two manual children, of which `ui` comes after `db`.
fn shop(stage: &Stage) -> Supervisor {
    Supervisor::new("shop")
        .child(stage.child("web"))
        .child(stage.child("db").manual())
        .child(stage.child("ui").manual().after("db"))
}

#[test]
fn a_manual_child_is_listed_and_starts_with_what_it_comes_after_when_it_is_asked_for() {
    paused(async {
        let stage = Stage::default();
        let tree = shop(&stage).start().await.unwrap();
        assert_eq!(stage.take(), "+web");
        let view = tree.snapshot().get("/shop/ui").cloned().unwrap();
        assert_eq!(
            (view.state.as_str(), view.spec.manual, view.health),
            ("not-wanted", true, Health::Healthy)
        );
        let why = tree.explain("/shop/ui").unwrap().to_string();
        assert!(why.contains("it starts only when it is asked for"), "{why}");
        tree.start_child("/shop/ui").await.unwrap();
        assert_eq!(stage.take(), "+db +ui");
        tree.stop_child("/shop/ui").await.unwrap();
        tree.wait_for("/shop/db", |db| db.state.as_str() == "not-wanted").await.unwrap();
        assert_eq!(stage.take(), "-ui -db");
        assert_eq!(attempts(&tree)["/shop/web"], 1);
    });
}

#[test]
fn a_start_that_would_wait_for_a_stopped_child_is_refused_by_its_name() {
    paused(async {
        let stage = Stage::default();
        let tree = shop(&stage).start().await.unwrap();
        tree.start_child("/shop/db").await.unwrap();
        tree.stop_child("/shop/db").await.unwrap();
        let refusal = tree.start_child("/shop/ui").await.unwrap_err();
        assert_eq!(refusal.to_string(), "it would wait for /shop/db, which is stopped; start that one first");
        assert_eq!(state(&tree, "/shop/ui"), "not-wanted");
    });
}

#[test]
fn a_start_that_fails_leaves_the_child_and_what_it_brought_along_down_as_declared() {
    paused(async {
        let stage = Stage::default();
        let tree = shop(&stage).start().await.unwrap();
        stage.fails("ui", true);
        assert!(matches!(tree.start_child("/shop/ui").await, Err(Refusal::Failed(_))));
        tree.wait_for("/shop/db", |db| db.state.as_str() == "not-wanted").await.unwrap();
        assert_eq!(state(&tree, "/shop/ui"), "not-wanted");
        stage.fails("ui", false);
        tree.start_child("/shop/ui").await.unwrap();
    });
}

#[test]
fn a_mode_that_does_not_name_a_manual_child_does_not_start_it() {
    paused(async {
        let stage = Stage::default();
        let tool = stage.child("tool").manual().after("mapper");
        let tree = robot(&stage).child(tool).start().await.unwrap();
        for mode in ["mapping", "left", "teleop"] {
            change(&tree, mode, OnFailure::Back).await;
            assert_eq!(state(&tree, "/robot/tool"), "not-wanted", "{mode}");
        }
    });
}

#[test]
fn a_tree_whose_other_children_are_done_ends_although_a_manual_child_never_ran() {
    paused(async {
        let job = Child::task("job", |_| async { Ok::<(), &str>(()) }).restart(Restart::Transient);
        let stage = Stage::default();
        let tree = Supervisor::new("t").child(job).child(stage.child("tool").manual()).end_when_done();
        let ended = tree.begin().unwrap().join().await;
        assert!(matches!(ended.exit, Exit::Completed), "{:?}", ended.exit);
        assert_eq!(stage.take(), "");
    });
}

#[test]
fn supervisors_and_groups_can_be_manual_and_members_are_refused_until_their_group_runs() {
    paused(async {
        let stage = Stage::default();
        let tools =
            Supervisor::new("tools").child(stage.child("a")).child(stage.child("b").manual()).manual();
        let group = Group::new("jobs", |ctx: Ctx, (): ()| async move { ctx.stopping().await }).manual();
        let jobs = group.handle();
        let tree = Supervisor::new("t").child(tools).child(group).start().await.unwrap();
        assert_eq!(stage.take(), "");
        assert!(jobs.spawn(()).is_err());
        tree.start_child("/t/tools").await.unwrap();
        tree.start_child("/t/jobs").await.unwrap();
        assert_eq!(stage.take(), "+a");
        jobs.spawn(()).unwrap();
        assert!(tree.start_child("/t/tools/b").await.is_ok());
    });
}

#[test]
fn a_mode_starts_the_manual_children_that_it_names_and_a_change_stops_them() {
    paused(async {
        let stage = Stage::default();
        let tree = shop(&stage).mode("admin", ["web", "ui"]).mode("plain", ["**"]).mode("web", ["web"]);
        let tree = tree.start_in_mode("web").start().await.unwrap();
        assert_eq!(stage.take(), "+web");
        change(&tree, "admin", OnFailure::Back).await;
        assert_eq!(stage.take(), "+db +ui");
        tree.stop_child("/shop/ui").await.unwrap();
        assert_eq!(state(&tree, "/shop/db"), "running", "the mode wants it");
        change(&tree, "web", OnFailure::Back).await;
        assert_eq!(state(&tree, "/shop/db"), "not-wanted");
        tree.start_child("/shop/ui").await.unwrap();
        assert_eq!(state(&tree, "/shop/db"), "running", "a start brings along what no mode wants");
        change(&tree, "plain", OnFailure::Back).await;
        tree.stop_child("/shop/ui").await.unwrap();
        assert_eq!(state(&tree, "/shop/db"), "running", "this mode wants it too");
    });
}
