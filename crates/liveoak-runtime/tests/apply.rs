//! Another declaration takes the place of the one that a tree runs.

mod dice;

use dice::{Dice, run_seeds};
use liveoak_runtime::testing::paused;
use liveoak_runtime::*;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What the children of a test did.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn child(&self, name: &str) -> Child {
        self.saying(name, "")
    }

    /// Returns a child that notes its starts, with a word, and its ends.
    fn saying(&self, name: &str, word: &str) -> Child {
        let (log, word) = (self.clone(), word.to_owned());
        Child::task(name, move |ctx: Ctx| {
            let (log, word) = (log.clone(), word.clone());
            async move {
                let name = ctx.path().name().to_owned();
                log.0.lock().unwrap().push(format!("+{name}{word}"));
                ctx.ready();
                ctx.stopping().await;
                log.0.lock().unwrap().push(format!("-{name}"));
            }
        })
        .reports_ready()
    }

    fn take(&self) -> String {
        std::mem::take(&mut *self.0.lock().unwrap()).join(" ")
    }
}

fn states(tree: &TreeHandle) -> BTreeMap<String, (&'static str, u64)> {
    let snapshot = tree.snapshot();
    snapshot.nodes().map(|view| (view.path.to_string(), (view.state.as_str(), view.attempt.0))).collect()
}

fn state(tree: &TreeHandle, path: &str) -> (&'static str, u64) {
    states(tree).get(path).copied().unwrap_or(("gone", 0))
}

/// Returns the steps in which something is done.
fn steps(plan: &ApplyPlan) -> Vec<String> {
    plan.steps().filter(|step| step.step != PlanAction::Keep).map(ToString::to_string).collect()
}

async fn apply(tree: &TreeHandle, new: Supervisor) -> ApplyReport {
    let report = tree.apply(new).unwrap().run().await.unwrap();
    assert!(report.is_complete(), "{report}");
    report
}

#[test]
fn what_goes_stops_in_reverse_order_then_what_is_new_starts_in_order_and_nothing_else_is_touched() {
    paused(async {
        let log = Log::default();
        let tree = Supervisor::new("t")
            .children(["a", "b", "c", "d"].map(|name| log.child(name)))
            .start()
            .await
            .unwrap();
        log.take();
        let new = Supervisor::new("t").children(["x", "b", "y", "d"].map(|name| log.child(name)));
        let plan = tree.apply(new).unwrap();
        assert_eq!(
            plan.to_string(),
            "keep /t: nothing differs\n\
             stop /t/c: it is no longer declared\n\
             stop /t/a: it is no longer declared\n\
             start /t/x: it is new\n\
             keep /t/b: nothing differs\n\
             start /t/y: it is new\n\
             keep /t/d: nothing differs\n"
        );
        assert_eq!(log.take(), "", "a plan does nothing");
        let report = plan.run().await.unwrap();
        assert!(report.is_complete(), "{report}");
        assert_eq!(log.take(), "-c -a +x +y");
        assert_eq!(report.done.len(), 4, "{report}");
        let snapshot = tree.snapshot();
        let order: Vec<&str> = snapshot.root.children.iter().map(|child| child.path.name()).collect();
        assert_eq!(order, ["x", "b", "y", "d"]);
        tree.stop().await;
        assert_eq!(log.take(), "-d -y -b -x", "the new order holds for the stop");
    });
}

#[test]
fn a_closure_is_kept_unless_its_version_differs() {
    paused(async {
        let log = Log::default();
        let with = |word: &str, version: &str| {
            let child = log.saying("a", word);
            Supervisor::new("t").child(if version.is_empty() { child } else { child.version(version) })
        };
        let tree = with("1", "").start().await.unwrap();
        assert!(tree.apply(with("2", "")).unwrap().is_empty());
        tree.restart_child("/t/a").await.unwrap();
        assert_eq!(log.take(), "+a1 -a +a1");
        let plan = tree.apply(with("2", "v2")).unwrap();
        assert_eq!(steps(&plan), ["restart /t/a: `version` differs"]);
        assert!(plan.run().await.unwrap().is_complete());
        assert_eq!(log.take(), "-a +a2");
        assert_eq!(state(&tree, "/t/a"), ("running", 3), "it is the same child");
        assert!(tree.apply(with("3", "v2")).unwrap().is_empty());
        apply(&tree, with("3", "v3")).await;
        assert_eq!(log.take(), "-a +a3");
    });
}

#[test]
fn a_change_of_rules_counts_at_once_without_a_restart() {
    paused(async {
        let fails = || {
            let body = |ctx: Ctx| async move {
                ctx.sleep(Duration::from_secs(1)).await;
                if ctx.is_stopping() { Ok(()) } else { Err("boom") }
            };
            Child::task("a", body).backoff(None)
        };
        let quarantine = Limit::new(2, Duration::from_secs(60)).on_exceeded(GiveUp::QUARANTINE);
        let tree = Supervisor::new("t").child(fails().limit(Limit::unlimited())).start().await.unwrap();
        tokio::time::sleep(Duration::from_millis(5_500)).await;
        let (word, attempts) = state(&tree, "/t/a");
        assert_eq!((word, attempts), ("running", 6));
        let plan = tree.apply(Supervisor::new("t").child(fails().limit(quarantine).title("A"))).unwrap();
        assert_eq!(plan.steps().nth(1).unwrap().step, PlanAction::Change, "{plan}");
        plan.run().await.unwrap();
        assert_eq!(state(&tree, "/t/a"), ("running", 6));
        tree.wait_for("/t/a", |a| a.state.as_str() == "quarantined").await.unwrap();
        assert_eq!(state(&tree, "/t/a").1, 8, "two restarts more are allowed");
        assert_eq!(tree.snapshot().get("/t/a").unwrap().title(), Some("A"));
    });
}

#[test]
fn what_a_command_keeps_down_stays_down_and_new_code_starts_what_was_given_up_on() {
    paused(async {
        let log = Log::default();
        let weak = |version: &str| match version {
            "1" => Child::task("weak", |_| async { Err::<(), _>("broken") }).version("1"),
            version => log.child("weak").version(version),
        };
        let tree = |version: &str| {
            let weak = weak(version)
                .limit(Limit::new(0, Duration::from_secs(60)).on_exceeded(GiveUp::QUARANTINE))
                .backoff(None);
            let down = log.child("down").version(version);
            let nested = Supervisor::new("nested").child(log.child("n")).version(version);
            let job = Child::task("job", |_| async { Ok::<(), &str>(()) }).restart(Restart::Transient);
            Supervisor::new("t").child(weak).child(down).child(nested).child(job.version(version))
        };
        let handle = tree("1").start().await.unwrap();
        handle.stop_child("/t/down").await.unwrap();
        handle.stop_child("/t/nested").await.unwrap();
        handle.wait_for("/t/weak", |weak| weak.state.as_str() == "quarantined").await.unwrap();
        handle.wait_for("/t/job", |job| job.state.as_str() == "finished").await.unwrap();
        apply(&handle, tree("2")).await;
        handle.wait_for("/t/job", |job| job.state.as_str() == "finished").await.unwrap();
        assert_eq!(state(&handle, "/t/weak").0, "running");
        assert_eq!(state(&handle, "/t/down").0, "stopped");
        assert_eq!(state(&handle, "/t/nested").0, "stopped");
        assert_eq!(state(&handle, "/t/job"), ("finished", 2));
        handle.start_child("/t/nested").await.unwrap();
        assert_eq!(state(&handle, "/t/nested/n").0, "running");
        assert!(handle.apply(tree("2")).unwrap().is_empty());
    });
}

#[test]
fn added_children_are_kept_and_a_name_that_one_of_them_has_is_refused() {
    paused(async {
        let log = Log::default();
        let tree =
            Supervisor::new("t").children(["a", "b"].map(|name| log.child(name))).start().await.unwrap();
        tree.add_child("/t", log.child("extra")).await.unwrap();
        apply(&tree, Supervisor::new("t").children(["b", "c"].map(|name| log.child(name)))).await;
        assert_eq!(state(&tree, "/t/extra"), ("running", 1));
        assert_eq!(state(&tree, "/t/a").0, "gone");
        let taken = tree.apply(Supervisor::new("t").child(log.child("extra"))).unwrap_err();
        assert!(matches!(&taken, ApplyError::NameTaken(path) if path.as_str() == "/t/extra"), "{taken}");
    });
}

#[test]
fn a_wrong_declaration_is_refused_as_a_whole_and_nothing_is_done() {
    paused(async {
        let log = Log::default();
        let tree = Supervisor::new("t").child(log.child("a")).start().await.unwrap();
        let before = states(&tree);
        let wrong = Supervisor::new("t").child(log.child("b").after("none")).child(log.child("b"));
        let error = tree.apply(wrong).unwrap_err().to_string();
        assert!(error.contains("used twice") && error.contains("no sibling called \"none\""), "{error}");
        let root = tree.apply(Supervisor::new("other").child(log.child("a"))).unwrap_err();
        assert!(matches!(root, ApplyError::Root(_)), "{root}");
        assert_eq!(states(&tree), before);
    });
}

#[test]
fn a_step_that_fails_is_named_and_the_others_are_done() {
    paused(async {
        let log = Log::default();
        let tree = Supervisor::new("t").child(log.child("a")).start().await.unwrap();
        let bad = Child::task("bad", |_| async { Err::<(), _>("no luck") }).reports_ready();
        let new = Supervisor::new("t").order(Order::Edges).child(bad).child(log.child("b"));
        let report = tree.apply(new).unwrap().run().await.unwrap();
        let failed: Vec<String> = report.failed.iter().map(|failed| failed.step.path.to_string()).collect();
        assert_eq!(failed, ["/t/bad"], "{report}");
        assert!(report.to_string().contains("no luck"), "{report}");
        assert_eq!((state(&tree, "/t/a").0, state(&tree, "/t/b").0), ("gone", "running"));
    });
}

#[test]
fn edges_to_what_goes_and_to_what_is_new_are_changed_with_it() {
    paused(async {
        let log = Log::default();
        let tree = Supervisor::new("t")
            .child(log.child("old"))
            .child(log.child("web").needs_within("old", Duration::ZERO))
            .start()
            .await
            .unwrap();
        log.take();
        let new = Supervisor::new("t")
            .child(log.child("web").needs_within("new", Duration::from_secs(5)))
            .child(log.child("new"));
        apply(&tree, new).await;
        assert_eq!(log.take(), "-old +new", "a need that is not declared any more stops nothing");
        assert_eq!(state(&tree, "/t/web"), ("running", 1));
        tree.stop_child("/t/new").await.unwrap();
        tree.wait_for("/t/web", |web| web.state.as_str() == "waiting").await.unwrap();
    });
}

#[test]
fn groups_keep_their_members_when_their_rules_change() {
    paused(async {
        let group = |max: u32| {
            Group::new("g", |ctx: Ctx, (): ()| async move { ctx.stopping().await }).max_members(max)
        };
        let first = group(1);
        let handle = first.handle();
        let tree = Supervisor::new("t").child(first).start().await.unwrap();
        handle.spawn(()).unwrap();
        assert!(handle.spawn(()).is_err());
        apply(&tree, Supervisor::new("t").child(group(2))).await;
        handle.spawn(()).unwrap();
        assert_eq!(tree.snapshot().get("/t/g").unwrap().children.len(), 2);
    });
}

#[test]
fn new_modes_hold_and_the_mode_that_is_in_force_decides_what_starts() {
    paused(async {
        let log = Log::default();
        let robot = |names: &[&str]| Supervisor::new("t").children(names.iter().map(|name| log.child(name)));
        let tree = robot(&["a", "b"]).mode("one", ["a"]).start_in_mode("one").start().await.unwrap();
        assert_eq!(log.take(), "+a");
        apply(&tree, robot(&["a", "b", "c", "d"]).mode("one", ["b", "c"])).await;
        assert_eq!(log.take(), "-a +b +c");
        assert_eq!(tree.mode().unwrap().as_str(), "one");
        apply(&tree, robot(&["a", "b", "c", "d"])).await;
        assert_eq!((log.take(), tree.mode()), ("+a +d".to_owned(), None));
    });
}

#[test]
fn a_manual_child_is_inserted_without_a_start_and_one_that_becomes_manual_stops() {
    paused(async {
        let log = Log::default();
        let tree = Supervisor::new("t").child(log.child("a")).child(log.child("b")).start().await.unwrap();
        log.take();
        let new = || {
            let (a, m) = (log.child("a").manual(), log.child("m").manual());
            Supervisor::new("t").child(a).child(log.child("b")).child(m)
        };
        apply(&tree, new()).await;
        assert_eq!(log.take(), "-a");
        assert_eq!((state(&tree, "/t/a").0, state(&tree, "/t/m").0), ("not-wanted", "not-wanted"));
        apply(&tree, Supervisor::new("t").child(log.child("a")).child(log.child("b"))).await;
        assert_eq!(log.take(), "+a");
        assert_eq!(state(&tree, "/t/b"), ("running", 1));
    });
}

#[test]
fn a_child_may_change_its_form() {
    paused(async {
        let log = Log::default();
        let leaf = || Supervisor::new("t").child(log.child("x")).child(log.child("y"));
        let nested =
            || Supervisor::new("t").child(Supervisor::new("x").child(log.child("z"))).child(log.child("y"));
        let tree = leaf().start().await.unwrap();
        log.take();
        apply(&tree, nested()).await;
        assert_eq!(log.take(), "-x +z");
        apply(&tree, leaf()).await;
        assert_eq!(log.take(), "-z +x");
        assert_eq!(state(&tree, "/t/y"), ("running", 1));
    });
}

#[test]
fn a_child_that_applies_a_plan_which_stops_it_is_not_waited_for() {
    paused(async {
        let answer = Arc::new(Mutex::new(None));
        let told = Arc::clone(&answer);
        let body = move |ctx: Ctx| {
            let told = Arc::clone(&told);
            async move {
                ctx.ready();
                let plan = ctx.tree().apply(Supervisor::new("t").child(Log::default().child("b"))).unwrap();
                *told.lock().unwrap() = Some(plan.run().await.map(|_| ()));
                ctx.stopping().await;
            }
        };
        let tree = Supervisor::new("t").child(Child::task("a", body)).start().await.unwrap();
        tree.wait_for("/t/b", |b| b.state.as_str() == "running").await.unwrap();
        assert!(matches!(*answer.lock().unwrap(), Some(Err(Refusal::WouldWaitForItself { begun: true }))));
        assert_eq!(state(&tree, "/t/a").0, "gone");
    });
}

/// Returns a random tree. What has the same name in two trees may differ in its rules, its version and its form.
fn random_tree(dice: &mut Dice, log: &Log) -> Supervisor {
    fn fill(dice: &mut Dice, log: &Log, mut to: Supervisor, depth: u64) -> Supervisor {
        let mut before: Vec<&str> = Vec::new();
        let mut names = ["a", "b", "c", "d"];
        names.rotate_left(dice.roll(4) as usize);
        for name in names.into_iter().filter(|_| dice.roll(3) > 0).collect::<Vec<_>>() {
            if depth > 0 && dice.roll(4) == 0 {
                let strategy = [Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne];
                let nested = Supervisor::new(name).strategy(strategy[dice.roll(3) as usize]);
                to = to.child(fill(dice, log, nested, depth - 1));
            } else {
                let mut child = log.child(name).stop_within(Duration::from_secs(1 + dice.roll(2)));
                if dice.roll(3) == 0 {
                    child = child.version(["v1", "v2"][dice.roll(2) as usize]);
                }
                if dice.roll(6) == 0 {
                    child = child.manual();
                }
                if let Some(other) = before.get(dice.roll(3) as usize).filter(|_| dice.roll(2) == 0) {
                    child = if dice.roll(2) == 0 { child.after(other) } else { child.needs(other) };
                }
                to = to.child(child);
            }
            before.push(name);
        }
        if dice.roll(3) == 0 { to.order(Order::Edges) } else { to }
    }
    fill(dice, log, Supervisor::new("t"), 2)
}

#[test]
fn after_a_plan_any_tree_equals_one_that_was_started_from_the_new_declaration() {
    run_seeds("apply", 0..300, |seed| {
        paused(async move {
            let log = Log::default();
            let tree = |seed: u64| random_tree(&mut Dice(seed), &log);
            let running = tree(seed).start().await.unwrap();
            let mut now = seed;
            for round in 1..4 {
                let next = seed * 1_000 + round;
                let before = states(&running);
                assert!(running.apply(tree(now)).unwrap().is_empty(), "equal declarations differ in nothing");
                let plan = running.apply(tree(next)).unwrap();
                let text = plan.to_string();
                let kept =
                    plan.steps().filter(|step| matches!(step.step, PlanAction::Keep | PlanAction::Change));
                let kept: Vec<String> = kept.map(|step| step.path.to_string()).collect();
                let report = plan.run().await.unwrap();
                assert!(report.is_complete(), "{text}\n{report}");
                tokio::time::sleep(Duration::from_secs(60)).await;
                let fresh = tree(next).start().await.unwrap();
                let words = |tree: &TreeHandle| -> BTreeMap<String, &'static str> {
                    states(tree).into_iter().map(|(path, (word, _))| (path, word)).collect()
                };
                assert_eq!(words(&running), words(&fresh), "{text}");
                let order = |tree: &TreeHandle| -> Vec<String> {
                    tree.snapshot().nodes().map(|view| view.path.to_string()).collect()
                };
                assert_eq!(order(&running), order(&fresh), "{text}");
                let after = states(&running);
                for path in kept {
                    let both = (before[&path], after[&path]);
                    let same = both.0.1 == both.1.1;
                    // A manual child that is not needed any more has stopped, and one that is needed now has started.
                    assert!(same || both.0.0 != both.1.0, "{path} was touched: {both:?}\n{text}");
                }
                fresh.stop().await;
                now = next;
            }
        });
    });
}
