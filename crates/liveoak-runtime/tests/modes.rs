//! Modes: what a change from one mode to another starts, stops and leaves alone, and what follows when a step fails.

mod dice;

use dice::{Dice, run_seeds};
use liveoak_runtime::testing::{eventually, paused};
use liveoak_runtime::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

/// What the children of a test share: which of them fail to start, and what they did.
#[derive(Clone, Default)]
struct Stage {
    failing: Arc<Mutex<BTreeSet<String>>>,
    log: Arc<Mutex<Vec<String>>>,
}

impl Stage {
    /// Returns a child that notes its starts and ends, and fails to start while it is among the failing.
    fn child(&self, name: &str) -> Child {
        let stage = self.clone();
        let body = move |ctx: Ctx| {
            let stage = stage.clone();
            async move {
                let name = ctx.path().name().to_owned();
                if stage.failing.lock().unwrap().contains(&name) {
                    return Err("it does not start");
                }
                stage.note(format!("+{name}"));
                ctx.ready();
                ctx.stopping().await;
                stage.note(format!("-{name}"));
                Ok(())
            }
        };
        Child::task(name, body).reports_ready().limit(Limit::unlimited())
    }

    /// Returns a child that notes its start, and has finished.
    fn job(&self, name: &str) -> Child {
        let stage = self.clone();
        let body = move |ctx: Ctx| {
            stage.note(format!("+{}", ctx.path().name()));
            async move { Ok::<(), &str>(()) }
        };
        Child::task(name, body).restart(Restart::Transient)
    }

    fn note(&self, line: String) {
        self.log.lock().unwrap().push(line);
    }

    fn take(&self) -> String {
        std::mem::take(&mut *self.log.lock().unwrap()).join(" ")
    }

    fn fails(&self, name: &str, fails: bool) {
        let mut failing = self.failing.lock().unwrap();
        if fails {
            failing.insert(name.to_owned())
        } else {
            failing.remove(name)
        };
    }
}

fn state(tree: &TreeHandle, path: &str) -> &'static str {
    tree.snapshot().get(path).map_or("gone", |view| view.state.as_str())
}

fn attempts(tree: &TreeHandle) -> BTreeMap<String, u64> {
    tree.snapshot().nodes().map(|view| (view.path.to_string(), view.attempt.0)).collect()
}

/// Returns a robot with three modes, in the mode `teleop`.
fn robot(stage: &Stage) -> Supervisor {
    let motors = Supervisor::new("motors").child(stage.child("left")).child(stage.child("right"));
    Supervisor::new("robot")
        .child(stage.child("bus"))
        .child(motors)
        .child(stage.child("camera").after("bus"))
        .child(stage.child("mapper").after("camera"))
        .child(stage.child("logger"))
        .mode("teleop", ["camera", "motors/*"])
        .mode("mapping", ["mapper", "logger"])
        .mode("left", ["motors/left"])
        .start_in_mode("teleop")
}

async fn change(tree: &TreeHandle, mode: &str, on_failure: OnFailure) -> ModeReport {
    tree.plan_mode(mode).unwrap().run(on_failure).await.unwrap()
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
