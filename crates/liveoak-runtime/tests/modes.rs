//! Modes: what a change from one mode to another starts, stops and leaves alone, and what follows when a step fails.

mod dice;
mod stage;

use dice::{Dice, run_seeds};
use liveoak_runtime::testing::{eventually, paused};
use liveoak_runtime::*;
use stage::{Stage, attempts, change, robot, state};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

impl Stage {
    /// Returns a child that notes its start, and has finished.
    fn job(&self, name: &str) -> Child {
        let stage = self.clone();
        let body = move |ctx: Ctx| {
            stage.note(format!("+{}", ctx.path().name()));
            async move { Ok::<(), &str>(()) }
        };
        Child::task(name, body).restart(Restart::Transient)
    }
}

#[test]
fn a_tree_starts_the_children_of_its_mode_with_what_they_come_after_and_no_others() {
    paused(async {
        let stage = Stage::default();
        let tree = robot(&stage).start().await.unwrap();
        assert_eq!(stage.take(), "+bus +left +right +camera");
        assert_eq!(tree.mode().unwrap().as_str(), "teleop");
        assert_eq!(state(&tree, "/robot/mapper"), "not-wanted");
        let snapshot = tree.snapshot();
        assert_eq!(snapshot.root.state.as_str(), "running", "what is not wanted does not delay the start");
        let why = tree.explain("/robot/mapper").unwrap().to_string();
        assert!(why.contains("not wanted"), "{why}");
    });
}

#[test]
fn a_change_stops_in_reverse_order_then_starts_in_order_and_touches_nothing_shared() {
    paused(async {
        let stage = Stage::default();
        let tree = robot(&stage).start().await.unwrap();
        stage.take();
        let plan = tree.plan_mode("mapping").unwrap();
        let expected = "stop /robot/motors: mode `mapping` does not want it\n\
            keep /robot/bus: it is wanted already\n\
            keep /robot/camera: it is wanted already\n\
            start /robot/mapper: mode `mapping` wants it\n\
            start /robot/logger: mode `mapping` wants it\n";
        assert_eq!(plan.to_string(), expected);
        assert_eq!(stage.take(), "", "a plan changes nothing");
        let report = plan.run(OnFailure::Back).await.unwrap();
        assert!(report.is_complete(), "{report}");
        assert_eq!(stage.take(), "-right -left +mapper +logger");
        assert_eq!(tree.mode().unwrap().as_str(), "mapping");
        assert!(tree.plan_mode("mapping").unwrap().is_empty());
        let report = change(&tree, "left", OnFailure::Back).await;
        assert!(report.is_complete(), "{report}");
        assert_eq!(stage.take(), "-logger -mapper -camera -bus +left");
        assert_eq!(state(&tree, "/robot/motors/right"), "not-wanted");
    });
}

#[test]
fn a_supervisor_that_restarts_starts_only_the_children_of_the_mode() {
    paused(async {
        let stage = Stage::default();
        let tree = robot(&stage).start().await.unwrap();
        change(&tree, "left", OnFailure::Back).await;
        stage.take();
        tree.restart_child("/robot/motors").await.unwrap();
        assert_eq!(stage.take(), "-left +left");
        assert_eq!(state(&tree, "/robot/motors/right"), "not-wanted");
    });
}

#[test]
fn what_a_command_stopped_stays_stopped_and_is_listed() {
    paused(async {
        let stage = Stage::default();
        let tree = robot(&stage).start().await.unwrap();
        tree.stop_child("/robot/logger").await.unwrap();
        tree.stop_child("/robot/camera").await.unwrap();
        stage.take();
        let plan = tree.plan_mode("mapping").unwrap();
        let text = plan.to_string();
        assert!(text.contains("keep /robot/camera: a command stopped it, so it stays stopped\n"), "{text}");
        assert!(text.contains("keep /robot/logger: a command stopped it, so it stays stopped\n"), "{text}");
        // `mapper` waits for `camera`, so its start fails.
        let report = plan.run(OnFailure::Stay).await.unwrap();
        assert_eq!(report.end, ModeEnd::Stayed);
        assert_eq!(report.failed.as_ref().unwrap().step.path.as_str(), "/robot/mapper");
        assert_eq!(stage.take(), "-right -left");
        assert_eq!(state(&tree, "/robot/logger"), "stopped");
        assert_eq!(state(&tree, "/robot/mapper"), "not-wanted");
    });
}

#[test]
fn a_command_starts_what_the_mode_does_not_want_until_the_next_change() {
    paused(async {
        let stage = Stage::default();
        let tree = robot(&stage).start().await.unwrap();
        tree.start_child("/robot/logger").await.unwrap();
        assert_eq!(state(&tree, "/robot/logger"), "running");
        change(&tree, "left", OnFailure::Back).await;
        assert_eq!(state(&tree, "/robot/logger"), "not-wanted");
    });
}

#[test]
fn a_finished_job_does_not_run_again_in_another_mode() {
    paused(async {
        let stage = Stage::default();
        let tree = Supervisor::new("t")
            .child(stage.job("migrate"))
            .child(stage.child("web").after_when("migrate", Condition::Completed))
            .child(stage.child("other"))
            .mode("web", ["web"])
            .mode("other", ["other"])
            .start_in_mode("web");
        let tree = tree.start().await.unwrap();
        change(&tree, "other", OnFailure::Back).await;
        assert_eq!(stage.take(), "+migrate +web -web +other");
        let plan = tree.plan_mode("web").unwrap();
        assert!(
            plan.to_string().contains("keep /t/migrate: it has finished, and does not run again\n"),
            "{plan}"
        );
        assert!(plan.run(OnFailure::Back).await.unwrap().is_complete());
        assert_eq!(stage.take(), "-other +web");
    });
}

#[test]
fn a_failed_step_goes_back_to_the_former_mode_and_says_exactly_what_was_done() {
    paused(async {
        let stage = Stage::default();
        let tree = robot(&stage).start().await.unwrap();
        let before = attempts(&tree);
        stage.take();
        stage.fails("logger", true);
        let report = change(&tree, "mapping", OnFailure::Back).await;
        assert_eq!((report.end, report.mode.as_ref().unwrap().as_str()), (ModeEnd::WentBack, "teleop"));
        let paths = |steps: &[PlanStep]| {
            let texts = steps.iter().map(|step| format!("{} {}", step.step, step.path));
            texts.collect::<Vec<_>>().join(", ")
        };
        assert_eq!(paths(&report.done), "stop /robot/motors, start /robot/mapper");
        assert_eq!(report.failed.as_ref().unwrap().step.path.as_str(), "/robot/logger");
        assert_eq!(paths(&report.back), "stop /robot/mapper, start /robot/motors");
        assert!(report.not_up.is_empty() && report.not_done.is_empty(), "{report}");
        assert_eq!(stage.take(), "-right -left +mapper -mapper +left +right");
        assert_eq!(tree.mode().unwrap().as_str(), "teleop");
        let after = attempts(&tree);
        for shared in ["/robot", "/robot/bus", "/robot/camera"] {
            assert_eq!(before[shared], after[shared], "{shared}");
        }
    });
}

#[test]
fn what_does_not_come_up_when_a_change_goes_back_is_listed_and_its_own_rules_start_it() {
    paused(async {
        let stage = Stage::default();
        let tree = robot(&stage).start().await.unwrap();
        change(&tree, "left", OnFailure::Back).await;
        stage.fails("left", true);
        stage.fails("mapper", true);
        let report = change(&tree, "mapping", OnFailure::Back).await;
        assert_eq!(report.end, ModeEnd::WentBack);
        assert_eq!(report.not_up.len(), 1, "{report}");
        assert_eq!(report.not_up[0].step.path.as_str(), "/robot/motors");
        stage.fails("left", false);
        eventually("it is up again", || state(&tree, "/robot/motors/left") == "running").await;
    });
}

#[test]
fn a_later_change_supersedes_an_earlier_one_whose_caller_is_told() {
    paused(async {
        let stage = Stage::default();
        let slow = Child::task("slow", |ctx: Ctx| async move {
            tokio::time::sleep(Duration::from_secs(10)).await;
            ctx.ready();
            ctx.stopping().await;
        });
        let tree = robot(&stage).child(slow.reports_ready()).mode("slow", ["slow", "logger"]).start();
        let tree = tree.await.unwrap();
        stage.take();
        let handle = tree.handle();
        let first = tokio::spawn(async move { change(&handle, "slow", OnFailure::Back).await });
        eventually("it starts", || state(&tree, "/robot/slow") == "starting").await;
        let second = change(&tree, "left", OnFailure::Back).await;
        assert!(second.is_complete(), "{second}");
        let first = first.await.unwrap();
        assert_eq!((first.end, first.mode.unwrap().as_str()), (ModeEnd::Superseded, "left"));
        assert_eq!(first.not_done.len(), 1);
        assert_eq!(state(&tree, "/robot/slow"), "not-wanted");
        assert_eq!(state(&tree, "/robot/logger"), "not-wanted");
        assert_eq!(state(&tree, "/robot/motors/left"), "running");
    });
}

#[test]
fn a_change_goes_on_when_its_caller_stops_waiting() {
    paused(async {
        let stage = Stage::default();
        let tree = robot(&stage).start().await.unwrap();
        let plan = tree.plan_mode("left").unwrap();
        let _ = tokio::time::timeout(Duration::ZERO, plan.run(OnFailure::Back)).await;
        eventually("it is done", || tree.plan_mode("left").unwrap().is_empty()).await;
        assert_eq!(state(&tree, "/robot/bus"), "not-wanted");
    });
}

#[test]
fn a_child_that_the_change_stops_cannot_wait_for_the_change() {
    paused(async {
        let stage = Stage::default();
        let told = Arc::new(Mutex::new(None));
        let tell = Arc::clone(&told);
        let asks = Child::task("asks", move |ctx: Ctx| {
            let tell = Arc::clone(&tell);
            async move {
                ctx.ready();
                ctx.tree().ready().await.unwrap();
                let refused = ctx.tree().plan_mode("left").unwrap().run(OnFailure::Back).await;
                *tell.lock().unwrap() = Some(refused.is_err());
                ctx.stopping().await;
            }
        });
        let supervisor = robot(&stage).child(asks.reports_ready()).mode("all", ["**"]).start_in_mode("all");
        let tree = supervisor.start().await.unwrap();
        eventually("the mode has changed", || state(&tree, "/robot/asks") == "not-wanted").await;
        assert_eq!(*told.lock().unwrap(), Some(true));
    });
}

#[test]
fn a_tree_that_ends_when_done_does_not_end_between_two_steps_of_a_change() {
    paused(async {
        let stage = Stage::default();
        let tree = Supervisor::new("t")
            .child(stage.child("a"))
            .child(stage.child("b"))
            .mode("a", ["a"])
            .mode("b", ["b"])
            .start_in_mode("a")
            .end_when_done();
        let tree = tree.start().await.unwrap();
        let report = change(&tree, "b", OnFailure::Back).await;
        assert!(report.is_complete(), "{report}");
        assert_eq!(state(&tree, "/t/b"), "running");
    });
}

#[test]
fn children_that_were_added_belong_to_no_mode() {
    paused(async {
        let stage = Stage::default();
        let tree = robot(&stage).start().await.unwrap();
        tree.add_child("/robot", stage.child("extra")).await.unwrap();
        change(&tree, "left", OnFailure::Back).await;
        assert_eq!(state(&tree, "/robot/extra"), "running");
    });
}

#[test]
fn wrong_modes_are_refused_together_before_anything_starts() {
    paused(async {
        let stage = Stage::default();
        let nested = Supervisor::new("nested").child(stage.child("a")).mode("m", ["a"]);
        let refused = robot(&stage)
            .child(nested)
            .mode("teleop", ["bus"])
            .mode("", ["bus"])
            .mode("typo", ["camra", "a//b"])
            .start_in_mode("telop")
            .start()
            .await;
        let Err(StartError::Spec(errors)) = refused else { panic!("{refused:?}") };
        let text = errors.to_string();
        for part in ["belong to the root", "two modes", "`camra` matches no", "a//b", "no mode `telop`"] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert_eq!(stage.take(), "");
    });
}

/// The children of the random tree: the leaves, with the supervisor of each and what it comes after.
const LEAVES: [(&str, &str, &[&str]); 7] = [
    ("a", "", &[]),
    ("b", "", &["a"]),
    ("c", "left", &[]),
    ("d", "left", &["c"]),
    ("e", "right", &[]),
    ("f", "right", &[]),
    ("g", "", &["b", "right"]),
];

fn path_of(name: &str) -> String {
    let (_, sup, _) = LEAVES.iter().find(|leaf| leaf.0 == name).unwrap();
    if sup.is_empty() { format!("/t/{name}") } else { format!("/t/{sup}/{name}") }
}

/// Returns the leaves that run in a mode that names these leaves.
fn wanted(named: &BTreeSet<&'static str>) -> BTreeSet<&'static str> {
    let mut wanted = named.clone();
    loop {
        let mut more = wanted.clone();
        for name in &wanted {
            for needed in LEAVES.iter().find(|leaf| leaf.0 == *name).unwrap().2 {
                more.extend(
                    LEAVES.iter().filter(|leaf| leaf.0 == *needed || leaf.1 == *needed).map(|leaf| leaf.0),
                );
            }
        }
        if more == wanted {
            return wanted;
        }
        wanted = more;
    }
}

fn random_tree(stage: &Stage, modes: &[BTreeSet<&'static str>], dice: &mut Dice) -> Supervisor {
    let leaf = |name: &str| {
        let (_, _, after) = LEAVES.iter().find(|leaf| leaf.0 == name).unwrap();
        after.iter().fold(stage.child(name), |child, needed| child.after(needed))
    };
    let strategies = [Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne];
    let mut pick = || strategies[dice.roll(3) as usize];
    let sup = |name: &str, strategy| Supervisor::new(name).strategy(strategy);
    let left = sup("left", pick()).children(["c", "d"].map(leaf)).limit(Limit::unlimited());
    let right = sup("right", pick()).children(["e", "f"].map(leaf)).limit(Limit::unlimited());
    let root = sup("t", Strategy::OneForOne).child(leaf("a")).child(leaf("b")).child(left).child(right);
    let root = root.child(leaf("g"));
    let named = |mode: &BTreeSet<&'static str>| -> Vec<String> {
        mode.iter().map(|name| path_of(name).trim_start_matches("/t/").to_owned()).collect()
    };
    modes.iter().enumerate().fold(root, |root, (at, mode)| root.mode(format!("m{at}"), named(mode)))
}

#[test]
fn any_change_keeps_what_is_shared_and_leaves_what_it_says_whichever_step_fails() {
    run_seeds("modes", 0..150, |seed| {
        paused(async {
            let mut dice = Dice(seed);
            let stage = Stage::default();
            let modes: Vec<BTreeSet<&'static str>> = (0..4)
                .map(|_| LEAVES.iter().map(|leaf| leaf.0).filter(|_| dice.roll(3) == 0).collect())
                .collect();
            let tree = random_tree(&stage, &modes, &mut dice).start_in_mode("m0").start().await.unwrap();
            let mut current = 0;
            for _ in 0..6 {
                let next = dice.roll(4) as usize;
                let failing = LEAVES[dice.roll(7) as usize].0;
                let fails = dice.roll(2) == 0;
                let on_failure = if dice.roll(2) == 0 { OnFailure::Back } else { OnFailure::Stay };
                let before = attempts(&tree);
                let ran: BTreeSet<&str> = running(&tree);
                stage.take();
                stage.fails(failing, fails);
                let report = change(&tree, &format!("m{next}"), on_failure).await;
                let now = running(&tree);
                let (old, new) = (wanted(&modes[current]), wanted(&modes[next]));
                let hint =
                    format!("m{current} {old:?} to m{next} {new:?}, {failing} fails: {fails}\n{report}");
                for shared in old.intersection(&new).filter(|name| ran.contains(*name)) {
                    let path = path_of(shared);
                    assert!(now.contains(shared), "{shared} runs on: {hint}");
                    assert_eq!(before[&path], attempts(&tree)[&path], "{shared} is not touched: {hint}");
                }
                match report.end {
                    ModeEnd::Complete => {
                        assert_eq!(now, new, "{hint}");
                        current = next;
                    }
                    ModeEnd::WentBack => {
                        assert!(fails, "{hint}");
                        let missing: BTreeSet<_> = old.difference(&now).copied().collect();
                        assert!(now.is_subset(&old), "nothing more than before runs: {hint}");
                        assert!(missing.is_empty() || !report.not_up.is_empty(), "{missing:?}: {hint}");
                    }
                    ModeEnd::Stayed => {
                        check_stayed(&tree, &report, &hint);
                        current = next;
                    }
                    _ => panic!("nothing else began: {hint}"),
                }
                let starts_only = stage.take();
                let first_start = starts_only.find('+').unwrap_or(starts_only.len());
                if report.is_complete() {
                    assert!(!starts_only[first_start..].contains('-'), "{starts_only}: {hint}");
                }
                // With nothing to fail, the same change completes.
                stage.fails(failing, false);
                let name = format!("m{current}");
                let report = change(&tree, &name, OnFailure::Stay).await;
                assert!(report.is_complete(), "{report}");
                let expected = wanted(&modes[current]);
                eventually("the mode is up", || running(&tree) == expected).await;
            }
            tree.stop().await;
        });
    });
}

/// Returns the leaves that run.
fn running(tree: &TreeHandle) -> BTreeSet<&'static str> {
    LEAVES.iter().map(|leaf| leaf.0).filter(|name| state(tree, &path_of(name)) == "running").collect()
}

/// Checks that the steps that were not done have changed nothing.
fn check_stayed(tree: &TreeHandle, report: &ModeReport, hint: &str) {
    for step in &report.not_done {
        let state = state(tree, step.path.as_str());
        let expected = if step.step == PlanAction::Start { "not-wanted" } else { "running" };
        assert_eq!(state, expected, "{} was not done: {hint}", step.path);
    }
    let failed = report.failed.iter().map(|failed| failed.step.path.as_str());
    failed.for_each(|path| assert_eq!(state(tree, path), "not-wanted", "{path} has failed: {hint}"));
    for step in &report.done {
        let state = state(tree, step.path.as_str());
        let expected = if step.step == PlanAction::Start { "running" } else { "not-wanted" };
        assert_eq!(state, expected, "{} was done: {hint}", step.path);
    }
}
